"""Texts as people compare them: lower case, no accents, nothing but words with one space between."""

from __future__ import annotations

import re
from collections.abc import Sequence

from itemspace.index.lexical.analyze import fold

_BREAK = "\x1e"
_APOSTROPHES = re.compile(r"['\u2019]")
_GAPS = re.compile(rf"(?:[^\w{_BREAK}]|_)+")
_EDGES = re.compile(rf" ?{_BREAK} ?")


def folded(texts: Sequence[str]) -> list[str]:
    """Each text as its words: "Caf\u00e9-Noir  (Men's)" -> "cafe noir mens". One pass over all of them together.

    A word is a run of letters and digits; an apostrophe is dropped, so that "mens" finds "men's".
    """
    if not texts:
        return []
    joined = _BREAK.join(texts)
    if joined.count(_BREAK) != len(texts) - 1:  # a text holds the mark itself
        joined = _BREAK.join([text.replace(_BREAK, " ") for text in texts])
    words = _GAPS.sub(" ", _APOSTROPHES.sub("", fold(joined)))
    return _EDGES.sub(_BREAK, words).strip(" ").split(_BREAK)
