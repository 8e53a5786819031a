"""Principal components, optionally whitened."""

from __future__ import annotations

import numpy as np
from pydantic import Field

from itemspace.adapt.adapter import Adapter, AdapterConfig, Affine
from itemspace.adapt.covariance import moments, principal_axes
from itemspace.core.seeding import RNG


class PCAConfig(AdapterConfig):
    center: bool = Field(
        True, description="whether the mean is taken out first; without it inner products are kept best"
    )
    whiten: bool = Field(False, description="whether every component is scaled to unit variance")
    skip: int = Field(
        0, ge=0, description="leading components left out: in text embeddings they say how common words are"
    )


class PCA(Adapter):
    """The directions along which the vectors vary most: of all linear maps to m dimensions the one that loses the least

    squared distance. Use it first. With `whiten` every kept direction weighs the same, which can sharpen the neighborhoods
    of embeddings that lie in a narrow cone and amplifies noise where too many components are kept; `skip` is the
    all-but-the-top of Mu and Viswanath 2018.
    Source: Pearson 1901; whitening of sentence embeddings: Su et al. 2021.
    """

    config: PCAConfig
    kind = "pca"

    def learn(self, values: np.ndarray, rng: RNG) -> Affine:
        mean, covariance = moments(values)
        if not self.config.center:
            covariance, mean = covariance + np.outer(mean, mean), np.zeros_like(mean)
        scale, axes = principal_axes(covariance)
        kept = slice(self.config.skip, self.config.skip + self.config.dimension)
        axes = axes[:, kept]
        if self.config.whiten:
            # Directions without variance carry rounding only: they are left as they are instead of being blown up.
            spread = np.sqrt(scale[kept])
            axes = axes / np.where(spread > 1e-6 * np.sqrt(scale[0]), spread, 1.0)
        return Affine(mean, axes)
