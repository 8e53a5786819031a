"""Foundations of vector retrieval: every kind of index under one measure, and the properties they stand on (Bruch, 2024).

The monograph's structures as indexes by name, each held against its work: the share of the vectors' bytes that a search
reads, where reading as much at random finds just that share. Beside them what it proves: random projections keep distances,
sketches estimate lengths within their error, inner products become angles without a change of order, and products can be
estimated from some of the coordinates.
"""

from __future__ import annotations

import time
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
import scipy.sparse as sp
from scipy.sparse.linalg import svds

from itemspace.core.catalog import Catalog
from itemspace.core.config import Config
from itemspace.core.contracts import Index
from itemspace.core.dataset import Dataset
from itemspace.core.hashing import hash_strings
from itemspace.core.operators import Encoded
from itemspace.core.plugins import find
from itemspace.core.seeding import derive
from itemspace.core.topk import top_k
from itemspace.core.vectors import Dense, VectorSpace, normalize
from itemspace.data.worlds.points import points
from itemspace.encode.lsa import LSAConfig, LSAEncoder
from itemspace.evaluate.bench import Bench, System
from itemspace.evaluate.claims import Claim
from itemspace.index.flat import FlatIndex
from itemspace.index.reductions import reduce_to
from itemspace.index.sampling import halving
from itemspace.index.sketch import Projection, TugOfWar, dimensions_for, distortion
from itemspace.index.work import found_reading

Kind = Literal["flat", "rp-trees", "lsh", "ivf", "hnsw", "vamana", "pq", "opq", "aq", "sketch"]
OPTIONS: dict[Kind, dict[str, Any]] = {
    "flat": {},
    "rp-trees": {},
    "lsh": {},
    "ivf": {"codes": "float32"},
    "hnsw": {"engine": "usearch", "lists": "never"},
    "vamana": {"lists": "never"},
    "pq": {"compression": 16},
    "opq": {"compression": 16},
    "aq": {"compression": 16},
    "sketch": {},
}
"""How each is built to be measured: engines that count, vectors as they are behind lists, a byte of code for sixteen."""
EFFORTS: dict[Kind, tuple[int, int, int]] = {
    "rp-trees": (64, 192, 576),
    "lsh": (64, 192, 576),
    "ivf": (1, 4, 16),
    "hnsw": (10, 20, 80),
    "vamana": (10, 20, 80),
    "pq": (20, 80, 320),
    "opq": (20, 80, 320),
    "aq": (20, 80, 320),
    "sketch": (20, 80, 320),
}
QUICK: tuple[Kind, ...] = ("rp-trees", "ivf", "hnsw", "pq")
DISTORTION = 0.5
COUNTERS = 256
K = 10


class FoundationsConfig(Config):
    """type: which index holds the vectors. dimension: of the vectors of items' words."""

    type: Kind = "vamana"
    dimension: int = 256


def build(data: Dataset, config: FoundationsConfig = FoundationsConfig()) -> Encoded:
    """Vectors of the items' words in an index of the type asked for, ready to search."""
    encoder = LSAEncoder(dimension=config.dimension).fit(data.catalog)
    index: Index = find("indexes", config.type)()
    return (encoder >> index).build(data.catalog)


@dataclass(frozen=True)
class _Given:
    """What is measured on. shown: what indexes are built over; vectors, queries: what is near what; all of length 1.

    products: items [n, d] and users [q, d] whose inner products count. wide: float32 [m, wide d], to be sketched.
    """

    shown: np.ndarray
    vectors: np.ndarray
    queries: np.ndarray
    products: tuple[np.ndarray, np.ndarray]
    wide: np.ndarray


def check(bench: Bench) -> None:
    """Every index over the same vectors, with three efforts; properties on vectors that suit them."""
    real = _Real.read(bench) if bench.place == "real" else None
    for seed in bench.seeds:
        given = _planted(bench, seed) if real is None else real.drawn(seed)
        kinds = QUICK if bench.quick else tuple(EFFORTS)
        _types(bench, given, kinds, seed)
        _reduction(bench, *given.products)
        _sampling(bench, given, seed)
        _sketches(bench, given.wide, seed)
    if real is not None:
        bench.note(
            f"Vectors: LSA, {real.vectors.shape[1]} dimensions, of the texts of {real.size:,} products drawn anew for each "
            "seed; queries: 200 other products. Inner products: 64 factors of MovieLens-100k ratings, users against films. "
            f"Sketched: counts of words of {len(real.counts)} products, {real.counts.shape[1]:,} wide."
        )


def _planted(bench: Bench, seed: int) -> _Given:
    size = (1_100, 60) if bench.quick else (1_600, 200)
    world = points(*size, clusters=20 if bench.quick else 60, randomness=bench.randomness, rng=seed)
    truth = world.truth
    bench.used(world.data, queries=len(truth.queries))
    wide = points(100 if bench.quick else 200, 1, dimension=2_048, clusters=20, rng=seed).truth.vectors
    return _Given(
        truth.shown, truth.vectors, truth.queries, (truth.vectors * truth.lengths[:, None], truth.queries), wide
    )


@dataclass(frozen=True)
class _Real:
    """vectors of all products, products of users and films, and words counted."""

    vectors: np.ndarray
    products: tuple[np.ndarray, np.ndarray]
    counts: np.ndarray
    size: int = 2_000

    @classmethod
    def read(cls, bench: Bench) -> _Real:
        shop, films = (Dataset.read(name, root=bench.data) for name in ("chorus", "movielens-100k"))
        bench.used(shop, queries=200)
        bench.used(films)
        encoder = LSAEncoder(LSAConfig(dimension=256)).fit(shop.catalog)
        vectors = np.asarray(encoder.encode(shop.catalog, role="item").values)
        return cls(vectors, _factors(films), _counted(shop.catalog, 200, 4_096))

    def drawn(self, seed: int) -> _Given:
        order = derive(seed, "products").permutation(len(self.vectors))
        items, queries = self.vectors[np.sort(order[: self.size])], self.vectors[order[self.size : self.size + 200]]
        return _Given(items, items, queries, self.products, self.counts)


def _factors(films: Dataset, size: int = 64) -> tuple[np.ndarray, np.ndarray]:
    """Items [n, size] and users [m, size] whose products approximate who watched what."""
    log = films.interactions
    assert log is not None
    shape = (len(log.users), len(films.catalog))
    watched = sp.csr_matrix((np.ones(len(log.item)), (log.user, log.item)), shape=shape)
    left, weights, right = (np.asarray(part) for part in svds(watched, k=size, random_state=0))
    return (right.T * np.sqrt(weights)).astype(np.float32), (left * np.sqrt(weights)).astype(np.float32)


def _counted(catalog: Catalog, items: int, width: int) -> np.ndarray:
    """float32 [items, width]: how often words that hash to a place occur in the first items' texts."""
    out = np.zeros((items, width), np.float32)
    texts = catalog.take(np.arange(items)).texts()
    for i, text in enumerate(texts):
        np.add.at(out[i], (hash_strings(text.lower().split() or [""]) % np.uint64(width)).astype(np.int64), 1.0)
    return out


def _types(bench: Bench, given: _Given, kinds: tuple[Kind, ...], seed: int) -> None:
    space = VectorSpace("foundations", given.shown.shape[1], "cosine", normalized=True)
    queries, truth = Dense(given.queries, space), top_k(given.queries @ given.vectors.T, K)[0]
    found: dict[str, float] = {}
    shares: dict[str, float] = {}
    lost, answering = 0.0, 0
    for kind in ("flat", *kinds):
        began = time.perf_counter()
        index = find("indexes", kind)(**OPTIONS[kind]).build([Dense(given.shown, space)], rng=seed)
        bench.spend(kind, seconds=time.perf_counter() - began)
        runs = [found_reading(index, queries, K, effort) for effort in EFFORTS.get(kind, (0,))]
        recalls = [_shared(rows, truth) for rows, _ in runs]
        answering += bool((index.search(queries, K).found == K).all())
        middle = len(runs) // 2
        found[f"recall@10:{kind}"], shares[f"recall@10:{kind}"] = recalls[middle], runs[middle][1]
        own = top_k(given.queries @ given.shown.T, K)[0]
        against = [_shared(rows, own) for rows, _ in runs]
        lost = max([lost, *(a - b for a, b in zip(against, against[1:], strict=False))])
        bench.note(f"{kind}: " + _told(kind, runs, recalls)) if seed == bench.seeds[0] else None
    bench.record("system", {**found, "types": float(answering), "recall-lost": lost})
    bench.record("random", shares)


def _told(kind: Kind, runs: list[tuple[np.ndarray, float]], recalls: list[float]) -> str:
    parts = [f"{share:.1%} read finds {recall:.3f}" for (_, share), recall in zip(runs, recalls, strict=True)]
    return "; ".join(parts)


def _shared(rows: np.ndarray, truth: np.ndarray) -> float:
    return float((rows[:, :, None] == truth[:, None, :]).any(1).mean())


def _reduction(bench: Bench, items: np.ndarray, queries: np.ndarray) -> None:
    """Greatest inner products by a search for angles, with the coordinate that makes them the same and without."""
    space = VectorSpace("products", items.shape[1], "dot")
    held, asked = Dense(items, space), Dense(queries, space)
    exact = FlatIndex().build([held]).search(asked, K).rows
    values: dict[str, float] = {}
    for metric in ("cosine", "euclidean"):
        reduction = reduce_to(metric, held)
        rows = FlatIndex().build([reduction.items(held)]).search(reduction.queries(asked), K).rows
        values[f"order-changed:{metric}"] = float((rows != exact).mean())
        values[f"mips@10:{metric}"] = _shared(rows, exact)
    angle = VectorSpace("angles", items.shape[1], "cosine", normalized=True)
    plain = FlatIndex().build([Dense(normalize(items), angle)]).search(Dense(normalize(queries), angle), K).rows
    bench.record("system", {**values, "mips@10": values["mips@10:cosine"]})
    bench.record("unreduced", {"mips@10": _shared(plain, exact)})


def _sampling(bench: Bench, given: _Given, seed: int) -> None:
    """Successive halving over coordinates, for some of the queries."""
    some = given.queries[: 20 if bench.quick else 60]
    truth, multiplied, rows = top_k(some @ given.vectors.T, K)[0], 0, []
    for query in some:  # a method for one query: each goes on with items of its own
        best, work = halving(given.shown, query, K, 0.125, rng=seed)
        rows.append(best)
        multiplied += work
    bench.record("system", {"recall@10:sampling": _shared(np.stack(rows), truth)})
    bench.record("random", {"recall@10:sampling": multiplied / (len(some) * given.shown.size)})


def _sketches(bench: Bench, values: np.ndarray, seed: int) -> None:
    """How far random maps move distances, and how wrong counters with random signs are of lengths."""
    pairs = np.argwhere(np.triu(np.ones((len(values), len(values)), bool), 1))
    size = dimensions_for(len(values), DISTORTION)
    beyond = [
        float((distortion(values, Projection.draw(values.shape[1], size, kind, seed)(values), pairs) > DISTORTION).mean())
        for kind in ("gaussian", "signs")
    ]  # fmt: skip
    counters = TugOfWar.draw(values.shape[1], COUNTERS, 1, seed)
    lengths = np.einsum("nd,nd->n", values, values, dtype=np.float64)
    some = lengths > 0
    error = TugOfWar.squared_length(counters(values))[some] / lengths[some] - 1.0
    relative = float(np.sqrt((error**2).mean()) / np.sqrt(2.0 / COUNTERS))
    bench.record("system", {"jl-beyond": max(beyond), "ams-error": relative})


SYSTEM = System(
    title="Foundations of Vector Retrieval",
    slug="foundations_vector_retrieval",
    year=2024,
    family="vector_indexes",
    build=build,
    check=check,
    real="chorus, movielens-100k",
    claims=(
        Claim("every type answers every query in full", "types", at_least=float(len(EFFORTS) + 1)),
        *(
            Claim(f"{kind} finds more than reading as much at random", f"recall@10:{kind}", over="random", by=0.2)
            for kind in EFFORTS
        ),
        Claim("more work never finds less, of what an index holds", "recall-lost", at_most=0.01),
        Claim("random projections keep distances within the bound", "jl-beyond", at_most=0.001),
        Claim("counters with random signs are wrong of lengths by no more than the bound", "ams-error", at_most=1.2),
        Claim("inner products by angles: the order does not change", "order-changed:cosine", at_most=0.001),
        Claim("inner products by distances: the order does not change", "order-changed:euclidean", at_most=0.001),
        Claim("without the reduction angles miss the greatest products", "mips@10", over="unreduced", by=0.05),
        Claim("halving finds more than multiplying as much at random", "recall@10:sampling", over="random", by=0.2),
    ),
)
