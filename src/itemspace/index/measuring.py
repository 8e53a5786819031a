"""The measurements behind a `Calibration`: held-out vectors as queries, exact answers, and short timings."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from functools import partial
from typing import TYPE_CHECKING, Any

import numpy as np

from itemspace.core.ragged import Ragged
from itemspace.core.seeding import derive
from itemspace.index.afar import afar
from itemspace.index.calibration import DEEPEST, SAMPLE, Calibration, Costs, Curve
from itemspace.index.candidates import Candidates
from itemspace.index.graph import Graph
from itemspace.index.planner import Ways
from itemspace.index.probing import Probing
from itemspace.index.rows import Allowed, SlotSet
from itemspace.index.single import answer

if TYPE_CHECKING:
    from itemspace.index.engines.lists import Lists
    from itemspace.index.table import VectorTable

_BLOCK = 32_768
_EFFORTS = np.array(
    [10, 12, 14, 16, 18, 20, 24, 28, 32, 36, 40, 48, 56, 64, 80, 96, 128, 160, 192, 256, 384, 512, 768, 1024]
)
_ANSWERS = 10
_LENGTHS = (1.5, 2.0, 3.0, 4.0, 5.0, 6.0, 8.0, 10.0, 15.0, 20.0)
_READ = 0.97
"""The recall of the lists at which the codes are measured."""
_AGAINST, _LONGER = (4.0, 2.0), (2.0, 1.0)
"""How many times more lists, and a longer short list, a query reads at least that a filter goes against: of a small index,
where that costs nothing, and of one whose costs are measured."""
_TOPICS = 32
"""Things that queries may be about, to see how much harder some are."""
_ONES = 24
"""Queries asked one at a time."""
_PATIENCE = 1.0
"""CPU seconds after which the same calls are not timed once more."""
_LEAST = 512
"""Fewer vectors than this are not worth holding any out."""


def held_out(slots: int, rng: np.random.Generator) -> np.ndarray:
    """Slots to measure with, sorted: 256, an eighth of a small index, none of a tiny one."""
    if slots < _LEAST:
        return np.zeros(0, np.int64)
    return np.sort(rng.choice(slots, min(SAMPLE, slots // 8), replace=False))


def nearest(table: VectorTable, queries: np.ndarray, without: np.ndarray) -> np.ndarray:
    """The slots nearest to each query by rank, int64 [q, r], r at most `DEEPEST`; those of `without` left out."""
    slots = table.rows.slots
    deepest = min(DEEPEST, slots - len(without))
    best = np.full((len(queries), 0), -np.inf, np.float32)
    at = np.zeros((len(queries), 0), np.int64)
    for start in range(0, slots, _BLOCK):
        stop = min(start + _BLOCK, slots)
        scores = table.nearness(queries, start, stop)
        scores[:, without[(without >= start) & (without < stop)] - start] = -np.inf
        best = np.concatenate([best, scores], axis=1)
        at = np.concatenate([at, np.broadcast_to(np.arange(start, stop), scores.shape)], axis=1)
        if best.shape[1] > deepest:
            keep = np.argpartition(-best, deepest - 1, axis=1)[:, :deepest]
            best, at = np.take_along_axis(best, keep, 1), np.take_along_axis(at, keep, 1)
    return np.take_along_axis(at, np.argsort(-best, axis=1, kind="stable"), 1)


def alike(queries: np.ndarray) -> np.ndarray:
    """Parts of the queries [t, m]: for some of them the quarter of all that is nearest to it."""
    topics = queries[:: max(len(queries) // _TOPICS, 1)]
    distances = np.einsum("qd,qd->q", queries, queries) - 2.0 * topics @ queries.T
    return np.argsort(distances, axis=1, kind="stable")[:, : max(len(queries) // 4, 1)]


def graph_curve(graph: Graph, queries: np.ndarray, truth: np.ndarray) -> Curve:
    """What every number of candidates finds."""
    efforts = _EFFORTS[: max(int(np.searchsorted(_EFFORTS, len(graph))), 1)]
    truth = truth[:, : int(efforts[-1])]
    needed = np.full(truth.shape, np.iinfo(np.int64).max)
    offset = np.arange(len(queries))[:, None] * (int(truth.max(initial=0)) + len(graph) + 2)
    for effort in efforts[::-1].tolist():
        found, _ = graph.search(queries, effort)
        hit = np.isin(truth + offset, np.where(found >= 0, found + offset, -1))
        needed[hit] = effort
    return Curve.of_ranks(efforts, needed, alike(queries))


def lists_curve(probing: Probing, queries: np.ndarray, truth: np.ndarray) -> Curve:
    """What the lists hold that queries read where so many are planned: more for some of them, fewer for others."""
    lists = probing.lists
    order, near = _nearest_first(lists, queries)
    position = np.empty(order.shape, np.int64)
    np.put_along_axis(position, order, np.arange(lists.count)[None, :], 1)
    at = np.take_along_axis(position, lists.homes(truth), 1)
    needed = np.full(at.shape, np.iinfo(np.int64).max)
    grid = np.unique(np.round(np.geomspace(1, lists.count, 8 * int(np.log2(lists.count)) + 1)).astype(np.int64))
    for planned in grid[::-1].tolist():
        needed[at < _reads(probing, queries, near, planned)[:, None]] = planned
    return Curve.of_ranks(grid, needed, alike(queries))


def _nearest_first(lists: Lists, queries: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    near = lists.nearness(queries)
    order = np.argsort(-near, axis=1, kind="stable")
    return order, np.take_along_axis(near, order, 1)


def _reads(probing: Probing, queries: np.ndarray, near: np.ndarray, planned: int) -> np.ndarray:
    each = np.full(len(queries), planned)
    return probing.reads(queries, near, probing.lists.count, each, np.ones(len(queries)))


def short_lists(
    probing: Probing, queries: np.ndarray, truth: np.ndarray, curve: Curve, timed: bool, rng: np.random.Generator
) -> tuple[tuple[float, float, float], ...]:
    """Candidates per answer that the codes are asked for, and the share of the answers in what is read that they keep,
    without a filter and under one that a tenth of the slots passes.

    From the shortest to the first that keeps 99.5%, or the longest. A small index may double before it is measured again,
    and loses no time with codes that are asked for more: it reads a quarter of its lists here.
    """
    slots, wide = probing.table.rows.slots, max(probing.lists.count // 4, 1)
    tenth = np.sort(rng.choice(slots, max(slots // 10, 1), replace=False)).astype(np.int32)
    planned = curve.effort(_ANSWERS, np.array([1.0, 0.1]), _READ)[0]
    both = [
        _kept(probing, queries, truth, SlotSet(chosen, slots), int(probes) if timed and probes > 0 else wide)
        for chosen, probes in zip((None, tenth), planned, strict=True)
    ]
    enough = next((i for i, kept in enumerate(both[0]) if kept >= 0.995), len(_LENGTHS) - 1)
    return tuple(zip(_LENGTHS, *both, strict=True))[: enough + 1]


def _kept(probing: Probing, queries: np.ndarray, truth: np.ndarray, chosen: SlotSet, planned: int) -> list[float]:
    """What every length keeps of the ten best chosen."""
    lists = probing.lists
    order, near = _nearest_first(lists, queries)
    reads = _reads(probing, queries, near, planned)
    order, near = order[:, : int(reads.max())], near[:, : int(reads.max())]
    order = np.where(np.arange(order.shape[1]) < reads[:, None], order, -1)
    allowed = chosen.mask[truth] if chosen.slots is not None else np.ones(truth.shape, bool)
    allowed &= np.cumsum(allowed, axis=1) <= _ANSWERS
    query, rank = np.nonzero(allowed)
    slot = truth[query, rank]
    read = (order[query] == lists.homes(slot)[:, None]).any(1)
    offset = len(lists) + len(queries) + int(truth.max(initial=0))
    wanted = (slot + query * offset)[read]
    out = []
    for length in _LENGTHS:
        found, _ = lists.search(
            queries, min(int(length * _ANSWERS), len(lists)), order, lists.distances(queries, near), chosen
        )
        pairs = np.where(found >= 0, found + np.arange(len(queries))[:, None] * offset, -1)
        out.append(round(float(np.isin(wanted, pairs).mean()), 4) if len(wanted) else 1.0)
        if out[-1] >= 0.999:
            break
    return out + out[-1:] * (len(_LENGTHS) - len(out))


def measured(
    table: VectorTable,
    graph: Graph | None,
    lists: Lists | None,
    held: np.ndarray,
    recall: float,
    seed: int,
    timed: bool,
) -> Calibration:
    """What the engines find of the slots `held` out of them, and, where `timed`, what every way costs here.

    recall: what searches will aim at.
    """
    queries = np.ascontiguousarray(table.take(held), np.float32)
    truth = nearest(table, queries, held)
    out = Calibration(None if graph is None else graph_curve(graph, queries, truth))
    probing = None if lists is None else Probing(lists, table)
    if probing is not None:
        curve = lists_curve(probing, queries, truth)
        lengths = short_lists(probing, queries, truth, curve, timed, derive(seed, "tenth"))
        longest = dict(zip(("length", "kept", "kept_tenth"), lengths[-1], strict=True))
        out = out.replaced(lists=curve, lengths=lengths, **longest)
        ways = Ways(table.rows.slots, False, probing.lists.count, recall, out)
        more, longer = afar(probing, ways, queries, held, derive(seed, "afar"))
        out = out.replaced(against=max(more, _AGAINST[timed]), longer=max(longer, _LONGER[timed]))
    if not timed:
        return out
    with _one_thread(graph, lists):
        costs = _costs(Candidates(table, graph, lists, out), probing, queries, derive(seed, "timing"))
    return out.replaced(costs=rounded(costs), timed=True)


def _costs(
    found: Candidates, probing: Probing | None, queries: np.ndarray, rng: np.random.Generator
) -> dict[str, float]:
    """What every way that is there costs."""
    graph, lists = found.graph, found.lists
    costs = exact_costs(found.table, queries, rng)
    every = Allowed(None, None, None, np.full(64, found.table.rows.slots), SlotSet(None, found.table.rows.slots))
    if graph is not None:
        costs |= graph_costs(lambda asked, ef: found.by_graph(asked, 10, every, ef), queries)
    if lists is not None:
        costs |= lists_costs(partial(_read, found, lists), lists, queries)
        costs |= own_cost(found, lists, queries, rng)
    return costs | one_costs(found, probing, queries, rng)


@contextmanager
def _one_thread(*engines: Graph | Lists | None) -> Iterator[None]:
    """The engines on one thread each: costs are of one, and threads that wait for each other count as work."""
    used = [engine for engine in engines if engine is not None]
    before = [engine.threads for engine in used]
    try:
        for engine in used:
            engine.threads = 1
        yield
    finally:
        for engine, threads in zip(used, before, strict=True):
            engine.threads = threads


def _read(found: Candidates, lists: Lists, asked: np.ndarray, probes: int, chosen: SlotSet) -> object:
    allowed = Allowed(chosen.slots, None, None, np.full(len(asked), len(chosen)), chosen)
    order, near = lists.order(asked, probes)
    return found.by_lists(asked, 10, allowed, np.full(len(asked), probes), order, near, 0, False)


def _microseconds(*calls: Callable[[], object]) -> list[float]:
    """The least CPU time of each call over several rounds in which they take turns, so that a busy machine does not count:

    at least three rounds, more while any got faster in the last three and the time for it is not spent. What one call
    costs more than another is a difference of two of these, which one disturbed run would turn around.
    """
    least, since, spent = np.full(len(calls), np.inf), 0, 0.0
    while since < 3 and (spent < _PATIENCE or not np.isfinite(least).all()):
        taken = np.empty(len(calls))
        for i, call in enumerate(calls):
            before = time.process_time()
            call()
            taken[i] = time.process_time() - before
        since = 0 if (taken < 0.97 * least).any() else since + 1
        least, spent = np.minimum(least, taken), spent + float(taken.sum())
    return (1e6 * least).tolist()


def _slope(small: float, large: float, step: float) -> float:
    return max((large - small) / step, 1e-4)


def exact_costs(table: VectorTable, queries: np.ndarray, rng: np.random.Generator) -> dict[str, float]:
    """`alone` and `together`: survivors scanned for one query, and for many."""
    sizes, batches = (2048, 8192), (1, min(len(queries), 128))
    some = [np.sort(rng.choice(table.rows.slots, size, replace=False)).astype(np.int32) for size in sizes]

    def asked(slots: np.ndarray, batch: int) -> Callable[[], object]:
        return partial(table.search, queries[:batch], 10, Allowed(slots, None, None, np.full(batch, len(slots))))

    step = sizes[1] - sizes[0]
    alone, together = (
        _slope(few / batch, many / batch, step)
        for batch in batches
        for few, many in [_microseconds(*(asked(slots, batch) for slots in some))]
    )
    return {"alone": max(alone, together), "together": together}


def one_costs(
    found: Candidates, probing: Probing | None, queries: np.ndarray, rng: np.random.Generator
) -> dict[str, float]:
    """The `one_` costs: queries answered one at a time, every way, with little and with much effort."""
    slots, lists = found.table.rows.slots, 0 if found.lists is None else found.lists.count
    ways = Ways(slots, found.graph is not None, lists, 0.95, found.calibration)
    everything = SlotSet(None, slots)

    def asked(chosen: SlotSet, **fixed: Any) -> Callable[[], object]:
        some = replace(ways, **fixed)
        return lambda: [answer(q[None], _ANSWERS, chosen, some, found, probing) for q in queries[:_ONES]]

    def line(little: Callable[[], object], much: Callable[[], object], low: float, high: float) -> tuple[float, float]:
        few, many = (taken / _ONES for taken in _microseconds(little, much))
        step = _slope(few, many, high - low)
        return max(few - step * low, 1.0), step

    few, many = (
        SlotSet(np.sort(rng.choice(slots, size, replace=False)).astype(np.int32), slots) for size in (256, 8192)
    )
    fixed, step = line(asked(few, prefer="exact"), asked(many, prefer="exact"), 256, 8192)
    out = {"one_exact": fixed, "one_scanned": step}
    if found.graph is not None:
        fixed, step = line(asked(everything, prefer="graph", ef=16), asked(everything, prefer="graph", ef=128), 16, 128)
        out |= {"one_graph": fixed, "one_candidate": step}
    if lists:
        probes, size = (4, min(32, lists)), slots / lists
        little, much = (asked(everything, prefer="lists", probes=p) for p in probes)
        fixed, step = line(little, much, probes[0] * size, probes[1] * size)
        out |= {"one_lists": fixed, "one_tested": step}
    return out


def own_cost(found: Candidates, lists: Lists, queries: np.ndarray, rng: np.random.Generator) -> dict[str, float]:
    """`picked`: queries with slots of their own, few and many, of which one list is read."""
    asked, slots, sizes = queries[:32], found.table.rows.slots, (1024, 16_384)
    order, _ = lists.order(asked, 1)
    calls = []
    for size in sizes:
        mine = np.sort(rng.choice(slots, size, replace=False)).astype(np.int32)
        own = Ragged(np.tile(mine, len(asked)), np.arange(len(asked) + 1) * size)
        allowed = Allowed(None, own, None, own.lengths)
        one = np.ones(len(asked), np.int64)
        calls.append(partial(found.by_own_lists, asked, _ANSWERS, allowed, one, order))
    few, many = (taken / len(asked) for taken in _microseconds(*calls))
    return {"picked": _slope(few, many, sizes[1] - sizes[0])}


def graph_costs(search: Callable[[np.ndarray, int], object], queries: np.ndarray) -> dict[str, float]:
    """`fixed` and `candidate`; `search` takes queries and candidates, and ranks what it finds."""
    asked = queries[:64]
    few, many = (taken / len(asked) for taken in _microseconds(*(partial(search, asked, ef) for ef in (16, 128))))
    candidate = _slope(few, many, 112)
    return {"candidate": candidate, "fixed": max(few - 16 * candidate, 1.0)}


def lists_costs(
    search: Callable[[np.ndarray, int, SlotSet], object], lists: Lists, queries: np.ndarray
) -> dict[str, float]:
    """`coarse` and `tested`; `search` takes queries, lists to probe and the slots allowed.

    A slot that passes a filter costs no more than one that does not: codes are compared many at a time.
    """
    asked, everything = queries[:64], SlotSet(None, len(lists))
    size, probes = len(lists) / lists.count, (4, min(32, lists.count))
    few, many = (
        taken / len(asked) for taken in _microseconds(*(partial(search, asked, p, everything) for p in probes))
    )
    tested = _slope(few, many, size * max(probes[1] - probes[0], 1))
    return {"tested": tested, "scored": 0.0, "coarse": max(few - tested * size * probes[0], 1.0)}


def rounded(costs: dict[str, float]) -> Costs:
    """Costs to three digits."""
    return Costs(**{name: float(f"{value:.3g}") for name, value in costs.items()})
