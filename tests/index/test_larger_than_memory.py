"""Indexes built of more than they may hold in memory: the same files and answers as those built at once."""

import numpy as np
import pytest

from itemspace.core.vectors import Dense, Texts, VectorSpace
from itemspace.index import growing
from itemspace.index.bm25 import BM25Index
from itemspace.index.flat import FlatIndex
from itemspace.index.lexical import external

SPACE = VectorSpace("test", 8, "cosine", normalized=False)


def texts(n, rng):
    words = np.array([f"word{i}" for i in range(400)])
    body = tuple(
        " ".join(words[np.minimum(rng.pareto(1.0, rng.integers(0, 30)) * 5, 399).astype(int)]) for _ in range(n)
    )
    return {"title": tuple(" ".join(words[rng.integers(0, 400, 3)]) for _ in range(n)), "body": body}


@pytest.mark.parametrize("run_words", [300, 10_000_000])
def test_words_indexed_through_runs_are_the_words_indexed_at_once(tmp_path, monkeypatch, run_words):
    monkeypatch.setattr(external, "BLOCK", 128)
    monkeypatch.setitem(external.write_postings.__kwdefaults__, "run_words", run_words)
    rng = np.random.default_rng(0)
    columns = texts(600, rng)
    chunks = list(Texts(columns).chunks(37))
    ties = rng.integers(0, 2**32, 600, dtype=np.uint32)
    index = BM25Index(weights={"title": 2.0}).build(chunks, ties=ties)
    for name in ("whole", "runs"):
        (tmp_path / name).mkdir()
    index.save(tmp_path / "whole")
    BM25Index(weights={"title": 2.0}).build_into(tmp_path / "runs", chunks, ties=ties)
    assert sorted(p.name for p in (tmp_path / "runs").iterdir()) == sorted(
        p.name for p in (tmp_path / "whole").iterdir()
    )
    for path in (tmp_path / "whole").glob("*.npy"):
        np.testing.assert_array_equal(np.load(path), np.load(tmp_path / "runs" / path.name), err_msg=path.name)
    opened = BM25Index.open(tmp_path / "runs")
    asked = Texts({"query": columns["title"][:40]})
    mine, other = opened.search(asked, 10), index.search(asked, 10)
    np.testing.assert_array_equal(mine.rows, other.rows)
    np.testing.assert_array_equal(mine.scores, other.scores)


def test_texts_without_a_word_make_an_index(tmp_path):
    BM25Index().build_into(tmp_path, [Texts({"title": ("", "")})])
    assert len(BM25Index.open(tmp_path)) == 2


@pytest.mark.parametrize("memory", [0, 1 << 30])
def test_vectors_in_a_temporary_file_answer_alike(monkeypatch, memory):
    monkeypatch.setattr(growing, "MEMORY", memory)
    rng = np.random.default_rng(1)
    values = rng.standard_normal((500, 8)).astype(np.float32)
    index = FlatIndex().build(Dense(values, SPACE).chunks(33))
    assert isinstance(index.table._base, np.memmap) == (memory == 0)
    one = FlatIndex().build([Dense(values, SPACE)])
    queries = Dense(values[:20], SPACE)
    np.testing.assert_array_equal(index.search(queries, 10).rows, one.search(queries, 10).rows)
    index.upsert(Dense(values[:1] + 1, SPACE), np.array([500], np.int32))
    assert len(index) == 501


def test_a_mapped_matrix_is_taken_as_it_is(tmp_path):
    values = np.random.default_rng(2).standard_normal((50, 8)).astype(np.float32)
    np.save(tmp_path / "v.npy", values)
    mapped = np.load(tmp_path / "v.npy", mmap_mode="r")
    index = FlatIndex().build([Dense(mapped, SPACE)])
    assert np.shares_memory(index.table._base, mapped)


@pytest.mark.parametrize("memory", [0, 1 << 30])
def test_pieces_of_several_types_become_the_widest(monkeypatch, memory):
    monkeypatch.setattr(growing, "MEMORY", memory)
    held = growing.Growing()
    parts = [np.zeros((0, 3), np.float32), np.ones((4, 3), np.float16), np.ones((5, 3), np.float16) * 2]
    for part in parts:
        held.add(part)
    assert held.values().dtype == np.float16
    held.add(np.full((2, 3), 1 / 3, np.float32))
    found = held.values()
    assert found.dtype == np.float32
    np.testing.assert_array_equal(found, np.concatenate([*parts, np.full((2, 3), 1 / 3, np.float32)]))


def test_room_can_be_written(monkeypatch):
    monkeypatch.setattr(growing, "MEMORY", 0)
    made = growing.room(1000, np.float32)
    made[17] = 3
    assert made[17] == 3
    assert made.shape == (1000,)
