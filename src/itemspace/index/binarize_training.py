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
_ASKED = 512
"""Vectors whose neighbors are looked for to validate."""
_RIDGE = 1e-2


class BinarizerTraining(Config):
    """Settings of the training."""

    epochs: int = Field(8, ge=1)
    hidden: int = Field(256, ge=0)
    batch_size: int = Field(256, ge=2)
    learning_rate: float = Field(1e-3, gt=0)
    temperature: float | None = Field(
        None, gt=0, description="of the softmax over products of codes; None: `spread` in the products' own scale"
    )
    spread: float = Field(0.03, gt=0, description="of the softmax over cosines of vectors, which says what is right")
    neighbors: int = Field(10, ge=1, description="of a vector, one of which is among what it is compared with")
    queue: int = Field(
        4096, ge=0, description="vectors of earlier batches that stand beside it, the hardest weighing most"
    )
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
    Source: Gan et al. 2023 (BEBR), sections 3.2 (recurrent binarization) and 3.3 (backward compatibility), with right
    answers graded by the vectors' cosines instead of one that is right.
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
    unit = torch.from_numpy(normalize(vectors))
    near = neighbors_of(unit.numpy(), settings.neighbors)
    step = _Step(module, given, unit, settings, old_values)
    asked = derive(seed, "binarizer validation").choice(len(given), min(_ASKED, len(given)), replace=False)

    def found(values: torch.Tensor) -> float:
        return _recall(values[asked], values if old_values is None else old_values, asked, near)

    def validated() -> float:
        with torch.no_grad():
            return found(module(given))

    loop = Loop(
        module,
        step,
        _Batches(near, settings.batch_size),
        LoopConfig(epochs=settings.epochs, learning_rate=settings.learning_rate, patience=None),
        seed=int(derive(seed, "binarizer training").integers(2**31 - 1)),
        validate=validated,
        metric="recall",
    )
    loop.run()
    if loop.best < found(torch.from_numpy(_values(start, vectors))):
        return start
    return Binarizer(module.trained(), start.mean, unit=True)


def _recall(asked: torch.Tensor, held: torch.Tensor, rows: np.ndarray, near: np.ndarray) -> float:
    """The share of the nearest others [m, count] of vectors `rows` among as many nearest by code."""
    scores = asked @ held.T
    scores[torch.arange(len(rows)), torch.from_numpy(rows)] = -torch.inf
    best = scores.topk(near.shape[1], dim=1).indices.numpy()
    return float((near[rows][:, :, None] == best[:, None, :]).any(2).mean())


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
            # The gradient passes straight through, less where the score is far from 0 already.
            soft = torch.tanh(scores / (scores.detach().abs().mean() + 1e-12))
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
    """Every vector once an epoch, each with one of its neighbors."""

    neighbors: np.ndarray
    batch: int

    def __call__(self, rng: np.random.Generator) -> Iterator[tuple[np.ndarray, np.ndarray]]:
        size, count = self.neighbors.shape
        order = rng.permutation(size)
        for start in range(0, size, self.batch):
            rows = order[start : start + self.batch]
            yield rows, self.neighbors[rows, rng.integers(0, count, len(rows))]


class _Step:
    """The loss of a batch: its codes against those of its neighbors and of a queue of earlier ones.

    What is right is shared among all of them by how near the vectors are, so that no near one counts as wrong. Those in
    the queue are coded anew in every step: codes of some steps ago mislead once the weights have moved.
    """

    def __init__(
        self, module: _Recurrent, given: torch.Tensor, unit: torch.Tensor, settings: BinarizerTraining,
        older: torch.Tensor | None,
    ) -> None:  # fmt: skip
        self.module, self.given, self.unit, self.settings, self.older = module, given, unit, settings, older
        self.queue = np.zeros(0, np.int64)
        self.temperature = settings.temperature or self._usual()

    def _usual(self) -> float:
        """The spread in the scale that products of codes have, wider by a third of what rounding to bits adds to it."""
        with torch.no_grad():
            some = slice(0, _ASKED)
            codes, unit = self.module(self.given[some]), self.unit[some]
            products, cosines = (codes @ codes.T / codes.shape[1]).flatten(), (unit @ unit.T).flatten()
            slope = float(torch.cov(torch.stack([products, cosines]))[0, 1] / cosines.var())
            noise = float((products - slope * cosines).std())
        return self.settings.spread * max(slope, 0.1) + noise / 3

    def __call__(self, batch: tuple[np.ndarray, np.ndarray]) -> torch.Tensor:
        rows, right = batch
        among = np.unique(np.concatenate([right, self.queue]))
        asked, found = self.module(self.given[rows]), self.module(self.given[among])
        share = self.unit[rows] @ self.unit[among].T / self.settings.spread
        own = torch.from_numpy(among[None, :] == rows[:, None])
        loss = self._loss(asked, found, share.masked_fill(own, -torch.inf), own)
        if self.older is not None:
            loss = loss + self._loss(asked, self.older[among], share, None)
        self.queue = np.concatenate([self.queue, right])[-self.settings.queue :] if self.settings.queue else self.queue
        return loss

    def _loss(
        self, asked: torch.Tensor, found: torch.Tensor, share: torch.Tensor, own: torch.Tensor | None
    ) -> torch.Tensor:
        """Cross-entropy between the shares and the softmax of the codes' products."""
        logits = asked @ found.T / (asked.shape[1] * self.temperature)
        if own is not None:
            logits = logits.masked_fill(own, -1e9)
        return -(functional.softmax(share, 1) * functional.log_softmax(logits, 1)).sum(1).mean()
