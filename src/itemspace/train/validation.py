"""Full-ranking validation inside a training loop: the rank of each relevant item, without sorting anything.

The rank of an item is 1 plus the number of items that score higher (or equal, with a smaller tie-break), which is one
comparison per score instead of a top-k. `itemspace.metrics` computes the same figures from `Hits`; a test holds both to
the same values.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from itemspace.core.requests import Requests
from itemspace.core.task import Task

DEPTH = 200
"""Ranks are exact up to here; beyond it they are lower bounds (ties not counted), still beyond it."""

ScoreBlock = Callable[[Requests, np.ndarray], np.ndarray]
"""Requests and their places in the task int64 [q] to float32 scores [q, items]; the array may be overwritten."""


@dataclass(frozen=True)
class Ranks:
    """The rank (from 1) of every relevant (request, item) pair [m]; items that may not be answered rank beyond all."""

    request: np.ndarray
    rank: np.ndarray
    gain: np.ndarray
    relevant: np.ndarray

    def recall(self, k: int) -> float:
        """Mean over requests of the share of relevant items in the first k (hit rate when each has one)."""
        found = np.bincount(self.request, self.rank <= k, minlength=len(self.relevant))
        return float(np.mean(found[self.relevant > 0] / self.relevant[self.relevant > 0]))

    def ndcg(self, k: int) -> float:
        """Mean nDCG at k with the grades as gains."""
        gained = np.where(self.rank <= k, self.gain / np.log2(self.rank + 1.0), 0.0)
        dcg = np.bincount(self.request, gained, minlength=len(self.relevant))
        order = np.lexsort((-self.gain, self.request))
        starts = np.concatenate(([0], np.cumsum(self.relevant)))[:-1]
        place = np.arange(len(order)) - starts[self.request[order]]
        best = np.where(place < k, self.gain[order] / np.log2(place + 2.0), 0.0)
        ideal = np.bincount(self.request[order], best, minlength=len(self.relevant))
        return float(np.mean(dcg[ideal > 0] / ideal[ideal > 0]))


def rank_relevant(score: ScoreBlock, task: Task, items: int, ties: np.ndarray, *, block_bytes: int = 8 << 20) -> Ranks:
    """Ranks of the relevant items of `task` among all allowed items, scores made in blocks of `block_bytes`.

    Exclusions and `task.candidates` count as for a search. ties: uint32 [items], lower first among equal scores.
    """
    requests = task.prepared()
    relevant = task.judgments.relevant
    gains = task.judgments.grades[task.judgments.grades > 0]
    out = np.full(len(relevant.values), items + 1, np.int64)
    step = max(1, block_bytes // (4 * items))
    for start in range(0, len(task), step):
        at = np.arange(start, min(start + step, len(task)))
        part = requests.take(at)
        block = score(part, at)
        if task.candidates is not None:
            _limit(block, task, at)
        if part.exclude is not None:
            keep = (part.exclude.values >= 0) & (part.exclude.values < items)
            block[part.exclude.groups[keep], part.exclude.values[keep]] = -np.inf
        low, high = int(relevant.offsets[at[0]]), int(relevant.offsets[at[-1] + 1])
        row = relevant.groups[low:high] - at[0] if high - low != len(at) else relevant.take(at).groups
        out[low:high] = _ranks(block, row, relevant.values[low:high], ties)
    return Ranks(relevant.groups, out, gains, relevant.lengths)


def _limit(block: np.ndarray, task: Task, at: np.ndarray) -> None:
    assert task.candidates is not None
    mine = task.candidates.take(at) if task.candidates.per_request else task.candidates
    requests, columns = np.divmod(np.arange(block.size), block.shape[1])
    block[~mine.allows(requests, columns).reshape(block.shape)] = -np.inf


def _ranks(block: np.ndarray, row: np.ndarray, item: np.ndarray, ties: np.ndarray) -> np.ndarray:
    lines = block if np.array_equal(row, np.arange(len(block))) else block[row]
    own = lines[np.arange(len(row)), np.minimum(item, block.shape[1] - 1)]
    above = np.count_nonzero(lines > own[:, None], axis=1)
    # Ties can only push an item further down: beyond `DEPTH` nobody asks by how much.
    near = np.flatnonzero(above < DEPTH)
    same = lines[near] == own[near, None]
    above[near] += (same & (ties[None, :] < ties[item[near], None])).sum(1)
    return np.where(np.isneginf(own) | (item >= block.shape[1]), block.shape[1] + 1, above + 1)
