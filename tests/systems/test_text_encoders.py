"""RepBERT and continuous retrieval: their quick checks in both worlds, and that a Space serves what they build."""

from __future__ import annotations

import json
from dataclasses import replace

import pytest

from itemspace.cli.app import app
from itemspace.core.requests import Requests
from itemspace.data.worlds import paraphrases, passages, topics
from itemspace.evaluate.bench import run_check
from itemspace.space import Space
from itemspace.systems import find

pytest.importorskip("torch")
pytest.importorskip("tokenizers")
SLUGS = ("repbert", "continuous_retrieval")


@pytest.mark.parametrize("slug", SLUGS)
def test_the_quick_check_holds_where_it_must_and_not_where_nothing_can_be_learned(slug):
    run = run_check(find(slug), places=("positive", "null"), quick=True)
    measured = [o for o in run.outcomes if o.findings["positive"].verdict != "not measured"]
    compared = [o for o in measured if o.claim.comparative]
    assert len(compared) >= 2
    for outcome in compared:
        assert outcome.findings["positive"].verdict == "held", outcome
        assert outcome.findings["null"].verdict != "held", outcome


@pytest.mark.parametrize("slug", SLUGS)
def test_a_space_serves_it_and_follows_its_changes(slug, tmp_path):
    data = passages(60, 80, concepts=12, rng=1).data if slug == "repbert" else paraphrases(40, concepts=12, rng=1).data
    with Space.build(data, path=tmp_path / "one.space", system=slug) as space:
        query = data.queries.texts[0]
        hits = space.search(query, k=5)
        assert len(hits.items(0)) == 5
        column = data.catalog.schema.columns("text")[0]
        space.add([{"item_id": "new", column: "zzz unheard of words entirely new"}])
        assert "new" in space.search("zzz unheard of words entirely new", k=3, by="system").items(0)
        space.remove(["new"])
        assert "new" not in space.search("zzz unheard of words entirely new", k=50, by="system").items(0)


@pytest.mark.parametrize("slug", SLUGS)
def test_it_builds_from_clicks_and_from_texts_alone(slug):
    data = topics(items=60, queries=20, lists=60, rng=1).data
    small = {"encoder": {"epochs": 1}} if slug == "repbert" else {"towers": {"epochs": 1, "rounds": 1}}
    system = find(slug)
    config = type(system.build.__defaults__[0]).parse(small)
    clicked = replace(data, queries=None, judgments=None)
    for given in (clicked, replace(clicked, impressions=None)):
        hits = system.build(given, config).search(Requests.texts(["anything at all"]), 4)
        assert hits.found.tolist() == [4]


@pytest.mark.parametrize("slug", SLUGS)
def test_the_command_line_builds_it_from_published_files_and_searches(slug, tmp_path, capsys):
    files = tmp_path / "files"
    files.mkdir()
    if slug == "repbert":
        lines = [f"{i}\tpassage {i} speaks of thing{i} and part{i % 5}\n" for i in range(20)]
        (files / "collection.tsv").write_text("".join(lines))
        (files / "queries.train.tsv").write_text("".join(f"{i}\twhere is thing{i}\n" for i in range(20)))
        (files / "qrels.train.tsv").write_text("".join(f"{i}\t0\t{i}\t1\n" for i in range(20)))
    else:
        rows = [f"{i}\t{i}\t{i + 50}\thow to do thing{i}\tway of doing thing{i}\t1\n" for i in range(20)]
        header = "id\tqid1\tqid2\tquestion1\tquestion2\tis_duplicate\n"
        (files / "quora_duplicate_questions.tsv").write_text(header + "".join(rows))
    app(["build", str(files), "-o", str(tmp_path / "one.space"), "--system", slug], standalone_mode=False)
    capsys.readouterr()
    app(["search", str(tmp_path / "one.space"), "thing7", "-k", "4", "--json"], standalone_mode=False)
    told = json.loads(capsys.readouterr().out)
    assert len(told["hits"]) == 4
    assert any(hit["item"] in ("7", "57") for hit in told["hits"])
