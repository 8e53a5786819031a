"""`ProductCodes`: the axes are rotated and split, each part gets its own k-means; the levels have no order."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Self

import numpy as np
from pydantic import Field

from itemspace.core.errors import ContractError
from itemspace.core.seeding import RNG, derive
from itemspace.core.vectors import Dense
from itemspace.identify.kmeans import Engine, kmeans, nearest, squared_distances
from itemspace.identify.quantizer import Quantizer, QuantizerConfig, named, renamed_rows, warm_arrays


class ProductCodesConfig(QuantizerConfig):
    levels: int = Field(4, ge=1, le=256, description="parts of the vector")
    codebook_size: int = Field(256, ge=2, le=65_536)
    iterations: int = Field(25, ge=1)
    rotate: bool = Field(
        True, description="principal axes dealt out so that every part says as much (OPQ); off: plain PQ"
    )
    engine: Engine = "auto"


class ProductCodes(Quantizer):
    """Unordered codes: every level describes a part of the vector of its own (OPQ; without rotation PQ).

    Use it where the levels are predicted all at once (RPG) or as a set (ActionPiece). For codes generated one level after
    the other `ResidualKMeans` puts what matters most first.

    The rotation is the parametric one: principal axes, dealt to the part with the smallest product of variances. Axes
    that do not divide among the parts (the weakest) are left out.
    Source: Jegou et al. 2011; Ge et al. 2013, section 4.2 (eigenvalue allocation).
    """

    config: ProductCodesConfig

    @property
    def level_sizes(self) -> tuple[int, ...]:
        return tuple(len(book) for book in self._books)

    @property
    def _books(self) -> list[np.ndarray]:
        return named("codebook", self._fitted())

    def _learn(self, vectors: Dense, rng: RNG, warm: Self | None) -> dict[str, np.ndarray]:
        config, before = self.config, warm_arrays(warm)
        if vectors.space.dimension < config.levels:
            raise ContractError(
                f"{config.levels} parts need vectors of at least as many dimensions; these have {vectors.space.dimension}."
            )
        sample = self._sample(vectors, 256 * config.codebook_size, rng)
        mean = before.get("mean", sample.mean(0))
        rotation = before.get("rotation")
        if rotation is None:
            rotation = dealt_axes(sample - mean, config.levels) if config.rotate else _plain(sample, config.levels)
        turned = (sample - mean) @ rotation
        draw = derive(rng, "product codes")
        arrays = {"mean": mean, "rotation": rotation}
        for level, part in enumerate(np.split(turned, config.levels, axis=1)):
            start = before.get(f"codebook-{level}")
            arrays[f"codebook-{level}"] = kmeans(
                np.ascontiguousarray(part),
                config.codebook_size,
                iterations=config.iterations,
                rng=draw,
                engine=config.engine,
                start=start if start is not None and len(start) == config.codebook_size else None,
            )
        return arrays

    def _parts(self, values: np.ndarray) -> list[np.ndarray]:
        arrays = self._fitted()
        turned = (values - arrays["mean"]) @ arrays["rotation"].astype(values.dtype)
        return np.split(turned, self.config.levels, axis=1)

    def _encode(self, values: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        found = [
            nearest(np.ascontiguousarray(p), b.astype(p.dtype))
            for p, b in zip(self._parts(values), self._books, strict=True)
        ]
        return np.stack([label for label, _ in found], axis=1), np.any([close for _, close in found], axis=0)

    def _costs(self, values: np.ndarray, prefix: np.ndarray, level: int) -> np.ndarray:
        return squared_distances(self._parts(values)[level], self._books[level])

    def _decode(self, levels: np.ndarray) -> np.ndarray:
        arrays = self._fitted()
        parts = [book[levels[:, level]] for level, book in enumerate(self._books)]
        return np.asarray(np.concatenate(parts, axis=1) @ arrays["rotation"].T + arrays["mean"])

    def _renamed(self, arrays: dict[str, np.ndarray], maps: Sequence[np.ndarray]) -> dict[str, np.ndarray]:
        books = {f"codebook-{level}": renamed_rows(arrays[f"codebook-{level}"], m) for level, m in enumerate(maps)}
        return {**arrays, **books}


def principal_axes(centered: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Variances [d], largest first, and axes [d, d] (columns), each signed so that its largest entry is positive."""
    variance, axes = np.linalg.eigh((centered.T @ centered).astype(np.float64) / max(len(centered), 1))
    variance, axes = variance[::-1], axes[:, ::-1]
    signs = np.sign(axes[np.abs(axes).argmax(0), np.arange(axes.shape[1])])
    return np.maximum(variance, 0.0), (axes * np.where(signs == 0, 1, signs)).astype(np.float32)


def dealt_axes(centered: np.ndarray, parts: int) -> np.ndarray:
    """Principal axes [d, parts * w] such that every part of w columns has about the same product of variances."""
    variance, axes = principal_axes(centered)
    width = centered.shape[1] // parts
    hands: list[list[int]] = [[] for _ in range(parts)]
    product = np.zeros(parts)
    for axis in range(parts * width):  # axes, not items
        open_ = [part for part in range(parts) if len(hands[part]) < width]
        part = min(open_, key=lambda p: (product[p], p))
        hands[part].append(axis)
        product[part] += np.log(variance[axis] + 1e-12)
    return np.ascontiguousarray(axes[:, [axis for hand in hands for axis in hand]])


def _plain(sample: np.ndarray, parts: int) -> np.ndarray:
    width = sample.shape[1] // parts
    return np.eye(sample.shape[1], parts * width, dtype=np.float32)
