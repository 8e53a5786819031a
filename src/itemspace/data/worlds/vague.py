"""Queries that name more or less of what they want: the less, the more items they may mean."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from scipy.special import comb

from itemspace.core.dataset import Dataset
from itemspace.core.errors import RequestError
from itemspace.core.ids import Ids
from itemspace.core.judgments import Judgments, Queries
from itemspace.core.seeding import RNG, as_seed, derive
from itemspace.data.worlds.base import World, catalog_of, check_dial, coined_words, distinct, numbered
from itemspace.data.worlds.topics import join_words

FILLERS = 60


MISSING = 4.0
"""What each named concept that an item lacks costs it, in nats."""


@dataclass(frozen=True)
class VagueTruth:
    """likely: float32 [queries, items], the log chance that each item's searcher would name what the query names (those of

    another query where the dial took the query's own), in rows of the catalogue; each concept that is not the item's
    costs `MISSING`. named: how many concepts each query names [queries]. breadth: how many each item has [items].
    """

    likely: np.ndarray
    named: np.ndarray
    breadth: np.ndarray


def vague(
    items: int = 500,
    queries: int = 1_500,
    *,
    concepts: int = 40,
    per_item: int = 5,
    wordings: int = 2,
    randomness: float = 0.0,
    rng: RNG = 0,
) -> World:
    """Items have one to `per_item` concepts; a query has one item in mind and names one to all of its concepts.

    Mechanism: a concept is said in `wordings` words, drawn anew in every text, among words that mean nothing. The item a
    query has in mind is judged, alone. A query that names many concepts can be answered; one that names few leaves many
    items open, of which those with few concepts are likelier to be asked for so. How much a text leaves open decides both
    what fits it and how well it can be answered, and its words tell.

    randomness: the share of queries whose item, and whose chances, are those of a random other one of them.

    Raises:
        RequestError: the dial is outside [0, 1], or so many different items cannot be made.
    """
    randomness, seed = check_dial(randomness), as_seed(rng)
    draw = derive(seed, "vague", "items")
    drawn = distinct(draw, 3 * items + 16, per_item, concepts)
    breadth = draw.integers(1, per_item + 1, len(drawn))
    inside = np.arange(per_item) < breadth[:, None]
    chosen = np.zeros((len(drawn), concepts), bool)
    chosen[np.repeat(np.arange(len(drawn)), breadth), drawn[inside]] = True
    _, first = np.unique(chosen, axis=0, return_index=True)
    if len(first) < items:
        raise RequestError(f"{items} sets of up to {per_item} of {concepts} concepts are too many: take more concepts.")
    kept = np.sort(first)[:items]
    own, breadth = drawn[kept], breadth[kept]
    coined = coined_words(derive(seed, "vague", "words"), concepts * wordings + FILLERS)
    words, common = coined[: concepts * wordings].reshape(concepts, wordings), coined[concepts * wordings :]
    titles = _said(own, breadth, words, common, draw)
    catalog, row = catalog_of({"item_id": numbered("v", items), "title": titles}, {"item_id": "id", "title": "text"})

    ask = derive(seed, "vague", "queries")
    about = ask.integers(0, items, queries)
    named = ask.integers(1, breadth[about] + 1)
    # Which of its concepts are named: the first after shuffling those it has.
    order = np.argsort(
        np.where(np.arange(per_item) < breadth[about][:, None], ask.random((queries, per_item)), 2), axis=1
    )
    wanted = np.take_along_axis(own[about], order, axis=1)
    texts = _said(wanted, named, words, common, ask)
    likely = np.empty((queries, items), np.float32)
    likely[:, row] = _likely(wanted, named, chosen[kept], breadth)
    answer = row[about].astype(np.int64)
    dial = derive(seed, "vague", "dial")
    lost = np.flatnonzero(dial.random(queries) < randomness)
    other = dial.permutation(lost)
    likely[lost], answer[lost] = likely[other], answer[other]
    placed = np.empty(items, np.int64)
    placed[row] = breadth
    parameters = {
        "items": items, "queries": queries, "concepts": concepts, "per_item": per_item, "wordings": wordings,
    }  # fmt: skip
    data = Dataset(
        catalog,
        queries=Queries(Ids(numbered("q", queries), kind="query"), tuple(texts)),
        judgments=Judgments.from_pairs(np.arange(queries), answer, None, queries),
        name="vague",
        source={"world": "vague", **parameters, "randomness": randomness, "seed": seed},
    )
    return World(data, VagueTruth(likely, named, placed), randomness, parameters)


def _likely(wanted: np.ndarray, named: np.ndarray, has: np.ndarray, breadth: np.ndarray) -> np.ndarray:
    """Log chance [queries, items] that an item's searcher names these: how many (uniform), and which (uniform)."""
    asked = np.arange(wanted.shape[1]) < named[:, None]
    fits = (has.T[wanted] & asked[:, :, None]).sum(1)
    sets = comb(breadth, np.minimum(named[:, None], breadth))
    return np.asarray(-np.log(breadth) - np.log(sets) - MISSING * (named[:, None] - fits))


def _said(
    meaning: np.ndarray, count: np.ndarray, words: np.ndarray, common: np.ndarray, rng: np.random.Generator
) -> list[str]:
    """One text per meaning [n, per_item]: its first `count` [n] concepts, two words that mean nothing, in any order."""
    chosen = words[meaning, rng.integers(0, words.shape[1], meaning.shape)]
    chosen = np.where(np.arange(meaning.shape[1]) < count[:, None], chosen, "")
    stray = common[rng.integers(0, len(common), (len(meaning), 2))]
    texts: list[str] = join_words(rng.permuted(np.concatenate([chosen, stray], axis=1), axis=1)).to_pylist()
    return texts
