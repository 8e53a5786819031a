"""Splits of judged queries: tune on some, measure on the others."""

from __future__ import annotations

import numpy as np

from itemspace.core.dataset import Dataset
from itemspace.core.errors import DataError
from itemspace.core.requests import Requests
from itemspace.core.seeding import RNG, as_seed, derive
from itemspace.core.task import Task


def query_task(dataset: Dataset, *, name: str = "search") -> Task:
    """Every judged query of the dataset as a task; the queries' attributes are its groups.

    Queries without any judgment are left out (they could neither be won nor lost).

    Raises:
        DataError: the dataset has no queries, no judgments, or none of its queries is judged.
    """
    if dataset.queries is None or dataset.judgments is None:
        missing = "queries" if dataset.queries is None else "judgments"
        raise DataError(f"{dataset.name} has no {missing}", hint="Search is measured on judged queries.")
    judged = np.flatnonzero(dataset.judgments.items.lengths > 0)
    if len(judged) == 0:
        raise DataError(f"none of the {len(dataset.queries):,} queries of {dataset.name} is judged")
    queries = dataset.queries.take(judged)
    groups = {column: np.asarray(values) for column, values in queries.attributes.items()}
    return Task(
        name, Requests.texts(queries.texts), dataset.judgments.take(judged), groups=groups, exclude_history=False
    )


def split_queries(dataset: Dataset, share: float = 0.5, rng: RNG = 0) -> tuple[Task, Task]:
    """Judged queries in two: `share` of them to tune on, the rest to measure on.

    Guarantees: no query, and no query text, is in both (queries that read the same go to the same side, so the share is
    of distinct texts). The catalogue, the logs and the judgments of the dataset are not touched: tune on the first task,
    not on the dataset.

    Raises:
        DataError: there are no judged queries, or the share is out of range or leaves a side empty.
    """
    if not 0 < share < 1:
        raise DataError(f"share must lie between 0 and 1, not {share:g}")
    task = query_task(dataset)
    text, at = np.unique(np.array(task.requests.text, object).astype(str), return_inverse=True)
    cut = round(len(text) * share)
    if cut in (0, len(text)):
        raise DataError(f"{len(text):,} distinct queries cannot be split {share:g} to {1 - share:g}")
    first = np.zeros(len(text), bool)
    first[derive(as_seed(rng), "split", "queries").permutation(len(text))[:cut]] = True
    return task.take(np.flatnonzero(first[at])), task.take(np.flatnonzero(~first[at]))


def repeated_query_splits(
    dataset: Dataset, repeats: int = 5, share: float = 0.5, rng: RNG = 0
) -> list[tuple[Task, Task]]:
    """`split_queries` several times, by the seeds rng, rng + 1, ...: the spread over them is the noise of the tuning."""
    seed = as_seed(rng)
    return [split_queries(dataset, share, seed + number) for number in range(repeats)]
