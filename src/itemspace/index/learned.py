"""`GivenPQIndex`: product codes whose centers came from elsewhere, such as a model trained with its index."""

from __future__ import annotations

from pathlib import Path
from typing import Any, ClassVar, Protocol, Self

import numpy as np

from itemspace.core.errors import ContractError
from itemspace.index.engines.coded import Codec, CodedLists
from itemspace.index.quantized import CodeEngine
from itemspace.index.quantizers import CodedConfig, CodedIndex
from itemspace.index.table import VectorTable

_NAMES = ("rotation", "centers", "codebooks")


class Weights(Protocol):
    """A rotation [d, d] (v @ rotation), coarse centers [lists, d], and the pieces' centers [pieces, size, d / pieces]."""

    @property
    def rotation(self) -> np.ndarray: ...
    @property
    def centers(self) -> np.ndarray: ...
    @property
    def codebooks(self) -> np.ndarray: ...


class GivenPQIndex(CodedIndex):
    """Inverted lists of product codes with nothing left to train: vectors are assigned, and that is all of a build.

    Make one with `GivenPQIndex.of(weights)`. Vectors go to the nearest coarse center (in Euclidean distance) and are coded by
    what is left, as in the model the centers come from.
    """

    config: CodedConfig
    kind: ClassVar[str] = "given-pq"
    least: ClassVar[int] = 1
    _given: tuple[np.ndarray, ...] | None = None

    @classmethod
    def of(cls, weights: Weights, **settings: Any) -> Self:
        """An empty index with these centers; `settings` are its configuration."""
        index = cls(**settings)
        index._given = tuple(np.ascontiguousarray(getattr(weights, name), np.float32) for name in _NAMES)
        return index

    def codec(self, dimension: int) -> Codec:
        _, _, codebooks = self._weights
        bits = int(np.ceil(np.log2(codebooks.shape[1])))
        return Codec("pq", pieces=codebooks.shape[0], bits=bits)

    @property
    def _weights(self) -> tuple[np.ndarray, ...]:
        if self._given is None:
            raise ContractError("GivenPQIndex has no centers: make it with GivenPQIndex.of(weights).")
        return self._given

    def _new_engine(self, table: VectorTable) -> CodeEngine:
        return _Given(table, self.codec(table.space.dimension), self.config.threads, self._weights)

    def _lists_for(self, slots: int) -> int:
        return len(self._weights[1])

    def save(self, folder: Path) -> None:
        super().save(folder)
        for name, array in zip(_NAMES, self._weights, strict=True):
            np.save(Path(folder) / f"given-{name}.npy", array)

    @classmethod
    def _opened(cls, folder: Path, settings: dict[str, Any]) -> Self:
        index = cls(**settings)
        index._given = tuple(np.load(folder / f"given-{name}.npy") for name in _NAMES)
        return index


class _Given(CodedLists):
    """Lists whose training is to take over what is there."""

    def __init__(self, table: VectorTable, codec: Codec, threads: int, given: tuple[np.ndarray, ...]) -> None:
        super().__init__(table.space, codec, threads)
        self._given = given
        self._rotation = np.ascontiguousarray(given[0].T)

    def train(self, sample: np.ndarray, lists: int, size: int, seed: int) -> None:
        faiss = self._faiss
        _, centers, codebooks = self._given
        metric = faiss.METRIC_L2 if self.space.metric == "euclidean" else faiss.METRIC_INNER_PRODUCT
        coarse = faiss.IndexFlatL2(self.space.dimension)
        coarse.add(centers)
        index = faiss.IndexIVFPQ(coarse, self.space.dimension, len(centers), len(codebooks), self.codec.bits, metric)
        coarse.this.disown()
        index.own_fields, index.is_trained = True, True
        full = np.zeros((len(codebooks), 2**self.codec.bits, codebooks.shape[2]), np.float32)
        full[:] = codebooks[:, :1]
        full[:, : codebooks.shape[1]] = codebooks
        faiss.copy_array_to_vector(full.reshape(-1), index.pq.centroids)
        index.by_residual = True
        if metric == faiss.METRIC_L2:
            index.precompute_table()
        self._trained = faiss.serialize_index(index)
        self._adopt(index, len(centers), size)

    def load(self, folder: Path, slots: int) -> bool:
        rotation = self._rotation
        found = super().load(folder, slots)
        self._rotation = rotation
        return found
