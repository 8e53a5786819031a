"""Every refusal as one kind of answer: `{"error": {"type", "message", "request_id", ...}}` with the status that fits."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from pydantic import BaseModel, ValidationError

from itemspace.core.config import _keys, _told
from itemspace.core.errors import (
    ArtifactError,
    CapacityError,
    DataError,
    FilterError,
    MissingExtraError,
    RequestError,
    SchemaError,
    nearest,
    shown,
)
from itemspace.serve.batching import Overloaded, TimedOut

MOST_DETAILS = 20
"""Problems told of one body."""


@dataclass
class Refusal(Exception):
    """An answer that is no answer: `status`, a short `type` for programs, a `message` for people, and what goes with it."""

    status: int
    type: str
    message: str
    headers: dict[str, str] = field(default_factory=dict)
    details: dict[str, Any] = field(default_factory=dict)

    def body(self, request_id: str) -> dict[str, Any]:
        return {"error": {"type": self.type, "message": self.message, "request_id": request_id, **self.details}}


def refusal(error: BaseException) -> Refusal | None:
    """What an error of the library is answered with; None for what nobody foresaw."""
    if isinstance(error, Refusal):
        return error
    if isinstance(error, Overloaded):
        wait = max(1, round(error.retry_after))
        return Refusal(503, "overloaded", str(error), headers={"Retry-After": str(wait)})
    if isinstance(error, (TimedOut, TimeoutError)):
        told = str(error) or "the answer took too long. Ask for less, or try again."
        return Refusal(504, "timed_out", told)
    if isinstance(error, FilterError):
        return Refusal(422, "bad_filter", str(error), details=_some(position=error.position))
    if isinstance(error, DataError):
        kind = "bad_columns" if isinstance(error, SchemaError) else "bad_data"
        return Refusal(422, kind, str(error), details=_some(row=error.row, column=error.column))
    if isinstance(error, RequestError):
        return Refusal(422, "bad_request", str(error))
    if isinstance(error, CapacityError):
        return Refusal(422, "too_much", str(error))
    if isinstance(error, ArtifactError):
        return Refusal(409, "artifact", str(error))
    if isinstance(error, MissingExtraError):
        return Refusal(501, "not_installed", str(error))
    return _of_rules(error)


def _of_rules(error: BaseException) -> Refusal | None:
    from itemspace.search.rules import RuleError  # what it stands on is loaded by then

    told = f"the rules of this Space do not fit it any more: {error}"
    return Refusal(409, "rules", told) if isinstance(error, RuleError) else None


def unforeseen() -> Refusal:
    """What an error is answered with that nobody foresaw: nothing of its text or place; the log has both."""
    return Refusal(500, "internal", "something went wrong here. The server's log has it under this request's id.")


def invalid(model: type[BaseModel], error: ValidationError) -> Refusal:
    """A body or query that does not fit its model: malformed JSON is 400, everything else 422 with a line per problem."""
    found = error.errors(include_url=False)
    if found and found[0]["type"] == "json_invalid":
        told = str(found[0].get("ctx", {}).get("error", found[0]["msg"]))
        return Refusal(400, "malformed_json", f"the body is not JSON: {shown(told, 200)}.")
    problems = [_problem(model, item) for item in found[:MOST_DETAILS]]
    message = "\n".join(f"`{at}` {told}" if at else told for at, told in problems)
    details = [{"at": at, "message": told} for at, told in problems]
    return Refusal(422, "invalid", message, details={"problems": details})


def _problem(model: type[BaseModel], item: Mapping[str, Any]) -> tuple[str, str]:
    at = ".".join(shown(part) for part in item["loc"])
    if item["type"] == "extra_forbidden":
        path = tuple(part for part in item["loc"][:-1] if isinstance(part, str))
        valid = _keys(model, path)
        hint = nearest(str(item["loc"][-1]), valid) or f" Known: {', '.join(valid) or 'none'}."
        return at, f"is unknown.{hint}"
    if item["type"] == "model_type":
        return at, "should be an object of keys and values." if at else "the body should be an object."
    told = _told(dict(item))
    if item["type"] == "missing":
        return at, f"{told}."
    return at, f"{told}, got {shown(repr(item.get('input')))}."


def _some(**values: Any) -> dict[str, Any]:
    return {name: value for name, value in values.items() if value is not None}
