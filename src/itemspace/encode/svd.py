"""Truncated singular value decomposition of a large sparse matrix by randomized range finding."""

from __future__ import annotations

import numpy as np
import scipy.sparse as sp

from itemspace.core.seeding import RNG, derive


def randomized_svd(
    matrix: sp.csr_matrix, rank: int, *, iterations: int = 2, oversampling: int = 16, rng: RNG = 0
) -> tuple[np.ndarray, np.ndarray]:
    """The leading right singular vectors [columns, rank] and singular values [rank] of `matrix` [rows, columns].

    `rank` is cut to what the matrix can hold. Each power iteration sharpens the spectrum; every vector is signed so that
    its largest entry is positive.
    Source: Halko, Martinsson and Tropp 2011, algorithms 4.4 and 5.1.
    """
    rank = min(rank, *matrix.shape)
    width = min(rank + oversampling, *matrix.shape)
    noise = derive(rng, "svd").standard_normal((matrix.shape[1], width), np.float32)
    range_ = np.linalg.qr(matrix @ noise)[0]
    for _ in range(iterations):
        range_ = np.linalg.qr(matrix @ np.linalg.qr(matrix.T @ range_)[0])[0]
    # matrix.T @ range_ = V S U^T of the projected matrix: its left side is what we want.
    right, values, _ = np.linalg.svd(matrix.T @ range_, full_matrices=False)
    right, values = right[:, :rank], values[:rank]
    signs = np.sign(right[np.abs(right).argmax(0), np.arange(rank)])
    return (right * np.where(signs == 0, 1, signs)).astype(np.float32), values.astype(np.float32)
