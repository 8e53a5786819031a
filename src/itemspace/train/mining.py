"""Hard negatives: what a model ranks high for a query and nobody said is right, less what probably is."""

from __future__ import annotations

import numpy as np
import scipy.sparse as sp

from itemspace.core.ragged import Ragged

_BLOCK = 1_024


def mine_negatives(
    asked: np.ndarray,
    answers: np.ndarray,
    chosen: sp.csr_matrix,
    count: int,
    *,
    depth: int = 50,
    ceiling: float | None = 0.95,
    ignore: sp.csr_matrix | None = None,
    pool: np.ndarray | None = None,
) -> Ragged:
    """The first `count` wrong items of each query's own ranking, best first; none for queries without a right item.

    asked: query vectors [q, d]; answers: item vectors [n, d], compared by inner product. chosen: CSR [q, n], above 0 what
    is right. depth: how far down the ranking is looked. ignore: CSR [q, n], above 0 what is neither right nor wrong. pool:
    bool [n], the only items that may be taken (the training side of a split).

    ceiling: the false-negative filter. An item is passed over as probably right, though unlabelled, when it scores above
    this share of the query's best right item (the best score less (1 - ceiling) of its size, so that scores below 0 work
    too); None takes every wrong item. Memory is 1,024 x n scores.

    Source: Xiong et al. 2021 (ANCE) for mining with the model itself; de Souza P. Moreira et al. 2024 (NV-Retriever),
    section 4.2, for the ceiling.
    """
    owners, found = [np.zeros(0, np.int64)], [np.zeros(0, np.int64)]
    banned = None if pool is None else ~pool
    depth = min(depth, answers.shape[0])
    for start in range(0, len(asked), _BLOCK):
        stop = min(start + _BLOCK, len(asked))
        scores = asked[start:stop] @ answers.T
        right = chosen[start:stop].toarray() > 0
        best = np.where(right, scores, -np.inf).max(1, keepdims=True, initial=-np.inf)
        limit = np.inf if ceiling is None else best - (1 - ceiling) * np.abs(best)
        wrong = ~right & np.isfinite(best) & (scores <= limit)
        if ignore is not None:
            wrong &= ~(ignore[start:stop].toarray() > 0)
        if banned is not None:
            wrong[:, banned] = False
        near = np.argpartition(-scores, depth - 1, axis=1)[:, :depth]
        order = np.argsort(-np.take_along_axis(scores, near, 1), axis=1, kind="stable")
        near = np.take_along_axis(near, order, 1)
        keep = np.take_along_axis(wrong, near, 1)
        keep &= np.cumsum(keep, axis=1) <= count
        owner, place = np.nonzero(keep)
        owners.append(owner + start)
        found.append(near[owner, place].astype(np.int64))
    return Ragged.from_groups(np.concatenate(owners), np.concatenate(found), len(asked))
