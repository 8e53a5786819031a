"""The OpenAPI document: what it says is what is answered, and no request it allows breaks the server."""

import json
import os
import shutil

import jsonschema_rs
import pytest

from itemspace.serve import answers, models
from itemspace.serve.app import Application
from itemspace.serve.config import ServeConfig
from itemspace.serve.openapi import document
from itemspace.serve.routes import ENDPOINTS
from itemspace.serve.table import Table
from itemspace.space import Space
from itemspace.testing.serving import fuzz, with_names
from tests.serve.conftest import PATIENT, ROW

SHOP = "/v1/spaces/shop"
EXAMPLES = int(os.environ.get("ITEMSPACE_FUZZ", "8"))


def test_every_endpoint_is_in_the_document_and_nothing_else(client):
    told = client.get("/openapi.json").json()
    assert told["openapi"] == "3.1.0"
    written = {(method.upper(), path) for path, methods in told["paths"].items() for method in methods}
    assert written == {(endpoint.method, endpoint.path) for endpoint in ENDPOINTS}
    names = [operation["operationId"] for methods in told["paths"].values() for operation in methods.values()]
    assert len(set(names)) == len(names)


def test_every_reference_leads_somewhere_and_every_schema_is_one():
    told = document(ENDPOINTS, keys=True)
    text = json.dumps(told)
    schemas = told["components"]["schemas"]
    for part in text.split('"$ref": "#/components/')[1:]:
        kind, name = part.split('"')[0].split("/")
        assert name in told["components"][kind], name
    for schema in schemas.values():
        jsonschema_rs.meta.validate({"$schema": "https://json-schema.org/draft/2020-12/schema", **schema})


MODELS = [
    model
    for model in (*vars(models).values(), *vars(answers).values())
    if isinstance(model, type) and issubclass(model, (models.Asked, answers.Answer))
]


@pytest.mark.parametrize("model", MODELS)
def test_examples_are_what_they_exemplify(model):
    for example in (model.model_config.get("json_schema_extra") or {}).get("examples", ()):
        model.model_validate_json(json.dumps(example))


def test_the_table_tells_literal_parts_from_names():
    table = Table(ENDPOINTS)
    find = lambda method, path: table.find(method, path.split("/")[1:])  # noqa: E731
    assert find("POST", "/v1/spaces/a/items/get")[0].handler.__name__ == "get_items"
    assert find("GET", "/v1/spaces/a/items/get")[1] == {"space": "a", "id": "get"}  # an item may be called so
    assert find("HEAD", "/health")[0].path == "/health"
    assert find("GET", "/v1/spaces/") is None
    assert find("GET", "/v1/nothing") is None


ASKED = [
    ("SearchAnswer", "POST", "search", {"query": "boots", "facets": ["color", "price"], "explain": True}),
    ("SearchAnswer", "POST", "search", {"query": "boots", "group_by": "variant_of", "sort": ["price"]}),
    ("SearchBatchAnswer", "POST", "search/batch", {"queries": ["boots", "tent"]}),
    ("RecommendAnswer", "POST", "recommend", {"history": ["{item}"], "explain": True}),
    ("RecommendAnswer", "POST", "recommend", {"user": "nobody"}),
    ("RecommendBatchAnswer", "POST", "recommend/batch", {"users": ["a", "b"]}),
    ("SimilarAnswer", "POST", "similar", {"item": "{item}"}),
    ("FacetsAnswer", "POST", "facets", {"facets": ["color", "price", "in_stock"]}),
    ("AutocompleteAnswer", "POST", "autocomplete", {"prefix": "wa"}),
    ("AutocompleteAnswer", "GET", "autocomplete?prefix=wa&k=3", None),
    ("ExplainAnswer", "POST", "explain", {"item": "{item}", "query": "boots"}),
    ("ExplainAnswer", "POST", "explain", {"item": "{item}", "history": ["{item}"]}),
    ("ItemsAnswer", "POST", "items/get", {"items": ["{item}", "x"]}),
    ("ItemAnswer", "GET", "items/{item}", None),
    ("MapAnswer", "GET", "map", None),
    ("MapAnswer", "GET", "map?color=color", None),
    ("SpaceInfo", "GET", "", None),
    ("Reloaded", "POST", "reload", None),
]


@pytest.mark.parametrize(("model", "method", "path", "body"), ASKED)
def test_answers_fit_their_models(client, library, model, method, path, body):
    item = library.catalog.ids[0]
    place = f"{SHOP}/{path}".rstrip("/").replace("{item}", item)
    given = None if body is None else json.loads(json.dumps(body).replace("{item}", item))
    answer = client.request(method, place, json=given)
    assert answer.status_code == 200, answer.text
    made = getattr(answers, model).model_validate_json(answer.content, strict=True)
    assert made.model_dump(exclude_unset=True, mode="json") == answer.json()


@pytest.fixture(scope="module")
def fuzzed(built, bare, tmp_path_factory):
    """A server whose Spaces may be changed, and its document with their names in it."""
    folder = tmp_path_factory.mktemp("fuzzed")
    spaces = {path.stem: shutil.copytree(path, folder / path.name) for path in (built, bare)}
    app = Application(ServeConfig.parse({"spaces": spaces, "page": False, "limits": PATIENT}), systems=lambda: [ROW])
    with Space.open(spaces["shop"]) as space:
        items, columns = space.catalog.ids.values[:20].to_pylist(), list(space.catalog.schema.kinds)
    return app, with_names(document(ENDPOINTS, keys=False), list(spaces), items, columns)


@pytest.mark.parametrize(("method", "path"), [(endpoint.method, endpoint.path) for endpoint in ENDPOINTS])
def test_no_request_breaks_the_server(fuzzed, method, path):
    """Whatever the document allows, and what it does not: an answer that the document describes, and no 5xx."""
    app, told = fuzzed
    assert fuzz(app, told, method, path, EXAMPLES)
