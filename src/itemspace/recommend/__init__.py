"""Recommenders: histories and users to `Hits`. Importing this package imports no torch."""

from __future__ import annotations

from itemspace.recommend.base import Contributions, ScoringRecommender
from itemspace.recommend.bpr_mf import BPRMF, BPRMFConfig
from itemspace.recommend.counting import Counting, CountingConfig
from itemspace.recommend.ease import EASE, EASEConfig
from itemspace.recommend.item_knn import ItemKNN, ItemKNNConfig
from itemspace.recommend.popularity import Popularity, PopularityConfig
from itemspace.recommend.sasrec import SASRec, SASRecConfig

__all__ = [
    "BPRMF",
    "EASE",
    "BPRMFConfig",
    "Contributions",
    "Counting",
    "CountingConfig",
    "EASEConfig",
    "ItemKNN",
    "ItemKNNConfig",
    "Popularity",
    "PopularityConfig",
    "SASRec",
    "SASRecConfig",
    "ScoringRecommender",
]
