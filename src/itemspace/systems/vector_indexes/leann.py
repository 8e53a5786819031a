"""LEANN: a graph index without stored vectors, which are computed again when a search needs them (Wang et al., 2025).

Theirs keeps a hub-preserving HNSW in compressed rows, guesses nearness from product codes and lets an encoder of Contriever's
size compute the rest. This one prunes a flat graph the same way; `encoder` names what computes (LSA by default, which is
quick; any other does, `sentence-transformer` for one).
"""

from __future__ import annotations

import time
from dataclasses import dataclass
from typing import Any

import numpy as np

from itemspace.core.config import Config
from itemspace.core.contracts import Encoder
from itemspace.core.dataset import Dataset
from itemspace.core.plugins import find
from itemspace.core.seeding import derive
from itemspace.core.topk import top_k
from itemspace.core.vectors import Dense, VectorSpace
from itemspace.data.worlds.points import points
from itemspace.encode.lsa import LSAEncoder
from itemspace.evaluate.bench import Bench, System
from itemspace.evaluate.claims import Claim
from itemspace.index.recompute import RecomputeConfig, RecomputeIndex
from itemspace.index.vector_free import VectorFree

SMALL = RecomputeConfig(links=5, code_bytes=16, beam=96)
"""Small enough for a twentieth of the text: five links and sixteen bytes of code."""
WIDE = (8, 12, 16, 24, 32, 48, 64, 96, 128, 192, 256, 384)
TWO = tuple((promote, beam) for promote in (0.1, 0.2, 0.4) for beam in WIDE[1::2])
ONE = tuple((1.0, beam) for beam in sorted((*WIDE, *(round(1.22 * beam) for beam in WIDE[:6]))))
"""(share computed, width): what the two ways of searching choose among, as many each, by queries not asked afterwards."""
RECALL, MARGIN = 0.9, 0.03
"""What must be found, and how much more the tuning queries must find, for they are chosen by."""
K = 3


class LeannConfig(Config):
    """encoder, options: what computes vectors, by name with its own options. index: how small, and how searched."""

    encoder: str = "lsa"
    options: dict[str, Any] = {"dimension": 256}
    index: RecomputeConfig = SMALL
    seed: int = 0


def build(data: Dataset, config: LeannConfig = LeannConfig()) -> VectorFree:
    """The encoder before an index that keeps none of its vectors, ready to search."""
    encoder: Encoder = find("encoders", config.encoder)(**config.options)
    encoder = encoder.fit(data.catalog, rng=config.seed)
    return VectorFree(encoder, RecomputeIndex(config.index)).build(data.catalog, rng=config.seed)


@dataclass(frozen=True)
class _Given:
    """shown: what the index is built over; vectors: what is computed when it searches. text: bytes of the items' words."""

    shown: np.ndarray
    vectors: np.ndarray
    queries: np.ndarray
    text: float | None = None


def check(bench: Bench) -> None:
    """One index, searched with two queues and with one; half of the queries choose how wide, the other half is asked."""
    real = _products(bench) if bench.place == "real" else None
    for seed in bench.seeds:
        given = real if real is not None else _planted(bench, seed)
        order = derive(seed, "leann", "queries").permutation(len(given.queries))
        _measure(bench, given, order, seed)
    if real is not None:
        bench.note(
            "Vectors: LSA, 256 dimensions, of product texts; each seed holds out 500 products as queries of the others. LSA "
            "computes a vector in microseconds, so what counts is how many are computed; benchmarks/leann.py has MiniLM."
        )


def _planted(bench: Bench, seed: int) -> _Given:
    items, queries, dimension = (1_200, 80, 64) if bench.quick else (8_000, 400, 64)
    world = points(
        items, queries, dimension=dimension, clusters=items // 40, spread=0.6, randomness=bench.randomness, rng=seed
    )
    bench.used(world.data, queries=queries)
    return _Given(world.truth.shown, world.truth.vectors, world.truth.queries)


def _products(bench: Bench) -> _Given:
    shop = Dataset.read("chorus", root=bench.data)
    bench.used(shop, queries=500)
    encoder = LSAEncoder(dimension=256).fit(shop.catalog)
    vectors = np.asarray(encoder.encode(shop.catalog, role="item").values)
    text = float(sum(len(text.encode()) for text in shop.catalog.texts()))
    return _Given(vectors, vectors, np.zeros((0, vectors.shape[1]), np.float32), text)


def _measure(bench: Bench, given: _Given, order: np.ndarray, seed: int) -> None:
    vectors, shown, queries, text = given.vectors, given.shown, given.queries, given.text
    if not len(queries):
        chosen = derive(seed, "leann", "held out").permutation(len(vectors))
        queries, kept = vectors[chosen[:500]], np.sort(chosen[500:])
        vectors = shown = vectors[kept]
        order = np.arange(len(queries))
        text = None if text is None else text * len(kept) / len(given.vectors)
    space = VectorSpace("leann", vectors.shape[1], "cosine", normalized=True)
    truth = top_k(queries @ vectors.T, K)[0]
    began = time.perf_counter()
    index = RecomputeIndex(SMALL).build([Dense(shown, space)], rng=seed).attach(lambda rows: vectors[rows])
    bench.spend("build", seconds=time.perf_counter() - began)
    tuning, asked = np.array_split(order, 2)
    for arm, settings in (("system", TWO), ("single-queue", ONE)):
        began = time.perf_counter()
        setting = _cheapest(index, queries[tuning], truth[tuning], settings)
        bench.spend(arm, seconds=time.perf_counter() - began, trials=len(settings))
        # Where nothing of what it may spend finds enough, all must be computed.
        recall, share = (1.0, 1.0) if setting is None else _searched(index, queries[asked], truth[asked], *setting)
        bench.record(arm, {"recall@3": recall, "computed-share": share})
    size, flat = index.size().total, vectors.nbytes
    bench.record("system", {"times-smaller": flat / size})
    if text is not None:
        bench.record("system", {"share-of-text": size / text})


def _cheapest(
    index: RecomputeIndex, queries: np.ndarray, truth: np.ndarray, settings: tuple[tuple[float, int], ...]
) -> tuple[float, int] | None:
    """The setting that computes least of those that find enough of what tuning queries should, None where none does."""
    found = [(*_searched(index, queries, truth, *setting), setting) for setting in settings]
    enough = [(share, setting) for recall, share, setting in found if recall >= RECALL + MARGIN]
    return min(enough)[1] if enough else None


def _searched(
    index: RecomputeIndex, queries: np.ndarray, truth: np.ndarray, promote: float, beam: int
) -> tuple[float, float]:
    """Recall@3 and the share of the vectors that were computed for a query."""
    index.config = index.config.model_copy(update={"promote": promote, "beam": beam})
    hits, cost = index.searched(Dense(queries, index.space), K)
    recall = float((hits.rows[:, :, None] == truth[:, None, :]).any(1).mean())
    return recall, float(cost.computed.mean()) / len(index)


SYSTEM = System(
    title="LEANN: A Low-Storage Vector Index",
    slug="leann",
    year=2025,
    family="vector_indexes",
    build=build,
    check=check,
    real="chorus",
    claims=(
        Claim("the index is at most a twentieth of the vectors it does without", "times-smaller", at_least=20.0),
        Claim("and at most a twentieth of the raw text", "share-of-text", at_most=0.05),
        Claim("finds nine in ten of the nearest three", "recall@3", at_least=0.9),
        Claim(
            "two queues compute fewer vectors than one for as much found",
            "computed-share",
            over="single-queue",
            lower=True,
        ),
    ),
)
