"""Worlds: generated data with a known best answer, and a `randomness` dial that takes it away.

- `markov`: the next item follows from the last one. Sequential models.
- `checkerboard`: groups of users like groups of items. Collaborative filtering.
- `popularity_drift`: fashions come and go. Time-aware popularity.
- `topics`: words alone and meaning alone each answer half of the queries. Lexical, learned and hybrid search.
- `click_log`: lists shown, moved about and clicked. Click models, re-rankers learned from clicks, off-policy estimates.
- `paraphrases`, `passages`: the same meaning in other words. Learned text encoders.
- `relations`: exact answers, substitutes, complements. Models that read query and item together.
- `points`: vectors in clusters, of which an index may have been shown others. Indexes, nearest neighbors.
- `in_script`: a world's texts in another script, without spaces where it has none. Analysis by language.
- `shop_world`: all of it at once, readable, as a shop would have it; `demo_shop` is its dataset.

At randomness 0 the mechanism is all there is, at 1 nothing can be learned; in between `best_possible` (events) and
`best_possible_ndcg` (search) say what the predictor that knows the truth expects, so tests have a floor and a ceiling; `Oracle` is that predictor as a retriever, to be measured like any other.
"""

from itemspace.data.worlds.base import (
    World,
    best_possible,
    best_possible_ndcg,
    chance_level,
    conditional,
    uniform_level,
)
from itemspace.data.worlds.checkerboard import CommunityTruth, checkerboard
from itemspace.data.worlds.clicks import ClickTruth, click_log
from itemspace.data.worlds.markov import MarkovTruth, markov
from itemspace.data.worlds.oracle import Oracle
from itemspace.data.worlds.points import PointsTruth, points
from itemspace.data.worlds.popularity_drift import DriftTruth, popularity_drift
from itemspace.data.worlds.relations import RelationsTruth, relations
from itemspace.data.worlds.scripts import in_script
from itemspace.data.worlds.shop import ShopTruth, demo_shop, shop_world, write_shop
from itemspace.data.worlds.topics import TopicsTruth, topics
from itemspace.data.worlds.wordings import WordingsTruth, paraphrases, passages

__all__ = [
    "ClickTruth",
    "CommunityTruth",
    "DriftTruth",
    "MarkovTruth",
    "Oracle",
    "PointsTruth",
    "RelationsTruth",
    "ShopTruth",
    "TopicsTruth",
    "WordingsTruth",
    "World",
    "best_possible",
    "best_possible_ndcg",
    "chance_level",
    "checkerboard",
    "click_log",
    "conditional",
    "demo_shop",
    "in_script",
    "markov",
    "paraphrases",
    "passages",
    "points",
    "popularity_drift",
    "relations",
    "shop_world",
    "topics",
    "uniform_level",
    "write_shop",
]
