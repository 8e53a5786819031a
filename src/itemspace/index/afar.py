"""How far queries look that a filter goes against: measured when an index is built, on filters that do.

A topic is a held-out vector, the filter leaves the half of all vectors that is farthest from it, and the queries are the
held-out vectors nearest to it. Their answers are strangers, about equally far in every direction: they lie in many lists,
and codes tell them apart badly. So more lists are read, and more candidates taken from them, than the share around such
a query says.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import numpy as np

from itemspace.index.rows import Allowed, SlotSet

if TYPE_CHECKING:
    from itemspace.index.planner import Ways
    from itemspace.index.probing import Probing, Sight

_TOPICS, _PART, _ANSWERS = 4, 0.25, 10
"""Filters, the part of the queries asked under each, and answers looked for."""
_MORE = (1.0, 1.5, 2.0, 3.0, 4.0, 6.0, 8.0, 12.0, 16.0, 24.0, 32.0)
_LONGER = (1.0, 2.0, 4.0, 8.0)
_SHARE = 0.4
"""The part of what recall may lack that the lists may lack, and as much again for the codes: topics differ."""
_BLOCK = 65_536


@dataclass(frozen=True)
class _Case:
    """One filter: the queries [q, d] that it goes against, what it leaves, and the slots of their answers [q, 10]."""

    asked: np.ndarray
    chosen: SlotSet
    answers: np.ndarray


def afar(
    probing: Probing, ways: Ways, queries: np.ndarray, held: np.ndarray, rng: np.random.Generator
) -> tuple[float, float]:
    """How many times more lists than planned hold the answers, and how many times longer a short list keeps them.

    queries: float32 [q, d], the vectors of the slots `held`, which are in no list yet.
    """
    cases = _cases(probing, ways, queries, held, rng)
    enough = 1.0 - _SHARE * (1.0 - ways.recall)
    more, longer, sights = 1.0, 1.0, [_sight(probing, ways, case, 1.0) for case in cases]
    for more in _MORE:
        sights = [_sight(probing, ways, case, more) for case in cases]
        if np.mean([_read(probing, *pair).mean() for pair in zip(cases, sights, strict=True)] or [1.0]) >= enough:
            break
    for longer in _LONGER:
        kept = [_kept(probing, ways, *pair, longer) for pair in zip(cases, sights, strict=True)]
        if np.mean(kept or [1.0]) >= enough:
            break
    return more, longer


def _cases(
    probing: Probing, ways: Ways, queries: np.ndarray, held: np.ndarray, rng: np.random.Generator
) -> list[_Case]:
    table, slots = probing.table, ways.slots
    topics = rng.choice(len(queries), min(_TOPICS, len(queries)), replace=False)
    near = np.empty((len(topics), slots), np.float32)
    for start in range(0, slots, _BLOCK):
        stop = min(start + _BLOCK, slots)
        near[:, start:stop] = table.nearness(queries[topics], start, stop)
    out = []
    for scores in near:
        few = np.argsort(-scores[held], kind="stable")[: max(int(_PART * len(held)), 1)]
        mask = scores < np.median(scores)
        mask[held] = False
        chosen = SlotSet(np.flatnonzero(mask).astype(np.int32), slots)
        if len(chosen) < 2 * _ANSWERS:
            continue
        few = few[probing.sight(queries[few], chosen, ways, _ANSWERS, 0).against]
        allowed = Allowed(chosen.slots, None, None, np.full(len(few), len(chosen)), chosen)
        if len(few):
            rows, _ = table.search(queries[few], _ANSWERS, allowed)
            out.append(_Case(queries[few], chosen, table.rows.slots_of(rows).reshape(rows.shape)))
    return out


def _sight(probing: Probing, ways: Ways, case: _Case, more: float) -> Sight:
    some = replace(ways, calibration=ways.calibration.replaced(against=more))
    return probing.sight(case.asked, case.chosen, some, _ANSWERS, 0)


def _read(probing: Probing, case: _Case, sight: Sight) -> np.ndarray:
    """Which answers are in lists that are read, bool [q, 10]."""
    order = np.where(np.arange(sight.order.shape[1]) < sight.probes[:, None], sight.order, -1)
    return np.asarray((order[:, None, :] == probing.lists.homes(case.answers)[:, :, None]).any(2))


def _kept(probing: Probing, ways: Ways, case: _Case, sight: Sight, longer: float) -> float:
    """The share of the answers in what is read that a short list keeps."""
    wanted = min(int(longer * ways.calibration.longest * _ANSWERS), len(case.chosen))
    order = np.where(np.arange(sight.order.shape[1]) < sight.probes[:, None], sight.order, -1)
    found, _ = probing.lists.search(case.asked, wanted, order, sight.near, case.chosen)
    offset = np.arange(len(found))[:, None] * ways.slots
    wanted_pairs = (case.answers + offset)[_read(probing, case, sight)]
    return float(np.isin(wanted_pairs, np.where(found >= 0, found + offset, -1)).mean()) if len(wanted_pairs) else 1.0
