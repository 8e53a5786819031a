"""MaxSim of queries with candidates of their own: fast in float32 to choose, in float64 for what is answered."""

from __future__ import annotations

import numpy as np

from itemspace.core.vectors import Multi
from itemspace.index.token_table import TokenTable

_SLACK = 1.2e-7
"""What each product of a float32 sum adds at most to its error, as a share of the vectors' lengths."""


def rerank(queries: Multi, table: TokenTable, rows: np.ndarray, k: int) -> tuple[np.ndarray, np.ndarray]:
    """The k best by MaxSim of each query's candidate rows [q, c] (-1: none): rows int32 and scores float32 [q, k].

    Ties fall as the table's tie order says. A query costs (its vectors) x (its candidates' vectors) x d, and reads those.
    """
    out = np.full((len(queries), k), -1, np.int32)
    best = np.full((len(queries), k), -np.inf, np.float32)
    for i in range(len(queries)):  # a product over the thousands of vectors of one query's candidates in each step
        slots = table.rows.slots_of(rows[i, rows[i] >= 0])
        slots = np.sort(slots[slots >= 0])
        chosen, scores = _best(np.asarray(queries[i], np.float32), table, slots, k)
        out[i, : len(chosen)], best[i, : len(chosen)] = table.rows.rows[chosen], scores
    return out, best


def _best(query: np.ndarray, table: TokenTable, slots: np.ndarray, k: int) -> tuple[np.ndarray, np.ndarray]:
    """The k best slots, best first, and their scores float32."""
    if len(slots) > k and len(query):
        items = table.take(slots)
        values = np.asarray(items.values, np.float32)
        near = set_scores(query, values, items.offsets)
        reach = np.linalg.norm(query, axis=1).sum() * np.sqrt(np.einsum("td,td->t", values, values).max(initial=0))
        slack = _SLACK * values.shape[1] * reach
        slots = slots[near >= np.partition(near, len(near) - k)[len(near) - k] - slack]
    items = table.take(slots)
    scores = set_scores(query.astype(np.float64), items.values.astype(np.float64), items.offsets).astype(np.float32)
    order = np.lexsort((table.rows.ties[slots], -scores))[:k]
    return slots[order], scores[order]


def set_scores(query: np.ndarray, values: np.ndarray, offsets: np.ndarray) -> np.ndarray:
    """MaxSim of one query [m, d] with every set [n] of `values` [total, d], in their type; a set of none scores 0."""
    out = np.zeros(len(offsets) - 1, values.dtype)
    held = np.flatnonzero(np.diff(offsets))
    if len(held) and len(query):
        out[held] = np.maximum.reduceat(query @ values.T, offsets[:-1][held], axis=1).sum(0)
    return out
