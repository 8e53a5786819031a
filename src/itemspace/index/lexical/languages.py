"""Words by language: scripts whose vowels are marks, scripts without spaces, letters written in several ways.

What each language gets (all: compatibility forms unified, case folded, zero-width joiners dropped):

| language | words |
|---|---|
| ar | vowel marks and tatweel dropped; alef, yeh and teh marbuta in one form each |
| bn, te | vowel signs belong to their word |
| en | as without a language: accents folded, English stemming and stop words as configured |
| fi, id, sw | words as they are (accents kept: in Finnish they tell words apart) |
| ru | yo as ye |
| ja | runs of kana and ideographs as overlapping pairs of characters |
| ko | runs of Hangul and ideographs as overlapping pairs of syllables |
| th | runs of Thai characters as overlapping triples: a syllable takes two or more |

Nothing but English is stemmed: what stemming would add for Arabic, Finnish or Russian, where endings are many, is not
measured here. Runs of characters need no dictionary; they also match across word borders.
"""

from __future__ import annotations

import re
import unicodedata
from functools import cache
from typing import Literal

Language = Literal["any", "ar", "bn", "en", "fi", "id", "ja", "ko", "ru", "sw", "te", "th"]
PLAIN = ("any", "en")
"""Languages read the plain way: accents folded, English stemmer and stop words."""

_MARKS = (
    "\u0300-\u036f\u0610-\u061a\u064b-\u065f\u0670\u06d6-\u06dc\u06df-\u06e8\u06ea-\u06ed\u0900-\u0903\u093a-\u094f"
    "\u0951-\u0957\u0962\u0963\u0980-\u0983\u09bc-\u09cd\u09d7\u09e2\u09e3\u0c00-\u0c04\u0c3c-\u0c56\u0c62\u0c63"
    "\u0e31\u0e34-\u0e3a\u0e47-\u0e4e"
)
_IDEOGRAPHS = "\u3005\u3007\u3400-\u4dbf\u4e00-\u9fff\uf900-\ufaff\U00020000-\U0003ffff"
_UNSPACED = {
    "ja": f"{_IDEOGRAPHS}\u3040-\u30fa\u30fc-\u30ff\u31f0-\u31ff",
    "ko": f"{_IDEOGRAPHS}\uac00-\ud7a3",
    "th": "\u0e01-\u0e3a\u0e40-\u0e4e",
}
"""Characters of scripts that are cut into overlapping pieces."""
_PIECE = {"ja": 2, "ko": 2, "th": 3}
"""How many characters a piece has; a shorter run is a word as it is."""
_JOINERS = re.compile("[\u200b-\u200d\u2060\ufeff\u00ad]")
_VOWELS = re.compile("[\u0610-\u061a\u0640\u064b-\u065f\u0670]")
_LETTERS = {
    "ar": str.maketrans({"أ": "ا", "إ": "ا", "آ": "ا", "ٱ": "ا", "ى": "ي", "ة": "ه"}),
    "ru": str.maketrans({"ё": "е"}),
}


def normalized(text: str, language: str) -> str:
    """`text` with one form of what is written in several."""
    if text.isascii():
        return text.lower()
    text = _JOINERS.sub("", unicodedata.normalize("NFKC", text)).replace("\u2019", "'").casefold()
    if language == "ar":
        text = _VOWELS.sub("", text)
    # Case folding may take composed letters apart.
    text = unicodedata.normalize("NFC", text)
    return text.translate(_LETTERS[language]) if language in _LETTERS else text


def split(text: str, language: str, end: str) -> list[str]:
    """The words of a normalized text in order; `end`, a character no word holds, is a word of its own."""
    pattern, groups = _pattern(language, end)
    found = pattern.findall(text)
    return ["".join(one) for one in found] if groups else found


@cache
def _pattern(language: str, end: str) -> tuple[re.Pattern[str], bool]:
    """What words look like, and whether it has groups, of which one matches."""
    own = _UNSPACED.get(language)
    letter = rf"(?:[^\W_]|[{_MARKS}])" if own is None else rf"(?:(?![{own}])(?:[^\W_]|[{_MARKS}]))"
    word = rf"\d+(?:\.\d+)+|{letter}+(?:'{letter}+)*"
    if own is None:
        return re.compile(rf"{word}|{end}"), False
    size = _PIECE[language]
    piece = rf"(?=([{own}]{{{size}}}))[{own}]"
    short = rf"(?<![{own}])([{own}]{{1,{size - 1}}})(?![{own}])"
    return re.compile(rf"{piece}|{short}|({word}|{end})"), True
