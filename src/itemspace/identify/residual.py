"""Residual quantization: each level says what the levels before it left over. Shared by k-means and the auto-encoder."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from itemspace.core.vectors import normalize
from itemspace.identify.kmeans import nearest, squared_distances


def residual_levels(
    values: np.ndarray, books: Sequence[np.ndarray], *, unit: bool = False
) -> tuple[np.ndarray, np.ndarray]:
    """The nearest symbol of every level, int32 [n, levels], and where rounding might have decided, bool [n].

    books: one [symbols, d] per level. unit: residuals are scaled to length 1 before every level.
    """
    residual = values.copy()
    out, unsure = np.empty((len(values), len(books)), np.int32), np.zeros(len(values), bool)
    for level, book in enumerate(books):
        residual = _ready(residual, unit)
        label, close = nearest(residual, book.astype(values.dtype, copy=False))
        residual -= book[label]
        out[:, level] = label
        unsure |= close
    return out, unsure


def residual_after(
    values: np.ndarray, prefix: np.ndarray, books: Sequence[np.ndarray], *, unit: bool = False
) -> np.ndarray:
    """What the levels in prefix [n, level] leave of values [n, d], ready for the next level."""
    residual = values.copy()
    for level in range(prefix.shape[1]):
        residual = _ready(residual, unit) - books[level][prefix[:, level]]
    return _ready(residual, unit)


def residual_costs(
    values: np.ndarray, prefix: np.ndarray, books: Sequence[np.ndarray], level: int, *, unit: bool = False
) -> np.ndarray:
    """Squared distances [n, symbols] from what `prefix` leaves to every symbol of `level`."""
    return squared_distances(residual_after(values, prefix, books, unit=unit), books[level])


def _ready(residual: np.ndarray, unit: bool) -> np.ndarray:
    if not unit:
        return residual
    if residual.dtype == np.float32:
        return normalize(residual)
    lengths = np.linalg.norm(residual, axis=1, keepdims=True)
    return residual / np.where(lengths == 0, 1, lengths)
