"""`Behavior`: what a log says of query-item pairs and of items, as features of candidates."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Self

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from itemspace.core.contracts import Persistent
from itemspace.core.errors import DataError
from itemspace.core.ids import Ids
from itemspace.core.interactions import Impressions, Interactions
from itemspace.core.requests import Requests
from itemspace.rank.clicks.base import rate
from itemspace.rank.clicks.lists import Pairs

PAIR = ("pair_shown", "pair_clicks", "pair_ctr", "pair_attractiveness")
ITEM = ("item_shown", "item_clicks", "item_ctr", "item_attractiveness", "item_events")
BEHAVIOR = (*PAIR, *ITEM)
"""The names of the features, in order. Counts are log(1 + n); rates of what was never shown are NaN."""


@dataclass(frozen=True)
class Behavior(Persistent):
    """Counts and rates of one log, looked up by the words of the query and the row of the item.

    keys: int64 [pairs], sorted query number x items + item row. pair: float32 [pairs, 4]. item: float32 [items, 5].
    texts: the queries, normalized and distinct.
    """

    texts: tuple[str, ...]
    items: int
    keys: np.ndarray
    pair: np.ndarray
    item: np.ndarray

    @classmethod
    def of(
        cls,
        shown: Impressions,
        examination: np.ndarray,
        *,
        interactions: Interactions | None = None,
        prior: float = 5.0,
    ) -> Self:
        """From a log and the examination of its ranks [ranks] (deeper ones count as the last).

        Attractiveness is clicks over exposure, the sum of the examinations of where a pair stood: unbiased where the
        position-based model holds. Rates are pulled to the mean by `prior` showings (of examined ones, for
        attractiveness). interactions: what else users did, counted per item.
        """
        texts, query = numbered_queries(shown)
        items = len(shown.items)
        keys, at = np.unique(query * items + shown.item, return_inverse=True)
        looked = examination[np.minimum(shown.position, len(examination) - 1)]
        events = np.zeros(items) if interactions is None else np.bincount(interactions.item, minlength=items)
        pair = _rates(at.reshape(-1), len(keys), shown.outcome > 0, looked, prior)
        item = np.column_stack([_rates(shown.item, items, shown.outcome > 0, looked, prior), np.log1p(events)])
        return cls(texts, items, keys, pair, item.astype(np.float32))

    def features(self, requests: Requests, candidates: np.ndarray) -> np.ndarray:
        """float32 [q, c, 9] in the order of `BEHAVIOR`; of candidates that came after the log, NaN and 0 shown."""
        query = self._queries.find(normalized(requests.text or [""] * len(requests)))
        known = (candidates >= 0) & (candidates < self.items)
        rows = np.where(known, candidates, 0).astype(np.int64)
        at = Pairs(self.keys).find((query[:, None] * self.items + rows).ravel()).reshape(rows.shape)
        at = np.where(known & (query >= 0)[:, None], at, len(self.keys))
        pair = np.concatenate([self.pair, [_ABSENT[: len(PAIR)]]])[at]
        item = np.concatenate([self.item, [_ABSENT[len(PAIR) :]]])[np.where(known, rows, self.items)]
        return np.concatenate([pair, item], axis=2).astype(np.float32)

    @cached_property
    def _queries(self) -> Ids:
        return Ids(list(self.texts), kind="query")

    def save(self, folder: Path) -> None:
        for name in ("keys", "pair", "item"):
            np.save(folder / f"behavior-{name}.npy", getattr(self, name))
        told = {"items": self.items, "texts": list(self.texts)}
        (folder / "behavior.json").write_text(json.dumps(told, ensure_ascii=False), encoding="utf-8")

    @classmethod
    def open(cls, folder: Path) -> Self:
        told = json.loads((folder / "behavior.json").read_text(encoding="utf-8"))
        keys, pair, item = (np.load(folder / f"behavior-{name}.npy") for name in ("keys", "pair", "item"))
        return cls(tuple(told["texts"]), int(told["items"]), keys, pair, item)


_ABSENT = np.array([0, 0, np.nan, np.nan, 0, 0, np.nan, np.nan, 0], np.float32)


def _rates(group: np.ndarray, groups: int, click: np.ndarray, looked: np.ndarray, prior: float) -> np.ndarray:
    """log shown, log clicks, rate, attractiveness float32 [groups, 4]; rates are NaN where nothing was shown."""
    shown, clicks = np.bincount(group, minlength=groups), np.bincount(group, click, groups)
    exposure = np.bincount(group, looked, groups)
    each = [rate(clicks, trials, prior)[:-1] for trials in (shown, exposure)]
    seen = [np.where(shown > 0, values, np.nan) for values in each]
    return np.column_stack([np.log1p(shown), np.log1p(clicks), *seen]).astype(np.float32)


def normalized(texts: Sequence[str | None]) -> pa.Array:
    """Queries as they are looked up: lower case, single spaces."""
    lower = pc.utf8_lower(pa.array(list(texts), pa.large_string()).fill_null(""))
    return pc.utf8_trim_whitespace(pc.replace_substring_regex(lower, r"\s+", " "))


def asked(shown: Impressions) -> Impressions:
    """The impressions that answered a query: pages without one (browsing) are left out."""
    if shown.query is None or not shown.queries:
        return shown
    blank = np.append(np.asarray(pc.equal(normalized(shown.queries), "")), True)
    keep = ~blank[shown.query]  # row -1, no query, is the last
    return shown if keep.all() else shown.take(keep)


def numbered_queries(shown: Impressions) -> tuple[tuple[str, ...], np.ndarray]:
    """The normalized distinct queries of a log, and the number of each shown item's query int64 [n].

    Raises:
        DataError: the log does not say what was asked.
    """
    if shown.query is None or not shown.queries:
        raise DataError(
            "the impressions do not say what was asked", column="query", hint="Give the query of each list."
        )
    encoded = normalized(shown.queries).dictionary_encode()
    number = np.asarray(encoded.indices, np.int64)
    if int(shown.query.min(initial=0)) < 0:
        raise DataError(
            "some impressions have no query", column="query", hint="Leave them out: impressions.take(query >= 0)."
        )
    return tuple(encoded.dictionary.to_pylist()), number[shown.query]
