"""Porter's second English stemmer, written from its published description.

Source: Porter 2001, "The English (Porter2) stemming algorithm", snowballstem.org. Regions and steps are named as there.
"""

from __future__ import annotations

import re

_VOWELS = "aeiouy"
_R = re.compile(r"[aeiouy][^aeiouy]")
_HAS_VOWEL = re.compile(r"[aeiouy]")
_DOUBLES = ("bb", "dd", "ff", "gg", "mm", "nn", "pp", "rr", "tt")
_EXCEPTIONS = {
    "skis": "ski",
    "skies": "sky",
    "dying": "die",
    "lying": "lie",
    "tying": "tie",
    "idly": "idl",
    "gently": "gentl",
    "ugly": "ugli",
    "early": "earli",
    "only": "onli",
    "singly": "singl",
    **{word: word for word in ("sky", "news", "howe", "atlas", "cosmos", "bias", "andes")},
}
_AFTER_STEP_1A = frozenset(["inning", "outing", "canning", "herring", "earring", "proceed", "exceed", "succeed"])
_STEP_2 = (
    ("ization", "ize"),
    ("ational", "ate"),
    ("ousness", "ous"),
    ("iveness", "ive"),
    ("fulness", "ful"),
    ("tional", "tion"),
    ("biliti", "ble"),
    ("lessli", "less"),
    ("entli", "ent"),
    ("ation", "ate"),
    ("alism", "al"),
    ("aliti", "al"),
    ("ousli", "ous"),
    ("iviti", "ive"),
    ("fulli", "ful"),
    ("enci", "ence"),
    ("anci", "ance"),
    ("abli", "able"),
    ("izer", "ize"),
    ("ator", "ate"),
    ("alli", "al"),
    ("bli", "ble"),
    ("ogi", "og"),
    ("li", ""),
)
_STEP_3 = (
    ("ational", "ate"),
    ("tional", "tion"),
    ("alize", "al"),
    ("icate", "ic"),
    ("iciti", "ic"),
    ("ative", ""),
    ("ical", "ic"),
    ("ness", ""),
    ("ful", ""),
)
_STEP_4 = tuple(
    sorted(
        [
            "al",
            "ance",
            "ence",
            "er",
            "ic",
            "able",
            "ible",
            "ant",
            "ement",
            "ment",
            "ent",
            "ism",
            "ate",
            "iti",
            "ous",
            "ive",
            "ize",
            "ion",
        ],
        key=len,
        reverse=True,
    )
)


def porter2(word: str) -> str:
    """The stem of a lower-case word; words of other alphabets than a-z are returned as they are."""
    if len(word) <= 2 or not word.isascii() or not word.isalpha():
        return word
    if word in _EXCEPTIONS:
        return _EXCEPTIONS[word]
    word = _marked(word)
    r1, r2 = _regions(word)
    word = _step_1a(word)
    if word in _AFTER_STEP_1A:
        return word
    word = _step_1b(word, r1)
    if len(word) > 2 and word[-1] in "yY" and word[-2] not in _VOWELS:
        word = word[:-1] + "i"
    word = _step_2(word, r1)
    word = _step_3(word, r1, r2)
    word = _step_4(word, r2)
    return _step_5(word, r1, r2).lower()


def _marked(word: str) -> str:
    """A y that is a consonant (first, or after a vowel) as Y."""
    out = list(word)
    for at, letter in enumerate(out):
        if letter == "y" and (at == 0 or out[at - 1] in _VOWELS):
            out[at] = "Y"
    return "".join(out)


def _regions(word: str) -> tuple[int, int]:
    """Where R1 and R2 begin: after the first consonant that follows a vowel, and the same again within R1."""
    r1 = next((len(p) for p in ("gener", "commun", "arsen") if word.startswith(p)), -1)
    if r1 < 0:
        found = _R.search(word)
        r1 = found.end() if found else len(word)
    found = _R.search(word, r1)
    return r1, found.end() if found else len(word)


def _step_1a(word: str) -> str:
    if word.endswith("sses"):
        return word[:-2]
    if word.endswith(("ied", "ies")):
        return word[:-2] if len(word) > 4 else word[:-1]
    if word.endswith(("us", "ss")) or not word.endswith("s"):
        return word
    # A vowel must come before the s, but not directly: gaps -> gap, gas stays.
    return word[:-1] if _HAS_VOWEL.search(word[:-2]) else word


def _step_1b(word: str, r1: int) -> str:
    for ending in ("eedly", "eed"):
        if word.endswith(ending):
            return word[: len(word) - len(ending)] + "ee" if len(word) - len(ending) >= r1 else word
    for ending in ("ingly", "edly", "ing", "ed"):
        if word.endswith(ending):
            stem = word[: len(word) - len(ending)]
            if not _HAS_VOWEL.search(stem):
                return word
            if stem.endswith(("at", "bl", "iz")):
                return stem + "e"
            if stem.endswith(_DOUBLES):
                return stem[:-1]
            return stem + "e" if r1 >= len(stem) and _short_syllable(stem) else stem
    return word


def _short_syllable(word: str) -> bool:
    """Whether the word ends in a short syllable."""
    if len(word) == 2:
        return word[0] in _VOWELS and word[1] not in _VOWELS
    return len(word) > 2 and word[-1] not in "aeiouywxY" and word[-2] in _VOWELS and word[-3] not in _VOWELS


def _step_2(word: str, r1: int) -> str:
    for ending, new in _STEP_2:
        if word.endswith(ending):
            stem = word[: len(word) - len(ending)]
            if len(stem) < r1:
                return word
            if ending == "ogi" and not stem.endswith("l"):
                return word
            if ending == "li" and not stem.endswith(tuple("cdeghkmnrt")):
                return word
            return stem + new
    return word


def _step_3(word: str, r1: int, r2: int) -> str:
    for ending, new in _STEP_3:
        if word.endswith(ending):
            start = len(word) - len(ending)
            return word if start < (r2 if ending == "ative" else r1) else word[:start] + new
    return word


def _step_4(word: str, r2: int) -> str:
    for ending in _STEP_4:
        if word.endswith(ending):
            start = len(word) - len(ending)
            if start < r2 or (ending == "ion" and word[start - 1 : start] not in ("s", "t")):
                return word
            return word[:start]
    return word


def _step_5(word: str, r1: int, r2: int) -> str:
    last = len(word) - 1
    if word.endswith("e") and (last >= r2 or (last >= r1 and not _short_syllable(word[:-1]))):
        return word[:-1]
    return word[:-1] if word.endswith("ll") and last >= r2 else word
