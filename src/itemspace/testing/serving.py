"""Requests that a server's own document allows, and some that it does not: none may break it. Needs `schemathesis`."""

from __future__ import annotations

import copy
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

HOME = "http://127.0.0.1:8000"


def with_names(document: Mapping[str, Any], spaces: Sequence[str], items: Sequence[str]) -> dict[str, Any]:
    """The document with the Spaces and some of the items there are, so that more requests get past the door."""
    made: dict[str, Any] = copy.deepcopy(dict(document))
    known = {"enum": list(items)}
    for _, _, operation in operations(made):
        for part in operation["parameters"]:
            if part["name"] == "space":
                part["schema"] = {"enum": [*spaces, "none"]}
            if part["name"] == "id":
                part["schema"] = {"anyOf": [known, part["schema"]]}
    for name, field in (("SimilarRequest", "item"), ("ExplainRequest", "item"), ("Event", "item")):
        fields = made["components"]["schemas"][name]["properties"]
        fields[field] = {"anyOf": [known, fields[field]]}
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

    ask()
    return found
