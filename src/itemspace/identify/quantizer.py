"""What tokenizers with fixed levels share: reading in blocks, collisions, versions, files, renaming of symbols."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Self

import numpy as np
from pydantic import Field

from itemspace.core.codes import Codes
from itemspace.core.config import Config
from itemspace.core.contracts import ItemTokenizer
from itemspace.core.errors import ContractError
from itemspace.core.files import load_arrays, read_json, save_arrays, write_json_atomic
from itemspace.core.hashing import fingerprint
from itemspace.core.seeding import RNG, derive
from itemspace.core.vectors import Dense, Vectors, VectorSpace
from itemspace.identify.collisions import Collisions, resolved
from itemspace.identify.kmeans import BLOCK

SAMPLE = 65_536
"""Vectors that statistics (means, principal axes) are taken from."""


class QuantizerConfig(Config):
    collisions: Collisions = Field("extra_token", description="what happens to items of one code")
    sinkhorn_epsilon: float = Field(
        0.003, gt=0, description='of collisions="sinkhorn"; smaller is nearer to the symbols'
    )


class Quantizer(ItemTokenizer):
    """Dense vectors to codes of one length. A subclass learns arrays and says how they turn vectors into levels.

    `assign` gives no two items one code unless `collisions` is "allow"; codes that other items have are handed in as
    `taken`. The levels before collisions (`levels`) of a vector never depend on the other vectors. Vectors may be memory-
    mapped: blocks of 16,384 are read at a time.
    """

    config: QuantizerConfig
    _arrays: dict[str, np.ndarray] | None = None
    _space: VectorSpace
    _version: str | None = None

    # What a subclass says

    @property
    @abstractmethod
    def level_sizes(self) -> tuple[int, ...]:
        """How many symbols each level has, before collisions."""

    @abstractmethod
    def _learn(self, vectors: Dense, rng: RNG, warm: Self | None) -> dict[str, np.ndarray]:
        """The arrays of a fit. `warm` is a fitted tokenizer of the same class to begin from, or None."""

    @abstractmethod
    def _encode(self, values: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Levels int32 [m, levels] of values [m, d] in their precision, and bool [m] where rounding might decide."""

    @abstractmethod
    def _costs(self, values: np.ndarray, prefix: np.ndarray, level: int) -> np.ndarray:
        """How far each symbol of `level` is [m, size], for values [m, d] whose earlier levels are prefix [m, level]."""

    @abstractmethod
    def _decode(self, levels: np.ndarray) -> np.ndarray:
        """The vectors [m, d] that levels [m, levels] stand for."""

    def _renamed(self, arrays: dict[str, np.ndarray], maps: Sequence[np.ndarray]) -> dict[str, np.ndarray]:
        """The arrays with symbol s of level l called `maps[l][s]`."""
        raise ContractError(f"the symbols of {type(self).__name__} cannot be renamed.")

    # What all share

    def fit(self, representations: Vectors, *, rng: RNG = 0, warm: Self | None = None) -> Self:
        """Learn from the vectors; memory-mapped ones are sampled.

        warm: an earlier fit to begin from, so that most codes stay as they are.

        Raises:
            ContractError: the vectors are not Dense, hold a number that is not finite, or there are none.
        """
        vectors = self._dense(representations)
        if len(vectors) == 0:
            raise ContractError(f"{type(self).__name__} needs at least one vector to fit.")
        if warm is not None and warm._fitted() and warm._space != vectors.space:
            warm = None  # another space: nothing to begin from
        self._arrays, self._space, self._version = None, vectors.space, None
        self._arrays = {name: np.ascontiguousarray(a) for name, a in self._learn(vectors, rng, warm).items()}
        return self

    def levels(self, representations: Vectors) -> np.ndarray:
        """The levels of every vector before collisions: int32 [n, levels].

        Raises:
            SpaceMismatchError: the vectors are of another space than those fitted.
        """
        self._fitted()
        vectors = self._dense(representations)
        self._space.check(vectors.space, what="item")
        out = np.empty((len(vectors), len(self.level_sizes)), np.int32)
        for start in range(0, len(vectors), BLOCK):
            values = self._read(vectors.values[start : start + BLOCK])
            found, unsure = self._encode(values)
            if unsure.any():
                found[unsure], _ = self._encode(values[unsure].astype(np.float64))
            out[start : start + BLOCK] = found
        return out

    def assign(self, representations: Vectors, *, taken: Codes | None = None) -> Codes:
        """A code for every vector, of the items in their order. taken: codes of other items, which no one gets.

        Raises:
            SpaceMismatchError: the vectors are of another space than those fitted.
            CapacityError: there are more items than codes.
        """
        vectors = self._dense(representations)
        levels = self.levels(vectors)
        codes = Codes.from_matrix(levels, self.level_sizes, version=self.version)

        def costs(positions: np.ndarray, prefix: np.ndarray, level: int) -> np.ndarray:
            return self._costs(self._read(vectors.values[positions]), prefix, level)

        how, epsilon = self.config.collisions, self.config.sinkhorn_epsilon
        return resolved(codes, how, costs=costs, taken=taken, epsilon=epsilon)

    def decode(self, levels: np.ndarray) -> Dense:
        """The vectors that levels [n, levels] (before collisions; further levels are ignored) stand for."""
        self._fitted()
        return Dense(self._decode(levels[:, : len(self.level_sizes)]).astype(np.float32), self._space)

    def renamed(self, maps: Sequence[np.ndarray]) -> Self:
        """The same tokenizer with symbol s of level l called `maps[l][s]` (a permutation per level)."""
        other = type(self)(self.config)
        other._space = self._space
        other._arrays = self._renamed(self._fitted(), maps)
        return other

    @property
    def version(self) -> str:
        """Which fit made the codes: a fingerprint of its arrays and configuration."""
        arrays = self._fitted()
        if self._version is None:
            told = [self.path(), self.config.model_dump(), self._space.to_json()]
            self._version = fingerprint(*told, *(arrays[name] for name in sorted(arrays)))
        return self._version

    def save(self, folder: Path) -> None:
        save_arrays(folder, **self._fitted())
        told = {"config": self.config.model_dump(mode="json"), "space": self._space.to_json(), **self._told()}
        write_json_atomic(folder / "tokenizer.json", told)

    @classmethod
    def open(cls, folder: Path) -> Self:
        told = read_json(folder / "tokenizer.json")
        tokenizer = cls(cls.config_class().parse(told["config"]))
        tokenizer._arrays = load_arrays(folder, mmap=False)
        tokenizer._space = VectorSpace(**told["space"])
        tokenizer._remember(told)
        return tokenizer

    def _told(self) -> dict[str, Any]:
        """What else a subclass keeps beside the arrays, as JSON."""
        return {}

    def _remember(self, told: dict[str, Any]) -> None:
        return

    def _fitted(self) -> dict[str, np.ndarray]:
        if self._arrays is None:
            raise ContractError(f"this {type(self).__name__} has nothing to assign by yet: call fit(vectors) first.")
        return self._arrays

    def _dense(self, vectors: Vectors) -> Dense:
        if not isinstance(vectors, Dense):
            raise ContractError(f"{type(self).__name__} reads Dense vectors, not {type(vectors).__name__}.")
        if vectors.values.ndim != 2 or vectors.values.shape[1] != vectors.space.dimension:
            raise ContractError(
                f"{type(self).__name__} reads vectors of numbers; these are packed ({vectors.values.shape[1]} columns for "
                f"{vectors.space.dimension} dimensions)."
            )
        return vectors

    def _read(self, values: np.ndarray) -> np.ndarray:
        """float32 values in memory."""
        read = np.ascontiguousarray(values, np.float32)
        if not np.isfinite(read.sum()):
            raise ContractError(f"{type(self).__name__} was given a vector with a number that is not finite.")
        return read

    def _sample(self, vectors: Dense, most: int, rng: RNG) -> np.ndarray:
        """At most `most` of the vectors, drawn at random, in order: float32 [m, d], the caller's to change."""
        if len(vectors) <= most:
            return self._read(vectors.values).copy()
        rows = derive(rng, "sample").choice(len(vectors), most, replace=False)
        return self._read(vectors.values[np.sort(rows)])


def named(prefix: str, arrays: dict[str, np.ndarray]) -> list[np.ndarray]:
    """The arrays called `prefix-0`, `prefix-1`, ..., in order."""
    found: list[np.ndarray] = []
    while f"{prefix}-{len(found)}" in arrays:
        found.append(arrays[f"{prefix}-{len(found)}"])
    return found


def renamed_rows(book: np.ndarray, names: np.ndarray) -> np.ndarray:
    """A codebook [s, d] with row s moved to `names[s]`."""
    out = np.empty_like(book)
    out[names] = book
    return out


def warm_arrays(warm: Quantizer | None) -> dict[str, np.ndarray]:
    """The arrays of a fitted tokenizer to begin from, or none."""
    return {} if warm is None else warm._fitted()
