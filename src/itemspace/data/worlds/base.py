"""What every world hands back: the dataset, the truth it was drawn from, and what the best possible answer scores."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, Protocol

import numpy as np
import pyarrow as pa

from itemspace.core.catalog import Catalog
from itemspace.core.dataset import Dataset
from itemspace.core.errors import RequestError
from itemspace.core.requests import Requests
from itemspace.core.task import Task

Gain = Callable[[np.ndarray], np.ndarray]

START = 1_577_836_800  # 2020-01-01T00:00:00Z
DAY = 86_400


class NextItem(Protocol):
    """The truth of a world of events: what its users do next."""

    def probabilities(self, requests: Requests) -> np.ndarray:
        """float64 [q, items]: the chance of each item to be the request's next event, before any exclusion."""
        ...


@dataclass(frozen=True)
class World:
    """A generated dataset with its truth.

    randomness: the dial; at 1 nothing can be learned and `best_possible` is chance. parameters: what it was made with.
    """

    data: Dataset
    truth: Any
    randomness: float
    parameters: Mapping[str, Any] = field(default_factory=dict)


def rank_gain(metric: str) -> Gain:
    """What finding the one target at a rank (from 1) is worth, for "mrr", "mrr@10", "hr@10", "recall@10", "ndcg@10".

    Raises:
        RequestError: the name is none of these.
    """
    name, _, cut = metric.partition("@")
    k = float(cut) if cut else np.inf
    base: dict[str, Gain] = {
        "mrr": lambda rank: 1 / rank,
        "hr": np.ones_like,
        "recall": np.ones_like,
        "ndcg": lambda rank: 1 / np.log2(rank + 1),
    }
    if name not in base or (name in ("hr", "recall") and not cut):
        raise RequestError(f"`{metric}` is not known here: use mrr, mrr@k, hr@k, recall@k or ndcg@k.")
    return lambda rank: np.where(rank <= k, base[name](rank), 0.0)


def best_possible(truth: NextItem, task: Task, metric: str = "mrr", *, batch: int = 512) -> float:
    """The expected metric, in [0, 1], of the predictor that knows the truth, on one-target requests of `task`.

    For every request the items are ranked by their true probability of being next (given that the target is a candidate
    and, where the task says so, not in the history), and the metric's gain is summed over the ranks by that probability.
    No predictor can expect more; a measured value differs from it by sampling noise only. Memory is batch x items.
    """
    gain = rank_gain(metric)
    total = 0.0
    for start in range(0, len(task), batch):
        part = task.requests.take(np.arange(start, min(start + batch, len(task))))
        chance = conditional(truth, part, task)
        ordered = -np.sort(-chance, axis=1)
        total += float((ordered @ gain(np.arange(1, ordered.shape[1] + 1, dtype=float))).sum())
    return total / max(len(task), 1)


def conditional(truth: NextItem, requests: Requests, task: Task) -> np.ndarray:
    """`truth.probabilities` [q, items] given what the task leaves possible; each row sums to 1."""
    chance = np.array(truth.probabilities(requests), np.float64)
    if task.candidates is not None:
        chance[:, ~task.candidates.mask] = 0
    if task.exclude_history and requests.history is not None:
        items = requests.history.items
        chance[items.groups, items.values] = 0
    total = chance.sum(1, keepdims=True)
    return np.divide(chance, total, out=chance, where=total > 0)


def chance_level(task: Task, items: int, metric: str = "mrr") -> float:
    """The expected metric of ranking what `task` allows at random, on one-target requests over `items` items."""
    candidate = np.ones(items, bool) if task.candidates is None else task.candidates.mask
    allowed = np.full(len(task), int(candidate.sum()))
    if task.exclude_history and task.requests.history is not None:
        had = task.requests.history.items
        pairs = np.unique(had.groups.astype(np.int64) * items + had.values)
        allowed -= np.bincount((pairs // items)[candidate[pairs % items]], minlength=len(task))
    return float(np.mean(uniform_level(allowed, metric)))


def uniform_level(n: np.ndarray | int, metric: str = "mrr") -> np.ndarray:
    """The expected metric of one target ranked at random among `n` items (elementwise)."""
    n = np.asarray(n)
    gains = rank_gain(metric)(np.arange(1, int(n.max(initial=1)) + 1, dtype=float))
    return np.concatenate(([0.0], np.cumsum(gains)))[n] / np.maximum(n, 1)


def best_possible_ndcg(task: Task, items: int, randomness: float = 0.0, k: int = 10) -> float:
    """The expected nDCG@k, in [0, 1], of the best ranking of a world whose dial gives grades to random items.

    With chance 1 - randomness a query's grades are as the world says and the best ranking scores 1; otherwise any
    ranking of the `items` items expects the mean grade at every position. Gains are the grades; queries without a
    grade above 0 are left out.
    """
    ideal = task.judgments.ideal_gains(k)
    discount = 1 / np.log2(np.arange(2, k + 2))
    best = ideal @ discount
    asked = best > 0
    total = np.bincount(task.judgments.items.groups, weights=task.judgments.grades, minlength=len(task))
    at_random = total[asked] / items * discount[: min(k, items)].sum() / best[asked]
    return float(np.mean(1 - randomness + randomness * at_random)) if asked.any() else 0.0


def scrambled(grades: np.ndarray, randomness: float, rng: np.random.Generator) -> np.ndarray:
    """For a share of the queries the grades [q, items] go to items at random (the same grades, other items)."""
    lost = rng.random(len(grades)) < randomness
    out = grades.copy()
    out[lost] = rng.permuted(grades[lost], axis=1)
    return out


def columns_of(requests: Requests, *columns: str) -> None:
    """Refuse requests that lack any of `columns`.

    Raises:
        RequestError: names the first missing one.
    """
    for column in columns:
        requests.require(column, by="the truth of this world")


def check_dial(randomness: float) -> float:
    """Refuse a dial outside [0, 1]."""
    if not 0 <= randomness <= 1:
        raise RequestError(f"randomness must lie between 0 and 1, not {randomness:g}.")
    return float(randomness)


def catalog_of(columns: Mapping[str, Any], kinds: Mapping[str, str]) -> tuple[Catalog, np.ndarray]:
    """A catalogue from columns in the generator's order, and the row of each generated item int32 [n].

    kinds: the kind of every column, the ID included.
    """
    table = pa.table(dict(columns))
    catalog = Catalog.from_table(table, overrides=dict(kinds))
    return catalog, catalog.ids.find(table.column(catalog.schema.id))


def numbered(prefix: str, n: int) -> list[str]:
    """External IDs "prefix0007"."""
    width = len(str(max(n - 1, 1)))
    return [f"{prefix}{i:0{width}d}" for i in range(n)]


def coined_words(rng: np.random.Generator, n: int) -> np.ndarray:
    """`n` different pronounceable words of letters only [n], of three syllables."""
    consonants, vowels = list("bdfgklmnprstvz"), list("aeiou")
    syllables = np.array([c + v for c in consonants for v in vowels], object)
    size = len(syllables)
    code = rng.choice(size**3, n, replace=False)
    return syllables[code // size**2] + syllables[code // size % size] + syllables[code % size]


def draw_columns(cumulative: np.ndarray, uniform: np.ndarray) -> np.ndarray:
    """For rows of cumulative weights [q, n] (last = total) and uniforms [q]: the drawn column of each row [q]."""
    point = uniform * cumulative[:, -1]
    return np.minimum((cumulative <= point[:, None]).sum(1), cumulative.shape[1] - 1)


def distinct(rng: np.random.Generator, rows: int, k: int, n: int) -> np.ndarray:
    """`k` different integers of 0..n-1 in every row [rows, k], uniformly (Floyd's sampling, all rows at once)."""
    out = np.full((rows, k), -1, np.int64)
    for column, top in enumerate(range(n - k, n)):
        drawn = rng.integers(0, top + 1, rows)
        taken = (out[:, :column] == drawn[:, None]).any(1)
        out[:, column] = np.where(taken, top, drawn)
    return rng.permuted(out, axis=1)
