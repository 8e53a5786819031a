"""Sequences from a sparse Markov chain: the next item depends on the last one, and on nothing else."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from itemspace.core.dataset import Dataset
from itemspace.core.errors import RequestError
from itemspace.core.interactions import Interactions
from itemspace.core.requests import Requests
from itemspace.core.seeding import RNG, as_seed, derive
from itemspace.data.worlds.base import DAY, START, World, catalog_of, check_dial, columns_of, numbered


@dataclass(frozen=True)
class MarkovTruth:
    """The chain: `successors` [items, branching] follow each item with `weights` [branching], rows of the catalogue.

    randomness: the share of events drawn uniformly from the whole catalogue instead.
    """

    successors: np.ndarray
    weights: np.ndarray
    randomness: float

    def probabilities(self, requests: Requests) -> np.ndarray:
        """[q, items]: the chain's row of each history's last item, mixed with the uniform."""
        columns_of(requests, "history")
        assert requests.history is not None
        items = requests.history.items
        last = items.values[items.offsets[1:] - 1]
        n = len(self.successors)
        chance = np.full((len(last), n), self.randomness / n)
        chance[np.arange(len(last))[:, None], self.successors[last]] += (1 - self.randomness) * self.weights
        return chance


def markov(
    items: int = 500,
    users: int = 2000,
    *,
    length: tuple[int, int] = (8, 20),
    branching: int = 4,
    decay: float = 0.5,
    randomness: float = 0.0,
    rng: RNG = 0,
) -> World:
    """Users walk a random sparse chain: each item has `branching` successors, the next `decay` times as likely each.

    Mechanism: the first item is uniform; every later one is, with chance 1 - randomness, a successor of the item before
    (weights proportional to decay^0, decay^1, ...; decay 0 makes the chain deterministic), else any item. Lengths are
    uniform in `length` (both ends included); one event a day per user. Items have IDs only.

    The best predictor ranks the last item's successors first: `best_possible(world.truth, task, metric)` is what it
    expects. Popularity is chance, whatever the dial: every item is equally
    often a first, a second, ... successor, so all items are equally likely at every step.

    Raises:
        RequestError: `branching` is more than a third of the items.
    """
    if branching * 3 > items:
        raise RequestError(f"{items} items cannot have {branching} successors each: give at least {branching * 3}")
    randomness, seed = check_dial(randomness), as_seed(rng)
    shape, walk = derive(seed, "markov", "chain"), derive(seed, "markov", "walk")
    successors = different_permutations(shape, items, branching)
    weights = np.power(decay, np.arange(branching), dtype=float)
    weights /= weights.sum()

    lengths = walk.integers(length[0], length[1] + 1, users)
    steps = np.empty((users, length[1]), np.int64)
    steps[:, 0] = walk.integers(0, items, users)
    edges = np.cumsum(weights)[:-1]
    for t in range(1, length[1]):
        follow = successors[steps[:, t - 1], np.searchsorted(edges, walk.random(users), side="right")]
        anything = walk.integers(0, items, users)
        steps[:, t] = np.where(walk.random(users) < randomness, anything, follow)

    catalog, row = catalog_of({"item_id": numbered("i", items)}, {"item_id": "id"})
    inside = np.arange(length[1]) < lengths[:, None]
    user, day = np.nonzero(inside)
    names, ids = np.array(numbered("u", users)), np.array(numbered("i", items))
    events = Interactions.from_columns(
        names[user], ids[steps[inside]], items=catalog.ids, time=START + DAY * day.astype(np.int64)
    )
    in_rows = np.empty_like(successors)
    in_rows[row] = row[successors]
    parameters = {"items": items, "users": users, "length": length, "branching": branching, "decay": decay}
    source = {"world": "markov", **parameters, "randomness": randomness, "seed": seed}
    data = Dataset(catalog, events, name="markov", source=source)
    return World(data, MarkovTruth(in_rows, weights, randomness), randomness, parameters)


def different_permutations(rng: np.random.Generator, n: int, k: int) -> np.ndarray:
    """`k` random permutations of 0..n-1 as columns [n, k]; no row repeats a number or holds its own."""
    columns = [np.arange(n)]
    while len(columns) <= k:
        drawn = rng.permutation(n)
        taken = np.stack(columns, axis=1)
        while (clash := np.flatnonzero((taken == drawn[:, None]).any(1))).size:
            # Deal the clashing places, with a few others, anew: still a permutation.
            again = np.union1d(clash, rng.integers(0, n, len(clash) + 2))
            drawn[again] = rng.permutation(drawn[again])
        columns.append(drawn)
    return np.stack(columns[1:], axis=1)
