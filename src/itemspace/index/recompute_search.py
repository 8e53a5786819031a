"""How a `RecomputeIndex` answers: by a walk, by codes, or by computing all that may answer; whichever computes least."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Self

import numpy as np

from itemspace.core.vectors import VectorSpace
from itemspace.index.computing import Computing
from itemspace.index.links import Links, PackedLinks, reached
from itemspace.index.recompute_codes import ShortCodes
from itemspace.index.rows import Allowed, RowMap
from itemspace.index.two_queues import Walk, walk_in_two

if TYPE_CHECKING:
    from itemspace.index.recompute import RecomputeConfig

_WIDE = 0.5
"""The share of vectors that must be allowed for a walk to be of use: it computes what it may not answer with, too."""
_DEPTH = 4
"""Computed vectors per answer, at least, where codes choose them."""
_GUESSES = 1 << 22
"""Guesses made at a time."""
_BEGIN = 4
"""Nodes a walk begins at: of the entries, those that the codes say are nearest."""
_MOST = 4096
"""Entries there are at most."""
_EXCLUDED = 256
"""Exclusions of a query that its walk goes deeper for."""


@dataclass(eq=False)
class Frozen:
    """What does not change between builds. entries: int64, where walks may begin. kept: slots [c] with vectors `cached` [c, d].

    given: slots to vectors, where those of the build are still there.
    """

    rows: RowMap
    links: PackedLinks
    entries: np.ndarray
    codes: ShortCodes
    coded: np.ndarray
    kept: np.ndarray
    cached: np.ndarray
    given: Callable[[np.ndarray], np.ndarray] | None = None

    @classmethod
    def open(cls, folder: Path, space: VectorSpace) -> Self:
        """What an index saved, links and codes mapped.

        Raises:
            OSError, ValueError: a file is missing or damaged, or they do not fit each other.
        """
        ties = np.load(folder / "ties.npy")
        numbers = folder / "rows.npy"
        rows = RowMap(np.load(numbers) if numbers.exists() else np.arange(len(ties), dtype=np.int32), ties)
        entries = np.load(folder / "entries.npy").astype(np.int64)
        links, codes = PackedLinks.open(folder), ShortCodes.open(folder, space)
        coded = np.asarray(np.load(folder / "codes.npy", mmap_mode="r" if len(ties) else None))
        if not len(links) == len(coded) == len(ties) == len(rows.rows) or coded.shape[1:] != codes.centers.shape[:1]:
            raise ValueError("its files are of different indexes")
        if len(entries) and not 0 <= entries.min() <= entries.max() < len(ties):
            raise ValueError("an entry of the graph is not one of its nodes")
        kept, cached = np.zeros(0, np.int64), np.zeros((0, space.dimension), np.float32)
        if (folder / "kept.npy").exists():
            kept, cached = np.load(folder / "kept.npy").astype(np.int64), np.load(folder / "cached.npy")
        return cls(rows, links, entries, codes, coded, kept, cached)


@dataclass
class Searched:
    """What a batch cost. computed: vectors computed or remembered for each query [q]. encoded: distinct ones that the source
    gave for all together. calls: how many to ask for at each step of the walks. ways: what was done, for each query."""

    computed: np.ndarray
    encoded: int
    calls: list[int]
    ways: np.ndarray

    def told(self, added: int) -> list[str]:
        """One line per query."""
        more = f"; {added:,} added since compared exactly" if added else ""
        return [
            f"{way}, {n:,} vectors computed{more}" for way, n in zip(self.ways, self.computed.tolist(), strict=True)
        ]


def search_frozen(
    frozen: Frozen, config: RecomputeConfig, queries: np.ndarray, k: int, allowed: Allowed, computing: Computing
) -> tuple[np.ndarray, np.ndarray, np.ndarray, Searched]:
    """Pairs (query, slot) with exact scores, the k best of every query among them, and what they cost."""
    computing.queries = queries
    ways = np.full(len(queries), "nothing may answer", object)
    cost = Searched(np.zeros(len(queries), np.int64), 0, [], ways)
    slots, counts = frozen.rows.slots, allowed.counts
    few = counts <= max(config.beam, _DEPTH * k)
    walks = ~few & (counts >= _WIDE * slots)
    tables = frozen.codes.tables(queries) if (~few).any() else None

    def guess(group: np.ndarray, at: np.ndarray) -> np.ndarray:
        assert tables is not None
        return frozen.codes.nearness(tables, group, frozen.coded[at])

    parts: list[tuple[np.ndarray, np.ndarray, np.ndarray]] = []
    if walks.any():
        at = np.flatnonzero(walks)
        parts.append(_walked(frozen, config, _widths(config, k, allowed, slots), at, guess, computing, cost))
        group, found, _ = parts[0]
        keep = allowed.permits(group, found, slots)
        parts[0] = tuple(column[keep] for column in parts[0])
        short = np.bincount(parts[0][0], minlength=len(queries)) < np.minimum(k, counts)
        ways[walks] = "walk"
        ways[walks & short] = "walk, starved; by codes instead"
        parts[0] = tuple(column[~short[parts[0][0]]] for column in parts[0])
        walks &= ~short
    by_codes = ~few & ~walks
    if by_codes.any():
        ways[by_codes & (ways != "walk, starved; by codes instead")] = "by codes"
        parts.append(_scored(computing, cost, *_by_codes(frozen, config, k, allowed, by_codes, tables)))
    if few.any():
        ways[few & (counts > 0)] = "all that may answer"
        parts.append(_scored(computing, cost, *every_pair(allowed, np.flatnonzero(few), slots)))
    cost.encoded = computing.computed
    if not parts:
        return *(np.zeros(0, np.int64),) * 2, np.zeros(0, np.float32), cost
    group, found, scores = (np.concatenate(column) for column in zip(*parts, strict=True))
    return group, found, scores, cost


def _walked(
    frozen: Frozen,
    config: RecomputeConfig,
    widths: np.ndarray,
    at: np.ndarray,
    guess: Callable[[np.ndarray, np.ndarray], np.ndarray],
    computing: Computing,
    cost: Searched,
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Pairs and exact scores of all that the walks of queries `at`, so wide each, keep."""
    parts = []
    for width in np.unique(widths[at]).tolist():
        own = at[widths[at] == width]
        slots, near, trace = walk_in_two(
            frozen.links,
            _begin(frozen.entries, own, guess),
            len(own),
            Walk(width, config.promote, config.turns),
            lambda group, nodes, own=own: guess(own[group], nodes),  # type: ignore[misc]
            lambda group, nodes, own=own: computing.scores(own[group], nodes),  # type: ignore[misc]
        )
        cost.computed[own] += trace.computed
        cost.calls.extend(trace.asked)
        row, column = np.nonzero(slots >= 0)
        parts.append((own[row], slots[row, column], near[row, column]))
    group, found, scores = (np.concatenate(column) for column in zip(*parts, strict=True))
    return group, found, scores


def _begin(
    entries: np.ndarray, queries: np.ndarray, guess: Callable[[np.ndarray, np.ndarray], np.ndarray]
) -> np.ndarray:
    """The entries that seem nearest to each query, int64 [q, at most `_BEGIN`]."""
    begin = min(_BEGIN, len(entries))
    out = np.empty((len(queries), begin), np.int64)
    step = max(1, _GUESSES // max(len(entries), 1))
    for start in range(0, len(queries), step):
        part = queries[start : start + step]
        near = guess(np.repeat(part, len(entries)), np.tile(entries, len(part))).reshape(len(part), -1)
        out[start : start + step] = entries[np.argsort(-near, axis=1, kind="stable")[:, :begin]]
    return out


def _widths(config: RecomputeConfig, k: int, allowed: Allowed, slots: int) -> np.ndarray:
    """How many each query's walk keeps [q]: more where much of what it meets may not answer; powers of two, so few."""
    gone = np.zeros(len(allowed.counts), np.int64)
    if allowed.exclude is not None:
        gone = np.minimum(np.bincount(allowed.exclude[0], minlength=len(gone)), _EXCLUDED)
    share = np.minimum((allowed.counts + gone) / max(slots, 1), 1.0)
    more = np.maximum(2.0 * (k + gone) / config.beam, 1.0) / np.maximum(share, 1e-9)
    return config.beam * 2 ** np.ceil(np.log2(np.maximum(more, 1.0)) - 1e-9).astype(np.int64)


def _scored(
    computing: Computing, cost: Searched, group: np.ndarray, slots: np.ndarray
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    scores = computing.scores(group, slots)
    cost.computed += np.bincount(group, minlength=len(cost.computed))
    return group, slots, scores


def _by_codes(
    frozen: Frozen, config: RecomputeConfig, k: int, allowed: Allowed, which: np.ndarray, tables: np.ndarray | None
) -> tuple[np.ndarray, np.ndarray]:
    """Pairs (query, slot): of all that may answer each of `which` [q], what its codes say is nearest."""
    assert tables is not None
    depth = max(config.beam, _DEPTH * k)
    at = np.flatnonzero(which)
    step = max(1, _GUESSES // max(int(allowed.counts[at].max()), 1))
    parts = []
    for start in range(0, len(at), step):
        group, slots = every_pair(allowed, at[start : start + step], frozen.rows.slots)
        near = frozen.codes.nearness(tables, group, frozen.coded[slots])
        order = np.lexsort((slots, -near, group))
        group, slots = group[order], slots[order]
        counts = np.bincount(group, minlength=len(which))
        rank = np.arange(len(group)) - np.repeat(np.cumsum(counts) - counts, counts)
        parts.append((group[rank < depth], slots[rank < depth]))
    group, slots = (np.concatenate(column) for column in zip(*parts, strict=True))
    return group, slots


def every_pair(allowed: Allowed, queries: np.ndarray, slots: int) -> tuple[np.ndarray, np.ndarray]:
    """All pairs (query, slot) of some queries (sorted) and what may answer them; int64."""
    if allowed.include is not None:
        own = allowed.include.take(queries)
        return queries[own.groups], allowed.at(own.values).astype(np.int64)
    every = np.arange(slots) if allowed.slots is None else allowed.slots.astype(np.int64)
    group, found = np.repeat(queries, len(every)), np.tile(every, len(queries))
    if allowed.exclude is not None:
        keep = allowed.permits(group, found, slots)
        group, found = group[keep], found[keep]
    return group, found


def connected(links: Links, entries: np.ndarray, whole: Links) -> PackedLinks:
    """`links` packed, all reached from `entries` that was in the `whole` graph: what pruning cut off is linked again from

    one that linked to it there.
    """
    table = links.table()
    sources = np.repeat(np.arange(len(whole)), np.diff(whole.offsets))
    while len(sources):
        mask = reached(Links.of_table(table), entries)
        way = mask[sources] & ~mask[whole.targets]
        if not way.any():
            break
        lost, first = np.unique(whole.targets[way], return_index=True)
        home, once = np.unique(sources[way][first], return_index=True)
        place = (table[home] >= 0).sum(1)
        if (place >= table.shape[1]).any():
            table = np.concatenate([table, np.full((len(table), 1), -1, table.dtype)], axis=1)
        table[home, place] = lost[once]
    return PackedLinks.of_links(Links.of_table(table))


def entries_of(hubs: np.ndarray, first: np.ndarray, slots: int) -> np.ndarray:
    """Where walks may begin: `first`, hubs, and slots evenly between, so that no part of the graph is far from all; sorted.

    About sixteen times the square root of all: guesses of so many cost less than the walk that they shorten.
    """
    wanted = int(min(_MOST, 16.0 * np.sqrt(slots)))
    hubs = hubs[:: max(-(-2 * len(hubs) // max(wanted, 1)), 1)]
    between = np.arange(0, slots, max(slots // max(wanted - len(hubs), 1), 1))
    return np.union1d(np.union1d(first, hubs), between)
