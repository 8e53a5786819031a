"""Baselines at their best: the setting that does best on training queries, of as many as were tried."""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from itemspace.core.catalog import Catalog
from itemspace.core.config import Config
from itemspace.core.contracts import Encoder, Retriever
from itemspace.core.errors import RequestError
from itemspace.core.operators import Encoded
from itemspace.core.task import Task
from itemspace.encode.fields import TextFields
from itemspace.evaluate.evaluation import evaluate
from itemspace.index.bm25 import BM25Config, BM25Index
from itemspace.index.flat import FlatIndex

BM25_GRID = tuple(BM25Config(k1=k1, b=b) for k1, b in itertools.product((0.6, 1.2, 2.0), (0.3, 0.75)))


@dataclass(frozen=True)
class Tuned:
    """The best retriever, the setting it has, its value on the training queries, and how many settings were tried."""

    retriever: Retriever
    setting: Config
    value: float
    trials: int


def tuned_bm25(
    catalog: Catalog, task: Task, metric: str, *, columns: Sequence[str] = (), grid: Sequence[BM25Config] = BM25_GRID
) -> Tuned:
    """BM25 over `columns` (default: all with words), each one field, with the best k1 and b of the grid."""
    made = [(config, Encoded(TextFields(columns=tuple(columns)), BM25Index(config)).build(catalog)) for config in grid]
    return best_of(made, task, metric)


def tuned_encoder(catalog: Catalog, task: Task, metric: str, encoders: Sequence[Any], *, rng: int = 0) -> Tuned:
    """Encoders that learn from the catalogue alone, each over an exact index; the best of them."""
    fitted: list[Encoder] = [encoder.fit(catalog, rng=rng) for encoder in encoders]
    return best_of([(one.config, Encoded(one, FlatIndex()).build(catalog)) for one in fitted], task, metric)


def best_of(made: Sequence[tuple[Config, Retriever]], task: Task, metric: str) -> Tuned:
    """The first of `made` with the highest `metric` on `task`.

    Raises:
        RequestError: there is nothing to choose from.
    """
    if not made:
        raise RequestError("there is nothing to choose from.")
    depth = 100 if "@" not in metric else None
    values = [evaluate(retriever, task, [metric], k=depth)[metric] for _, retriever in made]
    at = max(range(len(made)), key=lambda i: (values[i], -i))
    return Tuned(made[at][1], made[at][0], values[at], len(made))
