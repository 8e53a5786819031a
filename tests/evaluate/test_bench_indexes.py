"""`bench indexes` and `bench fanns`: the tables, the curves, and the references they are held against."""

import json

import numpy as np
import pytest

from itemspace.core.errors import DataError, RequestError
from itemspace.core.selection import Selection
from itemspace.core.vectors import Dense, VectorSpace
from itemspace.data.attributed import RELATIONS, Attributed, attributed, read_attributed
from itemspace.data.worlds.attributed import attributed_vectors
from itemspace.evaluate.benches import run_bench
from itemspace.evaluate.benches.fanns import Engines, exact_rows, shared
from itemspace.evaluate.benches.indexes import VectorData, Weighed, equal_bytes
from itemspace.index.weighing import Point


def vectors(n, seed):
    rng = np.random.default_rng(seed)
    centers = np.random.default_rng(1).standard_normal((20, 16))
    values = centers[rng.integers(0, 20, n)] + 0.5 * rng.standard_normal((n, 16))
    return Dense(values.astype(np.float32), VectorSpace("bench", 16, "cosine"))


def test_every_index_has_its_row_and_its_curves():
    pytest.importorskip("faiss")
    data = VectorData("made", vectors(1500, 0), vectors(60, 2), "60 made")
    report = run_bench(
        "indexes", data, arms=["flat int8_copy=never", "hnsw", "faiss-flat", "faiss-hnsw32", "usearch-f32"]
    )
    assert report.value("recall@10", "flat int8_copy=never") == 1.0
    assert report.value("recall@10", "faiss-flat") == 1.0
    assert report.value("recall@10", "faiss-hnsw32") >= 0.9
    assert report.value("bytes per vector", "faiss-flat") == pytest.approx(64, rel=0.1)
    names = {curve.name for curve in report.curves}
    assert names == {"recall@10 by queries per CPU-s", "recall@10 by bytes per vector"}
    page = report.html()
    assert "bytes per vector, logarithmic" in page
    assert any("flat" in note for note in report.notes)
    with pytest.raises(RequestError, match="no arm"):
        run_bench("indexes", data, arms=["faiss-flt"])


def test_equal_bytes_compares_with_the_fastest_that_is_no_larger():
    def one(name, ours, memory, us, recall=0.96):
        return Weighed(name, ours, (Point({}, recall, us, us), Point({}, 0.5, 1.0, 1.0)), memory, memory, 1.0)

    mine = one("mine", True, 100, 10.0)
    found = [mine, one("large", False, 200, 1.0), one("small", False, 105, 20.0), one("blind", False, 50, 2.0, 0.8)]
    assert equal_bytes(found, 0.95) == ["at equal bytes, mine answers 2.00 times the queries of small, both at 0.95."]
    assert "no other index" in equal_bytes([mine, found[1]], 0.95)[0]
    assert "below 0.95" in equal_bytes([one("weak", True, 1, 1.0, 0.9)], 0.95)[0]


@pytest.fixture(scope="module")
def world() -> Attributed:
    return attributed_vectors(1200, 40, dimension=16, clusters=16)


def test_filters_of_every_kind_pass_what_their_words_say(world):
    columns = {name: world.catalog.column(name).to_pylist() for name in ("category", "tags", "level")}
    for relation in RELATIONS:
        filtered = world.with_filters(relation)
        assert set(filtered.filters) == {"em", "emis", "r"}
        category = [text.split("'")[1] for text in filtered.filters["em"]]
        within = filtered.selection("em")
        for i in range(5):
            expected = [row for row, value in enumerate(columns["category"]) if value == category[i]]
            assert within.include[i].tolist() == expected
        tag = filtered.filters["emis"][0].split("'")[1]
        assert all(tag in columns["tags"][row] for row in filtered.selection("emis").include[0])
        low, high = (float(x) for x in filtered.filters["r"][0].split(" between ")[1].split(" and "))
        assert all(low <= columns["level"][row] <= high for row in filtered.selection("r").include[0])
        assert 0 < filtered.shares("r").min() <= filtered.shares("r").max() < 0.6


def test_filters_go_with_the_query_or_against_it(world):
    near = np.asarray(world.queries.values) @ np.asarray(world.items.values).T
    mean = {}
    for relation in RELATIONS:
        include = world.with_filters(relation).selection("em").include
        mean[relation] = np.mean([near[i][include[i]].mean() for i in range(len(near))])
    assert mean["with"] > mean["independent"] > mean["against"]


def test_at_full_randomness_every_filter_passes_everything():
    null = attributed_vectors(300, 20, dimension=8, randomness=1.0)
    for relation in RELATIONS:
        filtered = null.with_filters(relation)
        assert all((filtered.shares(kind) == 1.0).all() for kind in filtered.filters)


def test_exact_rows_and_recall_are_what_a_loop_says(world):
    filtered = world.with_filters("independent")
    within = filtered.selection("em")
    truth = exact_rows(world.items, world.queries, 5, within)
    for i in range(6):
        allowed = within.include[i]
        scores = world.items.values[allowed] @ world.queries.values[i]
        assert truth[i].tolist() == allowed[np.argsort(-scores, kind="stable")[:5]].tolist()
    assert (shared(truth, truth, world.items, world.queries) == 1.0).all()
    half = truth.copy()
    half[:, 2:] = -1
    np.testing.assert_allclose(shared(half, truth, world.items, world.queries), 0.4)
    none = Selection(len(world.items), include=type(within.include).from_lists([[]] * 40))
    assert (exact_rows(world.items, world.queries, 5, none) == -1).all()


def test_engines_answer_only_what_passes(world):
    pytest.importorskip("numba")
    pytest.importorskip("faiss")
    filtered, engines = world.with_filters("against"), Engines(world, ef=64)
    within = filtered.selection("em")
    truth = exact_rows(world.items, world.queries, 10, within)
    for engine in ("exact", "pre", "post", "acorn", "hnsw", "ivf", "faiss-hnsw"):
        rows = engines.search(engine, world.queries, 10, within)
        for i in range(len(rows)):
            found = rows[i][rows[i] >= 0]
            assert np.isin(found, within.include[i]).all()
            assert len(set(found.tolist())) == len(found)
        if engine not in ("post", "faiss-hnsw"):  # these lose answers that a filter puts far away
            assert np.nanmean(shared(rows, truth, world.items, world.queries)) >= 0.9
    report = run_bench("fanns", world, arms=["exact", "pre", "post"])
    assert all(curve.y[0] >= curve.y[-1] for curve in report.curves), "what is slower finds more"
    assert {curve.arm for curve in report.curves} == {"post"}
    assert report.value("recall@10", "exact") == report.value("recall@10", "pre") == 1.0
    assert report.value("recall@10", "post", "the filter is", "against it") < 0.9
    assert set(report.slices) == {"the filter is", "kind of filter", "selectivity"}


def test_published_files_are_read(tmp_path):
    rng = np.random.default_rng(0)
    items, queries = rng.standard_normal((30, 4)).astype(np.float32), rng.standard_normal((5, 4)).astype(np.float32)
    framed = np.concatenate([np.full((30, 1), 4, np.int32).view(np.float32), items], axis=1)
    framed.tofile(tmp_path / "database_vectors.fvecs")
    np.save(tmp_path / "query_vectors.npy", queries)
    records = [{"main": f"m{i % 3}", "authors": [f"a{i % 4}", "b"], "year": 2000 + i} for i in range(30)]
    lines = "\n".join(json.dumps(record) for record in records)
    (tmp_path / "database_attributes.jsonl").write_text(lines)
    found = read_attributed(tmp_path)
    for row in range(30):
        year = found.catalog.column("year")[row].as_py()
        np.testing.assert_array_equal(found.items.values[row], items[year - 2000])
    filtered = found.with_filters("independent")
    assert set(filtered.filters) == {"em", "emis", "r"}
    (tmp_path / "database_attributes.jsonl").write_text(lines[: len(lines) // 2].rsplit("\n", 1)[0])
    with pytest.raises(DataError, match="lines for 30 vectors"):
        read_attributed(tmp_path)
    (tmp_path / "database_vectors.fvecs").write_bytes(framed.tobytes()[:-4])
    with pytest.raises(DataError, match="cut short"):
        read_attributed(tmp_path)


def test_words_of_filters_are_quoted():
    made = attributed("odd", [{"the brand": "men's \\n"}] * 3 + [{"the brand": "x"}] * 3, vectors(6, 0), vectors(2, 1))
    for text in made.with_filters("independent").filters["em"]:
        assert made.catalog.where(text).count == 3
