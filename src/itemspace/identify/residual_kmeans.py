"""`ResidualKMeans`: codes by k-means on what the previous level left over."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Self

import numpy as np
from pydantic import Field

from itemspace.core.seeding import RNG, derive
from itemspace.core.vectors import Dense, normalize
from itemspace.identify.kmeans import Engine, kmeans, nearest
from itemspace.identify.quantizer import Quantizer, QuantizerConfig, named, renamed_rows, warm_arrays
from itemspace.identify.residual import residual_costs, residual_levels


class ResidualKMeansConfig(QuantizerConfig):
    levels: int = Field(3, ge=1, le=32)
    codebook_size: int = Field(256, ge=2, le=65_536)
    iterations: int = Field(25, ge=1, description="k-means steps per level")
    normalize_residuals: bool = Field(True, description="residuals of length 1 at every level: symbols are used evenly")
    engine: Engine = Field("auto", description='"faiss" (extra `ann`), "numpy", or whichever is there')


class ResidualKMeans(Quantizer):
    """Codes by k-means on what the previous level left over.

    Use it first: a minute on a million items, nothing to collapse, and as good as trained codes in generation (GRID).
    Choose `RQVAE` to train codes jointly with another loss, `FSQ` for a fixed code space across catalogues, `ProductCodes`
    for unordered codes. Fitting reads 256 vectors per symbol, however many there are.

    Residuals are scaled to one length before every level: else a few items far from every center, and many near theirs,
    leave most symbols of later levels idle.

    Source: Babenko and Lempitsky 2014; as item identifiers, Ju et al. 2025 (GRID), section 3.
    """

    config: ResidualKMeansConfig

    @property
    def level_sizes(self) -> tuple[int, ...]:
        return tuple(len(book) for book in self._books)

    @property
    def _books(self) -> list[np.ndarray]:
        return named("codebook", self._fitted())

    def _learn(self, vectors: Dense, rng: RNG, warm: Self | None) -> dict[str, np.ndarray]:
        config, before = self.config, warm_arrays(warm)
        residual = self._sample(vectors, 256 * config.codebook_size, rng)
        draw = derive(rng, "residual k-means")
        arrays = {}
        lengths = []
        for level in range(config.levels):
            lengths.append(float(np.linalg.norm(residual, axis=1).mean()))
            if config.normalize_residuals:
                residual = normalize(residual)
            start = before.get(f"codebook-{level}")
            book = kmeans(
                residual,
                config.codebook_size,
                iterations=config.iterations,
                rng=draw,
                engine=config.engine,
                start=start if start is not None and len(start) == config.codebook_size else None,
            )
            arrays[f"codebook-{level}"] = book
            for begin in range(0, len(residual), 16_384):
                part = residual[begin : begin + 16_384]
                residual[begin : begin + 16_384] = part - book[nearest(part, book)[0]]
        arrays["lengths"] = np.array(lengths, np.float32)
        return arrays

    def _encode(self, values: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        return residual_levels(values, self._books, unit=self.config.normalize_residuals)

    def _costs(self, values: np.ndarray, prefix: np.ndarray, level: int) -> np.ndarray:
        return residual_costs(values, prefix, self._books, level, unit=self.config.normalize_residuals)

    def _decode(self, levels: np.ndarray) -> np.ndarray:
        """With normalized residuals, of the mean length that each level had."""
        books, lengths = self._books, self._fitted()["lengths"]
        scale = np.cumprod(lengths) if self.config.normalize_residuals else np.ones_like(lengths)
        total = scale[0] * books[0][levels[:, 0]]
        for level in range(1, levels.shape[1]):
            total = total + scale[level] * books[level][levels[:, level]]
        return np.asarray(total)

    def _renamed(self, arrays: dict[str, np.ndarray], maps: Sequence[np.ndarray]) -> dict[str, np.ndarray]:
        books = {f"codebook-{level}": renamed_rows(arrays[f"codebook-{level}"], m) for level, m in enumerate(maps)}
        return {**arrays, **books}
