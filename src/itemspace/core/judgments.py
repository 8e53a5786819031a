"""`Queries` and `Judgments`: what was asked, and how good each item is as an answer."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property

import numpy as np
import pyarrow as pa

from itemspace.core.errors import DataError
from itemspace.core.hashing import fingerprint
from itemspace.core.ids import Ids
from itemspace.core.ragged import Ragged


@dataclass(frozen=True)
class Queries:
    """Search queries in order: `ids[i]` asks `texts[i]`; `attributes` may hold columns to slice by (group, language)."""

    ids: Ids
    texts: tuple[str, ...]
    attributes: Mapping[str, np.ndarray] = field(default_factory=dict)

    @classmethod
    def of(cls, texts: Mapping[str, str] | Sequence[str]) -> Queries:
        """From {query id: text}, or texts numbered from 0."""
        if isinstance(texts, Mapping):
            return cls(Ids(list(texts), kind="query"), tuple(texts.values()))
        return cls(Ids([str(i) for i in range(len(texts))], kind="query"), tuple(texts))

    def __len__(self) -> int:
        return len(self.texts)

    def take(self, rows: np.ndarray) -> Queries:
        rows = np.asarray(rows)
        rows = np.flatnonzero(rows) if rows.dtype == bool else rows
        texts = tuple(self.texts[i] for i in rows.tolist())
        attributes = {name: values[rows] for name, values in self.attributes.items()}
        return Queries(Ids(self.ids.values.take(pa.array(rows)), kind="query"), texts, attributes)


@dataclass(frozen=True)
class Judgments:
    """Graded relevance per query: `items` Ragged int32 rows, `grades` float32 beside its values.

    A grade of 0 is judged and not relevant; an absent pair is unjudged. Grades above 0 are relevant.
    """

    items: Ragged
    grades: np.ndarray

    @classmethod
    def from_pairs(cls, query: np.ndarray, item: np.ndarray, grade: np.ndarray | None, n_queries: int) -> Judgments:
        """From parallel arrays (query [m] in 0..n-1, item rows [m], grade [m], default 1).

        Raises:
            DataError: a (query, item) pair is judged twice with different grades. Identical repeats count once.
        """
        grade = np.ones(len(query), np.float32) if grade is None else np.asarray(grade, np.float32)
        query, item = np.asarray(query, np.int64), np.asarray(item, np.int64)
        order = np.lexsort((item, query))
        query, item, grade = query[order], item[order], grade[order]
        again = (
            np.concatenate(([False], (query[1:] == query[:-1]) & (item[1:] == item[:-1]))) if len(query) else query > 0
        )
        clash: np.ndarray = (
            np.flatnonzero(again & np.concatenate(([False], grade[1:] != grade[:-1])))
            if len(query)
            else np.zeros(0, int)
        )
        if len(clash):
            at = int(clash[0])
            raise DataError(
                f"query {int(query[at])} judges item row {int(item[at])} as both {grade[at - 1]:g} and {grade[at]:g}",
                count=len(clash),
                hint="Keep one grade per query and item.",
            )
        keep = ~again
        items = Ragged.from_groups(query[keep], item[keep].astype(np.int32), n_queries)
        return cls(items, grade[keep])

    @classmethod
    def single(cls, item: np.ndarray) -> Judgments:
        """One relevant item per query [q] (leave-one-out)."""
        return cls(Ragged(np.asarray(item, np.int32), np.arange(len(item) + 1)), np.ones(len(item), np.float32))

    def __len__(self) -> int:
        """The number of queries."""
        return len(self.items)

    def take(self, queries: np.ndarray) -> Judgments:
        """The judgments of some queries, in that order."""
        return Judgments(self.items.take(queries), self.items.with_values(self.grades).take(queries).values)

    @property
    def relevant(self) -> Ragged:
        """The rows graded above 0, per query."""
        return self.items.filter(self.grades > 0)

    @cached_property
    def _sorted(self) -> tuple[np.ndarray, np.ndarray]:
        keys = self.items.groups.astype(np.int64) << 32 | self.items.values.astype(np.int64)
        order = np.argsort(keys, kind="stable")
        return keys[order], self.grades[order]

    def gains(self, rows: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """For ranked rows [q, k] (-1 for none): grades float32 [q, k] (0 where unjudged) and judged bool [q, k]."""
        keys, grades = self._sorted
        wanted = np.arange(len(rows), dtype=np.int64)[:, None] << 32 | rows.astype(np.int64)
        if len(keys) == 0:
            return np.zeros(rows.shape, np.float32), np.zeros(rows.shape, bool)
        at = np.minimum(np.searchsorted(keys, wanted), len(keys) - 1)
        judged = (keys[at] == wanted) & (rows >= 0)
        return np.where(judged, grades[at], 0).astype(np.float32), judged

    def ideal_gains(self, k: int) -> np.ndarray:
        """The k highest grades of every query, descending, 0-padded [q, k]."""
        out = np.zeros((len(self), k), np.float32)
        order = np.lexsort((-self.grades, self.items.groups))
        groups = self.items.groups[order]
        rank = np.arange(len(order)) - self.items.offsets[:-1][groups]
        keep = rank < k
        out[groups[keep], rank[keep]] = self.grades[order][keep]
        return out

    @cached_property
    def fingerprint(self) -> str:
        return fingerprint(self.items.offsets, *self._sorted)
