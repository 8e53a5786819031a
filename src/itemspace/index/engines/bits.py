"""`BitScan`: packed bits by slot and the exhaustive scan over them, by popcount or by matrix product. NumPy alone."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import numpy as np

from itemspace.core.vectors import VectorSpace, normalize
from itemspace.index.binarize import Binarizer, products, values_of
from itemspace.index.persist import checksum
from itemspace.index.rows import SlotSet, grown

_CODES, _CHECK = "bits.npy", "bits.json"
_COUNTED = 1 << 14
"""Codes compared at once with one query: few enough that they stay in the cache."""
_SPREAD = 4096
"""Codes made into numbers at once, for a batch."""
_SCORES = 1 << 22
Fit = Callable[[np.ndarray, int], Binarizer]
"""A sample [m, d] and a seed to a binarizer."""


class BitScan:
    """Symmetric distances: queries are made into bits as the vectors were, and codes are compared with codes.

    A single query is compared by popcount, a batch with several layers by matrix products; both are exact, and the same.
    """

    selects = True
    count = 1

    def __init__(self, space: VectorSpace, fit: Fit, *, unit: bool) -> None:
        self.space, self._fit, self._unit = space, fit, unit
        self.binarizer: Binarizer | None = None
        self._codes = np.zeros((0, 1, 1), np.uint64)
        self._used = 0
        self.trained_on = 0

    def __len__(self) -> int:
        return self._used

    @property
    def codes(self) -> np.ndarray:
        """uint64 [slots, L, words]."""
        return self._codes[: self._used]

    def train(self, sample: np.ndarray, lists: int, size: int, seed: int) -> None:
        """Learn the binarizer from `sample` [m, d] of the `size` vectors that will come."""
        self._adopt(self._fit(self._ready(sample), seed), size)

    def _adopt(self, binarizer: Binarizer, size: int) -> None:
        self.binarizer, self.trained_on, self._used = binarizer, size, 0
        self._codes = np.zeros((0, len(binarizer.layers), -(-binarizer.width // 64)), np.uint64)

    def add(self, slots: np.ndarray, vectors: np.ndarray) -> None:
        """Put new slots [n], which follow those there are, with their vectors [n, d]."""
        if not len(slots):
            return
        size = int(slots.max()) + 1
        if size > len(self._codes):
            self._codes = grown(self._codes, self._used, size - self._used)
        for start in range(0, len(slots), _COUNTED):
            part = slice(start, start + _COUNTED)
            self._codes[slots[part]] = self.encode(vectors[part])
        self._used = max(self._used, size)

    def encode(self, vectors: np.ndarray) -> np.ndarray:
        """Codes uint64 [n, L, words] of vectors [n, d] as they come."""
        assert self.binarizer is not None
        return self.binarizer.encode(self._ready(vectors))

    def nearest(
        self, queries: np.ndarray, wanted: int, chosen: SlotSet, probes: int
    ) -> tuple[np.ndarray, np.ndarray, int]:
        """The `wanted` nearest chosen slots by code: slots int64 [q, wanted] (-1: no more) and distances float32, minus

        the products of values; and 1, the lists read.
        """
        return *self.search(self.encode(queries), wanted, chosen), 1

    def search(self, asked: np.ndarray, wanted: int, chosen: SlotSet) -> tuple[np.ndarray, np.ndarray]:
        """`nearest` for codes of queries [q, L, words]; theirs may have another number of layers."""
        held = self.codes if chosen.slots is None else self.codes[chosen.slots]
        count = min(wanted, len(held))
        slots = np.full((len(asked), wanted), -1, np.int64)
        distances = np.full((len(asked), wanted), np.inf, np.float32)
        unit = self.unit(asked.shape[1])
        step = max(_SCORES // max(len(held), 1), 1)
        for start in range(0, len(asked) if count else 0, step):
            scores = self._scores(asked[start : start + step], held)
            some = np.broadcast_to(np.arange(len(held)), scores.shape)
            if count < len(held):
                some = np.sort(np.argpartition(scores, len(held) - count, axis=1)[:, len(held) - count :], axis=1)
            best = np.take_along_axis(scores, some, 1)
            order = np.argsort(-best, axis=1, kind="stable")
            part = slice(start, start + len(scores))
            found = np.take_along_axis(some, order, 1)
            slots[part, :count] = found if chosen.slots is None else chosen.slots[found]
            distances[part, :count] = -np.take_along_axis(best, order, 1).astype(np.float32) * unit
        return slots, distances

    def unit(self, layers: int) -> np.float32:
        """What a whole-number product of codes with `layers` layers is worth: the product of a code with itself is near 1."""
        assert self.binarizer is not None
        return np.float32(0.5 ** (layers + self._codes.shape[1] - 2) / self.binarizer.width)

    def _scores(self, asked: np.ndarray, held: np.ndarray) -> np.ndarray:
        """int32 or float32 (whole numbers) [q, n]."""
        assert self.binarizer is not None
        width, q, layers = self.binarizer.width, len(asked), asked.shape[1] * held.shape[1]
        # Counting costs a pass per pair of layers and query; numbers are made once per layer for all queries.
        if q * (0.023 * layers - 0.04) <= 2.0 * held.shape[1]:
            out = np.empty((q, len(held)), np.int32)
            for start in range(0, len(held), _COUNTED):
                block = held[start : start + _COUNTED]
                for number in range(q):
                    out[number, start : start + len(block)] = products(asked[number], block, width)
            return out
        numbers, found = values_of(asked, width), np.empty((q, len(held)), np.float32)
        for start in range(0, len(held), _SPREAD):
            block = values_of(held[start : start + _SPREAD], width)
            np.matmul(numbers, block.T, out=found[:, start : start + len(block)])
        return found

    def parts(self) -> dict[str, int]:
        """Bytes in memory by part."""
        assert self.binarizer is not None
        layers = {id(layer): layer for layer in self.binarizer.layers}.values()
        weights = sum(array.nbytes for layer in layers for array in vars(layer).values())
        return {"codes": self.codes.nbytes, "codebooks": weights}

    def save(self, folder: Path) -> None:
        """Write the codes with their checksum, and the binarizer."""
        assert self.binarizer is not None
        self.binarizer.save(folder)
        np.save(folder / _CODES, self.codes)
        (folder / _CHECK).write_text(json.dumps({"slots": len(self), "sha256": checksum(folder / _CODES)}) + "\n")

    def load(self, folder: Path, slots: int) -> bool:
        """Read what `save` wrote, codes mapped; False when they are missing, damaged, or of other vectors."""
        try:
            binarizer = Binarizer.open(folder, unit=self._unit)
            if len(binarizer.mean) != self.space.dimension:
                return False
            self._adopt(binarizer, slots)
            content = json.loads((folder / _CHECK).read_text())
            if content["slots"] != slots or content["sha256"] != checksum(folder / _CODES):
                return False
            self._codes = np.load(folder / _CODES, mmap_mode="r" if slots else None)
        except (OSError, EOFError, ValueError, KeyError, TypeError):
            return False
        self._used = slots
        return len(self._codes) == slots

    def emptied(self, size: int) -> bool:
        """Keep the binarizer, trained on `size` vectors, and drop the codes; False where there is none."""
        if self.binarizer is None:
            return False
        self._adopt(self.binarizer, size)
        return True

    def _ready(self, vectors: np.ndarray) -> np.ndarray:
        if self.space.metric == "cosine" and not self.space.normalized:
            return normalize(vectors)
        return np.ascontiguousarray(vectors, np.float32)
