"""A WordPiece vocabulary chosen by counting, with BERT's rules for words and marks (extra `text`)."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from typing import Any

from itemspace.core.extras import require

MARKS = ("[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]")
"""In this order, so that padding is token 0."""
_LONGEST, _ALPHABET, _READ = 6, 1_000, 30_000
"""Letters of a piece at most, characters at most, and distinct words that pieces are counted in."""


def learn_wordpiece(texts: Iterable[str], vocabulary: int, *, min_frequency: int = 2) -> Any:
    """A tokenizer of at most `vocabulary` pieces: lower case, accents folded, [CLS] before a text and [SEP] after it.

    Every character is a piece, three quarters of the rest are the most frequent words, and what remains are the beginnings
    and endings that most distinct words share. A word is cut greedily, the longest piece first (Devlin et al. 2019). The
    same texts give the same tokenizer, which the library's own trainer does not promise: its ties fall as they will.

    Raises:
        MissingExtraError: the tokenizers library is not installed.
    """
    library = require("tokenizers", extra="text", needed_for="Learning a vocabulary")
    normalizer, words = library.normalizers.BertNormalizer(lowercase=True), library.pre_tokenizers.BertPreTokenizer()
    found = words.pre_tokenize_str(normalizer.normalize_str("\n".join(texts)))
    pieces = choose_pieces(Counter(word for word, _ in found), vocabulary, min_frequency)
    numbered = {piece: number for number, piece in enumerate(pieces)}
    made = library.Tokenizer(library.models.WordPiece(vocab=numbered, unk_token="[UNK]"))
    made.normalizer, made.pre_tokenizer = normalizer, words
    made.add_special_tokens(list(MARKS))
    marks = [(name, numbered[name]) for name in ("[CLS]", "[SEP]")]
    made.post_processor = library.processors.TemplateProcessing(single="[CLS] $A [SEP]", special_tokens=marks)
    return made


def choose_pieces(counts: Counter[str], vocabulary: int, min_frequency: int = 2) -> list[str]:
    """The pieces for words that occur `counts` times, `MARKS` first; "##" begins a piece from within a word."""
    letters: Counter[str] = Counter()
    for word, count in counts.items():
        for letter in word:
            letters[letter] += count
    alphabet = [letter for letter, _ in _ordered(letters)[:_ALPHABET]]
    kept = [*MARKS, *alphabet, *(f"##{letter}" for letter in alphabet)][:vocabulary]
    room = vocabulary - len(kept)
    words = [word for word, count in _ordered(counts) if count >= min_frequency and len(word) > 1]
    whole = words[: room - room // 4]
    shared: Counter[str] = Counter()
    for word, _ in _ordered(counts)[:_READ]:
        ends = range(2, min(len(word), _LONGEST + 1))
        shared.update(word[:end] for end in ends)
        shared.update(f"##{word[-end:]}" for end in ends)
    taken = {*kept, *whole}
    pieces = [piece for piece, count in _ordered(shared) if count >= min_frequency and piece not in taken]
    more = whole + pieces[: room - len(whole)]
    return kept + more + words[len(whole) :][: room - len(more)]


def _ordered(counts: Counter[str]) -> list[tuple[str, int]]:
    """Most frequent first, then by the alphabet."""
    return sorted(counts.items(), key=lambda one: (-one[1], one[0]))
