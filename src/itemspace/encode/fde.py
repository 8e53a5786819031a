"""`FixedDimensionalEncoding`: a set of vectors as one, so that one inner product stands for a MaxSim score."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from functools import cached_property

import numpy as np
import scipy.sparse as sp
from pydantic import Field

from itemspace.core.config import Config
from itemspace.core.contracts import Role
from itemspace.core.errors import ContractError, RecipeError
from itemspace.core.hashing import fingerprint
from itemspace.core.seeding import derive
from itemspace.core.vectors import Dense, Multi, VectorSpace

_TOKENS = 2_048
"""Token vectors encoded at once: their projections and the cells they fall into stay in the cache."""


_ON_PLANE = 1e-5
"""How near a vector lies to a plane, as a share of the usual distance, where float32 cannot tell its side."""


class FDEConfig(Config):
    repetitions: int = Field(
        20, ge=1, description="independent encodings, one after another; more are closer to MaxSim"
    )
    bits: int = Field(5, ge=0, le=10, description="hyperplanes per repetition: the space falls into 2**bits blocks")
    projection: int | None = Field(16, ge=1, description="numbers per block, by random signs; None: the vector's own")
    final: int | None = Field(
        None, ge=1, description="length of the whole after one more random projection; None: as is"
    )
    seed: int = Field(0, description="of every random draw; encodings of different seeds are not comparable")


class FixedDimensionalEncoding:
    """Sets of vectors to single vectors, whose inner product estimates MaxSim (Chamfer) similarity.

    Random hyperplanes cut the space into blocks. A query's block holds the *sum* of its vectors there, an item's the
    *average* of its own, and a block where an item has nothing holds its vector on the nearest side of the planes (fewest
    planes between; the first such). So each query vector meets one vector of the item that lies near it. Every block is
    projected to `projection` numbers by random signs; repetitions follow each other, and queries are divided by their
    number, so that the product is an estimate of the score itself. The first r repetitions of a longer encoding are those
    of a shorter one. Items without vectors become 0, which scores 0 with everything, as MaxSim says.

    Vectors must be compared by product. Cost per vector: d x repetitions x (bits + projection) multiplications.
    Source: Jayaram et al. 2024 (MUVERA), section 2.1; the last projection adds coordinates by a random, even assignment
    with random signs (count sketch, Charikar et al. 2002), which keeps products unbiased too.
    """

    def __init__(self, source: VectorSpace, config: FDEConfig = FDEConfig()) -> None:
        """source: the space of the vectors to come.

        Raises:
            ContractError: its metric is no product. RecipeError: `final` is longer than what it would shorten.
        """
        if source.metric == "euclidean" or (source.metric == "cosine" and not source.normalized):
            raise ContractError(
                "fixed dimensional encodings stand for products: normalize the vectors, or use the metric dot."
            )
        self.source, self.config = source, config
        if config.final is not None and config.final > self.length:
            raise RecipeError(f"`final` is {config.final:,}, but there are only {self.length:,} numbers to project.")

    @property
    def blocks(self) -> int:
        """Blocks per repetition."""
        return 1 << self.config.bits

    @property
    def width(self) -> int:
        """Numbers per block."""
        return self.config.projection or self.source.dimension

    @property
    def length(self) -> int:
        """Numbers before the last projection: repetitions x blocks x width."""
        return self.config.repetitions * self.blocks * self.width

    @property
    def dimension(self) -> int:
        """Length of an encoding."""
        return self.config.final or self.length

    @cached_property
    def space(self) -> VectorSpace:
        """The space of the encodings: of this source, these settings and this seed; compared by dot product."""
        print_ = fingerprint(self.source.to_json(), self.config.model_dump(mode="json"))
        return VectorSpace(f"fde-{print_}", self.dimension, "dot")

    @cached_property
    def planes(self) -> np.ndarray:
        """float32 [d, repetitions, bits]: the normals of the hyperplanes."""
        shape = (self.source.dimension, self.config.bits)
        drawn = [derive(self.config.seed, "fde", "planes", str(r)).standard_normal(shape) for r in self._repetitions]
        return np.stack(drawn, axis=1).astype(np.float32)

    @cached_property
    def signs(self) -> np.ndarray | None:
        """float32 [d, repetitions, width]: the projection of every repetition, signs over the root of the width."""
        if self.config.projection is None:
            return None
        shape = (self.source.dimension, self.width)
        drawn = [derive(self.config.seed, "fde", "signs", str(r)).integers(0, 2, shape) for r in self._repetitions]
        return ((2.0 * np.stack(drawn, axis=1) - 1.0) / np.sqrt(self.width)).astype(np.float32)

    @cached_property
    def last(self) -> tuple[np.ndarray, np.ndarray]:
        """What the last projection adds up: coordinates int64 [parts, final] (`length`: none), signs float32 of the same."""
        assert self.config.final is not None
        draw = derive(self.config.seed, "fde", "final")
        parts = -(-self.length // self.config.final)
        order = draw.permutation(parts * self.config.final).reshape(parts, self.config.final)
        signs = (2.0 * draw.integers(0, 2, order.shape) - 1.0).astype(np.float32)
        return np.minimum(order, self.length), np.where(order < self.length, signs, 0).astype(np.float32)

    @property
    def _repetitions(self) -> range:
        return range(self.config.repetitions)

    def encode(self, vectors: Multi, *, role: Role, dtype: type = np.float32) -> Dense:
        """One vector per set: [n, dimension] of `dtype` (float32 or float16).

        Raises:
            ContractError: not `Multi` vectors. SpaceMismatchError: vectors of another space than `source`.
        """
        if not isinstance(vectors, Multi):
            raise ContractError(f"fixed dimensional encodings are made of Multi vectors, not {type(vectors).__name__}.")
        self.source.check(vectors.space, what=role)
        out: np.ndarray = np.empty((len(vectors), self.dimension), dtype)
        bounds = vectors.offsets
        start = 0
        while start < len(vectors):
            stop = max(int(np.searchsorted(bounds, bounds[start] + _TOKENS, side="right")) - 1, start + 1)
            stop = min(stop, start + max(1, _TOKENS // 8))  # sets without vectors take room as well
            values = np.asarray(vectors.values[bounds[start] : bounds[stop]], np.float32)
            out[start:stop] = self._some(values, np.diff(bounds[start : stop + 1]), role)
            start = stop
        return Dense(out, self.space)

    def chunks(self, chunks: Iterable[Multi], *, role: Role = "item", dtype: type = np.float32) -> Iterator[Dense]:
        """The encodings of a stream, a chunk for a chunk: memory holds one chunk."""
        for chunk in chunks:
            yield self.encode(chunk, role=role, dtype=dtype)

    def _some(self, values: np.ndarray, lengths: np.ndarray, role: Role) -> np.ndarray:
        """float32 [sets, dimension] of the sets of `lengths` that `values` [t, d] holds one after another."""
        repetitions = self.config.repetitions
        owner = np.repeat(np.arange(len(lengths)), lengths)
        cell = ((owner[:, None] * repetitions + np.arange(repetitions)) * self.blocks + self._codes(values)).ravel()
        cells = len(lengths) * repetitions * self.blocks
        # Column j of the matrix below is a piece of a token; a piece belongs to one cell, or (unprojected) to one of each
        # repetition. Adding pieces up by cell is then one product, whatever the sets' sizes.
        if self.signs is None:
            pieces, per_piece = values, repetitions
        else:
            pieces, per_piece = (values @ self.signs.reshape(len(self.signs), -1)).reshape(-1, self.width), 1
        if role == "query":
            weight = np.full(len(cell), 1.0 / repetitions, np.float32)
            counts = None
        else:
            counts = np.bincount(cell, minlength=cells)
            weight = (1.0 / counts[cell]).astype(np.float32)
        ends = np.arange(0, len(cell) + 1, per_piece, dtype=np.int32)
        made = sp.csc_matrix((weight, cell.astype(np.int32), ends), shape=(cells, len(pieces))) @ pieces
        if counts is not None:
            self._fill(made, pieces, cell, counts, lengths)
        made = made.reshape(len(lengths), self.length)
        return made if self.config.final is None else self._shortened(made)

    def _codes(self, values: np.ndarray) -> np.ndarray:
        """int64 [t, repetitions]: the block of every vector, bit j the side of plane j."""
        planes = self.planes.reshape(len(self.planes), -1)
        apart = values @ planes
        lengths = np.linalg.norm(values, axis=1, keepdims=True)
        # A product of many vectors adds up in another order than one of few: what lies on a plane is looked at exactly, so
        # that a vector has one block wherever it stands.
        token, plane = np.nonzero(np.abs(apart) < _ON_PLANE * np.sqrt(values.shape[1]) * lengths)
        apart[token, plane] = np.einsum(
            "nd,dn->n", values[token].astype(np.float64), planes[:, plane].astype(np.float64)
        )
        sides = (apart > 0).reshape(len(values), *self.planes.shape[1:])
        code = np.zeros(sides.shape[:2], np.int64)
        for j in range(self.config.bits):
            code |= sides[:, :, j].astype(np.int64) << j
        return code

    def _fill(
        self, made: np.ndarray, pieces: np.ndarray, cell: np.ndarray, counts: np.ndarray, lengths: np.ndarray
    ) -> None:
        """Give every empty block of a set with vectors the one that the fewest planes part from it, the first such.

        The nearest over all vectors and blocks at once: `found` holds planes crossed x `far` + place in the set, and going
        over the bits one after another lets each block take the better of its own and of its neighbor's across that plane,
        which after the last bit is the best over all blocks (the distance is a sum over bits).
        """
        repetitions, blocks = self.config.repetitions, self.blocks
        far = int(lengths.max(initial=0)) + 1
        starts = np.cumsum(lengths) - lengths
        place = np.arange(len(cell) // repetitions) - np.repeat(starts, lengths)
        found = np.full(len(counts), (self.config.bits + 1) * far, np.int32)
        found[cell[::-1]] = np.repeat(place, repetitions)[::-1]  # the first of a block is written last
        for j in range(self.config.bits):
            pairs = found.reshape(-1, 2, 1 << j)
            near, across = pairs[:, 0], pairs[:, 1]
            better = np.minimum(near, across + far)
            np.minimum(across, near + far, out=across)
            near[:] = better
        empty = np.flatnonzero((counts == 0) & np.repeat(lengths > 0, repetitions * blocks))
        owner, repetition = empty // (repetitions * blocks), empty // blocks % repetitions
        token = starts[owner] + found[empty] % far
        made[empty] = pieces[token if self.signs is None else token * repetitions + repetition]

    def _shortened(self, made: np.ndarray) -> np.ndarray:
        order, signs = self.last
        padded = np.concatenate([made, np.zeros((len(made), 1), np.float32)], axis=1)
        out = np.zeros((len(made), order.shape[1]), np.float32)
        for part, sign in zip(order, signs, strict=True):
            out += padded[:, part] * sign
        return out


def fde_reference(encoding: FixedDimensionalEncoding, vectors: Multi, *, role: Role) -> np.ndarray:
    """The slow, obvious `FixedDimensionalEncoding.encode`: one set, repetition and block at a time. float64 [n, dimension]."""
    out = np.zeros((len(vectors), encoding.config.repetitions, encoding.blocks, encoding.width))
    for i in range(len(vectors)):
        tokens = np.asarray(vectors[i], np.float32)
        for r in range(encoding.config.repetitions):
            sides = tokens @ encoding.planes[:, r] > 0
            small = tokens if encoding.signs is None else tokens @ encoding.signs[:, r]
            for block in range(encoding.blocks):
                wanted = np.array([bool(block >> j & 1) for j in range(encoding.config.bits)])
                apart = (sides != wanted).sum(1)
                inside = small[apart == 0].astype(np.float64)
                if role == "query":
                    out[i, r, block] = inside.sum(0) / encoding.config.repetitions
                elif len(inside):
                    out[i, r, block] = inside.mean(0)
                elif len(tokens):
                    out[i, r, block] = small[int(np.argmin(apart))]
    whole = out.reshape(len(vectors), -1)
    if encoding.config.final is None:
        return whole
    shorter = np.zeros((len(vectors), encoding.config.final))
    for coordinates, signs in zip(*encoding.last, strict=True):
        for j, (at, sign) in enumerate(zip(coordinates.tolist(), signs.tolist(), strict=True)):
            if sign:
                shorter[:, j] += sign * whole[:, at]
    return shorter
