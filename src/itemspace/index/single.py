"""One query at a time: the same steps as for a batch, without what only a batch needs.

A call for one query is bound by the number of NumPy calls, not by arithmetic. Plans are remembered by what they depend
on; candidates are ranked as one short array.
"""

from __future__ import annotations

from functools import lru_cache

import numpy as np

from itemspace.index.candidates import CROWD, Candidates, crowded_queries
from itemspace.index.planner import Ways, plan_alone
from itemspace.index.probing import Probing, Sight
from itemspace.index.rows import SlotSet

_LOOKED_UP = 16_384
"""Slots up to which those in the lists that are read are looked up for one query."""
_GAIN = 2.5
"""How much more an exact scan must cost than the best way for a look at the query's surroundings to be worth it."""


def answer(
    query: np.ndarray, k: int, chosen: SlotSet, ways: Ways, found: Candidates, probing: Probing | None
) -> tuple[np.ndarray, np.ndarray, str] | None:
    """The k best of the chosen slots for float32 `query` [1, d]: rows int32 [k'], scores float32 [k'], what was done.

    k' is less than k only where fewer are chosen. None where it takes what only a batch does: candidates crowded with
    equal vectors, a graph that the filter starves.
    """
    table, held = found.table, len(chosen)
    if held == 0:
        return np.zeros(0, np.int32), np.zeros(0, np.float32), "nothing may answer"
    kind, effort, told = plan_alone(ways, held, k)
    sight = None
    looks = kind == 2 or (chosen.slots is not None and _may_gain(ways, held, k))
    if looks and probing is not None and ways.prefer != "exact" and (kind == 2 or not probing.even(chosen)):
        sight = probing.alone(query, chosen, ways, k)
        kind, effort, told = plan_alone(ways, held, k, float(sight.share[0]), int(sight.probes[0]))
    if kind == 0:
        return *table.one(query[0], k, chosen.slots), told
    slots = _by_graph(query, k, chosen, found, effort) if kind == 1 else None
    if kind == 1 and slots is not None and len(slots) < min(k, held):
        if probing is None or ways.prefer != "auto":
            return None
        # The filter starves the graph: lists know where the survivors are.
        kind, sight, told = 2, sight or probing.alone(query, chosen, ways, k), told + "; starved, lists instead"
    if kind == 2:
        assert sight is not None
        slots = _by_lists(query, k, chosen, found, sight)
    if slots is None:
        return None
    if len(slots) < min(k, held):
        return *table.one(query[0], k, chosen.slots), told + "; completed exactly"
    return *table.one_ranked(query[0], slots, k), told


@lru_cache(maxsize=256)
def _may_gain(ways: Ways, held: int, k: int) -> bool:
    """Whether some way but the exact one would gain more than looking costs, if all around the query might answer."""
    costs, best = ways.calibration.costs, plan_alone(ways, held, k, 1.0)
    if best[0] == 0:
        return False
    tested = best[1] * ways.slots / max(ways.lists, 1)
    other = costs.graph(best[1], 1) if best[0] == 1 else costs.lists(tested, tested, 1)
    return bool(costs.exact(held, 1) > _GAIN * other)


def _by_graph(query: np.ndarray, k: int, chosen: SlotSet, found: Candidates, ef: int) -> np.ndarray | None:
    """The candidates that may be among the k best, None where equal ones crowd them."""
    graph = found.graph
    assert graph is not None
    wanted, distances = graph.search(query, max(ef, k + 2))
    if graph.precise and len(crowded_queries(wanted, distances, k)):
        return None
    slots, near = wanted[0], distances[0]
    if chosen.slots is not None:
        keep = chosen.holds(slots)
        slots, near = slots[keep], near[keep]
    elif slots[-1] < 0:
        slots, near = slots[slots >= 0], near[slots >= 0]
    if not graph.precise or len(slots) <= k:
        return slots
    # They come nearest first.
    return slots[: int(np.searchsorted(near, near[k - 1] + found.rounding(query, near[None])[0], side="right"))]


def _by_lists(query: np.ndarray, k: int, chosen: SlotSet, found: Candidates, sight: Sight) -> np.ndarray | None:
    """The same from the lists in sight."""
    lists = found.lists
    assert lists is not None
    wanted = found.length(k, bool(sight.against[0]))
    if found.picks(chosen, sight.order, np.ones(sight.order.shape, bool), wanted)[0]:
        return found.promising(query, k, _members(chosen, found, sight.order[0]))
    slots, codes = lists.search(query, wanted, sight.order, sight.near, chosen)
    if len(crowded_queries(slots, codes, k)) and wanted < min(CROWD, len(lists)):
        return None
    return found.promising(query, k, slots[0] if slots[0, -1] >= 0 else slots[0, slots[0] >= 0])


def _members(chosen: SlotSet, found: Candidates, order: np.ndarray) -> np.ndarray:
    """The chosen slots in the lists `order` [p]; a few of one request are looked up, many are kept list by list."""
    lists, slots = found.lists, chosen.slots
    assert lists is not None
    assert slots is not None
    if len(slots) <= _LOOKED_UP:
        read = np.zeros(lists.count, bool)
        read[order] = True
        return slots[read[lists.list_of[slots]]]
    members, ends = lists.members(chosen)
    bounds = zip(ends[order].tolist(), ends[order + 1].tolist(), strict=True)
    return np.concatenate([members[start:stop] for start, stop in bounds])
