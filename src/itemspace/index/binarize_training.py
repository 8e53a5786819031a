"""Learning how to binarize: vectors to bits that find the neighbors which the vectors have. Needs torch.

Nothing but vectors is needed (embedding to embedding): what is right for a vector is what it is near to. With an older
model's bits of the same items, the new bits are also trained to find the right items among the old ones.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace

import numpy as np
import torch
from pydantic import Field
from torch import nn
from torch.nn import functional

from itemspace.core.config import Config
from itemspace.core.seeding import derive
from itemspace.core.vectors import normalize
from itemspace.index.binarize import Binarizer, Layer
from itemspace.train.loop import Loop, LoopConfig

_AT_ONCE = 1024
_RIDGE = 1e-2


class BinarizerTraining(Config):
    """Settings of the training."""

    epochs: int = Field(8, ge=1)
    hidden: int = Field(256, ge=0)
    batch_size: int = Field(256, ge=2)
    learning_rate: float = Field(3e-4, gt=0)
    temperature: float = Field(0.05, gt=0)
    neighbors: int = Field(10, ge=1, description="of a vector, one of which is right for it in every step")
    queue: int = Field(4096, ge=0, description="codes of earlier batches that negatives are taken from")
    hard: int = Field(256, ge=1, description="of them, the nearest by code that are farther off than the right one")
    sample: int = Field(16_384, ge=2, description="vectors learned from at most")


@dataclass(frozen=True)
class Older:
    """What bits must be found by the new ones: an older model's vectors of the same items [m, d'] and its binarizer."""

    vectors: np.ndarray
    binarizer: Binarizer


def trained_binarizer(
    vectors: np.ndarray,
    start: Binarizer,
    settings: BinarizerTraining | None = None,
    *,
    older: Older | None = None,
    seed: int = 0,
) -> Binarizer:
    """`start`, each of its layers given a small network, trained so that codes near each other are of near vectors.

    vectors: float32 [m, d]. older: trains the codes to be compared with another model's as well.
    Source: Gan et al. 2023 (BEBR), sections 3.2 (recurrent binarization) and 3.3 (backward compatibility); negatives are
    those of a queue that are nearest by code.
    """
    settings = settings or BinarizerTraining()
    if len(vectors) > settings.sample:
        picked = derive(seed, "binarizer sample").choice(len(vectors), settings.sample, replace=False)
        vectors = vectors[picked]
        older = None if older is None else replace(older, vectors=older.vectors[picked])
    given = torch.from_numpy(np.ascontiguousarray(vectors - start.mean, np.float32))
    old_values = None if older is None else torch.from_numpy(_values(older.binarizer, older.vectors))
    if old_values is not None:
        start = _towards(start, given.numpy(), old_values.numpy())
    module = _Recurrent(start, settings.hidden, seed)
    step = _Step(module, given, neighbors_of(vectors, settings.neighbors), settings, old_values)
    loop = Loop(
        module,
        step,
        _Batches(len(given), settings.batch_size, settings.neighbors),
        LoopConfig(epochs=settings.epochs, learning_rate=settings.learning_rate, patience=None),
        seed=int(derive(seed, "binarizer training").integers(2**31 - 1)),
    )
    loop.run()
    return Binarizer(module.trained(), start.mean, unit=True)


def neighbors_of(vectors: np.ndarray, count: int) -> np.ndarray:
    """int64 [m, count]: the nearest others of every vector by inner product, nearest first."""
    values = np.ascontiguousarray(vectors, np.float32)
    count = min(count, len(values) - 1)
    out = np.empty((len(values), count), np.int64)
    for start in range(0, len(values), _AT_ONCE):
        scores = values[start : start + _AT_ONCE] @ values.T
        rows = np.arange(len(scores))
        scores[rows, start + rows] = -np.inf
        some = np.argpartition(-scores, count - 1, axis=1)[:, :count]
        order = np.argsort(-np.take_along_axis(scores, some, 1), axis=1, kind="stable")
        out[start : start + _AT_ONCE] = np.take_along_axis(some, order, 1)
    return out


def _values(binarizer: Binarizer, vectors: np.ndarray) -> np.ndarray:
    """float32 [n, m] of the codes."""
    signs = binarizer.signs(vectors)
    return np.asarray(np.einsum("nlm,l->nm", signs, np.float32(0.5) ** np.arange(signs.shape[1], dtype=np.float32)))


def _towards(start: Binarizer, vectors: np.ndarray, values: np.ndarray) -> Binarizer:
    """A start whose bits mean what another model's do: its directions are those that foretell the other's values best."""
    square = vectors.T @ vectors
    square += _RIDGE * np.trace(square) / len(square) * np.eye(len(square), dtype=np.float32)
    turn = np.linalg.solve(square, vectors.T @ values).astype(np.float32)
    found = vectors @ turn
    overlap = found.T @ found
    overlap += _RIDGE * np.trace(overlap) / len(overlap) * np.eye(len(overlap), dtype=np.float32)
    back = np.linalg.solve(overlap, found.T @ vectors).astype(np.float32)
    return replace(start, layers=tuple(replace(layer, turn=turn, back=back) for layer in start.layers))


class _Recurrent(nn.Module):
    """The layers, differentiable by the straight-through estimator."""

    def __init__(self, start: Binarizer, hidden: int, seed: int) -> None:
        super().__init__()
        rng = derive(seed, "binarizer networks")
        dimension = start.layers[0].turn.shape[0]
        self.sizes = len(start.layers)
        self.weights = nn.ParameterList()
        for layer in start.layers:
            widen = rng.normal(0, np.sqrt(2 / dimension), (dimension, hidden)).astype(np.float32)
            arrays = (layer.turn, widen, np.zeros(hidden, np.float32), np.zeros((hidden, start.width), np.float32))
            self.weights.extend(torch.from_numpy(array.copy()) for array in (*arrays, layer.back))

    def forward(self, given: torch.Tensor) -> torch.Tensor:
        """Values [n, m] of vectors less the mean [n, d]."""
        values: torch.Tensor | None = None
        residual = given
        arrays = list(self.weights)
        for number in range(self.sizes):
            turn, widen, bias, narrow, back = arrays[5 * number : 5 * number + 5]
            scores = residual @ turn
            if len(bias):
                scores = scores + functional.relu(residual @ widen + bias) @ narrow
            # The gradient passes where the score is not far from 0 already.
            soft = functional.hardtanh(scores / (2.0 * scores.detach().abs().mean() + 1e-12))
            hard = torch.where(scores >= 0, 1.0, -1.0)
            signs = soft + (hard - soft).detach()
            values = signs if values is None else values + 0.5**number * signs
            if number + 1 < self.sizes:
                residual = given - functional.normalize(values @ back, dim=1)
        assert values is not None
        return values

    def trained(self) -> tuple[Layer, ...]:
        """The layers as they stand."""
        arrays = [weight.detach().numpy().copy() for weight in self.weights]
        return tuple(Layer(*arrays[at : at + 5]) for at in range(0, len(arrays), 5))


@dataclass(frozen=True)
class _Batches:
    """Every vector once an epoch, with the place of the neighbor that is right for it."""

    size: int
    batch: int
    neighbors: int

    def __call__(self, rng: np.random.Generator) -> Iterator[tuple[np.ndarray, np.ndarray]]:
        order = rng.permutation(self.size)
        for start in range(0, self.size, self.batch):
            rows = order[start : start + self.batch]
            yield rows, rng.integers(0, self.neighbors, len(rows))


class _Step:
    """The loss of a batch: the right one against the batch's others and the hardest of a queue of earlier codes."""

    def __init__(
        self,
        module: _Recurrent,
        given: torch.Tensor,
        neighbors: np.ndarray,
        settings: BinarizerTraining,
        older: torch.Tensor | None,
    ) -> None:
        self.module, self.given, self.neighbors, self.settings, self.older = module, given, neighbors, settings, older
        self.unit = torch.from_numpy(normalize(given.numpy()))
        self.queued = np.zeros(0, np.int64)
        self.codes = torch.zeros((0, 0))

    def __call__(self, batch: tuple[np.ndarray, np.ndarray]) -> torch.Tensor:
        rows, places = batch
        right = self.neighbors[rows, np.minimum(places, self.neighbors.shape[1] - 1)]
        asked, found = self.module(self.given[rows]), self.module(self.given[right])
        loss = self._against(asked, found, rows, right, self.codes)
        if self.older is not None:
            loss = loss + self._against(asked, self.older[right], rows, right, self.older[self.queued])
        keep = max(self.settings.queue - len(right), 0)
        old = slice(max(len(self.queued) - keep, 0), None)
        held = self.codes[old] if len(self.queued) and keep else found.detach()[:0]
        self.codes = torch.cat([held, found.detach()])
        self.queued = np.concatenate([self.queued[old] if keep else self.queued[:0], right])
        return loss

    def _against(
        self, asked: torch.Tensor, found: torch.Tensor, rows: np.ndarray, right: np.ndarray, queue: torch.Tensor
    ) -> torch.Tensor:
        """Cross-entropy of the right code among the batch's and the hardest of the queue, which are truly farther off."""
        width = asked.shape[1]
        near = (self.unit[rows] * self.unit[right]).sum(1, keepdim=True)
        logits = asked @ found.T / width
        nearer = self.unit[rows] @ self.unit[right].T >= near - 1e-6
        nearer.fill_diagonal_(False)
        logits = logits.masked_fill(nearer, float("-inf"))
        if len(queue):
            with torch.no_grad():
                scores = asked @ queue.T / width
                far = self.unit[rows] @ self.unit[self.queued].T < near - 1e-6
                hardest = scores.masked_fill(~far, float("-inf")).topk(min(self.settings.hard, len(queue)), dim=1)
            picked = queue[hardest.indices.reshape(-1)].reshape(*hardest.indices.shape, width)
            hard = torch.einsum("qm,qhm->qh", asked, picked) / width
            logits = torch.cat([logits, hard.masked_fill(hardest.values == float("-inf"), float("-inf"))], 1)
        return functional.cross_entropy(logits / self.settings.temperature, torch.arange(len(asked)))
