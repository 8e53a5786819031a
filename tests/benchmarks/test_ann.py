"""The search benchmark measures what it says: filters, recall, the choice of settings, and every adapter it compares."""

from __future__ import annotations

from pathlib import Path

import ann
import ann_measure
import ann_tables
import harness
import numpy as np
import pytest
from ann_cells import Cell, cells, exact, least_setting, quality
from ann_measure import Data, Sweep, build, kept, measure
from ann_peers import Arm, Faiss, Hnswlib, Lance, Ours, Usearch

N, QUERIES, D, K = 3_000, 300, 16, 10


def unit(rng: np.random.Generator, count: int) -> np.ndarray:
    values = rng.standard_normal((count, D)).astype(np.float32)
    return values / np.linalg.norm(values, axis=1, keepdims=True)


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Data:
    rng = np.random.default_rng(3)
    made = Data("tiny", unit(rng, N), unit(rng, QUERIES))
    made.__dict__["folder"] = tmp_path_factory.mktemp("ann")
    return made


def slow(items: np.ndarray, query: np.ndarray, rows: np.ndarray) -> list[int]:
    """The reference: every permitted item scored, sorted."""
    return sorted(rows.tolist(), key=lambda row: -float(items[row] @ query))[:K]


def permitted(cell: Cell, position: int) -> np.ndarray:
    if not cell.allowed:
        return np.arange(cell.size)
    return cell.allowed[position if cell.own else 0]


def test_filters_hold_the_share_and_the_side_they_name(data: Data) -> None:
    by_name = {cell.name: cell for cell in data.cells}
    assert len(by_name) == 14
    topic = data.queries[0]
    for share, percent in ((0.001, "0.1%"), (0.01, "1.0%"), (0.1, "10.0%"), (0.5, "50.0%")):
        near, far = by_name[f"near {percent}"], by_name[f"far {percent}"]
        assert [len(by_name[f"{kind} {percent}"].allowed[0]) for kind in ("random", "near", "far")] == [share * N] * 3
        score = data.items @ topic
        assert score[near.allowed[0]].min() >= np.delete(score, near.allowed[0]).max()
        assert score[far.allowed[0]].max() <= np.delete(score, far.allowed[0]).min()
        assert near.queries.tolist() == far.queries.tolist()
        left = np.delete(np.arange(QUERIES), near.queries)
        assert (data.queries[near.queries] @ topic).min() >= (data.queries[left] @ topic).max()
    own = by_name["own 1.0%"]
    assert len(own.allowed) == QUERIES
    assert {len(rows) for rows in own.allowed} == {N // 100}
    assert len({rows.tobytes() for rows in own.allowed}) == QUERIES


def test_truth_is_the_sorted_list_of_what_may_answer(data: Data) -> None:
    for cell in data.cells:
        truth = exact(data.items, data.queries, cell, K)
        for i in (0, len(cell.queries) - 1):
            query = data.queries[cell.queries[i]]
            best = [float(data.items[row] @ query) for row in slow(data.items, query, permitted(cell, i))]
            np.testing.assert_allclose(truth[i][np.isfinite(truth[i])], best, rtol=1e-5)
            assert np.isfinite(truth[i]).sum() == len(best)


def test_recall_counts_what_is_right_once_and_permitted(data: Data) -> None:
    for cell in (data.cells[0], data.cells[4], data.cells[-1]):
        truth = data.truth(cell)
        found = np.full((len(cell.queries), K), -1)
        for i, position in enumerate(cell.queries):
            best = slow(data.items, data.queries[position], permitted(cell, i))
            found[i, : len(best)] = best
        perfect = data.judge(cell, found)
        assert (perfect.recall, perfect.least, perfect.wrong) == (1.0, 0, 0)
        short = found.copy()
        short[3, -2:] = -1
        judged = quality(short, data.items, data.queries, cell, truth)
        assert judged.least == -2
        assert judged.recall == pytest.approx(1 - 2 / found.size)
        twice = found.copy()
        twice[5, 1] = twice[5, 0]
        judged = quality(twice, data.items, data.queries, cell, truth)
        assert judged.wrong == 1
        assert judged.recall == pytest.approx(1 - 1 / found.size)
        assert data.judge(cell, found[:7]).recall == 1.0


def test_a_forbidden_row_is_wrong_however_good_its_score() -> None:
    items = np.eye(4, dtype=np.float32)
    cell = Cell("some", np.arange(1), (np.array([1, 2], np.int32),), 4)
    truth = exact(items, items[:1], cell, 2)
    judged = quality(np.array([[0, 1]]), items, items[:1], cell, truth)
    assert (judged.recall, judged.least, judged.wrong) == (0.5, -1, 1)


@pytest.mark.parametrize("first", [0, 1, 3, 7, 18, 19, 20])
def test_the_least_setting_that_reaches_is_found(first: int) -> None:
    tried: list[float] = []

    def reaches(setting: float) -> bool:
        tried.append(setting)
        return setting >= first

    assert least_setting(range(20), reaches) == (None if first == 20 else first)
    assert len(tried) <= 9


def test_a_hopeless_arm_is_left() -> None:
    tried: list[float] = []
    assert least_setting(range(100), lambda s: tried.append(s) or False, lambda s: s >= 8) is None
    assert tried == [0, 4, 8]


ARMS = [
    lambda: Faiss("faiss-flat", "Flat", ""),
    lambda: Faiss("faiss-ivf", "IVF16,SQ8", "nprobe"),
    lambda: Faiss("faiss-rabitq", "IVF16,RaBitQ,Refine(SQ8)", "nprobe", refine=30),
    lambda: Faiss("faiss-hnsw", "HNSW16", "ef"),
    lambda: Hnswlib(16),
    lambda: Usearch("f32"),
    lambda: Lance("lancedb-sq", "IvfSq", "", 4),
    lambda: Ours("flat"),
    lambda: Ours("hnsw"),
]


@pytest.mark.parametrize("make", ARMS)
def test_every_adapter_filters_and_finds(data: Data, make, tmp_path: Path) -> None:
    arm: Arm = make()
    pytest.importorskip({"faiss-cpu": "faiss"}.get(arm.distribution, arm.distribution))
    asked = [data.cells[0], data.cells[7], data.cells[-1]]
    arm.build(data.items, asked, tmp_path, 1)
    arm.open(data.items, tmp_path)
    settings = arm.settings(N)
    most = 0 if arm.ours else [s for s in settings if s <= 1_000][-1]
    for cell in asked:
        if cell.allowed and not (arm.filters and (arm.owns or not cell.own)):
            continue
        search = arm.searcher(cell)
        queries = data.queries[cell.queries][:50]
        judged = data.judge(cell, search(queries, most))
        assert judged.wrong == 0
        # One bit for each of 16 dimensions tells little; a graph starves where its answers are 1% of it.
        floor = {"faiss-rabitq": 0.8, "faiss-hnsw": 0.3 if cell.own else 0.94}.get(arm.name, 0.94)
        assert judged.recall > floor
        one = search(queries[:1], most)
        assert one.shape == (1, K)


def test_a_sweep_stops_at_the_least_setting_that_reaches_the_target(data: Data, tmp_path: Path) -> None:
    arm = Ours("flat")
    arm.build(data.items, data.cells, tmp_path, 1)
    arm.open(data.items, tmp_path)
    told = Sweep(arm, data, data.cells[4], 0.0).result()
    assert told["best"]["recall"] == 1.0
    assert told["default"]["least"] == 0
    assert "exact" in told["explain"]
    peer = pytest.importorskip("faiss") and Faiss("faiss-ivf", "IVF64,SQ8", "nprobe")
    peer.build(data.items, data.cells, tmp_path, 1)
    peer.open(data.items, tmp_path)
    told = Sweep(peer, data, data.cells[0], 0.0).result()
    below = [t["recall"] for t in told["tried"] if t["setting"] < told["best"]["setting"]]
    assert told["best"]["recall"] >= ann_measure.TARGET
    assert below
    assert max(below) < ann_measure.TARGET


def test_finished_builds_and_cells_are_not_done_again(data: Data, monkeypatch: pytest.MonkeyPatch) -> None:
    pytest.importorskip("faiss")
    monkeypatch.setitem(data.__dict__, "cells", data.cells[:2])
    arm = Faiss("faiss-flat", "Flat", "")
    built = build(arm, data, 1)
    measure(arm, data, [])
    folder = data.folder / "faiss-flat"
    first = kept(folder)
    assert set(first) == {"all", "random 0.1%"}
    monkeypatch.setattr(arm, "build", lambda *_: pytest.fail("built again"))
    monkeypatch.setattr(arm, "open", lambda *_: pytest.fail("opened again"))
    assert build(arm, data, 1) == built
    measure(arm, data, [])
    assert kept(folder) == first


def test_cells_are_the_same_every_time(data: Data) -> None:
    again = cells(data.items, data.queries)
    for one, other in zip(data.cells, again, strict=True):
        assert one.name == other.name
        assert all(map(np.array_equal, one.allowed, other.allowed))


def test_the_whole_run_judges_every_cell_and_says_what_was_missed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    pytest.importorskip("faiss")
    monkeypatch.setattr(harness, "workspace", lambda *_: tmp_path)
    rng = np.random.default_rng(5)
    data = Data("tiny", unit(rng, N), unit(rng, QUERIES))
    data.__dict__["folder"] = tmp_path / "tiny"
    data.folder.mkdir()
    monkeypatch.setitem(data.__dict__, "cells", [data.cells[0], data.cells[4], data.cells[-1]])
    arms = {arm.name: arm for arm in (Faiss("faiss-flat", "Flat", ""), Hnswlib(16), Ours("hnsw"), Ours("flat"))}
    built = {name: build(arm, data, 1) for name, arm in arms.items()}
    for arm in arms.values():
        measure(arm, data, [])
    swept = {name: kept(ann_measure.place(arm, data)) for name, arm in arms.items()}
    swept["itemspace-hnsw"]["random 1.0%"] |= {"best": None}
    run = ann._final(ann_tables.Run(data, arms, built, swept, {}))
    monkeypatch.setattr(harness, "timed", lambda *_: pytest.fail("measured again"))
    assert ann._final(ann_tables.Run(data, arms, built, swept, {})).final == run.final
    made = ann_tables.result([run], "here", "python benchmarks/ann.py")
    claims = [verdict["claim"] for verdict in made.verdicts]
    for cell in ("random 1.0%", "own 1.0%"):
        mine = [claim for claim in claims if f"tiny, {cell}: itemspace-hnsw" in claim]
        assert len(mine) == 3
        told = run.final[cell]["arms"]["itemspace-hnsw"]
        assert (told["least"], told["wrong"]) == (0, 0)
        assert told["recall"] > 0.9
    assert sum("unfiltered" in claim for claim in claims) == 2
    ratios = run.final["random 1.0%"]["arms"]
    peer = next(name for name in ratios if not arms[name].ours)
    assert ratios[peer]["ratios"][peer] == 1.0
    for table in made.tables:
        assert {len(row) for row in table["rows"]} == {len(table["columns"])}
    assert set(made.charts[0]["series"]) == set(arms)
    ann_tables.report(data, list(arms.values()))
    assert "own 1.0%" in (tmp_path / "ann-peers.md").read_text()
