"""The network of `PairClassifier` and its training. Needs torch."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

import numpy as np
import torch
from torch import nn

from itemspace.core.contracts import Budget, FitReport
from itemspace.core.seeding import derive
from itemspace.train.loop import Loop, LoopConfig

if TYPE_CHECKING:
    from itemspace.rank.pair_classifier import LabelledPairs, PairClassifierConfig

Read = tuple[np.ndarray, np.ndarray]
"""Word numbers int64 [n, w] and weights float32 [n, w] of texts."""
CENTERS = torch.tensor([1.0, 0.9, 0.7, 0.5, 0.3, 0.1, -0.1, -0.3, -0.5, -0.7, -0.9])
WIDTHS = torch.tensor([0.01] + [0.1] * 10)
"""Kernels over similarities; the first is for the same word."""


class PairNetwork(nn.Module):
    """Word vectors, features of a pair, one hidden layer, a logit per class."""

    def __init__(self, start: np.ndarray, config: PairClassifierConfig, seed: int) -> None:
        super().__init__()
        self.together = config.reads == "together"
        self.words = nn.Parameter(torch.from_numpy(start.copy()))
        width = 2 * config.dimension + (2 * config.dimension + len(CENTERS) if self.together else 0)
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(int(derive(seed, "pair network").integers(2**62)))
            self.hidden = nn.Linear(width, config.hidden)
            self.out = nn.Linear(config.hidden, len(config.classes))

    def forward(
        self, query: tuple[torch.Tensor, torch.Tensor], item: tuple[torch.Tensor, torch.Tensor]
    ) -> torch.Tensor:
        """Logits [p, classes] of pairs: words [p, w] and weights [p, w] of either side."""
        asked, held = self.words[query[0]], self.words[item[0]]
        a, b = (asked * query[1][..., None]).sum(1), (held * item[1][..., None]).sum(1)
        parts = [a, b]
        if self.together:
            parts += [a * b, (a - b).abs(), self._kernels(asked, query, held, item)]
        return self.out(torch.relu(self.hidden(torch.cat(parts, dim=1))))

    def _kernels(
        self,
        asked: torch.Tensor,
        query: tuple[torch.Tensor, torch.Tensor],
        held: torch.Tensor,
        item: tuple[torch.Tensor, torch.Tensor],
    ) -> torch.Tensor:
        """[p, kernels]: per kernel the weighted sum, over query words, of the log of how much of the item is that near."""
        near = nn.functional.normalize(asked, dim=-1) @ nn.functional.normalize(held, dim=-1).transpose(1, 2)
        # The same word is exactly 1 whatever rounding says, so the first kernel counts matches and nothing else.
        near = torch.where(query[0][:, :, None] == item[0][:, None, :], torch.ones_like(near), near.clamp(-0.98, 0.98))
        present = (item[1] > 0)[:, None, :]
        out = []
        for center, width in zip(CENTERS, WIDTHS, strict=True):  # eleven kernels
            much = (torch.exp(-((near - center) ** 2) / (2 * width**2)) * present).sum(2)
            out.append((torch.log1p(much) * query[1]).sum(1))
        return torch.stack(out, dim=1)

    def probabilities(self, queries: Read, query: np.ndarray, items: Read, item: np.ndarray) -> np.ndarray:
        self.eval()
        with torch.no_grad():
            return torch.softmax(self(_taken(queries, query), _taken(items, item)), dim=1).numpy()

    def arrays(self) -> dict[str, np.ndarray]:
        """The parameters by name."""
        return {name: value.detach().numpy().copy() for name, value in self.state_dict().items()}

    def adopt(self, arrays: dict[str, np.ndarray]) -> None:
        self.load_state_dict({name: torch.from_numpy(array.copy()) for name, array in arrays.items()})


def train(
    network: PairNetwork,
    queries: Read,
    items: Read,
    pairs: LabelledPairs,
    config: PairClassifierConfig,
    budget: Budget | None,
    seed: int,
) -> FitReport:
    """Cross-entropy over labels, every pair once an epoch."""

    def batches(rng: np.random.Generator) -> Iterator[np.ndarray]:
        order = rng.permutation(len(pairs))
        return (order[at : at + config.batch_size] for at in range(0, len(order), config.batch_size))

    def loss(rows: np.ndarray) -> torch.Tensor:
        logits = network(_taken(queries, pairs.query[rows]), _taken(items, pairs.item[rows]))
        return nn.functional.cross_entropy(logits, torch.from_numpy(pairs.label[rows].astype(np.int64)))

    settings = LoopConfig(
        epochs=config.epochs, learning_rate=config.learning_rate, weight_decay=config.weight_decay, patience=None
    )
    return Loop(network, loss, batches, settings, seed=int(derive(seed, "pairs").integers(2**31 - 1))).run(budget)


def _taken(texts: Read, rows: np.ndarray) -> tuple[torch.Tensor, torch.Tensor]:
    return torch.from_numpy(texts[0][rows]), torch.from_numpy(texts[1][rows])
