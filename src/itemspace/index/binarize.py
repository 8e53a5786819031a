"""`Binarizer`: vectors to several layers of bits and back, and the products of two such codes in whole numbers.

A code has L layers of m bits. Its value in dimension j is sum_l 2^-l b_lj with b = +-1: the first layer says the sign, each
next one corrects what the layers before left over, half as strongly. Products of two values times 4^(L-1) are whole
numbers, which popcounts, a lookup table and float32 matrix products all give exactly.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np

from itemspace.core.hashing import fingerprint
from itemspace.core.seeding import derive
from itemspace.core.vectors import normalize

_ROUNDS = 50
"""Rounds of ITQ; the published ones."""
_STEPS = np.linspace(0.2, 2.4, 45)
"""Scales tried for the values of several layers, in units of the mean size of a coordinate."""


@dataclass(frozen=True)
class Layer:
    """One step of the recurrence, arrays float32.

    A residual r [n, d] becomes bits: sign(r turn + max(r widen + bias, 0) narrow), turn [d, m], widen [d, h], bias [h],
    narrow [h, m]; h may be 0. back [m, d]: the values of all layers so far, times this, are what is explained of the vector.
    """

    turn: np.ndarray
    widen: np.ndarray
    bias: np.ndarray
    narrow: np.ndarray
    back: np.ndarray

    def signs(self, residual: np.ndarray) -> np.ndarray:
        """float32 [n, m] of +-1."""
        scores = residual @ self.turn
        if len(self.bias):
            scores += np.maximum(residual @ self.widen + self.bias, 0.0) @ self.narrow
        return np.where(scores >= 0, np.float32(1), np.float32(-1))


@dataclass(frozen=True)
class Binarizer:
    """Layers in order. mean float32 [d] is taken from a vector first. unit: what layers explain is normalized."""

    layers: tuple[Layer, ...]
    mean: np.ndarray
    unit: bool = False

    @property
    def width(self) -> int:
        """Bits of a layer."""
        return int(self.layers[0].turn.shape[1])

    def signs(self, vectors: np.ndarray) -> np.ndarray:
        """float32 [n, L, m] of +-1."""
        given = np.asarray(vectors, np.float32) - self.mean
        out = np.empty((len(given), len(self.layers), self.width), np.float32)
        values = np.zeros((len(given), self.width), np.float32)
        residual = given
        for number, layer in enumerate(self.layers):
            out[:, number] = layer.signs(residual)
            values += np.float32(0.5**number) * out[:, number]
            if number + 1 < len(self.layers):
                explained = values @ layer.back
                residual = given - (normalize(explained) if self.unit else explained)
        return out

    def encode(self, vectors: np.ndarray) -> np.ndarray:
        """Codes uint64 [n, L, words], bits of a layer side by side, the last word filled up with zeros."""
        return packed(self.signs(vectors))

    @property
    def fingerprint(self) -> str:
        """Of its weights."""
        return fingerprint(*(array for layer in self.layers for array in vars(layer).values()), self.mean)

    def save(self, folder: Path) -> None:
        """Write binarizer-*.npy."""
        np.save(folder / "binarizer-mean.npy", self.mean)
        for name in Layer.__dataclass_fields__:
            np.save(folder / f"binarizer-{name}.npy", np.stack([getattr(layer, name) for layer in self.layers]))

    @classmethod
    def open(cls, folder: Path, *, unit: bool) -> Binarizer:
        """What `save` wrote."""
        stacks = [np.load(folder / f"binarizer-{name}.npy") for name in Layer.__dataclass_fields__]
        layers = tuple(Layer(*arrays) for arrays in zip(*stacks, strict=True))
        return cls(layers, np.load(folder / "binarizer-mean.npy"), unit)


def packed(signs: np.ndarray) -> np.ndarray:
    """uint64 [..., words] of the bits sign > 0 of [..., m]."""
    bits = np.packbits(signs > 0, axis=-1, bitorder="little")
    words = -(-bits.shape[-1] // 8)
    out = np.zeros((*bits.shape[:-1], 8 * words), np.uint8)
    out[..., : bits.shape[-1]] = bits
    return out.view(np.uint64)


def values_of(codes: np.ndarray, width: int) -> np.ndarray:
    """float32 [n, m]: 2^(L-1) times the values of codes [n, L, words], odd whole numbers."""
    layers = codes.shape[1]
    bits = np.unpackbits(np.ascontiguousarray(codes).view(np.uint8), axis=2, count=width, bitorder="little")
    out = np.full((len(codes), width), -(2.0**layers - 1), np.float32)
    for number in range(layers):
        out += np.float32(2.0 ** (layers - number)) * bits[:, number]
    return out


def products(query: np.ndarray, codes: np.ndarray, width: int) -> np.ndarray:
    """int32 [n]: the product of a query's values [L, words] with those of codes [n, L', words], times 2^(L-1) 2^(L'-1).

    Two layers of bits agree in m - popcount(a xor b) places: their product is m - 2 popcount(a xor b).
    """
    asked, held = len(query), codes.shape[1]
    out = np.full(len(codes), width * (2**asked - 1) * (2**held - 1), np.int32)
    for a in range(asked):
        for b in range(held):
            apart = np.bitwise_count(codes[:, b] ^ query[a])
            out -= apart.sum(1, dtype=np.int32) * np.int32(2 ** (asked + held - 1 - a - b))
    return out


def products_reference(query: np.ndarray, codes: np.ndarray) -> np.ndarray:
    """The slow, obvious `products`, from signs of the query [L, m] and of codes [n, L', m], in float64 and unscaled."""
    asked = sum(0.5**number * query[number].astype(np.float64) for number in range(len(query)))
    held = sum(0.5**number * codes[:, number].astype(np.float64) for number in range(codes.shape[1]))
    return np.asarray(held @ asked)


def sign_binarizer(sample: np.ndarray, width: int, layers: int, seed: int) -> Binarizer:
    """Signs after a random rotation (several, one after another, for more bits than dimensions)."""
    dimension = sample.shape[1]
    turns = []
    for number in range(-(-width // dimension)):
        normal = derive(seed, "binary rotation", str(number)).standard_normal((dimension, dimension))
        turns.append(np.linalg.qr(normal)[0])
    turn = np.concatenate(turns, 1)[:, :width]
    return _successive(sample, np.zeros(dimension), turn, layers)


def itq_binarizer(sample: np.ndarray, width: int, layers: int, seed: int, *, center: bool | None = None) -> Binarizer:
    """Iterative quantization: the principal directions, turned so that signs lose least.

    center: the mean is taken away first, as published; None: with one layer only. Inner products are not those of vectors
    less the mean, and with more layers this becomes most of what is lost.
    Source: Gong, Lazebnik, Gordo and Perronnin 2013, section 3.
    """
    mean = sample.mean(0, dtype=np.float64) if center or (center is None and layers == 1) else np.zeros(sample.shape[1])
    centered = sample.astype(np.float64) - mean
    _, directions = np.linalg.eigh(centered.T @ centered)
    main = directions[:, ::-1][:, :width]
    projected = (centered @ main).astype(np.float32)
    normal = derive(seed, "itq").standard_normal((main.shape[1], main.shape[1]))
    turn = np.linalg.qr(normal)[0].astype(np.float32)
    for _ in range(_ROUNDS):
        left, _, right = np.linalg.svd(np.where(projected @ turn >= 0, 1.0, -1.0).T.astype(np.float32) @ projected)
        turn = (left @ right).T
    return _successive(sample, mean, main @ turn, layers)


def _successive(sample: np.ndarray, mean: np.ndarray, turn: np.ndarray, layers: int) -> Binarizer:
    """Layers that all look through the same directions, at the scale that loses least on the sample."""
    turned = (sample - mean) @ turn
    size = float(np.abs(turned).mean()) or 1.0
    scale = size
    if layers > 1:
        losses = []
        for step in _STEPS:
            left = turned.copy()
            for number in range(layers):
                left -= step * size * 0.5**number * np.where(left >= 0, 1.0, -1.0)
            losses.append(float((left**2).mean()))
        scale = size * float(_STEPS[int(np.argmin(losses))])
    dimension, width = turn.shape
    none = np.zeros((dimension, 0), np.float32)
    overlap = max(1.0, width / dimension)
    layer = Layer(
        np.ascontiguousarray(turn, np.float32),
        none,
        np.zeros(0, np.float32),
        np.zeros((0, width), np.float32),
        np.ascontiguousarray(scale * turn.T / overlap, np.float32),
    )
    return Binarizer((layer,) * layers, mean.astype(np.float32))
