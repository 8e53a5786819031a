"""Fashions: what is popular changes with time, and is all there is to know."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from itemspace.core.dataset import Dataset
from itemspace.core.interactions import Interactions
from itemspace.core.requests import Requests
from itemspace.core.seeding import RNG, as_seed, derive
from itemspace.data.worlds.base import DAY, START, World, catalog_of, check_dial, columns_of, draw_columns, numbered


@dataclass(frozen=True)
class DriftTruth:
    """Each item's popularity is `base` [items] times a bell around its `peak` day [items], `width` days wide."""

    base: np.ndarray
    peak: np.ndarray
    width: float
    randomness: float

    def at(self, days: np.ndarray) -> np.ndarray:
        """[m, items]: the chance of each item on each day."""
        popularity = self.base * np.exp(-0.5 * np.square((days[:, None] - self.peak) / self.width))
        popularity /= popularity.sum(1, keepdims=True)
        return (1 - self.randomness) * popularity + self.randomness / len(self.base)

    def probabilities(self, requests: Requests) -> np.ndarray:
        """[q, items] on the day of each request's `as_of`; users and histories play no role."""
        columns_of(requests, "as_of")
        assert requests.as_of is not None
        return self.at((requests.as_of - START) / DAY)


def popularity_drift(
    items: int = 400,
    users: int = 1000,
    *,
    length: tuple[int, int] = (6, 14),
    days: int = 360,
    width: float = 30.0,
    skew: float = 1.0,
    randomness: float = 0.0,
    rng: RNG = 0,
) -> World:
    """Items come into fashion and go out; everybody follows it.

    Mechanism: on day t an event is item i with chance proportional to base_i exp(-(t - peak_i)^2 / (2 width^2)), base a
    Zipf law of exponent `skew`, peaks uniform over the days; with chance `randomness` it is any item. Each user's events
    fall on a uniform start and follow each other within a few weeks; items may repeat.

    The best predictor is the popularity of the day: `best_possible(world.truth, task, metric)`. The popularity of all
    time is worse the narrower `width`; the user's history tells nothing beyond its dates.
    """
    randomness, seed = check_dial(randomness), as_seed(rng)
    shape, draws = derive(seed, "drift", "fashion"), derive(seed, "drift", "events")
    base = np.power(np.arange(1, items + 1), -skew)
    peak = shape.uniform(0, days, items)
    truth = DriftTruth(base, peak, width, randomness)

    lengths = draws.integers(length[0], length[1] + 1, users)
    user = np.repeat(np.arange(users), lengths)
    gaps = draws.exponential(3.0, len(user))
    starts = np.concatenate(([0], np.cumsum(lengths)))[:-1]
    walked = np.cumsum(gaps)
    since = walked - walked[starts][user]
    begin = draws.uniform(0, 1, users) * np.maximum(days - since[starts + lengths - 1], 1)
    second = (START + np.minimum(begin[user] + since, days) * DAY).astype(np.int64)
    chosen = np.empty(len(user), np.int64)
    for start in range(0, len(user), 4096):
        part = slice(start, start + 4096)
        cumulative = np.cumsum(truth.at((second[part] - START) / DAY), axis=1)
        chosen[part] = draw_columns(cumulative, draws.random(len(cumulative)))

    names = np.array(numbered("i", items))
    catalog, row = catalog_of({"item_id": names}, {"item_id": "id"})
    events = Interactions.from_columns(
        np.array(numbered("u", users))[user], names[chosen], items=catalog.ids, time=second
    )
    base_of_row, peak_of_row = np.empty_like(base), np.empty_like(peak)
    base_of_row[row], peak_of_row[row] = base, peak
    parameters = {"items": items, "users": users, "length": length, "days": days, "width": width, "skew": skew}
    source = {"world": "popularity_drift", **parameters, "randomness": randomness, "seed": seed}
    data = Dataset(catalog, events, name="popularity-drift", source=source)
    return World(data, DriftTruth(base_of_row, peak_of_row, width, randomness), randomness, parameters)
