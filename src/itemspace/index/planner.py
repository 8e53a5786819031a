"""Exact or graph? The choice every approximate index makes for a filtered search, from what each would cost.

An exact scan of the s rows that survive the filter costs s gathers and products. A graph search must find k survivors
among candidates of which only a share matches: it explores about `ef` candidates, and to see k that match it must
explore k / share of them. The first grows with s, the second with 1 / s; they cross once.

The constants are nanoseconds of one core, measured on 100,000 x 384 float32 vectors (AMD EPYC with AVX-512); only their
ratio decides. MEASURED
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Literal

GATHER = 0.10
"""Nanoseconds to bring one dimension of one survivor together; a batch pays it once."""
PRODUCT = 0.12
"""Nanoseconds per dimension, survivor and query of a product, with choosing the best."""
VISIT = 2.6
"""Nanoseconds per dimension and candidate explored in a graph: cache misses included."""
MARGIN = 1.3
"""How many more candidates than k / share are asked for: matches are not spread evenly around a query."""
NEIGHBORS = 16.0
"""Vectors scored per candidate explored, at most: a graph node's links that were not seen before."""


@dataclass(frozen=True)
class Plan:
    """What an approximate index will do with one query.

    kind: "exact" over `survivors`, or "graph" asking it for `candidates`. cost: estimated microseconds.
    """

    kind: Literal["exact", "graph"]
    survivors: int
    candidates: int
    cost: float
    other: float

    def __str__(self) -> str:
        what = f"exact over {self.survivors:,} survivors" if self.kind == "exact" else f"graph ef={self.candidates:,}"
        return f"{what} (about {self.cost:,.0f} us; the other way {self.other:,.0f} us)"


def plan(
    *,
    survivors: int,
    total: int,
    k: int,
    ef: int,
    dimension: int,
    batch: int = 1,
    prefer: Literal["auto", "exact", "graph"] = "auto",
) -> Plan:
    """The cheaper (or the preferred) way to the k best of `survivors` among `total` indexed vectors (dead ones included).

    ef: candidates an unfiltered search explores. batch: queries that share the survivors.
    """
    exact = survivors * dimension * (GATHER / max(batch, 1) + PRODUCT) / 1000
    share = survivors / total if total else 0.0
    wanted = total if share == 0 else min(total, math.ceil(k / share * (MARGIN if share < 1 else 1.0)))
    candidates = max(ef, wanted)
    graph = candidates * dimension * VISIT * _scored(candidates, total) / 1000
    if prefer == "exact" or (prefer == "auto" and (survivors <= k or exact <= graph)):
        return Plan("exact", survivors, candidates, exact, graph)
    return Plan("graph", survivors, candidates, graph, exact)


def _scored(candidates: int, total: int) -> float:
    """Vectors scored per candidate: many at first, towards one when most of the graph is explored."""
    return min(NEIGHBORS, total / max(candidates, 1)) if total else 1.0
