"""Run files: every way to be wrong named with its line, and scores that are trec_eval's."""

import json

import ir_measures
import numpy as np
import pytest
from typer.testing import CliRunner

from itemspace.cli.app import app
from itemspace.core.dataset import Dataset
from itemspace.core.errors import DataError, RequestError
from itemspace.data.readers.beir import write_beir
from itemspace.data.worlds.topics import topics
from itemspace.evaluate.benches import run_bench
from itemspace.evaluate.leaderboard import board_page, evaluate_run, find_runs, make_board
from itemspace.evaluate.run_checks import validate_run

GOOD = ["q1 Q0 d1 1 0.9 me", "q1 Q0 d3 2 0.5 me", "q1 Q0 d2 3 0.5 me", "q2 Q0 d2 1 7 me"]


@pytest.fixture
def folder(tmp_path):
    (tmp_path / "tiny" / "qrels").mkdir(parents=True)
    docs = "".join(json.dumps({"_id": f"d{n}", "title": f"t{n}", "text": f"word{n}"}) + "\n" for n in range(1, 6))
    (tmp_path / "tiny" / "corpus.jsonl").write_text(docs)
    asked = "".join(json.dumps({"_id": f"q{n}", "text": f"word{n}"}) + "\n" for n in range(1, 5))
    (tmp_path / "tiny" / "queries.jsonl").write_text(asked)
    qrels = "query-id\tcorpus-id\tscore\nq1\td1\t1\nq1\td2\t2\nq2\td2\t1\nq3\td3\t1\n"
    (tmp_path / "tiny" / "qrels" / "test.tsv").write_text(qrels)
    return tmp_path


@pytest.fixture
def tiny(folder):
    return Dataset.read(folder / "tiny")


def written(folder, lines):
    path = folder / "a.run"
    path.write_text("\n".join(lines) + "\n")
    return path


def test_a_sound_run_is_taken_with_notes(folder, tiny):
    check = validate_run(written(folder, GOOD), tiny)
    assert check.sound
    assert (check.tag, check.lines, check.queries) == ("me", 4, 2)
    told = " ".join(check.notes)
    assert "1 scores equal the one before" in told
    assert "1 of 3 judged queries have no line and score 0: q3" in told


@pytest.mark.parametrize(
    ("line", "column", "message"),
    [
        ("q9 Q0 d1 2 0.5 me", "query", '"q9" is not a query of tiny'),
        ("q1 Q0 d9 2 0.5 me", "document", '"d9" is not a document of tiny'),
        ("q1 Q0 d1 2 0.5 me", "document", '"d1" stands twice'),
        ("q1 Q0 d3 two 0.5 me", "rank", '"two" is not a whole number'),
        ("q1 Q0 d3 1 0.5 me", "rank", 'rank "1" stands twice'),
        ("q1 Q0 d3 2 inf me", "score", '"inf" is not a finite number'),
        ("q1 Q0 d3 2 1e999 me", "score", '"1e999" is not a finite number'),
        ("q1 Q0 d3 2 0.95 me", "score", "0.95 is above that of the rank before"),
        ("q1 Q0 d3 2 0.5 you", "tag", 'a second tag "you" after "me"'),
        ("q1 Q0 d3 2 0.5", "", "5 fields where 6 belong"),
        ("q1 Q0 d3 2 0.5 my tag", "", "7 fields where 6 belong"),
    ],
)
def test_what_is_wrong_is_named_with_its_line(folder, tiny, line, column, message):
    check = validate_run(written(folder, [GOOD[0], line, *GOOD[2:]]), tiny)
    assert not check.sound
    at_fault = [problem for problem in check.problems if problem.line == 2]
    assert any(problem.column == column and message in problem.message for problem in at_fault), check.problems
    assert "a.run, line 2" in str(at_fault[0])


def test_too_deep_empty_and_missing_runs(folder, tiny):
    check = validate_run(written(folder, GOOD), tiny, depth=2)
    assert [(p.line, p.column) for p in check.problems] == [(3, "query")]
    with pytest.raises(DataError, match="empty"):
        validate_run(written(folder, [""]), tiny)
    with pytest.raises(DataError, match="no such file"):
        validate_run(folder / "no.run", tiny)


def test_scores_are_those_of_trec_eval_whatever_the_ranks_say(folder, tiny):
    rng = np.random.default_rng(0)
    lines = []
    for q in (1, 2):
        order = rng.permutation(5) + 1
        lines += [f"q{q} Q0 d{d} {r} {5 - r // 2} me" for r, d in enumerate(order, 1)]
    path = written(folder, lines)
    ours = evaluate_run(path, tiny)
    qrels = [
        ir_measures.Qrel(q, d, g) for q, d, g in [("q1", "d1", 1), ("q1", "d2", 2), ("q2", "d2", 1), ("q3", "d3", 1)]
    ]
    for metric, measure in (("ndcg@10", ir_measures.nDCG @ 10), ("recall@100", ir_measures.R @ 100)):
        theirs = ir_measures.calc_aggregate([measure], qrels, list(ir_measures.read_trec_run(str(path))))[measure]
        assert ours[metric] == pytest.approx(theirs, abs=1e-12), "a query without a line counts 0"


def test_the_bench_stores_runs_that_the_board_takes(tmp_path):
    world = topics(120, 60, lists=10, rng=0).data
    write_beir(world, tmp_path / "world")
    report = run_bench(
        "beir", str(tmp_path / "world"), arms=["bm25-flat", "bm25-multifield", "lsa"], runs=tmp_path / "runs"
    )
    data = Dataset.read(tmp_path / "world")
    runs = find_runs(tmp_path / "runs")
    assert [path.name for path in runs["world"]] == ["bm25-flat.run", "bm25-multifield.run", "lsa.run"]
    board = make_board(runs, {"world": data})
    assert {entry.tag for entry in board.entries} == {"bm25-flat", "bm25-multifield", "lsa"}
    for entry in board.entries:
        assert entry.values["ndcg@10"] == pytest.approx(report.value("ndcg@10", entry.tag), abs=1e-12)
    best = board.entries[0]
    assert best.values["ndcg@10"] == max(entry.values["ndcg@10"] for entry in board.entries)
    lsa = next(entry for entry in board.entries if entry.tag == "lsa")
    assert lsa.effect.difference == pytest.approx(
        lsa.values["ndcg@10"] - report.value("ndcg@10", "bm25-flat"), abs=1e-12
    )
    page = board_page(board)
    assert f"| lsa | {lsa.values['ndcg@10']:.4f} |" in page
    assert f"{lsa.effect.difference:+.4f}" in page
    left, right = page.split(f"{lsa.effect.difference:+.4f}")[1].split("`")[1].split("|")
    assert ("█" in left, "█" in right) == (lsa.effect.difference < 0, lsa.effect.difference > 0)
    (tmp_path / "runs" / "world" / "copy.run").write_text((tmp_path / "runs" / "world" / "lsa.run").read_text())
    (tmp_path / "runs" / "world" / "bad.run").write_text("q1 Q0\n")
    board = make_board(find_runs(tmp_path / "runs"), {"world": data})
    assert sorted(check.file for _, check in board.refused) == ["bad.run", "lsa.run"]
    assert "Refused: bad.run, line 1: 2 fields where 6 belong" in board_page(board)
    with pytest.raises(RequestError, match="runs of world"):
        make_board(runs, {"other": data})


def test_several_datasets_are_slices_and_their_mean(tmp_path):
    for seed in (0, 1):
        write_beir(topics(60, 30, lists=10, rng=seed).data, tmp_path / f"w{seed}")
    report = run_bench("beir", [str(tmp_path / "w0"), str(tmp_path / "w1")], arms=["bm25-flat", "bm25-multifield"])
    each = [report.value("ndcg@10", "bm25-flat", "dataset", name) for name in ("w0", "w1")]
    assert report.value("ndcg@10", "bm25-flat") == pytest.approx(np.mean(each))
    assert report.comparison("ndcg@10", "bm25-multifield", "dataset", "w1").baseline == "bm25-flat"


def test_ids_with_white_space_are_percent_encoded_in_runs(tmp_path):
    (tmp_path / "names" / "qrels").mkdir(parents=True)
    docs = [{"_id": name, "title": "", "text": f"likes {what}"} for name, what in (("Ann B", "tea"), ("50%", "milk"))]
    (tmp_path / "names" / "corpus.jsonl").write_text("".join(json.dumps(d) + "\n" for d in docs))
    (tmp_path / "names" / "queries.jsonl").write_text('{"_id": "q 1", "text": "tea"}\n{"_id": "q2", "text": "milk"}\n')
    (tmp_path / "names" / "qrels" / "test.tsv").write_text("query-id\tcorpus-id\tscore\nq 1\tAnn B\t1\nq2\t50%\t1\n")
    report = run_bench("beir", str(tmp_path / "names"), arms=["bm25-flat"], runs=tmp_path / "runs")
    assert report.value("ndcg@10", "bm25-flat") == 1.0
    path = tmp_path / "runs" / "names" / "bm25-flat.run"
    assert [line.split()[:3] for line in path.read_text().splitlines()] == [
        ["q%201", "Q0", "Ann%20B"],
        ["q2", "Q0", "50%25"],
    ]
    assert validate_run(path, Dataset.read(tmp_path / "names")).sound


def test_a_query_never_gets_the_document_that_has_its_id(tmp_path):
    (tmp_path / "arg" / "qrels").mkdir(parents=True)
    docs = [{"_id": "a", "title": "", "text": "cats are good"}, {"_id": "b", "title": "", "text": "cats are bad"}]
    (tmp_path / "arg" / "corpus.jsonl").write_text("".join(json.dumps(d) + "\n" for d in docs))
    (tmp_path / "arg" / "queries.jsonl").write_text('{"_id": "a", "text": "cats are good"}\n')
    (tmp_path / "arg" / "qrels" / "test.tsv").write_text("query-id\tcorpus-id\tscore\na\tb\t1\n")
    report = run_bench("beir", str(tmp_path / "arg"), arms=["bm25-flat"])
    assert report.value("ndcg@10", "bm25-flat") == 1.0


def test_the_command_line_names_line_and_value_and_says_no(folder, monkeypatch):
    path = written(folder, [*GOOD, "q2 Q0 d9 2 1 me"])
    done = CliRunner().invoke(app, ["leaderboard", "validate", str(path), "--data", str(folder / "tiny")])
    assert done.exit_code == 1
    assert 'a.run, line 5, document: "d9" is not a document of tiny' in done.output
    written(folder, GOOD)
    done = CliRunner().invoke(app, ["leaderboard", "validate", str(path), "--data", str(folder / "tiny"), "--json"])
    assert done.exit_code == 0
    assert json.loads(done.output)["values"]["recall@100"] == pytest.approx(2 / 3)
    (folder / "runs" / "tiny").mkdir(parents=True)
    path.rename(folder / "runs" / "tiny" / "me.run")
    words = [
        "leaderboard",
        "page",
        str(folder / "runs"),
        "--data",
        str(folder / "tiny"),
        "-o",
        str(folder / "board.md"),
    ]
    assert CliRunner().invoke(app, words).exit_code == 0
    assert "| me |" in (folder / "board.md").read_text()
