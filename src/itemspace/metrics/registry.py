"""Metrics by specification string: `ndcg@10`, `recall@100`, `mrr`, `judged-ndcg@10`."""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass
from functools import cache
from typing import TypeVar

from itemspace.core.errors import RequestError, nearest
from itemspace.metrics.values import PerQuery, Ranking

Function = Callable[[Ranking, "int | None"], "PerQuery | float"]
F = TypeVar("F", bound=Callable[..., "PerQuery | float"])

JUDGED_ONLY = "judged-"
ALIASES = {"hr": "hit", "success": "hit", "rr": "mrr", "ap": "map", "p": "precision", "r": "recall"}


@dataclass(frozen=True)
class Registered:
    """A metric by name. `ranked`: it compares with judgments. `needs`: what of `Items` it reads. `lower`: less is better."""

    name: str
    function: Function
    ranked: bool
    needs: tuple[str, ...] = ()
    lower: bool = False

    @property
    def about(self) -> str:
        """The first line of the metric's documentation."""
        return (self.function.__doc__ or "").strip().split("\n")[0]


METRICS: dict[str, Registered] = {}


def metric(name: str, *, ranked: bool = True, needs: tuple[str, ...] = (), lower: bool = False) -> Callable[[F], F]:
    """Register a function of (Ranking, k) under `name`."""

    def register(function: F) -> F:
        METRICS[name] = Registered(name, function, ranked, needs, lower)
        return function

    return register


@dataclass(frozen=True)
class Spec:
    """A parsed specification: which metric, at which cut-off (None: all that was retrieved), on judged items only or not."""

    text: str
    metric: Registered
    k: int | None
    judged_only: bool = False

    def __call__(self, ranking: Ranking) -> PerQuery | float:
        """The metric of a ranking: one value per query, or one for the whole run (coverage, gini)."""
        return self.metric.function(ranking.judged_only if self.judged_only else ranking, self.k)


_SPEC = re.compile(r"(?P<judged>judged-)?(?P<name>[a-z][a-z0-9-]*?)(?:@(?P<k>[0-9]+))?")


@cache
def parse(text: str) -> Spec:
    """Read a specification such as `ndcg@10`.

    Raises:
        RequestError: no such metric (the nearest one is named), or a cut-off that is not a positive whole number.
    """
    found = _SPEC.fullmatch(text.strip().lower())
    if found is None:
        raise RequestError(f'"{text}" is not a metric; write name@k, such as ndcg@10 or recall@100.')
    name = ALIASES.get(found["name"], found["name"])
    if name not in METRICS:
        raise RequestError(f'no metric named "{name}".{nearest(name, METRICS)} Known: {", ".join(sorted(METRICS))}.')
    k = None if found["k"] is None else int(found["k"])
    if k == 0:
        raise RequestError(f'"{text}": the cut-off must be at least 1.')
    judged_only = found["judged"] is not None
    canonical = (JUDGED_ONLY if judged_only else "") + name + ("" if k is None else f"@{k}")
    return Spec(canonical, METRICS[name], k, judged_only)


def deepest(specs: list[Spec]) -> int:
    """The largest cut-off among the specifications, 0 when none has one."""
    return max((spec.k or 0 for spec in specs), default=0)
