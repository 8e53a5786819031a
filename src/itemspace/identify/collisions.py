"""What happens when two items get the same code: one function, four choices.

`extra_token`: a further level counts the items of a code (TIGER). Never fails; the last level means nothing.
`next_nearest`: the nearest item keeps the code, the others take the next nearest symbol of the last level that is free
    under their prefix, and where none is free, a prefix beside it. Codes stay short; `CapacityError` when all are taken.
`sinkhorn`: as `next_nearest`, but all items of a crowded prefix are spread over its symbols at once (LC-Rec, LETTER).
`allow`: items may share a code; an index then answers with all of them.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Literal

import numpy as np

from itemspace.core.codes import Codes
from itemspace.core.errors import CapacityError, ContractError
from itemspace.identify.code_rows import equal_rows, from_padded, numbered, padded
from itemspace.identify.sinkhorn import sinkhorn

Collisions = Literal["extra_token", "next_nearest", "sinkhorn", "allow"]
Costs = Callable[[np.ndarray, np.ndarray, int], np.ndarray]
"""(positions [m], prefixes [m, level], level) -> float32 [m, size of the level]: how far each symbol is from each item."""
_CELLS, _ROWS = 1 << 22, 1 << 13
"""Costs looked at together (16 MB of float32), and items whose vectors are read together."""


def resolved(
    codes: Codes, how: Collisions, *, costs: Costs | None = None, taken: Codes | None = None, epsilon: float = 0.003
) -> Codes:
    """`codes` such that no two items share one, and none is among `taken`, as `how` says.

    costs: what `next_nearest` and `sinkhorn` choose by. taken: codes that other items have, as this function returned
    them. epsilon: of `sinkhorn`.

    Raises:
        ContractError: `how` needs distances, and these codes have none.
        CapacityError: there are more items than codes.
    """
    if how == "allow":
        return codes
    if how == "extra_token":
        return _with_token(codes, taken)
    fixed = len(codes) == 0 or bool((np.diff(codes.offsets) == len(codes.level_sizes)).all())
    if costs is None or not fixed:
        raise ContractError(f'collisions="{how}" needs codes of one length with distances; use "extra_token" here.')
    matrix = padded(codes)
    held = padded(taken) if taken is not None else matrix[:0]
    if held.shape[1] != matrix.shape[1]:
        raise ContractError(f"the taken codes have {held.shape[1]} levels, these have {matrix.shape[1]}.")
    matrix = _spread(matrix, codes.level_sizes, costs, held, epsilon if how == "sinkhorn" else None)
    return from_padded(matrix, codes.item, codes.level_sizes, codes.version)


def _with_token(codes: Codes, taken: Codes | None) -> Codes:
    """A last level that numbers the codes of equal levels, after the numbers already taken."""
    matrix = padded(codes)
    lengths = np.diff(codes.offsets)
    if taken is None or len(taken) == 0:
        number, held = numbered(equal_rows(matrix)), np.zeros(0, np.int64)
        depth = matrix.shape[1]
    else:
        before = padded(taken)
        last = np.diff(taken.offsets) - 1
        held = before[np.arange(len(before)), last]
        before[np.arange(len(before)), last] = -1
        depth = max(matrix.shape[1], before.shape[1] - 1)
        matrix, before = _wide(matrix, depth), _wide(before, depth)
        group = equal_rows(np.concatenate([before, matrix]))
        old, new = group[: len(before)], group[len(before) :]
        first = np.zeros(int(group.max(initial=-1)) + 1, np.int64)
        np.maximum.at(first, old, held + 1)
        number = first[new] + numbered(new)
    most = int(max(number.max(initial=0), held.max(initial=0))) + 1
    room = 1 << int(np.ceil(np.log2(2 * most)))  # as many again may come before the level grows
    out = np.concatenate([matrix, np.full((len(matrix), 1), -1)], axis=1)
    out[np.arange(len(out)), lengths] = number
    sizes = [*codes.level_sizes, *[0] * (depth - len(codes.level_sizes)), 0]
    for level in np.unique(lengths):
        sizes[int(level)] = max(sizes[int(level)], room)
    return from_padded(out, codes.item, sizes, codes.version)


def _wide(matrix: np.ndarray, depth: int) -> np.ndarray:
    matrix = matrix[:, :depth]
    return np.pad(matrix, ((0, 0), (0, depth - matrix.shape[1])), constant_values=-1)


def _spread(
    matrix: np.ndarray, sizes: tuple[int, ...], costs: Costs, held: np.ndarray, epsilon: float | None
) -> np.ndarray:
    """Rows [n, levels] all different from each other and from `held` [t, levels]."""
    both = np.concatenate([held, matrix])
    whole, prefix = equal_rows(both), equal_rows(both[:, :-1])
    crowded = np.bincount(whole)[whole] > 1
    if epsilon is not None:  # everyone under a prefix with a collision may have to move
        crowded = np.isin(prefix, prefix[crowded])
    moving = crowded.copy()
    moving[: len(held)] = False
    symbols = _placed(both, prefix, moving, len(held), sizes, costs, epsilon)
    both[moving, -1] = symbols
    left = np.flatnonzero(moving)[symbols < 0]
    if len(left):
        both = _elsewhere(both, left, len(held), sizes, costs)
    return both[len(held) :]


def _placed(
    both: np.ndarray,
    prefix: np.ndarray,
    moving: np.ndarray,
    offset: int,
    sizes: tuple[int, ...],
    costs: Costs,
    epsilon: float | None,
) -> np.ndarray:
    """The last symbol of every moving row, -1 where its prefix is full, in the rows' order."""
    width, level = sizes[-1], len(sizes) - 1
    rows = np.flatnonzero(moving)
    out = np.full(len(both), -1, np.int64)
    rows = rows[np.argsort(prefix[rows], kind="stable")]
    fixed = np.flatnonzero(~moving & np.isin(prefix, prefix[rows]))
    fixed = fixed[np.argsort(prefix[fixed], kind="stable")]
    for part in _blocks(prefix[rows], max(1, min(_ROWS, _CELLS // width))):
        mine = rows[part]
        groups, local = np.unique(prefix[mine], return_inverse=True)
        occupied = np.zeros((len(groups), width), bool)
        low, high = np.searchsorted(prefix[fixed], [groups[0], groups[-1] + 1])
        there = fixed[low:high]  # all of these groups: every group with a moving row between the two is in the block
        occupied[np.searchsorted(groups, prefix[there]), both[there, -1]] = True
        wants = _read(costs, mine - offset, both[mine, :-1], level, width)
        if epsilon is not None:
            wants = _balanced(wants, local.reshape(-1), ~occupied, epsilon)
        out[mine] = _in_turns(wants, local.reshape(-1), occupied)
    return out[moving]


def _read(costs: Costs, positions: np.ndarray, prefix: np.ndarray, level: int, width: int) -> np.ndarray:
    """`costs` of however many items, a few at a time: float32 [m, width]."""
    out = np.empty((len(positions), width), np.float32)
    for start in range(0, len(positions), _ROWS):
        part = slice(start, start + _ROWS)
        out[part] = costs(positions[part], prefix[part], level)
    return out


def _blocks(groups: np.ndarray, most: int) -> list[slice]:
    """Slices of about `most` of the sorted `groups`, none of which is cut."""
    starts = np.flatnonzero(np.concatenate(([True], groups[1:] != groups[:-1]))) if len(groups) else np.zeros(0, int)
    cuts = [0]
    for start in starts.tolist()[1:] if len(groups) > most else []:  # groups, not items
        if start - cuts[-1] >= most:
            cuts.append(start)
    return [slice(a, b) for a, b in zip(cuts, [*cuts[1:], len(groups)], strict=True) if b > a]


def _in_turns(wants: np.ndarray, group: np.ndarray, occupied: np.ndarray) -> np.ndarray:
    """Everyone asks for the cheapest symbol still free in the own group; the cheapest asker gets it; losers ask again.

    wants [m, s], group [m], occupied [groups, s] (filled in). int64 [m], -1 where nothing was left.
    """
    symbol, asking = np.full(len(wants), -1, np.int64), np.arange(len(wants))
    while len(asking):
        open_ = np.where(occupied[group[asking]], np.inf, wants[asking])
        best = open_.argmin(1)
        price = open_[np.arange(len(asking)), best]
        some = np.isfinite(price)
        asking, best, price = asking[some], best[some], price[some]
        order = np.lexsort((asking, price, best, group[asking]))
        key = group[asking[order]] * wants.shape[1] + best[order]
        wins = order[np.concatenate(([True], key[1:] != key[:-1]))] if len(key) else order
        symbol[asking[wins]] = best[wins]
        occupied[group[asking[wins]], best[wins]] = True
        asking = np.delete(asking, wins)
    return symbol


def in_turns_reference(wants: np.ndarray, group: np.ndarray, occupied: np.ndarray) -> np.ndarray:
    """The slow, obvious `_in_turns`: one asker at a time, round by round."""
    symbol, occupied = [-1] * len(wants), occupied.copy()
    asking = list(range(len(wants)))
    while asking:
        asks: dict[tuple[int, int], list[tuple[float, int]]] = {}
        for i in asking:
            free = [s for s in range(wants.shape[1]) if not occupied[group[i], s] and np.isfinite(wants[i, s])]
            if free:
                s = min(free, key=lambda s: (wants[i, s], s))
                asks.setdefault((int(group[i]), s), []).append((float(wants[i, s]), i))
        asking = []
        for (g, s), askers in asks.items():
            winner = min(askers)[1]
            symbol[winner], occupied[g, s] = s, True
            asking += [i for _, i in askers if i != winner]
        asking.sort()
    return np.array(symbol)


def _balanced(wants: np.ndarray, group: np.ndarray, free: np.ndarray, epsilon: float) -> np.ndarray:
    """What Sinkhorn's plans say of items [m] in groups, as costs [m, s]; groups of one size are planned together."""
    counts = np.bincount(group, minlength=len(free))
    order = np.argsort(group, kind="stable")
    starts = np.cumsum(counts) - counts
    out = np.empty(wants.shape, np.float64)
    for size in np.unique(counts[counts > 0]).tolist():
        alike = np.flatnonzero(counts == size)
        step = max(1, _CELLS // (8 * size * wants.shape[1]))
        for begin in range(0, len(alike), step):
            chosen = alike[begin : begin + step]
            rows = order[starts[chosen][:, None] + np.arange(size)]
            roomy = free[chosen] | ~free[chosen].any(1, keepdims=True)
            out[rows] = -sinkhorn(wants[rows], epsilon=epsilon, free=roomy)
    return out


def _elsewhere(both: np.ndarray, left: np.ndarray, offset: int, sizes: tuple[int, ...], costs: Costs) -> np.ndarray:
    """Rows `left`, whose prefixes are full, under the nearest prefix with room: one that differs as late as possible."""
    for level in range(len(sizes) - 2, -1, -1):
        both[left, level:] = -1
        left = _descend(both, left, level, offset, sizes, costs)
        if len(left) == 0:
            return both
    raise _full(len(left), sizes)


def _descend(
    both: np.ndarray, rows: np.ndarray, level: int, offset: int, sizes: tuple[int, ...], costs: Costs
) -> np.ndarray:
    """Choose the symbols of rows from `level` on, the nearest with room below them; rows for which there is none.

    `both` is filled in; other rows whose last symbol is -1 wait for their turn.
    """
    below = min(math.prod(sizes[level + 1 :]), 1 << 40)
    failing = []
    while len(rows):
        placed = both[both[:, -1] >= 0]
        group = equal_rows(np.concatenate([placed[:, :level], both[rows, :level]]))
        theirs = group[len(placed) :]
        used = np.zeros((int(group.max(initial=0)) + 1, sizes[level]), np.int64)
        np.add.at(used, (group[: len(placed)], placed[:, level]), 1)
        choice, price = _nearest_open(rows - offset, both[rows, :level], level, used >= below, theirs, costs)
        some = np.isfinite(price)
        failing.append(rows[~some])
        rows, theirs, choice, price = rows[some], theirs[some], choice[some], price[some]
        order = np.lexsort((rows, price, choice, theirs))
        turn = np.empty(len(rows), np.int64)
        turn[order] = numbered(theirs[order] * sizes[level] + choice[order])
        goes = turn < below - used[theirs, choice]
        both[rows[goes], level] = choice[goes]
        if level == len(sizes) - 2:
            _last_symbols(both, rows[goes], offset, sizes, costs)
        else:
            _descend(both, rows[goes], level + 1, offset, sizes, costs)
        rows = rows[~goes]
    return np.concatenate(failing) if failing else rows


def _nearest_open(
    positions: np.ndarray, prefix: np.ndarray, level: int, full: np.ndarray, group: np.ndarray, costs: Costs
) -> tuple[np.ndarray, np.ndarray]:
    """The cheapest symbol that is not `full` [groups, s] in the row's group: int64 [m], and its cost, inf where all are."""
    choice, price = np.empty(len(positions), np.int64), np.empty(len(positions))
    step = max(1, min(_ROWS, _CELLS // full.shape[1]))
    for start in range(0, len(positions), step):
        part = slice(start, start + step)
        wants = np.where(full[group[part]], np.inf, costs(positions[part], prefix[part], level))
        choice[part] = wants.argmin(1)
        price[part] = wants[np.arange(len(wants)), choice[part]]
    return choice, price


def _last_symbols(both: np.ndarray, rows: np.ndarray, offset: int, sizes: tuple[int, ...], costs: Costs) -> None:
    """The last symbols of rows whose prefixes have room, filled in."""
    seen = both[:, -1] >= 0
    seen[rows] = True
    at = np.flatnonzero(seen)
    moving = np.isin(at, rows)

    def asked(positions: np.ndarray, prefixes: np.ndarray, level: int) -> np.ndarray:
        return costs(at[positions] - offset, prefixes, level)

    both[at[moving], -1] = _placed(both[at], equal_rows(both[at, :-1]), moving, 0, sizes, asked, None)


def _full(count: int, sizes: tuple[int, ...]) -> CapacityError:
    return CapacityError(
        f"{count:,} items find no free code near theirs (levels of {', '.join(map(str, sizes))} symbols). Take larger "
        'codebooks or another level, or collisions="extra_token", which always has room.'
    )
