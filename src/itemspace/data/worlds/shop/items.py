"""The shop's items: products drawn from the product types, each in a few colors, with texts, prices and stock."""

from __future__ import annotations

from dataclasses import dataclass, fields, replace

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from itemspace.data.worlds.base import DAY, START, numbered
from itemspace.data.worlds.shop import words

SPAN = 730
"""Days from the first to the last possible event."""

KINDS: dict[str, str] = {
    "item_id": "id",
    "title": "text",
    "description": "text",
    "department": "category",
    "category": "category",
    "product_type": "category",
    "brand": "category",
    "material": "category",
    "color": "category",
    "size": "category",
    "features": "list",
    "price": "number",
    "stock": "number",
    "in_stock": "boolean",
    "rating": "number",
    "released": "time",
    "variant_of": "category",
    "image": "image",
}


@dataclass(frozen=True)
class Items:
    """The attributes the shop is drawn from; codes index `words.names(...)`, one entry per item [n].

    features: bool [n, features]. price in the shop's currency, released in Unix seconds, popularity positive.
    """

    kind: np.ndarray
    brand: np.ndarray
    material: np.ndarray
    size: np.ndarray
    color: np.ndarray
    features: np.ndarray
    product: np.ndarray
    model: np.ndarray
    model_number: np.ndarray
    price: np.ndarray
    stock: np.ndarray
    rating: np.ndarray
    released: np.ndarray
    popularity: np.ndarray

    def __len__(self) -> int:
        return len(self.kind)

    def take(self, rows: np.ndarray) -> Items:
        return replace(self, **{f.name: getattr(self, f.name)[rows] for f in fields(self)})


def draw_items(n: int, rng: np.random.Generator) -> Items:
    """`n` items: variants (colors) of about half as many products."""
    kinds = words.kinds()
    kind = rng.integers(0, len(kinds), n)  # at least one item per product: n products are enough
    brand = rng.integers(0, len(words.BRANDS), n)
    material = _pick(rng, kind, [[words.names("materials").index(m) for m in k.materials] for k in kinds])
    size = _pick(rng, kind, [[words.names("sizes").index(s) for s in k.sizes] or [0] for k in kinds])
    features = _draw_features(rng, kind)
    level = np.array(list(words.BRANDS.values()))[brand] * (0.85 + 0.12 * features.sum(1))
    larger = np.array([1.0, 1.25, 1.5, 1.75])[_place(kind, size)]
    price = np.array([k.price for k in kinds])[kind] * level * larger * rng.lognormal(0, 0.15, n)
    early = rng.random(n) < 0.8
    released = START + DAY * np.where(early, -rng.integers(30, 1000, n), rng.integers(0, SPAN, n))

    variants = np.minimum(rng.choice([1, 2, 3, 4], n, p=[0.3, 0.3, 0.25, 0.15]), len(words.COLORS))
    product = np.repeat(np.arange(n), variants)[:n]
    number = np.arange(n) - np.searchsorted(product, product)
    colors = rng.permuted(np.tile(np.arange(len(words.COLORS)), (n, 1)), axis=1)
    color = colors[product, number]
    own = np.round(price[product] * rng.choice([1.0, 1.0, 0.95, 1.05], n)) - 0.01
    stock = np.where(rng.random(n) < 0.15, 0, rng.poisson(25, n))
    return Items(
        kind=kind[product],
        brand=brand[product],
        material=material[product],
        size=size[product],
        color=color,
        features=features[product],
        product=product,
        model=rng.integers(0, len(words.MODELS), n)[product],
        model_number=rng.integers(10, 100, n)[product] * 10,
        price=np.maximum(own, 2.99).round(2),
        stock=stock,
        rating=np.clip(rng.normal(4.1, 0.5, n)[product] + rng.normal(0, 0.1, n), 1, 5).round(1),
        released=released[product].astype(np.int64),
        popularity=rng.lognormal(0, 1.4, n)[product] * rng.lognormal(0, 0.3, n),
    )


def to_table(items: Items) -> pa.Table:
    """The items as a shopper's file would have them: one readable row each."""
    kinds = words.kinds()
    n = len(items)
    ids = numbered("P", n)
    size = _coded("sizes", items.size)
    stamp = pa.array(items.released, pa.timestamp("s")).cast(pa.timestamp("ms"))
    return pa.table(
        {
            "item_id": ids,
            "title": _titles(items),
            "description": _descriptions(items),
            "department": pa.array([k.department for k in kinds]).take(pa.array(items.kind)),
            "category": pa.array([k.category.lower() for k in kinds]).take(pa.array(items.kind)),
            "product_type": pa.array([k.name for k in kinds]).take(pa.array(items.kind)),
            "brand": _coded("brands", items.brand),
            "material": _coded("materials", items.material),
            "color": _coded("colors", items.color),
            "size": pc.if_else(pc.equal(size, ""), pa.scalar(None, pa.string()), size),
            "features": _feature_lists(items.features),
            "price": items.price,
            "stock": items.stock,
            "in_stock": items.stock > 0,
            "rating": items.rating,
            "released": stamp,
            "variant_of": pa.array(numbered("G", n)).take(pa.array(items.product)),
            "image": _join("images/", pa.array(ids), ".png", by=""),
        }
    )


def _draw_features(rng: np.random.Generator, kind: np.ndarray) -> np.ndarray:
    """bool [n, features]: each of a kind's features with chance 0.45, at least one."""
    order = words.names("features")
    possible = np.zeros((len(words.kinds()), len(order)), bool)
    for row, one in enumerate(words.kinds()):
        possible[row, [order.index(feature) for feature in one.features]] = True
    own = possible[kind]
    chance = np.where(own, rng.random(own.shape), 2.0)
    return (chance < 0.45) | (chance == chance.min(1, keepdims=True))


def _pick(rng: np.random.Generator, kind: np.ndarray, choices: list[list[int]]) -> np.ndarray:
    """For each kind code [n], one of its kind's `choices`, uniformly [n]."""
    lengths = np.array([len(c) for c in choices])
    padded = np.array([c + [0] * (int(lengths.max()) - len(c)) for c in choices])
    return padded[kind, (rng.random(len(kind)) * lengths[kind]).astype(int)]


def _place(kind: np.ndarray, size: np.ndarray) -> np.ndarray:
    """The place of each size among its kind's sizes [n]: 0 for the smallest."""
    place = np.zeros((len(words.kinds()), len(words.names("sizes"))), int)
    for row, one in enumerate(words.kinds()):
        place[row, [words.names("sizes").index(s) for s in one.sizes]] = np.arange(len(one.sizes))
    return place[kind, size]


def _coded(what: str, codes: np.ndarray) -> pa.Array:
    return pa.array(words.names(what)).take(pa.array(codes))


def _feature_lists(features: np.ndarray) -> pa.Array:
    feature = np.nonzero(features)[1]
    offsets = np.concatenate(([0], np.cumsum(features.sum(1)))).astype(np.int32)
    return pa.ListArray.from_arrays(pa.array(offsets), _coded("features", feature))


def _join(*parts: pa.Array | str, by: str = " ") -> pa.Array:
    """The parts of each row joined, missing ones left out."""
    return pc.binary_join_element_wise(*parts, by, null_handling="skip")


def _nth_feature(features: np.ndarray, place: int) -> np.ndarray:
    """The code of each item's feature at `place` in feature order [n], -1 where it has fewer."""
    rank = np.cumsum(features, axis=1) - 1
    at = features & (rank == place)
    return np.where(at.any(1), at.argmax(1), -1)


def _titles(items: Items) -> pa.Array:
    """Brand, first feature (of two products in three), material, color, type, size, model."""
    first = _nth_feature(items.features, 0)
    shown = (items.product * 7) % 3 > 0
    feature = pa.array(words.names("features")).take(pa.array(first, mask=~shown))
    size = pa.array(words.names("sizes")).take(pa.array(items.size, mask=items.size == 0))
    kind = pa.array([k.name for k in words.kinds()]).take(pa.array(items.kind))
    described = _join(feature, _coded("materials", items.material), _coded("colors", items.color), kind, size)
    model = _join(_coded_models(items), pa.array(items.model_number).cast(pa.string()))
    return _join(_coded("brands", items.brand), pc.utf8_title(described), model)


def _coded_models(items: Items) -> pa.Array:
    return pa.array(words.MODELS).take(pa.array(items.model))


_OPENINGS = (
    "The {0} you will reach for again and again.",
    "Our favorite {0} this season.",
    "Simple, honest, well made: {0} done right.",
    "Exactly what you want from your {0}.",
    "Designed with care by people who have used {0} all their lives.",
)


def _descriptions(items: Items) -> pa.Array:
    """An opening, the features (each plainly or in other words, as the product's number has it), material, color."""
    openings = pa.array([text.format(kind.name) for text in _OPENINGS for kind in words.kinds()])
    at = (items.product % len(_OPENINGS)) * len(words.kinds()) + items.kind
    plain = pa.array([f"{feature.capitalize()}." for feature in words.FEATURES])
    other = pa.array([said for _, said in words.FEATURES.values()])
    sentences = []
    for place in range(4):
        code = _nth_feature(items.features, place)
        said_plainly = ((items.product * 31 + place * 17) % 5) < 2
        picked = pc.if_else(
            pa.array(said_plainly), plain.take(pa.array(code, mask=code < 0)), other.take(pa.array(code, mask=code < 0))
        )
        sentences.append(picked)
    material = _join("Material:", _coded("materials", items.material))
    color = _join("Color:", _coded("colors", items.color))
    facts = _join(material, color, by="; ")
    return _join(openings.take(pa.array(at)), *sentences, _join(facts, "", by="."))
