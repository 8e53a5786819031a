"""The ESCI tasks: official metrics against numbers worked out by hand, on files in the published format."""

import math

import numpy as np
import pyarrow as pa
import pytest

from itemspace.core.dataset import Dataset
from itemspace.core.errors import DataError, RequestError
from itemspace.data.readers.esci import GAINS, write_esci
from itemspace.encode.fields import TextFields
from itemspace.evaluate.benches import run_bench
from itemspace.evaluate.esci import Examples, classes, classes_reference, ranked_by, ranking_reference, rankings
from itemspace.index.bm25 import BM25Index
from itemspace.metrics.classes import confusion, macro_f1, micro_f1

LABELS = np.array(["E", "S", "C", "I"])


@pytest.fixture
def folder(tmp_path):
    rng = np.random.default_rng(0)
    n, kinds = 96, 4
    names = ["boot", "tent", "lamp", "rope"]
    locale = np.where(np.arange(n) % 4 == 3, "es", "us")
    label = rng.integers(0, 4, n)
    query = np.arange(n) // 8
    kind = (query % kinds + np.where(label == 0, 0, 1 + np.arange(n) % 3)) % kinds
    test = query % 3 == 0
    write_esci(
        tmp_path / "esci",
        examples=pa.table({
            "example_id": np.arange(n), "query": [f"{names[q % kinds]} {q}" for q in query], "query_id": query,
            "product_id": [f"B{i}" for i in range(n)], "product_locale": locale, "esci_label": LABELS[label],
            "small_version": (query % 2 == 0).astype(int), "large_version": np.ones(n, int),
            "split": np.where(test, "test", "train"),
        }),
        products=pa.table({
            "product_id": [f"B{i}" for i in range(n)], "product_title": [f"{names[k]} {i}" for i, k in enumerate(kind)],
            "product_description": [None] * n, "product_bullet_point": ["b"] * n, "product_brand": ["x"] * n,
            "product_color": ["red"] * n, "product_locale": locale,
        }),
    )  # fmt: skip
    return tmp_path / "esci"


def test_ranking_both_ways_is_what_paper_and_pencil_say():
    ranked = [["S", "E", "I", "C"], ["I", "I"]]
    paper = (0.1 + 1 / math.log2(3) + 0.01 / math.log2(5)) / (1 + 0.1 / math.log2(3) + 0.01 / math.log2(4))
    script = (0.01 + 1 / math.log2(3) + 0.1 / math.log2(5)) / (1 + 0.1 / math.log2(3) + 0.01 / math.log2(4))
    assert ranking_reference(ranked, GAINS["paper"]) == pytest.approx(paper / 2)
    assert ranking_reference(ranked, GAINS["script"]) == pytest.approx(script / 2)


def test_the_fast_ranking_equals_the_slow_one_and_ranks_every_judged_product(folder):
    data = Dataset.read(folder, split="test", version="large")
    examples = Examples.of(data, GAINS["paper"])
    words = (TextFields(columns=("product_title",)) >> BM25Index()).build(data.catalog)
    hits = ranked_by(words, examples, len(data.catalog), data.catalog.ids.ties)
    known = {}
    for q, item, label in zip(examples.candidates.groups, examples.candidates.values, examples.label, strict=True):
        known[int(q), int(item)] = str(LABELS[label])
    lists = [[known[q, int(row)] for row in line if row >= 0] for q, line in enumerate(hits.rows)]
    assert sorted(map(len, lists)) == sorted(examples.candidates.lengths.tolist()), "also those without a common word"
    for reading, run in rankings(hits, examples, "words").items():
        assert run.values["ndcg"].mean == pytest.approx(ranking_reference(lists, GAINS[reading]), abs=1e-6)


def test_f1_is_the_slow_one_and_known_values():
    truth, called = np.array([0, 0, 0, 1, 1, 2, 3, 3]), np.array([0, 0, 1, 1, 0, 2, 2, 3])
    table = confusion(truth, called, 4)
    assert micro_f1(table) == pytest.approx(5 / 8)
    assert macro_f1(table) == pytest.approx((2 * 2 / 6 + 2 * 1 / 4 + 2 * 1 / 3 + 2 * 1 / 3) / 4)
    slow = classes_reference(LABELS[truth].tolist(), LABELS[called].tolist())
    assert classes(truth, called) == pytest.approx(slow)
    binary = classes_reference([str(t == 1) for t in truth], [str(c == 1) for c in called])
    assert classes(truth, called, substitutes=True) == pytest.approx(binary)
    assert macro_f1(confusion(np.array([0, 0]), np.array([0, 0]), 4)) == 1.0, "absent classes do not count"
    assert (micro_f1(np.zeros((4, 4), int)), macro_f1(np.zeros((4, 4), int))) == (0.0, 0.0)


@pytest.mark.parametrize("task", [1, 2, 3])
def test_the_bench_of_each_task(folder, task):
    pytest.importorskip("torch")
    report = run_bench("esci", str(folder), task=task)
    pairs = {1: 16, 2: 32, 3: 32}[task]
    assert report.provenance["test pairs"] == pairs
    if task == 1:
        assert report.arms == ("bm25", "bi-encoder", "cross-encoder")
        assert report.metrics[:2] == ("ndcg (paper gains)", "ndcg (script gains)")
    else:
        assert report.arms == ("majority", "bi-encoder", "cross-encoder")
        labels = report.provenance["labels of the test pairs"]
        none = 1 - labels["S"] / pairs
        if task == 3:
            assert report.value("micro-f1", "majority") == pytest.approx(none)
    for measure in report.measures:
        assert 0 <= measure.value <= 1


def test_what_cannot_be_asked_is_refused(folder):
    with pytest.raises(RequestError, match="none of the tasks"):
        run_bench("esci", str(folder), task=4)
    with pytest.raises(RequestError, match="no arm `bert`"):
        run_bench("esci", str(folder), task=1, arms=["bert"])
    data = Dataset.read(folder, split="test")
    with pytest.raises(DataError, match="training and the test part"):
        run_bench("esci", data, task=1)
    with pytest.raises(DataError, match="no label's"):
        Examples.of(data, {"E": 5.0, "S": 3.0, "C": 2.0, "I": 1.0})
