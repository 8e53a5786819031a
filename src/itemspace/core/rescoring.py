"""Hits in a new order: the first ones by what a scorer thinks of them, the others below."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from itemspace.core.fusion import falling, lowest
from itemspace.core.hits import Hits
from itemspace.core.ids import Ids


def reordered(head: Hits, scores: np.ndarray, ids: Ids | None) -> Hits:
    """The hits [q, k] by new scores float32 [q, k], best first; equal scores by the hash of the ID, where IDs are known."""
    ties = np.zeros(scores.shape, np.uint32) if ids is None else ids.ties[np.maximum(head.rows, 0)]
    order = np.lexsort((ties, -scores), axis=1)
    parts = head.parts
    if parts is not None:
        parts = [[row[j] for j in places] for row, places in zip(parts, order.tolist(), strict=True)]
    rows, best = np.take_along_axis(head.rows, order, 1), np.take_along_axis(scores, order, 1)
    return replace(head, rows=rows, scores=best, parts=parts)


def below(head: Hits, first: Hits, depth: int) -> Hits:
    """The rescored `head` followed by what lay beyond `depth` in `first`, with scores that go on falling."""
    tail = first.rows[:, depth:]
    if tail.shape[1] == 0:
        return head
    scores = np.where(tail >= 0, falling(lowest(head), tail.shape[1]), -np.inf).astype(np.float32)
    parts = head.parts
    if parts is not None and first.parts is not None:
        parts = [[*a, *b[depth:]] for a, b in zip(parts, first.parts, strict=True)]
    return replace(
        head,
        rows=np.concatenate([head.rows, tail], axis=1),
        scores=np.concatenate([head.scores, scores], axis=1),
        parts=parts,
    )
