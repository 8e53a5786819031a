"""`Engagement`: what is right for which query, as encoders learn from it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from itemspace.core.errors import DataError
from itemspace.core.interactions import Impressions
from itemspace.core.judgments import Judgments
from itemspace.core.ragged import Ragged
from itemspace.core.task import Task


@dataclass(frozen=True)
class Engagement:
    """Which items people chose after which queries: texts, and pairs (query [m], item row [m]) with a grade [m] > 0.

    ignore: per query, items that are neither right nor wrong (the query itself, where queries are items). pool: bool
    [items], the items that may serve as negatives; None for all. negatives: per query, items that the data says are wrong.
    """

    queries: tuple[str, ...]
    query: np.ndarray
    item: np.ndarray
    grade: np.ndarray
    ignore: Ragged | None = None
    pool: np.ndarray | None = None
    negatives: Ragged | None = None

    @classmethod
    def of_impressions(cls, shown: Impressions) -> Engagement:
        """Clicks per query and item, each counted by how rarely its place is examined (about 1 / position).

        Raises:
            DataError: the impressions name no queries.
        """
        if shown.query is None:
            raise DataError("the impressions name no queries to learn from", column="query")
        width = len(shown.items)
        keys, inverse = np.unique(shown.query.astype(np.int64) * width + shown.item, return_inverse=True)
        grade = np.bincount(inverse, weights=shown.outcome * (1.0 + shown.position))
        keep = grade > 0
        return cls(shown.queries, keys[keep] // width, (keys[keep] % width).astype(np.int32), grade[keep])

    @classmethod
    def of_judgments(cls, texts: Sequence[str], judged: Judgments) -> Engagement:
        """Graded judgments of queries, grades above 0."""
        keep = judged.grades > 0
        return cls(tuple(texts), judged.items.groups[keep], judged.items.values[keep], judged.grades[keep])

    @classmethod
    def of_task(cls, task: Task, *, pool: np.ndarray | None = None) -> Engagement:
        """The queries of a task with all its judgments: grades above 0 are right, others wrong, exclusions neither."""
        judged = task.judgments
        right = cls.of_judgments(task.requests.text or (), judged)
        wrong = judged.items.filter(judged.grades <= 0)
        return cls(
            right.queries,
            right.query,
            right.item,
            right.grade,
            task.requests.exclude,
            pool,
            wrong.with_values(wrong.values.astype(np.int64)) if len(wrong.values) else None,
        )
