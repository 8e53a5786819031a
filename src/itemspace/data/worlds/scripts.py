"""A world's texts in another script: letter by letter, without spaces where the script has none."""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from dataclasses import replace

import pyarrow as pa

from itemspace.core.catalog import Catalog
from itemspace.core.dataset import Dataset
from itemspace.core.errors import RequestError

_CONSONANTS, _VOWELS = "bdfgklmnprstvz", "aeiou"
_ALPHABETS = {
    "ar": ("بدفغكلمنقرستوز", "اهيحع"),
    "bn": ("বদফগকলমনপরসতভজ", "\u09be\u09c7\u09bf\u09cb\u09c1"),
    "ru": ("бдфгклмнпрствз", "аеиоу"),
    "te": ("బదఫగకలమనపరసతవజ", "\u0c3e\u0c46\u0c3f\u0c4a\u0c41"),
    "th": ("บดฟกขลมนปรสตวซ", "\u0e32\u0e40\u0e34\u0e2d\u0e38"),
}
"""Consonants and vowels that stand for those of the coined words; in bn and te vowels are signs on a consonant."""
_SYLLABLE = re.compile(f"[{_CONSONANTS}][{_VOWELS}]")
_WORD = re.compile(rf"[{_CONSONANTS}{_VOWELS}]+")
PARTICLES = ("은", "를", "에서")
"""Korean endings that stick to a word."""
UNSPACED = ("ja", "th")
LATIN = ("en", "fi", "id", "sw")


def in_script(data: Dataset, language: str) -> Dataset:
    """The same items, queries and judgments with every coined word written as the language's script would.

    Mechanism: which words a query shares with which item does not change; what an analysis must do to see it does.
    Japanese and Thai lose the spaces between words; Bengali and Telugu write vowels as signs; a Korean word of an item
    has an ending that the query's does not. Latin scripts stay as they are. Digits stay.

    Raises:
        RequestError: there is no script for the language.
    """
    if language in LATIN:
        return data
    write, join = _writer(language), "" if language in UNSPACED else " "
    table = data.catalog.table
    for column in data.catalog.schema.columns("text"):
        texts = [_written(text or "", write, join, language) for text in table.column(column).to_pylist()]
        table = table.set_column(
            table.column_names.index(column), column, pa.array(texts, table.schema.field(column).type)
        )
    catalog = Catalog(table, data.catalog.schema, data.catalog.ids)
    queries = data.queries
    if queries is not None:
        queries = replace(queries, texts=tuple(_written(text, write, join, "") for text in queries.texts))
    shown = data.impressions
    if shown is not None and shown.query is not None:
        shown = replace(shown, queries=tuple(_written(text, write, join, "") for text in shown.queries))
    return replace(
        data, catalog=catalog, queries=queries, impressions=shown, source={**data.source, "script": language}
    )


def _written(text: str, write: Callable[[str], str], join: str, language: str) -> str:
    words: Sequence[str] = [write(word) for word in text.split(" ")]
    if language == "ko":
        words = [word + PARTICLES[len(word) % 3] if not word.isdigit() else word for word in words]
    return join.join(words)


def _writer(language: str) -> Callable[[str], str]:
    """What writes one coined word."""
    if language == "ko":
        return lambda word: _SYLLABLE.sub(_hangul, word)
    if language == "ja":
        return lambda word: _SYLLABLE.sub(_japanese, word)
    if language not in _ALPHABETS:
        known = ", ".join(sorted([*_ALPHABETS, *LATIN, "ja", "ko"]))
        raise RequestError(f'there is no script for "{language}"; there are {known}.')
    letters = "".join(_ALPHABETS[language])
    table = str.maketrans(_CONSONANTS + _VOWELS, letters)
    return lambda word: _WORD.sub(lambda found: found[0].translate(table), word)


def _hangul(found: re.Match[str]) -> str:
    consonant, vowel = _CONSONANTS.index(found[0][0]), _VOWELS.index(found[0][1])
    return chr(0xAC00 + (consonant * 21 + vowel * 4) * 28)


def _japanese(found: re.Match[str]) -> str:
    """Kana for some syllables, an ideograph for the others."""
    number = _CONSONANTS.index(found[0][0]) * len(_VOWELS) + _VOWELS.index(found[0][1])
    return chr(0x30AB + number) if number < 40 else chr(0x4E00 + 37 * number)
