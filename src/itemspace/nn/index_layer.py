"""`IndexLayer`: a product-quantized index inside a model, trained with it. Needs torch.

In training an item's vector is replaced by what the index would keep of it: turned by a rotation, the nearest of some
coarse centers plus, piece by piece, the nearest center of what is left. The gradient of the loss passes straight through to
the model; centers and rotation follow the distortion. So the model learns vectors that survive their own index, and when
training ends the index is there.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from torch import nn

from itemspace.core.seeding import RNG, derive
from itemspace.train.losses.contrastive import ContrastiveLoss

_ROUNDS = 15
_TURNS = 8
_LARGEST = 0.1
"""Radians that a plane is turned at most in a step."""


@dataclass(frozen=True)
class IndexWeights:
    """A rotation float32 [d, d] (vectors are turned by v @ rotation), coarse centers [lists, d] and the centers of the

    pieces [pieces, size, d / pieces], both of turned vectors.
    """

    rotation: np.ndarray
    centers: np.ndarray
    codebooks: np.ndarray


class IndexLayer(nn.Module):
    """Vectors [n, d] in, what the index keeps of them [n, d] out; the vectors themselves before `start` was called.

    Source: Zhang et al. 2021 (Poeem), section 3: the straight-through estimator, warm start, and rotations as products of
    Givens rotations; the planes turned in a step are those of steepest descent, found greedily.
    """

    centers: nn.Parameter
    codebooks: nn.Parameter
    rotation: torch.Tensor

    def __init__(self, dimension: int, *, lists: int, pieces: int, size: int, rate: float = 1.0) -> None:
        super().__init__()
        if dimension % pieces:
            raise ValueError(f"{dimension} dimensions cannot be cut into {pieces} equal pieces")
        self.pieces, self.rate, self.started = pieces, rate, False
        self.centers = nn.Parameter(torch.zeros(lists, dimension))
        self.codebooks = nn.Parameter(torch.zeros(pieces, size, dimension // pieces))
        self.register_buffer("rotation", torch.eye(dimension, dtype=torch.float64))
        self.distortion = torch.zeros(())

    def start(self, vectors: np.ndarray, rng: RNG = 0) -> None:
        """Take vectors [n, d] of a model that is warm: rotation and centers that lose little of them.

        By turns the centers of the pieces are found by k-means and the rotation that fits them best.
        """
        draw = derive(rng, "index layer")
        lists, (pieces, size, part) = len(self.centers), self.codebooks.shape
        values, rotation = np.asarray(vectors, np.float32), np.eye(vectors.shape[1], dtype=np.float64)
        centers, label = lloyd(values, lists, draw)
        books: list[np.ndarray | None] = [None] * pieces
        for turn in range(_TURNS):
            turned = values @ rotation.astype(np.float32)
            coarse = centers @ rotation.astype(np.float32)
            left = turned - coarse[label]
            kept = np.empty_like(left)
            for piece in range(pieces):
                columns = slice(piece * part, (piece + 1) * part)
                found, number = lloyd(left[:, columns], size, draw, books[piece], 4 if turn else _ROUNDS)
                books[piece], kept[:, columns] = found, found[number]
            if turn + 1 < _TURNS:
                # The rotation for which the residuals are nearest to what is kept of them (orthogonal Procrustes).
                residuals = (values - centers[label]).astype(np.float64)
                a, _, b = np.linalg.svd(residuals.T @ kept.astype(np.float64))
                rotation = a @ b
        with torch.no_grad():
            self.rotation.copy_(torch.from_numpy(rotation))
            self.centers.copy_(torch.from_numpy(np.ascontiguousarray(centers @ rotation.astype(np.float32))))
            self.codebooks.copy_(torch.from_numpy(np.stack([book for book in books if book is not None])))
        self.started = True

    def forward(self, vectors: torch.Tensor) -> torch.Tensor:
        if not self.started:
            self.distortion = torch.zeros(())
            return vectors
        rotation = self.rotation.float().requires_grad_(self.training)
        if self.training:
            rotation.register_hook(self._turn)
        turned = vectors @ rotation
        kept = self.kept(turned)
        self.distortion = ((turned - kept) ** 2).sum(1).mean()
        back = (kept @ rotation.T).detach()
        return vectors + (back - vectors).detach()

    def kept(self, turned: torch.Tensor) -> torch.Tensor:
        """What is kept of turned vectors [n, d], differentiable in the centers."""
        return self.centers[self.lists(turned)] + self._pieces(turned)

    def lists(self, turned: torch.Tensor) -> torch.Tensor:
        """The nearest coarse center of turned vectors, int64 [n]."""
        with torch.no_grad():
            return torch.cdist(turned, self.centers).argmin(1)

    def codes(self, turned: torch.Tensor) -> torch.Tensor:
        """The numbers kept of turned vectors, int64 [n, pieces]."""
        with torch.no_grad():
            left = (turned - self.centers[self.lists(turned)]).reshape(len(turned), self.pieces, -1)
            return torch.cdist(left.transpose(0, 1), self.codebooks).argmin(2).T

    def _pieces(self, turned: torch.Tensor) -> torch.Tensor:
        at = torch.arange(self.pieces)
        return self.codebooks[at, self.codes(turned)].reshape(len(turned), -1)

    def _turn(self, gradient: torch.Tensor) -> None:
        """One step of coordinate descent: disjoint planes, each turned against its slope.

        Turning columns (i, j) by t changes the loss by t <G_i, R_j> - t <G_j, R_i> to first order.
        """
        rotation = self.rotation
        slope = gradient.double().T @ rotation
        slope = slope - slope.T
        steep = slope.abs().triu(1)
        size = len(steep)
        first, second = [], []
        for _ in range(size // 2):
            i, j = divmod(int(steep.argmax()), size)
            if steep[i, j] <= 0:
                break
            first.append(i)
            second.append(j)
            steep[[i, j]] = -1.0
            steep[:, [i, j]] = -1.0
        if not first:
            return
        angle = (-self.rate * slope[first, second]).clamp(-_LARGEST, _LARGEST)
        a, b = rotation[:, first].clone(), rotation[:, second].clone()
        rotation[:, first] = a * angle.cos() + b * angle.sin()
        rotation[:, second] = b * angle.cos() - a * angle.sin()

    def weights(self) -> IndexWeights:
        """The index as it stands."""
        return IndexWeights(
            self.rotation.float().numpy().copy(),
            self.centers.detach().numpy().copy(),
            self.codebooks.detach().numpy().copy(),
        )


class WithDistortion(ContrastiveLoss):
    """A loss plus `weight` times what the index lost of the batch's items."""

    def __init__(self, loss: ContrastiveLoss, layer: IndexLayer, weight: float) -> None:
        self.loss, self.layer, self.weight, self.teacher = loss, layer, weight, loss.teacher

    def __call__(
        self,
        scores: torch.Tensor,
        share: torch.Tensor,
        counted: torch.Tensor | None = None,
        teacher: torch.Tensor | None = None,
    ) -> torch.Tensor:
        return self.loss(scores, share, counted, teacher) + self.weight * self.layer.distortion


def lloyd(
    values: np.ndarray, count: int, rng: np.random.Generator, start: np.ndarray | None = None, rounds: int = _ROUNDS
) -> tuple[np.ndarray, np.ndarray]:
    """k-means: centers float32 [count, d] and the label of every value [n]; a center without values takes one far off."""
    if start is None:
        start = values[rng.choice(len(values), count, replace=len(values) < count)]
    centers = start.astype(np.float32)
    for turn in range(rounds + 1):
        scores = values @ centers.T - 0.5 * np.einsum("kd,kd->k", centers, centers)
        label = scores.argmax(1)
        if turn == rounds:
            break
        sizes = np.bincount(label, minlength=count)
        sums = np.zeros_like(centers)
        np.add.at(sums, label, values)
        centers = np.where(sizes[:, None] > 0, sums / np.maximum(sizes, 1)[:, None], centers).astype(np.float32)
        empty = np.flatnonzero(sizes == 0)[: len(values)]
        if len(empty):
            gap = np.einsum("nd,nd->n", values - centers[label], values - centers[label]).astype(np.float64) + 1e-12
            centers[empty] = values[rng.choice(len(values), len(empty), replace=False, p=gap / gap.sum())]
    return centers, label
