"""What may be asked: one model per body, validated straight from its bytes. Keys nobody knows are refused, types are exact."""

from __future__ import annotations

from typing import Annotated, Any

from pydantic import BaseModel, ConfigDict, Field, WithJsonSchema

ID_LENGTH = 512
NAME_LENGTH = 256
FILTER_LENGTH = 10_000


class Asked(BaseModel):
    """Base of all bodies and queries."""

    model_config = ConfigDict(extra="forbid", strict=True, allow_inf_nan=False)


def _example(**values: Any) -> ConfigDict:
    return ConfigDict(extra="forbid", strict=True, allow_inf_nan=False, json_schema_extra={"examples": [values]})


Id = Annotated[
    str,
    Field(min_length=1, max_length=ID_LENGTH, strict=False, coerce_numbers_to_str=True),
    WithJsonSchema(
        {"anyOf": [{"type": "string", "minLength": 1, "maxLength": ID_LENGTH}, {"type": "integer"}]}, mode="validation"
    ),
]
"""An external ID; whole numbers are read as their digits."""
Name = Annotated[str, Field(min_length=1, max_length=NAME_LENGTH)]
Filter = Annotated[
    str, Field(max_length=FILTER_LENGTH, description='What must hold of an item: "price < 80 and in_stock".')
]
Count = Annotated[int, Field(ge=1, description="How many hits to return.")]
Columns = Annotated[
    list[Name],
    Field(max_length=200, description="The columns to show with each hit; by default a few that tell what it is."),
]
Scalar = str | int | float | bool | None
Value = Scalar | list[str | int | float | bool | None]
Row = Annotated[dict[Name, Value], Field(min_length=1, max_length=1_000)]


class Search(Asked):
    """Options of a search."""

    k: Count = 10
    where: Filter | None = None
    by: Name | None = Field(
        None, description='"hybrid", "lexical", "dense" or "system"; by default the fullest there is.'
    )
    facets: list[Name] = Field(default=[], max_length=50, description="Columns to count over everything that matches.")
    sort: list[Name] = Field(
        default=[], max_length=20, description='Columns that order instead of relevance, "-" for descending.'
    )
    offset: int = Field(0, ge=0, description="Hits to pass over first.")
    group_by: Name | None = Field(None, description="Show one hit per value of this column.")
    explain: bool = Field(False, description="Say which words matched, and what each step did.")
    columns: Columns | None = None
    rules: bool = Field(True, description="Apply the merchandising rules of the Space.")


class SearchRequest(Search):
    """One search. A blank query lists items by popularity."""

    model_config = _example(query="waterproof boots", k=5, where="price < 120 and in_stock", facets=["color"])

    query: str


class SearchBatchRequest(Search):
    """Several searches with the same options."""

    model_config = _example(queries=["waterproof boots", "tent"], k=5)

    queries: list[str] = Field(min_length=1)


class Recommend(Asked):
    """Options of a recommendation."""

    k: Count = 10
    where: Filter | None = None
    exclude_seen: bool = Field(True, description="Leave out what is in the history.")
    explain: bool = Field(False, description="Say which history items spoke for each hit.")
    columns: Columns | None = None
    rules: bool = Field(True, description="Apply the merchandising rules of the Space.")


class RecommendRequest(Recommend):
    """For a history (item IDs, oldest first) or a known user; a history given wins."""

    model_config = _example(history=["P0001", "P0002"], k=5, where="in_stock")

    history: list[Id] | None = None
    user: Id | None = None


class RecommendBatchRequest(Recommend):
    """For several histories, or several users."""

    model_config = _example(users=["u17", "u18"], k=5)

    histories: list[list[Id]] | None = Field(None, min_length=1)
    users: list[Id] | None = Field(None, min_length=1)


class SimilarRequest(Asked):
    """Items like one item."""

    model_config = _example(item="P0001", by="text", k=5)

    item: Id
    by: Name = Field("text", description='"text" (their words) or "behavior" (what users did with both).')
    k: Count = 10
    where: Filter | None = None
    columns: Columns | None = None
    rules: bool = Field(True, description="Apply the merchandising rules of the Space.")


class FacetsRequest(Asked):
    """What there is to choose from, counted."""

    model_config = _example(query="boots", facets=["color", "price"])

    query: str = ""
    where: Filter | None = None
    facets: list[Name] = Field(min_length=1, max_length=50)


class AutocompleteRequest(Asked):
    """What somebody may be typing."""

    model_config = _example(prefix="wat", k=5)

    prefix: str
    k: Count = 8


class ExplainRequest(Asked):
    """Why an item answers a query, or is recommended to a history or user."""

    model_config = _example(item="P0001", query="waterproof boots")

    item: Id
    query: str | None = None
    history: list[Id] | None = None
    user: Id | None = None


class ItemsRequest(Asked):
    """Several items by ID."""

    model_config = _example(items=["P0001", "P0002"], columns=["title", "price"])

    items: list[Id] = Field(min_length=1)
    columns: Columns | None = None


class AddRequest(Asked):
    """Items to add, or to put in the place of those whose ID is known: every one with its ID."""

    model_config = _example(
        items=[{"item_id": "N1", "title": "Inflatable lighthouse", "price": 15.0, "in_stock": True}]
    )

    items: list[Row] = Field(min_length=1)


class UpdateRequest(Asked):
    """Columns to change of known items; every row has the ID and the same columns."""

    model_config = _example(items=[{"item_id": "P0001", "price": 9.99, "in_stock": False}])

    items: list[Row] = Field(min_length=1)


class RemoveRequest(Asked):
    """Items to remove."""

    model_config = _example(items=["P0001"])

    items: list[Id] = Field(min_length=1)


class Event(Asked):
    """Something that a user did with an item. Without a time it happened now."""

    user: Id
    item: Id
    time: int | float | str | None = Field(None, description="Unix seconds, or a date such as 2024-05-31T12:00:00.")
    event: Name | None = None
    weight: float | None = None


class EventsRequest(Asked):
    """Events to log."""

    model_config = _example(events=[{"user": "u17", "item": "P0002", "event": "purchase"}])

    events: list[Event] = Field(min_length=1)


class MapRequest(Asked):
    """The column that colors the map."""

    color: Name | None = None


class Empty(Asked):
    """No options."""
