"""Pairs of questions that mean the same, turned into something to retrieve.

Pairwise sets say of some pairs whether they mean the same. For retrieval every question needs *all* its paraphrases: they
are the other members of its class under the transitive closure of the positive pairs, which makes "means the same" an
equivalence. A split gives whole classes to one side, so that no pair crosses it.

Source: Gillick, Presta and Tomar 2018 (End-to-End Retrieval in Continuous Space), section 3.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import scipy.sparse as sp
from scipy.sparse.csgraph import connected_components

from itemspace.core.catalog import Catalog
from itemspace.core.dataset import Dataset
from itemspace.core.errors import DataError
from itemspace.core.ids import Ids
from itemspace.core.judgments import Judgments, Queries
from itemspace.core.ragged import Ragged
from itemspace.core.requests import Requests
from itemspace.core.seeding import RNG, as_seed, derive
from itemspace.core.task import Task


def equivalence_classes(left: np.ndarray, right: np.ndarray, n: int) -> np.ndarray:
    """The class of each of `n` things under the reflexive, symmetric, transitive closure of the pairs (left [m], right [m]).

    int64 [n], each class named by its least member.
    """
    graph = sp.coo_matrix((np.ones(len(left), bool), (left, right)), shape=(n, n))
    _, label = connected_components(graph, directed=False)
    least = np.full(n, n, np.int64)
    np.minimum.at(least, label, np.arange(n))
    return least[label]


def others(classes: np.ndarray, rows: np.ndarray) -> Ragged:
    """The other members of the class of each of `rows`, ascending: int32."""
    members = Ragged.from_groups(classes, np.arange(len(classes), dtype=np.int32), len(classes))
    mine = members.take(classes[rows])
    return mine.filter(mine.values != rows[mine.groups])


@dataclass(frozen=True)
class RetrievalSets:
    """What pairs became. queries: the questions that have a paraphrase, under their item IDs. judgments: grade 1 for the

    others of a class, 0 for pairs said to differ. contradictions: pairs said to differ that the closure joins (kept joined).
    """

    queries: Queries
    judgments: Judgments
    contradictions: int

    @property
    def note(self) -> str:
        """What a reader of the data should know."""
        told = f"{len(self.queries):,} questions have a paraphrase under the transitive closure of the positive pairs"
        return told + (
            f"; {self.contradictions:,} pairs said to differ are joined by it" if self.contradictions else ""
        )


def retrieval_sets(
    catalog: Catalog, texts: list[str], left: np.ndarray, right: np.ndarray, same: np.ndarray
) -> RetrievalSets:
    """Queries and judgments from pairs of item rows (left [m], right [m]) with whether they mean the same (bool [m]).

    texts: the question of each row.

    Raises:
        DataError: no two questions mean the same.
    """
    classes = equivalence_classes(left[same], right[same], len(catalog))
    rows = np.flatnonzero(np.bincount(classes, minlength=len(classes))[classes] > 1)
    if len(rows) == 0:
        raise DataError("no two questions mean the same: there is nothing to retrieve.")
    right_ones = others(classes, rows)
    differ = ~same & (classes[left] != classes[right])
    place = np.full(len(catalog), -1, np.int64)
    place[rows] = np.arange(len(rows))
    query = place[np.concatenate([left[differ], right[differ]])]
    item = np.concatenate([right[differ], left[differ]])
    asked = query >= 0
    made = Judgments.from_pairs(
        np.concatenate([right_ones.groups, query[asked]]),
        np.concatenate([right_ones.values, item[asked]]),
        np.concatenate([np.ones(len(right_ones.values)), np.zeros(int(asked.sum()))]),
        len(rows),
    )
    names = [name or "" for name in catalog.ids.decode(rows)]
    queries = Queries(Ids(names, kind="query"), tuple(texts[row] for row in rows.tolist()), {"set": classes[rows]})
    return RetrievalSets(queries, made, int((~same & ~differ).sum()))


@dataclass(frozen=True)
class ParaphraseSplit:
    """train, test: tasks over the same corpus, no class of paraphrases in both. learnable: bool [items], the train side."""

    train: Task
    test: Task
    learnable: np.ndarray


def paraphrase_task(dataset: Dataset) -> Task:
    """Every question that has a paraphrase, asked of the whole corpus but itself.

    A query whose ID is an item's is that item, and may not be answered with it.

    Raises:
        DataError: no queries, no judgments, or none above 0.
    """
    if dataset.queries is None or dataset.judgments is None:
        missing = "queries" if dataset.queries is None else "judgments"
        raise DataError(f"{dataset.name} has no {missing}", hint="Read a set of pairs, such as quora-pairs or stsb.")
    judged = np.flatnonzero(dataset.judgments.relevant.lengths > 0)
    if len(judged) == 0:
        raise DataError(f"no question of {dataset.name} has a paraphrase")
    queries = dataset.queries.take(judged)
    own = dataset.catalog.ids.find(queries.ids.values)
    exclude = Ragged.from_groups(np.flatnonzero(own >= 0), own[own >= 0], len(judged))
    requests = Requests.texts(queries.texts, exclude=exclude)
    return Task("paraphrases", requests, dataset.judgments.take(judged), exclude_history=False)


def split_paraphrases(dataset: Dataset, share: float = 0.5, rng: RNG = 0) -> ParaphraseSplit:
    """Classes of paraphrases in two: `share` of them to learn from, the rest to measure on, over one corpus.

    Guarantees: two questions that mean the same, or that read the same, are on one side; so is every judged pair of a task
    (pairs said to differ that would cross are left out). Questions without a paraphrase fall to either side by chance.

    Raises:
        DataError: there are no paraphrases, or the share is out of range or leaves a side empty.
    """
    if not 0 < share < 1:
        raise DataError(f"share must lie between 0 and 1, not {share:g}")
    task = paraphrase_task(dataset)
    n = len(dataset.catalog)
    assert task.requests.exclude is not None
    alike = np.unique(np.array(dataset.catalog.texts(), str), return_inverse=True)[1].reshape(-1)
    own = np.full(len(task), -1, np.int64)
    own[task.requests.exclude.groups] = task.requests.exclude.values
    # One graph over items, queries that are no item, and texts: whatever an edge joins stays together.
    asked = np.where(own >= 0, own, n + np.arange(len(task)))
    relevant = task.judgments.relevant
    left = np.concatenate([asked[relevant.groups], np.arange(n)])
    right = np.concatenate([relevant.values, n + len(task) + alike])
    classes = equivalence_classes(left, right, n + len(task) + int(alike.max(initial=-1)) + 1)
    draw = derive(as_seed(rng), "split", "paraphrases")
    found = np.unique(classes[asked])
    cut = round(len(found) * share)
    if cut in (0, len(found)):
        raise DataError(f"{len(found):,} sets of paraphrases cannot be split {share:g} to {1 - share:g}")
    first = draw.random(len(classes)) < share
    first[found] = False
    first[draw.permutation(found)[:cut]] = True
    learnable = first[classes[:n]]
    side = first[classes[asked]]
    return ParaphraseSplit(_within(task, side, learnable), _within(task, ~side, ~learnable), learnable)


def _within(task: Task, queries: np.ndarray, items: np.ndarray) -> Task:
    """Some queries [q] of a task, with the judgments of some items [n]."""
    part = task.take(np.flatnonzero(queries))
    judged = part.judgments
    keep = items[judged.items.values]
    return Task(
        part.name, part.requests, Judgments(judged.items.filter(keep), judged.grades[keep]), exclude_history=False
    )
