"""Lists shown, moved about and clicked, with every chance behind them known."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import numpy as np

from itemspace.core.catalog import Catalog
from itemspace.core.dataset import Dataset
from itemspace.core.errors import RequestError
from itemspace.core.ids import Ids
from itemspace.core.interactions import Impressions
from itemspace.core.judgments import Judgments, Queries
from itemspace.core.seeding import RNG, as_seed, derive
from itemspace.data.worlds.base import DAY, START, World, catalog_of, check_dial, coined_words, numbered, scrambled
from itemspace.data.worlds.topics import join_words

FILLERS = 60
CONTINUATION = 0.9
"""The chance to look at the next place, of readers who are not satisfied."""


@dataclass(frozen=True)
class ClickTruth:
    """What the log was drawn from. Queries in rows of the dataset, places in `candidates` from the production ranker's
    best; `shown` of them make a list.

    candidates: int32 item rows [queries, candidates]. attractiveness, satisfaction: of those pairs, [queries, candidates].
    examination: [shown], the chance that a place is examined (1 throughout where readers go downwards). propensity:
    [queries, candidates, shown], the chance that the log shows a candidate at a place. frequency: [queries], sums to 1.
    """

    candidates: np.ndarray
    attractiveness: np.ndarray
    satisfaction: np.ndarray
    examination: np.ndarray
    propensity: np.ndarray
    frequency: np.ndarray
    continuation: float
    model: str

    def attraction(self, query: np.ndarray, item: np.ndarray) -> np.ndarray:
        """The attractiveness of pairs of query and item rows [m]; 0 where an item is no candidate of the query."""
        return self._of(self.attractiveness, query, item)

    def propensities(self, shown: Impressions) -> np.ndarray:
        """The chance that the log showed each item at the place where it stood [n]."""
        assert shown.query is not None
        same = self.candidates[shown.query] == shown.item[:, None]
        return self.propensity[shown.query, same.argmax(1), shown.position]

    def clicks(self, rows: np.ndarray) -> np.ndarray:
        """The expected clicks of showing item rows [queries, k <= shown] to every query [queries]; -1 shows nothing."""
        k = rows.shape[1]
        query = np.repeat(np.arange(len(rows)), k)
        a = self._of(self.attractiveness, query, rows.ravel()).reshape(rows.shape)
        s = self._of(self.satisfaction, query, rows.ravel()).reshape(rows.shape)
        if self.model == "position":
            return (a * self.examination[:k]).sum(1)
        kept = np.cumprod(self.continuation * (1 - a * s), axis=1)
        return (a * np.concatenate([np.ones((len(rows), 1)), kept[:, :-1]], axis=1)).sum(1)

    def value(self, rows: np.ndarray) -> float:
        """The expected clicks of a list when every query is answered by `rows` [queries, k]."""
        return float(self.frequency @ self.clicks(rows))

    def _of(self, values: np.ndarray, query: np.ndarray, item: np.ndarray) -> np.ndarray:
        same = self.candidates[query] == np.asarray(item)[:, None]
        return np.where(same.any(1), values[query, same.argmax(1)], 0.0)


@dataclass(frozen=True)
class _Things:
    """Items, topic by topic: their topic and attributes bool [items, attributes], quality, and price."""

    topic: np.ndarray
    has: np.ndarray
    quality: np.ndarray
    price: np.ndarray


def click_log(
    lists: int = 20_000,
    *,
    topics: int = 20,
    per_topic: int = 14,
    attributes: int = 4,
    shown: int = 10,
    swaps: float = 0.2,
    shuffles: float = 0.1,
    bias: float = 1.0,
    model: Literal["position", "downwards"] = "position",
    randomness: float = 0.0,
    rng: RNG = 0,
) -> World:
    """Searches of a small shop, logged by a production ranker that is right more often than not and is moved about.

    Mechanism: an item has a topic, some of the topic's `attributes` as words in its title, a price and a quality that
    stands nowhere. A query asks for a topic and one attribute (so topics x attributes queries, Zipf by frequency); its
    candidates are the topic's items. How attractive a candidate is grows with the match of the attribute, with quality
    (the same for all queries: what clicks on other queries reveal) and with a low price. The production ranker knows
    match and price, and a guess of the quality.

    Interventions, so that bias and goodness can be told apart: a share `swaps` of the lists has the first place swapped
    with another at random, a share `shuffles` shows the candidates in random order. `truth.propensity` is the resulting
    chance of every candidate at every place.

    Clicks: model "position", place p (from 0) is examined with chance (p + 1) ** -bias, and clicked if attractive,
    independently. "downwards", readers go from place to place with chance 0.9 until a click satisfies them.

    randomness: the share of queries whose attractiveness belongs to random candidates: at 1 neither words nor other
    queries say anything about it (a query's own clicks do).

    Raises:
        RequestError: the dial or a share is outside [0, 1], or there are fewer candidates than places.
    """
    randomness, seed = check_dial(randomness), as_seed(rng)
    if not 2 <= shown <= per_topic:
        raise RequestError(f"lists of {shown} cannot be made of {per_topic} candidates: take 2 to {per_topic}.")
    if swaps < 0 or shuffles < 0 or swaps + shuffles > 1:
        raise RequestError(
            f"swaps and shuffles are shares of the lists and sum to at most 1, not {swaps} and {shuffles}."
        )
    things = _draw_things(topics, per_topic, attributes, derive(seed, "clicks", "items"))
    words = coined_words(derive(seed, "clicks", "words"), topics * (1 + attributes) + FILLERS)
    catalog, row = _catalog(things, words, derive(seed, "clicks", "texts"))
    texts = join_words(np.stack([np.repeat(words[:topics], attributes), words[topics : topics * (1 + attributes)]], 1))
    truth = _truth(
        things, row, attributes, shown, bias, model, randomness, derive(seed, "clicks", "truth"), (swaps, shuffles)
    )
    log = _draw_log(truth, lists, shown, swaps, shuffles, derive(seed, "clicks", "lists"))
    parameters = {
        "lists": lists, "topics": topics, "per_topic": per_topic, "attributes": attributes, "shown": shown,
        "swaps": swaps, "shuffles": shuffles, "bias": bias, "model": model,
    }  # fmt: skip
    queries = len(truth.candidates)
    data = Dataset(
        catalog,
        impressions=_impressions(log, catalog, tuple(texts.to_pylist()), derive(seed, "clicks", "times")),
        queries=Queries(Ids(numbered("q", queries), kind="query"), tuple(texts.to_pylist())),
        judgments=Judgments.from_pairs(
            np.repeat(np.arange(queries), per_topic), truth.candidates.ravel(), truth.attractiveness.ravel(), queries
        ),
        name="click-log",
        source={"world": "click_log", **parameters, "randomness": randomness, "seed": seed},
    )
    return World(data, truth, randomness, parameters)


def _draw_things(topics: int, per_topic: int, attributes: int, rng: np.random.Generator) -> _Things:
    n = topics * per_topic
    return _Things(
        np.repeat(np.arange(topics), per_topic),
        rng.random((n, attributes)) < 0.4,
        rng.standard_normal(n),
        np.round(rng.lognormal(3.5, 0.5, n), 2),
    )


def _catalog(things: _Things, words: np.ndarray, rng: np.random.Generator) -> tuple[Catalog, np.ndarray]:
    topics, attributes = int(things.topic.max()) + 1, things.has.shape[1]
    own = words[topics : topics * (1 + attributes)].reshape(topics, attributes)[things.topic]
    fillers = words[-FILLERS:][rng.integers(0, FILLERS, (len(things.topic), 3))]
    title = np.concatenate([words[things.topic][:, None], np.where(things.has, own, ""), fillers], axis=1)
    columns = {"item_id": numbered("i", len(things.topic)), "title": join_words(title), "price": things.price}
    return catalog_of(columns, {"item_id": "id", "title": "text", "price": "number"})


def _truth(
    things: _Things,
    row: np.ndarray,
    attributes: int,
    shown: int,
    bias: float,
    model: str,
    randomness: float,
    rng: np.random.Generator,
    moved: tuple[float, float],
) -> ClickTruth:
    topics = int(things.topic.max()) + 1
    candidates = np.arange(len(things.topic)).reshape(topics, -1).repeat(attributes, axis=0)
    attribute = np.tile(np.arange(attributes), topics)
    match = things.has[candidates, attribute[:, None]]
    cheap = -(np.log(things.price) - 3.5) / 0.5
    known = 1.6 * match + 0.5 * cheap[candidates]
    taste = 0.2 * rng.standard_normal(candidates.shape)
    attractive = 1 / (1 + np.exp(-(known + 0.9 * things.quality[candidates] + taste - 2.0)))
    attractive = scrambled(attractive, randomness, rng)
    guess = known + 0.5 * things.quality[candidates] + 0.8 * rng.standard_normal(candidates.shape)
    order = np.argsort(-guess, axis=1)
    frequency = rng.permutation(1 / np.arange(1, len(candidates) + 1) ** 0.7)
    return ClickTruth(
        row[np.take_along_axis(candidates, order, 1)].astype(np.int32),
        np.take_along_axis(attractive, order, 1),
        np.take_along_axis(0.3 + 0.5 * attractive, order, 1),
        np.arange(1, shown + 1.0) ** -bias if model == "position" else np.ones(shown),
        np.broadcast_to(_propensity(candidates.shape[1], shown, *moved), (*candidates.shape, shown)),
        frequency / frequency.sum(),
        CONTINUATION,
        model,
    )


def _propensity(candidates: int, shown: int, swaps: float, shuffles: float) -> np.ndarray:
    """The chance of the production ranker's candidate i at place k [candidates, shown]."""
    swapped = np.zeros((candidates, shown))
    swapped[0, 1:] = swapped[1:shown, 0] = 1 / (shown - 1)
    inner = np.arange(1, shown)
    swapped[inner, inner] = (shown - 2) / (shown - 1)
    return (1 - swaps - shuffles) * np.eye(candidates, shown) + swaps * swapped + shuffles / candidates


@dataclass(frozen=True)
class _Log:
    """query [lists], and per place [lists, shown]: the candidate's row and whether it was clicked."""

    query: np.ndarray
    item: np.ndarray
    clicked: np.ndarray


def _draw_log(
    truth: ClickTruth, lists: int, shown: int, swaps: float, shuffles: float, rng: np.random.Generator
) -> _Log:
    query = rng.choice(len(truth.frequency), lists, p=truth.frequency)
    candidates = truth.candidates.shape[1]
    place = np.tile(np.arange(candidates), (lists, 1))
    fate = rng.random(lists)
    shuffled, swapped = fate < shuffles, np.flatnonzero((fate >= shuffles) & (fate < shuffles + swaps))
    place[shuffled] = rng.permuted(place[shuffled], axis=1)
    other = rng.integers(1, shown, len(swapped))
    place[swapped, 0], place[swapped, other] = other, 0
    place = place[:, :shown]
    attractive = rng.random(place.shape) < truth.attractiveness[query[:, None], place]
    if truth.model == "position":
        clicked = attractive & (rng.random(place.shape) < truth.examination)
    else:
        satisfied = attractive & (rng.random(place.shape) < truth.satisfaction[query[:, None], place])
        goes_on = ~satisfied & (rng.random(place.shape) < truth.continuation)
        reached = np.concatenate([np.ones((lists, 1), bool), np.logical_and.accumulate(goes_on, axis=1)[:, :-1]], 1)
        clicked = attractive & reached
    return _Log(query, truth.candidates[query[:, None], place], clicked)


def _impressions(log: _Log, catalog: Catalog, texts: tuple[str, ...], rng: np.random.Generator) -> Impressions:
    lists, shown = log.item.shape
    time = np.sort(np.asarray(START + rng.uniform(0, 90, lists) * DAY, np.int64))
    return Impressions(
        request=np.repeat(np.arange(lists, dtype=np.int32), shown),
        item=log.item.ravel().astype(np.int32),
        position=np.tile(np.arange(shown, dtype=np.int32), lists),
        outcome=log.clicked.ravel().astype(np.float32),
        items=catalog.ids,
        query=np.repeat(log.query.astype(np.int32), shown),
        queries=texts,
        time=np.repeat(time, shown),
    )
