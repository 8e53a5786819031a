"""Search on judged queries: words in one field and in several, vectors, and their fusions.

What is tuned (field weights, fusion) is tuned on half of the queries and measured on the other half, over several such
splits; every other arm is measured on the same halves. A query's value is its mean over the splits that hold it out.
"""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa

from itemspace.core.catalog import Catalog
from itemspace.core.contracts import Encoder, Retriever
from itemspace.core.dataset import Dataset
from itemspace.core.errors import DataError, MissingExtraError
from itemspace.core.operators import Encoded
from itemspace.core.report import Report
from itemspace.core.requests import Requests
from itemspace.core.schema import Schema
from itemspace.core.task import Task
from itemspace.data.splits import repeated_query_splits
from itemspace.encode.cache import CachedEncoder
from itemspace.encode.fields import TextFields
from itemspace.encode.lsa import LSAEncoder
from itemspace.encode.sentence_transformer import SentenceTransformerEncoder
from itemspace.evaluate.benches import chosen
from itemspace.evaluate.compare import report_of
from itemspace.evaluate.evaluation import Evaluation, evaluate
from itemspace.index.bm25 import BM25Index
from itemspace.index.flat import FlatIndex
from itemspace.search import tune_fusion

ARMS = ("bm25-one-field", "bm25-fields", "lsa", "minilm", "bm25+lsa", "bm25+minilm")
METRICS = ("ndcg@10", "recall@100", "mrr@10")
FIELD_WEIGHTS = (0.5, 1.0, 2.0, 4.0)
DEPTH = 200


@dataclass
class SearchBench:
    """The retrievers of one dataset, each made once, and what a training half makes of them."""

    data: Dataset
    columns: list[str]
    model: str | None
    cache: Path | None
    rng: int

    def __post_init__(self) -> None:
        self._made: dict[str, Retriever] = {}

    def arm(self, name: str, train: Task) -> Retriever:
        """The retriever of an arm, with whatever it tunes tuned on `train`."""
        if name == "bm25-fields":
            return self._tuned_fields(train)
        if "+" not in name:
            return self._plain(name)
        words = self._tuned_fields(train) if len(self.columns) > 1 else self._plain("bm25-one-field")
        fused, _ = tune_fusion([words, self._plain(name.split("+")[1])], train, depth=DEPTH, rng=self.rng)
        return fused.bind(self.data.catalog)

    def _plain(self, name: str) -> Retriever:
        if name not in self._made:
            if name == "bm25-one-field":
                self._made[name] = Encoded(TextFields(columns=("words",)), BM25Index()).build(self._joined())
                self._made[name].bind(self.data.catalog)
            else:
                self._made[name] = self._dense(name)
        return self._made[name]

    def _joined(self) -> Catalog:
        """The catalogue with all its words in one column."""
        catalog = self.data.catalog
        table = pa.table({"id": catalog.ids.values, "words": pa.array(catalog.texts(self.columns), pa.large_string())})
        return Catalog(table, Schema({"id": "id", "words": "text"}), catalog.ids)

    def _dense(self, name: str) -> Retriever:
        catalog = self._joined()
        encoder: Encoder
        if name == "lsa":
            encoder = LSAEncoder().fit(catalog, rng=self.rng)
        else:
            if self.model is None:
                raise MissingExtraError("the minilm arm needs a sentence-transformers model: pass model=FOLDER.")
            encoder = SentenceTransformerEncoder(model=self.model, columns=("words",))
            if self.cache is not None:
                encoder = CachedEncoder(encoder, self.cache)
        return Encoded(encoder, FlatIndex()).build(catalog).bind(self.data.catalog)

    def _fields(self, weights: dict[str, float]) -> Retriever:
        key = f"bm25 {sorted(weights.items())}"
        if key not in self._made:
            retriever = Encoded(TextFields(columns=tuple(self.columns)), BM25Index(weights=weights))
            self._made[key] = retriever.build(self.data.catalog)
        return self._made[key]

    def _tuned_fields(self, train: Task) -> Retriever:
        """Field weights by one round of coordinate search from equal weights, on the training half only."""
        weights = dict.fromkeys(self.columns, 1.0)
        best = self._score(weights, train)
        for column, value in itertools.product(self.columns, FIELD_WEIGHTS):
            tried = {**weights, column: value}
            if tried == weights:
                continue
            score = self._score(tried, train)
            if score > best:
                weights, best = tried, score
        return self._fields(weights)

    def _score(self, weights: dict[str, float], train: Task) -> float:
        return evaluate(self._fields(weights), train, ["ndcg@10"], k=10)["ndcg@10"]


def bench(
    data: Dataset,
    *,
    seeds: Sequence[int] = (0,),
    arms: Sequence[str] | None = None,
    splits: int = 5,
    columns: Sequence[str] | None = None,
    model: str | None = None,
    cache: Path | None = None,
) -> Report:
    """The search table of a dataset with judged queries; the first seed numbers the query splits.

    columns: the fields that are words (default: the catalogue's text columns). model: a sentence-transformers model for
    the minilm arms; without it they are left out. cache: a folder for its vectors.

    Raises:
        DataError: the dataset has no judged queries.
    """
    if data.queries is None or data.judgments is None:
        raise DataError(f"{data.name} has no judged queries to search with")
    fields = list(columns or data.catalog.schema.columns("text") or data.catalog.text_columns())
    names = chosen(ARMS, arms)
    if model is None:
        names = [name for name in names if "minilm" not in name]
    if len(fields) < 2:
        names = [name for name in names if name != "bm25-fields"]
    made = SearchBench(data, fields, model, cache, seeds[0])
    halves = repeated_query_splits(data, splits, rng=seeds[0])
    texts = sorted({text for train, test in halves for task in (train, test) for text in task.requests.text or ()})
    whole = _whole(halves[0])
    runs: dict[str, list[Evaluation]] = {name: [] for name in names}
    for train, test in halves:
        held = set(test.requests.text or ())
        keep = np.array([text in held for text in whole.requests.text or ()])
        for name in names:
            run = evaluate(made.arm(name, train), whole, METRICS, name=name)
            runs[name].append(_only(run, keep))
    return report_of(
        {name: [_averaged(each)] for name, each in runs.items()},
        whole,
        baseline=names[0],
        title=f"Search on {data.name}",
        provenance={
            "dataset": data.name,
            "items": len(data.catalog),
            "queries": len(texts),
            "fields": fields,
            "splits": f"{splits} random halves: tuned on one half, measured on the other",
        },
    )


def _whole(halves: tuple[Task, Task]) -> Task:
    """Both halves of a split as one task."""
    one, other = halves
    texts = [*(one.requests.text or ()), *(other.requests.text or ())]
    judged = one.judgments
    rest = other.judgments
    offsets = np.concatenate([judged.items.offsets, judged.items.offsets[-1] + rest.items.offsets[1:]])
    items = replace(judged.items, values=np.concatenate([judged.items.values, rest.items.values]), offsets=offsets)
    both = type(judged)(items, np.concatenate([judged.grades, rest.grades]))
    return Task("search", Requests.texts(texts), both, exclude_history=False)


def _only(run: Evaluation, keep: np.ndarray) -> Evaluation:
    """The evaluation with only the queries of `keep` [q] counted."""
    values: dict[str, Any] = {
        name: replace(per_query, skipped=per_query.skipped | ~keep) for name, per_query in run.values.items()
    }
    return replace(run, values=values)


def _averaged(runs: Sequence[Evaluation]) -> Evaluation:
    """One evaluation: every query's mean over the splits that held it out (a query never held out is skipped)."""
    values: dict[str, Any] = {}
    for name in runs[0].values:
        table = np.stack([run.values[name].masked for run in runs])
        counted = ~np.isnan(table)
        times = counted.sum(0)
        mean = np.where(counted, table, 0.0).sum(0) / np.maximum(times, 1)
        values[name] = replace(runs[0].values[name], values=mean, skipped=times == 0)
    return replace(runs[0], values=values, seconds=sum(run.seconds for run in runs))
