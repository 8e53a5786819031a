"""The vectors of a Space, and the report on what they are like."""

from __future__ import annotations

import numpy as np
import pytest

from itemspace.core.errors import RequestError
from itemspace.evaluate.embeddings.analysis import Settings
from itemspace.space import Space


def test_vectors_are_those_that_are_searched(space: Space) -> None:
    ids, found = space.vectors()
    assert len(ids) == len(found) == 400
    nearest = space.similar(ids[7], k=3, by="text")
    unit = found.values / np.linalg.norm(found.values, axis=1, keepdims=True)
    scores = unit @ unit[7]
    scores[7] = -np.inf
    assert ids[int(scores.argmax())] == nearest.items()[0]
    with pytest.raises(RequestError, match="text or behavior"):
        space.vectors("sound")


def test_removed_items_have_none(space: Space) -> None:
    ids, _ = space.vectors()
    space.remove([ids[0]])
    assert ids[0] not in space.vectors()[0]


def test_the_report_is_kept_and_compares_both_kinds(space: Space) -> None:
    report = space.analyze(settings=Settings(questions=50))
    assert set(report.arms) == {"text", "behavior"}
    assert report.grids[0].rows == ("text", "behavior")
    kept = space.last_report()
    assert kept is not None
    assert kept["embeddings"].grids == report.grids
    assert not kept["embeddings"].provenance["kept"]["stale"]


def test_another_space_joins_by_item(space: Space, built) -> None:
    with Space.open(built) as other:
        report = space.analyze({"other": other}, settings=Settings(questions=50), keep=False)
    assert set(report.arms) == {"text", "behavior", "other: text", "other: behavior"}
    rows = report.grids[0].rows
    assert report.grids[0].values[rows.index("text")][rows.index("other: text")] == pytest.approx(1, abs=1e-6)
