"""Negative samplers: item rows to learn against, vectorized."""

from __future__ import annotations

import numpy as np

from itemspace.core.interactions import Interactions


class UnseenSampler:
    """Uniform items that the user of each position never chose in training."""

    def __init__(self, events: Interactions) -> None:
        self.items = len(events.items)
        self._seen = np.unique(events.user.astype(np.int64) * self.items + events.item)

    def draw(self, users: np.ndarray, count: int, rng: np.random.Generator, *, attempts: int = 20) -> np.ndarray:
        """int64 [len(users), count]. After `attempts` redraws (a user who has nearly everything) a seen item stays."""
        out = rng.integers(0, self.items, (len(users), count))
        owner = np.broadcast_to(users.astype(np.int64)[:, None] * self.items, out.shape)
        wrong = np.ones(out.shape, bool)
        for _ in range(attempts):
            wrong[wrong] = self.seen(owner[wrong] + out[wrong])
            if not wrong.any():
                break
            out[wrong] = rng.integers(0, self.items, int(wrong.sum()))
        return out

    def seen(self, keys: np.ndarray) -> np.ndarray:
        """Whether each user * items + item key is a training pair."""
        at = np.minimum(np.searchsorted(self._seen, keys), len(self._seen) - 1)
        return self._seen[at] == keys


class PopularitySampler:
    """Items drawn with probability proportional to (training count + 1) to a power, shared by a whole batch."""

    def __init__(self, counts: np.ndarray, power: float = 0.75) -> None:
        weights = (counts.astype(np.float64) + 1) ** power
        self.probabilities = weights / weights.sum()
        self._edges = np.cumsum(self.probabilities)

    def draw(self, count: int, rng: np.random.Generator) -> np.ndarray:
        """int64 [count], with replacement."""
        return np.minimum(np.searchsorted(self._edges, rng.random(count)), len(self._edges) - 1)

    def expected(self, count: int) -> np.ndarray:
        """Expected occurrences of each item in `count` draws, float32 [items]."""
        return (self.probabilities * count).astype(np.float32)
