"""Product search where an item is an exact answer, a substitute, a complement, or nothing to a query."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from itemspace.core.dataset import Dataset
from itemspace.core.errors import RequestError
from itemspace.core.ids import Ids
from itemspace.core.judgments import Judgments, Queries
from itemspace.core.seeding import RNG, as_seed, derive
from itemspace.data.worlds.base import World, catalog_of, check_dial, coined_words, numbered
from itemspace.data.worlds.topics import join_words

LABELS = ("E", "S", "C", "I")
GAINS = (1.0, 0.1, 0.01, 0.0)
"""What the labels are worth, as the Shopping Queries paper has it."""
FILLERS = 150


@dataclass(frozen=True)
class RelationsTruth:
    """label: int8 [queries, items], every pair's true label before the dial scrambled any, as a place in LABELS.

    kind, trait [items]: what each item is. without: bool [queries], whether the query asks for anything but its trait.
    """

    label: np.ndarray
    kind: np.ndarray
    trait: np.ndarray
    without: np.ndarray


def relations(
    items: int = 600,
    queries: int = 400,
    *,
    kinds: int = 10,
    traits: int = 6,
    judged: int = 4,
    without: float = 0.5,
    randomness: float = 0.0,
    rng: RNG = 0,
) -> World:
    """Things of some kind with some trait, asked for by kind and trait, or by kind and *not* that trait.

    Mechanism: kinds come in pairs of companions. An item's title names its kind and trait by the catalogue's words among
    fillers. A query names the kind by searchers' own word, the trait by the catalogue's, and a share `without` of them
    puts a coined word for "without" before the trait. To a query an item of its kind is exact (E) where the trait is as
    asked (or, after "without", another), else a substitute (S); an item of the companion kind is a complement (C); all
    others are irrelevant (I). `judged` items of each label are judged per query; the irrelevant and the complements among
    them have the trait that the query names where they can.

    So matching words find the trait among irrelevant things, one vector per text can learn what goes with what but not
    that one word turns another around, and reading both texts together can learn all of it. Grades are `GAINS`.
    There are at most kinds x traits x 2 different texts, so texts recur; half of the texts have `split` "train" and the
    other half "test": a test query's words are known from training, what it puts together is not.

    randomness: the share of queries whose labels are dealt among their judged items at random.

    Raises:
        RequestError: the dial is outside [0, 1]; an odd number of kinds; too few items for every kind and trait.
    """
    randomness, seed = check_dial(randomness), as_seed(rng)
    if kinds < 4 or kinds % 2 or traits < 2 or items < 2 * kinds * traits:
        raise RequestError(
            f"{items} items of {kinds} kinds and {traits} traits: take an even number of kinds and twice as many items."
        )
    draw = derive(seed, "relations", "items")
    coined = coined_words(draw, 2 * kinds + traits + 1 + FILLERS)
    of_kind, asked_kind, of_trait, negation, fillers = np.split(coined, np.cumsum([kinds, kinds, traits, 1]))
    kind = np.arange(items) % kinds
    trait = np.arange(items) // kinds % traits
    said = fillers[np.minimum(draw.zipf(1.4, (items, 5)) - 1, FILLERS - 1)]
    words = np.concatenate([of_kind[kind][:, None], of_trait[trait][:, None], said], axis=1)
    titles = join_words(draw.permuted(words, axis=1))
    catalog, row = catalog_of({"item_id": numbered("p", items), "title": titles}, {"item_id": "id", "title": "text"})
    placed = np.empty(items, np.int64)
    placed[row] = np.arange(items)
    kind, trait = kind[placed], trait[placed]

    ask = derive(seed, "relations", "queries")
    wanted, named = ask.integers(0, kinds, queries), ask.integers(0, traits, queries)
    negated = ask.random(queries) < without
    before = np.where(negated, negation[0], "")
    texts = join_words(np.stack([before, of_trait[named], asked_kind[wanted]], axis=1)).to_pylist()
    same, companion = wanted[:, None] == kind, (wanted ^ 1)[:, None] == kind
    fits = (named[:, None] == trait) != negated[:, None]
    label = np.where(same, np.where(fits, 0, 1), np.where(companion, 2, 3)).astype(np.int8)
    query, item = _judged(label, named[:, None] == trait, judged, derive(seed, "relations", "judged"))
    given = label[query, item].astype(np.int64)
    given = _dealt(given, query, randomness, derive(seed, "relations", "dial"))
    text = (wanted * traits + named) * 2 + negated
    taught = derive(seed, "relations", "split").permutation(2 * kinds * traits) < kinds * traits
    split = np.where(taught[text], "train", "test")
    parameters = {
        "items": items,
        "queries": queries,
        "kinds": kinds,
        "traits": traits,
        "judged": judged,
        "without": without,
    }
    data = Dataset(
        catalog,
        queries=Queries(Ids(numbered("q", queries), kind="query"), tuple(texts), {"split": split}),
        judgments=Judgments.from_pairs(query, item, np.asarray(GAINS)[given], queries),
        name="relations",
        source={"world": "relations", **parameters, "randomness": randomness, "seed": seed},
    )
    return World(data, RelationsTruth(label, kind, trait, negated), randomness, parameters)


def _judged(label: np.ndarray, named: np.ndarray, each: int, rng: np.random.Generator) -> tuple[np.ndarray, np.ndarray]:
    """`each` items of every label per query, pairs (query [m], item [m]); those with the named trait first where that

    misleads (labels C and I).
    """
    queries, items = [], []
    for code in range(len(LABELS)):
        score = rng.random(label.shape) + np.where(named & (code >= 2), 1.0, 0.0)
        score[label != code] = -1.0
        best = np.argsort(-score, axis=1)[:, :each]
        query, place = np.nonzero(np.take_along_axis(score, best, 1) >= 0)
        queries.append(query)
        items.append(best[query, place])
    return np.concatenate(queries), np.concatenate(items)


def _dealt(label: np.ndarray, query: np.ndarray, randomness: float, rng: np.random.Generator) -> np.ndarray:
    """The labels [m] of a share of the queries dealt anew among each query's own pairs."""
    lost = rng.random(int(query.max(initial=0)) + 1) < randomness
    order, shuffled = np.lexsort((np.arange(len(query)), query)), np.lexsort((rng.random(len(query)), query))
    out = label.copy()
    out[order] = np.where(lost[query[order]], label[shuffled], label[order])
    return out
