"""Losses that shape codes by more than content (torch): alignment to behavior, diversity of symbols."""

from __future__ import annotations

import numpy as np
import torch
from torch.nn import functional

from itemspace.identify.kmeans import kmeans, squared_distances
from itemspace.identify.sinkhorn import sinkhorn


def alignment(quantized: torch.Tensor, behavior: torch.Tensor, temperature: float) -> torch.Tensor:
    """InfoNCE between what an item's code stands for and its behavior, against the batch: a scalar.

    quantized, behavior [n, d], compared by cosine. Items without behavior (rows of zeros) count neither way.
    Source: Wang et al. 2024 (LETTER), eq. 4.
    """
    known = behavior.abs().sum(1) > 0
    if int(known.sum()) < 2:
        return quantized.sum() * 0.0
    ours = functional.normalize(quantized[known], dim=1)
    theirs = functional.normalize(behavior[known], dim=1)
    scores = ours @ theirs.T / temperature
    return functional.cross_entropy(scores, torch.arange(len(scores)))


def diversity(book: torch.Tensor, symbols: torch.Tensor, clusters: torch.Tensor) -> torch.Tensor:
    """Symbols of one cluster together, clusters apart, so that the symbols spread evenly: a scalar.

    book [s, d]; symbols [n], of one level; clusters [s], groups of equal size. For every symbol in use another one of its
    cluster is the positive among all but itself. Deterministic: the positive is the next one of the cluster.
    Source: Wang et al. 2024 (LETTER), eq. 5, with a fixed instead of a random positive.
    """
    order = torch.argsort(clusters, stable=True)
    following = torch.roll(order, -1)
    first = torch.ones(len(order), dtype=torch.bool)
    first[1:] = clusters[order][1:] != clusters[order][:-1]
    start = torch.cummax(torch.where(first, torch.arange(len(order)), 0), 0).values
    ends = torch.roll(first, -1)
    following = torch.where(ends, order[start], following)
    partner = torch.empty_like(order)
    partner[order] = following
    scores = book[symbols] @ book.T
    scores = scores.scatter(1, symbols[:, None], float("-inf"))
    alone = partner[symbols] == symbols
    target = torch.where(alone, torch.full_like(symbols, -100), partner[symbols])
    if bool(alone.all()):
        return book.sum() * 0.0
    return functional.cross_entropy(scores, target)


def clusters_of(book: np.ndarray, count: int, rng: np.random.Generator) -> torch.Tensor:
    """`count` clusters of about equal size over the symbols of a codebook [s, d]: int64 [s] (constrained k-means).

    Centers by k-means, members by Sinkhorn's balanced plan.
    """
    centers = kmeans(
        book.astype(np.float32), min(count, max(2, len(book) // 2)), iterations=10, rng=rng, engine="numpy"
    )
    plan = sinkhorn(squared_distances(book, centers), epsilon=0.05)
    return torch.from_numpy(plan.argmax(1).astype(np.int64))
