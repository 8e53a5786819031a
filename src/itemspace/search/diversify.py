"""Diversification: trade a little relevance for hits that are unlike each other."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from itemspace.core.errors import RequestError
from itemspace.core.hits import Hits
from itemspace.core.vectors import Dense, normalize


def diversified(hits: Hits, vectors: Dense, k: int, *, relevance: float = 0.7) -> Hits:
    """The k hits picked one at a time by `relevance * score - (1 - relevance) * likeness to what is already picked`.

    Scores are scaled to [0, 1] per request, likeness is the highest cosine between `vectors` (one per catalogue row).
    Give more hits than k: what is not among them cannot be picked. At relevance 1 the order is unchanged. The scores
    returned are the ones hits were picked by, which fall by construction of the running minimum.

    Source: Carbonell and Goldstein 1998 (maximal marginal relevance).

    Raises:
        RequestError: `relevance` is outside [0, 1].
    """
    if not 0 <= relevance <= 1:
        raise RequestError(f"relevance is between 0 and 1, got {relevance}.")
    q, c = hits.rows.shape
    real = hits.rows >= 0
    low = np.where(real, hits.scores, np.inf).min(1, keepdims=True, initial=np.inf)
    high = np.where(real, hits.scores, -np.inf).max(1, keepdims=True, initial=-np.inf)
    with np.errstate(invalid="ignore", divide="ignore"):
        scaled = np.where(high > low, (hits.scores - low) / (high - low), 1.0)
    unit = normalize(vectors.values[np.maximum(hits.rows, 0).reshape(-1)]).reshape(q, c, -1)
    nearest = np.zeros((q, c), np.float32)
    open_ = real.copy()
    places, scores = np.zeros((q, min(k, c)), np.int64), np.full((q, min(k, c)), -np.inf, np.float32)
    every = np.arange(q)
    for step in range(min(k, c)):
        value = np.where(open_, relevance * scaled - (1 - relevance) * nearest, -np.inf)
        best = value.argmax(1)
        places[:, step], scores[:, step] = best, value[every, best]
        open_[every, best] = False
        likeness = np.einsum("qcd,qd->qc", unit, unit[every, best])
        nearest = likeness if step == 0 else np.maximum(nearest, likeness)
    rows = np.where(scores > -np.inf, np.take_along_axis(hits.rows, places, 1), -1).astype(np.int32)
    parts = hits.parts
    if parts is not None:
        parts = [[row[j] for j in order] for row, order in zip(parts, places.tolist(), strict=True)]
    return replace(hits, rows=rows, scores=np.minimum.accumulate(scores, axis=1), parts=parts)
