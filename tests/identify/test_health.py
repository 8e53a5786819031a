"""The health report against values worked out by hand, and against codes known to be good or bad."""

import numpy as np
import pytest

from itemspace.core.codes import Codes
from itemspace.core.report import Report
from itemspace.core.vectors import Dense, Sparse, VectorSpace
from itemspace.identify.digits import RandomCodes
from itemspace.identify.health import Evidence, as_categories, gini, health, neighbors
from itemspace.identify.residual_kmeans import ResidualKMeans
from itemspace.testing.codes import clustered_vectors


def level(report, metric, number):
    return report.value(f"{metric}-{number}")


def test_by_hand():
    codes = Codes.from_matrix(np.array([[0, 0], [0, 0], [0, 1], [1, 2]], np.int32), (4, 4))
    report = health(codes)
    assert report.value("collisions") == 0.5
    assert report.value("largest-group") == 2
    assert level(report, "usage", 1) == 0.5
    assert level(report, "usage", 2) == 0.75
    assert level(report, "entropy", 1) == pytest.approx(0.8113, abs=1e-4)
    assert level(report, "perplexity", 2) == pytest.approx(2**1.5)
    assert level(report, "prefixes", 1) == 2
    assert level(report, "gini", 1) == pytest.approx(0.25)  # counts 3 and 1
    assert level(report, "gini", 2) == pytest.approx(1 / 6)  # counts 2, 1, 1
    assert any("more than one item" in note for note in report.notes)


def test_gini_of_known_distributions():
    assert gini(np.ones(10)) == pytest.approx(0)
    assert gini(np.array([0, 0, 0, 1])) == pytest.approx(0.75)
    assert gini(np.array([1, 3])) == pytest.approx(0.25)
    assert gini(np.zeros(0)) == 0


def test_purity_by_hand():
    codes = Codes.from_matrix(np.array([[0, 0], [0, 1], [0, 2], [1, 0], [1, 1]], np.int32), (2, 3))
    report = health(codes, Evidence(categories=as_categories(["a", "a", "b", "b", None])))
    assert level(report, "purity", 1) == pytest.approx(3 / 4)


def test_codes_of_content_agree_with_content_and_random_codes_do_not():
    vectors, label = clustered_vectors(600)
    tokenizer = ResidualKMeans(levels=3, codebook_size=8, engine="numpy").fit(vectors)
    codes = tokenizer.assign(vectors)
    random = RandomCodes(levels=3, codebook_size=16).fit(vectors).assign(vectors)
    behavior = Dense(np.eye(6, dtype=np.float32)[label], VectorSpace("b", 6))
    decoded = tokenizer.decode(tokenizer.levels(vectors))
    good = health(codes, Evidence(vectors, behavior, label, decoded))
    bad = health(random, Evidence(vectors, behavior, label))
    for metric in ("purity", "source-agreement", "behavior-agreement"):
        assert level(good, metric, 1) > level(good, f"{metric}-by-chance", 1) + 0.2
        assert abs(level(bad, metric, 1) - level(bad, f"{metric}-by-chance", 1)) < 0.08
    assert 0 < good.value("embedding-hit-rate@10") <= 1


def test_embedding_hit_rate_by_hand():
    """Item 0's behavioral neighbors are 1 and 2; what the codes stand for puts 1 beside it and 2 far away."""
    values = np.array([[1, 0], [1, 0.1], [-1, 0], [0, -1]], np.float32)
    decoded = Dense(values, VectorSpace("d", 2))
    together = np.zeros((4, 4), np.float32)
    together[0, 1] = together[0, 2] = 1
    import scipy.sparse as sp

    affinity = Sparse(sp.csr_matrix(together), VectorSpace("a", 4, "dot"))
    codes = Codes.from_matrix(np.arange(4, dtype=np.int32)[:, None], (4,))
    report = health(codes, Evidence(behavior=affinity, decoded=decoded), k=1)
    # k = 1: of the one nearest by behavior (column order among equals), the one nearest by code is a hit.
    assert report.value("embedding-hit-rate@1") == 1.0
    both = health(codes, Evidence(behavior=affinity, decoded=decoded), k=2)
    assert both.value("embedding-hit-rate@2") == pytest.approx(0.5)


def test_items_without_behavior_neither_ask_nor_answer():
    values = np.eye(5, dtype=np.float32)
    values[4] = 0
    rows, near = neighbors(Dense(values, VectorSpace("b", 5)), 4, 100, np.random.default_rng(0), upto=5)
    assert rows.tolist() == [0, 1, 2, 3]
    assert 4 not in near
    assert (near == -1).sum() == 4


def test_collapse_is_said():
    matrix = np.zeros((500, 2), np.int32)
    matrix[:, 1] = np.arange(500)
    report = health(Codes.from_matrix(matrix, (256, 500)))
    assert any("level 1 is collapsed" in note for note in report.notes)


def test_the_report_is_shown_three_ways():
    vectors, label = clustered_vectors()
    codes = ResidualKMeans(levels=2, codebook_size=8, engine="numpy").fit(vectors).assign(vectors)
    report = health(codes, Evidence(vectors, categories=label), name="mine")
    assert "perplexity" in report.terminal()
    assert "<html" in report.html()
    assert Report.from_json(report.to_json()).value("collisions", "mine") == 0
