"""How many items d numbers can tell apart: the largest n for which every set of k of them can be somebody's top k.

Every set is a query with a vector of its own, queries and items are optimized directly, without any text in between: what
this cannot realize, no encoder of as many dimensions can. Source: Weller et al. 2025, section 4.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from itertools import combinations
from math import comb
from typing import Any

import numpy as np
from pydantic import Field

from itemspace.core.config import Config
from itemspace.core.errors import RequestError
from itemspace.core.extras import require
from itemspace.core.seeding import RNG, as_seed


class FreeConfig(Config):
    """The optimization of free vectors: full-batch InfoNCE by Adam over normalized vectors."""

    learning_rate: float = Field(0.02, gt=0)
    temperature: float = Field(0.1, gt=0, description="at the start; it is learned with the vectors")
    steps: int = Field(3_000, ge=1, description="most steps of one attempt")
    patience: int = Field(400, ge=1, description="steps without a better loss after which an attempt ends")
    attempts: int = Field(2, ge=1, description="starts from other random vectors before an n counts as unrealizable")


@dataclass(frozen=True)
class Attempt:
    """Whether every query has exactly its items on top. right: share of the queries that have. steps: until the end."""

    n: int
    right: float
    steps: int

    @property
    def realized(self) -> bool:
        return self.right == 1.0


def sets(n: int, k: int) -> np.ndarray:
    """Every set of k out of n: int64 [C(n, k), k]."""
    return np.array(list(combinations(range(n), k)), np.int64).reshape(-1, k)


def attempt(n: int, k: int, dimension: int, config: FreeConfig = FreeConfig(), rng: RNG = 0) -> Attempt:
    """Try to place n items and C(n, k) queries in `dimension` numbers so that every query finds its set first.

    Raises:
        RequestError: k is not below n.
        MissingExtraError: torch is not installed.
    """
    if not 0 < k < n:
        raise RequestError(f"sets of {k} out of {n} items are no question: k has to lie between 1 and n - 1.")
    torch = require("torch", extra="train", needed_for="The critical number of items")
    made = torch.Generator().manual_seed(as_seed(rng))
    relevant = torch.zeros(comb(n, k), n, dtype=torch.bool)
    relevant.scatter_(1, torch.from_numpy(sets(n, k)), True)
    queries, items = (torch.nn.Parameter(torch.randn(m, dimension, generator=made)) for m in (len(relevant), n))
    scale = torch.nn.Parameter(torch.tensor(-np.log(config.temperature)))
    adam = torch.optim.Adam([queries, items, scale], lr=config.learning_rate)
    best, since, right = np.inf, 0, 0.0
    for step in range(1, config.steps + 1):
        scores = torch.nn.functional.normalize(queries, dim=1) @ torch.nn.functional.normalize(items, dim=1).T
        right = float(_realized(torch, scores.detach(), relevant).float().mean())
        if right == 1.0:
            return Attempt(n, right, step - 1)
        loss = _info_nce(torch, scores * scale.clamp(max=6.0).exp(), relevant)
        adam.zero_grad()
        loss.backward()
        adam.step()
        value = float(loss.detach())
        best, since = (value, 0) if value < best * (1 - 1e-4) else (best, since + 1)
        if since >= config.patience:
            break
    return Attempt(n, right, step)


def _realized(torch: Any, scores: Any, relevant: Any) -> Any:
    """Queries whose worst relevant item is above the best of the others."""
    worst = scores.masked_fill(~relevant, torch.inf).min(1).values
    return worst > scores.masked_fill(relevant, -torch.inf).max(1).values


def _info_nce(torch: Any, scores: Any, relevant: Any) -> Any:
    """Each relevant item against all irrelevant ones of its query, averaged."""
    others = torch.logsumexp(scores.masked_fill(relevant, -torch.inf), 1, keepdim=True)
    return torch.nn.functional.softplus(others - scores)[relevant].mean()


def critical_n(
    dimension: int,
    k: int = 2,
    config: FreeConfig = FreeConfig(),
    *,
    most: int = 4_096,
    rng: int = 0,
    say: Callable[[str], object] = lambda _: None,
) -> int:
    """The largest n at most `most` of which every k items can be on top: doubled until it fails, then bisected.

    An optimizer's failure is no proof, so this is a lower bound that grows with the patience given.
    """

    def realized(n: int) -> bool:
        for i in range(config.attempts):
            found = attempt(n, k, dimension, config, rng=rng + i)
            say(f"d {dimension}, n {n}: {found.right:.1%} of {comb(n, k):,} sets on top after {found.steps} steps")
            if found.realized:
                return True
        return False

    low, high = k, k + 1  # all of k items out of k are on top without any effort
    while high <= most and realized(high):
        low, high = high, high * 2
    high = min(high, most + 1)
    while high - low > 1:
        middle = (low + high) // 2
        low, high = (middle, high) if realized(middle) else (low, middle)
    return low


def cubic(dimensions: np.ndarray, critical: np.ndarray) -> np.ndarray:
    """Coefficients of the polynomial of degree 3 (or as many points allow) through critical n by dimension, highest first."""
    return np.polyfit(dimensions, critical, min(3, len(dimensions) - 1))
