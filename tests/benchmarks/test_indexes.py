"""The benchmark of every index type: its arms answer, and its verdicts are what the figures say."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import harness
import indexes
import numpy as np
import pytest
from ann_cells import Cell

N, D = 1_500, 96


@pytest.fixture(scope="module")
def items() -> np.ndarray:
    rng = np.random.default_rng(0)
    values = (rng.standard_normal((30, D))[rng.integers(0, 30, N)] + 0.7 * rng.standard_normal((N, D))).astype(
        np.float32
    )
    return values / np.linalg.norm(values, axis=1, keepdims=True)


@pytest.mark.parametrize(
    "name", ["faiss-sq8", "faiss-fp16", "usearch-i8", "itemspace-flat-int8_copy-never", "itemspace-hnsw"]
)
def test_an_arm_finds_what_is_nearest(name: str, items: np.ndarray, tmp_path: Path) -> None:
    arm = indexes.arms(None)[name]
    arm.build(items, (), tmp_path, threads=1)
    arm.open(items, tmp_path)
    search = arm.searcher(Cell("all", np.arange(40), (), N))
    exact = np.argsort(-(items[:40] @ items.T), axis=1)[:, :10]
    best = max(arm.settings(N))
    found = search(items[:40], best)
    shared = np.mean([len(set(a) & set(b)) / 10 for a, b in zip(found.tolist(), exact.tolist(), strict=True)])
    assert shared >= 0.9


def curve(*points: tuple[float, float]) -> list[dict[str, float]]:
    return [{"setting": i, "recall": r, "qps_cpu": q} for i, (r, q) in enumerate(points)]


def test_equal_bytes_and_recall_decide() -> None:
    assert indexes.best(curve((0.9, 500), (0.96, 100), (0.99, 50)))["qps_cpu"] == 100
    assert indexes.best(curve((0.7, 500), (0.9, 100)))["recall"] == 0.9
    found: dict[str, Any] = {
        "itemspace-hnsw": {"curve": curve((0.96, 100.0)), "memory": 1000, "ours": True},
        "large": {"curve": curve((0.99, 900.0)), "memory": 2000, "ours": False},
        "small": {"curve": curve((0.96, 80.0)), "memory": 1050, "ours": False},
        "blind": {"curve": curve((0.5, 999.0)), "memory": 10, "ours": False},
    }
    made = harness.Result("indexes", "t", 1, "c", "a", {}, machine="none")
    indexes._equal(made, "tiny", found)
    assert made.tables[0]["rows"][0][3:] == ["small", 80.0, 1.25]
    assert [verdict["held"] for verdict in made.verdicts] == [True, True]
