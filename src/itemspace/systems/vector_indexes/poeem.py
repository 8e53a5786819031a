"""Poeem: two towers trained with the product-quantized index their items will lie in (Zhang et al., 2021).

An item's vector passes through the index while it is trained: turned by a rotation that follows the distortion in Givens
steps, replaced by a coarse center and a center per piece, the gradient straight through. When training ends the index is
exported as it stands; nothing is left to build but to assign the items.
"""

from __future__ import annotations

import time

import numpy as np

from itemspace.core.config import Config
from itemspace.core.dataset import Dataset
from itemspace.core.judgments import Judgments
from itemspace.core.operators import Encoded
from itemspace.core.ragged import Ragged
from itemspace.core.requests import Requests
from itemspace.core.seeding import derive
from itemspace.core.task import Task
from itemspace.core.vectors import Dense
from itemspace.data.splits.queries import query_task, split_queries
from itemspace.data.worlds.wordings import passages
from itemspace.encode.engagement import Engagement
from itemspace.encode.indexed import IndexedConfig, IndexedTwoTower
from itemspace.encode.two_tower import TwoTowerEncoder
from itemspace.evaluate.bench import Bench, System
from itemspace.evaluate.claims import Claim
from itemspace.evaluate.tuned import best_of
from itemspace.index.flat import FlatIndex
from itemspace.index.learned import GivenPQIndex
from itemspace.index.quantizers import CodedConfig, OPQIndex, PQIndex

TOWERS = IndexedConfig(
    dimension=32, epochs=8, rounds=1, warm=4, hard_negatives=0, positives=1, batch_size=64, two_way=True,
    learning_rate=0.01, lists=4, pieces=2,
)  # fmt: skip
QUICK = TOWERS.model_copy(update={"epochs": 6, "warm": 2, "pieces": 4, "size": 16})
REAL = TOWERS.model_copy(update={"dimension": 64, "pieces": 4, "lists": 16, "batch_size": 128, "columns": ("title",)})
METRICS = ("recall@1", "recall@10")
PAIRS, ASKED = 8_000, 2_000
"""Purchases of the real data that are learned from, and users that are asked about."""


class PoeemConfig(Config):
    """encoder: the towers and their index. index: how the exported lists are searched. seed: of everything."""

    encoder: IndexedConfig = TOWERS.model_copy(update={"dimension": 64, "pieces": 8, "lists": 16})
    index: CodedConfig = CodedConfig(rerank=0)
    seed: int = 0


def build(data: Dataset, config: PoeemConfig = PoeemConfig()) -> Encoded:
    """The trained towers over their own index, ready to search.

    Judged queries train it, or clicks where queries are logged, or what was bought after what, or else every item's own text.
    """
    if data.queries is not None and data.judgments is not None:
        engagement = Engagement.of_task(query_task(data))
    elif data.impressions is not None and data.impressions.query is not None:
        engagement = Engagement.of_impressions(data.impressions)
    elif data.interactions is not None:
        engagement = _next(data, config.seed)[0]
    else:
        texts, rows = tuple(data.catalog.texts(data.catalog.text_columns())), np.arange(len(data.catalog))
        engagement = Engagement(texts, rows, rows.astype(np.int32), np.ones(len(rows)))
    return exported(data, trained(data, engagement, config.encoder, config.seed), config.index)


def trained(data: Dataset, engagement: Engagement, config: IndexedConfig, seed: int) -> IndexedTwoTower:
    """The towers with their index; no more centers per piece than there are items for."""
    size = min(config.size, max(2, 2 ** int(np.log2(max(len(data.catalog) / 2, 2)))))
    encoder = IndexedTwoTower(config.model_copy(update={"size": size, "lists": min(config.lists, len(data.catalog))}))
    encoder.learn(data.catalog, engagement, rng=seed)
    return encoder


def exported(data: Dataset, encoder: IndexedTwoTower, config: CodedConfig) -> Encoded:
    """The encoder over the index that was trained with it."""
    settings = config.model_dump(exclude_unset=True)
    return (encoder >> GivenPQIndex.of(encoder.weights, **settings)).build(data.catalog)


def check(bench: Bench) -> None:
    """The joint training, and the same towers trained for as long and quantized afterwards, at equal bytes."""
    real = Dataset.read("amazon-scientific", root=bench.data) if bench.place == "real" else None
    for seed in bench.seeds:
        if real is not None:
            engagement, tuning, test = _next(real, seed, REAL.columns)
            _measure(bench, real, engagement, tuning, test, REAL, seed)
            continue
        size = (200, 500) if bench.quick else (2_000, 4_000)
        world = passages(*size, concepts=30, randomness=bench.randomness, rng=seed).data
        train, test = split_queries(world, 0.8, seed)
        engagement = Engagement.of_judgments(train.requests.text or (), train.judgments)
        tuning = train.take(np.arange(min(len(train), 200)))
        _measure(bench, world, engagement, tuning, test, QUICK if bench.quick else TOWERS, seed)
    if real is not None:
        bench.note(
            f"What is asked is the item bought last before (its title), what is right the one bought next: "
            f"{PAIRS:,} pairs are learned from, {ASKED:,} other users asked. The private click logs of the paper are not here."
        )


def _measure(
    bench: Bench, data: Dataset, engagement: Engagement, tuning: Task, test: Task, config: IndexedConfig, seed: int
) -> None:
    bench.used(data, queries=len(test), learned=len(engagement.query))
    began = time.perf_counter()
    encoder = trained(data, engagement, config, seed)
    bench.spend("system", seconds=time.perf_counter() - began, epochs=config.epochs)
    weights = encoder.weights
    began = time.perf_counter()
    made = exported(data, encoder, CodedConfig(rerank=0, probes=len(weights.centers)))
    assigning = time.perf_counter() - began
    bench.evaluate("system", made, test, METRICS, k=10)
    turned = float(np.abs(weights.rotation @ weights.rotation.T - np.eye(len(weights.rotation))).max())
    codes = weights.codebooks.shape
    bench.record(
        "system",
        {
            "rotation-error": turned,
            "score-error": _score_error(made, encoder, test),
            "build-share": assigning
            / max(bench.spent["system"]["seconds"] / len(bench.values["system"]["recall@10"]), 1e-9),
        },
    )
    bench.note(
        f"{codes[0]} numbers of {codes[1]} centers per item and one of {len(weights.centers)} lists in every quantized arm."
    )
    _afterwards(bench, data, engagement, tuning, test, config, codes, seed)


def _afterwards(
    bench: Bench, data: Dataset, engagement: Engagement, tuning: Task, test: Task, config: IndexedConfig,
    codes: tuple[int, ...], seed: int,
) -> None:  # fmt: skip
    """The towers alone, trained for as long; their vectors as they are, and quantized by the better of two ways."""
    usual = TwoTowerEncoder.config_class().model_fields
    towers = TwoTowerEncoder(**{name: getattr(config, name) for name in usual})
    began = time.perf_counter()
    towers.learn(data.catalog, engagement, rng=seed)
    bench.spend("train-then-pq", seconds=time.perf_counter() - began, epochs=config.epochs)
    bench.evaluate("full-precision", (towers >> FlatIndex()).build(data.catalog), test, METRICS, k=10)
    began = time.perf_counter()
    bits = 4 if codes[1] <= 16 else 8
    settings = {
        "compression": 32 * config.dimension // (codes[0] * bits), "bits": bits, "lists": config.lists, "probes": config.lists, "rerank": 0,
        "least": 1,
    }  # fmt: skip
    made = [
        (index.config, (towers >> index).build(data.catalog)) for index in (PQIndex(**settings), OPQIndex(**settings))
    ]
    tuned = best_of(made, tuning, "recall@10")
    bench.spend("train-then-pq", seconds=time.perf_counter() - began, trials=tuned.trials)
    bench.evaluate("train-then-pq", tuned.retriever, test, METRICS, k=10)


def _score_error(made: Encoded, encoder: IndexedTwoTower, test: Task) -> float:
    """The largest difference between a score of the exported index and the model's own of the same item."""
    import torch

    from itemspace.nn.index_layer import IndexLayer

    asked = test.requests.take(np.arange(min(len(test), 100)))
    hits = made.search(asked, 10)
    weights = encoder.weights
    layer = IndexLayer(
        len(weights.rotation),
        lists=len(weights.centers),
        pieces=len(weights.codebooks),
        size=weights.codebooks.shape[1],
    )
    with torch.no_grad():
        layer.centers.copy_(torch.from_numpy(weights.centers))
        layer.codebooks.copy_(torch.from_numpy(weights.codebooks))
        assert made.catalog is not None
        items = encoder.encode(made.catalog, role="item").values
        rotation = torch.from_numpy(weights.rotation)
        kept = (layer.kept(torch.from_numpy(items) @ rotation) @ rotation.T).numpy()
    queries = encoder.encode(asked, role="query")
    assert isinstance(queries, Dense)
    scores = np.take_along_axis(queries.values @ kept.T, np.maximum(hits.rows, 0), 1)
    return float(np.abs(scores - hits.scores)[hits.rows >= 0].max())


def _next(data: Dataset, seed: int, columns: tuple[str, ...] = ()) -> tuple[Engagement, Task, Task]:
    """What was bought next: pairs to learn from, and tasks of other users to tune and to ask with."""
    assert data.interactions is not None
    log = data.interactions.sorted()
    same = np.flatnonzero(log.user[1:] == log.user[:-1])
    users = derive(seed, "poeem", "users").permutation(len(log.users))
    rank = np.empty_like(users)
    rank[users] = np.arange(len(users))
    held = rank[log.user[same]] < 2 * ASKED
    last = np.append(np.diff(log.user[same]) != 0, True)
    learned = derive(seed, "poeem", "pairs").permutation(same[~held])[:PAIRS]
    texts = tuple(data.catalog.texts(columns or data.catalog.text_columns()))

    def asked(pairs: np.ndarray) -> tuple[tuple[str, ...], Ragged]:
        rows = log.item[pairs].astype(np.int64)
        return tuple(texts[row] for row in rows.tolist()), Ragged(rows, np.arange(len(rows) + 1, dtype=np.int64))

    queries, own = asked(learned)
    right = log.item[learned + 1].astype(np.int32)
    number = np.arange(len(learned))
    engagement = Engagement(queries, number, right, np.ones(len(learned)), ignore=own)
    tasks = []
    for low, high in ((0, ASKED), (ASKED, 2 * ASKED)):
        mine = same[last & (rank[log.user[same]] >= low) & (rank[log.user[same]] < high)]
        questions, exclude = asked(mine)
        answers = Judgments.from_pairs(np.arange(len(mine)), log.item[mine + 1], None, len(mine))
        tasks.append(Task("next", Requests.texts(questions, exclude=exclude), answers, exclude_history=False))
    return engagement, tasks[0], tasks[1]


SYSTEM = System(
    title="Joint Learning of Deep Retrieval Model and Product Quantization based Embedding Index",
    slug="poeem",
    year=2021,
    family="vector_indexes",
    build=build,
    check=check,
    real="amazon-scientific",
    claims=(
        Claim(
            "finds the right item first more often than train-then-PQ at equal bytes",
            "recall@1",
            over="train-then-pq",
            by=0.01,
        ),
        Claim("finds more in ten than train-then-PQ at equal bytes", "recall@10", over="train-then-pq", by=0.01),
        Claim("the rotation stays a rotation: largest entry of R R^T - I", "rotation-error", at_most=1e-5),
        Claim("the exported index scores as the model does", "score-error", at_most=1e-4),
        Claim("building the index takes next to nothing: seconds over those of training", "build-share", at_most=0.2),
    ),
)
