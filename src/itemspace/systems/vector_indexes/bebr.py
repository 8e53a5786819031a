"""BEBR: retrieval by bits that are learned from the vectors alone, several layers of them (Gan et al., 2023).

A vector becomes bits, the bits are decoded, and what they left over becomes bits again, half as heavy. The networks that do so
are trained embedding to embedding: the bits' neighbors are to be the vectors' neighbors. Queries are bits as well, compared
by popcount; a new model's bits are trained to find an old model's, so that nothing has to be encoded again at once.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from functools import partial

import numpy as np

from itemspace.core.config import Config
from itemspace.core.dataset import Dataset
from itemspace.core.operators import Encoded
from itemspace.core.requests import Requests
from itemspace.core.seeding import derive
from itemspace.core.vectors import Dense, VectorSpace
from itemspace.data.worlds.wordings import passages
from itemspace.encode.lsa import LSAEncoder
from itemspace.evaluate.bench import Bench, System
from itemspace.evaluate.claims import Claim
from itemspace.index.binarize import Binarizer, itq_binarizer, packed, products, products_reference, sign_binarizer
from itemspace.index.binary import BinaryConfig, BinaryIndex
from itemspace.index.flat import FlatIndex

DIMENSION = 64
K = 10
ASKED = 400


class BebrConfig(Config):
    """dimension: of the vectors. index: the bits. seed: of everything."""

    dimension: int = 128
    index: BinaryConfig = BinaryConfig(method="recurrent", compression=16)
    seed: int = 0


def build(data: Dataset, config: BebrConfig = BebrConfig()) -> Encoded:
    """Texts as vectors, kept as learned bits and searched by them, the first candidates scored again by their vectors."""
    size = min(config.dimension, max(2, len(data.catalog) // 2))
    encoder = LSAEncoder(dimension=size).fit(data.catalog, rng=config.seed)
    return (encoder >> BinaryIndex(config.index)).build(data.catalog, rng=config.seed)


def check(bench: Bench) -> None:
    """Learned bits, signs of a random rotation and ITQ's at equal bytes; two models' bits against each other.

    In the null world the bits are learned from vectors that have nothing to do with those they are for.
    """
    real = Dataset.read("amazon-scientific", root=bench.data) if bench.place == "real" else None
    for seed in bench.seeds:
        if real is not None:
            data, epochs = real, 8
        else:
            # Meanings that are sums of a few of many concepts: their vectors lie on directions that bits can learn.
            size = (300, 60) if bench.quick else (2_000, 200)
            data = passages(size[0], 10, concepts=size[1], per_meaning=4, wordings=1, fillers=2, rng=seed).data
            epochs = 4 if bench.quick else 8
        _measure(bench, data, 32 if bench.quick else DIMENSION, epochs, seed)
    if real is not None:
        bench.note(
            f"Vectors are LSA's of {len(real.catalog):,} products' texts, {DIMENSION} dimensions; {ASKED} other texts (titles "
            "alone) ask; what is right are the ten nearest by full-precision vectors. Tencent's logs are not here."
        )


def _measure(bench: Bench, data: Dataset, dimension: int, epochs: int, seed: int) -> None:
    bench.used(data, queries=ASKED)
    encoder = LSAEncoder(dimension=dimension).fit(data.catalog, rng=seed)
    items = encoder.encode(data.catalog, role="item")
    titles = data.catalog.texts(data.catalog.text_columns()[:1])
    picked = derive(seed, "bebr", "queries").choice(len(titles), min(ASKED, len(titles)), replace=False)
    texts = [" ".join(titles[at].split()[:8]) for at in picked.tolist()]
    queries = encoder.encode(Requests.texts(texts), role="query")
    exact = FlatIndex().build([items]).search(queries, K).rows
    sample = items.values
    if bench.place == "null":
        noise = derive(seed, "bebr", "noise").standard_normal(sample.shape)
        sample = (noise / np.linalg.norm(noise, axis=1, keepdims=True)).astype(np.float32)
    names, shapes = (
        ("recall@10-half-bit", "recall@10", "recall@10-2-bits"),
        ((dimension // 2, 1), (dimension, 1), (dimension, 2)),
    )
    indexes = [
        BinaryIndex(method="sign", bits=width * layers, layers=layers, rerank=0, least=1).build([items], rng=seed)
        for width, layers in shapes
    ]
    makers: dict[str, Callable[..., Binarizer]] = {
        "sign": sign_binarizer,
        "itq": itq_binarizer,
        "system": partial(_learned, epochs=epochs),
    }
    learned: list[Binarizer] = []
    for arm, make in makers.items():
        began = time.perf_counter()
        learned = [make(sample if arm == "system" else items.values, *shape, seed) for shape in shapes]
        bench.spend(arm, seconds=time.perf_counter() - began, epochs=epochs * len(shapes) if arm == "system" else 0)
        found = [_recall(index.holding(made), queries, exact) for index, made in zip(indexes, learned, strict=True)]
        bench.record(arm, dict(zip(names, found, strict=True)))
        if arm == "system":
            bench.record(arm, {"gain-per-doubling": float(np.diff(found).min())})
    bench.record("system", {"sdc-error": _sdc_error(learned[2], items.values, queries.values)})
    _versions(bench, indexes[1].holding(learned[1]), data, items, texts, exact, epochs, seed)


def _learned(sample: np.ndarray, width: int, layers: int, seed: int, *, epochs: int) -> Binarizer:
    from itemspace.index.binarize_training import BinarizerTraining, trained_binarizer

    start = itq_binarizer(sample, width, layers, seed)
    return trained_binarizer(sample, start, BinarizerTraining(epochs=epochs, hidden=width), seed=seed)


def _recall(index: BinaryIndex, queries: Dense, exact: np.ndarray) -> float:
    rows = index.search(queries, K).rows
    return float((exact[:, :, None] == rows[:, None, :]).any(2).mean())


def _sdc_error(binarizer: Binarizer, items: np.ndarray, queries: np.ndarray) -> float:
    """The largest difference between products counted from bits and those of the values in float64."""
    held, asked = binarizer.signs(items[:2000]), binarizer.signs(queries[:20])
    codes, scale = packed(held), 4 ** (len(binarizer.layers) - 1)
    counted = np.stack([products(packed(one), codes, binarizer.width) for one in asked]) / scale
    return float(np.abs(counted - np.stack([products_reference(one, held) for one in asked])).max())


def _versions(
    bench: Bench, index: BinaryIndex, data: Dataset, items: Dense, texts: list[str], exact: np.ndarray, epochs: int, seed: int
) -> None:  # fmt: skip
    """Queries of a newer model (LSA of another size) on the older one's bits, trained for it and not."""
    from itemspace.index.binarize_training import BinarizerTraining, Older, trained_binarizer

    width = index.binarizer.width
    newer = LSAEncoder(dimension=width + width // 4).fit(data.catalog, rng=seed + 1)
    sample = newer.encode(data.catalog, role="item").values
    asked = newer.encode(Requests.texts(texts), role="query")
    start = itq_binarizer(sample, width, 1, seed + 1)
    old = items.values
    if bench.place == "null":
        # The older vectors of other items: nothing of what is found is what was learned.
        old = old[derive(seed, "bebr", "mixed").permutation(len(old))]
    began = time.perf_counter()
    settings = BinarizerTraining(epochs=epochs, hidden=width)
    made = trained_binarizer(sample, start, settings, older=Older(old, index.binarizer), seed=seed)
    bench.spend("system", seconds=time.perf_counter() - began, epochs=epochs)
    space = VectorSpace(newer.space.encoder, newer.space.dimension, newer.space.metric, newer.space.normalized)
    for arm, binarizer in (("system", made), ("not-compatible", start)):
        rows = index.asked_by(space, binarizer).search(asked, K).rows
        bench.record(arm, {"across@10": float((exact[:, :, None] == rows[:, None, :]).any(2).mean())})


SYSTEM = System(
    title="Binary Embedding-based Retrieval at Tencent",
    slug="bebr",
    year=2023,
    family="vector_indexes",
    build=build,
    check=check,
    real="amazon-scientific",
    claims=(
        Claim("one bit per dimension: finds more than signs of a random rotation", "recall@10", over="sign", by=0.01),
        Claim("one bit per dimension: finds more than ITQ", "recall@10", over="itq", by=0.01),
        Claim("half a bit per dimension: finds more than ITQ", "recall@10-half-bit", over="itq", by=0.01),
        Claim("two bits per dimension: finds more than ITQ's layers", "recall@10-2-bits", over="itq", by=0.0),
        Claim("more bits find more: the least gain of doubling them", "gain-per-doubling", at_least=0.0),
        Claim("queries of a new model search the old model's bits", "across@10", over="not-compatible", by=0.1),
        Claim("symmetric distances counted from bits equal the float recompute", "sdc-error", at_most=1e-6),
    ),
)
