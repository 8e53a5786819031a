"""`Hits` and `Matches`: ranked answers, and links."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np

from itemspace.core.errors import ContractError
from itemspace.core.ids import Ids


@dataclass(frozen=True)
class Hit:
    """One answer: the external ID, its score, and whatever part, fields or explanation came with it."""

    item: str
    score: float
    row: int
    rank: int
    part: Any = None
    explanation: Any = None


@dataclass(frozen=True)
class Hits:
    """Answers to a batch: `rows` int32 [q, k] best first (-1 where fewer than k exist, never filler), `scores` [q, k].

    Scores of absent hits are -inf; within a row scores do not increase. `ids` decodes rows when read. `parts` [q][k] may
    name the page, span, seconds or box that matched. `total` [q]: how many items matched before the cut, or -1 unknown.
    `facets`: column -> value -> count, per request. `explanation`: per request, what each step did.
    """

    rows: np.ndarray
    scores: np.ndarray
    ids: Ids | None = None
    parts: Sequence[Sequence[Any]] | None = None
    total: np.ndarray | None = None
    facets: Sequence[Mapping[str, Any]] | None = None
    explanation: Any = field(default=None, compare=False)

    def __post_init__(self) -> None:
        if self.rows.shape != self.scores.shape or self.rows.ndim != 2:
            raise ContractError(f"rows {self.rows.shape} and scores {self.scores.shape} must both be [q, k].")

    @classmethod
    def empty(cls, queries: int, k: int, *, ids: Ids | None = None) -> Hits:
        return cls(np.full((queries, k), -1, np.int32), np.full((queries, k), -np.inf, np.float32), ids)

    @classmethod
    def ranked(cls, rows: np.ndarray, scores: np.ndarray, ids: Ids | None = None, *, k: int | None = None) -> Hits:
        """Sort candidates [q, c] by score (ties by the hash of the ID when `ids` is given), absent (-1) last."""
        scores = np.where(rows < 0, -np.inf, scores).astype(np.float32)
        ties = np.zeros(rows.shape, np.uint32) if ids is None else ids.ties[np.maximum(rows, 0)]
        order = np.lexsort((ties, -scores), axis=1)
        if k is not None:
            order = order[:, :k]
        return cls(np.take_along_axis(rows, order, 1).astype(np.int32), np.take_along_axis(scores, order, 1), ids)

    def __len__(self) -> int:
        """The number of requests."""
        return len(self.rows)

    @property
    def k(self) -> int:
        return self.rows.shape[1]

    @property
    def found(self) -> np.ndarray:
        """How many hits each request has [q]."""
        return (self.rows >= 0).sum(1)

    def items(self, request: int = 0) -> list[str]:
        """External IDs of one request's hits, best first."""
        return [hit.item for hit in self[request]]

    def __getitem__(self, request: int) -> list[Hit]:
        """One request's hits, best first, with external IDs."""
        if self.ids is None:
            raise ContractError(
                "these hits carry rows only; ask the Space, or attach ids with hits.with_ids(catalog.ids)."
            )
        rows = self.rows[request]
        keep = np.flatnonzero(rows >= 0)
        names = self.ids.decode(rows[keep])
        return [
            Hit(
                str(name),
                float(self.scores[request, j]),
                int(rows[j]),
                rank,
                None if self.parts is None else self.parts[request][j],
            )
            for rank, (j, name) in enumerate(zip(keep.tolist(), names, strict=True))
        ]

    def __iter__(self) -> Iterator[list[Hit]]:
        return (self[request] for request in range(len(self)))

    def with_ids(self, ids: Ids) -> Hits:
        return replace(self, ids=ids)

    def cut(self, k: int) -> Hits:
        """The first k of every request."""
        parts = None if self.parts is None else [list(row[:k]) for row in self.parts]
        return replace(self, rows=self.rows[:, :k], scores=self.scores[:, :k], parts=parts)

    def take(self, requests: np.ndarray) -> Hits:
        return replace(
            self,
            rows=self.rows[requests],
            scores=self.scores[requests],
            parts=None if self.parts is None else [self.parts[i] for i in requests.tolist()],
            total=None if self.total is None else self.total[requests],
            facets=None if self.facets is None else [self.facets[i] for i in requests.tolist()],
        )

    @staticmethod
    def concat(parts: Sequence[Hits]) -> Hits:
        """Batches one after another; all must have the same k."""
        first = parts[0]
        if len(parts) == 1:
            return first
        totals = [p.total for p in parts if p.total is not None]
        return Hits(
            np.concatenate([p.rows for p in parts]),
            np.concatenate([p.scores for p in parts]),
            first.ids,
            total=np.concatenate(totals) if len(totals) == len(parts) else None,
        )


@dataclass(frozen=True)
class Matches:
    """Links: each mention (or left record) i to a catalogue row, or to nothing.

    rows: int32 [n], -1 for NIL. scores: float32 [n]. candidates: the ranked alternatives, or None.
    clusters: int32 [n] of groups that belong together, or None.
    """

    rows: np.ndarray
    scores: np.ndarray
    ids: Ids | None = None
    candidates: Hits | None = None
    clusters: np.ndarray | None = None

    def __len__(self) -> int:
        return len(self.rows)

    @property
    def nil(self) -> np.ndarray:
        """True where nothing in the catalogue matches [n]."""
        return self.rows < 0

    def items(self) -> list[str | None]:
        """External IDs, None for NIL."""
        if self.ids is None:
            raise ContractError("these matches carry rows only; attach ids first.")
        return self.ids.decode(self.rows)
