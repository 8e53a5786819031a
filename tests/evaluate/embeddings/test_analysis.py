"""The report as a whole, the critical number of items, and the shape of neighborhoods."""

from __future__ import annotations

import numpy as np
import pytest

from itemspace.core.errors import RequestError
from itemspace.core.report import Report
from itemspace.core.vectors import Dense, VectorSpace
from itemspace.evaluate.embeddings.analysis import Settings, analyze, common
from itemspace.evaluate.embeddings.critical import FreeConfig, attempt, critical_n, sets
from itemspace.evaluate.embeddings.topology import diagrams, image, loop_strength


def vectors(seed: int, d: int = 24, rank: int = 5) -> Dense:
    rng = np.random.default_rng(seed)
    values = rng.standard_normal((600, rank)) @ rng.standard_normal((rank, d)) + 0.01 * rng.standard_normal((600, d))
    return Dense(values.astype(np.float32), VectorSpace(f"made-{seed}", d, "cosine"))


class TestReport:
    def test_says_what_was_planted(self) -> None:
        one = vectors(0)
        turned = Dense(
            one.values @ np.linalg.qr(np.random.default_rng(9).standard_normal((24, 24)))[0].astype(np.float32),
            VectorSpace("turned", 24, "cosine"),
        )
        report = analyze({"one": one, "turned": turned, "other": vectors(1)}, Settings(questions=200))
        assert 3.5 < report.value("effective rank", "one") < 5.1
        assert report.value("intrinsic dimension (TwoNN)", "one") == pytest.approx(5, abs=1)
        wholes = next(g for g in report.grids if "CKA" in g.name)
        assert wholes.values[0][1] == pytest.approx(1, abs=1e-6)
        assert wholes.values[0][2] < 0.4
        kept = {m.label: m.value for m in report.measures if m.arm == "one" and m.slice == "principal components"}
        assert kept["8 dimensions"] > 0.85 > kept["2 dimensions"]
        assert "(one, turned)" in " ".join(report.notes)

    def test_survives_its_json_and_draws_itself(self) -> None:
        report = analyze({"one": vectors(0), "other": vectors(1)}, Settings(questions=100))
        again = Report.from_json(report.to_json())
        assert again.grids == report.grids
        assert again.lead == report.lead
        assert again.curves == report.curves
        page = report.html()
        assert page.count("<svg") > 10
        assert "Shared neighbors" in page
        assert "Agreement as wholes" in report.terminal(width=120)

    def test_one_encoder_alone_has_nobody_to_agree_with(self) -> None:
        report = analyze({"one": vectors(0)}, Settings(questions=100))
        assert report.grids == ()
        assert f"one uses about {report.value('effective rank'):.0f} of 24 directions" in report.headline

    def test_what_cannot_be_compared_is_refused(self) -> None:
        with pytest.raises(RequestError, match="same items"):
            analyze({"one": vectors(0), "few": vectors(1).take(np.arange(100))})
        with pytest.raises(RequestError, match="more than 50"):
            analyze({"one": vectors(0).take(np.arange(50))})

    def test_items_are_matched_by_their_ids(self) -> None:
        a, b = vectors(0).take(np.arange(3)), vectors(1).take(np.arange(3))
        ids, found = common({"a": (["x", "y", "z"], a), "b": (["z", "q", "x"], b)})
        assert ids == ["x", "z"]
        np.testing.assert_array_equal(found["a"].values, a.values[[0, 2]])
        np.testing.assert_array_equal(found["b"].values, b.values[[2, 0]])
        with pytest.raises(RequestError, match="no item"):
            common({"a": (["x", "y", "z"], a), "b": (["u", "v", "w"], b)})


class TestCriticalNumber:
    def test_every_set_is_a_query(self) -> None:
        assert sets(4, 2).tolist() == [[0, 1], [0, 2], [0, 3], [1, 2], [1, 3], [2, 3]]

    def test_it_grows_with_the_dimension_and_two_numbers_hold_few(self) -> None:
        """In the plane only neighbors on a circle can be on top together: three items, and never five."""
        pytest.importorskip("torch")
        config = FreeConfig(steps=600, patience=200, attempts=2)
        found = [critical_n(d, 2, config, most=12) for d in (2, 3, 4)]
        assert found[0] == 3
        assert found[0] < found[1] < found[2]

    def test_what_is_realized_is_told_with_its_steps(self) -> None:
        pytest.importorskip("torch")
        found = attempt(4, 2, 6, FreeConfig(steps=400))
        assert found.realized
        assert found.steps > 0
        with pytest.raises(RequestError, match="between 1 and"):
            attempt(2, 2, 4)


class TestTopology:
    def test_a_circle_has_a_loop_and_a_blob_has_none(self) -> None:
        pytest.importorskip("gudhi")
        rng = np.random.default_rng(0)
        angle = rng.uniform(0, 2 * np.pi, 60)
        circle = np.column_stack([np.cos(angle), np.sin(angle)]) + 0.03 * rng.standard_normal((60, 2))
        blob = rng.standard_normal((60, 2))
        assert loop_strength(circle) > 0.4
        assert loop_strength(blob) < 0.15

    def test_components_merge_at_the_gaps_of_a_line(self) -> None:
        pytest.importorskip("gudhi")
        found = diagrams(np.array([[0.0], [1.0], [3.0], [3.5]]), 0)[0]
        assert sorted(found.deaths.tolist()) == pytest.approx([0.5, 1.0, 2.0])
        assert found.norm() == pytest.approx(1.75)

    def test_an_image_has_its_mass_where_the_feature_is(self) -> None:
        pytest.importorskip("gudhi")
        found = diagrams(np.array([[0.0], [1.0], [3.0], [3.5]]), 0)[0]
        drawn = image(found, 8, 4.0)
        assert drawn.shape == (8, 8)
        assert drawn[:, 0].sum() > 0.9 * drawn.sum() / 2
        assert np.unravel_index(drawn.argmax(), drawn.shape)[1] == 0
