"""Suggestions against the slow reference, which reads every entry."""

from __future__ import annotations

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from itemspace.core.errors import ArtifactError
from itemspace.search.autocomplete import Entries, Suggester, near_reference, suggest_reference
from itemspace.search.folding import folded
from itemspace.search.wordlist import WordList

WORDS = st.text("abcé", min_size=1, max_size=6)
TITLES = st.lists(st.lists(WORDS, min_size=0, max_size=4).map(" ".join), min_size=1, max_size=12)


def entries(titles, weights, queries=(), asked=()):
    n = len(titles)
    return Entries(
        pa.array(titles, pa.large_string()),
        np.arange(n),
        np.asarray(weights, np.float32),
        np.arange(n, dtype=np.uint32),
        pa.array(list(queries), pa.large_string()),
        np.asarray(asked, np.float32),
    )


@settings(max_examples=300)
@given(TITLES, st.data(), st.integers(1, 6))
def test_what_is_found_is_what_the_reference_finds(titles, data, k):
    weights = data.draw(st.lists(st.integers(0, 8), min_size=len(titles), max_size=len(titles)))
    weights = [w / 8 for w in weights]
    typed = data.draw(st.one_of(st.text("abcé -", max_size=8), st.lists(WORDS, max_size=3).map(" ".join)))
    suggester = Suggester.build(entries(titles, weights))
    found = suggester.find(typed, k)
    expected = suggest_reference(titles, weights, typed, k)
    assert [one.score for one in found] == [score for _, score in expected]
    known = dict(suggest_reference(titles, weights, typed, 99))
    assert len({one.folded for one in found}) == len(found)
    for one in found:
        assert folded([titles[one.row]]) == [one.folded]
        if one.folded in known:
            assert known[one.folded] == one.score


@settings(max_examples=300)
@given(st.sets(WORDS, min_size=1, max_size=20), st.text("abcé", min_size=4, max_size=6), st.booleans(), st.booleans())
def test_near_spellings_are_those_of_every_edit_tried(words, typed, whole, last):
    ordered = sorted(words)
    found = WordList.of_sorted(pa.array(ordered, pa.large_string())).near(typed, whole=whole, last=last)
    assert [ordered[i] for i in found] == [w for w in ordered if near_reference(typed, w, whole, last)]


@given(st.sets(st.text(min_size=1, max_size=5), max_size=20), st.text(max_size=3))
def test_prefixes_are_ranges(words, prefix):
    words = {w for w in words if w.encode("utf-8", "replace").decode() == w}
    prefix = prefix.encode("utf-8", "replace").decode()
    ordered = sorted(words)
    listed = WordList.of_sorted(pa.array(ordered, pa.large_string()))
    low, high = listed.range(prefix)
    assert ordered[low:high] == [w for w in ordered if w.startswith(prefix)]
    assert [listed[i] for i in range(len(listed))] == ordered


TITLED = ["Waterproof Rain Jacket", "Rain boots, men's", "Café Noir", "Trail jacket", "Rainbow kite", "rain  JACKET"]


@pytest.fixture
def shop():
    return Suggester.build(entries(TITLED, [0.2, 0.9, 0.1, 0.5, 0.3, 0.1], ["rain coat", "kayak"], [1.0, 0.4]))


def texts(found):
    return [one.query or TITLED[one.row] for one in found]


@pytest.mark.parametrize(
    ("typed", "expected"),
    [
        ("rain", ["rain coat", "Rain boots, men's", "Rainbow kite", "rain  JACKET", "Waterproof Rain Jacket"]),
        ("rain ", ["rain coat", "Rain boots, men's", "rain  JACKET", "Waterproof Rain Jacket"]),
        ("jacket ra", ["Waterproof Rain Jacket", "rain  JACKET"]),
        ("CAFE", ["Café Noir"]),
        ("mens", ["Rain boots, men's"]),
        ("men's", ["Rain boots, men's"]),
        ("jakcet", ["Trail jacket", "Waterproof Rain Jacket", "rain  JACKET"]),
        ("watreproof ja", ["Waterproof Rain Jacket"]),
        ("kite rainbo", ["Rainbow kite"]),
        ("xyz", []),
        ("ran", []),
        ("...", ["rain coat", "Rain boots, men's", "Trail jacket", "kayak", "Rainbow kite"]),
    ],
)
def test_people_find_what_they_type(shop, typed, expected):
    assert texts(shop.find(typed, 5)) == expected


def test_of_texts_alike_one_comes_and_what_may_not_come_is_passed_over(shop):
    twice = Suggester.build(entries(["A boat", "a Boat!", "boat"], [0.1, 0.9, 0.5], ["A BOAT"], [0.3]))
    assert [one.row for one in twice.find("a b", 5)] == [1]
    assert [one.row for one in twice.find("a b", 5, lambda rows: rows == 0)] == [0]
    assert [(one.row, one.query) for one in twice.find("a b", 5, lambda rows: rows < 0)] == [(-1, "A BOAT")]
    assert texts(shop.find("rain", 2, lambda rows: rows != 1)) == ["rain coat", "Rainbow kite"]


def test_saved_it_answers_from_the_mapped_files(shop, tmp_path):
    shop.save(tmp_path)
    opened = Suggester.open(tmp_path)
    assert not opened.rows.flags.writeable
    for typed in ("rain", "", "jakcet", "ka"):
        assert opened.find(typed, 8) == shop.find(typed, 8)
    (tmp_path / "postings.npy").write_bytes(b"no")
    with pytest.raises(ArtifactError):
        Suggester.open(tmp_path)


def test_nothing_at_all_can_be_indexed():
    empty = Suggester.build(entries(["", "  ", None], [0, 0, 0]))
    assert len(empty) == 0
    assert empty.find("a", 3) == empty.find("", 3) == empty.find("abcd", 3) == []
