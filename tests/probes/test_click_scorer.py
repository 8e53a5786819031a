"""A click model with user and context features: the contract, a world with a known answer, and a real log."""

import os
from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest

from itemspace.core.catalog import Catalog
from itemspace.core.contracts import Budget
from itemspace.core.dataset import Dataset
from itemspace.core.errors import RequestError
from itemspace.core.ids import Ids
from itemspace.core.interactions import Impressions, Interactions
from itemspace.core.judgments import Judgments
from itemspace.core.requests import Requests
from itemspace.core.task import Task
from itemspace.rank.factorization_machine import FactorizationMachine, auc
from itemspace.testing.scorer import ScorerContract, as_requests, planted_clicks, rows_of


class TestFactorizationMachine(ScorerContract):
    def ready(self):
        scorer = FactorizationMachine(bits=12, epochs=2)
        scorer.fit(self.dataset())
        return scorer


def split(dataset, share=0.75, seed=0):
    order = np.random.default_rng(seed).permutation(len(dataset.impressions))
    cut = int(share * len(order))
    return rows_of(dataset, order[:cut]), rows_of(dataset, order[cut:])


def test_auc_counts_ties_half():
    scores, positive = np.array([1.0, 2.0, 2.0, 3.0]), np.array([False, True, False, True])
    assert auc(scores, positive) == (1 + 0.5 + 1 + 1) / 4


@pytest.mark.parametrize(("randomness", "low", "high"), [(0.0, 0.85, 1.02), (1.0, 0.0, 0.56)])
def test_pairs_are_learned_until_the_dial_says_there_is_nothing_to_learn(randomness, low, high):
    """AUC on unseen impressions, as a share of what the true chances reach."""
    dataset, chance = planted_clicks(randomness=randomness, shown=12_000)
    order = np.random.default_rng(0).permutation(12_000)
    train, test = rows_of(dataset, order[:9000]), rows_of(dataset, order[9000:])
    scorer = FactorizationMachine(bits=14)
    scorer.fit(train)
    outcome = test.impressions.outcome > 0
    reached = auc(scorer.score(*as_requests(test.impressions))[:, 0], outcome)
    best = auc(chance[order[9000:]], outcome)
    if randomness == 1:
        assert low <= reached <= high
        return
    assert best > 0.8
    assert low <= (reached - 0.5) / (best - 0.5) <= high
    linear = FactorizationMachine(bits=14, factors=0)
    linear.fit(train)
    # Nothing depends on one feature alone, so a model without pairs must fall far behind.
    assert auc(linear.score(*as_requests(test.impressions))[:, 0], outcome) < reached - 0.1


def test_probabilities_are_calibrated():
    dataset, chance = planted_clicks(shown=12_000)
    scorer = FactorizationMachine(bits=14)
    scorer.fit(dataset)
    predicted = scorer.probability(scorer.score(*as_requests(dataset.impressions)))[:, 0]
    assert abs(predicted.mean() - dataset.impressions.outcome.mean()) < 0.03
    assert np.abs(predicted - chance).mean() < 0.15


def test_it_learns_from_interactions_alone():
    rng = np.random.default_rng(0)
    table = pa.table({"id": [f"i{i}" for i in range(40)], "kind": [f"k{i % 4}" for i in range(40)]})
    catalog = Catalog.from_table(table, overrides={"id": "id", "kind": "category"})
    users = np.repeat(np.arange(80), 10)
    items = [f"i{4 * rng.integers(0, 10) + u % 4}" for u in users]
    interactions = Interactions.from_columns([f"u{u}" for u in users], items, items=catalog.ids)
    dataset = Dataset(catalog, interactions)
    scorer = FactorizationMachine(bits=14)
    scorer.fit(dataset)
    kind = np.array([int(k[1:]) for k in catalog.column("kind").to_pylist()])
    scores = scorer.score(Requests(user=np.arange(80, dtype=np.int32)), np.tile(np.arange(40, dtype=np.int32), (80, 1)))
    own = np.array([int(u[1:]) % 4 for u in interactions.users.values.to_pylist()])
    assert auc(scores.reshape(-1), (kind[None, :] == own[:, None]).reshape(-1)) > 0.9


def test_the_best_epoch_on_valid_is_kept_and_time_is_obeyed():
    train, test = split(planted_clicks()[0])
    shown = test.impressions
    requests, candidates = as_requests(shown)
    n = len(shown)
    task = Task("clicks", requests, Judgments.from_pairs(np.arange(n), candidates[:, 0], shown.outcome, n))
    scorer = FactorizationMachine(bits=14, epochs=6)
    report = scorer.fit(train, valid=task)
    assert report.curve["auc"][report.best_epoch - 1] == max(report.curve["auc"])
    assert auc(scorer.score(requests, candidates)[:, 0], shown.outcome > 0) == pytest.approx(max(report.curve["auc"]))
    assert FactorizationMachine(bits=14).fit(train, budget=Budget(seconds=0)).epochs == 1


def test_unknown_rows_are_refused_and_unknown_users_answered():
    dataset = planted_clicks()[0]
    scorer = FactorizationMachine(bits=12, epochs=1)
    scorer.fit(dataset)
    with pytest.raises(RequestError, match="item row 40"):
        scorer.score(Requests(user=np.array([0])), np.array([[40]]))
    with pytest.raises(RequestError, match="user row 60"):
        scorer.score(Requests(user=np.array([60])), np.array([[0]]))
    assert np.isfinite(scorer.score(Requests(user=np.array([-1])), np.array([[0, 1]]))).all()


def frappe(folder: Path) -> Dataset:
    """The context-aware app log: label, user, app, and eight circumstances per line, as `index:1` pairs."""
    rows = [line.split() for name in ("validation", "test") for line in (folder / f"frappe.{name}.libfm").open()]
    fields = np.array([[entry.split(":")[0] for entry in row[1:]] for row in rows])
    label = np.array([row[0] == "1" for row in rows], np.float32)
    catalog = Catalog.from_table(pa.table({"id": np.unique(fields[:, 1])}))
    users = Ids.permuted(pa.array(fields[:, 0]), kind="user")
    n = len(rows)
    context = pa.table({f"context{i}": fields[:, i] for i in range(2, 10)})
    shown = Impressions(
        np.arange(n, dtype=np.int32),
        catalog.rows(fields[:, 1]),
        np.zeros(n, np.int32),
        label,
        catalog.ids,
        user=users.find(pa.array(fields[:, 0])),
        users=users,
        context=context,
    )
    return Dataset(catalog, impressions=shown, name="frappe")


@pytest.mark.skipif("ITEMSPACE_DATA" not in os.environ, reason="set ITEMSPACE_DATA to the folder of real data")
def test_frappe():
    dataset = frappe(Path(os.environ["ITEMSPACE_DATA"]) / "ctr-frappe")
    assert len(dataset.impressions) == 57_722 + 28_860
    train, test = split(dataset)
    outcome = test.impressions.outcome > 0
    scorer = FactorizationMachine(epochs=6)
    scorer.fit(train)
    requests, candidates = as_requests(test.impressions)
    whole = auc(scorer.score(requests, candidates)[:, 0], outcome)
    without = auc(scorer.score(Requests(user=requests.user), candidates)[:, 0], outcome)
    assert whole > 0.93
    assert 0.7 < without < whole
    shuffled = np.random.default_rng(0).permutation(outcome)
    assert abs(auc(scorer.score(requests, candidates)[:, 0], shuffled) - 0.5) < 0.02
