"""Choosing an index by measuring: what is weighed, what is extrapolated, what is chosen and why."""

import numpy as np
import pytest

from itemspace.core.errors import RequestError
from itemspace.core.vectors import Dense, VectorSpace
from itemspace.index.flat import FlatIndex
from itemspace.index.hnsw import HNSWIndex
from itemspace.index.ivf import IVFIndex
from itemspace.index.tuning import Candidate, bytes_told, candidates, grown, linear, powered, timed, tune
from itemspace.index.weighing import Exam, footprint, knob_of, point, with_effort

SPACE = VectorSpace("tuning", 24, "cosine")


def items(n, seed=0):
    rng = np.random.default_rng(seed)
    centers = np.random.default_rng(5).standard_normal((30, 24))
    return Dense((centers[rng.integers(0, 30, n)] + 0.5 * rng.standard_normal((n, 24))).astype(np.float32), SPACE)


@pytest.fixture(scope="module")
def exam():
    return Exam.of(items(4000), items(100, 1))


def test_recall_counts_answers_once_and_ties_either_way():
    values = np.eye(4, dtype=np.float32)[[0, 0, 1, 2, 3]]
    twins = Dense(values, VectorSpace("ties", 4, "dot"))
    asked = Exam.of(twins, twins.take(np.array([0])), k=1)
    assert asked.recall(np.array([[0]])) == asked.recall(np.array([[1]])) == 1.0
    assert asked.recall(np.array([[2]])) == asked.recall(np.array([[-1]])) == 0.0
    both = Exam.of(twins, twins.take(np.array([0])), k=2)
    assert both.recall(np.array([[0, 1]])) == 1.0
    assert both.recall(np.array([[1, 1]])) == 0.5, "one row twice is one answer"


def test_an_exact_index_has_recall_one_and_weighs_its_vectors(exam, tmp_path):
    FlatIndex(int8_copy="never").build([exam.items]).save(tmp_path)
    opened = FlatIndex.open(tmp_path)
    weighed = footprint(tmp_path, opened, exam.queries.take(np.array([0])))
    vectors = exam.items.values.nbytes
    assert vectors <= weighed.memory <= 1.3 * vectors
    assert weighed.disk == weighed.memory
    assert point(opened, exam, {}).recall == 1.0
    assert knob_of(opened) == ("", ())


def test_vectors_that_a_query_hardly_reads_may_stay_on_disk(tmp_path):
    rng = np.random.default_rng(0)
    wide = Dense(rng.standard_normal((6000, 256)).astype(np.float32), VectorSpace("wide", 256, "cosine"))
    IVFIndex(plan="lists", codes="int8", probes=1).build([wide]).save(tmp_path)
    opened = IVFIndex.open(tmp_path)
    weighed = footprint(tmp_path, opened, wide.take(np.array([0])))
    assert weighed.record >= wide.values.nbytes
    assert weighed.memory < weighed.disk - 0.9 * wide.values.nbytes


def test_more_effort_finds_more_and_the_original_keeps_its_own(exam):
    index = HNSWIndex(plan="graph").build([exam.items])
    assert knob_of(index)[0] == "recall"
    low, high = (point(with_effort(index, ef=ef), exam, {"ef": ef}) for ef in (10, 200))
    assert high.recall > low.recall
    assert high.batch_us > low.batch_us
    assert index.config.ef is None


def test_extrapolation_goes_by_line_power_and_logarithm():
    assert linear(10, 20, 100, 200, 400) == 40
    assert powered(1.0, 2.0, 100, 200, 800) == pytest.approx(8.0)
    assert powered(2.0, 2.0, 100, 200, 800) == pytest.approx(2.0)
    assert powered(1.0, 9.0, 100, 200, 400) == pytest.approx(18.0), "at most linear"
    assert powered(3.0, 2.0, 100, 200, 400) == pytest.approx(2.0), "never cheaper"
    assert timed(11.0, 12.0, 100, 200, 1_000_200, exact=True) == pytest.approx(10_012.0)
    assert timed(12.0, 11.0, 100, 200, 1_000_200, exact=True) == 11.0
    assert grown(100, 200, 800) == pytest.approx(2.0)


def test_the_cheapest_that_suffices_is_chosen_and_the_others_say_why_not(exam):
    everything = tune(exam.items, exam.queries, size=4000, recall=0.9, types=["flat", "ivf"])
    chosen = everything.choice
    assert chosen is not None
    assert chosen.recall >= 0.9
    fit = [trial for trial in everything.trials if not trial.why]
    assert chosen.cpu_us <= 1.1 * min(trial.cpu_us for trial in fit)
    small = tune(exam.items, exam.queries, size=4000, recall=0.9, memory=100_000, types=["flat", "ivf"])
    assert small.choice is None
    assert all("memory" in trial.why for trial in small.trials)
    assert "Nothing reaches" in small.lines()[0]
    exact = tune(exam.items, exam.queries, size=4000, recall=1.0, types=["flat"])
    assert exact.choice is not None
    assert exact.choice.candidate.part == "flat"


def test_what_is_measured_on_a_sample_is_told_of_the_whole(exam):
    told = tune(exam.items, exam.queries, size=400_000, recall=0.9, types=["flat"])
    assert told.sample == 4000
    flat = told.trials[0]
    assert flat.memory == pytest.approx(400_000 * (24 * 4 + 12), rel=0.1)
    assert flat.cpu_us > 5 * flat.measured.one_us
    assert told.to_json()["choice"]["index"] == "flat"


def test_time_that_is_over_and_types_that_are_not_there(exam):
    short = tune(exam.items, exam.queries, size=4000, types=["flat", "ivf"], seconds=0.0)
    assert len({trial.candidate.name for trial in short.trials}) == 1
    assert "the time was over" in short.left_out.values()
    with pytest.raises(RequestError, match="bm25"):
        candidates(["bm25"])
    with pytest.raises(RequestError, match="recall is a number"):
        tune(exam.items, exam.queries, size=4000, recall=1.5)
    assert Candidate("hnsw", {"m": 32}).name == "hnsw m=32"
    assert [bytes_told(x) for x in (12, 2e6, 1.5e9, float("inf"))] == ["12 bytes", "2 MB", "1.5 GB", "any memory"]
