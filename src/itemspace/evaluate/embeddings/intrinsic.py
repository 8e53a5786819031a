"""How many numbers a point of the cloud really needs: intrinsic dimension from distances to near neighbors."""

from __future__ import annotations

import numpy as np

from itemspace.core.errors import RequestError
from itemspace.core.vectors import Dense
from itemspace.evaluate.embeddings.neighbors import nearest


def two_nn(distances: np.ndarray, discard: float = 0.1) -> float:
    """TwoNN from distances to the two nearest neighbors [n, >= 2]: with r = second / first, -log(1 - F(r)) = dimension x log r.

    The slope through the origin, without the `discard` largest ratios, whose tail is not uniform any more. Points with an
    equal neighbor are left out. NaN where fewer than three points are left.
    Source: Facco et al. 2017, section "a minimal neighborhood information".
    """
    first, second = distances[:, 0].astype(np.float64), distances[:, 1].astype(np.float64)
    usable = first > 0
    ratio = np.sort(np.log(second[usable] / first[usable]))
    n = len(ratio)
    kept = int(n * (1 - discard))
    if kept < 3 or ratio[kept - 1] <= 0:
        return float("nan")
    x, y = ratio[:kept], -np.log1p(-np.arange(1, kept + 1) / n) if kept < n else -np.log1p(-np.arange(kept) / n)
    return float((x @ y) / (x @ x))


def levina_bickel(distances: np.ndarray) -> float:
    """The maximum likelihood dimension from distances to the k nearest neighbors [n, k], k at least 3.

    Inverse estimates are averaged over points. Source: Levina and Bickel 2005; the average: MacKay and Ghahramani 2005.
    """
    if distances.shape[1] < 3:
        raise RequestError("the maximum likelihood dimension needs at least three neighbors.")
    near = distances.astype(np.float64)
    near = near[near[:, 0] > 0]
    if not len(near):
        return float("nan")
    inverse = np.log(near[:, -1:] / near[:, :-1]).sum(1) / (near.shape[1] - 2)
    mean = float(inverse.mean())
    return 1.0 / mean if mean > 0 else float("nan")


def neighbor_distances(vectors: Dense, k: int, asked: np.ndarray) -> np.ndarray:
    """Euclidean distances float64 [a, k] of each asked row to its k nearest others, from differences, not from products:

    where points nearly coincide a product of float32 has no digits left.
    """
    values = np.asarray(vectors.values, np.float32)
    found = nearest(vectors, k, asked)
    out = np.empty(found.shape)
    for j in range(k):  # k is small; n x k x d at once is not
        out[:, j] = np.linalg.norm(values[asked].astype(np.float64) - values[found[:, j]], axis=1)
    return np.sort(out, axis=1)
