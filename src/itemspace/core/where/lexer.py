"""Text to tokens, each with its position."""

from __future__ import annotations

import math
import re
from dataclasses import dataclass
from typing import Literal

from itemspace.core.errors import FilterError
from itemspace.core.where.limits import MAX_LENGTH, MAX_NUMBER
from itemspace.core.where.tree import Scalar

TokenKind = Literal["word", "name", "text", "number", "symbol", "end"]

_SPACE = re.compile(r"\s+")
_WORD = re.compile(r"[^\W\d]\w*(\.[^\W\d]\w*)*")
_NUMBER = re.compile(r"[+-]?(\d+(\.\d*)?|\.\d+)([eE][+-]?\d+)?")
_SYMBOL = re.compile(r"<=|>=|<>|!=|==|[=<>(),\[\]]")
_QUOTED = {quote: re.compile(rf"{quote}((?:[^{quote}\\]|\\.|{quote}{quote})*){quote}", re.DOTALL) for quote in "'\""}
_BACKQUOTED = re.compile(r"`((?:[^`]|``)+)`")
_ESCAPE = re.compile(r"\\(.)|(''|\"\")", re.DOTALL)
_ESCAPED = {"n": "\n", "t": "\t", "r": "\r", "\\": "\\", "'": "'", '"': '"'}


@dataclass(frozen=True)
class Token:
    """`text` as typed and, for quoted names, texts and numbers, the `value` it stands for; `at` counts characters."""

    kind: TokenKind
    text: str
    at: int
    value: Scalar = ""

    @property
    def word(self) -> str:
        """A bare word in lower case, else an empty string: how keywords are recognized."""
        return self.text.lower() if self.kind == "word" else ""


def tokenize(source: str) -> list[Token]:
    """The tokens of a filter, ended by one of kind "end".

    Raises:
        FilterError: the filter is too long, or a character or quote makes no sense.
    """
    if len(source) > MAX_LENGTH:
        raise FilterError(
            f"the filter is {len(source):,} characters long; at most {MAX_LENGTH:,} are read. "
            "For a long list of values, pass an expression or a Selection instead of text."
        )
    tokens: list[Token] = []
    at = 0
    while at < len(source):
        space = _SPACE.match(source, at)
        if space:
            at = space.end()
            continue
        token = _next(source, at)
        tokens.append(token)
        at += len(token.text)
    tokens.append(Token("end", "", len(source)))
    return tokens


def _next(source: str, at: int) -> Token:
    character = source[at]
    if character in _QUOTED:
        return _text(source, at, character)
    if character == "`":
        found = _BACKQUOTED.match(source, at)
        if not found:
            raise FilterError("this backquoted name is empty or never ends.", expression=source, position=at)
        return Token("name", found[0], at, found[1].replace("``", "`"))
    number = _NUMBER.match(source, at)
    if number:
        return Token("number", number[0], at, _number(source, at, number[0]))
    word = _WORD.match(source, at)
    if word:
        return Token("word", word[0], at, word[0])
    symbol = _SYMBOL.match(source, at)
    if symbol:
        return Token("symbol", symbol[0], at, symbol[0])
    raise FilterError(f"{character!r} means nothing here.{_hint(character)}", expression=source, position=at)


def _hint(character: str) -> str:
    return {"&": " Write `and`.", "|": " Write `or`.", "!": " Write `not`.", ";": " One filter at a time."}.get(
        character, ""
    )


def _text(source: str, at: int, quote: str) -> Token:
    found = _QUOTED[quote].match(source, at)
    if not found:
        raise FilterError("this text never ends: its closing quote is missing.", expression=source, position=at)

    def replace(match: re.Match[str]) -> str:
        if match[2]:
            # Two quotes in a row stand for one only inside text that uses that quote.
            return quote if match[2][0] == quote else match[2]
        if match[1] not in _ESCAPED:
            raise FilterError(
                rf"`\{match[1]}` is not an escape; write `\\` for a backslash.",
                expression=source,
                position=at + 1 + match.start(),
            )
        return _ESCAPED[match[1]]

    return Token("text", found[0], at, _ESCAPE.sub(replace, found[1]))


def _number(source: str, at: int, text: str) -> int | float:
    if len(text) > MAX_NUMBER:
        raise FilterError(f"this number has more than {MAX_NUMBER} characters.", expression=source, position=at)
    if re.fullmatch(r"[+-]?\d+", text):
        return int(text)
    value = float(text)
    if not math.isfinite(value):
        raise FilterError(f"{text} is too large a number.", expression=source, position=at)
    return value
