"""Poeem and BEBR: their quick checks in both worlds, and that a Space serves what they build."""

from __future__ import annotations

from dataclasses import replace

import pytest

from itemspace.core.requests import Requests
from itemspace.data.worlds import passages, topics
from itemspace.evaluate.bench import run_check
from itemspace.space import Space
from itemspace.systems import find

pytest.importorskip("torch")
pytest.importorskip("faiss")
SEEN = {"poeem": ("recall@10",), "bebr": ("recall@10", "across@10")}
"""What a quick check can tell in the positive world; the rest takes the full one."""


@pytest.mark.parametrize("slug", SEEN)
def test_the_quick_check_holds_where_it_must_and_not_where_nothing_can_be_learned(slug):
    run = run_check(find(slug), places=("positive", "null"), quick=True)
    held = [o.claim.metric for o in run.outcomes if o.claim.comparative and o.findings["positive"].verdict == "held"]
    assert set(SEEN[slug]) <= set(held)
    for outcome in run.outcomes:
        assert not outcome.claim.comparative or outcome.findings["null"].verdict != "held", outcome
        assert outcome.claim.comparative or outcome.findings["positive"].verdict == "held", outcome


@pytest.mark.parametrize("slug", SEEN)
def test_a_space_serves_it_and_follows_its_changes(slug, tmp_path):
    data = passages(60, 80, concepts=12, rng=1).data
    with Space.build(data, path=tmp_path / "one.space", system=slug) as space:
        assert len(space.search(data.queries.texts[0], k=5).items(0)) == 5
        column = data.catalog.schema.columns("text")[0]
        space.add([{"item_id": "new", column: data.queries.texts[0]}])
        assert "new" in space.search(data.queries.texts[0], k=30, by="system").items(0)
        space.remove(["new"])
        assert "new" not in space.search(data.queries.texts[0], k=50, by="system").items(0)


def test_poeem_builds_from_clicks_and_from_texts_alone():
    data = replace(topics(items=60, queries=20, lists=60, rng=1).data, queries=None, judgments=None)
    system = find("poeem")
    config = type(system.build.__defaults__[0]).parse(
        {"encoder": {"epochs": 2, "warm": 1, "dimension": 16, "pieces": 4}}
    )
    for given in (data, replace(data, impressions=None)):
        hits = system.build(given, config).search(Requests.texts(["anything at all"]), 4)
        assert hits.found.tolist() == [4]
