"""Stemmers by name."""

from __future__ import annotations

from collections.abc import Callable

from itemspace.index.lexical.porter import porter2


def s_stem(word: str) -> str:
    """Plural endings removed by three rules, the first that applies.

    Source: Harman 1991, "How effective is suffixing?", table 1 (the S stemmer).
    """
    if len(word) <= 3 or not word.endswith("s"):
        return word
    if word.endswith("ies") and word[-4:-3] not in ("e", "a"):
        return word[:-3] + "y"
    if word.endswith("es") and word[-3:-2] not in ("a", "e", "o"):
        return word[:-1]
    return word[:-1] if word[-2] not in ("u", "s") else word


def unchanged(word: str) -> str:
    """The word."""
    return word


STEMMERS: dict[str, Callable[[str], str]] = {"none": unchanged, "s": s_stem, "porter2": porter2}
