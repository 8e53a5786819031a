"""BM25 beyond the contract: parity with another implementation, explanations, analysis, refusals, real text."""

import csv
import io
import os
import tarfile

import numpy as np
import pytest

from itemspace.core.errors import ArtifactError, ContractError, FormatVersionError, RecipeError
from itemspace.core.selection import Selection
from itemspace.core.vectors import Dense, Texts, VectorSpace
from itemspace.index.bm25 import BM25Index
from itemspace.index.flat import FlatIndex
from itemspace.testing.index import bm25_reference


def shop() -> BM25Index:
    titles = ("Red hiking boots", "Blue boots boots", "Green tent", "")
    bodies = ("A warm boot", "For snow", "Boots not included", "")
    return BM25Index(weights={"title": 2.0}).build([Texts({"title": titles, "body": bodies})])


def ask(*texts: str) -> Texts:
    return Texts({"query": texts})


def test_known_order_and_words_in_any_form():
    hits = shop().search(ask("BOOT", "tents", "zebra", ""), 4)
    assert hits.rows.tolist() == [[1, 0, 2, -1], [2, -1, -1, -1], [-1] * 4, [-1] * 4]
    assert hits.total is not None
    assert hits.total.tolist() == [3, 1, 0, 0]


def test_the_explanation_sums_to_the_score():
    index = shop()
    hits = index.search(ask("red boots boots"), 4)
    for row, score in zip(hits.rows[0], hits.scores[0], strict=True):
        if row >= 0:
            parts = index.explain("red boots boots", int(row))
            assert sum(sum(fields.values()) for fields in parts.values()) == pytest.approx(score, abs=1e-6)
    assert set(index.explain("red boots boots", 0)["boot"]) == {"title", "body"}
    with pytest.raises(ContractError, match="no row 9"):
        index.explain("boots", 9)


def test_repeated_words_of_a_query_count():
    index = shop()
    once, twice = index.search(ask("boots"), 1), index.search(ask("boots boots"), 1)
    assert twice.scores[0, 0] == pytest.approx(2 * once.scores[0, 0])


def test_a_field_of_weight_zero_is_not_searched():
    index = BM25Index(weights={"body": 0.0}).build([Texts({"title": ("tent",), "body": ("boots",)})])
    assert index.search(ask("boots"), 1).rows.tolist() == [[-1]]
    assert index.search(ask("tent"), 1).rows.tolist() == [[0]]


def test_what_does_not_fit_is_refused():
    index = shop()
    with pytest.raises(ContractError, match="not Dense"):
        index.search(Dense(np.zeros((1, 2), np.float32), VectorSpace("x", 2)), 3)
    with pytest.raises(ContractError, match="a query is one text"):
        index.search(Texts({"title": ("a",), "body": ("b",)}), 3)
    with pytest.raises(ContractError, match="no field `brand`"):
        index.upsert(Texts({"brand": ("a",)}), np.array([9]))
    with pytest.raises(ContractError, match="came with"):
        index.upsert(Texts({"title": ("a",)}), np.array([9, 10]))
    with pytest.raises(ContractError, match="call build first"):
        BM25Index().search(ask("a"), 1)
    with pytest.raises(RecipeError, match="stemmer"):
        BM25Index(analyzer={"stemmer": "german"})


def test_files_of_another_kind_or_a_newer_format_are_refused(tmp_path):
    shop().save(tmp_path)
    with pytest.raises(ArtifactError, match="flat"):
        FlatIndex.open(tmp_path)
    header = tmp_path / "index.json"
    header.write_text(header.read_text().replace('"format": 1', '"format": 9'))
    with pytest.raises(FormatVersionError):
        BM25Index.open(tmp_path)
    header.write_text("{")
    with pytest.raises(ArtifactError):
        BM25Index.open(tmp_path)


def product_names() -> tuple[str, ...]:
    folder = os.environ.get("ITEMSPACE_DATA")
    if folder is None:
        pytest.skip("ITEMSPACE_DATA is not set")
    with tarfile.open(os.path.join(folder, "retrotech", "products.tgz")) as archive:
        file = archive.extractfile("products.csv")
        assert file is not None
        return tuple(row["name"] or "" for row in csv.DictReader(io.TextIOWrapper(file, "utf-8")))


def test_scores_equal_bm25s_on_real_titles():
    bm25s = pytest.importorskip("bm25s")
    names = tuple(name for name in product_names()[:4000] if name.strip())
    index = BM25Index(k1=1.5, b=0.75, analyzer={"stemmer": "porter2", "stopwords": "none"})
    index.build([Texts({"name": names})])
    analyzer = index.analyzer
    other = bm25s.BM25(method="lucene", k1=1.5, b=0.75)
    other.index([analyzer.words(name) for name in names], show_progress=False)
    queries = names[::97]
    hits = index.search(Texts({"query": queries}), 20)
    for i, query in enumerate(queries):
        words = list(dict.fromkeys(analyzer.words(query)))
        counted = [word for word in analyzer.words(query) if word in words]
        expected = np.sum([other.get_scores([word]) for word in counted], axis=0)
        np.testing.assert_allclose(hits.scores[i], np.sort(expected)[::-1][:20], rtol=2e-5)
        np.testing.assert_allclose(expected[hits.rows[i]], hits.scores[i], rtol=2e-5)


def test_many_small_changes_leave_what_a_build_makes():
    names = product_names()[:600]
    ties = np.random.default_rng(0).permutation(600).astype(np.uint32)
    live = BM25Index().build([Texts({"name": names[:50]})], ties=ties)
    rng = np.random.default_rng(1)
    for row in range(50, 600):
        live.upsert(Texts({"name": (names[row],)}), np.array([row]), ties=ties)
        if row % 7 == 0:
            again = int(rng.integers(0, row))
            live.remove(np.array([again]))
            live.upsert(Texts({"name": (names[again],)}), np.array([again]), ties=ties)
    built = BM25Index().build([Texts({"name": names})], ties=ties)
    queries = ask(*names[::29])
    one, other = live.search(queries, 20), built.search(queries, 20)
    np.testing.assert_array_equal(one.rows, other.rows)
    np.testing.assert_array_equal(one.scores, other.scores)
    assert live.segments < 12


def test_filters_find_words_far_down_the_ranking():
    names = product_names()[:3000]
    index = BM25Index().build([Texts({"name": names})])
    everything = index.search(ask("dvd"), 3000)
    last = everything.rows[0, : everything.found[0]][-3:]
    hits = index.search(ask("dvd"), 10, Selection.of_rows(last, len(names)))
    assert sorted(hits.rows[0, :3].tolist()) == sorted(last.tolist())
    assert (hits.rows[0, 3:] == -1).all()


def test_the_reference_itself_against_a_score_worked_by_hand():
    # Two documents, "a" in one of them: idf = ln(1 + 1.5 / 1.5) = ln 2; lengths 2 and 1, average 1.5.
    scores = bm25_reference(("a",), Texts({"t": ("a b", "b")}), k1=1.2, b=0.75, weights={})
    assert scores[0, 0] == pytest.approx(np.log(2) / (1 + 1.2 * (0.25 + 0.75 * 2 / 1.5)))
    assert scores[0, 1] == -np.inf
