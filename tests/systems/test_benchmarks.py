"""The benchmark rows: quick checks in both worlds, and the components they build."""

from __future__ import annotations

import pytest

from itemspace.core.requests import Requests
from itemspace.data.worlds.relations import relations
from itemspace.data.worlds.topics import topics
from itemspace.evaluate.bench import run_check
from itemspace.systems import find

pytest.importorskip("torch")

MUST = {
    "beir_resources": {"the learned sparse reference", "the dense reference"},
    "esci": {"task 1", "task 2", "task 3"},
    "mr_tydi": {"analysis by language", "zero-shot dense", "the hybrid ranks better than dense"},
}
"""What a quick check can tell in the positive world; the rest takes the full one."""


@pytest.mark.parametrize("slug", MUST)
def test_the_quick_check_holds_where_it_must_and_not_where_nothing_can_be_learned(slug):
    run = run_check(find(slug), places=("positive", "null"), quick=True)
    told = 0
    for outcome in run.outcomes:
        verdicts = {place: finding.verdict for place, finding in outcome.findings.items()}
        if not outcome.claim.comparative:
            assert set(verdicts.values()) == {"held"}, outcome
            continue
        assert verdicts["null"] != "held", outcome
        if any(outcome.claim.text.startswith(start) for start in MUST[slug]):
            told += 1
            assert verdicts["positive"] == "held", outcome
    assert told >= 2


@pytest.mark.parametrize("slug", ["beir_resources", "mr_tydi"])
def test_what_they_build_answers_with_filters(slug):
    data = topics(items=120, queries=40, lists=10, rng=1).data
    hits = find(slug).build(data).search(Requests.texts(data.queries.texts[:3]), 5, "brand is not null")
    assert hits.rows.shape == (3, 5)
    assert (hits.found > 0).all()


def test_esci_builds_a_reranked_search():
    data = relations(96, 60, kinds=4, rng=0).data
    hits = find("esci").build(data).search(Requests.texts(data.queries.texts[:4]), 5)
    assert (hits.found == 5).all()
