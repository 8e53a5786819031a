"""`IndexedTwoTower`: a two-tower encoder trained with its index, so that the index is there when training ends."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Self

import numpy as np
from pydantic import Field

from itemspace.core.catalog import Catalog
from itemspace.core.contracts import Budget, FitReport
from itemspace.core.errors import ContractError, DataError
from itemspace.core.extras import require
from itemspace.core.seeding import RNG, as_seed
from itemspace.encode.engagement import Engagement
from itemspace.encode.fields import item_texts
from itemspace.encode.two_tower import TwoTowerConfig, TwoTowerEncoder

if TYPE_CHECKING:
    from itemspace.nn.index_layer import IndexWeights


class IndexedConfig(TwoTowerConfig):
    """A two-tower's settings and those of its index."""

    lists: int = Field(1, ge=1, description="coarse centers")
    pieces: int = Field(8, ge=1, description="parts of a vector; a byte each with `size` 256")
    size: int = Field(256, ge=2, le=256, description="centers of a piece")
    warm: int = Field(2, ge=1, description="of the epochs, those before the index starts")
    distortion: float = Field(1.0, ge=0, description="weight of what the index loses, beside the retrieval loss")
    turning: float = Field(1.0, ge=0, description="rate of the rotation's steps; 0 keeps the one it starts with")


class IndexedTwoTower(TwoTowerEncoder):
    """Towers as `TwoTowerEncoder` has, whose items pass through a product-quantized index while they are trained.

    Choose it where vectors will be kept as codes of a few bytes: what the towers learn is what survives the codes. An index
    made of `weights` (`GivenPQIndex`) needs no training of its own. It trains without mined negatives.

    Source: Zhang et al. 2021 (Poeem).
    """

    config: IndexedConfig
    _weights_of_index: IndexWeights | None = None

    def learn(
        self, catalog: Catalog, engagement: Engagement, *, budget: Budget | None = None, rng: RNG = 0
    ) -> FitReport:
        """Train towers and index on engagement, the towers alone for the first `warm` epochs.

        Raises:
            DataError: nothing to learn from. MissingExtraError: torch is not installed.
        """
        require("torch", extra="train", needed_for="training an encoder with its index")
        from itemspace.encode.indexed_training import train_indexed

        if len(engagement.query) == 0:
            raise DataError("no query was followed by a choice: there is nothing to learn from")
        seed = as_seed(rng)
        self._start(catalog, engagement.queries, seed)
        assert self._table is not None
        items = self._features(item_texts(catalog, self._columns))
        queries = self._features(engagement.queries)
        start = (self._table, self._layers, queries, items)
        table, layers, weights, report = train_indexed(*start, engagement, self.config, budget, seed)
        self._adopt(table, layers)
        self._weights_of_index = weights
        return report

    @property
    def weights(self) -> IndexWeights:
        """The index that was trained.

        Raises:
            ContractError: `learn` was not called.
        """
        if self._weights_of_index is None:
            raise ContractError("no index was trained yet: call learn(catalog, engagement) first.")
        return self._weights_of_index

    def save(self, folder: Path) -> None:
        super().save(folder)
        if self._weights_of_index is not None:
            for name in ("rotation", "centers", "codebooks"):
                np.save(folder / f"index-{name}.npy", getattr(self._weights_of_index, name))

    @classmethod
    def open(cls, folder: Path) -> Self:
        encoder = super().open(folder)
        if (folder / "index-rotation.npy").exists():
            from itemspace.nn.index_layer import IndexWeights

            names = ("rotation", "centers", "codebooks")
            encoder._weights_of_index = IndexWeights(*(np.load(folder / f"index-{name}.npy") for name in names))
        return encoder
