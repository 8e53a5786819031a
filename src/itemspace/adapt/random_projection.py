"""Projection on random directions, which keeps distances whatever the data."""

from __future__ import annotations

from typing import Literal

import numpy as np
from pydantic import Field

from itemspace.adapt.adapter import Adapter, AdapterConfig, Affine
from itemspace.core.seeding import RNG, derive


class RandomProjectionConfig(AdapterConfig):
    entries: Literal["gaussian", "signs", "orthogonal"] = Field(
        "gaussian",
        description="gaussian; signs (+-1 and 0: a third of the products); orthogonal (rotates, then truncates)",
    )


class RandomProjection(Adapter):
    """m random directions, scaled so that squared lengths are kept on average. Needs no data, so it never goes stale.

    A squared distance is off by a factor within 1 +- e for all of n points with m of order log(n) / e^2, whatever d
    (Johnson and Lindenstrauss 1984). Sparse signs are Achlioptas 2003.
    """

    config: RandomProjectionConfig
    kind = "random-projection"

    def learn(self, values: np.ndarray, rng: RNG) -> Affine:
        d, m, draw = values.shape[1], self.config.dimension, derive(rng, "random projection")
        if self.config.entries == "signs":
            axes = draw.choice([-1.0, 0.0, 1.0], (d, m), p=[1 / 6, 2 / 3, 1 / 6]) * np.sqrt(3 / m)
        elif self.config.entries == "orthogonal":
            axes = np.linalg.qr(draw.standard_normal((d, m)))[0] * np.sqrt(d / m)
        else:
            axes = draw.standard_normal((d, m)) / np.sqrt(m)
        return Affine(np.zeros(d, np.float32), axes)
