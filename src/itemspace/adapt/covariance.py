"""Mean and covariance of vectors read block by block, and the axes along which they vary most."""

from __future__ import annotations

import numpy as np

_BLOCK = 16_384


def moments(values: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Mean float64 [d] and covariance float64 [d, d] of values [n, d], in float64 so that large means do not cancel."""
    n, d = values.shape
    mean = np.zeros(d)
    for start in range(0, n, _BLOCK):
        mean += values[start : start + _BLOCK].sum(0, dtype=np.float64)
    mean /= max(n, 1)
    covariance = np.zeros((d, d))
    for start in range(0, n, _BLOCK):
        part = values[start : start + _BLOCK].astype(np.float64) - mean
        covariance += part.T @ part
    return mean, covariance / max(n, 1)


def principal_axes(covariance: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Eigenvalues [d], largest first, and eigenvectors [d, d] in columns, each with its largest loading positive."""
    values, axes = np.linalg.eigh(covariance)
    values, axes = np.maximum(values[::-1], 0.0), axes[:, ::-1]
    return values, axes * np.sign(axes[np.abs(axes).argmax(0), np.arange(axes.shape[1])])
