"""The training of `TwoTowerEncoder`: towers over bags of n-grams for the contrastive trainer. Needs torch."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import scipy.sparse as sp
import torch
from torch import nn

from itemspace.core.contracts import Budget, FitReport
from itemspace.core.ragged import Ragged
from itemspace.core.vectors import normalize
from itemspace.encode.supervising import supervision_of
from itemspace.train.contrastive import ContrastiveConfig, train_contrastive
from itemspace.train.losses.contrastive import ContrastiveLoss, InfoNCE, MultiLabelMargin, Triplet
from itemspace.train.mining import mine_negatives

if TYPE_CHECKING:
    from itemspace.encode.engagement import Engagement
    from itemspace.encode.two_tower import Layers, TwoTowerConfig

_BLOCK = 1_024


class _Tower(nn.Module):
    """A weighted bag of n-grams, through residual feed-forward layers, to a vector of length 1."""

    def __init__(self, table: np.ndarray, layers: Layers) -> None:
        super().__init__()
        self.bag = nn.EmbeddingBag.from_pretrained(torch.from_numpy(table.copy()), freeze=False, mode="sum")
        self.layers = nn.ParameterList(torch.from_numpy(one.copy()) for layer in layers for one in layer)

    def forward(self, bags: sp.csr_matrix) -> torch.Tensor:
        vectors = self.bag(
            torch.from_numpy(bags.indices.astype(np.int64)),
            torch.from_numpy(bags.indptr[:-1].astype(np.int64)),
            per_sample_weights=torch.from_numpy(bags.data),
        )
        given = list(self.layers)
        for widen, bias, narrow in zip(given[::3], given[1::3], given[2::3], strict=True):
            vectors = vectors + torch.relu(vectors @ widen + bias) @ narrow
        return nn.functional.normalize(vectors, dim=1)

    def trained(self) -> tuple[np.ndarray, Layers]:
        """The table and the layers as they stand."""
        arrays = [one.detach().numpy().copy() for one in self.layers]
        layers = tuple(zip(arrays[::3], arrays[1::3], arrays[2::3], strict=True))
        return self.bag.weight.detach().numpy().copy(), layers


def loss_of(config: TwoTowerConfig) -> ContrastiveLoss:
    """The loss a configuration names."""
    if config.loss == "infonce":
        return InfoNCE(config.temperature, two_way=config.two_way)
    return MultiLabelMargin(config.margin) if config.loss == "multi-label-margin" else Triplet(config.margin)


def train(
    table: np.ndarray,
    layers: Layers,
    queries: sp.csr_matrix,
    items: sp.csr_matrix,
    engagement: Engagement,
    types: np.ndarray | None,
    config: TwoTowerConfig,
    budget: Budget | None,
    seed: int,
) -> tuple[np.ndarray, Layers, FitReport]:
    """The trained table [n-grams, dimension], the trained layers and a report, over all rounds.

    queries, items: weighted bags, CSR [n, n-grams]. types: a code per item for what kind of thing it is, or None.
    """
    tower = _Tower(table, layers)
    supervision = supervision_of(engagement, items.shape[0])
    chosen = supervision.chosen

    def mine() -> Ragged:
        with torch.no_grad():
            asked, answers = _all(tower, queries), _all(tower, items)
        if config.false_negatives == "words":
            return mined(asked, answers, queries, items, chosen, types, config)
        return mine_negatives(
            asked, answers, chosen, config.hard_negatives, depth=config.mined_depth, ceiling=config.ceiling,
            ignore=supervision.ignore, pool=engagement.pool,
        )  # fmt: skip

    report = train_contrastive(
        tower,
        lambda rows: tower(queries[rows]),
        lambda rows: tower(items[rows]),
        supervision,
        loss_of(config),
        ContrastiveConfig(
            epochs=config.epochs,
            rounds=config.rounds,
            hard_negatives=config.hard_negatives,
            positives=config.positives,
            batch_size=config.batch_size,
            learning_rate=config.learning_rate,
        ),
        budget=budget,
        seed=seed,
        name="two-tower",
        mine=mine,
    )
    return *tower.trained(), report


def _all(tower: _Tower, bags: sp.csr_matrix) -> np.ndarray:
    """Vectors of every bag."""
    if len(tower.layers) == 0:
        return normalize(bags @ tower.bag.weight.detach().numpy())
    parts = [tower(bags[start : start + 8192]).numpy() for start in range(0, bags.shape[0], 8192)]
    return np.concatenate(parts) if parts else np.zeros((0, tower.bag.embedding_dim), np.float32)


def mined(
    asked: np.ndarray,
    answers: np.ndarray,
    queries: sp.csr_matrix,
    items: sp.csr_matrix,
    chosen: sp.csr_matrix,
    types: np.ndarray | None,
    config: TwoTowerConfig,
) -> Ragged:
    """Hard negatives per query: items the model ranks high that nobody chose and that do not look right after all.

    An item is left out as probably right, though unseen, when it is of the same type as a chosen item (any type where
    types are unknown) and has at least the largest share of the query's words that a chosen item has (so where words tell nothing, none is hard).
    """
    has = _present(items)
    found: list[np.ndarray] = []
    owners: list[np.ndarray] = []
    depth = min(config.mined_depth, answers.shape[0])
    for start in range(0, len(asked), _BLOCK):
        stop = min(start + _BLOCK, len(asked))
        scores = asked[start:stop] @ answers.T
        near = np.argpartition(-scores, depth - 1, axis=1)[:, :depth]
        order = np.argsort(-np.take_along_axis(scores, near, 1), axis=1, kind="stable")
        near = np.take_along_axis(near, order, 1)
        part = chosen[start:stop]
        engaged = part.toarray() > 0
        overlap = np.asarray((_present(queries[start:stop]) @ has.T).todense())
        most = np.where(engaged, overlap, 0).max(1, keepdims=True)
        rows = np.arange(stop - start)[:, None]
        near_overlap = overlap[rows, near]
        right = near_overlap >= most
        if types is not None:
            kinds = sp.csr_matrix((np.ones(len(types), np.float32), (np.arange(len(types)), types)))
            right &= np.asarray((_present(part) @ kinds).todense())[rows, types[near]] > 0
        keep = ~engaged[rows, near] & ~right & part.getnnz(axis=1).astype(bool)[:, None]
        keep &= np.cumsum(keep, axis=1) <= config.hard_negatives
        owner, place = np.nonzero(keep)
        owners.append(owner + start)
        found.append(near[owner, place])
    return Ragged.from_groups(np.concatenate(owners), np.concatenate(found).astype(np.int64), len(asked))


def _present(matrix: sp.csr_matrix) -> sp.csr_matrix:
    """1 where the matrix has an entry."""
    return sp.csr_matrix((np.ones(len(matrix.data), np.float32), matrix.indices, matrix.indptr), shape=matrix.shape)
