"""How far two encoders agree about the same items: representations as wholes, and who is near whom."""

from __future__ import annotations

import numpy as np

from itemspace.core.errors import RequestError


def linear_cka(left: np.ndarray, right: np.ndarray) -> float:
    """Linear centered kernel alignment of two representations [n, d] and [n, e] of the same items, 0 to 1.

    1 where one is a rotation (and scaling) of the other. Source: Kornblith et al. 2019, equation 5, with the products
    over dimensions, never over pairs of items.
    """
    if len(left) != len(right):
        raise RequestError(f"two representations of the same items are needed, got {len(left)} and {len(right)}.")
    x, y = (np.asarray(v, np.float64) - np.asarray(v, np.float64).mean(0) for v in (left, right))
    cross = float(((y.T @ x) ** 2).sum())
    own = np.linalg.norm(x.T @ x) * np.linalg.norm(y.T @ y)
    return float(cross / own) if own > 0 else 0.0


def rank_similarity(left: np.ndarray, right: np.ndarray) -> np.ndarray:
    """Agreement on the ranks of what two lists [a, k] share, high ranks weighing more: float64 [a], 0 to 1.

    Of every shared item 2 / ((1 + |r - s|) (r + s)), over what equal lists of as many items would give; 0 where nothing
    is shared. Source: Wang et al. 2022, as used by Caspari et al. 2024.
    """
    k = left.shape[1]
    same = left[:, :, None] == right[:, None, :]
    rank = np.arange(1, k + 1, dtype=np.float64)
    weight = 2.0 / ((1 + np.abs(rank[:, None] - rank)) * (rank[:, None] + rank))
    shared = same.sum((1, 2))
    harmonic = np.concatenate([[1.0], np.cumsum(1.0 / rank)])
    return (same * weight).sum((1, 2)) / harmonic[shared]


def families(similarity: np.ndarray, names: tuple[str, ...]) -> list[tuple[str, ...]]:
    """Encoders merged by average linkage on 1 - similarity [m, m]: the groups in the order in which they form."""
    from scipy.cluster.hierarchy import linkage
    from scipy.spatial.distance import squareform

    if len(names) < 2:
        return []
    distance = np.clip(1.0 - (similarity + similarity.T) / 2, 0.0, None)
    np.fill_diagonal(distance, 0.0)
    groups: list[tuple[str, ...]] = [(name,) for name in names]
    for a, b, _, _ in linkage(squareform(distance, checks=False), "average"):
        groups.append(groups[int(a)] + groups[int(b)])
    return groups[len(names) :]
