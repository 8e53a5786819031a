"""Hashed word and character n-grams of a batch of texts, without a Python loop over texts, words or characters."""

from __future__ import annotations

import unicodedata
from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache

import numpy as np
import scipy.sparse as sp

from itemspace.core.hashing import splitmix64

_BREAK, _WORD, _ALONE, _DROPPED = 0, 1, 2, 3
_FNV = np.uint64(0x100000001B3)
_FEW = 512
"""Tokens up to which n-grams are counted one by one; above, every distinct word is cut once."""


@dataclass(frozen=True)
class Tokens:
    """The words of a batch: word t is the code points `points[offsets[t]:offsets[t + 1]]` of text `text[t]`.

    hashes: uint64 [tokens], equal for equal words in every batch.
    """

    points: np.ndarray
    offsets: np.ndarray
    text: np.ndarray
    hashes: np.ndarray

    def __len__(self) -> int:
        return len(self.text)


def tokenize(texts: Sequence[str], *, max_characters: int = 20_000) -> Tokens:
    """The lower-cased words of every text, accents and compatibility forms folded; ideographs are words of their own.

    Only the first `max_characters` of a text are read.
    """
    joined = "\0".join([t[:max_characters].replace("\0", " ") for t in texts])
    if not joined.isascii():
        joined = unicodedata.normalize("NFKD", joined)
    points = np.frombuffer(joined.casefold().encode("utf-32-le", "surrogatepass"), np.uint32)
    kinds = _kinds(points)[points] if len(points) else np.zeros(0, np.uint8)
    text = np.cumsum(points == 0, dtype=np.int32)
    read = np.flatnonzero(kinds != _DROPPED)
    kinds = kinds[read]
    word = kinds != _BREAK
    alone = kinds == _ALONE
    joins = np.zeros(len(read), bool)
    joins[1:] = word[1:] & word[:-1] & ~alone[1:] & ~alone[:-1]
    starts = np.flatnonzero((word & ~joins)[word])
    read = read[word]
    points = points[read]
    offsets = np.append(starts, len(points)).astype(np.int64)
    return Tokens(points, offsets, text[read[starts]], _hash_tokens(points, offsets))


def _kinds(points: np.ndarray) -> np.ndarray:
    """A table over code points: what each one present in `points` is to a tokenizer."""
    present = np.flatnonzero(np.bincount(points))
    table = np.zeros(int(present[-1]) + 1, np.uint8)
    table[present] = [_kind(chr(p)) for p in present.tolist()]  # distinct characters only: thousands at most
    return table


@lru_cache(4096)
def _kind(character: str) -> int:
    category = unicodedata.category(character)
    if category == "Mn":
        return _DROPPED
    if category == "Lo" and (0x2E80 <= ord(character) <= 0x9FFF or ord(character) >= 0x20000):
        return _ALONE
    return _WORD if character.isalnum() or category == "Mc" else _BREAK


def _hash_tokens(points: np.ndarray, offsets: np.ndarray) -> np.ndarray:
    if len(offsets) < 2:
        return np.zeros(0, np.uint64)
    lengths = np.diff(offsets)
    place = np.arange(len(points)) - np.repeat(offsets[:-1], lengths)
    mixed = splitmix64((place.astype(np.uint64) << np.uint64(32)) | points.astype(np.uint64))
    return splitmix64(np.add.reduceat(mixed, offsets[:-1]) + lengths.astype(np.uint64))


def word_ngrams(tokens: Tokens, n: int) -> tuple[np.ndarray, np.ndarray]:
    """Hashes uint64 of every run of n words within one text, and the text of each."""
    hashes, text = tokens.hashes, tokens.text
    for step in range(1, n):
        with np.errstate(over="ignore"):
            hashes = splitmix64(hashes[:-1] * _FNV + tokens.hashes[step:])
    same = text[: len(hashes)] == text[n - 1 :] if n > 1 else np.ones(len(text), bool)
    return hashes[same], text[: len(hashes)][same]


def character_ngrams(tokens: Tokens, sizes: Sequence[int]) -> tuple[np.ndarray, np.ndarray]:
    """Hashes uint64 of the character n-grams of every word, and the word (position in `tokens`) of each.

    A word counts with one mark at each end, so the prefix and the suffix differ from the middle.
    """
    lengths = np.diff(tokens.offsets)
    word = np.repeat(np.arange(len(tokens)), lengths + 2)
    marked = np.zeros(len(word), np.uint64)
    marked[np.arange(len(tokens.points)) + 2 * np.repeat(np.arange(len(tokens)), lengths) + 1] = tokens.points
    hashes, owners = [], []
    for n in sizes:
        windows = len(word) - n + 1
        if windows <= 0:
            continue
        inside = np.flatnonzero(word[:windows] == word[n - 1 :])
        rolling = np.full(len(inside), n, np.uint64)
        with np.errstate(over="ignore"):
            for step in range(n):
                rolling = (rolling ^ marked[inside + step]) * _FNV
        hashes.append(splitmix64(rolling))
        owners.append(word[inside])
    if not hashes:
        return np.zeros(0, np.uint64), np.zeros(0, np.int64)
    return np.concatenate(hashes), np.concatenate(owners)


def counts(
    texts: Sequence[str], *, words: int = 2, characters: tuple[int, ...] = (3, 4, 5), bits: int = 20
) -> sp.csr_matrix:
    """How often every hashed n-gram occurs in every text: CSR float32 [texts, 2^bits].

    Word n-grams (1 to `words`) hash into the lower half of the columns, character n-grams into the upper half.
    """
    tokens = tokenize(texts)
    half = np.uint64((1 << (bits - 1)) - 1)
    if len(tokens) <= _FEW:
        return _counted(tokens, len(texts), words, characters, bits)
    parts = []
    if words:
        found = [word_ngrams(tokens, n) for n in range(1, words + 1)]
        columns = np.concatenate([h & half for h, _ in found]).astype(np.int64)
        parts.append(_Narrow.of(np.concatenate([t for _, t in found]), columns, len(texts)))
    if characters:
        parts.append(_character_counts(tokens, len(texts), characters, half))
    return _side_by_side(parts, (len(texts), 1 << bits))


def known_counts(found: sp.csr_matrix, buckets: np.ndarray) -> sp.csr_matrix:
    """`counts` of the n-grams a model knows: CSR float32 [texts, m], column j that of column `buckets[j]` (ascending [m]).

    A product visits a row's entries as they are stored: they are sorted, so that a text's vector never depends on its
    batch.
    """
    at = np.searchsorted(buckets, found.indices)
    held = (at < len(buckets)) & (buckets[np.minimum(at, len(buckets) - 1)] == found.indices)
    before = np.concatenate(([0], np.cumsum(held)))
    shape = (found.shape[0], len(buckets))
    matrix = sp.csr_matrix((found.data[held].astype(np.float32), at[held], before[found.indptr]), shape=shape)
    matrix.sort_indices()
    return matrix


def _counted(tokens: Tokens, texts: int, words: int, characters: tuple[int, ...], bits: int) -> sp.csr_matrix:
    """`counts` of a few tokens (queries) by sorting (text, column) pairs: fewer and cheaper steps than sparse algebra."""
    half = np.uint64((1 << (bits - 1)) - 1)
    found = [word_ngrams(tokens, n) for n in range(1, words + 1)]
    keys = [(text.astype(np.int64) << bits) | (hashes & half).astype(np.int64) for hashes, text in found]
    if characters:
        hashes, owner = character_ngrams(tokens, characters)
        columns = ((hashes & half) + half + np.uint64(1)).astype(np.int64)
        keys.append((tokens.text[owner].astype(np.int64) << bits) | columns)
    pairs = np.sort(np.concatenate(keys)) if keys else np.zeros(0, np.int64)
    first = np.flatnonzero(np.append(True, pairs[1:] != pairs[:-1])) if len(pairs) else np.zeros(0, np.int64)
    times = np.diff(np.append(first, len(pairs))).astype(np.float32)
    pairs = pairs[first]
    bounds = np.searchsorted(pairs, np.arange(texts + 1, dtype=np.int64) << bits).astype(np.int32)
    columns = (pairs & ((1 << bits) - 1)).astype(np.int32)
    return sp.csr_matrix((times, columns, bounds), shape=(texts, 1 << bits))


@dataclass(frozen=True)
class _Narrow:
    """Counts over the columns that occur: column j of `matrix` [n, m] stands for `columns[j]`, which ascend.

    What a sparse product or sum costs grows with the width of its matrices, and a query has a handful of 2^20 columns.
    """

    matrix: sp.csr_matrix
    columns: np.ndarray

    @classmethod
    def of(cls, rows: np.ndarray, columns: np.ndarray, n: int) -> _Narrow:
        distinct, place = np.unique(columns, return_inverse=True)
        return cls(_csr(rows, place.reshape(-1), (n, len(distinct))), distinct)


def _side_by_side(parts: Sequence[_Narrow], shape: tuple[int, int]) -> sp.csr_matrix:
    """One matrix of `shape` from parts whose columns lie one part after another."""
    widths = [len(part.columns) for part in parts]
    stacked = parts[0].matrix if len(parts) == 1 else sp.hstack([part.matrix for part in parts], format="csr")
    stacked.sort_indices()
    columns = np.concatenate([part.columns for part in parts]) if sum(widths) else np.zeros(0, np.int64)
    indices = columns[stacked.indices].astype(np.int32)
    return sp.csr_matrix((stacked.data, indices, stacked.indptr), shape=shape)


def _character_counts(tokens: Tokens, texts: int, sizes: Sequence[int], half: np.uint64) -> _Narrow:
    # Words repeat: cut each distinct word into n-grams once, then multiply (texts x words) by (words x n-grams).
    _, first, inverse = np.unique(tokens.hashes, return_index=True, return_inverse=True)
    lengths = np.diff(tokens.offsets)[first]
    offsets = np.concatenate(([0], np.cumsum(lengths))).astype(np.int64)
    at = np.repeat(tokens.offsets[:-1][first] - offsets[:-1], lengths) + np.arange(int(offsets[-1]))
    distinct = Tokens(tokens.points[at], offsets, np.zeros(len(first), np.int32), tokens.hashes[first])
    hashes, owner = character_ngrams(distinct, sizes)
    columns = ((hashes & half) + half + np.uint64(1)).astype(np.int64)
    spelled = _Narrow.of(owner, columns, len(first))
    held = _csr(tokens.text, inverse.reshape(-1), (texts, len(first)))
    return _Narrow(sp.csr_matrix(held @ spelled.matrix), spelled.columns)


def _csr(rows: np.ndarray, columns: np.ndarray, shape: tuple[int, int]) -> sp.csr_matrix:
    """Counts of (row, column) pairs."""
    return sp.coo_matrix((np.ones(len(rows), np.float32), (rows, columns)), shape=shape).tocsr()
