"""Paraphrases and passages: the truth answers everything, words only some of it, and the dial takes it away."""

from __future__ import annotations

import numpy as np
import pytest

from itemspace.core.errors import RequestError
from itemspace.core.operators import Encoded
from itemspace.data.paraphrases import equivalence_classes, paraphrase_task
from itemspace.data.splits.queries import query_task
from itemspace.data.worlds import paraphrases, passages
from itemspace.encode.fields import TextFields
from itemspace.evaluate.evaluation import evaluate
from itemspace.index.bm25 import BM25Index


def by_words(data, task, metric):
    found = Encoded(TextFields(), BM25Index()).build(data.catalog)
    return evaluate(found, task, [metric], k=100)[metric]


def test_the_closure_of_what_is_said_is_what_was_meant():
    world = paraphrases(150, rng=0)
    truth, data = world.truth, world.data
    left, right = truth.pairs.T
    closed = equivalence_classes(left[truth.same], right[truth.same], len(data.catalog))
    assert ((closed[:, None] == closed) == (truth.classes[:, None] == truth.classes)).all()
    assert (truth.classes[left] == truth.classes[right]).tolist() == truth.same.tolist()
    # Said to differ, though only one concept does.
    shared = [len(set(truth.meaning[a]) & set(truth.meaning[b])) for a, b in truth.pairs[~truth.same]]
    assert set(shared) == {2}
    assert 0.5 < len(shared) / truth.same.sum() <= 1


def test_every_question_names_its_concepts_in_one_of_their_wordings():
    world = paraphrases(40, rng=1)
    truth = world.truth
    for row, text in enumerate(world.data.catalog.texts()):
        said = set(text.split())
        for concept in truth.meaning[row]:
            assert len(said & set(truth.words[concept])) == 1


def test_words_find_some_paraphrases_all_when_wordings_are_one_and_none_at_full_randomness():
    found = {}
    for name, options in (("other words", {}), ("same words", {"wordings": 1}), ("nothing", {"randomness": 1.0})):
        data = paraphrases(200, fillers=2, rng=2, **options).data
        found[name] = by_words(data, paraphrase_task(data), "map")
    assert 0.1 < found["other words"] < 0.6
    assert found["same words"] > 0.9
    assert found["nothing"] < 0.05


def test_passages_are_answered_by_meaning_and_by_words_when_wordings_are_one():
    world = passages(100, 300, rng=3)
    data, truth = world.data, world.truth
    task = query_task(data)
    assert np.array_equal(task.judgments.items.values, truth.asked)
    for query, row in enumerate(truth.asked[:50]):
        said = set(data.queries.texts[query].split())
        assert all(said & set(truth.words[concept]) for concept in truth.meaning[row])
    assert 0.1 < by_words(data, task, "mrr@10") < 0.7
    same = passages(100, 300, wordings=1, rng=3).data
    assert by_words(same, query_task(same), "mrr@10") > 0.95
    lost = passages(100, 300, randomness=1.0, rng=3).data
    assert by_words(lost, query_task(lost), "mrr@10") < 0.1


def test_worlds_are_the_same_again_and_refuse_what_cannot_be_made():
    for make in (paraphrases, lambda **given: passages(50, 60, **given)):
        assert make(rng=4).data.fingerprint == make(rng=4).data.fingerprint
        assert make(rng=4).data.fingerprint != make(rng=5).data.fingerprint
        with pytest.raises(RequestError, match="randomness"):
            make(randomness=1.5)
        with pytest.raises(RequestError, match="concepts"):
            make(concepts=4)
    with pytest.raises(RequestError, match="size"):
        paraphrases(size=(3, 2))
