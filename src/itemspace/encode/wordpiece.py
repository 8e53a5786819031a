"""A WordPiece vocabulary learned from texts, with BERT's rules for words and marks (extra `text`)."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from itemspace.core.extras import require

MARKS = ("[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]")
"""In this order, so that padding is token 0."""


def learn_wordpiece(texts: Iterable[str], vocabulary: int, *, min_frequency: int = 2) -> Any:
    """A tokenizer of at most `vocabulary` pieces: lower case, accents folded, [CLS] before a text and [SEP] after it.

    The same texts in the same order give the same tokenizer. Source: Schuster and Nakajima 2012; Devlin et al. 2019.

    Raises:
        MissingExtraError: the tokenizers library is not installed.
    """
    library = require("tokenizers", extra="text", needed_for="Learning a vocabulary")
    made = library.Tokenizer(library.models.WordPiece(unk_token="[UNK]"))
    made.normalizer = library.normalizers.BertNormalizer(lowercase=True)
    made.pre_tokenizer = library.pre_tokenizers.BertPreTokenizer()
    trainer = library.trainers.WordPieceTrainer(
        vocab_size=vocabulary, min_frequency=min_frequency, special_tokens=list(MARKS), show_progress=False
    )
    made.train_from_iterator(texts, trainer)
    marks = [(name, made.token_to_id(name)) for name in ("[CLS]", "[SEP]")]
    made.post_processor = library.processors.TemplateProcessing(single="[CLS] $A [SEP]", special_tokens=marks)
    return made
