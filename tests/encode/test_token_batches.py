"""Batches by tokens: every text once, within the budget, little padding."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from itemspace.core.ragged import Ragged
from itemspace.encode.token_batches import FIXED_COST, padded, token_batches


@given(st.lists(st.integers(0, 300), max_size=200), st.integers(1, 2000))
def test_every_text_is_in_one_batch_within_the_budget(lengths, budget):
    lengths = np.array(lengths, np.int64)
    batches = token_batches(lengths, budget)
    rows = np.concatenate([*batches, np.zeros(0, np.int64)])
    assert sorted(rows.tolist()) == list(range(len(lengths)))
    for batch in batches:
        longest = max(int(lengths[batch].max()), 1)
        assert len(batch) == 1 or len(batch) * longest <= budget
        assert len(batch) * longest - lengths[batch].sum() <= FIXED_COST


def test_texts_of_one_length_fill_their_batches():
    assert [len(batch) for batch in token_batches(np.full(250, 20), 2000)] == [100, 100, 50]


@given(st.lists(st.lists(st.integers(1, 9), max_size=12), min_size=1, max_size=20))
def test_padding_comes_after_the_tokens_and_is_masked(rows):
    ids, mask = padded(Ragged.from_lists(rows, np.int64), -1)
    assert (mask is None) == (len({len(row) for row in rows}) == 1)
    assert [[n for n in row if n != -1] for row in ids.tolist()] == rows
    if mask is not None:
        assert ((ids != -1) == mask).all()
        assert (np.diff(mask.astype(int), axis=1) <= 0).all()


def test_tokens_are_those_of_the_model(minilm):
    pytest.importorskip("tokenizers")
    from transformers import AutoTokenizer

    from itemspace.encode.token_batches import TextTokens

    library = AutoTokenizer.from_pretrained(str(minilm))
    texts = ["Waterproof BOOTS, 9.5 inch", "", "  crème brûlée  ", "防水ブーツ", "boots " * 500]
    tokens = TextTokens(library.backend_tokenizer, 32)(texts)
    assert tokens.to_lists() == library(texts, truncation=True, max_length=32)["input_ids"]
    assert library(texts[-1])["input_ids"].__len__() > 500  # the library's own was left as it is
