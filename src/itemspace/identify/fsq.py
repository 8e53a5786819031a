"""`FSQ`: every axis rounded to a few values; a code space that is all used because nothing in it is learned."""

from __future__ import annotations

from typing import Self

import numpy as np
from pydantic import Field

from itemspace.core.errors import ContractError
from itemspace.core.seeding import RNG
from itemspace.core.vectors import Dense
from itemspace.identify.product import principal_axes
from itemspace.identify.quantizer import SAMPLE, Quantizer, QuantizerConfig, warm_arrays


class FSQConfig(QuantizerConfig):
    levels: int = Field(4, ge=1, le=64)
    bins: tuple[int, ...] = Field((8, 8, 8, 6, 5), min_length=1, description="values of each axis of a level")


class FSQ(Quantizer):
    """Finite scalar quantization: `levels` symbols, each of len(bins) axes rounded to so many values (15,360 symbols).

    Use it for one code space over several catalogues (RecGPT), and where no symbol may lie idle. The axes are principal
    axes in order, so the first level says most; an axis is cut into bins of equal share of the items fitted, which takes
    the place of the trained auto-encoder and its bounded activation. Levels are large: prefer `extra_token` to moving.

    Source: Mentzer et al. 2024; as item codes, Jiang et al. 2025 (RecGPT), section 3.1.
    """

    config: FSQConfig

    @property
    def level_sizes(self) -> tuple[int, ...]:
        return (int(np.prod(self.config.bins)),) * self.config.levels

    def _learn(self, vectors: Dense, rng: RNG, warm: Self | None) -> dict[str, np.ndarray]:
        axes_wanted = self.config.levels * len(self.config.bins)
        if vectors.space.dimension < axes_wanted:
            raise ContractError(
                f"FSQ with {self.config.levels} levels of {len(self.config.bins)} axes needs {axes_wanted} dimensions; the "
                f"vectors have {vectors.space.dimension}. Take fewer levels or fewer bins."
            )
        before = warm_arrays(warm)
        if before:
            return before
        sample = self._sample(vectors, SAMPLE, rng)
        mean = sample.mean(0)
        _, axes = principal_axes(sample - mean)
        axes = np.ascontiguousarray(axes[:, :axes_wanted])
        turned = np.sort((sample - mean) @ axes, axis=0)
        most = max(self.config.bins)
        edges = np.full((axes_wanted, most - 1), np.inf, np.float32)
        centers = np.zeros((axes_wanted, most), np.float32)
        for axis in range(axes_wanted):  # axes, not items
            bins = self.config.bins[axis % len(self.config.bins)]
            column = turned[:, axis]
            edges[axis, : bins - 1] = np.quantile(column, np.arange(1, bins) / bins)
            at = np.searchsorted(edges[axis, : bins - 1], column, side="right")
            counts = np.bincount(at, minlength=bins)
            low = np.concatenate((column[:1], edges[axis, : bins - 1]))
            high = np.concatenate((edges[axis, : bins - 1], column[-1:]))
            means = np.bincount(at, column, minlength=bins) / np.maximum(counts, 1)
            centers[axis, :bins] = np.where(counts > 0, means, (low + high) / 2)
        return {"mean": mean, "axes": axes, "edges": edges, "centers": centers}

    def _turned(self, values: np.ndarray) -> np.ndarray:
        arrays = self._fitted()
        return np.asarray((values - arrays["mean"]) @ arrays["axes"].astype(values.dtype))

    def _encode(self, values: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        turned, edges, bins = self._turned(values), self._fitted()["edges"], self.config.bins
        out, unsure = np.zeros((len(values), self.config.levels), np.int32), np.zeros(len(values), bool)
        scale = np.abs(values).max(initial=0.0) * values.shape[1]
        for axis in range(turned.shape[1]):
            level, place = divmod(axis, len(bins))
            cuts = edges[axis, : bins[place] - 1].astype(values.dtype)
            digit = np.searchsorted(cuts, turned[:, axis], side="right")
            out[:, level] = out[:, level] * bins[place] + digit
            apart = np.abs(turned[:, axis, None] - cuts).min(1, initial=np.inf)
            unsure |= apart <= 16 * np.finfo(values.dtype).eps * scale
        return out, unsure

    def _digits(self) -> np.ndarray:
        """The bins of every symbol: int64 [symbols, axes of a level]."""
        return np.stack(np.unravel_index(np.arange(self.level_sizes[0]), self.config.bins), axis=1)

    def _costs(self, values: np.ndarray, prefix: np.ndarray, level: int) -> np.ndarray:
        width, digits = len(self.config.bins), self._digits()
        turned, centers = self._turned(values), self._fitted()["centers"]
        total = np.zeros((len(values), len(digits)), np.float32)
        for place in range(width):
            axis = level * width + place
            apart = (turned[:, axis, None] - centers[axis]) ** 2
            total += apart[:, digits[:, place]]
        return total

    def _decode(self, levels: np.ndarray) -> np.ndarray:
        arrays, width, digits = self._fitted(), len(self.config.bins), self._digits()
        columns = [
            arrays["centers"][level * width + place][digits[levels[:, level], place]]
            for level in range(levels.shape[1])
            for place in range(width)
        ]
        return np.asarray(np.stack(columns, axis=1) @ arrays["axes"].T + arrays["mean"])
