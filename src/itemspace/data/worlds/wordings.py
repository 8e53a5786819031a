"""Texts that mean the same in other words: questions with their paraphrases, and passages with the queries they answer."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from itemspace.core.dataset import Dataset
from itemspace.core.errors import RequestError
from itemspace.core.ids import Ids
from itemspace.core.judgments import Judgments, Queries
from itemspace.core.seeding import RNG, as_seed, derive
from itemspace.data.paraphrases import retrieval_sets
from itemspace.data.worlds.base import World, catalog_of, check_dial, coined_words, distinct, numbered
from itemspace.data.worlds.topics import join_words

FILLERS = 60


@dataclass(frozen=True)
class WordingsTruth:
    """What the texts were drawn from. meaning: the concepts of every item [items, per_meaning], in rows of the catalogue.

    classes: which items mean the same, int64 [items] (before the dial). words: how each concept may be said
    [concepts, wordings]. asked: the item each query was made from [queries]. pairs: the item rows [m, 2] that were said to
    mean the same (True in `same` [m]) or not, for `paraphrases`.
    """

    meaning: np.ndarray
    classes: np.ndarray
    words: np.ndarray
    asked: np.ndarray
    pairs: np.ndarray
    same: np.ndarray


def paraphrases(
    meanings: int = 400,
    *,
    size: tuple[int, int] = (2, 4),
    concepts: int = 40,
    per_meaning: int = 3,
    wordings: int = 4,
    fillers: int = 3,
    randomness: float = 0.0,
    rng: RNG = 0,
) -> World:
    """A corpus of questions, some of which mean the same in other words; every question asks for the others.

    Mechanism: a meaning is a set of `per_meaning` of the `concepts`; a question names each by one of its `wordings` coined
    words, drawn anew, among `fillers` common words, in any order. `size` bounds how many questions a meaning has. The data
    says of neighbours in a chain through each meaning's questions that they mean the same, and of as many pairs of
    questions with all but one concept in common that they do not: the sets to retrieve are the closure of the chains.
    Two paraphrases share a concept's word with chance 1 / wordings, so matching words find some and confuse them with
    other meanings; which words say the same is learned from any pairs, and holds for meanings never seen. With
    `wordings=1` words answer everything and nothing can be added.

    randomness: the share of questions whose place in a set is given to a random other one of them.

    Raises:
        RequestError: the dial is outside [0, 1], or so many meanings cannot be made.
    """
    randomness, seed = check_dial(randomness), as_seed(rng)
    low, high = size
    if not 1 <= low <= high:
        raise RequestError(f"size is the least and the most questions of a meaning, got {low} and {high}.")
    draw = derive(seed, "paraphrases", "meanings")
    each = _meanings(meanings, concepts, per_meaning, draw)
    counts = draw.integers(low, high + 1, meanings)
    owner = np.repeat(np.arange(meanings), counts)
    words, common = _vocabulary(concepts, wordings, derive(seed, "paraphrases", "words"))
    texts = _said(each[owner], words, common, fillers, derive(seed, "paraphrases", "texts"))
    catalog, row = catalog_of(
        {"item_id": numbered("q", len(owner)), "question": texts}, {"item_id": "id", "question": "text"}
    )
    meant = np.empty_like(owner)
    meant[row] = owner
    placed = meant.copy()
    dial = derive(seed, "paraphrases", "dial")
    lost = np.flatnonzero(dial.random(len(placed)) < randomness)
    placed[lost] = dial.permutation(placed[lost])
    left, right, same = _pairs(placed, each, derive(seed, "paraphrases", "pairs"))
    said = [text or "" for text in catalog.column("question").to_pylist()]
    sets = retrieval_sets(catalog, said, left, right, same)
    parameters = {
        "meanings": meanings, "size": list(size), "concepts": concepts, "per_meaning": per_meaning,
        "wordings": wordings, "fillers": fillers,
    }  # fmt: skip
    source = {"world": "paraphrases", **parameters, "randomness": randomness, "seed": seed}
    data = Dataset(catalog, queries=sets.queries, judgments=sets.judgments, name="paraphrases", source=source)
    asked = catalog.ids.find(sets.queries.ids.values)
    truth = WordingsTruth(each[meant], meant, words, asked, np.stack([left, right], axis=1), same)
    return World(data, truth, randomness, parameters)


def passages(
    items: int = 400,
    queries: int = 1200,
    *,
    concepts: int = 40,
    per_meaning: int = 3,
    wordings: int = 4,
    fillers: int = 12,
    query_fillers: int = 2,
    randomness: float = 0.0,
    rng: RNG = 0,
) -> World:
    """Passages, and queries each answered by one of them, mostly in other words.

    Mechanism: as `paraphrases`, but a meaning has one passage, which names its concepts among `fillers` common words, and
    `queries` short questions about random passages. Other passages have all but one of its concepts, so only the right
    reading of every word ranks the right passage first. With `wordings=1` matching words answer everything.

    randomness: the share of queries whose answer is the passage of a random other one of them.

    Raises:
        RequestError: the dial is outside [0, 1], or so many meanings cannot be made.
    """
    randomness, seed = check_dial(randomness), as_seed(rng)
    each = _meanings(items, concepts, per_meaning, derive(seed, "passages", "meanings"))
    words, common = _vocabulary(concepts, wordings, derive(seed, "passages", "words"))
    texts = _said(each, words, common, fillers, derive(seed, "passages", "texts"))
    catalog, row = catalog_of({"item_id": numbered("p", items), "passage": texts}, {"item_id": "id", "passage": "text"})
    draw = derive(seed, "passages", "queries")
    about = draw.integers(0, items, queries)
    asked = _said(each[about], words, common, query_fillers, draw)
    answer = row[about].astype(np.int64)
    dial = derive(seed, "passages", "dial")
    lost = np.flatnonzero(dial.random(queries) < randomness)
    given = answer.copy()
    given[lost] = dial.permutation(answer[lost])
    parameters = {
        "items": items, "queries": queries, "concepts": concepts, "per_meaning": per_meaning, "wordings": wordings,
        "fillers": fillers, "query_fillers": query_fillers,
    }  # fmt: skip
    data = Dataset(
        catalog,
        queries=Queries(Ids(numbered("q", queries), kind="query"), tuple(asked)),
        judgments=Judgments.from_pairs(np.arange(queries), given, None, queries),
        name="passages",
        source={"world": "passages", **parameters, "randomness": randomness, "seed": seed},
    )
    meaning = np.empty_like(each)
    meaning[row] = each
    nothing = np.zeros((0, 2), np.int64)
    truth = WordingsTruth(meaning, np.arange(items), words, answer, nothing, np.zeros(0, bool))
    return World(data, truth, randomness, parameters)


def _meanings(n: int, concepts: int, per_meaning: int, rng: np.random.Generator) -> np.ndarray:
    """`n` different sets of concepts, ascending [n, per_meaning]."""
    if not 1 <= per_meaning <= concepts:
        raise RequestError(f"a meaning has 1 to {concepts} of {concepts} concepts, not {per_meaning}.")
    # Twice as many as needed: meanings are far fewer than there are sets, or this is refused.
    drawn = np.sort(distinct(rng, 2 * n + 16, per_meaning, concepts), axis=1)
    found, first = np.unique(drawn, axis=0, return_index=True)
    if len(found) < n:
        raise RequestError(f"{n} meanings of {per_meaning} of {concepts} concepts are too many: take more concepts.")
    kept: np.ndarray = drawn[np.sort(first)[:n]]
    return kept


def _vocabulary(concepts: int, wordings: int, rng: np.random.Generator) -> tuple[np.ndarray, np.ndarray]:
    """Words of each concept [concepts, wordings], and common words."""
    coined = coined_words(rng, concepts * wordings + FILLERS)
    return coined[: concepts * wordings].reshape(concepts, wordings), coined[concepts * wordings :]


def _said(
    meaning: np.ndarray, words: np.ndarray, common: np.ndarray, fillers: int, rng: np.random.Generator
) -> list[str]:
    """One text per meaning [n, per_meaning]."""
    chosen = words[meaning, rng.integers(0, words.shape[1], meaning.shape)]
    stray = common[np.minimum(rng.zipf(1.3, (len(meaning), fillers)) - 1, len(common) - 1)]
    said = rng.permuted(np.concatenate([chosen, stray], axis=1), axis=1)
    texts: list[str] = join_words(said).to_pylist()
    return texts


def _pairs(placed: np.ndarray, each: np.ndarray, rng: np.random.Generator) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Item rows (left, right) and whether they are said to mean the same: a chain through every set, and near misses."""
    order = np.lexsort((rng.random(len(placed)), placed))
    linked = placed[order[1:]] == placed[order[:-1]]
    left, right = order[:-1][linked], order[1:][linked]
    near = _overlap(each)
    tried = rng.integers(0, len(placed), (2, 60 * max(len(left), 1)))
    close = near[placed[tried[0]], placed[tried[1]]] == each.shape[1] - 1
    miss = tried[:, np.flatnonzero(close)[: len(left)]]
    same = np.arange(len(left) + miss.shape[1]) < len(left)
    return np.concatenate([left, miss[0]]), np.concatenate([right, miss[1]]), same


def _overlap(each: np.ndarray) -> np.ndarray:
    """How many concepts two meanings share [n, n]."""
    has = np.zeros((len(each), int(each.max()) + 1), np.float32)
    has[np.arange(len(each))[:, None], each] = 1
    shared: np.ndarray = (has @ has.T).astype(np.int64)
    return shared
