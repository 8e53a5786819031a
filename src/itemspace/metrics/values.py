"""What a metric reads (`Ranking`, `Items`) and what it gives (`PerQuery`)."""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import cached_property
from typing import TYPE_CHECKING

import numpy as np

from itemspace.metrics.kernels import compact, count_true

if TYPE_CHECKING:
    from itemspace.core.hits import Hits
    from itemspace.core.judgments import Judgments


@dataclass(frozen=True)
class PerQuery:
    """One value per query: `values` float64 [q], and `skipped` bool [q], true where the metric has nothing to say."""

    values: np.ndarray
    skipped: np.ndarray

    def __len__(self) -> int:
        return len(self.values)

    @property
    def n(self) -> int:
        """How many queries count."""
        return int((~self.skipped).sum())

    @property
    def mean(self) -> float:
        """The mean over the queries that count; NaN when none does."""
        return float(self.values[~self.skipped].mean()) if self.n else float("nan")

    @property
    def masked(self) -> np.ndarray:
        """The values with NaN where skipped [q]."""
        return np.where(self.skipped, np.nan, self.values)


@dataclass(frozen=True)
class Items:
    """What list metrics know of the catalogue's items.

    size: items that could have been answered. counts: training events per item row, for novelty, popularity and slices.
    vectors [items, d] and categories int [items] (codes): for diversity; vectors are preferred when both are there.
    """

    size: int
    counts: np.ndarray | None = None
    vectors: np.ndarray | None = None
    categories: np.ndarray | None = None


@dataclass(frozen=True)
class Ranking:
    """Ranked answers with what the judgments say of them.

    rows: int [q, n] best first, -1 for none. gains: float64 [q, n], the grade of each answer, 0 where unjudged.
    judged: bool [q, n]. grades [m] and offsets [q + 1]: every judgment, retrieved or not. items: for list metrics.
    """

    rows: np.ndarray
    gains: np.ndarray
    judged: np.ndarray
    grades: np.ndarray
    offsets: np.ndarray
    items: Items | None = None

    @classmethod
    def of(cls, hits: Hits, judgments: Judgments, items: Items | None = None) -> Ranking:
        """From hits and judgments of the same queries, in the same order."""
        gains, judged = judgments.gains(hits.rows)
        grades = judgments.grades.astype(np.float64)
        return cls(hits.rows, gains.astype(np.float64), judged, grades, judgments.items.offsets, items)

    def __len__(self) -> int:
        return len(self.rows)

    @property
    def depth(self) -> int:
        return self.rows.shape[1]

    @cached_property
    def relevant(self) -> np.ndarray:
        """Which answers are relevant, bool [q, n]."""
        return self.gains > 0

    @cached_property
    def n_relevant(self) -> np.ndarray:
        """Relevant items per query, retrieved or not [q]."""
        return count_true(self.grades > 0, self.offsets)

    @cached_property
    def n_nonrelevant(self) -> np.ndarray:
        """Items judged and graded 0, retrieved or not [q]. Negative grades count as "not in the pool", as in trec_eval."""
        return count_true(self.grades == 0, self.offsets)

    @property
    def unanswerable(self) -> np.ndarray:
        """Queries without a relevant item [q]: no ranking can do well or badly on them."""
        return self.n_relevant == 0

    @cached_property
    def judged_only(self) -> Ranking:
        """The same ranking with the unjudged answers taken out and the rest moved up."""
        rows, gains, judged = compact(self.judged, (self.rows, -1), (self.gains, 0.0), (self.judged, False))
        return replace(self, rows=rows, gains=gains, judged=judged)

    @property
    def unjudged(self) -> np.ndarray:
        """Answers that nobody judged, bool [q, n]."""
        return (self.rows >= 0) & ~self.judged
