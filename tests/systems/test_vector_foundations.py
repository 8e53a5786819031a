"""Vector indexes in the gallery: quick checks in both worlds, and what they build."""

from __future__ import annotations

import numpy as np
import pytest

from itemspace.core.keeping import open_part, save_part
from itemspace.core.requests import Requests
from itemspace.data.worlds.topics import topics
from itemspace.evaluate.bench import run_check
from itemspace.systems import find

pytest.importorskip("faiss")


@pytest.mark.parametrize("slug", ["foundations_vector_retrieval", "leann"])
def test_the_quick_check_holds_where_it_must_and_not_where_nothing_can_be_learned(slug):
    run = run_check(find(slug), places=("positive", "null"), quick=True)
    told = 0
    for outcome in run.outcomes:
        verdicts = {place: finding.verdict for place, finding in outcome.findings.items()}
        if not outcome.claim.comparative:
            continue
        assert verdicts["null"] != "held", outcome
        if verdicts["positive"] != "not measured":
            told += 1
            assert verdicts["positive"] == "held", outcome
    assert told >= (5 if slug == "foundations_vector_retrieval" else 1)


@pytest.mark.parametrize("slug", ["foundations_vector_retrieval", "leann"])
def test_what_they_build_answers_with_filters_and_is_kept(slug, tmp_path):
    data = topics(items=150, queries=40, lists=10, rng=1).data
    made = find(slug).build(data)
    asked = Requests.texts(data.queries.texts[:3])
    hits = made.search(asked, 5, "brand is not null")
    assert (hits.found == 5).all()
    save_part(made, tmp_path / "part")
    again = open_part(tmp_path / "part").bind(data.catalog)
    np.testing.assert_array_equal(again.search(asked, 5, "brand is not null").rows, hits.rows)
