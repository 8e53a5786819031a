"""Autocomplete: what begins like what was typed, best first, among item titles and the queries of others.

Every word typed must occur, the last one as the beginning of a word; case, accents and punctuation do not count. What
begins with all that was typed comes ahead of what has it further in, unless it is much less asked for. Where exact
spellings give fewer suggestions than wanted, words of four letters or more may be one edit off.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from itemspace.core.errors import ArtifactError
from itemspace.core.files import load_arrays, read_json, save_arrays, write_json_atomic
from itemspace.core.hashing import hash_strings
from itemspace.core.ragged import Ragged
from itemspace.search.folding import folded
from itemspace.search.wordlist import WordList, flattened

FORMAT = 1
STARTS, TYPO = 0.5, -1.0
"""Added to a weight (0 to 1) where a suggestion begins with what was typed, and where a word was spelt differently."""
TYPO_LETTERS = 4
MOST_LETTERS = 200
AT_ONCE = 50_000

Usable = Callable[[np.ndarray], np.ndarray]
_Places = tuple[int, int] | np.ndarray
"""Places in the list of words: from, to (exclusive), or each of them."""


@dataclass(frozen=True)
class Suggestion:
    """A text to offer: an item's title (with the item's ID), or a query that others asked."""

    text: str
    kind: Literal["title", "query"]
    item: str | None = None


@dataclass(frozen=True)
class Found:
    """An entry that fits: its score, the item's row (-1 for a query), the query's text, and its folded text."""

    score: float
    row: int
    query: str | None
    folded: str


@dataclass(frozen=True)
class Entries:
    """What may be suggested: titles [n] of item rows [n], and queries [m], each with a weight from 0 to 1.

    Missing and blank texts are left out when they are indexed. ties: uint32 [n], the order among equal titles' weights.
    """

    titles: pa.Array
    rows: np.ndarray
    weights: np.ndarray
    ties: np.ndarray
    queries: pa.Array
    asked: np.ndarray


class Suggester:
    """Titles and queries, ready for prefixes: flat sorted arrays that can be memory-mapped, never changed once made.

    Entries are numbered by weight, best first (among equals the shorter text), so the smallest numbers are the answer.
    Memory: about 1.1 bytes per letter and 8 bytes per word of the titles.
    """

    def __init__(self, arrays: dict[str, np.ndarray]) -> None:
        """Use `build` or `open`."""
        self._arrays = arrays
        self.rows, self.weights, self._twin = arrays["rows"], arrays["weights"], arrays["twin"]
        self.texts = WordList(arrays["text_bytes"], arrays["text_offsets"])
        self._by_text = Ragged(arrays["by_text"], arrays["by_text_offsets"])
        self.words = WordList(arrays["word_bytes"], arrays["word_offsets"])
        self._postings = Ragged(arrays["postings"], arrays["postings_offsets"])
        self._queries = WordList(arrays["query_bytes"], arrays["query_offsets"])

    def __len__(self) -> int:
        """How many entries it has."""
        return len(self.rows)

    @property
    def nbytes(self) -> int:
        """Bytes of its arrays."""
        return sum(array.nbytes for array in self._arrays.values())

    @classmethod
    def build(cls, entries: Entries) -> Suggester:
        """Index every entry that has a word."""
        titles, queries = entries.titles.fill_null(""), entries.queries.fill_null("")
        texts = pa.concat_arrays([_folded_array(titles), _folded_array(queries)])
        rows = np.concatenate([entries.rows.astype(np.int64), -1 - np.arange(len(queries))])
        weights = np.concatenate([entries.weights, entries.asked]).astype(np.float32)
        ties = np.concatenate([entries.ties, (hash_strings(queries) >> np.uint64(32)).astype(np.uint32)])
        lengths = np.asarray(pc.utf8_length(texts))
        some = np.flatnonzero(lengths)
        order = some[np.lexsort((ties[some], lengths[some], -weights[some]))]
        texts = texts.take(pa.array(order))
        arrays = {"rows": rows[order].astype(np.int32), "weights": weights[order]}
        arrays |= _texts(texts) | _words(texts)
        arrays["query_bytes"], arrays["query_offsets"] = flattened(queries)
        return cls(arrays)

    def save(self, folder: Path) -> None:
        """The arrays as npy files."""
        save_arrays(folder, **self._arrays)
        write_json_atomic(folder / "about.json", {"format": FORMAT, "entries": len(self)})

    @classmethod
    def open(cls, folder: Path) -> Suggester:
        """What `save` wrote, memory-mapped.

        Raises:
            ArtifactError: missing, damaged, or of another format.
        """
        about = read_json(folder / "about.json")
        if about.get("format") != FORMAT:
            raise ArtifactError(f"{folder} has format {about.get('format')}; this itemspace reads {FORMAT}.")
        try:
            return cls(load_arrays(folder))
        except (KeyError, ValueError) as error:
            raise ArtifactError(f"{folder} is damaged: {error}.") from None

    def find(self, typed: str, k: int, usable: Usable | None = None) -> list[Found]:
        """The k best entries for what was typed, one per folded text.

        usable: item rows (-1 for queries) [m] -> bool [m], asked of the entries that fit, best first.
        """
        typed = typed[:MOST_LETTERS]
        text = folded([typed])[0]
        done = _finished(typed, text)
        words = text.split(" ") if text else []
        exact = [self.words.find(word) for word in words]
        if words and not done:
            exact[-1] = self.words.range(words[-1])
        scores: dict[int, float] = {}
        if text:
            low, high = self.texts.range(text + " " if done else text)
            if done:
                whole = self.texts.find(text)
                low = min(whole[0], low) if whole[0] < whole[1] else low
            starting = np.sort(self._slice(self._by_text, low, high))
            self._collect(self._chosen(starting, k, usable), STARTS, scores)
        self._collect(self._best(exact, k, usable), 0.0, scores)
        for last in (False, True):
            if text and len(scores) < (1 if last else k):
                self._collect(self._best(self._spelt(words, exact, done, last), k, usable), TYPO, scores)
        best = sorted(scores, key=lambda entry: (-scores[entry], entry))[:k]
        return [self._found(entry, scores[entry]) for entry in best]

    def _found(self, entry: int, score: float) -> Found:
        row = int(self.rows[entry])
        query = self._queries[-1 - row] if row < 0 else None
        return Found(score, max(row, -1), query, self.texts[int(self._twin[entry])])

    def _collect(self, entries: np.ndarray, bonus: float, scores: dict[int, float]) -> None:
        """Add entries with their weight and bonus; of one text the first stays."""
        known = set(self._twin[list(scores)].tolist())
        for entry in entries.tolist():  # k at most
            twin = int(self._twin[entry])
            if twin not in known:
                known.add(twin)
                scores[entry] = float(self.weights[entry]) + bonus

    def _spelt(self, words: list[str], exact: Sequence[tuple[int, int]], done: bool, last: bool) -> list[_Places]:
        """What each word may stand for, spelt as it is or one edit off."""
        found: list[_Places] = []
        for at, (word, place) in enumerate(zip(words, exact, strict=True)):
            if len(word) < TYPO_LETTERS:
                found.append(place)
            else:
                whole = done or at < len(words) - 1
                found.append(self.words.near(word, whole=whole, last=last or whole))
        return found

    def _best(self, wanted: Sequence[_Places], k: int, usable: Usable | None) -> np.ndarray:
        """The first k entries that have every one of the words `wanted`."""
        fits = np.ones(len(self), bool)
        for places in wanted:
            has = np.zeros(len(self), bool)
            has[self._entries(places)] = True
            fits &= has
        return self._chosen(np.flatnonzero(fits), k, usable)

    def _entries(self, places: _Places) -> np.ndarray:
        """The entries that have one of some words, some maybe twice."""
        if isinstance(places, tuple):
            return self._slice(self._postings, *places)
        return self._postings.take(places).values

    def _chosen(self, entries: np.ndarray, k: int, usable: Usable | None) -> np.ndarray:
        """Of `entries` (ascending) the first k that are usable, one per text."""
        kept, texts = np.zeros(0, np.int64), np.zeros(0, np.int64)
        for block in _blocks(len(entries), k):
            some = entries[block].astype(np.int64)
            if usable is not None:
                some = some[usable(np.maximum(self.rows[some], -1))]
            kept, texts = np.concatenate([kept, some]), np.concatenate([texts, self._twin[some]])
            first = np.sort(np.unique(texts, return_index=True)[1])
            kept, texts = kept[first], texts[first]
            if len(kept) >= k:
                break
        return kept[:k]

    def _slice(self, lists: Ragged, low: int, high: int) -> np.ndarray:
        return lists.values[lists.offsets[low] : lists.offsets[high]]


def _finished(typed: str, text: str) -> bool:
    """Whether the last word typed is complete: a letter more would begin another."""
    return bool(text) and folded([typed + "x"])[0] != text + "x"


def _blocks(size: int, k: int) -> Iterator[slice]:
    """0 to `size` in blocks that grow: a few are enough where most entries fit."""
    start, step = 0, max(1_024, 4 * k)
    while start < size:
        yield slice(start, min(start + step, size))
        start, step = start + step, 2 * step


def _folded_array(texts: pa.Array) -> pa.Array:
    """Texts folded, a piece at a time, so that few of them are Python texts at once."""
    pieces = [
        pa.array(folded(texts.slice(start, AT_ONCE).to_pylist()), pa.large_string())
        for start in range(0, len(texts), AT_ONCE)
    ]
    return pa.concat_arrays(pieces) if pieces else pa.array([], pa.large_string())


def _texts(texts: pa.Array) -> dict[str, np.ndarray]:
    """The distinct texts in order, the entries that have each, and each entry's text."""
    encoded = texts.dictionary_encode()
    order = np.asarray(pc.sort_indices(encoded.dictionary), np.int64)
    place = np.empty(len(order), np.int32)
    place[order] = np.arange(len(order))
    twin = place[np.asarray(encoded.indices)] if len(texts) else np.zeros(0, np.int32)
    flat, offsets = flattened(encoded.dictionary.take(pa.array(order)))
    lists = Ragged.from_groups(twin, np.arange(len(twin), dtype=np.int32), len(order))
    made = {"twin": twin, "text_bytes": flat, "text_offsets": offsets}
    return made | {"by_text": lists.values, "by_text_offsets": lists.offsets}


def _words(texts: pa.Array) -> dict[str, np.ndarray]:
    """The distinct words in order, and the entries that have each."""
    lists = pc.split_pattern(texts, " ")
    encoded = pc.list_flatten(lists).dictionary_encode()
    entry = np.asarray(pc.list_parent_indices(lists), np.int64)
    order = np.asarray(pc.sort_indices(encoded.dictionary), np.int64)
    place = np.empty(len(order), np.int32)
    place[order] = np.arange(len(order))
    word = place[np.asarray(encoded.indices)] if len(entry) else np.zeros(0, np.int32)
    flat, offsets = flattened(encoded.dictionary.take(pa.array(order)).cast(pa.large_string()))
    postings = Ragged.from_groups(word, entry.astype(np.int32), len(order))
    made = {"word_bytes": flat, "word_offsets": offsets}
    return made | {"postings": postings.values, "postings_offsets": postings.offsets}


def suggest_reference(texts: Sequence[str], weights: Sequence[float], typed: str, k: int) -> list[tuple[str, float]]:
    """The slow, obvious `find`: every folded text against every rule, the best weight standing for texts that are alike.

    Returns (folded text, score), best first; equal scores by weight, then the shorter text, then in the order of texts.
    """
    text = folded([typed])[0]
    done = _finished(typed, text)
    words = text.split()
    entries: dict[str, float] = {}
    for folded_text, weight in zip(folded(list(texts)), weights, strict=True):
        if folded_text:
            entries[folded_text] = max(weight, entries.get(folded_text, weight))

    def fits(entry: str, near: Callable[[str, str, bool], bool]) -> bool:
        has = entry.split()
        whole = [done or at < len(words) - 1 for at in range(len(words))]
        return all(any(near(word, other, full) for other in has) for word, full in zip(words, whole, strict=True))

    def same(word: str, other: str, full: bool) -> bool:
        return word == other if full else other.startswith(word)

    found = {}
    for entry, weight in entries.items():
        if text and (f"{entry} ".startswith(f"{text} ") if done else entry.startswith(text)):
            found[entry] = weight + STARTS
        elif fits(entry, same):
            found[entry] = weight
    for last in (False, True):
        if text and len(found) < (1 if last else k):

            def spelt(word: str, other: str, full: bool, last: bool = last) -> bool:
                return same(word, other, full) or (
                    len(word) >= TYPO_LETTERS and near_reference(word, other, full, last)
                )

            for entry, weight in entries.items():
                if entry not in found and fits(entry, spelt):
                    found[entry] = weight + TYPO
    order = sorted(found, key=lambda entry: (-found[entry], -entries[entry], len(entry)))
    return [(entry, found[entry]) for entry in order[:k]]


def near_reference(word: str, other: str, whole: bool, last: bool = True) -> bool:
    """The slow, obvious `WordList.near` for one pair: try every edit of `word` that keeps its first letter."""
    if word[:1] != other[:1]:
        return False
    letters = {*other, *word}
    edits = {word}
    early = whole or last or not other.startswith(word[:-1])
    for at in range(1, len(word) + 1):
        if whole or at < len(word):
            edits |= {word[:at] + letter + word[at:] for letter in letters}
        if at < len(word) and early:
            edits |= {word[:at] + letter + word[at + 1 :] for letter in letters} | {word[:at] + word[at + 1 :]}
        if at + 1 < len(word):
            edits.add(word[:at] + word[at + 1] + word[at] + word[at + 2 :])
    return other in edits if whole else any(other.startswith(edit) for edit in edits)
