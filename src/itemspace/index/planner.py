"""Exact or graph? The choice every approximate index makes for a filtered search, from what each would cost.

The unit is one vector brought from memory and compared, which both ways spend their time on. An exact scan reads the s
rows that survive the filter. A graph must find k survivors among candidates of which only a share matches: it explores
k / share of them, and around every candidate it reads the vectors of its links that it has not seen yet. The first
grows with s, the second with 1 / s; they cross once. Among a million vectors, for k = 10, ef = 64 and 16 links, they cross
near 14,400 survivors (1.4%) for a single query.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Literal

MARGIN = 1.3
"""How many more candidates than k / share are asked for: matches are not spread evenly around a query."""
SHARED = 0.1
"""What one more query costs on survivors already brought together, as a share of a read: a product in cache."""


@dataclass(frozen=True)
class Plan:
    """What an approximate index will do with one query.

    kind: "exact" over `survivors`, or "graph" asking it for `candidates`. cost: estimated vectors read; other: what the
    way not taken would have read.
    """

    kind: Literal["exact", "graph"]
    survivors: int
    candidates: int
    cost: float
    other: float

    def __str__(self) -> str:
        what = f"exact over {self.survivors:,} survivors" if self.kind == "exact" else f"graph ef={self.candidates:,}"
        return f"{what} (reads about {self.cost:,.0f} vectors; the other way {self.other:,.0f})"


def plan(
    *,
    survivors: int,
    total: int,
    k: int,
    ef: int,
    links: int = 16,
    batch: int = 1,
    prefer: Literal["auto", "exact", "graph"] = "auto",
) -> Plan:
    """The cheaper (or the preferred) way to the k best of `survivors` among `total` indexed vectors (dead ones included).

    ef: candidates an unfiltered search explores. links: per vector. batch: queries that share the survivors.
    """
    exact = survivors * (1.0 / max(batch, 1) + SHARED * (1.0 - 1.0 / max(batch, 1)))
    share = survivors / total if total else 0.0
    wanted = total if share == 0 else min(total, math.ceil(k / share * (MARGIN if share < 1 else 1.0)))
    candidates = max(ef, wanted)
    graph = vectors_read(candidates, total, links)
    if prefer == "exact" or (prefer == "auto" and (survivors <= k or exact <= graph)):
        return Plan("exact", survivors, candidates, exact, graph)
    return Plan("graph", survivors, candidates, graph, exact)


def vectors_read(candidates: int, total: int, links: int) -> float:
    """How many distinct vectors a graph search compares: `links` new ones per candidate until most have been seen.

    Counted by usearch with 16 links on clustered vectors: 377, 1,076, 2,618 and 3,940 of 4,000 for 16, 64, 256 and 1,024
    candidates (this says 248, 904, 2,563 and 3,933), and 11,235 of 40,000 for 1,024 (13,443).
    """
    return total * -math.expm1(-links * candidates / total) if total else 0.0
