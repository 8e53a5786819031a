"""Candidates for late interaction as they were found before encodings: every query vector looks for its own."""

from __future__ import annotations

from typing import Literal

import numpy as np

from itemspace.core.topk import top_k
from itemspace.core.vectors import Multi

Order = Literal["first", "sum"]


def token_candidates(queries: Multi, items: Multi, per_token: int, *, order: Order = "first") -> np.ndarray:
    """Candidates of every query, best first: int32 rows [q, most], -1 where a query has fewer.

    Each query vector looks (exactly) for the `per_token` item vectors of greatest product; the items that own them are
    the candidates, each once. order: "first" takes them as the lists are read side by side, all first places before all
    second ones (what the number of candidates means in Jayaram et al. 2024, section 3.1); "sum" ranks them by the sum of
    the best products found with each query vector, which sees far more of the score and needs all lists read first.
    """
    owner = np.repeat(np.arange(len(items), dtype=np.int64), np.diff(items.offsets))
    per_token = min(per_token, len(owner))
    ties = np.arange(len(owner), dtype=np.uint32)
    found = []
    for i in range(len(queries)):  # one product with all item vectors each
        query = np.asarray(queries[i], np.float32)
        if len(query) == 0 or len(owner) == 0:
            found.append(np.zeros(0, np.int32))
            continue
        token, product = top_k(query @ np.asarray(items.values, np.float32).T, per_token, ties)
        found.append(_first(owner[token]) if order == "first" else _by_sum(owner[token], product, len(items)))
    width = max((len(rows) for rows in found), default=0)
    out = np.full((len(queries), width), -1, np.int32)
    for row, rows in zip(out, found, strict=True):
        row[: len(rows)] = rows
    return out


def _first(owners: np.ndarray) -> np.ndarray:
    """Items [m, per_token] in the order of their first place, whichever query vector's; those of one place by vector."""
    flat = owners.T.ravel()
    _, at = np.unique(flat, return_index=True)
    return flat[np.sort(at)].astype(np.int32)


def _by_sum(owners: np.ndarray, products: np.ndarray, n: int) -> np.ndarray:
    """Items by the sum over query vectors of the best product found with one of theirs."""
    pair = (np.arange(len(owners))[:, None] * n + owners).ravel()
    order = np.argsort(pair, kind="stable")  # a list comes best first, and stays so
    pair, value = pair[order], products.ravel()[order]
    begins = np.concatenate(([True], pair[1:] != pair[:-1]))
    total = np.bincount(pair[begins] % n, weights=value[begins], minlength=n)
    there = np.unique(owners)
    return there[np.argsort(-total[there], kind="stable")].astype(np.int32)
