"""Clouds whose dimension, isotropy, hubs and agreement are known beforehand."""

from __future__ import annotations

import numpy as np
import pytest

from itemspace.core.errors import RequestError
from itemspace.core.vectors import Dense, VectorSpace
from itemspace.evaluate.embeddings.drift import drift, rotation
from itemspace.evaluate.embeddings.hubness import Hubness
from itemspace.evaluate.embeddings.intrinsic import levina_bickel, neighbor_distances, two_nn
from itemspace.evaluate.embeddings.isotropy import isoscore, mean_cosine, partition_isotropy
from itemspace.evaluate.embeddings.neighbors import jaccard, nearest, overlap
from itemspace.evaluate.embeddings.similarity import families, linear_cka, rank_similarity
from itemspace.evaluate.embeddings.spectrum import Spectrum
from itemspace.evaluate.embeddings.thresholds import Scores, interval, shared_area, threshold


def euclidean(values: np.ndarray) -> Dense:
    return Dense(np.asarray(values, np.float32), VectorSpace("made", values.shape[1], "euclidean"))


def turned(values: np.ndarray, d: int, seed: int = 0) -> np.ndarray:
    """Points laid into d dimensions by a random rotation."""
    axes = np.linalg.qr(np.random.default_rng(seed).standard_normal((d, d)))[0]
    return np.pad(values, ((0, 0), (0, d - values.shape[1]))) @ axes


def manifold(kind: str, n: int, rng: np.random.Generator) -> tuple[np.ndarray, int]:
    if kind == "plane":
        return turned(rng.uniform(size=(n, 2)), 30), 2
    if kind in ("sphere", "high sphere"):  # nothing has an edge here, where neighbors are missing on one side
        true = 3 if kind == "sphere" else 6
        points = rng.standard_normal((n, true + 1))
        return turned(points / np.linalg.norm(points, axis=1, keepdims=True), 30), true
    angle, height = 1.5 * np.pi * (1 + 2 * np.sqrt(rng.uniform(size=n))), 20 * rng.uniform(size=n)
    return turned(np.column_stack([angle * np.cos(angle), height, angle * np.sin(angle)]), 30), 2


class TestIntrinsicDimension:
    @pytest.mark.parametrize("kind", ["plane", "sphere", "high sphere", "roll"])
    def test_known_manifolds_within_a_tenth(self, kind: str) -> None:
        values, true = manifold(kind, 4_000, np.random.default_rng(1))
        distances = neighbor_distances(euclidean(values), 20, np.arange(4_000))
        assert two_nn(distances) == pytest.approx(true, rel=0.1)
        assert levina_bickel(distances) == pytest.approx(true, rel=0.15)

    def test_equal_points_are_left_out_and_only_equal_points_have_none(self) -> None:
        values, true = manifold("plane", 3_000, np.random.default_rng(2))
        distances = neighbor_distances(euclidean(np.concatenate([values, values[:300]])), 20, np.arange(3_300))
        assert two_nn(distances) == pytest.approx(true, rel=0.12)
        assert np.isnan(two_nn(np.zeros((50, 20))))
        assert np.isnan(levina_bickel(np.zeros((50, 20))))


class TestIsotropy:
    def test_one_for_noise_that_prefers_nothing(self) -> None:
        values = np.random.default_rng(0).standard_normal((50_000, 16)).astype(np.float32)
        assert isoscore(Spectrum.of(values).variances) > 0.99
        assert partition_isotropy(values) > 0.95
        assert abs(mean_cosine(values)) < 0.001

    def test_zero_for_a_line_and_a_narrow_cone(self) -> None:
        line = np.outer(np.random.default_rng(0).standard_normal(2_000), np.arange(1, 17)).astype(np.float32)
        assert isoscore(Spectrum.of(line).variances) < 0.01
        cone = (10 * np.eye(16)[0] + 0.1 * np.random.default_rng(0).standard_normal((2_000, 16))).astype(np.float32)
        assert mean_cosine(cone) > 0.99
        assert partition_isotropy(cone) < 0.2

    def test_in_between_it_is_the_share_of_dimensions_in_use(self) -> None:
        """With k of d dimensions varying alike the score is (k - 1) / (d - 1): the authors' own reading of it."""
        for used in (2, 8, 15):
            assert isoscore(np.r_[np.ones(used), np.zeros(16 - used)]) == pytest.approx((used - 1) / 15, abs=1e-9)

    def test_mean_cosine_is_that_of_all_pairs(self) -> None:
        values = np.random.default_rng(5).standard_normal((40, 6)) + 0.5
        unit = values / np.linalg.norm(values, axis=1, keepdims=True)
        pairs = (unit @ unit.T)[np.triu_indices(40, 1)]
        assert mean_cosine(values) == pytest.approx(pairs.mean(), abs=1e-6)


class TestSpectrum:
    def test_equal_variances_use_every_direction(self) -> None:
        found = Spectrum(np.ones(10), np.zeros(10))
        assert found.effective_rank == pytest.approx(10)
        assert found.participation == pytest.approx(10)
        assert (found.components(0.5), found.components(1.0)) == (5, 10)

    def test_one_direction_is_one_direction(self) -> None:
        found = Spectrum(np.r_[3.0, np.zeros(9)], np.zeros(10))
        assert (found.effective_rank, found.participation, found.components(0.99)) == (1.0, 1.0, 1)
        assert Spectrum(np.zeros(4), np.zeros(4)).effective_rank == 0.0


class TestNeighbors:
    def test_exact_and_never_itself_even_among_twins(self) -> None:
        values = np.random.default_rng(0).standard_normal((300, 5))
        values[50:100] = values[:50]
        found = nearest(euclidean(values), 3)
        assert (found != np.arange(300)[:, None]).all()
        distance = np.linalg.norm(values[:, None] - values[None], axis=2)
        np.fill_diagonal(distance, np.inf)
        best = np.sort(distance, axis=1)[:, :3]
        np.testing.assert_allclose(np.take_along_axis(distance, found, 1), best, atol=1e-5)

    def test_more_equals_than_neighbors(self) -> None:
        found = nearest(euclidean(np.ones((20, 3))), 4)
        assert (found != np.arange(20)[:, None]).all()
        with pytest.raises(RequestError, match="at most 19"):
            nearest(euclidean(np.ones((20, 3))), 20)

    def test_overlap_and_jaccard_by_hand(self) -> None:
        left, right = np.array([[0, 1, 2], [3, 4, 5]]), np.array([[2, 9, 1], [6, 7, 8]])
        assert overlap(left, right).tolist() == pytest.approx([2 / 3, 0])
        assert jaccard(left, right).tolist() == pytest.approx([2 / 4, 0])

    def test_hubs_are_seen(self) -> None:
        fair = np.array([[1], [2], [3], [0]])
        hub = np.array([[3], [3], [3], [0]])
        assert Hubness.of(fair, 4) == Hubness(0.0, 1.0, 0.0)
        found = Hubness.of(hub, 4)
        assert (found.largest, found.orphans) == (3.0, 0.5)
        assert found.skewness > 0.5


class TestAgreement:
    def test_cka_is_one_under_rotation_and_scale_and_low_for_strangers(self) -> None:
        rng = np.random.default_rng(0)
        values = rng.standard_normal((2_000, 12)) * np.linspace(3, 0.2, 12)
        assert linear_cka(values, 4.2 * turned(values, 12) + 7) == pytest.approx(1, abs=1e-9)
        assert linear_cka(values, turned(values[:, :6], 20)) > 0.7
        assert linear_cka(values, rng.standard_normal((2_000, 12))) < 0.05

    def test_cka_is_the_kernel_definition(self) -> None:
        rng = np.random.default_rng(1)
        x, y = rng.standard_normal((50, 4)), rng.standard_normal((50, 7))
        center = np.eye(50) - 1 / 50
        k, m = center @ x @ x.T @ center, center @ y @ y.T @ center
        assert linear_cka(x, y) == pytest.approx((k * m).sum() / np.sqrt((k * k).sum() * (m * m).sum()), rel=1e-9)

    def test_ranks_weigh_from_the_top(self) -> None:
        base = np.array([[0, 1, 2, 3]])
        assert rank_similarity(base, base)[0] == pytest.approx(1.0)
        top, bottom = rank_similarity(base, np.array([[1, 0, 2, 3]])), rank_similarity(base, np.array([[0, 1, 3, 2]]))
        assert top[0] < bottom[0] < 1
        assert rank_similarity(base, np.array([[7, 8, 9, 10]]))[0] == 0.0

    def test_families_join_the_alike_first(self) -> None:
        similarity = np.array([[1, 0.9, 0.1], [0.9, 1, 0.2], [0.1, 0.2, 1]])
        assert families(similarity, ("a", "b", "c")) == [("a", "b"), ("c", "a", "b")]
        assert families(np.eye(1), ("a",)) == []

    def test_jaccard_varies_more_for_fewer_neighbors(self) -> None:
        rng = np.random.default_rng(2)
        values = rng.standard_normal((800, 10))
        near, far = (nearest(euclidean(v), 50) for v in (values, values + 0.4 * rng.standard_normal((800, 10))))
        spread = [jaccard(near[:, :k], far[:, :k]).std() for k in (2, 10, 50)]
        assert spread[0] > 1.5 * spread[1] > 1.5 * spread[2]


class TestDrift:
    def test_a_turned_space_has_not_moved(self) -> None:
        old = euclidean(np.random.default_rng(0).standard_normal((400, 8)))
        found = drift(old, euclidean(turned(old.values, 8, 1)))
        assert found.moved.max() < 1e-5
        assert found.plain.mean() > 0.3
        assert found.cka == pytest.approx(1, abs=1e-6)
        assert found.kept.mean() > 0.99

    def test_who_moved_is_named(self) -> None:
        old = np.random.default_rng(0).standard_normal((400, 8))
        new = turned(old, 8, 1)
        new[[3, 77]] *= -1
        found = drift(euclidean(old), euclidean(new))
        assert set(found.most(2).tolist()) == {3, 77}

    def test_dimensions_may_differ(self) -> None:
        old = np.random.default_rng(0).standard_normal((400, 6))
        found = drift(euclidean(old), euclidean(turned(old, 9, 1)))
        assert np.isnan(found.plain).all()
        assert found.moved.max() < 1e-5
        assert rotation(old, turned(old, 9, 1)).shape == (6, 9)
        with pytest.raises(RequestError, match="same items"):
            drift(euclidean(old), euclidean(old[:-1]))


class TestThresholds:
    def test_two_bells_are_cut_between(self) -> None:
        rng = np.random.default_rng(0)
        scores = Scores(rng.normal(0.8, 0.05, 5_000), rng.normal(0.5, 0.05, 5_000), rng.normal(0.1, 0.05, 5_000))
        found = threshold(scores)
        assert found.value == pytest.approx(0.65, abs=0.03)
        assert found.kept > 0.98
        assert found.let_in < 0.02
        assert found.chance == 0.0

    def test_areas_from_apart_to_the_same(self) -> None:
        rng = np.random.default_rng(0)
        a, b = rng.normal(0, 1, 4_000), rng.normal(100, 1, 4_000)
        assert shared_area(a, b) == 0.0
        assert shared_area(a, a) == pytest.approx(1.0)
        assert shared_area(a, rng.normal(0, 1, 4_000)) > 0.9

    def test_no_scores_no_threshold(self) -> None:
        with pytest.raises(RequestError, match="wrong pairs"):
            Scores(np.ones(2), np.ones(0), np.ones(2))

    def test_the_interval_is_of_the_mean(self) -> None:
        mean, low, high = interval(np.random.default_rng(0).binomial(1, 0.3, 500).astype(float))
        assert low < mean < high
        assert high - low == pytest.approx(2 * 1.96 * np.sqrt(0.3 * 0.7 / 500), rel=0.2)
