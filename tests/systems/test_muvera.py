"""MUVERA's quick check in both worlds, and that a Space serves it and follows its changes."""

from __future__ import annotations

import json

import numpy as np

from itemspace.cli.app import app
from itemspace.core.requests import Requests
from itemspace.data.worlds.token_sets import token_sets
from itemspace.data.worlds.wordings import passages
from itemspace.encode.tokens import TokenEncoder
from itemspace.evaluate.bench import run_check
from itemspace.index.multi_vector import max_similarity
from itemspace.space import Space
from itemspace.systems import find
from itemspace.systems.multi_vector import muvera


def test_the_quick_check_holds_where_it_must_and_not_where_a_word_is_all_there_is():
    run = run_check(find("muvera"), places=("positive", "null"), quick=True)
    for outcome in run.outcomes:
        if outcome.claim.comparative:
            assert outcome.findings["positive"].verdict == "held", outcome
            assert outcome.findings["null"].verdict == "not held", outcome
        elif "0.9" not in outcome.claim.text:
            assert outcome.findings["positive"].verdict == "held", outcome


def test_the_world_is_as_it_says():
    world = token_sets(12, rng=3)
    truth = world.truth
    exact = max_similarity(truth.queries, truth.items)
    best = np.argsort(-exact, axis=1)[:, :10]
    np.testing.assert_array_equal(np.sort(best, axis=1), np.sort(truth.right, axis=1))
    np.testing.assert_array_equal(np.sort(world.data.judgments.items[4]), np.sort(truth.right[4]))
    for row in (0, 77):  # a decoy or right item: a vector per word
        assert len(truth.items[row]) == len(world.data.catalog.texts(["title"])[row].split())
    near = (truth.queries[2] @ truth.items.values.T).max()
    assert abs(near - 0.9) < 1e-5
    null = token_sets(12, randomness=1.0, rng=3)
    assert len(null.truth.items.values) == len(null.truth.items) == len(null.data.catalog)


def test_a_space_serves_it_and_follows_its_changes(tmp_path):
    data = passages(60, 80, concepts=12, rng=1).data
    with Space.build(data, path=tmp_path / "one.space", system="muvera") as space:
        hits = space.search(data.queries.texts[0], k=5)
        assert len(hits.items(0)) == 5
        space.add([{"item_id": "new", "passage": "zebra umbrella violin"}])
        assert space.search("umbrella for a zebra", k=3, by="system").items(0)[0] == "new"
        space.remove(["new"])
        assert "new" not in space.search("umbrella for a zebra", k=50, by="system").items(0)


def test_without_a_model_the_words_of_the_catalogue_do(monkeypatch):
    monkeypatch.setattr(muvera, "packaged", lambda: None)
    data = passages(60, 80, concepts=12, rng=1).data
    made = muvera.build(data)
    assert isinstance(made.encoder, TokenEncoder)
    title = data.catalog.texts(["passage"])
    hits = made.search(Requests.texts([title[7]]), 3)
    assert hits.rows[0, 0] == 7


def test_the_command_line_builds_it_and_searches(tmp_path, capsys):
    lines = ["id,title"] + [f"p{i},thing number {i} in {color}" for i, color in enumerate(["red", "blue", "green"] * 5)]
    (tmp_path / "items.csv").write_text("\n".join(lines) + "\n")
    place = str(tmp_path / "one.space")
    app(["build", str(tmp_path / "items.csv"), "-o", place, "--system", "muvera"], standalone_mode=False)
    capsys.readouterr()
    app(["search", place, "something green", "-k", "4", "--json"], standalone_mode=False)
    told = json.loads(capsys.readouterr().out)
    assert len(told["hits"]) == 4
    assert int(told["hits"][0]["item"][1:]) % 3 == 2
