"""The first system: its quick check in both worlds, and the component it builds."""

from __future__ import annotations

import pytest

from itemspace.core.requests import Requests
from itemspace.data.worlds.topics import topics
from itemspace.evaluate.bench import run_check
from itemspace.systems import find

pytest.importorskip("torch")
SLUG = "walmart_semantic_retrieval"


def test_the_quick_check_holds_where_it_must_and_not_where_nothing_can_be_learned():
    run = run_check(find(SLUG), places=("positive", "null"), quick=True)
    compared = [o for o in run.outcomes if o.claim.comparative and o.claim.arm == "system"]
    assert len(compared) == 4
    for outcome in compared:
        assert outcome.findings["null"].verdict != "held", outcome
        assert outcome.findings["positive"].verdict == "held", outcome
    served = run.outcomes[0].findings
    assert {finding.verdict for finding in served.values()} == {"held"}


def test_what_it_builds_answers_like_any_retriever_with_filters_and_without_logs():
    data = topics(items=200, queries=60, lists=200, rng=1).data
    hybrid = find(SLUG).build(data)
    hits = hybrid.search(Requests.texts([data.queries.texts[0], "no such words"]), 10, "brand is not null")
    assert hits.found.tolist() == [10, 10]
    assert all(item in data.catalog.ids for item in hits.items(0))
    from dataclasses import replace

    bare = replace(data, impressions=None, queries=None, judgments=None)
    assert find(SLUG).build(bare).search(Requests.texts([data.queries.texts[0]]), 5).found.tolist() == [5]
