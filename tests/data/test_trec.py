"""Runs and qrels, written and read back, and ranked as trec_eval ranks them."""

import numpy as np
import pytest

from itemspace.core.errors import DataError
from itemspace.core.hits import Hits
from itemspace.core.ids import Ids
from itemspace.core.judgments import Judgments, Queries
from itemspace.data.readers.trec import read_qrels, read_run, write_qrels, write_run

IDS = Ids(["d1", "d2", "d3", "d4"])
QUERIES = Queries.of({"q1": "one", "q2": "two", "q3": "three"})


def test_a_run_comes_back_as_it_was(tmp_path):
    hits = Hits(
        np.array([[2, 0, 1], [3, -1, -1], [-1, -1, -1]], np.int32),
        np.array([[0.1 + 0.2, 0.25, -1.5], [7, -np.inf, -np.inf], [-np.inf] * 3], np.float32), IDS,
    )  # fmt: skip
    write_run(tmp_path / "run", hits, QUERIES)
    again = read_run(tmp_path / "run", QUERIES, IDS)
    np.testing.assert_array_equal(again.rows, hits.rows)
    np.testing.assert_array_equal(again.scores, hits.scores)
    assert (tmp_path / "run").read_text().splitlines()[1] == "q1 Q0 d1 2 0.25 itemspace"


def test_scores_rank_and_equal_scores_rank_by_id_descending(tmp_path):
    (tmp_path / "run").write_text("q1 Q0 d1 1 0.5 x\nq1 Q0 d3 2 0.5 x\nq1 Q0 d2 3 0.9 x\n")
    hits = read_run(tmp_path / "run", QUERIES, IDS, k=2)
    assert hits.items(0) == ["d2", "d3"]


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ("q9 Q0 d1 1 0.5 x", '"q9" is not a known query'),
        ("q1 Q0 d9 1 0.5 x", '"d9" is not a known item'),
        ("q1 Q0 d2 1 0.5 x", 'document "d2" is ranked twice'),
        ("q1 Q0 d1 1 high x", '"high" is not a number'),
        ("q1 Q0 d1 1", "4 fields where 6 belong"),
    ],
)
def test_bad_lines_are_named(tmp_path, line, message):
    (tmp_path / "run").write_text(f"q1 Q0 d2 1 0.9 x\n{line}\n")
    with pytest.raises(DataError, match=message) as caught:
        read_run(tmp_path / "run", QUERIES, IDS)
    assert caught.value.row == 2


def test_qrels_come_back_as_they_were(tmp_path):
    judgments = Judgments.from_pairs(np.array([0, 0, 2]), np.array([1, 3, 0]), np.array([2, 0, 1]), 3)
    write_qrels(tmp_path / "qrels", judgments, QUERIES, IDS)
    assert read_qrels(tmp_path / "qrels", QUERIES, IDS).fingerprint == judgments.fingerprint


def test_white_space_in_an_id_is_refused(tmp_path):
    hits = Hits(np.zeros((1, 1), np.int32), np.ones((1, 1), np.float32), Ids(["a b"]))
    with pytest.raises(DataError, match='document "a b" holds white space'):
        write_run(tmp_path / "run", hits, Queries.of({"q1": "one"}))
