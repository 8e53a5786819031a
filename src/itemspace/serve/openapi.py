"""The OpenAPI 3.1 document, written from the same table that leads requests."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from pydantic import BaseModel
from pydantic.json_schema import models_json_schema

from itemspace._version import __version__
from itemspace.serve.answers import ErrorAnswer
from itemspace.serve.config import NAME
from itemspace.serve.models import ID_LENGTH
from itemspace.serve.table import Endpoint

_REFERENCE = "#/components/schemas/{model}"
_ERRORS = {
    400: "What was sent cannot be read: malformed JSON, path or query.",
    401: "No key, or one that is not known.",
    403: "The key lacks the scope.",
    404: "No such Space, item, report or path.",
    408: "The body took too long to arrive.",
    409: "The Space, as it is, cannot answer this.",
    413: "The body is too large.",
    415: "The body is not JSON.",
    421: "A server without keys answers to names of its own machine only.",
    422: "What was sent does not fit: a key, a type, a limit, a filter, a column, an ID.",
    429: "Too many requests; Retry-After says when to go on.",
    500: "A fault of the server. Its log has it under the request's id.",
    501: "The server lacks an optional part.",
    503: "Too much is being asked at once, or the server is starting or ending; Retry-After says when to try again.",
    504: "The answer took too long.",
}
_PATH = {
    "space": {"type": "string", "pattern": f"^{NAME.pattern}$"},
    "id": {"type": "string", "minLength": 1, "maxLength": ID_LENGTH},
    "slug": {"type": "string", "pattern": "^[a-z0-9_]+$", "maxLength": 80},
}
_DESCRIPTIONS = {
    "slug": "A published system.",
    "space": "The name of a Space.",
    "id": "The item's ID, percent-encoded.",
}
_SECURITY = {
    "bearer": {"type": "http", "scheme": "bearer"},
    "key": {"type": "apiKey", "in": "header", "name": "X-API-Key"},
}


def document(endpoints: Iterable[Endpoint], *, keys: bool) -> dict[str, Any]:
    """The document. keys: whether the server asks for keys."""
    every = tuple(endpoints)
    references, schemas = _schemas(every)
    paths: dict[str, dict[str, Any]] = {}
    for endpoint in every:
        made = _operation(endpoint, references, schemas, keys=keys)
        paths.setdefault(endpoint.path, {})[endpoint.method.lower()] = made
    return {
        "openapi": "3.1.0",
        "info": {
            "title": "itemspace",
            "version": __version__,
            "description": "Search and recommendations over HTTP. IDs are yours, in and out. A filter applies before the cut: "
            "k matching items come back whenever k exist. Every error is an object with a type, a message and a request id.",
        },
        "tags": [{"name": name} for name in dict.fromkeys(endpoint.tag for endpoint in every)],
        "paths": paths,
        "components": {
            "schemas": schemas,
            "securitySchemes": _SECURITY,
            "responses": {str(status): _error(told) for status, told in _ERRORS.items()},
        },
    }


def errors_of(endpoint: Endpoint) -> list[int]:
    """The statuses an endpoint may refuse with."""
    found = {400, 421, 500, *endpoint.errors}
    if not endpoint.cheap:
        found |= {429, 503, 504}
    if endpoint.scope is not None:
        found |= {401, 403, 429}
    if endpoint.names or endpoint.path in ("/v1/systems",):
        found |= {404}
    if endpoint.names:
        found |= {409, 501}
    if endpoint.request is not None:
        found |= {422}
    if endpoint.has_body:
        found |= {408, 413, 415}
    return sorted(found)


def _schemas(endpoints: Iterable[Endpoint]) -> tuple[dict[type[BaseModel], dict[str, Any]], dict[str, Any]]:
    """References and definitions of every model: bodies as they are read, answers as they are written."""
    asked = {endpoint.request for endpoint in endpoints if endpoint.request is not None}
    answered = {endpoint.answer for endpoint in endpoints if endpoint.answer is not None} | {ErrorAnswer}
    wanted: list[tuple[type[BaseModel], Any]] = [(model, "validation") for model in asked]
    wanted += [(model, "serialization") for model in answered]
    wanted.sort(key=lambda pair: pair[0].__name__)
    found, made = models_json_schema(wanted, ref_template=_REFERENCE)
    references: Any = {model: schema for (model, _), schema in found.items()}
    return references, made["$defs"]


def _operation(
    endpoint: Endpoint, references: dict[type[BaseModel], dict[str, Any]], schemas: dict[str, Any], *, keys: bool
) -> dict[str, Any]:
    made: dict[str, Any] = {
        "operationId": f"{endpoint.handler.__name__.strip('_')}_{endpoint.method.lower()}",
        "summary": endpoint.summary,
        "tags": [endpoint.tag],
        "parameters": [*_path_parameters(endpoint), *_query_parameters(endpoint, references, schemas)],
        "responses": {"200": _answer(endpoint, references)},
    }
    if endpoint.request is not None and endpoint.request.__doc__:
        made["description"] = endpoint.request.__doc__.strip()
    for status in errors_of(endpoint):
        made["responses"][str(status)] = {"$ref": f"#/components/responses/{status}"}
    if endpoint.path == "/ready" and endpoint.answer is not None:  # it says which Space is not open
        content = _json(references[endpoint.answer])
        made["responses"]["503"] = {"description": "A Space is not open.", "content": content}
    if endpoint.has_body:
        assert endpoint.request is not None
        made["requestBody"] = {"required": True, "content": _json(references[endpoint.request])}
    if endpoint.scope is not None:
        made["security"] = [{name: []} for name in _SECURITY] + ([] if keys else [{}])
        made["x-scope"] = endpoint.scope
    return made


def _path_parameters(endpoint: Endpoint) -> list[dict[str, Any]]:
    return [
        {"name": name, "in": "path", "required": True, "schema": _PATH[name], "description": _DESCRIPTIONS[name]}
        for name in endpoint.names
    ]


def _query_parameters(
    endpoint: Endpoint, references: dict[type[BaseModel], dict[str, Any]], schemas: dict[str, Any]
) -> list[dict[str, Any]]:
    if endpoint.request is None or endpoint.has_body:
        return []
    schema = schemas[references[endpoint.request]["$ref"].rpartition("/")[2]]
    required = schema.get("required", ())
    return [
        {"name": name, "in": "query", "required": name in required, "schema": _in_address(part)}
        for name, part in schema.get("properties", {}).items()
    ]


def _in_address(schema: dict[str, Any]) -> dict[str, Any]:
    """A property without null, which an address cannot say."""
    kinds = [kind for kind in schema.get("anyOf", ()) if kind.get("type") != "null"]
    rest = {name: value for name, value in schema.items() if name not in ("anyOf", "default")}
    return {**rest, **kinds[0]} if kinds else schema


def _answer(endpoint: Endpoint, references: dict[type[BaseModel], dict[str, Any]]) -> dict[str, Any]:
    if endpoint.answer is not None:
        told = (endpoint.answer.__doc__ or endpoint.summary).strip()
        return {"description": told, "content": _json(references[endpoint.answer])}
    schema = {"type": "object"} if endpoint.media == "application/json" else {"type": "string"}
    return {"description": endpoint.summary, "content": {endpoint.media: {"schema": schema}}}


def _error(told: str) -> dict[str, Any]:
    return {"description": told, "content": _json({"$ref": _REFERENCE.format(model="ErrorAnswer")})}


def _json(schema: dict[str, Any]) -> dict[str, Any]:
    return {"application/json": {"schema": schema}}
