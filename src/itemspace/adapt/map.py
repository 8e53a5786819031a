"""Two coordinates for every vector, so that a catalogue can be looked at: what is alike lies together.

Principal components are always there; they keep the large distances and lose the small ones. With the extra `map`
installed, t-SNE lays out neighborhoods instead (van der Maaten and Hinton 2008; with more than 10,000 items by the
interpolation of Linderman et al. 2019), begun from the principal components so that the large picture stays (Kobak and Berens 2019).
"""

from __future__ import annotations

import importlib.util
from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal

import numpy as np

from itemspace.adapt.adapter import Affine
from itemspace.adapt.covariance import moments, principal_axes
from itemspace.core.errors import RequestError
from itemspace.core.extras import require
from itemspace.core.seeding import RNG, derive
from itemspace.core.vectors import normalize

Method = Literal["auto", "neighbors", "pca"]
LANDMARKS = 20_000
"""Vectors laid out together; the rest are placed by their nearest landmarks."""
EXAGGERATED, REFINED, EVERY = 250, 500, 50
"""Steps in which clusters form, steps in which they take shape, and how often progress is told."""
REDUCED = 50
PLACED_BY = 5
LEAST = 32
_BLOCK = 1 << 22


@dataclass(frozen=True)
class Layout:
    """points: float32 [n, 2], within [-1, 1]. method: "neighbors" or "pca". note: how it came about, for the reader."""

    points: np.ndarray
    method: str
    note: str


def _quiet(_: str) -> None:
    return


def layout(
    vectors: np.ndarray,
    *,
    method: Method = "auto",
    landmarks: int = LANDMARKS,
    rng: RNG = 0,
    say: Callable[[str], object] = _quiet,
) -> Layout:
    """Two coordinates for vectors [n, d], by the cosine between them. The same input and seed give the same points.

    method: "neighbors" (t-SNE), "pca", or "auto": neighbors where the extra is installed and there are enough vectors.
    landmarks: more vectors than this are not laid out together: a random choice of them is, and each other one is put
    between the landmarks it is most like.

    Raises:
        RequestError: no such method, or vectors that are not finite numbers.
        MissingExtraError: "neighbors" without the extra.
    """
    if method not in ("auto", "neighbors", "pca"):
        raise RequestError(f'a map is laid out by "neighbors", "pca" or "auto", not by {method!r}.')
    n = len(vectors)
    if not np.isfinite(np.asarray(vectors, np.float32).sum(dtype=np.float64)):
        raise RequestError("a map needs vectors of finite numbers.")
    unit = normalize(np.asarray(vectors, np.float32))
    if method == "auto":
        method = "neighbors" if n >= LEAST and importlib.util.find_spec("openTSNE") is not None else "pca"
    say(f"principal components of {n:,} vectors")
    reduced = principal(unit, min(REDUCED, *unit.shape) if n else 2)
    if method == "pca" or n < LEAST:
        return Layout(framed(_two(reduced)), "pca", f"principal components of {n:,} items")
    draw = derive(rng, "map")
    chosen = np.arange(n) if n <= landmarks else np.sort(draw.choice(n, landmarks, replace=False))
    say(f"laying out {len(chosen):,} of {n:,}")
    seed = int(draw.integers(2**31))
    points = np.zeros((n, 2), np.float32)
    points[chosen] = _neighbors(reduced[chosen], seed, say)
    note = f"neighborhoods of {n:,} items (t-SNE)"
    if len(chosen) < n:
        rest = np.setdiff1d(np.arange(n), chosen)
        say(f"placing {len(rest):,} more")
        points[rest] = placed(reduced[rest], reduced[chosen], points[chosen])
        note = (
            f"neighborhoods of {len(chosen):,} items (t-SNE); {len(rest):,} more placed by the {PLACED_BY} most alike"
        )
    return Layout(framed(points), "neighbors", note)


def principal(vectors: np.ndarray, count: int) -> np.ndarray:
    """The first `count` principal components of vectors [n, d] -> float32 [n, count], each with its sign fixed."""
    if not len(vectors):
        return np.zeros((0, count), np.float32)
    mean, covariance = moments(vectors)
    return Affine(mean, principal_axes(covariance)[1][:, :count]).apply(vectors)


def placed(vectors: np.ndarray, landmarks: np.ndarray, points: np.ndarray, count: int = PLACED_BY) -> np.ndarray:
    """Coordinates [n, 2] for vectors [n, d] among landmarks [m, d] that lie at points [m, 2]: the mean of the `count` most

    alike, each weighing as much as it is alike (a Gaussian as wide as the distance to the last of them).
    """
    count = min(count, len(landmarks))
    out = np.zeros((len(vectors), 2), np.float32)
    squares = (landmarks**2).sum(1)
    step = max(1, _BLOCK // max(len(landmarks), 1))
    for start in range(0, len(vectors), step):
        part = vectors[start : start + step]
        distance = np.maximum((part**2).sum(1)[:, None] - 2 * part @ landmarks.T + squares, 0.0)
        nearest = np.argpartition(distance, count - 1, axis=1)[:, :count]
        near = np.take_along_axis(distance, nearest, 1)
        width = np.maximum(near.max(1, keepdims=True), 1e-12)
        weight = np.exp(-2 * near / width)
        out[start : start + step] = (points[nearest] * weight[:, :, None]).sum(1) / weight.sum(1, keepdims=True)
    return out


def framed(points: np.ndarray) -> np.ndarray:
    """Points [n, 2] moved and scaled, both directions alike, so that they fill [-1, 1]."""
    if not len(points):
        return np.zeros((0, 2), np.float32)
    low, high = points.min(0), points.max(0)
    half = float(max((high - low).max() / 2, 1e-12))
    return np.clip((points - (low + high) / 2) / half, -1.0, 1.0).astype(np.float32)


def neighbors_kept(vectors: np.ndarray, points: np.ndarray, *, k: int = 10, sample: int = 1_000, rng: RNG = 0) -> float:
    """Of the k vectors most alike (by cosine), the share that are also among the k nearest points; 0 to 1.

    Averaged over at most `sample` vectors. Chance is about k / n.
    """
    n = len(vectors)
    k = min(k, n - 1)
    asked = derive(rng, "map-check").choice(n, min(sample, n), replace=False)
    unit = normalize(np.asarray(vectors, np.float32))
    alike = _nearest(-(unit[asked] @ unit.T), asked, k)
    x, y = np.asarray(points, np.float32).T
    near = _nearest((x[asked, None] - x) ** 2 + (y[asked, None] - y) ** 2, asked, k)
    return float((alike[:, :, None] == near[:, None, :]).any(2).mean())


def _nearest(distance: np.ndarray, itself: np.ndarray, k: int) -> np.ndarray:
    distance[np.arange(len(itself)), itself] = np.inf
    return np.argpartition(distance, k - 1, axis=1)[:, :k]


def _two(reduced: np.ndarray) -> np.ndarray:
    return np.pad(reduced[:, :2], ((0, 0), (0, max(0, 2 - reduced.shape[1]))))


def _neighbors(reduced: np.ndarray, seed: int, say: Callable[[str], object]) -> np.ndarray:
    """t-SNE of vectors [n, d] -> [n, 2], in one thread: several would add up in another order each time."""
    library = require("openTSNE", extra="map", needed_for="laying out a map by neighborhoods")
    start = _two(reduced)
    start = start / max(float(start[:, 0].std()), 1e-12) * 1e-4
    steps = EXAGGERATED + REFINED

    def progress(done: int, error: float, points: object) -> None:
        passed[0] += EVERY
        say(f"laying out {len(reduced):,} items: step {min(passed[0], steps)} of {steps}")

    passed = [0]
    model = library.TSNE(
        2,
        perplexity=min(30.0, (len(reduced) - 1) / 3),
        initialization=start.astype(np.float64),
        neighbors="exact",
        early_exaggeration_iter=EXAGGERATED,
        n_iter=REFINED,
        n_jobs=1,
        random_state=seed,
        callbacks=progress,
        callbacks_every_iters=EVERY,
    )
    return np.asarray(model.fit(reduced.astype(np.float64)), np.float32)
