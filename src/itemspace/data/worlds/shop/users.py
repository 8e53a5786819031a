"""The shop's users: tastes that drift, purchases that call for the next one, seasons."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from itemspace.core.requests import Requests
from itemspace.data.worlds.base import DAY, START, columns_of, draw_columns
from itemspace.data.worlds.shop import words
from itemspace.data.worlds.shop.items import SPAN, Items

SEASON_STRENGTH = 0.8
COMPLEMENT = 0.45
PRICE_WIDTH = 0.6
REDRAWS = 50


@dataclass(frozen=True)
class Users:
    """Tastes, one row per user: `before` and `after` [users, activities] are what they care for at the start and at the
    end of the two years (in between the mix shifts evenly); `color` [users, colors] and `brand` [users, brands] are log
    preferences, `budget` [users] the log of the price level they look for (0 = the type's median)."""

    before: np.ndarray
    after: np.ndarray
    color: np.ndarray
    brand: np.ndarray
    budget: np.ndarray

    def __len__(self) -> int:
        return len(self.budget)

    def take(self, rows: np.ndarray) -> Users:
        return Users(self.before[rows], self.after[rows], self.color[rows], self.brand[rows], self.budget[rows])


def draw_users(n: int, rng: np.random.Generator) -> Users:
    """Sparse mixes of activities (Dirichlet .25), normal preferences."""
    mix = np.full(len(words.ACTIVITIES), 0.25)
    return Users(
        rng.dirichlet(mix, n),
        rng.dirichlet(mix, n),
        rng.normal(0, 0.9, (n, len(words.COLORS))),
        rng.normal(0, 0.7, (n, len(words.BRANDS))),
        rng.normal(0, 0.35, n),
    )


@dataclass(frozen=True)
class Demand:
    """How a next event comes about. `items` in the rows of the catalogue, `users` in the rows of the interactions.

    With chance `randomness` it is any item on sale; else a product type (with chance 0.45 one that goes with the last
    item's, else by taste and season), and within the type an item by popularity, color, brand and price. Nobody takes
    an item twice, and nothing is taken before its release.
    """

    items: Items
    users: Users
    randomness: float

    def kind_chance(self, user: np.ndarray, second: np.ndarray, last: np.ndarray) -> np.ndarray:
        """[m, kinds] for users at Unix seconds whose last item was of kind `last` (-1: none)."""
        people = self.users.take(user)
        days = (second - START) / DAY
        progress = np.clip(days / SPAN, 0, 1)[:, None]
        taste = (people.before * (1 - progress) + people.after * progress) @ words.affinity()
        peak = np.array([kind.season for kind in words.kinds()])
        month = days[:, None] / 365.25 * 12 + 0.5  # the start is a first of January; months peak at their middle
        taste = taste * np.exp(SEASON_STRENGTH * np.cos(2 * np.pi * (month - peak + 0.5) / 12))
        taste /= taste.sum(1, keepdims=True)
        follow = words.complements()[last]
        share = np.where(last >= 0, COMPLEMENT, 0.0)[:, None]
        return (1 - share) * taste + share * follow

    def liking(self, user: np.ndarray, item: np.ndarray) -> np.ndarray:
        """Positive weights [m, c] of items [m, c] (or [c]) for users [m], comparable within a product type."""
        of = self.items
        people = self.users.take(user)
        rows = np.arange(len(user))[:, None]
        usual = np.log([kind.price for kind in words.kinds()])
        dearness = np.log(of.price) - usual[of.kind]
        off = (dearness[item] - people.budget[:, None]) / PRICE_WIDTH
        preference = people.color[rows, of.color[item]] + people.brand[rows, of.brand[item]]
        return of.popularity[item] * np.exp(preference - 0.5 * np.square(off))

    def probabilities(self, requests: Requests) -> np.ndarray:
        """[q, items]: the exact chance of each item to be next, at each request's `as_of`, given user and history."""
        columns_of(requests, "history", "user", "as_of")
        assert requests.history is not None
        assert requests.user is not None
        assert requests.as_of is not None
        history, second, n = requests.history.items, requests.as_of, len(self.items)
        everything = np.arange(n)
        free = self.items.released[None, :] <= second[:, None]
        free[history.groups, history.values] = False
        has = history.lengths > 0
        last: np.ndarray = np.full(len(second), -1)
        last[has] = self.items.kind[history.values[history.offsets[1:][has] - 1]]
        weight = self.liking(requests.user, np.broadcast_to(everything, free.shape)) * free
        one_hot = np.zeros((n, len(words.kinds())))
        one_hot[everything, self.items.kind] = 1
        within = weight @ one_hot
        scale = np.divide(
            self.kind_chance(requests.user, second, last), within, out=np.zeros_like(within), where=within > 0
        )
        # A plan for a type of which nothing is left comes to no event: the chances are those given that there is one.
        planned = weight * scale[:, self.items.kind]
        anything = free / np.maximum(free.sum(1, keepdims=True), 1)
        either: np.ndarray = (1 - self.randomness) * planned + self.randomness * anything
        return either / np.maximum(either.sum(1, keepdims=True), 1e-300)


def draw_events(demand: Demand, mean_length: float, rng: np.random.Generator, *, block: int = 2000) -> dict[str, Any]:
    """Columns user [m], item [m] (rows), time [m], event codes [m] and their names.

    Lengths are 3 plus a geometric number (about `mean_length` on average, at most 60); gaps between events are
    exponential, so that a history spreads over its user's share of the two years.
    """
    n = len(demand.users)
    lengths = np.minimum(2 + rng.geometric(1 / max(mean_length - 2, 1), n), 60)
    second = _times(lengths, rng)
    chosen = np.full(second.shape, -1, np.int64)
    for start in range(0, n, block):  # what a user has seen takes block x items bytes
        part = np.arange(start, min(start + block, n))
        chosen[part] = _walk(replace(demand, users=demand.users.take(part)), lengths[part], second[part], rng)
    user, place = np.nonzero(chosen >= 0)
    event = rng.choice(3, len(user), p=[0.6, 0.15, 0.25]).astype(np.int16)
    return {
        "user": user,
        "item": chosen[user, place],
        "time": second[user, place],
        "event": event,
        "events": ("view", "cart", "purchase"),
    }


def _walk(demand: Demand, lengths: np.ndarray, second: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """The item of every user's every step [users, steps], -1 past the end and where nothing was left to take."""
    by_kind = _by_kind(demand.items.kind)
    seen = np.zeros((len(lengths), len(demand.items)), bool)
    last: np.ndarray = np.full(len(lengths), -1)
    chosen = np.full(second.shape, -1, np.int64)
    for step in range(second.shape[1]):
        active = np.flatnonzero(lengths > step)
        now = second[active, step]
        item = np.full(len(active), -1, np.int64)
        for _ in range(REDRAWS):
            # A drawn type with nothing left to take is drawn again, which is the demand's rule given what is left.
            open_ = np.flatnonzero(item < 0)
            if len(open_) == 0:
                break
            who = active[open_]
            item[open_] = _planned(demand, who, now[open_], last[who], seen, by_kind, rng)
        anything = _any_item(demand, active, now, seen, rng)
        item = np.where(rng.random(len(active)) < demand.randomness, anything, item)
        taken = item >= 0
        chosen[active[taken], step] = item[taken]
        seen[active[taken], item[taken]] = True
        last[active[taken]] = demand.items.kind[item[taken]]
    return chosen


def _times(lengths: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """Increasing Unix seconds [users, steps]; every user's events end within the two years."""
    gaps = rng.exponential(1.0, (len(lengths), int(lengths.max())))
    walked = np.cumsum(gaps, axis=1)
    total = walked[np.arange(len(lengths)), lengths - 1]
    window = SPAN * rng.uniform(0.3, 1.0, len(lengths))
    begin = rng.uniform(0, 1, len(lengths)) * (SPAN - window)
    days = begin[:, None] + walked / total[:, None] * window[:, None]
    seconds = (START + days * DAY).astype(np.int64)
    return np.maximum.accumulate(seconds + np.arange(seconds.shape[1]), axis=1)


def _by_kind(kind: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """The items of every kind, padded [kinds, most], and how many there are [kinds]."""
    size = np.bincount(kind, minlength=len(words.kinds()))
    order = np.argsort(kind, kind="stable")
    within = np.arange(len(kind)) - np.concatenate(([0], np.cumsum(size)))[:-1][kind[order]]
    members = np.zeros((len(size), int(size.max())), np.int64)
    members[kind[order], within] = order
    return members, size


def _planned(
    demand: Demand,
    user: np.ndarray,
    now: np.ndarray,
    last: np.ndarray,
    seen: np.ndarray,
    by_kind: tuple[np.ndarray, np.ndarray],
    rng: np.random.Generator,
) -> np.ndarray:
    """One item per user by the demand's rule [m], -1 where nothing of the drawn type is left."""
    members, size = by_kind
    kind = draw_columns(np.cumsum(demand.kind_chance(user, now, last), axis=1), rng.random(len(user)))
    offered = members[kind]
    weight = demand.liking(user, offered) * (demand.items.released[offered] <= now[:, None])
    weight[seen[user[:, None], offered] | (np.arange(members.shape[1]) >= size[kind][:, None])] = 0
    cumulative = np.cumsum(weight, axis=1)
    column = draw_columns(cumulative, rng.random(len(user)))
    return np.where(cumulative[:, -1] > 0, offered[np.arange(len(user)), column], -1)


def _any_item(
    demand: Demand, user: np.ndarray, now: np.ndarray, seen: np.ndarray, rng: np.random.Generator
) -> np.ndarray:
    """One unseen item on sale per user, uniformly [m]: the best of uniform draws that is allowed, -1 if none is."""
    draws = rng.integers(0, len(demand.items), (len(user), 16))
    allowed = (demand.items.released[draws] <= now[:, None]) & ~seen[user[:, None], draws]
    first = allowed.argmax(1)
    return np.where(allowed.any(1), draws[np.arange(len(user)), first], -1)
