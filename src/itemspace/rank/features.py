"""`Features`: everything a learned ranker reads of a request and its candidates, as one named array."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Self

import numpy as np
import pyarrow as pa

from itemspace.core.catalog import Catalog
from itemspace.core.contracts import Encoder, Persistent, Retriever
from itemspace.core.errors import ContractError
from itemspace.core.keeping import follow, open_part, save_part
from itemspace.core.ragged import Ragged
from itemspace.core.requests import Requests
from itemspace.core.selection import Selection
from itemspace.encode.fields import TextFields
from itemspace.index.bm25 import BM25Index
from itemspace.index.flat import FlatIndex
from itemspace.rank.behavior import BEHAVIOR, Behavior

DAY = 86_400


class Features(Persistent):
    """Scores that retrievers give each candidate, columns of the catalogue, and behavior.

    retrievers: name -> retriever; its feature is its score of the candidate, 0 where it would not find it (no shared
    word). columns: number, boolean and time columns; a time becomes the days before the request's `as_of` (before
    `moment`, Unix seconds, where it has none). Behavior is given with each call, so that a model can be trained on what
    one part of a log says and on the clicks of another.

    `Features.of(catalog)` makes the usual ones. Retrievers that somebody else keeps (a Space's own) are `shared`: they
    are not saved, and come back by `attach`.
    """

    def __init__(
        self,
        retrievers: Mapping[str, Retriever],
        columns: Sequence[str] = (),
        *,
        moment: int = 0,
        shared: bool = False,
    ) -> None:
        self.retrievers = dict(retrievers)
        self.expected = tuple(self.retrievers)
        self.columns, self.moment, self.shared = tuple(columns), int(moment), shared
        self._catalog: Catalog | None = None
        self._values = np.zeros((0, len(self.columns)))

    @classmethod
    def of(cls, catalog: Catalog, *, encoder: Encoder | None = None, columns: Sequence[str] | None = None) -> Features:
        """BM25 over all words and over each column of them, the idf of matched words, the vectors of a fitted `encoder`
        where there is one, and every number, boolean and time column (or the `columns` named).
        """
        words = catalog.text_columns()
        made: dict[str, Retriever] = {}
        if words:
            made["bm25"] = (TextFields(columns=tuple(words)) >> BM25Index()).build(catalog)
            made["matched_words"] = (TextFields(columns=tuple(words)) >> BM25Index(k1=0.0)).build(catalog)
        if len(words) > 1:
            made |= {f"bm25_{name}": (TextFields(columns=(name,)) >> BM25Index()).build(catalog) for name in words}
        if encoder is not None:
            made["dense"] = (encoder >> FlatIndex()).build(catalog)
        return cls(made, numeric_columns(catalog) if columns is None else columns).bind(catalog)

    @property
    def names(self) -> tuple[str, ...]:
        """The names of all features, in order."""
        return (*self.expected, *self.columns, *BEHAVIOR)

    def bind(self, catalog: Catalog) -> Self:
        """Read the columns of `catalog`, the one the retrievers search."""
        self._catalog = catalog
        self._values = np.column_stack(
            [column_values(catalog, name) for name in self.columns] or [np.zeros((len(catalog), 0))]
        )
        self._times = np.array([catalog.schema[name] == "time" for name in self.columns], bool)
        if not self.moment and self._times.any():
            newest = np.nanmax(self._values[:, self._times], initial=0.0)
            self.moment = int(newest)
        for retriever in self.retrievers.values():
            if not self.shared:
                retriever.bind(catalog)
        return self

    def attach(self, retrievers: Mapping[str, Retriever]) -> Self:
        """Give shared retrievers back after opening.

        Raises:
            ContractError: one that the features were made with is missing.
        """
        missing = [name for name in self.expected if name not in retrievers]
        if missing:
            raise ContractError(f"these features were made with `{missing[0]}`, which is not there any more.")
        self.retrievers = {name: retrievers[name] for name in self.expected}
        return self

    def follow(self, catalog: Catalog, changed: np.ndarray, removed: np.ndarray) -> None:
        """Bring the own retrievers up to date with rows that changed and rows that left."""
        if not self.shared:
            for retriever in self.retrievers.values():
                follow(retriever, catalog, changed, removed)
        self.bind(catalog)

    def static(self, requests: Requests, candidates: np.ndarray) -> np.ndarray:
        """The features that no log enters float32 [q, c, s], for candidate rows [q, c] (-1 for none)."""
        if self._catalog is None:
            raise ContractError("features are of a catalogue: bind(catalog) first.")
        q, c = candidates.shape
        out = np.zeros((q, c, len(self.expected) + len(self.columns)), np.float32)
        for place, name in enumerate(self.expected):
            if name not in self.retrievers:
                raise ContractError(f"the feature `{name}` needs its retriever: attach(...) it.")
            out[:, :, place] = scores_within(self.retrievers[name], requests, candidates, len(self._catalog))
        values = self._values[np.maximum(candidates, 0)]
        if self._times.any():
            now = np.full(q, self.moment, np.int64) if requests.as_of is None else requests.as_of
            values = np.where(self._times, (now[:, None, None] - values) / DAY, values)
        out[:, :, len(self.expected) :] = values
        return out

    def compute(self, requests: Requests, candidates: np.ndarray, behavior: Behavior) -> np.ndarray:
        """All features float32 [q, c, f] in the order of `names`; NaN where unknown."""
        static = self.static(requests, candidates)
        return np.concatenate([static, behavior.features(requests, candidates)], axis=2)

    def save(self, folder: Path) -> None:
        told = {
            "retrievers": list(self.expected),
            "columns": list(self.columns),
            "moment": self.moment,
            "shared": self.shared,
        }
        (folder / "features.json").write_text(json.dumps(told, indent=1))
        if not self.shared:
            for number, name in enumerate(self.expected):
                save_part(self.retrievers[name], folder / f"retriever-{number}")

    @classmethod
    def open(cls, folder: Path) -> Self:
        """What was saved; `bind` it to the catalogue, and `attach` shared retrievers."""
        told = json.loads((folder / "features.json").read_text())
        made = {} if told["shared"] else {
            name: open_part(folder / f"retriever-{number}") for number, name in enumerate(told["retrievers"])
        }  # fmt: skip
        features = cls(made, told["columns"], moment=told["moment"], shared=told["shared"])
        features.expected = tuple(told["retrievers"])
        return features


def numeric_columns(catalog: Catalog) -> tuple[str, ...]:
    """The columns of a catalogue that are numbers, true or false, or times."""
    return tuple(catalog.schema.columns("number", "boolean", "time"))


def column_values(catalog: Catalog, name: str) -> np.ndarray:
    """A number, boolean or time column as float64 [n]: Unix seconds for times, NaN where missing.

    Raises:
        SchemaError: there is no such column. ContractError: it is not of such a kind.
    """
    kind, column = catalog.schema[name], catalog.column(name)
    if kind not in ("number", "boolean", "time"):
        raise ContractError(f"`{name}` is a {kind} column; features read numbers, booleans and times.")
    if pa.types.is_temporal(column.type):
        column = column.cast(pa.timestamp("us")).cast(pa.int64())
        return np.asarray(column.cast(pa.float64()).fill_null(np.nan), np.float64) / 1e6
    return np.asarray(column.cast(pa.float64()).fill_null(np.nan), np.float64)


def scores_within(retriever: Retriever, requests: Requests, candidates: np.ndarray, size: int) -> np.ndarray:
    """The score a retriever gives each candidate float32 [q, c], 0 where it does not find it; size: rows there are."""
    q, c = candidates.shape
    present = candidates >= 0
    if not present.any():
        return np.zeros((q, c), np.float32)
    lengths = present.sum(1)
    include = Ragged(candidates[present].astype(np.int32), np.concatenate(([0], np.cumsum(lengths))).astype(np.int64))
    found = retriever.search(replace(requests, exclude=None), c, Selection(size, include=include))
    asked = np.broadcast_to(np.arange(q)[:, None], found.rows.shape)
    held = found.rows >= 0
    keys = asked[held].astype(np.int64) * size + found.rows[held]
    if not len(keys):
        return np.zeros((q, c), np.float32)
    order = np.argsort(keys)
    keys, scores = keys[order], found.scores[held][order]
    wanted = np.arange(q)[:, None] * np.int64(size) + np.maximum(candidates, 0)
    at = np.minimum(np.searchsorted(keys, wanted), len(keys) - 1)
    return np.where(present & (keys[at] == wanted), scores[at], 0.0).astype(np.float32)
