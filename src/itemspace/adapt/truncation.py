"""Some of the dimensions as they are: the first, or random ones."""

from __future__ import annotations

import numpy as np
from pydantic import Field

from itemspace.adapt.adapter import Adapter, AdapterConfig, Affine
from itemspace.core.seeding import RNG, derive


class TruncationConfig(AdapterConfig):
    random: bool = Field(False, description="whether the kept dimensions are drawn instead of the first ones")


class Truncation(Adapter):
    """Keeps m dimensions and drops the rest: nothing is learned, nothing computed. The first ones are the best there are

    in encoders that were trained so (Matryoshka: Kusupati et al. 2022) and as good as random ones in most others.
    """

    config: TruncationConfig
    kind = "truncation"

    def learn(self, values: np.ndarray, rng: RNG) -> Affine:
        d, m = values.shape[1], self.config.dimension
        kept = np.sort(derive(rng, "truncation").choice(d, m, replace=False)) if self.config.random else np.arange(m)
        axes = np.zeros((d, m), np.float32)
        axes[kept, np.arange(m)] = 1.0
        return Affine(np.zeros(d, np.float32), axes)
