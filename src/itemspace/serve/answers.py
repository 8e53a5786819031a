"""What is answered: the models that the OpenAPI document shows. Hot paths write the same as plain dictionaries; tests hold
one to the other."""

from __future__ import annotations

from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, Field


class Answer(BaseModel):
    """Base of all answers."""

    model_config = ConfigDict(extra="forbid")


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

    hits: list[Hit]
    notes: list[str]
    version: int
    took_ms: float


class FacetsAnswer(Answer):
    """Counts per column over everything that matches."""

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

    suggestions: list[Suggestion]


class Place(Answer):
    """Where an item stands in a ranking."""

    rank: int
    score: float


class ExplainAnswer(Answer):
    """Why an item came. places: its place in every ranking asked, null where it does not match."""

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

    changed: int
    version: int


class ColumnInfo(Answer):
    """A column and its kind."""

    name: str
    kind: str


class SpaceInfo(Answer):
    """A Space: how much of what, by what it can be asked, and which columns it shows and counts."""

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


class Reloaded(Answer):
    """Whether a newer generation was there to open, and which one answers now."""

    reloaded: bool
    generation: str
    version: int


class Health(Answer):
    """The process lives."""

    status: Literal["ok"]
    itemspace: str


class Ready(Answer):
    """Whether every Space is open."""

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

    error: ErrorDetail
