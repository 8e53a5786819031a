"""Multivariate representations: the quick check where it must hold, and that a Space serves what it builds."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from itemspace.core.requests import Requests
from itemspace.data.worlds.topics import topics
from itemspace.data.worlds.wordings import passages
from itemspace.evaluate.bench import run_check
from itemspace.space import Space
from itemspace.systems import find
from itemspace.systems.vector_indexes.multivariate_representations import MultivariateConfig, listed

pytest.importorskip("torch")
SMALL = {"encoder": {"dimension": 8, "options": {"dimension": 32}, "hidden": 32, "epochs": 3}}


def test_the_quick_check_holds_what_needs_no_size():
    run = run_check(find("multivariate_representations"), places=("positive",), quick=True)
    for outcome in run.outcomes[:2]:
        assert outcome.findings["positive"].verdict == "held", outcome
    for outcome in run.outcomes[2:]:
        assert outcome.findings["positive"].verdict != "not measured", outcome


def test_a_space_serves_it_and_follows_its_changes(tmp_path):
    data = passages(60, 80, concepts=12, rng=1).data
    with Space.build(data, path=tmp_path / "one.space", system="multivariate_representations") as space:
        query = data.queries.texts[0]
        assert len(space.search(query, k=5).items(0)) == 5
        space.add([{"item_id": "new", "passage": query}])
        assert "new" in space.search(query, k=40, by="system").items(0)
        space.remove(["new"])
        assert "new" not in space.search(query, k=60, by="system").items(0)


def test_it_builds_from_clicks_and_from_texts_alone():
    data = topics(items=60, queries=20, lists=60, rng=1).data
    config = MultivariateConfig.parse(SMALL)
    clicked = replace(data, queries=None, judgments=None)
    for given in (clicked, replace(clicked, impressions=None)):
        made = find("multivariate_representations").build(given, config)
        assert made.search(Requests.texts(["anything at all"]), 4).found.tolist() == [4]


def test_a_list_holds_the_best_and_others_each_once():
    scores = np.random.default_rng(0).standard_normal((7, 200)).astype(np.float32)
    items = listed(scores, 3)
    assert items.shape == (7, 64)
    for row, line in zip(items, scores, strict=True):
        assert len(set(row.tolist())) == 64
        assert set(np.argsort(-line)[:20].tolist()) <= set(row.tolist())
    assert listed(scores[:, :9], 3).shape == (7, 9)
