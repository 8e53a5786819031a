"""What behavior says belongs together, as pairs of vectors for `LSAEncoder.align`."""

from __future__ import annotations

import numpy as np

from itemspace.core.contracts import DatasetLike
from itemspace.core.requests import Requests
from itemspace.core.seeding import RNG, derive
from itemspace.core.vectors import Dense
from itemspace.encode.lsa import LSAEncoder


def align_to_behavior(
    encoder: LSAEncoder, dataset: DatasetLike, *, max_pairs: int = 50_000, shrinkage: float = 0.1, rng: RNG = 0
) -> LSAEncoder:
    """Align a fitted `encoder` to clicks (query, item) and to items that followed each other in a history.

    At most `max_pairs` of each, drawn at random. A dataset without impressions and interactions changes nothing. Pass
    training events only: whatever is aligned to has been seen.
    """
    space = encoder.space
    left, right = [], []
    draw = derive(rng, "behavior pairs")
    shown, done = dataset.impressions, dataset.interactions
    if shown is not None and shown.query is not None:
        clicked = np.flatnonzero((shown.outcome > 0) & (shown.query >= 0))
        clicked = _some(clicked, max_pairs, draw)
        asked, at = np.unique(shown.query[clicked], return_inverse=True)
        if len(asked):
            texts = [shown.queries[i] for i in asked.tolist()]
            left.append(encoder.encode(Requests.texts(texts), role="query").values[at.reshape(-1)])
            right.append(_items(encoder, dataset, shown.item[clicked]))
    if done is not None and len(done) > 1:
        follows = np.flatnonzero((done.user[1:] == done.user[:-1]) & (done.item[1:] != done.item[:-1]))
        follows = _some(follows, max_pairs, draw)
        if len(follows):
            left.append(_items(encoder, dataset, done.item[follows]))
            right.append(_items(encoder, dataset, done.item[follows + 1]))
    if not left:
        return encoder
    one, other = np.concatenate(left), np.concatenate(right)
    known = one.any(1) & other.any(1)  # a text without a known word is at no place to be moved from
    return encoder.align(Dense(one[known], space), Dense(other[known], space), shrinkage=shrinkage)


def _some(rows: np.ndarray, most: int, rng: np.random.Generator) -> np.ndarray:
    return rows if len(rows) <= most else np.sort(rng.choice(rows, most, replace=False))


def _items(encoder: LSAEncoder, dataset: DatasetLike, rows: np.ndarray) -> np.ndarray:
    """The vectors of item rows, each distinct item encoded once."""
    distinct, at = np.unique(rows, return_inverse=True)
    return encoder.encode(dataset.catalog.take(distinct), role="item").values[at.reshape(-1)]
