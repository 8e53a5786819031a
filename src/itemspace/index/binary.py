"""`BinaryIndex`: vectors as bits, compared bit by bit; one or several layers of them."""

from __future__ import annotations

import copy
from typing import Any, ClassVar, Literal, Self

import numpy as np
from pydantic import Field

from itemspace.core.asking import check_k
from itemspace.core.errors import ContractError, RecipeError
from itemspace.core.extras import require
from itemspace.core.hits import Hits
from itemspace.core.selection import Selection
from itemspace.core.vectors import VectorSpace
from itemspace.index.binarize import Binarizer, itq_binarizer, sign_binarizer
from itemspace.index.depth import measured_depth
from itemspace.index.engines.bits import BitScan
from itemspace.index.quantized import CodeEngine, QuantizedConfig, QuantizedIndex
from itemspace.index.rows import Allowed
from itemspace.index.scoring import ranked_pairs
from itemspace.index.table import VectorTable, check_queries


class BinaryConfig(QuantizedConfig):
    """Settings of the bits."""

    bits: int | None = Field(None, ge=8)
    """Bits per vector, all layers together; None: what `compression` asks for."""
    layers: int | None = Field(None, ge=1, le=8)
    """Layers the bits are spread over; None: as few as give each at most a bit per dimension."""
    method: Literal["sign", "itq", "recurrent"] = "itq"
    """How bits are made. sign: after a random rotation; itq: after one that loses least; recurrent: by small networks that
    are trained on the vectors (the extra `train`), each for what the layers before it left over."""
    epochs: int = Field(8, ge=1)
    """recurrent: passes over the sample."""
    hidden: int = Field(256, ge=0)
    """recurrent: hidden size of the networks; 0: linear ones."""


class BinaryIndex(QuantizedIndex):
    """Bits in memory, vectors on disk; needs nothing but NumPy unless the bits are to be learned.

    Queries are made into bits too (symmetric distances), so what is searched is popcounts of words: choose it where codes
    must be as small and as plain as can be, or where a store or a wire wants bits. `RaBitQIndex` finds more at equal bytes,
    as it compares bits with the query's full numbers.

    Source: Gan et al. 2023 (recurrent binarization, symmetric distances); Gong et al. 2013 (ITQ); Charikar 2002 (signs).
    """

    config: BinaryConfig
    kind: ClassVar[str] = "binary"

    _asked: tuple[VectorSpace, Binarizer] | None = None

    def shape(self, dimension: int) -> tuple[int, int]:
        """Bits of a layer, and layers.

        Raises:
            RecipeError: more bits per layer than `method` can make of `dimension`.
        """
        bits = self.config.bits or max(8, round(32 * dimension / self.config.compression))
        layers = self.config.layers or -(-bits // dimension)
        width = max(bits // layers, 1)
        if self.config.method == "itq" and width > dimension:
            raise RecipeError(
                f"{width:,} bits per layer of {dimension:,} dimensions: itq makes at most one per dimension. "
                "Ask for more `layers`, or for another `method`."
            )
        return width, layers

    def _new_engine(self, table: VectorTable) -> CodeEngine:
        return BitScan(table.space, self.fitted, unit=self._learned)

    @property
    def _learned(self) -> bool:
        return self.config.method == "recurrent"

    def fitted(self, sample: np.ndarray, seed: int) -> Binarizer:
        """The binarizer of a sample float32 [m, d], as the configuration says."""
        width, layers = self.shape(sample.shape[1])
        if self.config.method == "sign":
            return sign_binarizer(sample, width, layers, seed)
        center = True if self.space.metric == "euclidean" else None
        start = itq_binarizer(sample, min(width, sample.shape[1]), layers, seed, center=center)
        if not self._learned:
            return start
        require("torch", extra="train", needed_for="learning how to binarize")
        from itemspace.index.binarize_training import BinarizerTraining, trained_binarizer

        if width != start.width:
            start = sign_binarizer(sample, width, layers, seed)
        return trained_binarizer(
            sample, start, BinarizerTraining(epochs=self.config.epochs, hidden=self.config.hidden), seed=seed
        )

    @property
    def binarizer(self) -> Binarizer:
        """What makes vectors into bits.

        Raises:
            ContractError: there are too few vectors yet.
        """
        if not isinstance(self._engine, BitScan) or self._engine.binarizer is None:
            raise ContractError(f"{type(self).__name__} has no codes: it holds fewer than {self.least:,} vectors.")
        return self._engine.binarizer

    def holding(self, binarizer: Binarizer) -> Self:
        """The same vectors as bits of a `binarizer` made elsewhere.

        Raises:
            ContractError: it is for vectors of another length.
        """
        if len(binarizer.mean) != self.space.dimension:
            raise ContractError(
                f"the binarizer is for {len(binarizer.mean):,} dimensions, the index holds {self.space.dimension:,}."
            )
        out = copy.copy(self)
        slots = self.table.rows.slots
        engine = BitScan(self.space, lambda sample, seed: binarizer, unit=binarizer.unit)
        engine.train(np.zeros((0, self.space.dimension), np.float32), 1, slots, self._seed)
        out._engine = engine
        out._add(np.arange(slots))
        out._depth = measured_depth(self.table, engine, self._seed)
        return out

    def asked_by(self, space: VectorSpace, binarizer: Binarizer) -> Self:
        """This index for queries of another space, whose `binarizer` was trained to be compatible with this one's.

        So queries of a new model search what an old one left, before anything is encoded again. Scores are products of
        codes, as the two models' vectors cannot be compared.

        Raises:
            ContractError: the binarizers' bits per layer differ.
        """
        if binarizer.width != self.binarizer.width:
            raise ContractError(
                f"the queries' binarizer makes {binarizer.width:,} bits per layer, the index holds {self.binarizer.width:,}."
            )
        out = copy.copy(self)
        out._asked = (space, binarizer)
        return out

    def search(self, queries: Any, k: int, within: Selection | None = None) -> Hits:
        if self._asked is None:
            return super().search(queries, k, within)
        check_k(k)
        engine, rows = self._engine, self.table.rows
        assert isinstance(engine, BitScan)
        space, binarizer = self._asked
        asked = binarizer.encode(_unit(check_queries(space, queries), space))
        allowed = Allowed.of(rows, within, len(asked))
        assert allowed.chosen is not None
        wanted = len(allowed.chosen) if allowed.include is not None else k
        if allowed.exclude is not None:
            wanted += int(np.bincount(allowed.exclude[0], minlength=1).max(initial=0))
        # One more than is wanted shows whether equal codes were cut apart; ties decide among them.
        slots, distances = engine.search(asked, wanted + 64, allowed.chosen)
        group, column = np.nonzero(slots >= 0)
        picked = slots[group, column]
        keep = allowed.permits(group, picked, rows.slots)
        group, column, picked = group[keep], column[keep], picked[keep]
        found = ranked_pairs(group, rows.rows[picked], -distances[group, column], rows.ties[picked], len(asked), k)
        return Hits(*found, total=allowed.counts, explanation=["codes of another model's vectors"] * len(asked))


def _unit(values: np.ndarray, space: VectorSpace) -> np.ndarray:
    if space.metric != "cosine" or space.normalized:
        return values
    return values / np.maximum(np.linalg.norm(values, axis=1, keepdims=True), 1e-30)
