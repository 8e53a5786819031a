"""`Vectors`: representations as arrays, each stamped with the space it lives in."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import Literal

import numpy as np
import scipy.sparse as sp

from itemspace.core.errors import SpaceMismatchError
from itemspace.core.ragged import Ragged

Metric = Literal["cosine", "dot", "euclidean"]


@dataclass(frozen=True)
class VectorSpace:
    """Which space vectors live in. Two vectors may be compared only when their spaces are equal.

    encoder: a fingerprint of the encoder (its class, configuration and weights). dimension: length of a vector.
    metric: how closeness is measured. normalized: whether every vector has length 1.
    """

    encoder: str
    dimension: int
    metric: Metric = "cosine"
    normalized: bool = False

    def check(self, other: VectorSpace, *, what: str = "query") -> None:
        """Refuse vectors of another space.

        Raises:
            SpaceMismatchError: names both spaces and what differs.
        """
        if self == other:
            return
        differs = [n for n in ("encoder", "dimension", "metric", "normalized") if getattr(self, n) != getattr(other, n)]
        told = ", ".join(f"{n} {getattr(other, n)!r} instead of {getattr(self, n)!r}" for n in differs)
        raise SpaceMismatchError(
            f"the {what} vectors are of another space: {told}. Encode with the encoder the index was built with."
        )

    def to_json(self) -> dict[str, object]:
        return {
            "encoder": self.encoder,
            "dimension": self.dimension,
            "metric": self.metric,
            "normalized": self.normalized,
        }


@dataclass(frozen=True)
class Dense:
    """One vector per item: `values` [n, d] of float32, float16, int8, or uint8 packed bits ([n, d / 8])."""

    values: np.ndarray
    space: VectorSpace

    def __len__(self) -> int:
        return len(self.values)

    def take(self, rows: np.ndarray) -> Dense:
        return replace(self, values=self.values[rows])

    def chunks(self, size: int = 65_536) -> Iterator[Dense]:
        """`size` vectors at a time: a view, so a memory-mapped array is never read whole."""
        for start in range(0, len(self), size):
            yield replace(self, values=self.values[start : start + size])


@dataclass(frozen=True)
class Sparse:
    """One sparse vector per item: `values` CSR [n, d]."""

    values: sp.csr_matrix
    space: VectorSpace

    def __len__(self) -> int:
        return self.values.shape[0]

    def take(self, rows: np.ndarray) -> Sparse:
        return replace(self, values=self.values[rows])

    def chunks(self, size: int = 65_536) -> Iterator[Sparse]:
        for start in range(0, len(self), size):
            yield replace(self, values=self.values[start : start + size])


@dataclass(frozen=True)
class Multi:
    """Several vectors per item: `values` [total, d]; item i owns `values[offsets[i]:offsets[i + 1]]`."""

    values: np.ndarray
    offsets: np.ndarray
    space: VectorSpace

    def __len__(self) -> int:
        return len(self.offsets) - 1

    def __getitem__(self, row: int) -> np.ndarray:
        return self.values[self.offsets[row] : self.offsets[row + 1]]

    def take(self, rows: np.ndarray) -> Multi:
        index = Ragged(np.arange(len(self.values)), self.offsets).take(rows)
        return Multi(self.values[index.values], index.offsets, self.space)

    def chunks(self, size: int = 4_096) -> Iterator[Multi]:
        for start in range(0, len(self), size):
            bounds = self.offsets[start : start + size + 1]
            yield Multi(self.values[bounds[0] : bounds[-1]], bounds - bounds[0], self.space)


@dataclass(frozen=True)
class Gaussian:
    """A distribution per item: `mean` [n, d] and diagonal `variance` [n, d]."""

    mean: np.ndarray
    variance: np.ndarray
    space: VectorSpace

    def __len__(self) -> int:
        return len(self.mean)

    def take(self, rows: np.ndarray) -> Gaussian:
        return replace(self, mean=self.mean[rows], variance=self.variance[rows])

    def chunks(self, size: int = 65_536) -> Iterator[Gaussian]:
        for start in range(0, len(self), size):
            stop = start + size
            yield replace(self, mean=self.mean[start:stop], variance=self.variance[start:stop])


@dataclass(frozen=True)
class Texts:
    """Words as they are, for lexical indexes: `fields` maps a field name to one string per item."""

    fields: dict[str, tuple[str, ...]]

    def __len__(self) -> int:
        return len(next(iter(self.fields.values()), ()))

    def take(self, rows: np.ndarray) -> Texts:
        return Texts({name: tuple(values[i] for i in rows.tolist()) for name, values in self.fields.items()})

    def chunks(self, size: int = 65_536) -> Iterator[Texts]:
        for start in range(0, len(self), size):
            yield Texts({name: values[start : start + size] for name, values in self.fields.items()})


Vectors = Dense | Sparse | Multi | Gaussian | Texts
"""Everything an encoder may return and an index may hold."""


def normalize(values: np.ndarray) -> np.ndarray:
    """Rows of `values` [n, d] scaled to length 1 (float32); zero rows stay zero."""
    values = np.asarray(values, np.float32)
    lengths = np.linalg.norm(values, axis=1, keepdims=True)
    return values / np.where(lengths == 0, 1, lengths)
