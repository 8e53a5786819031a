"""RepBERT: a shared BERT, token states averaged, trained with in-batch negatives and a margin (Zhan et al., 2020).

Theirs begins with pretrained weights and reads MS MARCO; this one begins with random weights (`encoder.start` names
published ones), since what is measured is the recipe. `itemspace.data.readers.msmarco` reads their data.
"""

from __future__ import annotations

import tempfile
import time
from pathlib import Path

import numpy as np

from itemspace.core.config import Config
from itemspace.core.dataset import Dataset
from itemspace.core.judgments import Queries
from itemspace.core.operators import Encoded
from itemspace.core.task import Task
from itemspace.data.readers.trec import read_run, write_run
from itemspace.data.splits.queries import query_task, split_queries
from itemspace.data.worlds.wordings import passages
from itemspace.encode.engagement import Engagement
from itemspace.encode.transformer import TransformerConfig, TransformerEncoder
from itemspace.encode.two_tower import TwoTowerEncoder
from itemspace.evaluate.bench import Bench, System
from itemspace.evaluate.claims import Claim
from itemspace.evaluate.evaluation import Evaluation, evaluate_hits
from itemspace.evaluate.tuned import tuned_bm25, tuned_encoder
from itemspace.index.flat import FlatIndex

ENCODER = TransformerConfig(
    hidden_size=64, num_heads=4, num_layers=2, inner_size=256, max_length=32, learning_rate=0.002, epochs=5
)
QUICK = ENCODER.model_copy(
    update={"hidden_size": 32, "num_layers": 1, "inner_size": 64, "epochs": 4, "learning_rate": 0.004}
)
METRICS = ("mrr@10", "recall@10", "recall@1000")
TRAINED, TESTED = 1_200, 1_500
"""Requests of the real data that are learned from and asked."""


class RepBertConfig(Config):
    """encoder: the shared BERT and its training. seed: of everything."""

    encoder: TransformerConfig = ENCODER
    seed: int = 0


def build(data: Dataset, config: RepBertConfig = RepBertConfig()) -> Encoded:
    """The trained encoder over an exact index of inner products, ready to search.

    Judged queries train it, or clicks where queries are logged; without either it answers untrained.
    """
    if data.queries is not None and data.judgments is not None:
        return retriever(data, Engagement.of_task(query_task(data)), config.encoder, config.seed)
    logged = data.impressions is not None and data.impressions.query is not None
    engagement = Engagement.of_impressions(data.impressions) if logged and data.impressions is not None else None
    return retriever(data, engagement, config.encoder, config.seed)


def retriever(data: Dataset, engagement: Engagement | None, config: TransformerConfig, seed: int) -> Encoded:
    """The encoder, trained where there is engagement, over an exact index."""
    encoder = TransformerEncoder(config)
    if engagement is None:
        encoder.fit(data.catalog, rng=seed)
    else:
        encoder.learn(data.catalog, engagement, rng=seed)
    return (encoder >> FlatIndex()).build(data.catalog)


def check(bench: Bench) -> None:
    """Every arm on the same queries, none of which, nor any that reads like it, was trained or tuned on."""
    tools = Dataset.read("tools-metatool", root=bench.data) if bench.place == "real" else None
    for seed in bench.seeds:
        if tools is not None:
            train, test = split_queries(tools, 0.5, seed)
            train, test = train.take(np.arange(TRAINED)), test.take(np.arange(TESTED))
            _measure(bench, tools, train, test, ENCODER, seed)
            continue
        size = (120, 500) if bench.quick else (600, 1_400)
        world = passages(*size, concepts=16 if bench.quick else 30, randomness=bench.randomness, rng=seed).data
        train, test = split_queries(world, 0.8, seed)
        _measure(bench, world, train, test, QUICK if bench.quick else ENCODER, seed)
    if tools is not None:
        bench.note(
            f"MS MARCO is not here: {TRAINED:,} requests and the tool each needs are learned from instead, {TESTED:,} others "
            "asked. There are 199 tools, so Recall@1000 is 1 for every arm, and every tool is seen in training."
        )
        bench.note("Random weights to start from: the published system starts from BERT's.")


def _measure(bench: Bench, data: Dataset, train: Task, test: Task, config: TransformerConfig, seed: int) -> None:
    bench.used(data, queries=len(test), learned=len(train))
    engagement = Engagement.of_judgments(train.requests.text or (), train.judgments)
    found: dict[str, Evaluation] = {}
    arms = {"system": config, "untrained": config}
    if not bench.quick:
        arms["infonce"] = config.model_copy(update={"loss": "infonce"})
    for arm, chosen in arms.items():
        began = time.perf_counter()
        made = retriever(data, None if arm == "untrained" else engagement, chosen, seed)
        bench.spend(arm, seconds=time.perf_counter() - began, epochs=0 if arm == "untrained" else chosen.epochs)
        found[arm] = bench.evaluate(arm, made, test, METRICS, k=1_000)
        if arm == "system":
            bench.record(arm, bench.latency(made, test, at_most=5 if bench.quick else 100))
    bench.record("system", {"run-file-change": abs(_from_run_file(found["system"]) - found["system"]["mrr@10"])})
    if "infonce" in found:
        bench.record("system", {"mrr@10-less-infonce": found["system"]["mrr@10"] - found["infonce"]["mrr@10"]})
    # Baselines choose among settings by the queries that the others learn from; the trained arms have one setting.
    for arm in ("tf-idf-average", "bm25"):
        began = time.perf_counter()
        tuning = train.take(np.arange(min(len(train), 200 if bench.quick else 1_000)))
        if arm == "bm25":
            tuned = tuned_bm25(data.catalog, tuning, "mrr@10")
        else:
            sizes = (config.hidden_size,) if bench.quick else (config.hidden_size, 2 * config.hidden_size)
            encoders = [TwoTowerEncoder(dimension=size, words=words) for size in sizes for words in (1, 2)]
            tuned = tuned_encoder(data.catalog, tuning, "mrr@10", encoders, rng=seed)
        bench.spend(arm, seconds=time.perf_counter() - began, trials=tuned.trials)
        bench.evaluate(arm, tuned.retriever, test, METRICS, k=1_000)


def _from_run_file(found: Evaluation) -> float:
    """MRR@10 of the answers after they were written as a TREC run and read again."""
    assert found.hits.ids is not None
    queries = Queries.of(found.task.requests.text or ())
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "repbert.run"
        write_run(path, found.hits.cut(100), queries, tag="repbert")
        again = read_run(path, queries, found.hits.ids, k=100)
    return evaluate_hits(again, found.task, ["mrr@10"])["mrr@10"]


SYSTEM = System(
    title="RepBERT: Contextualized Text Embeddings for First-Stage Retrieval",
    slug="repbert",
    year=2020,
    family="text_encoders",
    build=build,
    check=check,
    real="tools-metatool",
    claims=(
        Claim("training moves the right passage up", "mrr@10", over="untrained", by=0.1),
        Claim("ranks better than the TF-IDF average of word vectors", "mrr@10", over="tf-idf-average", by=0.02),
        Claim("finds more in ten than the TF-IDF average of word vectors", "recall@10", over="tf-idf-average", by=0.02),
        Claim("ranks better than matching words", "mrr@10", over="bm25", by=0.02),
        Claim(
            "its margin loss gives up at most 0.02 to InfoNCE on the same budget", "mrr@10-less-infonce", at_least=-0.02
        ),
        Claim("a TREC run of it scores the same", "run-file-change", at_most=0.001),
        Claim("about as quick as matching words: p95 of single queries", "p95-ms", at_most=20.0),
    ),
)
