"""The training of `IndexedTwoTower`: the two towers' contrastive training with an index on the items' side. Needs torch."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import scipy.sparse as sp
import torch

from itemspace.core.contracts import Budget, FitReport
from itemspace.encode.supervising import supervision_of
from itemspace.encode.two_tower_training import _all, _Tower, loss_of
from itemspace.nn.index_layer import IndexLayer, IndexWeights, WithDistortion
from itemspace.train.contrastive import ContrastiveConfig, train_contrastive

if TYPE_CHECKING:
    from itemspace.encode.engagement import Engagement
    from itemspace.encode.indexed import IndexedConfig
    from itemspace.encode.two_tower import Layers


class _Indexed(_Tower):
    """A tower with the index its items pass through."""

    def __init__(self, table: np.ndarray, layers: Layers, config: IndexedConfig) -> None:
        super().__init__(table, layers)
        self.index = IndexLayer(
            table.shape[1], lists=config.lists, pieces=config.pieces, size=config.size, rate=config.turning
        )

    def item(self, bags: sp.csr_matrix) -> torch.Tensor:
        """What the index keeps of items."""
        kept: torch.Tensor = self.index(self(bags))
        return kept


def train_indexed(
    table: np.ndarray,
    layers: Layers,
    queries: sp.csr_matrix,
    items: sp.csr_matrix,
    engagement: Engagement,
    config: IndexedConfig,
    budget: Budget | None,
    seed: int,
) -> tuple[np.ndarray, Layers, IndexWeights, FitReport]:
    """The trained table, layers and index, and a report over both parts of the training."""
    tower = _Indexed(table, layers, config)
    supervision = supervision_of(engagement, items.shape[0])
    warm = min(config.warm, max(config.epochs * config.rounds - 1, 1))
    reports = []
    for number, epochs in enumerate((warm, max(config.epochs * config.rounds - warm, 1))):
        if number:
            with torch.no_grad():
                tower.index.start(_all(tower, items), rng=seed)
        report = train_contrastive(
            tower,
            lambda rows: tower(queries[rows]),
            lambda rows: tower.item(items[rows]),
            supervision,
            WithDistortion(loss_of(config), tower.index, config.distortion),
            ContrastiveConfig(
                epochs=epochs,
                positives=config.positives,
                batch_size=config.batch_size,
                learning_rate=config.learning_rate,
            ),
            budget=budget,
            seed=seed,
            name=f"indexed-{number}",
        )
        reports.append(report)
    losses = [value for report in reports for value in report.curve.get("loss", ())]
    seconds, epochs = sum(r.seconds for r in reports), sum(r.epochs for r in reports)
    notes = (f"the index started after {reports[0].epochs} epochs",)
    return *tower.trained(), tower.index.weights(), FitReport(seconds, epochs, curve={"loss": losses}, notes=notes)
