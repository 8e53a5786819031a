"""The Shopping Queries (ESCI) tasks: ranking by graded gains, four classes, substitutes; official metrics.

1. Ranking. nDCG of the judged products of each query over their whole list, gains E 1, S .1, C .01, I 0 as the paper
   has it. The published script maps labels so that S counts .01 and C .1: both are computed, "ndcg (paper gains)" and
   "ndcg (script gains)". A query without any gain counts 0, as in the script's trec_eval call.
2. Classes. Micro-F1 (the share of right labels) and macro-F1 over E, S, C, I.
3. Substitutes. The same for S against all others.

Source: Reddy et al. 2022, section 4; amazon-science/esci-data (`prepare_trec_eval_files.py`, `inference.py`).
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np

from itemspace.core.contracts import Retriever, Scorer
from itemspace.core.dataset import Dataset
from itemspace.core.errors import DataError
from itemspace.core.fusion import appended
from itemspace.core.hits import Hits
from itemspace.core.judgments import Judgments
from itemspace.core.ragged import Ragged
from itemspace.core.requests import Requests
from itemspace.core.selection import Selection
from itemspace.core.task import Task
from itemspace.data.readers.esci import GAINS
from itemspace.encode.engagement import Engagement
from itemspace.evaluate.evaluation import Evaluation, evaluate_hits
from itemspace.metrics.classes import confusion, macro_f1, micro_f1
from itemspace.rank.pair_classifier import LabelledPairs

LABELS = ("E", "S", "C", "I")
SUBSTITUTE = LABELS.index("S")


@dataclass(frozen=True)
class Examples:
    """Labelled pairs of one catalogue, by query: texts [q], candidates Ragged item rows, label int8 beside its values."""

    texts: tuple[str, ...]
    candidates: Ragged
    label: np.ndarray

    def __len__(self) -> int:
        """The number of pairs."""
        return len(self.label)

    @classmethod
    def of(cls, data: Dataset, gains: Mapping[str, float]) -> Examples:
        """From a dataset whose grades are `gains` of the labels; queries without a judgment are left out.

        Raises:
            DataError: there are no judged queries, or a grade is no label's.
        """
        if data.queries is None or data.judgments is None:
            raise DataError(f"{data.name} has no judged queries")
        worth = np.array([gains[name] for name in LABELS], np.float32)
        near = np.abs(data.judgments.grades[:, None] - worth)
        label = near.argmin(1).astype(np.int8)
        if len(label) and float(near.min(1).max()) > 1e-4:
            strange = float(data.judgments.grades[int(near.min(1).argmax())])
            raise DataError(f"a grade of {strange:g} is no label's; gains are {dict(gains)}")
        asked = np.flatnonzero(data.judgments.items.lengths > 0)
        order = data.judgments.items.with_values(label).take(asked)
        texts = tuple(data.queries.texts[i] for i in asked.tolist())
        return cls(texts, data.judgments.items.take(asked), order.values.astype(np.int8))

    def take(self, queries: np.ndarray) -> Examples:
        label = self.candidates.with_values(self.label).take(queries)
        texts = tuple(self.texts[i] for i in np.asarray(queries).tolist())
        return Examples(texts, self.candidates.take(queries), label.values.astype(np.int8))

    def pairs(self) -> LabelledPairs:
        """For a classifier."""
        return LabelledPairs(self.texts, self.candidates.groups, self.candidates.values, self.label.astype(np.int64))

    def engagement(self, gains: Mapping[str, float]) -> Engagement:
        """For towers: every pair whose label is worth something."""
        grade = np.array([gains[name] for name in LABELS])[self.label]
        keep = grade > 0
        return Engagement(self.texts, self.candidates.groups[keep], self.candidates.values[keep], grade[keep])

    def task(self, gains: Mapping[str, float]) -> Task:
        """Ranking the judged products of each query."""
        grades = np.array([gains[name] for name in LABELS], np.float32)[self.label]
        return Task(
            "esci ranking", Requests.texts(self.texts), Judgments(self.candidates, grades), exclude_history=False
        )


def ranked_by(searcher: Retriever | Scorer, examples: Examples, size: int, ties: np.ndarray) -> Hits:
    """The judged products of every query in a retriever's or scorer's order, all of them.

    What a retriever does not find (no word in common) follows by the hash of its ID. size: items of the catalogue.
    """
    width = int(examples.candidates.lengths.max(initial=1))
    requests = Requests.texts(examples.texts)
    every = _padded(examples.candidates, width)
    last = np.where(every >= 0, ties[np.maximum(every, 0)].astype(np.int64), np.iinfo(np.int64).max)
    every = np.take_along_axis(every, np.argsort(last, axis=1, kind="stable"), 1)  # equal scores keep this order
    if isinstance(searcher, Scorer):
        return Hits.ranked(every, searcher.score(requests, every))
    found = searcher.search(requests, width, where=Selection(size, include=examples.candidates))
    return appended(found, Hits(every, np.where(every >= 0, 0.0, -np.inf).astype(np.float32)), width)


def _padded(lists: Ragged, width: int) -> np.ndarray:
    out = np.full((len(lists), width), -1, np.int32)
    place = np.arange(len(lists.values)) - np.repeat(lists.offsets[:-1], lists.lengths)
    out[lists.groups, place] = lists.values
    return out


def rankings(hits: Hits, examples: Examples, name: str) -> dict[str, Evaluation]:
    """Task 1 both ways: "paper" and "script" -> nDCG per query, a query without any gain counting 0."""
    found = {}
    for reading, gains in GAINS.items():
        run = evaluate_hits(hits, examples.task(gains), ["ndcg"], name=name)
        kept = replace(run.values["ndcg"], skipped=np.zeros(len(examples.texts), bool))
        found[reading] = replace(run, values={"ndcg": kept}, companions=(), unjudged=0.0)
    return found


def ranking_reference(labels: Sequence[Sequence[str]], gains: Mapping[str, float]) -> float:
    """Mean nDCG of ranked lists of labels, the slow, obvious way."""
    values = []
    for ranked in labels:
        found = sum(gains[label] / math.log2(rank + 1) for rank, label in enumerate(ranked, 1))
        ideal = sum(
            gain / math.log2(rank + 1) for rank, gain in enumerate(sorted((gains[x] for x in ranked), reverse=True), 1)
        )
        values.append(found / ideal if ideal > 0 else 0.0)
    return sum(values) / len(values)


def classes(truth: np.ndarray, predicted: np.ndarray, *, substitutes: bool = False) -> dict[str, float]:
    """Tasks 2 and 3: micro-F1 and macro-F1 of labels int [m] as places in LABELS."""
    if substitutes:
        table = confusion(truth == SUBSTITUTE, predicted == SUBSTITUTE, 2)
    else:
        table = confusion(truth, predicted, len(LABELS))
    return {"micro-f1": micro_f1(table), "macro-f1": macro_f1(table)}


def classes_reference(truth: Sequence[str], predicted: Sequence[str]) -> dict[str, float]:
    """Micro-F1 and macro-F1 from counts of each class, the slow, obvious way."""
    names = sorted({*truth, *predicted})
    f1, right, wrong = [], 0, 0
    for name in names:
        both = sum(t == name and p == name for t, p in zip(truth, predicted, strict=True))
        called, real = sum(p == name for p in predicted), sum(t == name for t in truth)
        f1.append(2 * both / (called + real))
        right, wrong = right + both, wrong + called - both
    return {"micro-f1": right / (right + wrong), "macro-f1": sum(f1) / len(f1)}


def decided(chances: np.ndarray) -> np.ndarray:
    """The likeliest label of each pair from probabilities [m, 4]."""
    return np.asarray(chances.argmax(1))


def decided_substitutes(chances: np.ndarray) -> np.ndarray:
    """The label of each pair where only S against the rest counts: S where its probability is above one half, else E."""
    return np.where(chances[:, SUBSTITUTE] > 0.5, SUBSTITUTE, 0)
