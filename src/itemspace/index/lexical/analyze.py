"""Text to terms: words, folded and (optionally) stemmed, for whole batches at once."""

from __future__ import annotations

import re
import unicodedata
from collections import defaultdict
from collections.abc import Mapping, Sequence
from typing import Literal

import numpy as np

from itemspace.core.config import Config
from itemspace.index.lexical.languages import PLAIN, Language, normalized, split
from itemspace.index.lexical.stem import STEMMERS

_MARKS = re.compile("[\u0300-\u036f]+")
_END = "\x1e"
_WORDS = re.compile(rf"\d+(?:\.\d+)+|[^\W_]+(?:'[^\W_]+)*|{_END}")

ENGLISH_STOPWORDS = frozenset(
    [
        "a",
        "an",
        "and",
        "are",
        "as",
        "at",
        "be",
        "but",
        "by",
        "for",
        "if",
        "in",
        "into",
        "is",
        "it",
        "no",
        "not",
        "of",
        "on",
        "or",
        "such",
        "that",
        "the",
        "their",
        "then",
        "there",
        "these",
        "they",
        "this",
        "to",
        "was",
        "will",
        "with",
    ]
)
"""Lucene's classic English list."""


class AnalyzerConfig(Config):
    """How text becomes terms. Documents and queries are always read the same way."""

    stemmer: Literal["none", "s", "porter2"] = "porter2"
    """none; s: plural endings only (Harman 1991); porter2: Porter's English stemmer of 2001."""
    stopwords: Literal["none", "english", "english-queries"] = "english-queries"
    """english: Lucene's 33 words are not indexed. english-queries: they are, but a query that has other words is not
    asked for them: in short descriptions "for" is rare enough to outweigh what was meant ("gift for a hiker"). Of words
    like these alone ("to be or not to be") all are asked for. One field, nDCG@10 against "none": Chorus as before,
    Cranfield -.001, CISI +.013; far down the list fewer items match (Cranfield bpref -.009)."""
    language: Language = "any"
    """Of texts and queries (see `languages`). Stemmer and stop words are English: they hold for any and en only."""


class Analyzer:
    """Words by Unicode (letters and digits; decimals stay whole, possessive 's is dropped), accents and case folded.

    Terms get int32 numbers in order of first appearance; `terms` is the list of them. Script without spaces between
    words (Chinese, Japanese, Thai) is not segmented, and vowel signs end a word, unless `language` says what it is.
    """

    def __init__(self, config: AnalyzerConfig, terms: Sequence[str] = ()) -> None:
        self.config = config
        self._plain = config.language in PLAIN
        self.terms: list[str] = list(terms)
        self._number = {term: number for number, term in enumerate(self.terms)}
        self._word_of: dict[str, int] = {}

    def words(self, text: str) -> list[str]:
        """The terms of one text in order, the obvious way."""
        found = (self.term(word) for word in self._words([text]) if word != _END)
        return [term for term in found if term]

    def term(self, word: str) -> str:
        """The term a folded word stands for; empty when it is not indexed."""
        if not self._plain:
            return word
        if word.endswith("'s"):
            word = word[:-2]
        word = word.replace("'", "")
        if self.config.stopwords == "english" and word in ENGLISH_STOPWORDS:
            return ""
        return STEMMERS[self.config.stemmer](word)

    def encode(self, texts: Sequence[str], *, grow: bool) -> tuple[np.ndarray, np.ndarray]:
        """Term numbers of every text, flat: int32 [total] and the text [total] each is in, in order.

        grow: whether unknown terms get numbers (documents) or are left out (queries).
        """
        # One pass over the joined text: a call per text costs more than the reading.
        words = self._words(texts)
        raw: defaultdict[str, int] = defaultdict()
        raw.default_factory = raw.__len__
        raw[_END] = 0
        codes = np.fromiter(map(raw.__getitem__, words), np.int32, len(words))
        # Every distinct word is normalized once, however often it occurs.
        numbers = np.fromiter((self._lookup(word, grow) for word in raw), np.int32, len(raw))
        numbers[0] = -1
        ends = codes == 0
        text = np.cumsum(ends)
        found = numbers[codes]
        keep = found >= 0
        if not grow and self._plain and self.config.stopwords == "english-queries":
            keep &= self._asked(raw, codes, text)
        return found[keep], text[keep]

    def asked(self, text: str) -> dict[int, int]:
        """Term -> times for one query, in order: `encode` without growing, for a text that comes alone."""
        words = self._words([text])
        if self._plain and self.config.stopwords == "english-queries":
            words = [word for word in words if word not in ENGLISH_STOPWORDS] or words
        times: dict[int, int] = {}
        for word in words:
            number = self._lookup(word, False)
            if number >= 0:
                times[number] = times.get(number, 0) + 1
        return times

    def _words(self, texts: Sequence[str]) -> list[str]:
        """The words of all texts in order, `_END` between one text and the next."""
        if self._plain:
            return _WORDS.findall(_END.join(fold(text.replace(_END, " ")) for text in texts))
        language = self.config.language
        return split(_END.join(normalized(text.replace(_END, " "), language) for text in texts), language, _END)

    def _asked(self, raw: Mapping[str, int], codes: np.ndarray, text: np.ndarray) -> np.ndarray:
        """Which words of queries are looked for [total]: all but stop words, and those where a query has no other."""
        says_little = np.fromiter((word in ENGLISH_STOPWORDS for word in raw), bool, len(raw))[codes]
        says_something = np.zeros(int(text[-1]) + 1 if len(text) else 0, bool)
        says_something[text[~says_little & (codes != 0)]] = True
        return ~(says_little & says_something[text])

    def _lookup(self, word: str, grow: bool) -> int:
        number = self._word_of.get(word)
        if number is not None:
            return number
        term = self.term(word) if word != _END else ""
        if not term:
            number = -1
        else:
            number = self._number.get(term, -1)
            if number < 0:
                if not grow:
                    return -1
                number = self._number[term] = len(self.terms)
                self.terms.append(term)
        if len(self._word_of) < 2_000_000:
            self._word_of[word] = number
        return number


def fold(text: str) -> str:
    """Lower case without accents: "Café" -> "cafe", "Straße" -> "strasse"."""
    if text.isascii():
        return text.lower()
    return _MARKS.sub("", unicodedata.normalize("NFKD", text)).replace("\u2019", "'").casefold()
