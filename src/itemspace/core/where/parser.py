"""Tokens to an expression tree, by recursive descent: `or` binds least, then `and`, then `not`."""

from __future__ import annotations

from itemspace.core.errors import FilterError
from itemspace.core.where.lexer import Token, tokenize
from itemspace.core.where.limits import MAX_DEPTH, MAX_VALUES
from itemspace.core.where.tree import (
    RESERVED,
    And,
    Between,
    Column,
    Compare,
    Constant,
    Contains,
    Expression,
    In,
    IsNull,
    Not,
    Operator,
    Or,
    Scalar,
    StartsWith,
    Truth,
)

_OPERATORS: dict[str, Operator] = {
    "=": "=",
    "==": "=",
    "!=": "!=",
    "<>": "!=",
    "<": "<",
    "<=": "<=",
    ">": ">",
    ">=": ">=",
}
_FLIPPED: dict[Operator, Operator] = {"=": "=", "!=": "!=", "<": ">", "<=": ">=", ">": "<", ">=": "<="}


def parse_where(source: str) -> Expression:
    """The expression tree of a filter.

    Raises:
        FilterError: it does not parse; the message points at the character and says what was expected.
    """
    return _Parser(source).parse()


class _Parser:
    def __init__(self, source: str) -> None:
        self.source = source
        self.tokens = tokenize(source)
        self.next = 0
        self.depth = 0

    def parse(self) -> Expression:
        if self.ended:
            raise FilterError(
                "the filter is empty. Leave it out, or write one such as: price < 80 and in_stock", position=0
            )
        found = self.any_of()
        if not self.ended:
            raise self.unexpected("`and`, `or` or the end")
        return found

    # The token at hand.

    @property
    def token(self) -> Token:
        return self.tokens[self.next]

    @property
    def ended(self) -> bool:
        return self.token.kind == "end"

    def take(self) -> Token:
        token = self.token
        self.next += token.kind != "end"
        return token

    def accept(self, *texts: str) -> bool:
        """Step over the given words or symbols if they come next, all of them."""
        for offset, text in enumerate(texts):
            token = self.tokens[min(self.next + offset, len(self.tokens) - 1)]
            if token.word != text and not (token.kind == "symbol" and token.text == text):
                return False
        self.next += len(texts)
        return True

    def expect(self, text: str) -> None:
        if not self.accept(text):
            raise self.unexpected(f"`{text}`")

    def error(self, problem: str, at: int | None = None) -> FilterError:
        return FilterError(problem, expression=self.source, position=self.token.at if at is None else at)

    def unexpected(self, wanted: str) -> FilterError:
        token = self.token
        got = "the filter ends" if token.kind == "end" else f"got `{token.text[:40]}`"
        hint = ""
        if token.word in ("like", "ilike", "similar", "regexp"):
            hint = " There are no patterns; write `contains` or `starts with`."
        return self.error(f"expected {wanted}, but {got}.{hint}")

    # The grammar, loosest first.

    def any_of(self) -> Expression:
        at = self.token.at
        terms = [self.all_of()]
        while self.accept("or"):
            terms.append(self.all_of())
        return terms[0] if len(terms) == 1 else Or(tuple(terms), at=at)

    def all_of(self) -> Expression:
        at = self.token.at
        terms = [self.one()]
        while self.accept("and"):
            terms.append(self.one())
        return terms[0] if len(terms) == 1 else And(tuple(terms), at=at)

    def one(self) -> Expression:
        at = self.token.at
        self.depth += 1
        if self.depth > MAX_DEPTH:
            raise self.error(f"parentheses and `not`s are nested more than {MAX_DEPTH} deep.")
        try:
            if self.accept("not"):
                return Not(self.one(), at=at)
            if self.accept("("):
                found = self.any_of()
                self.expect(")")
                return found
            return self.test()
        finally:
            self.depth -= 1

    def test(self) -> Expression:
        token = self.token
        if token.word == "contains" and self.tokens[self.next + 1].text == "(":
            return self.contains_call()
        if token.kind in ("text", "number"):
            return self.value_first()
        if token.word in ("true", "false"):
            return self.constant_first()
        column, at = self.column(), token.at
        if self.accept("is"):
            negated = self.accept("not")
            self.expect("null")
            return self.negated(IsNull(column, at=at), negated)
        if self.token.kind == "symbol" and self.token.text in _OPERATORS:
            return Compare(column, _OPERATORS[self.take().text], self.operand(), at=at)
        negated = self.accept("not")
        found = self.column_test(column, at)
        if found is not None:
            return self.negated(found, negated)
        if negated:
            raise self.unexpected("`in`, `between`, `contains` or `starts with` after `not`")
        if self.token.word == "like" or self.token.kind in ("text", "number", "name"):
            raise self.unexpected("a comparison (=, <, in, is null, ...)")
        return Truth(column, at=at)

    def column_test(self, column: str, at: int) -> Expression | None:
        if self.accept("in"):
            return In(column, self.values(), at=at)
        if self.accept("between"):
            low = self.scalar()
            self.expect("and")
            return Between(column, low, self.scalar(), at=at)
        if self.accept("contains"):
            return Contains(column, self.scalar(), at=at)
        if self.accept("starts", "with"):
            return StartsWith(column, self.text(), at=at)
        return None

    def contains_call(self) -> Expression:
        at = self.take().at
        self.expect("(")
        column = self.column()
        self.expect(",")
        value = self.scalar()
        self.expect(")")
        return Contains(column, value, at=at)

    def value_first(self) -> Expression:
        """`80 > price`, `'red' in colors`, `'red' not in colors`."""
        at = self.token.at
        value = self.scalar()
        if self.token.kind == "symbol" and self.token.text in _OPERATORS:
            operator = _FLIPPED[_OPERATORS[self.take().text]]
            return Compare(self.column(), operator, value, at=at)
        negated = self.accept("not")
        if not self.accept("in"):
            raise self.unexpected("a comparison or `in` after a value")
        return self.negated(Contains(self.column(), value, at=at), negated)

    def constant_first(self) -> Expression:
        """`true` by itself, or as a value that comes first: `true = in_stock`, `true in flags`."""
        following = self.tokens[self.next + 1]
        if following.word in ("in", "not") or (following.kind == "symbol" and following.text in _OPERATORS):
            return self.value_first()
        token = self.take()
        return Constant(token.word == "true", at=token.at)

    @staticmethod
    def negated(found: Expression, negated: bool) -> Expression:
        return Not(found, at=found.at) if negated else found

    # Names and values.

    def column(self) -> str:
        token = self.token
        if token.kind == "name" or (token.kind == "word" and token.word not in RESERVED):
            self.take()
            return str(token.value)
        if token.word in RESERVED:
            raise self.error(
                f"expected a column, but got `{token.text}`. For a column of that name write `` `{token.text}` ``."
            )
        raise self.unexpected("a column")

    def operand(self) -> Scalar | Column:
        token = self.token
        if token.kind == "name" or (token.kind == "word" and token.word not in RESERVED):
            self.take()
            return Column(str(token.value))
        return self.scalar()

    def scalar(self) -> Scalar:
        token = self.token
        if token.kind in ("text", "number"):
            return self.take().value
        if token.word in ("true", "false"):
            return self.take().word == "true"
        if token.word == "null":
            raise self.error("nothing equals null; write `is null` or `is not null`.")
        if token.kind == "word":
            raise self.error(
                f"expected a value, but got `{token.text[:40]}`. Text goes in quotes: '{token.text[:40]}'."
            )
        raise self.unexpected("a value (a number, quoted text, true or false)")

    def text(self) -> str:
        if self.token.kind != "text":
            raise self.unexpected("quoted text")
        return str(self.take().value)

    def values(self) -> tuple[Scalar, ...]:
        opened = self.token.text
        if not self.accept("(") and not self.accept("["):
            raise self.unexpected("a list of values in parentheses")
        closing = ")" if opened == "(" else "]"
        found: list[Scalar] = []
        while not self.accept(closing):
            if found:
                self.expect(",")
            found.append(self.scalar())
            if len(found) > MAX_VALUES:
                raise self.error(f"a list holds at most {MAX_VALUES:,} values.")
        return tuple(found)
