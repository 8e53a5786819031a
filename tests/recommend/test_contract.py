"""Every recommender passes the shipped contract."""

from __future__ import annotations

import pytest

from itemspace.recommend import BPRMF, EASE, Counting, ItemKNN, Popularity
from itemspace.recommend.base import ScoringRecommender
from itemspace.testing.recommender import RecommenderContract


class TestPopularity(RecommenderContract):
    structure = None

    def make(self) -> ScoringRecommender:
        return Popularity()


class TestCounting(RecommenderContract):
    structure = "order"
    floor = 0.95

    def make(self) -> ScoringRecommender:
        return Counting()


class TestItemKNN(RecommenderContract):
    floor = 0.65

    def make(self) -> ScoringRecommender:
        return ItemKNN()


class TestEASE(RecommenderContract):
    floor = 0.65

    def make(self) -> ScoringRecommender:
        return EASE(regularization=20.0)


class TestBPRMF(RecommenderContract):
    floor = 0.65

    def make(self) -> ScoringRecommender:
        return BPRMF(embedding_size=8, epochs=40, batch_size=256)


class TestSASRec(RecommenderContract):
    structure = "order"
    floor = 0.95
    tolerance = 1e-4

    def make(self) -> ScoringRecommender:
        pytest.importorskip("torch")
        from itemspace.recommend.sasrec import SASRec

        return SASRec(
            embedding_size=16,
            num_layers=1,
            num_heads=1,
            inner_size=16,
            dropout=0.1,
            attention_dropout=0.1,
            max_length=12,
            row_width=32,
            batch_size=32,
            learning_rate=0.01,
            epochs=12,
            precision="float32",
        )


class TestSASRecBinary(TestSASRec):
    floor = 0.95

    def make(self) -> ScoringRecommender:
        made = super().make()
        return type(made)(made.config.model_copy(update={"loss": "binary", "epochs": 25, "num_negatives": 4}))


class TestSASRecFromEnd(TestSASRec):
    def make(self) -> ScoringRecommender:
        made = super().make()
        return type(made)(made.config.model_copy(update={"positions": "end", "norm": "pre", "scale_embeddings": True}))


class TestSASRecSampled(TestSASRec):
    floor = 0.95

    def make(self) -> ScoringRecommender:
        made = super().make()
        return type(made)(made.config.model_copy(update={"loss": "sampled-softmax", "num_negatives": 20}))
