"""The mechanism: a planted check measured in three places, records that notice changed code, the list and its page."""

from __future__ import annotations

import json
import sys
from pathlib import Path

import numpy as np
import pytest

import itemspace
from itemspace.core.errors import ArtifactError, RequestError
from itemspace.evaluate.bench import Bench, System, run_check
from itemspace.evaluate.claims import Claim
from itemspace.evaluate.records import code_fingerprint, load_records, record, save_record
from itemspace.systems import find, gallery_rows, ledger, listing, systems_page
from itemspace.systems.registry import Row, built


def planted(gain: dict[str, float]) -> System:
    """A system whose gain over "plain" in each place is given."""

    def check(bench: Bench) -> None:
        for seed in bench.seeds:
            noise = np.random.default_rng(seed).normal(0, 0.002, 2)
            bench.measure("plain", score=0.5 + noise[0])
            bench.measure("system", score=0.5 + gain[bench.place] + noise[1])
        bench.spend("system", trials=1)
        bench.spend("plain", trials=1)

    claims = (Claim("better", "score", over="plain", by=0.02), Claim("told", "unmeasured", at_most=1.0))
    return System("A Planted System", "planted", 2024, "tests", lambda data: None, check, claims)


def test_three_places_one_verdict(tmp_path):
    for gain, verdict in [
        ({"positive": 0.1, "null": 0.0, "real": 0.1}, "held"),
        ({"positive": 0.1, "null": 0.0, "real": 0.0}, "not held"),
        ({"positive": 0.0, "null": 0.0, "real": 0.1}, "unfinished: the implementation is wrong"),
        ({"positive": 0.1, "null": 0.1, "real": 0.1}, "unfinished: the check is rigged"),
    ]:
        run = run_check(planted(gain), data=tmp_path)
        assert run.outcomes[0].verdict.startswith(verdict)
        assert run.outcomes[1].verdict == "not measured (no unmeasured of system)"
    assert run_check(planted(gain)).benches["real"].absent


def test_a_record_holds_what_is_needed_to_judge_and_repeat(tmp_path):
    run = run_check(planted({"positive": 0.1, "null": 0.0, "real": 0.1}), data=tmp_path, seeds=(3, 4, 5))
    finding = record(run, Path(__file__))
    save_record(finding, tmp_path)
    kept = load_records(tmp_path)["planted"]
    assert kept["claims"][0]["places"]["real"]["verdict"] == "held"
    assert kept["places"]["null"]["seeds"] == [3, 4, 5]
    assert len(kept["places"]["null"]["values"]["plain"]["score"]) == 3
    assert kept["places"]["real"]["budget"]["spent"] == {"system": {"trials": 1.0}, "plain": {"trials": 1.0}}
    assert {"code", "hardware", "versions", "measured"} <= set(kept)
    (tmp_path / "planted.json").write_text(json.dumps({**kept, "format": 99}))
    with pytest.raises(ArtifactError, match="newer"):
        load_records(tmp_path)
    (tmp_path / "planted.json").write_text("{")
    with pytest.raises(ArtifactError, match="not a finding"):
        load_records(tmp_path)


def test_the_code_fingerprint_follows_meaning_not_layout_and_reaches_what_is_imported(tmp_path):
    def of(text: str) -> str:
        path = tmp_path / f"system{abs(hash(text))}" / "one.py"
        path.parent.mkdir()
        path.write_text(text)
        return code_fingerprint(path)

    plain = of("def f():\n    return 1\n")
    assert of('"""Docs."""\n\ndef f():  # comment\n    """More."""\n\n    return 1\n') == plain
    assert of("def f():\n    return 2\n") != plain
    within = of("def f():\n    from itemspace.core.topk import top_k\n    return 1\n")
    assert within not in (plain, of("def f():\n    from itemspace.core.ragged import Ragged\n    return 1\n"))


def test_every_system_is_listed_and_none_is_imported(tmp_path):
    before = set(sys.modules)
    rows = listing(tmp_path)
    assert len(rows) == len(ledger()) == len({row.slug for row in rows}) == 156
    assert [row.n for row in rows] == list(range(1, 157))
    by_slug = {row.slug: row for row in rows}
    assert by_slug["walmart_semantic_retrieval"].state == "built, not measured"
    assert by_slug["m2trec"].state == "not built"
    assert not any(name.startswith("itemspace.systems.product_search") for name in set(sys.modules) - before)
    for slug, path in built().items():
        assert by_slug[slug].family == path.parent.name


def test_a_wrong_name_gets_the_nearest_and_an_unbuilt_one_says_so():
    with pytest.raises(RequestError, match="Did you mean `m2trec`"):
        find("m2trek")
    with pytest.raises(RequestError, match="is not built yet"):
        find("m2trec")
    with pytest.raises(RequestError, match="no place"):
        run_check(planted({}), places=("moon",))


def test_the_page_tells_states_and_verdicts_and_marks_stale_findings(tmp_path):
    run = run_check(planted({"positive": 0.1, "null": 0.0, "real": 0.1}), data=tmp_path)
    finding = json.loads(save_record(record(run, Path(__file__)), tmp_path).read_text())
    source = "src/itemspace/systems/tests/planted.py"
    rows = (
        Row(1, "planted", "some_tests", "A | B", "stale", finding, source),
        Row(2, "other", "some_tests", "Other"),
        Row(3, "third", "and_more", "Third"),
    )
    page = systems_page(rows)
    assert "2 not built; 1 stale; 3 in all." in page
    assert "| [some tests](#some-tests) | 2 | 1 | 1 of 2 |" in page
    assert page.index("## and more") < page.index("## some tests")
    assert f"| 1 | [planted](#planted): A \\| B | stale | [planted.py](../{source}) | worlds only; " in page
    assert "| 1 held, 1 not measured |" in page
    assert "**Stale: the code has changed since.**" in page
    assert "score of system above plain by more than 0.02" in page
    assert "| 2 | other: Other | not built |  |  |  |" in page


def test_the_rows_for_a_server_are_plain_values_with_source_and_finding(tmp_path):
    run = run_check(planted({"positive": 0.1, "null": 0.0, "real": 0.1}), data=tmp_path)
    finding = {**record(run, Path(__file__)), "slug": "walmart_semantic_retrieval"}
    save_record(finding, tmp_path)
    rows = json.loads(json.dumps(gallery_rows(tmp_path)))
    assert [row["n"] for row in rows] == list(range(1, 157))
    by_slug = {row["slug"]: row for row in rows}
    walmart = by_slug["walmart_semantic_retrieval"]
    assert walmart["state"] == "stale"
    assert walmart["finding"]["stale"]
    assert [v.split(" (")[0] for v in walmart["verdicts"]] == ["held", "not measured"]
    assert walmart["finding"]["claims"][0]["places"]["positive"]["verdict"] == "held"
    assert walmart["finding"]["places"]["real"]["seeds"] == [0, 1, 2, 3, 4]
    root = Path(itemspace.__file__).parents[2]
    assert (root / "src" / "itemspace" / walmart["source"]).is_file()
    assert by_slug["m2trec"] == {
        "n": 2, "slug": "m2trec", "family": "sequential", "state": "not built", "verdicts": [], "source": None,
        "title": by_slug["m2trec"]["title"],
    }  # fmt: skip


def test_every_built_system_is_whole():
    for slug, path in built().items():
        system = find(slug)
        assert (system.slug, system.family) == (slug, path.parent.name)
        assert system.claims
        titles = {row.slug: row.title for row in ledger()}
        assert system.title == titles[slug]
