"""The compressed indexes over faiss's codes (extra `ann`): product, rotated product, additive and RaBitQ codes.

| index | codes | choose it |
|---|---|---|
| `PQIndex` | numbers of nearest centers, piece by piece | first: quick to build, the fastest scan (4 bits) |
| `OPQIndex` | the same after a learned rotation | where dimensions differ in spread or depend on each other |
| `AQIndex` | sums of several centers per piece | for the least loss at equal bytes, where build and search may take longer |
| `RaBitQIndex` | bits of randomly turned vectors, with corrections | without anything to train; loss is bounded whatever the data |

Three of them know how to compress by `compression`; answers are scored again from the vectors on disk.
"""

from __future__ import annotations

from typing import ClassVar, Literal

import numpy as np
from pydantic import Field

from itemspace.index.engines.coded import Codec, CodedLists
from itemspace.index.engines.lists import lists_for
from itemspace.index.quantized import CodeEngine, QuantizedConfig, QuantizedIndex
from itemspace.index.table import VectorTable

_MANY = 200_000
"""Slots from which lists come in front of the codes when their number is left to the index."""


class CodedConfig(QuantizedConfig):
    """What the codes of faiss have in common."""

    lists: int | None = Field(None, ge=1)
    """Inverted lists in front of the codes; 1: none, every code is read. None: none below 200,000 vectors."""
    probes: int | None = Field(None, ge=1)
    """Lists a search reads; None: what `recall` needs."""
    threads: int = Field(1, ge=0)
    """Threads that build and search (0: one per core)."""


class PQConfig(CodedConfig):
    """Settings of product codes."""

    bits: Literal[4, 8] = 4
    """Of the number kept for a piece: 4 are read many times faster, 8 lose less at equal bytes."""


class AQConfig(CodedConfig):
    """Settings of additive codes."""

    levels: int = Field(4, ge=1, le=16)
    """Centers added up for a piece of the vector."""
    bits: Literal[4, 8] = 8
    """Of the number kept for each."""


class RaBitQConfig(CodedConfig):
    """Settings of RaBitQ's codes: 32 / `compression` bits per dimension, and 8 bytes of corrections (16 above one bit)."""

    query_bits: int = Field(8, ge=0, le=8)
    """Bits of a query's dimensions: fewer are faster; 0 compares the query as it is."""


class CodedIndex(QuantizedIndex):
    """Codes of faiss."""

    config: CodedConfig

    def codec(self, dimension: int) -> Codec:
        """The codes that vectors of `dimension` get."""
        raise NotImplementedError

    def _new_engine(self, table: VectorTable) -> CodeEngine:
        return CodedLists(table.space, self.codec(table.space.dimension), self.config.threads)

    def _lists_for(self, slots: int) -> int:
        if self.config.lists is not None:
            return min(self.config.lists, max(slots // 39, 1))
        return lists_for(slots) if slots >= _MANY else 1

    def code_bytes(self, dimension: int) -> int:
        """Bytes of a code that `compression` asks for."""
        return max(1, round(4 * dimension / self.config.compression))


class PQIndex(CodedIndex):
    """Product quantization: a vector cut into pieces, each kept as the number of the nearest of 16 or 256 centers.

    Source: Jégou, Douze and Schmid 2011; scanned as by André, Kermarrec and Le Scouarnec 2015, as implemented by faiss.
    """

    config: PQConfig
    kind: ClassVar[str] = "pq"
    rotated: ClassVar[Literal["pq", "opq"]] = "pq"
    least: ClassVar[int] = 1024

    def codec(self, dimension: int) -> Codec:
        wanted = self.code_bytes(dimension) * 8 // self.config.bits
        return Codec(self.rotated, pieces=int(np.clip(wanted, 1, dimension)), bits=self.config.bits)


class OPQIndex(PQIndex):
    """Product quantization after a rotation learned to lose least.

    Source: Ge, He, Ke and Sun 2013 (the non-parametric way), as implemented by faiss.
    """

    kind: ClassVar[str] = "opq"
    rotated: ClassVar[Literal["pq", "opq"]] = "opq"


class AQIndex(CodedIndex):
    """Additive codes: pieces of the vector, each a sum of centers found level by level with a beam.

    Its scan cannot skip what a filter rejects: it is asked for more candidates instead, the more the narrower the filter.

    Source: Babenko and Lempitsky 2014; the residual form of Chen, Guan and Wang 2010; as implemented by faiss.
    """

    config: AQConfig
    kind: ClassVar[str] = "aq"
    least: ClassVar[int] = 1024

    def codec(self, dimension: int) -> Codec:
        numbers = max(1, self.code_bytes(dimension) * 8 // self.config.bits)
        levels = min(self.config.levels, numbers)
        pieces = int(np.clip(numbers // levels, 1, dimension))
        return Codec("aq", pieces=pieces, bits=self.config.bits, levels=levels)


class RaBitQIndex(CodedIndex):
    """Bits per dimension of randomly turned vectors, with factors that make estimates unbiased.

    Source: Gao and Long 2024 (one bit); Gao et al. 2025 (more bits), as implemented by faiss.
    """

    config: RaBitQConfig
    kind: ClassVar[str] = "rabitq"

    def codec(self, dimension: int) -> Codec:
        bits = int(np.clip(round(32 / self.config.compression), 1, 9))
        return Codec("rabitq", bits=bits, query_bits=self.config.query_bits)
