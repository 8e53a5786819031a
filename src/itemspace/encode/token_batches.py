"""Texts to token IDs once, and batches of like length under a budget of tokens."""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from typing import Any

import numpy as np

from itemspace.core.ragged import Ragged

FIXED_COST = 96
"""What a batch costs before its first token, in tokens: a new batch is begun rather than pad more than this."""
_CHUNK = 1024


class TextTokens:
    """A fast tokenizer of its own (no padding, its own truncation), so that many threads may use it at once."""

    def __init__(self, tokenizer: Any, max_length: int) -> None:
        from tokenizers import Tokenizer

        self._tokenizer = Tokenizer.from_str(tokenizer.to_str())
        self._tokenizer.no_padding()
        self._tokenizer.enable_truncation(max_length)
        self.max_length = max_length

    @property
    def vocabulary(self) -> int:
        """How many tokens there are."""
        return int(self._tokenizer.get_vocab_size())

    def to_json(self) -> str:
        """The tokenizer as the file that opens it (its truncation included)."""
        return str(self._tokenizer.to_str())

    def __call__(self, texts: Sequence[str]) -> Ragged:
        """Token IDs int64 of every text, special tokens included, at most `max_length` each."""
        encoded = (
            self._tokenizer.encode_batch_fast(list(texts[at : at + _CHUNK])) for at in range(0, len(texts), _CHUNK)
        )
        ids = [one.ids for chunk in encoded for one in chunk]
        lengths = np.fromiter(map(len, ids), np.int64, len(ids))
        values = np.fromiter(itertools.chain.from_iterable(ids), np.int64, int(lengths.sum()))
        return Ragged(values, np.concatenate(([0], np.cumsum(lengths))).astype(np.int64))


def token_batches(lengths: np.ndarray, budget: int) -> list[np.ndarray]:
    """Rows of like length together: each batch's texts x longest is at most `budget` (one text may exceed it alone).

    lengths: tokens of each text [n]. Longest first. A batch ends early where going on would add more than `FIXED_COST`
    padding tokens.
    """
    order = np.argsort(-lengths, kind="stable")
    falling = lengths[order]
    total = np.concatenate(([0], np.cumsum(falling)))
    batches = []
    start = 0
    while start < len(order):
        longest = max(int(falling[start]), 1)
        stop = min(start + max(budget // longest, 1), len(order))
        count = np.arange(1, stop - start + 1)
        padding = count * longest - (total[start + 1 : stop + 1] - total[start])
        stop = start + max(int(np.searchsorted(padding, FIXED_COST, side="right")), 1)
        batches.append(order[start:stop])
        start = stop
    return batches


def padded(tokens: Ragged, pad: int) -> tuple[np.ndarray, np.ndarray | None]:
    """IDs int64 [n, longest] filled up with `pad`, and the mask bool [n, longest], None where nothing is padded."""
    lengths = tokens.lengths
    width = int(lengths.max(initial=0))
    if (lengths == width).all():
        return tokens.values.reshape(len(tokens), width), None
    mask = np.arange(width) < lengths[:, None]
    out = np.full(mask.shape, pad, np.int64)
    out[mask] = tokens.values
    return out, mask
