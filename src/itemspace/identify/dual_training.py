"""The training of `DualAlignment`: two auto-encoders with codebooks, and a model of behavior between them. Needs torch."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from typing import TYPE_CHECKING

import numpy as np
import torch
from torch import nn
from torch.nn import functional

from itemspace.core.contracts import FitReport
from itemspace.core.seeding import derive
from itemspace.identify.rq_vae_losses import alignment
from itemspace.identify.rq_vae_training import Training, arrays_of
from itemspace.train.loop import Loop, LoopConfig

if TYPE_CHECKING:
    from itemspace.identify.dual import DualAlignmentConfig


_QUICK = 10.0
"""Vectors of behavior are kept this much smaller than they are used: one learning rate, so many times larger steps."""


class Dual(nn.Module):
    """Both networks, a vector per user and item, and (debias) a number for each."""

    def __init__(self, sides: tuple[Training, Training], seed: int) -> None:
        super().__init__()
        self.networks = nn.ModuleList(side.network for side in sides)
        size = sides[0].config.latent_size
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(seed)
            self.tables = nn.ModuleList(nn.Embedding(len(side.values), size) for side in sides)
            for table in self.tables:
                nn.init.normal_(table.weight, std=size**-0.5 / _QUICK)
        self.biases = nn.ParameterList(torch.zeros(len(side.values)) for side in sides)

    def behavior(self, side: int, rows: torch.Tensor) -> torch.Tensor:
        """Vectors of behavior [n, latent] of users (side 0) or items (1)."""
        found: torch.Tensor = self.tables[side](rows) * _QUICK
        return found


class DualTraining:
    """Batches of events and the loss over them."""

    def __init__(
        self,
        sides: tuple[Training, Training],
        rows: tuple[np.ndarray, np.ndarray],
        config: DualAlignmentConfig,
        seed: int,
    ) -> None:
        self.sides, self.rows, self.config = sides, rows, config
        self.module = Dual(sides, seed)
        # Another event of the same user, and of the same item: whose item, whose user occur together with this event's.
        self.partner = (_next_of_group(rows[1]), _next_of_group(rows[0]))

    def batches(self, rng: np.random.Generator) -> Iterator[np.ndarray]:
        """Events of one epoch in a random order; codebooks are looked after before."""
        for side in self.sides:
            side.next_epoch(rng)
        order = rng.permutation(len(self.rows[0]))
        for start in range(0, len(order), self.config.batch_size):
            if len(order) - start > 1 or start == 0:
                yield order[start : start + self.config.batch_size]

    def loss(self, events: np.ndarray) -> torch.Tensor:
        """Content of both sides, behavior, and the alignments between what codes stand for and behavior."""
        config, rows = self.config, [torch.from_numpy(side[events]) for side in self.rows]
        coded, loss = [], torch.zeros(())
        for side, at in zip(self.sides, self.rows, strict=True):
            quantized, content = side.quantized(at[events])
            coded.append(quantized)
            loss = loss + content
        known = [self.module.behavior(number, row) for number, row in enumerate(rows)]
        loss = loss + config.behavior * self._behavior_loss(known, rows)
        # Codes move to behavior, not behavior to codes: else a vector of its own would only repeat the item's content.
        for mine, other in ((0, 1), (1, 0)):
            pairs = ((config.user_item, known[other].detach()), (config.same, known[mine].detach()))
            for weight, theirs in pairs:
                if weight:
                    loss = loss + weight * alignment(coded[mine], theirs, config.temperature)
            if config.together:
                beside = self.rows[mine][self.partner[mine][events]]
                theirs = self.module.behavior(mine, torch.from_numpy(beside)).detach()
                loss = loss + config.together * alignment(coded[mine], theirs, config.temperature)
        return loss

    def _behavior_loss(self, known: list[torch.Tensor], rows: list[torch.Tensor]) -> torch.Tensor:
        """Which item of the batch each user met, by vectors and (debias) by how popular the item, how conforming the user."""
        scores = known[0] @ known[1].T
        if self.config.debias:
            popular = self.module.biases[1][rows[1]]
            conforming = self.module.biases[0][rows[0]]
            scores = scores + popular[None, :] * functional.softplus(conforming)[:, None]
        same = (rows[1][:, None] == rows[1][None, :]) & ~torch.eye(len(scores), dtype=torch.bool)
        return functional.cross_entropy(scores.masked_fill(same, float("-inf")), torch.arange(len(scores)))


def _next_of_group(group: np.ndarray) -> np.ndarray:
    """For every event the next one with the same `group` value, around: int64 [n]; itself where it is alone."""
    order = np.argsort(group, kind="stable")
    ordered = group[order]
    first = np.concatenate(([True], ordered[1:] != ordered[:-1]))
    start = np.maximum.accumulate(np.where(first, np.arange(len(order)), 0))
    last = np.concatenate((first[1:], [True]))
    following = np.where(last, order[start], np.roll(order, -1))
    out = np.empty(len(order), np.int64)
    out[order] = following
    return out


def train(
    users: np.ndarray,
    items: np.ndarray,
    user_rows: np.ndarray,
    item_rows: np.ndarray,
    config: DualAlignmentConfig,
    seed: int,
) -> tuple[list[dict[str, np.ndarray]], FitReport]:
    """The arrays of both tokenizers, users' first, and what happened."""
    made = [Training(values, None, config.tokenizer, seed + number) for number, values in enumerate((users, items))]
    sides = (made[0], made[1])
    for number, side in enumerate(sides):
        if config.tokenizer.initialization == "kmeans":
            side.place(range(config.tokenizer.levels), derive(seed, "place", str(number)))
    training = DualTraining(sides, (user_rows, item_rows), config, seed)
    settings = LoopConfig(
        epochs=config.epochs,
        learning_rate=config.learning_rate,
        weight_decay=config.tokenizer.weight_decay,
        patience=None,
    )
    report = Loop(training.module, training.loss, training.batches, settings, seed=seed).run()
    notes: list[str] = []
    for name, side in zip(("users", "items"), sides, strict=True):
        notes += [f"{name}: {note}" for note in side.finish(report).notes]
    return [arrays_of(side.network) for side in sides], replace(report, notes=tuple(notes))
