"""What every adapter does, and what each one alone promises."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from itemspace.adapt.adapter import Adapter
from itemspace.adapt.mpad import MPAD, smallest, smallest_reference
from itemspace.adapt.pca import PCA
from itemspace.adapt.random_projection import RandomProjection
from itemspace.adapt.truncation import Truncation
from itemspace.core.errors import ArtifactError, ContractError, RequestError, SpaceMismatchError
from itemspace.core.plugins import find
from itemspace.core.vectors import Dense, VectorSpace
from itemspace.evaluate.embeddings.neighbors import nearest, overlap

KINDS = [PCA(dimension=6), Truncation(dimension=6), RandomProjection(dimension=6), MPAD(dimension=6, steps=5)]


def clustered(n: int = 600, d: int = 24, seed: int = 0, metric: str = "euclidean") -> Dense:
    rng = np.random.default_rng(seed)
    centers = np.random.default_rng(7).standard_normal((12, d)) * np.linspace(2, 0.1, d)
    values = centers[rng.integers(0, 12, n)] + 0.3 * rng.standard_normal((n, d)) * np.linspace(2, 0.1, d)
    return Dense(values.astype(np.float32), VectorSpace("made", d, metric))  # type: ignore[arg-type]


@pytest.mark.parametrize("adapter", KINDS, ids=lambda a: a.kind)
class TestEveryAdapter:
    def test_the_same_vectors_and_seed_give_the_same_map(self, adapter: Adapter) -> None:
        vectors = clustered()
        one, other = (type(adapter)(adapter.config).fit(vectors, rng=3).adapt(vectors) for _ in range(2))
        np.testing.assert_array_equal(one.values, other.values)
        assert one.space == other.space

    def test_saved_and_opened_it_adapts_alike(self, adapter: Adapter, tmp_path: Path) -> None:
        vectors = clustered()
        made = type(adapter)(adapter.config).fit(vectors)
        made.save(tmp_path)
        opened = type(adapter).open(tmp_path)
        np.testing.assert_array_equal(opened.adapt(vectors).values, made.adapt(vectors).values)
        assert opened.space == made.space
        assert opened.source == vectors.space

    def test_one_vector_alone_is_adapted_as_among_many(self, adapter: Adapter) -> None:
        vectors = clustered()
        made = type(adapter)(adapter.config).fit(vectors)
        alone = made.adapt(vectors.take(np.array([5]))).values
        np.testing.assert_allclose(alone[0], made.adapt(vectors).values[5], rtol=0, atol=1e-5)

    def test_cosine_stays_cosine_and_comes_out_normalized(self, adapter: Adapter) -> None:
        vectors = clustered(metric="cosine")
        out = type(adapter)(adapter.config).fit(vectors).adapt(vectors)
        assert (out.space.metric, out.space.normalized, out.space.dimension) == ("cosine", True, 6)
        np.testing.assert_allclose(np.linalg.norm(out.values, axis=1), 1, atol=1e-5)
        longer = Dense(vectors.values * 3, vectors.space)
        np.testing.assert_allclose(
            type(adapter)(adapter.config).fit(longer).adapt(longer).values, out.values, atol=1e-4
        )

    def test_vectors_of_another_space_are_refused(self, adapter: Adapter) -> None:
        made = type(adapter)(adapter.config).fit(clustered())
        other = Dense(clustered().values, VectorSpace("other", 24, "euclidean"))
        with pytest.raises(SpaceMismatchError, match="other"):
            made.adapt(other)

    def test_what_cannot_be_learned_is_refused(self, adapter: Adapter) -> None:
        fresh = type(adapter)(adapter.config)
        with pytest.raises(ContractError, match="has not learned"):
            fresh.adapt(clustered())
        with pytest.raises(ContractError, match="given none"):
            fresh.fit(clustered(0))
        with pytest.raises(RequestError, match="cannot be reduced to 6"):
            fresh.fit(clustered(d=5))
        broken = clustered()
        broken.values[3, 2] = np.nan
        with pytest.raises(ContractError, match="finite"):
            fresh.fit(broken)

    def test_another_kind_of_folder_is_refused(self, adapter: Adapter, tmp_path: Path) -> None:
        with pytest.raises(ArtifactError):
            type(adapter).open(tmp_path)

    def test_it_is_found_by_its_name(self, adapter: Adapter) -> None:
        assert find("adapters", adapter.kind) is type(adapter)


def test_a_truncated_cosine_space_is_not_the_truncated_space_of_another_seed() -> None:
    vectors = clustered()
    one, other = (RandomProjection(dimension=6).fit(vectors, rng=seed).space for seed in (0, 1))
    assert one != other


def test_principal_components_are_what_the_svd_says() -> None:
    vectors = clustered()
    centered = vectors.values - vectors.values.mean(0)
    _, strength, axes = np.linalg.svd(centered, full_matrices=False)
    out = PCA(dimension=5).fit(vectors).adapt(vectors).values
    np.testing.assert_allclose(np.abs(out), np.abs(centered @ axes[:5].T), atol=1e-3)
    white = PCA(dimension=5, whiten=True).fit(vectors).adapt(vectors).values
    np.testing.assert_allclose(np.cov(white.T, bias=True), np.eye(5), atol=1e-3)
    later = PCA(dimension=4, skip=1).fit(vectors).adapt(vectors).values
    np.testing.assert_allclose(later, out[:, 1:], atol=1e-3)
    assert strength[0] > strength[5]


def test_whitening_leaves_directions_without_variance_alone() -> None:
    flat = clustered()
    flat.values[:, 3:] = 0
    out = PCA(dimension=6, whiten=True).fit(flat).adapt(flat).values
    assert np.isfinite(out).all()
    assert np.abs(out[:, 3:]).max() < 1e-2


@pytest.mark.parametrize("entries", ["gaussian", "signs", "orthogonal"])
def test_random_projections_keep_squared_distances_on_average(entries: str) -> None:
    vectors = clustered(200, 64)
    left, right = vectors.values[:100], vectors.values[100:]
    true = ((left - right) ** 2).sum(1)
    ratios = []
    for seed in range(30):
        out = RandomProjection(dimension=32, entries=entries).fit(vectors, rng=seed).adapt(vectors).values  # type: ignore[arg-type]
        ratios.append((((out[:100] - out[100:]) ** 2).sum(1) / true).mean())
    assert abs(np.mean(ratios) - 1) < 0.1
    assert np.std(ratios) > 0.005  # and it is a random one each time


class TestMPAD:
    @pytest.mark.parametrize("percent", [1.0, 35.0, 80.0, 100.0])
    def test_windows_of_the_sorted_line_are_the_smallest_pairs(self, percent: float) -> None:
        along = np.random.default_rng(0).standard_normal(150)
        assert smallest(along, percent)[0] == pytest.approx(smallest_reference(along, percent), rel=1e-9)

    def test_equal_projections_are_pairs_at_distance_zero(self) -> None:
        assert smallest(np.zeros(10), 50)[0] == 0.0

    def test_the_slope_is_the_derivative(self) -> None:
        along = np.random.default_rng(1).standard_normal(60)
        value, slope = smallest(along, 70)
        for i in (0, 17, 42):
            moved = along.copy()
            moved[i] += 1e-7
            assert (smallest(moved, 70)[0] - value) / 1e-7 == pytest.approx(slope[i], abs=1e-4)

    def test_the_objective_never_decreases_and_axes_stay_nearly_orthogonal(self) -> None:
        adapter = MPAD(dimension=8).fit(clustered())
        for ascent in adapter.ascents:
            assert (np.diff(ascent.objective) > 0).all()
        assert any(len(ascent.objective) > 2 for ascent in adapter.ascents)
        axes = adapter._fitted().axes.astype(np.float64)
        np.testing.assert_allclose((axes**2).sum(0), 1, atol=1e-5)
        assert np.abs(axes.T @ axes - np.eye(8)).max() < 0.2

    def test_without_a_penalty_axes_fall_together(self) -> None:
        axes = MPAD(dimension=4, orthogonality=0.0, steps=300).fit(clustered())._fitted().axes
        strict = MPAD(dimension=4, orthogonality=100.0, steps=300).fit(clustered())._fitted().axes
        off = [np.abs(a.T @ a - np.eye(4)).max() for a in (axes, strict)]
        assert off[0] > 3 * off[1]

    def test_outliers_draw_principal_components_and_not_these_axes(self) -> None:
        """Some far points along an axis of their own: squares follow them, the closest pairs do not."""
        rng = np.random.default_rng(3)
        values = np.zeros((500, 12), np.float32)
        values[:, :3] = rng.standard_normal((500, 3))
        values[:, 3:6] = 0.02 * rng.standard_normal((500, 3))
        values[np.arange(15), 3 + np.arange(15) % 3] += 40.0 * rng.choice([-1, 1], 15)
        vectors = Dense(values, VectorSpace("made", 12, "euclidean"))
        asked = np.arange(15, 500)
        truth = nearest(vectors, 10, asked)
        kept = {}
        for adapter in (PCA(dimension=3), MPAD(dimension=3, closest=60.0)):
            kept[adapter.kind] = overlap(truth, nearest(adapter.fit(vectors).adapt(vectors), 10, asked)).mean()
        assert kept["mpad"] > 0.8
        assert kept["mpad"] > kept["pca"] + 0.3
