"""The vocabulary: every character, frequent words whole, shared beginnings and endings, and the same again."""

from __future__ import annotations

from collections import Counter

import pytest

from itemspace.encode.wordpiece import MARKS, choose_pieces, learn_wordpiece

TEXTS = ["The lamps shine", "the LAMP shone", "lamplight, lamp-post", "café the stamps"]


def test_words_are_whole_others_are_cut_and_nothing_known_is_lost():
    made = pytest.importorskip("tokenizers") and learn_wordpiece(TEXTS, 120)
    assert made.encode("the lamp").tokens == ["[CLS]", "the", "lamp", "[SEP]"]
    assert made.encode("CAFE").tokens[1:-1] != ["[UNK]"]
    cut = made.encode("lamppost").tokens[1:-1]
    assert cut[0] == "lamp"
    assert "".join(piece.removeprefix("##") for piece in cut) == "lamppost"
    assert made.encode("漢").tokens == ["[CLS]", "[UNK]", "[SEP]"]
    assert made.encode("").ids == [MARKS.index("[CLS]"), MARKS.index("[SEP]")]


def test_the_same_texts_give_the_same_tokenizer_and_size_is_kept():
    pytest.importorskip("tokenizers")
    assert learn_wordpiece(TEXTS, 60).to_str() == learn_wordpiece(TEXTS, 60).to_str()
    counts = Counter({f"word{i:03d}": i for i in range(1, 400)})
    for size in (16, 60, 300, 5000):
        pieces = choose_pieces(counts, size)
        assert len(pieces) == len(set(pieces)) <= size
        assert tuple(pieces[: len(MARKS)]) == MARKS
    assert "word399" in choose_pieces(counts, 60)
    assert "word001" not in choose_pieces(counts, 5000)  # seen once
    assert "##9" in choose_pieces(counts, 300)
    shared = choose_pieces(Counter({f"{stem}walker": 1 for stem in ("sky", "rope", "dog")}), 60)
    assert "##walker" in shared  # no word is frequent, their ending is
