"""From pairs to retrieval sets: the closure is an equivalence, and no pair crosses a split."""

from __future__ import annotations

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from itemspace.core.catalog import Catalog
from itemspace.core.dataset import Dataset
from itemspace.core.errors import DataError
from itemspace.core.judgments import Judgments, Queries
from itemspace.data.paraphrases import equivalence_classes, others, paraphrase_task, retrieval_sets, split_paraphrases

SIZES = st.integers(1, 14)


@st.composite
def relations(draw):
    n = draw(SIZES)
    member = st.integers(0, n - 1)
    return n, draw(st.lists(st.tuples(member, member), max_size=20))


def arrays(pairs):
    return tuple(np.array([pair[side] for pair in pairs], np.int64) for side in (0, 1))


def closed(n, pairs):
    """The closure by hand: add what follows until nothing does."""
    related = {(i, i) for i in range(n)} | set(pairs) | {(b, a) for a, b in pairs}
    while True:
        more = {(a, d) for a, b in related for c, d in related if b == c} - related
        if not more:
            return related
        related |= more


@given(relations())
@settings(max_examples=150, deadline=None)
def test_the_closure_is_the_least_equivalence_that_holds_the_pairs(relation):
    n, pairs = relation
    classes = equivalence_classes(*arrays(pairs), n)
    found = {(i, j) for i in range(n) for j in range(n) if classes[i] == classes[j]}
    assert found == closed(n, pairs)
    assert all((i, i) in found for i in range(n))
    assert all((b, a) in found for a, b in found)
    assert all((a, d) in found for a, b in found for c, d in found if b == c)
    assert [classes[i] == i for i in classes] == [True] * n


@given(relations())
@settings(max_examples=60, deadline=None)
def test_the_closure_does_not_depend_on_the_order_or_direction_of_pairs(relation):
    n, pairs = relation
    left, right = arrays(pairs)
    wanted = equivalence_classes(left, right, n)
    np.testing.assert_array_equal(equivalence_classes(right[::-1], left[::-1], n), wanted)
    np.testing.assert_array_equal(equivalence_classes(np.tile(left, 2), np.tile(right, 2), n), wanted)


def test_a_chain_makes_everyone_relevant_to_everyone():
    catalog = corpus(["a", "b", "c", "d", "e", "f"])
    row = {name: int(catalog.ids.find([name])[0]) for name in "abcdef"}
    said = [("a", "b", True), ("b", "c", True), ("a", "c", False), ("a", "d", False), ("e", "f", False)]
    left, right = (np.array([row[pair[side]] for pair in said]) for side in (0, 1))
    made = retrieval_sets(catalog, catalog.texts(), left, right, np.array([pair[2] for pair in said]))
    found = {
        name: {
            catalog.ids[int(item)]: grade
            for item, grade in zip(made.judgments.items[q], made.judgments.take(np.array([q])).grades, strict=True)
        }
        for q, name in enumerate(made.queries.ids.values.to_pylist())
    }
    # d was never said to mean what another does, so it asks nothing, and a knows it does not; "a is not c" gives way.
    assert found == {"a": {"b": 1, "c": 1, "d": 0}, "b": {"a": 1, "c": 1}, "c": {"a": 1, "b": 1}}
    assert made.contradictions == 1
    assert "1 pairs said to differ are joined" in made.note
    nothing = np.zeros(len(left), bool)
    with pytest.raises(DataError, match="nothing to retrieve"):
        retrieval_sets(catalog, catalog.texts(), left, right, nothing)


def test_others_are_the_rest_of_a_class():
    classes = np.array([0, 1, 0, 0, 4])
    assert others(classes, np.array([2, 1, 4, 0])).to_lists() == [[0, 3], [], [], [2, 3]]


def corpus(names, texts=None):
    table = pa.table({"id": list(names), "text": list(texts or [f"question {name}" for name in names])})
    return Catalog.from_table(table, overrides={"id": "id", "text": "text"})


@st.composite
def pair_sets(draw):
    n = draw(st.integers(6, 24))
    member = st.integers(0, n - 1)
    said = draw(st.lists(st.tuples(member, member, st.booleans()), min_size=3, max_size=30))
    said = [pair for pair in said if pair[0] != pair[1]]
    texts = [f"text {draw(st.integers(0, n))}" for _ in range(n)]
    return n, texts, said


def joined(data):
    """The set of each question that has a paraphrase, where questions that read the same are one."""
    task, texts = paraphrase_task(data), np.unique(data.catalog.texts(), return_inverse=True)[1]
    n = len(texts)
    own, right = task.requests.exclude, task.judgments.relevant
    left = np.concatenate([own.values[right.groups], np.arange(n)])
    classes = equivalence_classes(left, np.concatenate([right.values, n + texts]), 2 * n)
    return classes[own.values]


@given(pair_sets(), st.integers(0, 5), st.sampled_from([0.3, 0.5, 0.8]))
@settings(max_examples=80, deadline=None)
def test_no_pair_crosses_the_split(given_, seed, share):
    n, texts, said = given_
    catalog = corpus([f"i{i}" for i in range(n)], texts)
    rows = catalog.ids.find([f"i{i}" for i in range(n)]).astype(np.int64)
    if not any(pair[2] for pair in said):
        return
    left, right = (rows[np.array([pair[side] for pair in said])] for side in (0, 1))
    sets = retrieval_sets(catalog, catalog.texts(), left, right, np.array([pair[2] for pair in said]))
    data = Dataset(catalog, queries=sets.queries, judgments=sets.judgments)
    sets_found = len(np.unique(joined(data)))
    if round(sets_found * share) in (0, sets_found):
        with pytest.raises(DataError, match="cannot be split"):
            split_paraphrases(data, share, seed)
        return
    split = split_paraphrases(data, share, seed)
    whole, side = paraphrase_task(data), split.learnable
    names = catalog.texts()
    asked = 0
    for task, mine in ((split.train, side), (split.test, ~side)):
        asked += len(task)
        own = task.requests.exclude
        assert own.lengths.tolist() == [1] * len(task)
        assert mine[own.values].all()
        assert mine[task.judgments.items.values].all()
        assert (task.judgments.relevant.lengths > 0).all()
        assert not set(np.array(names)[mine]) & set(np.array(names)[~mine])
        # Every paraphrase a question had is still asked for.
        before = {
            int(whole.requests.exclude[q][0]): set(whole.judgments.relevant[q].tolist()) for q in range(len(whole))
        }
        for q in range(len(task)):
            assert set(task.judgments.relevant[q].tolist()) == before[int(own[q][0])]
    assert asked == len(whole)


def test_a_split_is_of_the_stated_share_the_same_again_and_refused_when_impossible():
    names = [f"i{i}" for i in range(40)]
    catalog = corpus(names)
    rows = catalog.ids.find(names)
    left, right = rows[0:40:2], rows[1:40:2]
    sets = retrieval_sets(catalog, catalog.texts(), left, right, np.ones(20, bool))
    data = Dataset(catalog, queries=sets.queries, judgments=sets.judgments)
    split = split_paraphrases(data, 0.7, 1)
    assert (len(split.train), len(split.test)) == (28, 12)
    again = split_paraphrases(data, 0.7, 1)
    assert again.test.requests.text == split.test.requests.text
    assert split_paraphrases(data, 0.7, 2).test.requests.text != split.test.requests.text
    for share, said in ((0.0, "between"), (0.01, "cannot be split")):
        with pytest.raises(DataError, match=said):
            split_paraphrases(data, share)
    with pytest.raises(DataError, match="no queries"):
        paraphrase_task(Dataset(catalog))
    strange = Dataset(
        catalog,
        queries=Queries.of({"not an item": "a question"}),
        judgments=Judgments.from_pairs(np.array([0]), np.array([3]), None, 1),
    )
    assert paraphrase_task(strange).requests.exclude.lengths.tolist() == [0]
