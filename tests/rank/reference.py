"""The slow, obvious way: one list, one place, one hidden state at a time."""

from itertools import product

import numpy as np


def lists_of(shown):
    """[(query, item, rank, click) top to bottom] of every list, in list order."""
    out = {}
    for row in np.lexsort((shown.position, shown.request)).tolist():
        query = int(shown.query[row]) if shown.query is not None else 0
        entry = (query, int(shown.item[row]), int(shown.position[row]), bool(shown.outcome[row] > 0))
        out.setdefault(int(shown.request[row]), []).append(entry)
    return list(out.values())


def smoothed(successes, trials, prior):
    mean = sum(successes.values()) / max(sum(trials.values()), 1e-300)
    return {key: (successes.get(key, 0) + prior * mean) / (trials[key] + prior) for key in trials}


def counted(shown, examined_to, prior):
    """Clicks per examined showing of each pair; `examined_to(clicks)` is the last examined place of a list."""
    clicks, trials = {}, {}
    for rows in lists_of(shown):
        last = examined_to([row[3] for row in rows])
        for place, (query, item, _, click) in enumerate(rows):
            if place <= last:
                trials[query, item] = trials.get((query, item), 0) + 1
                clicks[query, item] = clicks.get((query, item), 0) + click
    return smoothed(clicks, trials, prior)


def position_based(shown, iterations, prior, start):
    """EM of the position-based model, showing by showing; start: examination, attractiveness, both dictionaries."""
    looked, liked = start
    rows = [row for rows in lists_of(shown) for row in rows]
    for _ in range(iterations):
        examined_pair, clicks, examined_rank, count = {}, {}, {}, {}
        for query, item, rank, click in rows:
            e, a = looked[rank], liked[query, item]
            chance = 1.0 if click else e * (1 - a) / (1 - e * a)
            examined_pair[query, item] = examined_pair.get((query, item), 0) + chance
            clicks[query, item] = clicks.get((query, item), 0) + click
            examined_rank[rank] = examined_rank.get(rank, 0) + chance
            count[rank] = count.get(rank, 0) + 1
        liked = smoothed(clicks, examined_pair, prior)
        looked = {rank: examined_rank[rank] / count[rank] for rank in count}
        most = max(looked.values())
        looked = {rank: value / most for rank, value in looked.items()}
        liked = {key: min(value * most, 1.0) for key, value in liked.items()}
    return looked, liked


def chain(a, s, g, clicks):
    """The likelihood of `clicks` and P(E at each place | clicks), by summing over every hidden history."""
    n = len(a)
    total, examined = 0.0, np.zeros(n)
    for seen in product([True, False], repeat=n):
        if not seen[0]:
            continue
        for satisfied in product([True, False], repeat=n):
            chance = 1.0
            for place in range(n):
                if clicks[place]:
                    chance *= a[place] if seen[place] else 0.0
                    chance *= s[place] if satisfied[place] else 1 - s[place]
                else:
                    chance *= (1 - a[place]) if seen[place] else 1.0
                    chance *= 0.0 if satisfied[place] else 1.0
                if place + 1 < n:
                    go = seen[place] and not satisfied[place]
                    chance *= (g if seen[place + 1] else 1 - g) if go else (0.0 if seen[place + 1] else 1.0)
            total += chance
            examined += chance * np.array(seen)
    return total, examined / total


def free_clicks(a, s, g):
    """P(click at each place), by summing over every set of clicks."""
    out = np.zeros(len(a))
    for clicks in product([True, False], repeat=len(a)):
        out += chain(a, s, g, clicks)[0] * np.array(clicks) if possible(a, clicks) else 0.0
    return out


def possible(a, clicks):
    return all(chance > 0 or not click for chance, click in zip(a, clicks, strict=True))


def browsing_free(attractive, examination):
    """P(click at each place) of the user browsing model (rank = place), by summing over every set of clicks."""
    n = len(attractive)
    out = np.zeros(n)
    for clicks in product([True, False], repeat=n):
        chance, above = 1.0, -1
        for place in range(n):
            here = attractive[place] * examination[place, place - above]
            chance *= here if clicks[place] else 1 - here
            above = place if clicks[place] else above
        out += chance * np.array(clicks)
    return out


def mantel_haenszel(shown, one, other):
    """Examination of rank `one` over that of rank `other`, pair by pair."""
    counts = {}
    for rows in lists_of(shown):
        for query, item, rank, click in rows:
            cell = counts.setdefault((query, item), {}).setdefault(rank, [0, 0])
            cell[0] += 1
            cell[1] += click
    above = below = 0.0
    for cells in counts.values():
        if one in cells and other in cells:
            (n, c), (m, d) = cells[one], cells[other]
            above, below = above + c * m / (n + m), below + d * n / (n + m)
    return above / below
