"""The rankings that are compared, each with the same number of settings to be tuned over."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from clicks_measure import counts_by_query, ndcg

from itemspace.core.dataset import Dataset
from itemspace.core.interactions import Impressions
from itemspace.core.requests import Requests
from itemspace.encode.lsa import LSAEncoder
from itemspace.rank.behavior import BEHAVIOR, Behavior
from itemspace.rank.clicks import PositionBased, SimplifiedDBN, harvest_examination
from itemspace.rank.examples import query_candidates
from itemspace.rank.features import Features
from itemspace.rank.lambdamart import LambdaMART
from itemspace.rank.neural_scorer import NeuralScorer

Setting = dict[str, Any]
PRIORS: list[Setting] = [{"prior": prior} for prior in (0.0, 1.0, 5.0, 20.0, 50.0, 100.0)]


@dataclass(frozen=True)
class Bench:
    """The data, the candidates of every query int32 [queries, c] (what was ever shown for it) and their features."""

    data: Dataset
    features: Features
    requests: Requests
    candidates: np.ndarray
    static: np.ndarray

    @classmethod
    def of(cls, data: Dataset, dimension: int) -> Bench:
        shown = data.impressions
        assert shown is not None and shown.query is not None  # noqa: PT018
        encoder = LSAEncoder(dimension=dimension).fit(data.catalog)
        features = Features.of(data.catalog, encoder=encoder)
        requests = Requests.texts(shown.queries)
        candidates = query_candidates(shown.query, shown.item, len(shown.queries))
        return cls(data, features, requests, candidates, features.static(requests, candidates))

    def column(self, name: str) -> np.ndarray:
        """A feature that no log enters [queries, c]."""
        return self.static[:, :, self.features.names.index(name)]

    def behavior(self, train: Impressions, prior: float) -> dict[str, np.ndarray]:
        """What a log says of the candidates, by feature name [queries, c]; rates never seen are NaN."""
        looked = PositionBased().fit(train).examination
        values = Behavior.of(train, looked, prior=prior).features(self.requests, self.candidates)
        return {name: values[:, :, place] for place, name in enumerate(BEHAVIOR)}

    def relevance(self, shown: Impressions) -> np.ndarray:
        """Debiased relevance of every candidate from some sessions [queries, c]; examination by interventions."""
        counts = counts_by_query(shown, self.candidates, examination_by_harvest(shown))
        return np.stack([one.relevance() for one in counts])

    def ndcg(self, scores: np.ndarray, relevance: np.ndarray) -> np.ndarray:
        return ndcg(scores, relevance, self.candidates, self.data.catalog.ids.ties)


def examination_by_harvest(shown: Impressions) -> np.ndarray:
    """Examination by rank from interventions, the last known one where a rank is out of their reach."""
    return harvest_examination(shown).everywhere


@dataclass(frozen=True)
class Arm:
    """A way to score all candidates after seeing a training log: score(train, setting) -> [queries, c]."""

    name: str
    settings: Sequence[Setting]
    score: Callable[[Impressions, Setting], np.ndarray]

    def tuned(
        self, bench: Bench, folds: list[tuple[Impressions, np.ndarray, np.ndarray]]
    ) -> tuple[Setting, list[float]]:
        """The setting with the best mean nDCG@10 over folds (train, relevance [queries, c], queries asked), and all."""
        found = []
        for setting in self.settings:
            values = [bench.ndcg(self.score(train, setting), relevance)[asked] for train, relevance, asked in folds]
            found.append(float(np.concatenate(values).mean()))
        return self.settings[int(np.argmax(found))], found


def words(bench: Bench) -> Arm:
    """BM25 over the products' fields, six weightings."""
    mixes: list[Setting] = [
        {"bm25": 1.0},
        {"bm25_name": 1.0},
        {"bm25": 1.0, "bm25_name": 1.0},
        {"bm25": 1.0, "bm25_name": 3.0},
        {"bm25_name": 1.0, "bm25_short_description": 0.3},
        {"bm25_name": 1.0, "bm25_manufacturer": 1.0, "bm25_long_description": 0.3},
    ]

    def score(train: Impressions, setting: Setting) -> np.ndarray:
        parts = [weight * bench.column(name) for name, weight in setting.items()]
        return np.sum(parts, axis=0)

    return Arm("bm25", mixes, score)


def vectors(bench: Bench) -> Arm:
    return Arm("lsa vectors", [{}], lambda train, setting: bench.column("dense"))


def popularity(bench: Bench) -> Arm:
    """An item's clicks whatever was asked and wherever it stood: as counts, or per time shown."""
    settings: list[Setting] = [{"by": "item_clicks", "prior": 5.0}, {"by": "item_shown", "prior": 5.0}]
    settings += [{"by": "item_ctr", "prior": prior} for prior in (1.0, 5.0, 20.0, 50.0)]
    return Arm("popularity", settings, lambda train, setting: bench.behavior(train, setting["prior"])[setting["by"]])


def counted(bench: Bench) -> Arm:
    return Arm("click rate", PRIORS, lambda train, setting: bench.behavior(train, setting["prior"])["pair_ctr"])


def position_based(bench: Bench) -> Arm:
    def score(train: Impressions, setting: Setting) -> np.ndarray:
        return bench.behavior(train, setting["prior"])["pair_attractiveness"]

    return Arm("position-based model", PRIORS, score)


def simplified_dbn(bench: Bench) -> Arm:
    def score(train: Impressions, setting: Setting) -> np.ndarray:
        model = SimplifiedDBN(prior=setting["prior"]).fit(train)
        query = np.repeat(np.arange(len(bench.candidates)), bench.candidates.shape[1])
        return model.attraction(query, np.maximum(bench.candidates, 0).ravel()).reshape(bench.candidates.shape)

    return Arm("simplified DBN", PRIORS, score)


def as_logged(bench: Bench) -> Arm:
    """The mean position in the log: the ranker that was there."""

    def score(train: Impressions, setting: Setting) -> np.ndarray:
        return -np.stack([_mean_position(train, query, rows) for query, rows in enumerate(bench.candidates)])

    return Arm("as logged", [{}], score)


def _mean_position(train: Impressions, query: int, rows: np.ndarray) -> np.ndarray:
    mine = train.take(train.query == query)
    column = (rows == mine.item[:, None]).argmax(1)
    return np.bincount(column, mine.position, len(rows)) / np.maximum(np.bincount(column, minlength=len(rows)), 1)


def learned(
    bench: Bench, kind: type[LambdaMART] | type[NeuralScorer], name: str, settings: list[Setting], **fixed: Any
) -> Arm:
    """A ranker over all features, learned from the log alone."""

    def score(train: Impressions, setting: Setting) -> np.ndarray:
        ranker = kind(**fixed, **setting).using(bench.features)
        ranker.fit(replace(bench.data, impressions=train))
        return ranker.score(bench.requests, bench.candidates)

    return Arm(name, settings, score)


def rankers(bench: Bench, cross_fit: str) -> list[Arm]:
    """LambdaMART and the neural scorer, six settings each."""
    trees = [{"leaves": leaves, "trees": trees} for leaves in (3, 7, 15) for trees in (40, 120)]
    nets = [{"hidden": hidden, "weight_decay": decay} for hidden in ((), (16,), (32, 16)) for decay in (1e-3, 1e-1)]
    common = {"cross_fit": cross_fit, "negatives": 0}
    return [
        learned(bench, LambdaMART, "LambdaMART", trees, min_examples=5, **common),
        learned(bench, NeuralScorer, "neural scorer", nets, **common),
    ]
