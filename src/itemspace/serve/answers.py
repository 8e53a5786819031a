"""What is answered: the models that the OpenAPI document shows. Hot paths write the same as plain dictionaries; tests hold
one to the other."""

from __future__ import annotations

from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, Field


class Answer(BaseModel):
    """Base of all answers."""

    model_config = ConfigDict(extra="forbid")


def _example(**values: Any) -> ConfigDict:
    return ConfigDict(json_schema_extra={"examples": [values]})


_HIT = {
    "item": "P0001",
    "rank": 1,
    "score": 0.98,
    "fields": {"title": "Waterproof Hiking Boots", "category": "Footwear", "price": 89.5, "in_stock": True},
}
_STATE = {"version": 42, "took_ms": 3.1}
_COLORS = [
    {"value": "red", "count": 12, "where": "color = 'red'"},
    {"value": "blue", "count": 9, "where": "color = 'blue'"},
]


class HistoryReason(Answer):
    """A history item that spoke for a hit, and what it added to the score."""

    item: str
    added: float


class Because(Answer):
    """Why a hit came: the query's words with their share of the score by column, or the history items; and what rules did."""

    words: dict[str, dict[str, float]] | None = None
    history: list[HistoryReason] | None = None
    rules: list[str] | None = None


class Variants(Answer):
    """The value that a group of hits shares, and how many match."""

    value: str | None
    count: int


class Hit(Answer):
    """An item that answers. rank counts from 1 over all pages."""

    item: str
    rank: int
    score: float
    fields: dict[str, Any]
    because: Because | None = None
    variants: Variants | None = None


class FacetValue(Answer):
    """A value, how many matches have it, and the filter that keeps these."""

    value: str
    count: int
    where: str


class Moved(Answer):
    """An item that merchandising rules moved: from and to which rank, null where it was or is not among the answers."""

    item: str
    rules: list[str]
    did: str
    before: int | None
    after: int | None


class Step(Answer):
    """What one step of a search did."""

    step: str
    milliseconds: float
    requests: int
    cut: int
    filtered: str
    exact: bool | None
    note: str
    parts: list[Step]
    moved: dict[str, list[Moved]] | None = None


class SearchAnswer(Answer):
    """Hits, best first. total counts everything that matches; version is the state of the Space that answered."""

    model_config = _example(hits=[_HIT], total=64, facets={"color": _COLORS}, notes=[], **_STATE)

    hits: list[Hit]
    total: int | None
    facets: dict[str, list[FacetValue]] = {}
    explanation: Step | None = None
    notes: list[str]
    version: int
    took_ms: float


class SearchBatchAnswer(Answer):
    """An answer per query, in order."""

    answers: list[SearchAnswer]


class RecommendAnswer(Answer):
    """Hits, best first. fallback: "popularity" where nothing was known of whom they are for; notes say why."""

    model_config = _example(
        hits=[_HIT],
        fallback="popularity",
        notes=['user "someone new" is unknown: what is popular'],
        **_STATE,
    )

    hits: list[Hit]
    fallback: Literal["popularity"] | None
    notes: list[str]
    version: int
    took_ms: float


class RecommendBatchAnswer(Answer):
    """An answer per history or user, in order."""

    answers: list[RecommendAnswer]


class SimilarAnswer(Answer):
    """Hits, most alike first."""

    model_config = _example(hits=[_HIT], notes=[], **_STATE)

    hits: list[Hit]
    notes: list[str]
    version: int
    took_ms: float


class FacetsAnswer(Answer):
    """Counts per column over everything that matches."""

    model_config = _example(facets={"color": _COLORS}, total=64, **_STATE)

    facets: dict[str, list[FacetValue]]
    total: int
    version: int
    took_ms: float


class Suggestion(Answer):
    """A completion: the title of an item, or something that was searched for."""

    text: str
    kind: Literal["title", "query"]
    item: str | None = None


class AutocompleteAnswer(Answer):
    """Completions, likeliest first."""

    model_config = _example(
        suggestions=[
            {"text": "waterproof boots", "kind": "query", "item": None},
            {"text": "Waterproof Hiking Boots", "kind": "title", "item": "P0001"},
        ]
    )

    suggestions: list[Suggestion]


class Place(Answer):
    """Where an item stands in a ranking."""

    rank: int
    score: float


class ExplainAnswer(Answer):
    """Why an item came. places: its place in every ranking asked, null where it does not match."""

    model_config = _example(
        item="P0001",
        query="waterproof boots",
        places={"lexical": {"rank": 1, "score": 7.2}, "dense": {"rank": 3, "score": 0.81}},
        words={"waterproof": {"title": 3.9}, "boots": {"title": 3.3}},
        notes=[],
    )

    item: str
    query: str | None = None
    by: str | None = None
    places: dict[str, Place | None]
    words: dict[str, dict[str, float]] | None = None
    history: list[HistoryReason] | None = None
    seen: bool | None = None
    notes: list[str]


class Item(Answer):
    """An item."""

    item: str
    fields: dict[str, Any]


class ItemsAnswer(Answer):
    """The items that there are, in the order asked, and the IDs that are unknown."""

    model_config = _example(
        items=[{"item": "P0001", "fields": {"title": "Waterproof Hiking Boots"}}], unknown=["P9999"], version=42
    )

    items: list[Item]
    unknown: list[str]
    version: int


class ItemAnswer(Answer):
    """One item."""

    item: str
    fields: dict[str, Any]
    version: int


class Changed(Answer):
    """How many rows a change took, and the version from which on every answer knows of it."""

    model_config = _example(changed=1, version=43)

    changed: int
    version: int


class ColumnInfo(Answer):
    """A column and its kind."""

    name: str
    kind: str


class SpaceInfo(Answer):
    """A Space: how much of what, by what it can be asked, and which columns it shows and counts."""

    model_config = _example(
        name="shop",
        items=100000,
        users=52311,
        version=42,
        generation="000003",
        retrievers=["lexical", "dense", "hybrid"],
        similar_by=["text", "behavior"],
        recommends=True,
        columns=[{"name": "item_id", "kind": "id"}, {"name": "title", "kind": "text"}],
        shown=["title"],
        facets=[],
    )

    name: str
    items: int
    users: int
    version: int
    generation: str
    retrievers: list[str]
    similar_by: list[str]
    recommends: bool
    columns: list[ColumnInfo]
    shown: list[str]
    facets: list[str]


class SpacesAnswer(Answer):
    """Everything that is served."""

    spaces: list[SpaceInfo]


class Points(Answer):
    """Points of a map, a list per part."""

    x: list[float]
    y: list[float]
    item: list[str]
    label: list[str]
    color: list[int]


class MapAnswer(Answer):
    """The catalogue in two dimensions. color: an index into colors, -1 for none."""

    model_config = _example(
        points={"x": [0.12], "y": [-0.4], "item": ["P0001"], "label": ["Waterproof Hiking Boots"], "color": [0]},
        colors=["Footwear"],
        note="all items",
    )

    points: Points
    colors: list[str]
    note: str


class ReportsAnswer(Answer):
    """Reports of `itemspace evaluate`, by name."""

    reports: dict[str, dict[str, Any]]


class SystemRow(BaseModel):
    """One published system of the gallery."""

    model_config = ConfigDict(extra="allow")

    n: int
    slug: str
    title: str
    family: str
    state: str
    verdicts: list[str]
    source: str | None = None
    finding: dict[str, Any] | None = None


class SystemsAnswer(Answer):
    """The gallery."""

    systems: list[SystemRow]


class SourceAnswer(Answer):
    """The file that builds a published system; path: in the package."""

    slug: str
    path: str
    text: str


class Reloaded(Answer):
    """Whether a newer generation was there to open, and which one answers now."""

    model_config = _example(reloaded=True, generation="000004", version=1)

    reloaded: bool
    generation: str
    version: int


class Health(Answer):
    """The process lives."""

    status: Literal["ok"]
    itemspace: str


class Ready(Answer):
    """Whether every Space is open."""

    model_config = _example(ready=True, spaces={"shop": True})

    ready: bool
    spaces: dict[str, bool]


class ErrorDetail(BaseModel):
    """What went wrong. type is for programs, message for people; request_id finds it in the log."""

    model_config = ConfigDict(extra="allow")

    type: str = Field(examples=["bad_filter"])
    message: str
    request_id: str


class ErrorAnswer(Answer):
    """Every answer that is none."""

    model_config = _example(
        error={
            "type": "bad_filter",
            "message": "no column `prise`. Did you mean `price`?",
            "request_id": "9f0c2b71d3e84a65",
            "position": 0,
        }
    )

    error: ErrorDetail
