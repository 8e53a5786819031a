"""The shop's searches: queries in plain words, grades derived from what the items are, lists shown and clicked."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from itemspace.core.judgments import Judgments
from itemspace.core.ragged import Ragged
from itemspace.data.worlds.base import DAY, START
from itemspace.data.worlds.shop import words
from itemspace.data.worlds.shop.items import SPAN, Items

GROUPS = ("type", "color", "feature", "paraphrase", "brand", "price", "size", "model")
ATTRACTION = np.array([0.03, 0.15, 0.45, 0.85])
"""The chance of a click on an examined item, by its grade."""
SHOWN = 10
EXAMINATION = 1.0
"""Position p (from 0) is examined with chance (p + 1) ** -EXAMINATION."""
CHEAP = 0.33


@dataclass(frozen=True)
class Wanted:
    """What each query asks for [q]: a noun, and -1 or the code of a color, feature, brand, size; `cheap`; a product
    (its number in `product_names`).

    group: index into GROUPS. text: how it is said.
    """

    group: np.ndarray
    noun: np.ndarray
    color: np.ndarray
    feature: np.ndarray
    brand: np.ndarray
    size: np.ndarray
    cheap: np.ndarray
    product: np.ndarray
    text: tuple[str, ...]


def draw_queries(items: Items, n: int, rng: np.random.Generator) -> Wanted:
    """Up to `n` different queries, each about an existing item, so that every query can be answered.

    Groups rotate. Texts do not repeat.
    """
    drawn = 3 * n  # short queries repeat: the first n different ones are kept
    group = np.arange(drawn) % len(GROUPS)
    about = rng.integers(0, len(items), drawn)
    for name, fitting in (("size", items.size > 0), ("price", items.price <= _cheap_below(items)[items.kind])):
        here, choices = group == GROUPS.index(name), np.flatnonzero(fitting)
        if len(choices):
            about[here] = choices[rng.integers(0, len(choices), int(here.sum()))]
        else:
            group[here] = GROUPS.index("color")
    picked = items.take(about)
    is_in = {name: group == number for number, name in enumerate(GROUPS)}
    featured = is_in["feature"] | is_in["paraphrase"] | (is_in["price"] & (rng.random(drawn) < 0.5))
    chosen = np.where(picked.features, rng.random(picked.features.shape), -1).argmax(1)
    also = (is_in["size"] | is_in["feature"] | is_in["brand"]) & (rng.random(drawn) < 0.4)
    colored = is_in["color"] | also
    nouns = np.array([words.names("nouns").index(kind.noun) for kind in words.kinds()])
    model = is_in["model"]
    codes = {
        "color": np.where(colored, picked.color, -1),
        "feature": np.where(featured, chosen, -1),
        "brand": np.where(is_in["brand"] | model, picked.brand, -1),
        "size": np.where(is_in["size"], picked.size, -1),
    }
    text = np.array(_texts(picked, nouns[picked.kind], group, codes), object)
    _, first = np.unique(text.astype(str), return_index=True)
    keep = np.sort(first)[:n]
    return Wanted(
        group=group[keep],
        noun=nouns[picked.kind][keep],
        color=codes["color"][keep],
        feature=codes["feature"][keep],
        brand=codes["brand"][keep],
        size=codes["size"][keep],
        cheap=is_in["price"][keep],
        product=np.where(model, product_names(picked), -1)[keep],
        text=tuple(str(one) for one in text[keep]),
    )


def product_names(items: Items) -> np.ndarray:
    """One number per brand, model and model number [n]: what a shopper types to get exactly this product."""
    return (items.brand * len(words.MODELS) + items.model) * 1000 + items.model_number


def _texts(picked: Items, noun: np.ndarray, group: np.ndarray, codes: dict[str, np.ndarray]) -> list[str]:
    """The words of each query, one phrase per group."""

    def spoken(what: str, code: np.ndarray) -> np.ndarray:
        return np.array([*words.names(what), ""], object)[code]

    feature = spoken("features", codes["feature"])
    said = np.array([*(plain for plain, _ in words.FEATURES.values()), ""], object)[codes["feature"]]
    paraphrased = group == GROUPS.index("paraphrase")
    before = np.where(paraphrased, "", feature)
    after = np.where(paraphrased, said, spoken("sizes", codes["size"]))
    cheap = np.where(group == GROUPS.index("price"), "cheap", "")
    color, brand = spoken("colors", codes["color"]), spoken("brands", codes["brand"])
    is_model = group == GROUPS.index("model")
    kind = np.array(words.names("nouns"), object)[noun]
    named = np.array(words.MODELS, object)[picked.model] + " " + picked.model_number.astype(str).astype(object)
    last = np.where(is_model, named, after)
    parts = zip(cheap, brand, color, before, np.where(is_model, "", kind), last, strict=True)
    return [" ".join(word for word in row if word) for row in parts]


def grades(wanted: Wanted, items: Items) -> np.ndarray:
    """int8 [q, items] from 0 to 3, by the generating attributes alone.

    3: the asked kind of thing with everything asked for. 2: the right kind, all but one of at least two wishes.
    1: the right kind otherwise, or another thing of the same category that fulfils every wish (at least one).
    Model queries: 3 the product in any color, 1 its brand's other things of the kind.
    """
    nouns = np.array([words.names("nouns").index(kind.noun) for kind in words.kinds()])
    categories = np.unique([kind.category for kind in words.kinds()], return_inverse=True)[1]
    in_category = np.zeros((len(words.names("nouns")), int(categories.max()) + 1), bool)
    in_category[nouns, categories] = True
    right = wanted.noun[:, None] == nouns[items.kind]
    near = in_category[wanted.noun][:, categories[items.kind]] & ~right
    cheap = items.price <= _cheap_below(items)[items.kind]
    wishes = [
        (wanted.color, wanted.color[:, None] == items.color),
        (wanted.feature, items.features[:, wanted.feature].T),
        (wanted.brand, wanted.brand[:, None] == items.brand),
        (wanted.size, wanted.size[:, None] == items.size),
        (np.where(wanted.cheap, 0, -1), np.broadcast_to(cheap, right.shape)),
    ]
    asked = np.sum([code >= 0 for code, _ in wishes], axis=0)[:, None]
    met = np.sum([(code >= 0)[:, None] & held for code, held in wishes], axis=0)
    grade = np.where(right, np.where(met == asked, 3, np.where((asked >= 2) & (met == asked - 1), 2, 1)), 0)
    grade = np.where(near & (asked > 0) & (met == asked), 1, grade)
    by_model = (wanted.product >= 0)[:, None]
    model_grade = np.where(wanted.product[:, None] == product_names(items), 3, (right & (met == asked)).astype(int))
    return np.where(by_model, model_grade, grade).astype(np.int8)


def _cheap_below(items: Items) -> np.ndarray:
    """The price at the cheap third of each kind [kinds]."""
    order = np.lexsort((items.price, items.kind))
    size = np.bincount(items.kind, minlength=len(words.kinds()))
    starts = np.concatenate(([0], np.cumsum(size)))[:-1]
    at = np.minimum(starts + (CHEAP * np.maximum(size - 1, 0)).astype(int), len(items) - 1)
    return items.price[order][at]


def judge(true: np.ndarray, wanted: Wanted, items: Items, rng: np.random.Generator, *, zeros: int = 40) -> Judgments:
    """Every item graded above 0, and about `zeros` judged 0 per query: mostly of the same category, some at random."""
    categories = np.unique([kind.category for kind in words.kinds()], return_inverse=True)[1][items.kind]
    nouns = np.array([words.names("nouns").index(kind.noun) for kind in words.kinds()])
    home = np.zeros(len(words.names("nouns")), int)
    home[nouns] = np.unique([kind.category for kind in words.kinds()], return_inverse=True)[1]
    close = home[wanted.noun][:, None] == categories
    chance = np.where(close, 0.7 * zeros / np.maximum(close.sum(1, keepdims=True), 1), 0.3 * zeros / len(items))
    judged = (true > 0) | (rng.random(true.shape) < chance)
    query, item = np.nonzero(judged)
    offsets = np.concatenate(([0], np.cumsum(judged.sum(1)))).astype(np.int64)
    return Judgments(Ragged(item.astype(np.int32), offsets), true[query, item].astype(np.float32))


@dataclass(frozen=True)
class Shown:
    """Lists shown to users: arrays [lists, 10] of items and clicks; query, user and time [lists]."""

    query: np.ndarray
    user: np.ndarray
    time: np.ndarray
    item: np.ndarray
    clicked: np.ndarray


def show(
    grade: np.ndarray, items: Items, users: int, lists: int, rng: np.random.Generator, *, block: int = 1024
) -> Shown:
    """Lists of ten by a mediocre ranker (grade plus noise plus popularity), clicked by the position-based model:

    a click needs the position examined and the item found attractive, independently. Frequent queries are Zipf.
    """
    frequency = 1 / np.arange(1, len(grade) + 1)
    query = rng.choice(len(grade), lists, p=rng.permutation(frequency / frequency.sum()))
    time = np.sort((START + rng.uniform(0, SPAN, lists) * DAY).astype(np.int64))
    popular = 0.3 * np.log(items.popularity).astype(np.float32)
    item = np.empty((lists, SHOWN), np.int64)
    for start in range(0, lists, block):
        asked = query[start : start + block]
        noise = rng.standard_normal((len(asked), len(items)), np.float32)
        score = grade[asked] + 0.9 * noise + popular
        score[items.released > time[start : start + block, None]] = -np.inf
        best = np.argpartition(-score, SHOWN, axis=1)[:, :SHOWN]
        order = np.argsort(-np.take_along_axis(score, best, 1), axis=1)
        item[start : start + block] = np.take_along_axis(best, order, 1)
    examined = rng.random(item.shape) < propensities()
    liked = rng.random(item.shape) < ATTRACTION[grade[query[:, None], item]]
    return Shown(query, rng.integers(0, users, lists), time, item, examined & liked)


def propensities() -> np.ndarray:
    """The chance that each position is examined [10]."""
    return np.power(np.arange(1, SHOWN + 1), -EXAMINATION)
