"""Numbers as codes of fixed length, and the two tokenizers that need nothing else: `SequentialCodes` and `RandomCodes`."""

from __future__ import annotations

from pathlib import Path
from typing import Self

import numpy as np
from pydantic import Field

from itemspace.core.codes import Codes
from itemspace.core.config import Config
from itemspace.core.contracts import ItemTokenizer
from itemspace.core.errors import ContractError
from itemspace.core.files import read_json, write_json_atomic
from itemspace.core.hashing import fingerprint, hash_strings
from itemspace.core.seeding import RNG, as_seed
from itemspace.core.vectors import Dense, Texts, Vectors
from itemspace.identify.code_rows import numbered
from itemspace.identify.collisions import Collisions, resolved

_EXACT = 1 << 24
"""Whole numbers that float32 holds exactly."""


def digits(numbers: np.ndarray, base: int, levels: int) -> np.ndarray:
    """The last `levels` digits of numbers int64 [n] in `base`, the highest first: int32 [n, levels]."""
    powers = base ** np.arange(levels - 1, -1, -1, dtype=np.int64)
    return (numbers[:, None] // powers % base).astype(np.int32)


class SequentialCodesConfig(Config):
    base: int = Field(256, ge=2, le=65_536, description="symbols of a level")
    room: float = Field(2.0, ge=1, description="numbers the code space holds, for each that was fitted")


class SequentialCodes(ItemTokenizer):
    """The digits of a number that each item comes with, so that items numbered one after the other share a prefix.

    Numbers come as `Dense` vectors of one dimension, such as `cooccurrence.sequence_numbers` gives by the order in which
    training users met the items; new items take the next numbers.
    Source: sequential indexing, Hua et al. 2023, section 4.1.
    """

    config: SequentialCodesConfig
    _levels: int = 0

    def fit(self, representations: Vectors, *, rng: RNG = 0) -> Self:
        """Choose how many levels the numbers need, with room for as many again.

        Raises:
            ContractError: not one whole number of at least 0 for each item.
        """
        top = int(_numbers(representations).max(initial=0)) + 1
        self._levels = 1
        while self.config.base**self._levels < top * self.config.room:
            self._levels += 1
        return self

    def assign(self, representations: Vectors, *, taken: Codes | None = None) -> Codes:
        """The digits of every number.

        Raises:
            ContractError: a number is given twice, is too large, or belongs to a taken code.
        """
        if self._levels == 0:
            raise ContractError("this SequentialCodes has no levels yet: call fit(numbers) first.")
        numbers = _numbers(representations)
        if numbers.max(initial=0) >= self.config.base**self._levels:
            raise ContractError(
                f"the number {numbers.max():,} needs more than {self._levels} levels of {self.config.base} symbols; fit again."
            )
        codes = Codes.from_matrix(
            digits(numbers, self.config.base, self._levels), (self.config.base,) * self._levels, version=self.version
        )
        held = np.zeros(0, np.int64)
        if taken is not None and len(taken):
            powers = self.config.base ** np.arange(self._levels - 1, -1, -1, dtype=np.int64)
            held = taken.values.reshape(-1, self._levels).astype(np.int64) @ powers
        if len(np.unique(numbers)) < len(numbers) or np.isin(numbers, held).any():
            raise ContractError("two items have one number; give every item a number of its own.")
        return codes

    @property
    def version(self) -> str:
        return fingerprint(self.path(), self.config.model_dump(), self._levels)

    def save(self, folder: Path) -> None:
        told = {"config": self.config.model_dump(mode="json"), "levels": self._levels}
        write_json_atomic(folder / "tokenizer.json", told)

    @classmethod
    def open(cls, folder: Path) -> Self:
        told = read_json(folder / "tokenizer.json")
        tokenizer = cls(cls.config_class().parse(told["config"]))
        tokenizer._levels = told["levels"]
        return tokenizer


def _numbers(vectors: Vectors) -> np.ndarray:
    if not isinstance(vectors, Dense) or vectors.values.shape[1:] != (1,):
        raise ContractError("SequentialCodes reads one number for each item: Dense vectors of one dimension.")
    values = np.asarray(vectors.values[:, 0], np.float64)
    if len(values) and not (np.isfinite(values).all() and (values == np.floor(values)).all() and values.min() >= 0):
        raise ContractError("SequentialCodes reads whole numbers of at least 0.")
    if vectors.values.dtype == np.float32 and values.max(initial=0) >= _EXACT:
        raise ContractError("numbers from 16,777,216 on need float64.")
    return values.astype(np.int64)


class RandomCodesConfig(Config):
    levels: int = Field(3, ge=1, le=32)
    codebook_size: int = Field(256, ge=2, le=65_536)
    collisions: Collisions = "next_nearest"


class RandomCodes(ItemTokenizer):
    """A hash of what identifies the item (`Texts` of IDs, or the vector itself): the control that means nothing.

    Any gain of semantic IDs is a gain over these, with as many levels and symbols.
    """

    config: RandomCodesConfig
    _seed: int | None = None

    def fit(self, representations: Vectors, *, rng: RNG = 0) -> Self:
        """Nothing is learned; the seed is kept."""
        self._seed = as_seed(rng)
        return self

    def assign(self, representations: Vectors, *, taken: Codes | None = None) -> Codes:
        """Codes by hash; what collides moves on by one symbol of the last level at a time.

        Raises:
            CapacityError: there are more items than codes.
        """
        if self._seed is None:
            raise ContractError("this RandomCodes has no seed yet: call fit(items) first.")
        size, levels = self.config.codebook_size, self.config.levels
        drawn = np.stack([_hashes(representations, self._seed + 1 + level) % size for level in range(levels)], axis=1)
        codes = Codes.from_matrix(drawn.astype(np.int32), (size,) * levels, version=self.version)

        def costs(positions: np.ndarray, prefix: np.ndarray, level: int) -> np.ndarray:
            steps = (np.arange(size) - drawn[positions, level][:, None]) % size
            return np.asarray(steps, np.float32)

        return resolved(codes, self.config.collisions, costs=costs, taken=taken)

    @property
    def version(self) -> str:
        return fingerprint(self.path(), self.config.model_dump(), self._seed)

    def save(self, folder: Path) -> None:
        told = {"config": self.config.model_dump(mode="json"), "seed": self._seed}
        write_json_atomic(folder / "tokenizer.json", told)

    @classmethod
    def open(cls, folder: Path) -> Self:
        told = read_json(folder / "tokenizer.json")
        tokenizer = cls(cls.config_class().parse(told["config"]))
        tokenizer._seed = told["seed"]
        return tokenizer


def _hashes(items: Vectors, salt: int) -> np.ndarray:
    """int64 [n] of at least 0: of the texts of every item, or of the bytes of its vector."""
    if isinstance(items, Texts):
        total = np.zeros(len(items), np.uint64)
        for number, texts in enumerate(items.fields.values()):
            total ^= hash_strings(list(texts), salt=salt * 1_000_003 + number)
    elif isinstance(items, Dense):
        values = np.ascontiguousarray(items.values)
        bits = values.view(np.uint8).reshape(len(values), values.shape[1] * values.itemsize).astype(np.uint64)
        odd = np.random.default_rng([salt, bits.shape[1]]).integers(0, 2**63, bits.shape[1], dtype=np.uint64)
        with np.errstate(over="ignore"):
            total = (bits * (2 * odd + np.uint64(1))).sum(1, dtype=np.uint64)
    else:
        raise ContractError(f"RandomCodes reads Texts or Dense vectors, not {type(items).__name__}.")
    return (total >> np.uint64(20)).astype(np.int64)


def first_numbers(order: np.ndarray, count: int) -> np.ndarray:
    """The place at which each of `count` items first comes in `order` [m], those that do not come after all others."""
    _, at = np.unique(order, return_index=True)
    seen = order[np.sort(at)]
    number = np.full(count, -1, np.int64)
    number[seen] = np.arange(len(seen))
    rest = number < 0
    number[rest] = len(seen) + numbered(np.zeros(int(rest.sum()), np.int64))
    return number
