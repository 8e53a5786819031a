"""Texts as sets of word vectors, where what fits a query as a whole is not what fits any one of its words best."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from itemspace.core.dataset import Dataset
from itemspace.core.ids import Ids
from itemspace.core.judgments import Judgments, Queries
from itemspace.core.seeding import RNG, as_seed, derive
from itemspace.core.vectors import Multi, VectorSpace, normalize
from itemspace.data.worlds.base import World, catalog_of, check_dial, coined_words, numbered
from itemspace.data.worlds.topics import join_words


@dataclass(frozen=True)
class SetsTruth:
    """items: the word vectors of every item, in rows of the catalogue; queries: those of every query; both unit length.

    right: which items were made for each query, int64 [queries, right].
    """

    items: Multi
    queries: Multi
    right: np.ndarray


def token_sets(
    queries: int = 40,
    *,
    dimension: int = 32,
    words: int = 6,
    right: int = 10,
    decoys: int = 5,
    randomness: float = 0.0,
    rng: RNG = 0,
) -> World:
    """Every query has `right` items that are near to each of its words, and `decoys` per word that are nearer to that one.

    Mechanism: a right item has a vector at a cosine of 0.6 to 0.8 to every word of its query. A decoy has one at 0.9 to
    one word, and otherwise vectors of no one. Summed over the query's words (MaxSim) right items come first by far; looked
    up word by word, the decoys of all words come before any right item. Every vector is a coined word of its own, so the
    texts say nothing beyond their vectors.

    randomness: the share of queries that have a single word, with items of a single one. There a word is all there is.

    Raises:
        RequestError: the dial is outside [0, 1].
    """
    randomness, seed = check_dial(randomness), as_seed(rng)
    draw = derive(seed, "token sets", "vectors")
    asked = _units(draw, queries, words, dimension)
    group = right + decoys * words
    held = _units(draw, queries, group, words, dimension)
    near = draw.uniform(0.6, 0.8, (queries, right, words))
    held[:, :right] = _towards(asked[:, None], held[:, :right], near)
    word = np.repeat(np.arange(words), decoys)
    held[:, right:, 0] = _towards(asked[:, word], held[:, right:, 0], np.full((queries, len(word)), 0.9))
    single = derive(seed, "token sets", "dial").random(queries) < randomness
    lengths = np.where(single, 1, words)
    kept = np.broadcast_to(np.arange(words) < lengths[:, None, None], (queries, group, words))

    coined = coined_words(derive(seed, "token sets", "words"), queries * (group + 1) * words).astype(object)
    of_items, of_queries = np.split(coined, [queries * group * words])
    titles = join_words(np.where(kept.reshape(-1, words), of_items.reshape(-1, words), ""))
    texts = join_words(np.where(kept[:, 0], of_queries.reshape(-1, words), "")).to_pylist()
    total = queries * group
    catalog, row = catalog_of({"item_id": numbered("s", total), "title": titles}, {"item_id": "id", "title": "text"})
    place = np.empty(total, np.int64)
    place[row] = np.arange(total)
    space = VectorSpace(f"token-sets-{seed}-{dimension}-{queries}-{words}", dimension, "cosine", True)
    items = _sets(held.reshape(total, words, dimension), np.repeat(lengths, group), space).take(place)
    answers = row.reshape(queries, group)[:, :right].astype(np.int64)
    parameters = {"queries": queries, "dimension": dimension, "words": words, "right": right, "decoys": decoys}
    data = Dataset(
        catalog,
        queries=Queries(Ids(numbered("q", queries), kind="query"), tuple(texts)),
        judgments=Judgments.from_pairs(np.repeat(np.arange(queries), right), answers.ravel(), None, queries),
        name="token sets",
        source={"world": "token_sets", **parameters, "randomness": randomness, "seed": seed},
    )
    return World(data, SetsTruth(items, _sets(asked, lengths, space), answers), randomness, parameters)


def _units(rng: np.random.Generator, *shape: int) -> np.ndarray:
    """Random vectors of length 1 [*shape]."""
    values = rng.standard_normal(shape)
    return np.asarray(values / np.linalg.norm(values, axis=-1, keepdims=True))


def _towards(target: np.ndarray, other: np.ndarray, cosine: np.ndarray) -> np.ndarray:
    """Unit vectors at these cosines to unit `target`, otherwise in the direction of unit `other`."""
    rest = other - (other * target).sum(-1, keepdims=True) * target
    rest /= np.linalg.norm(rest, axis=-1, keepdims=True)
    return np.asarray(cosine[..., None] * target + np.sqrt(1 - cosine[..., None] ** 2) * rest)


def _sets(values: np.ndarray, lengths: np.ndarray, space: VectorSpace) -> Multi:
    """The first of each row's vectors [n, words, d]."""
    kept = np.arange(values.shape[1]) < lengths[:, None]
    offsets = np.concatenate(([0], np.cumsum(lengths))).astype(np.int64)
    return Multi(normalize(values[kept]), offsets, space)
