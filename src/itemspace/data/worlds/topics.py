"""Text search where words alone and meaning alone each answer only half of the queries."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from itemspace.core.catalog import Catalog
from itemspace.core.dataset import Dataset
from itemspace.core.errors import RequestError
from itemspace.core.ids import Ids
from itemspace.core.interactions import Impressions
from itemspace.core.judgments import Judgments, Queries
from itemspace.core.seeding import RNG, as_seed, derive
from itemspace.data.worlds.base import World, catalog_of, check_dial, coined_words, distinct, numbered, scrambled

KINDS = ("exact", "paraphrase", "mixed")
ATTRACTION = np.array([0.02, 0.4, 0.6, 0.9])
SHOWN = 10
FILLERS = 200
RARE = 4000
BRANDS = 25


@dataclass(frozen=True)
class TopicsTruth:
    """What the texts were drawn from; items in rows of the catalogue.

    grades: int8 [queries, items], every pair's true grade before the dial scrambled any. topic, series [items].
    concepts: bool [items, topics x concepts]. catalog_words, query_words: how the catalogue and how searchers call each
    concept [topics x concepts] (the same where `synonyms` is off). propensities [10]: the chance that a position is
    examined. attraction [4]: the chance of a click on an examined item, by grade.
    """

    grades: np.ndarray
    topic: np.ndarray
    series: np.ndarray
    concepts: np.ndarray
    catalog_words: tuple[str, ...]
    query_words: tuple[str, ...]
    propensities: np.ndarray
    attraction: np.ndarray


@dataclass(frozen=True)
class _Things:
    """Attributes per item, and the vocabulary: arrays of words by what they name.

    own: [items, per_item] concept numbers; has: the same as bool [items, topics x concepts].
    """

    topic: np.ndarray
    brand: np.ndarray
    series: np.ndarray
    number: np.ndarray
    own: np.ndarray
    has: np.ndarray
    words: Mapping[str, np.ndarray]

    def take(self, rows: np.ndarray) -> _Things:
        columns = ("topic", "brand", "series", "number", "own", "has")
        return replace(self, **{name: getattr(self, name)[rows] for name in columns})


@dataclass(frozen=True)
class _Asked:
    """Queries: kind (index into KINDS), an item that answers each, and its two chosen concepts [q, 2]."""

    kind: np.ndarray
    item: np.ndarray
    concept: np.ndarray
    texts: list[str]

    def take(self, rows: np.ndarray) -> _Asked:
        return _Asked(self.kind[rows], self.item[rows], self.concept[rows], [self.texts[i] for i in rows.tolist()])


def topics(
    items: int = 1000,
    queries: int = 300,
    *,
    topics: int = 6,
    concepts: int = 6,
    per_item: int = 3,
    series: int = 100,
    bridge: float = 0.2,
    decoy: float = 0.2,
    mix: Sequence[float] = (1 / 3, 1 / 3, 1 / 3),
    synonyms: bool = True,
    lists: int = 2000,
    randomness: float = 0.0,
    rng: RNG = 0,
) -> World:
    """Products with coined words, asked for by model number, by other words for what they are, or by both.

    Mechanism: an item has a topic, a brand, a model (one of `series` series words and one of as many numbers; no two
    items share both) and `per_item` of its topic's `concepts`. Its title is brand, topic word and model; its description
    names its concepts by the *catalogue's* words, among common fillers and rare details. Searchers have *other* words for the concepts. Such a
    query word stands in an item's description with chance `bridge` beside each concept it means (so that co-occurrence
    can teach the relation), and `decoy` times per item on average where it means nothing. The log shows lists of ten
    for queries of the same making (none reads like a judged query), clicked by the position-based model: clicks teach
    the relation as well. Query kinds, in shares `mix` (attribute `group`):

    - exact: series and number. 3 for that item. Words answer it; vectors of a few dozen dimensions (far fewer than
      there are series and numbers) blur one model with another.
    - paraphrase: two concepts of one item, in query words. 3 for items with both, 1 with one. Matching words find only
      the bridging few.
    - mixed: a series and one concept, in query words. 3 for items with both, 1 with one. Needs both.

    So a combination of lexical and learned retrieval can beat either alone. With `synonyms=False` searchers use the
    catalogue's words (and `bridge` and `decoy` play no role): counting matching words ranks every query perfectly, so
    nothing can be added. That is the null variant, beside `randomness=1`.

    randomness: the share of queries (judged and logged alike, independently) whose grades belong to random items.
    Every item graded above 0 is judged, and every item of the topic. At most `queries` different texts.
    `best_possible_ndcg(task, items, randomness)` is what the best ranking expects.

    Raises:
        RequestError: the dial is outside [0, 1]; more items than models (series x series); `per_item` not in 2..concepts.
    """
    randomness, seed = check_dial(randomness), as_seed(rng)
    if series * series < items or not 2 <= per_item <= concepts or items < SHOWN:
        raise RequestError(
            f"{items} items of {per_item} among {concepts} concepts and {series} series cannot be made: "
            f"take at least {SHOWN} items, series x series of them at most, and 2 to {concepts} concepts per item."
        )
    things = _draw_things(items, topics, concepts, per_item, series, synonyms, derive(seed, "topics", "items"))
    catalog, row = _catalog(
        things, bridge if synonyms else 0.0, decoy if synonyms else 0.0, derive(seed, "topics", "texts")
    )
    generated = np.empty_like(row)
    generated[row] = np.arange(items)
    things = things.take(generated)

    asked = _ask(things, 3 * queries + 2 * lists, mix, derive(seed, "topics", "queries"))
    _, first = np.unique(np.array(asked.texts), return_index=True)
    judged = asked.take(np.sort(first)[:queries])
    logged = asked.take(np.flatnonzero(~np.isin(np.array(asked.texts), np.array(judged.texts)))[:lists])
    true = _grades(judged, things)
    graded = scrambled(true, randomness, derive(seed, "topics", "dial"))
    in_logs = scrambled(_grades(logged, things), randomness, derive(seed, "topics", "log-dial"))
    query, item = np.nonzero((graded > 0) | (things.topic[judged.item][:, None] == things.topic))

    parameters = {
        "items": items, "queries": queries, "topics": topics, "concepts": concepts, "per_item": per_item,
        "series": series, "bridge": bridge, "decoy": decoy, "mix": list(mix), "synonyms": synonyms, "lists": lists,
    }  # fmt: skip
    data = Dataset(
        catalog,
        impressions=_impressions(logged, in_logs, catalog, derive(seed, "topics", "clicks")),
        queries=Queries(
            Ids(numbered("q", len(judged.texts)), kind="query"),
            tuple(judged.texts),
            {"group": np.array(KINDS)[judged.kind]},
        ),
        judgments=Judgments.from_pairs(query, item, graded[query, item], len(judged.texts)),
        name="topics",
        source={"world": "topics", **parameters, "randomness": randomness, "seed": seed},
    )
    truth = TopicsTruth(
        true,
        things.topic,
        things.series,
        things.has,
        tuple(things.words["catalog"].tolist()),
        tuple(things.words["query"].tolist()),
        1 / np.arange(1, SHOWN + 1),
        ATTRACTION,
    )
    return World(data, truth, randomness, parameters)


def _draw_things(
    n: int, topics: int, concepts: int, per_item: int, series: int, synonyms: bool, rng: np.random.Generator
) -> _Things:
    sizes = [topics * concepts, topics * concepts, topics, BRANDS, series, FILLERS, RARE]
    coined = coined_words(rng, sum(sizes))
    catalog, query, topic_words, brand_words, series_words, fillers, rare = np.split(coined, np.cumsum(sizes)[:-1])
    words = {
        "catalog": catalog,
        "query": query if synonyms else catalog,
        "topic": topic_words,
        "brand": brand_words,
        "series": series_words,
        "number": (1000 + rng.permutation(9000)[:series]).astype(str).astype(object),
        "filler": fillers,
        "rare": rare,
    }
    topic = rng.integers(0, topics, n)
    own = topic[:, None] * concepts + distinct(rng, n, per_item, concepts)
    has = np.zeros((n, topics * concepts), bool)
    has[np.arange(n)[:, None], own] = True
    model = rng.choice(series * series, n, replace=False)
    return _Things(topic, rng.integers(0, BRANDS, n), model // series, model % series, own, has, words)


def _catalog(things: _Things, bridge: float, decoy: float, rng: np.random.Generator) -> tuple[Catalog, np.ndarray]:
    n, per_item = things.own.shape
    words = things.words
    fillers = words["filler"][np.minimum(rng.zipf(1.5, (n, 8)) - 1, FILLERS - 1)]
    details = words["rare"][rng.integers(0, RARE, (n, 12))]
    concept = words["catalog"][things.own]
    bridging = np.where(rng.random((n, per_item)) < bridge, words["query"][things.own], "")
    stray = words["query"][rng.integers(0, len(words["query"]), (n, 2))]
    strays = np.where(rng.random((n, 2)) < decoy / 2, stray, "")
    said = rng.permuted(np.concatenate([fillers, details, concept, bridging, strays], axis=1), axis=1)
    named = ("brand", "topic", "series", "number")
    title = np.stack([words[name][getattr(things, name)] for name in named], axis=1)
    columns = {
        "item_id": numbered("i", n),
        "title": join_words(title),
        "description": join_words(said),
        "brand": words["brand"][things.brand].tolist(),
    }
    return catalog_of(columns, {"item_id": "id", "title": "text", "description": "text", "brand": "category"})


def join_words(words: np.ndarray) -> pa.Array:
    """Rows of words [n, m] as texts [n]; empty words leave no gap."""
    columns = [pa.array(column.tolist(), pa.string()) for column in words.T]
    joined = pc.binary_join_element_wise(*columns, " ")
    return pc.utf8_trim_whitespace(pc.replace_substring_regex(joined, " +", " "))


def _ask(things: _Things, n: int, mix: Sequence[float], rng: np.random.Generator) -> _Asked:
    kind = rng.choice(len(KINDS), n, p=np.asarray(mix) / np.sum(mix))
    item = rng.integers(0, len(things.topic), n)
    places = distinct(rng, n, 2, things.own.shape[1])
    concept = np.take_along_axis(things.own[item], places, 1)
    said = things.words["query"][concept]
    series = things.words["series"][things.series[item]]
    number = things.words["number"][things.number[item]]
    first = np.where(kind == 1, said[:, 1], series)
    second = np.where(kind == 0, number, said[:, 0])
    return _Asked(kind, item, concept, join_words(np.stack([first, second], axis=1)).to_pylist())


def _grades(asked: _Asked, things: _Things) -> np.ndarray:
    """int8 [q, items], as the kinds of `topics` say."""
    same = asked.item[:, None] == np.arange(len(things.topic))
    series = things.series[asked.item][:, None] == things.series
    one, other = things.has[:, asked.concept[:, 0]].T, things.has[:, asked.concept[:, 1]].T
    by_kind = np.stack(
        [
            np.where(same, 3, 0),
            np.where(one & other, 3, one | other),
            np.where(one & series, 3, one | series),
        ]
    )
    return by_kind[asked.kind, np.arange(len(asked.kind))].astype(np.int8)


def _impressions(asked: _Asked, grades: np.ndarray, catalog: Catalog, rng: np.random.Generator) -> Impressions:
    """One list of ten per logged query: graded items first by a noisy ranker, clicked by the position-based model."""
    lists = len(asked.kind)
    score = grades + 1.5 * rng.standard_normal(grades.shape, np.float32)
    best = np.argpartition(-score, SHOWN, axis=1)[:, :SHOWN]
    item = np.take_along_axis(best, np.argsort(-np.take_along_axis(score, best, 1), axis=1), 1)
    examined = rng.random(item.shape) < 1 / np.arange(1, SHOWN + 1)
    liked = rng.random(item.shape) < ATTRACTION[np.take_along_axis(grades, item, 1)]
    texts, query = np.unique(np.array(asked.texts, str), return_inverse=True)
    return Impressions(
        request=np.repeat(np.arange(lists, dtype=np.int32), SHOWN),
        item=item.ravel().astype(np.int32),
        position=np.tile(np.arange(SHOWN, dtype=np.int32), lists),
        outcome=(examined & liked).ravel().astype(np.float32),
        items=catalog.ids,
        query=np.repeat(query.astype(np.int32), SHOWN),
        queries=tuple(texts.tolist()),
    )
