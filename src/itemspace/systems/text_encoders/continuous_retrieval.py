"""End-to-end retrieval in continuous space: n-grams averaged, two equal towers, no word ever matched (Gillick et al., 2018).

A question is the average of its n-grams' vectors through feed-forward layers, compared by cosine; the softmax runs over the
questions of a batch and over what the model itself confuses; the whole corpus stands in an approximate index, and what
that finds is the answer.
"""

from __future__ import annotations

import time
from dataclasses import replace

import numpy as np

from itemspace.core.config import Config
from itemspace.core.dataset import Dataset
from itemspace.core.operators import Encoded
from itemspace.core.task import Task
from itemspace.data.paraphrases import ParaphraseSplit, paraphrase_task, split_paraphrases
from itemspace.data.worlds.wordings import paraphrases
from itemspace.encode.engagement import Engagement
from itemspace.encode.two_tower import TwoTowerConfig, TwoTowerEncoder
from itemspace.evaluate.bench import Bench, System
from itemspace.evaluate.claims import Claim
from itemspace.evaluate.tuned import tuned_bm25, tuned_encoder
from itemspace.index.flat import FlatIndex
from itemspace.index.hnsw import HNSWIndex
from itemspace.metrics.kernels import share_found

TOWERS = TwoTowerConfig(
    dimension=64, words=2, least_texts=2, hidden=(128,), false_negatives="score", positives=1, rounds=2, epochs=5,
    hard_negatives=4, learning_rate=0.002, batch_size=64,
)  # fmt: skip
QUICK = TOWERS.model_copy(update={"dimension": 32, "hidden": (32,), "words": 1, "epochs": 4, "least_texts": 1})
METRICS = ("map", "recall@10")
DEPTH = 100


class ContinuousConfig(Config):
    """towers: the two equal towers and their training. recall: what the approximate index aims at. seed: of everything."""

    towers: TwoTowerConfig = TOWERS
    recall: float = 0.99
    seed: int = 0


def build(data: Dataset, config: ContinuousConfig = ContinuousConfig()) -> Encoded:
    """The trained towers over an approximate index, ready to search.

    Judged queries train it (questions with paraphrases among them: see `itemspace.data.paraphrases`), or clicks where
    queries are logged; without either the n-grams' vectors are what the corpus alone says.
    """
    if data.queries is not None and data.judgments is not None:
        engagement = learned_from(paraphrase_task(data))
    elif data.impressions is not None and data.impressions.query is not None:
        engagement = Engagement.of_impressions(data.impressions)
    else:
        engagement = None
    encoder = towers(data, engagement, config.towers, config.seed)
    return (encoder >> HNSWIndex(recall=config.recall)).build(data.catalog)


def towers(data: Dataset, engagement: Engagement | None, config: TwoTowerConfig, seed: int) -> TwoTowerEncoder:
    """The encoder, trained where there is engagement."""
    encoder = TwoTowerEncoder(config)
    if engagement is None:
        return encoder.fit(data.catalog, rng=seed)
    encoder.learn(data.catalog, engagement, rng=seed)
    return encoder


def learned_from(task: Task, pool: np.ndarray | None = None) -> Engagement:
    """A task's right answers; its judged wrong ones are left out, as negatives are sampled and mined."""
    return replace(Engagement.of_task(task, pool=pool), negatives=None)


def check(bench: Bench) -> None:
    """Whole sets of paraphrases are held out; the corpus is everything, and a question never answers itself."""
    real = Dataset.read("stsb", root=bench.data) if bench.place == "real" else None
    for seed in bench.seeds:
        if real is not None:
            _measure(bench, real, split_paraphrases(real, 0.5, seed), TOWERS, seed)
            continue
        meanings = 140 if bench.quick else 800
        world = paraphrases(meanings, concepts=24 if bench.quick else 50, randomness=bench.randomness, rng=seed).data
        _measure(bench, world, split_paraphrases(world, 0.5, seed), QUICK if bench.quick else TOWERS, seed)
    if real is not None:
        bench.note(
            "Neither Quora's nor AskUbuntu's questions are here. Sentences of the STS benchmark stand in: pairs scored 4 or "
            "more of 5 are the paraphrases, closed transitively; they are captions and headlines rather than questions, and "
            "far fewer than Quora's."
        )


def _measure(bench: Bench, data: Dataset, split: ParaphraseSplit, config: TwoTowerConfig, seed: int) -> None:
    bench.used(data, queries=len(split.test), learned=len(split.train))
    engagement = learned_from(split.train, split.learnable)
    arms = {"system": config}
    if not bench.quick:
        arms["in-batch"] = config.model_copy(update={"hard_negatives": 0})
    for arm, chosen in arms.items():
        began = time.perf_counter()
        encoder = towers(data, engagement, chosen, seed)
        made = (encoder >> HNSWIndex(recall=0.99)).build(data.catalog)
        bench.spend(arm, seconds=time.perf_counter() - began, epochs=chosen.epochs * chosen.rounds)
        found = bench.evaluate(arm, made, split.test, METRICS, k=DEPTH)
        if arm == "system":
            exact = (encoder >> FlatIndex()).build(data.catalog).search(split.test.prepared(), 10)
            recall = share_found(found.hits.rows[:, :10], exact.rows)
            bench.record(arm, {"ann-recall@10": recall})
            bench.note(f"seed {seed}: the approximate index finds {recall:.4f} of the exact first ten.")
    # Baselines choose among settings by the questions that the others learn from; the trained arms have one setting.
    for arm in ("average", "bm25"):
        began = time.perf_counter()
        if arm == "bm25":
            tuned = tuned_bm25(data.catalog, split.train, "map")
        else:
            grid = [(weighting, config.words) for weighting in ("mean", "tf-idf")] if bench.quick else [
                (weighting, words) for weighting in ("mean", "tf-idf") for words in (1, 2)
            ]  # fmt: skip
            encoders = [
                TwoTowerEncoder(
                    dimension=config.dimension, words=words, weighting=weighting, least_texts=config.least_texts
                )
                for weighting, words in grid
            ]
            tuned = tuned_encoder(data.catalog, split.train, "map", encoders, rng=seed)
        bench.spend(arm, seconds=time.perf_counter() - began, trials=tuned.trials)
        bench.evaluate(arm, tuned.retriever, split.test, METRICS, k=DEPTH)


SYSTEM = System(
    title="End-to-End Retrieval in Continuous Space",
    slug="continuous_retrieval",
    year=2018,
    family="text_encoders",
    build=build,
    check=check,
    real="stsb",
    claims=(
        Claim("retrieves more paraphrases than matching words", "map", over="bm25", by=0.02),
        Claim("retrieves more paraphrases than averaged word vectors", "map", over="average", by=0.05),
        Claim("mined hard negatives gain over those of the batch alone", "map", over="in-batch", by=0.0),
        Claim("the approximate index finds what an exact search finds", "ann-recall@10", at_least=0.95),
    ),
)
