"""What changed between two versions of a space: the whole turned, and what moved besides."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from itemspace.core.errors import RequestError
from itemspace.core.vectors import Dense, normalize
from itemspace.evaluate.embeddings.neighbors import nearest, overlap, sampled
from itemspace.evaluate.embeddings.similarity import linear_cka


@dataclass(frozen=True)
class Drift:
    """moved: float64 [n], 1 - cosine of each item to where it was, after the best rotation of the old onto the new space
    (0: only turned). plain: the same without the rotation, NaN where the dimensions differ. cka: agreement as wholes.
    kept: float64 [a], share of the k nearest that stayed, of the rows `asked`.
    """

    moved: np.ndarray
    plain: np.ndarray
    cka: float
    kept: np.ndarray
    asked: np.ndarray

    def most(self, count: int) -> np.ndarray:
        """The rows that moved most, most first."""
        return np.argsort(-self.moved, kind="stable")[:count]


def rotation(old: np.ndarray, new: np.ndarray) -> np.ndarray:
    """The orthogonal map [d, e] of old [n, d] that lies nearest to new [n, e], in squared distance.

    Source: Schonemann 1966 (orthogonal Procrustes).
    """
    left, _, right = np.linalg.svd(old.astype(np.float64).T @ new.astype(np.float64), full_matrices=False)
    return left @ right


def drift(old: Dense, new: Dense, *, k: int = 10, questions: int = 1_000, seed: int = 0) -> Drift:
    """Compare the vectors of the same items, row by row, in two versions.

    Raises:
        RequestError: not the same number of items, or fewer than k + 1.
    """
    if len(old) != len(new):
        raise RequestError(f"drift compares the same items twice, got {len(old):,} and {len(new):,}.")
    before, after = normalize(old.values), normalize(new.values)
    turned = normalize(before @ rotation(before, after).astype(np.float32))
    moved = 1.0 - np.einsum("nd,nd->n", turned, after, dtype=np.float64)
    same = before.shape[1] == after.shape[1]
    plain = 1.0 - np.einsum("nd,nd->n", before, after, dtype=np.float64) if same else np.full(len(old), np.nan)
    asked = sampled(len(old), questions, seed, "drift")
    kept = overlap(nearest(old, k, asked), nearest(new, k, asked))
    return Drift(moved, plain, linear_cka(old.values, new.values), kept, asked)
