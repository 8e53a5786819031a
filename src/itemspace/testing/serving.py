"""Requests that a server's own document allows, and some that it does not: none may break it. Needs `schemathesis`."""

from __future__ import annotations

import copy
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

HOME = "http://127.0.0.1:8000"


FILTERS = (
    "in_stock",
    "price < 80",
    "not in_stock and price between 10 and 200",
    "category is not null",
    "price <",
    "'x'",
)


def with_names(
    document: Mapping[str, Any], spaces: Sequence[str], items: Sequence[str], columns: Sequence[str]
) -> dict[str, Any]:
    """The document with the Spaces, some items and the columns there are offered beside what it allows, so that more
    requests get past the door."""
    made: dict[str, Any] = copy.deepcopy(dict(document))
    item, column = {"enum": list(items)}, {"enum": [*columns, *(f"-{name}" for name in columns)]}
    known: dict[str, Any] = {
        "item": item,
        "id": item,
        "color": column,
        "group_by": column,
        "where": {"enum": list(FILTERS)},
        "by": {"enum": ["hybrid", "lexical", "dense", "text", "behavior"]},
        "k": {"type": "integer", "minimum": 1, "maximum": 30},
        "offset": {"type": "integer", "minimum": 0, "maximum": 50},
        "histories": {"type": "array", "items": {"type": "array", "items": item}, "minItems": 1, "maxItems": 3},
        "history": {"type": "array", "items": item},
    }
    known |= {name: {"type": "array", "items": column, "minItems": 1} for name in ("facets", "sort", "columns")}
    for _, _, operation in operations(made):
        for part in operation["parameters"]:
            if part["name"] == "space":
                part["schema"] = {"enum": list(spaces)}
            elif part["name"] in known:
                part["schema"] = {"anyOf": [known[part["name"]], part["schema"]]}
    row = {"item_id": item, "title": {"type": "string"}, "price": {"type": ["number", "string", "null"]}}
    rows = {"type": "object", "properties": row, "required": ["item_id"], "additionalProperties": False}
    for name, schema in made["components"]["schemas"].items():
        fields = schema.get("properties", {})
        if not (name.endswith("Request") or name == "Event"):
            continue
        offered = known | {"items": {"type": "array", "items": item, "minItems": 1}}
        if name in ("AddRequest", "UpdateRequest"):
            offered["items"] = {"type": "array", "items": rows, "minItems": 1}
        if name == "EventsRequest":
            offered = {}
        for field in fields.keys() & offered.keys():
            fields[field] = {"anyOf": [offered[field], fields[field]]}
    return made


def operations(document: Mapping[str, Any]) -> Iterator[tuple[str, str, dict[str, Any]]]:
    """Method, path and operation, one by one."""
    for path, methods in document["paths"].items():
        for method, operation in methods.items():
            yield method.upper(), path, operation


def fuzz(
    app: Any, document: Mapping[str, Any], method: str, path: str, examples: int, *, seed: int = 0
) -> Counter[int]:
    """Ask one operation `examples` different questions. Returns how many were answered with which status.

    Raises:
        AssertionError: an answer of 5xx, or with a status, media type or form that the document does not know; the text
            has the request as a curl line.
    """
    import schemathesis
    from hypothesis import HealthCheck, Phase, given, settings
    from hypothesis import seed as seeded
    from hypothesis import strategies as st
    from schemathesis.checks import not_a_server_error
    from schemathesis.core.failures import FailureGroup
    from schemathesis.specs.openapi import checks

    asked = [
        not_a_server_error,
        checks.status_code_conformance,
        checks.content_type_conformance,
        checks.response_schema_conformance,
    ]
    operation = schemathesis.openapi.from_dict(dict(document))[path][method]
    modes = [schemathesis.GenerationMode.POSITIVE]
    if method != "GET" or "{" in path:
        modes.append(schemathesis.GenerationMode.NEGATIVE)
    found: Counter[int] = Counter()

    @seeded(seed)
    @settings(
        max_examples=examples,
        deadline=None,
        database=None,
        phases=[Phase.explicit, Phase.generate],
        suppress_health_check=list(HealthCheck),
    )
    @given(case=st.one_of(*(operation.as_strategy(generation_mode=mode) for mode in modes)))
    def ask(case: Any) -> None:
        answer = case.call(app=app, base_url=HOME)
        found[answer.status_code] += 1
        case.validate_response(answer, checks=asked)

    try:
        ask()
    except FailureGroup as group:
        raise AssertionError("\n".join(map(str, group.exceptions))) from None
    return found
