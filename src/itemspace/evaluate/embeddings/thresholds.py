"""Above which similarity an answer can be trusted: the scores of right answers beside those of what else comes back."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from itemspace.core.errors import RequestError
from itemspace.evaluate.significance import bootstrap_means, percentile_interval


@dataclass(frozen=True)
class Scores:
    """Similarities float64: of right pairs [c], of the k best answers that are wrong [w], of random pairs [r]."""

    right: np.ndarray
    wrong: np.ndarray
    random: np.ndarray

    def __post_init__(self) -> None:
        for name in ("right", "wrong", "random"):
            if not len(getattr(self, name)):
                raise RequestError(f"a threshold needs scores of {name} pairs; there are none.")


@dataclass(frozen=True)
class Threshold:
    """value: the similarity that best tells right from wrong answers. kept: share of right answers at or above it.

    let_in: share of wrong ones. A random pair passes with `chance`.
    """

    value: float
    kept: float
    let_in: float
    chance: float


def threshold(scores: Scores) -> Threshold:
    """The cut that maximizes the share of right answers kept less the share of wrong ones let in (Youden's J)."""
    right, wrong = np.sort(scores.right), np.sort(scores.wrong)
    cuts = np.unique(np.concatenate([right, wrong]))
    kept = 1.0 - np.searchsorted(right, cuts) / len(right)
    let_in = 1.0 - np.searchsorted(wrong, cuts) / len(wrong)
    best = int(np.argmax(kept - let_in))
    return Threshold(
        float(cuts[best]), float(kept[best]), float(let_in[best]), float((scores.random >= cuts[best]).mean())
    )


def shared_area(left: np.ndarray, right: np.ndarray, bins: int = 50) -> float:
    """The area under both histograms of two samples of scores, 0 (apart) to 1 (the same), over `bins` equal bins."""
    low, high = min(left.min(), right.min()), max(left.max(), right.max())
    if low == high:
        return 1.0
    edges = np.linspace(low, high, bins + 1)
    a, b = (np.histogram(v, edges)[0] / len(v) for v in (left, right))
    return float(np.minimum(a, b).sum())


def interval(values: np.ndarray, *, resamples: int = 1_000, seed: int = 0) -> tuple[float, float, float]:
    """Mean of per-question values [q] with its 95% bootstrap interval: (mean, low, high)."""
    low, high = percentile_interval(
        bootstrap_means(np.asarray(values, np.float64)[:, None], resamples=resamples, rng=seed)
    )
    return float(np.mean(values)), float(low[0]), float(high[0])
