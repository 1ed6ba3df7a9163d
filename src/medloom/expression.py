"""Two small languages of a study file, parsed into plain values: conditions on a row, and summaries of many rows.

A condition: `age >= 18 and not (ward in ["icu", "er"] or lactate is null)`. A summary: `max(crp)`, `count()`,
`last(hb) by date`. Nothing is evaluated here, and nothing else can be said: no calls, no arithmetic, no attributes.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Literal

Value = float | str | bool
Operator = Literal["==", "!=", "<", "<=", ">", ">="]
DEEPEST = 40
"""Parentheses and negations inside one another."""
FUNCTIONS = ("count", "max", "mean", "min", "sum", "first", "last", "since")
WITHOUT_COLUMN = ("count", "since")
ORDERED = ("first", "last")
TOKEN = re.compile(
    r"""(?P<space>\s+)
    |(?P<number>[+-]?(\d+\.?\d*|\.\d+)([eE][+-]?\d+)?(?!\w))
    |(?P<text>"[^"]*"|'[^']*')
    |(?P<quoted>`[^`]+`)
    |(?P<word>[^\W\d]\w*(\.\w+)*)
    |(?P<sign>==|!=|<=|>=|[<>()\[\],=])""",
    re.VERBOSE,
)
WORDS = {"and", "or", "not", "in", "is", "null", "true", "false"}


class ExpressionError(ValueError):
    """What is wrong with an expression, and at which character."""


@dataclass(frozen=True, slots=True)
class Column:
    """A column of the table, by name."""

    name: str


@dataclass(frozen=True, slots=True)
class Compare:
    """A column against a value or another column. Unknown where either is missing."""

    column: Column
    operator: Operator
    other: Value | Column


@dataclass(frozen=True, slots=True)
class In:
    """A column that holds one of these values. Unknown where it is missing."""

    column: Column
    values: tuple[Value, ...]


@dataclass(frozen=True, slots=True)
class IsNull:
    """A column that is missing. Never unknown."""

    column: Column


@dataclass(frozen=True, slots=True)
class Not:
    """The opposite; unknown stays unknown."""

    of: Condition


@dataclass(frozen=True, slots=True)
class Both:
    """`and`: false where one is false, else unknown where one is unknown."""

    left: Condition
    right: Condition


@dataclass(frozen=True, slots=True)
class Either:
    """`or`: true where one is true, else unknown where one is unknown."""

    left: Condition
    right: Condition


Condition = Compare | In | IsNull | Not | Both | Either


@dataclass(frozen=True, slots=True)
class Summary:
    """One number or text from many rows; `since` is the time from the newest of them. `by` is the column that orders them for `first` and `last`."""

    function: str
    column: str | None
    by: str | None


def condition(text: str) -> Condition:
    """The condition that `text` says. Raises ExpressionError with the place of the first mistake."""
    parser = _Parser(text)
    result = parser.either(0)
    parser.end()
    return result


def summary(text: str) -> Summary:
    """The summary that `text` says: `count()`, `max(crp)`, `last(hb) by date`. Raises ExpressionError."""
    parser = _Parser(text)
    result = parser.summary()
    parser.end()
    return result


def columns(of: Condition) -> Iterator[str]:
    """All columns that a condition reads."""
    match of:
        case Compare(Column(name), _, other):
            yield name
            yield from [other.name] if isinstance(other, Column) else []
        case In(Column(name), _) | IsNull(Column(name)):
            yield name
        case Not(inner):
            yield from columns(inner)
        case Both(left, right) | Either(left, right):
            yield from columns(left)
            yield from columns(right)


def text_columns(of: Condition) -> Iterator[str]:
    """Columns that are compared with text, and so have to stay as they are written."""
    match of:
        case Compare(Column(name), _, str()):
            yield name
        case In(Column(name), values) if any(isinstance(value, str) for value in values):
            yield name
        case Not(inner):
            yield from text_columns(inner)
        case Both(left, right) | Either(left, right):
            yield from text_columns(left)
            yield from text_columns(right)


@dataclass(frozen=True, slots=True)
class _Token:
    kind: str
    text: str
    at: int


class _Parser:
    """Reads tokens from left to right, one ahead."""

    def __init__(self, text: str) -> None:
        self._tokens = list(_tokens(text))
        self._place = 0

    @property
    def _next(self) -> _Token:
        return self._tokens[self._place]

    def _take(self) -> _Token:
        token = self._next
        self._place += token.kind != "end"
        return token

    def _is(self, *texts: str) -> bool:
        return self._next.kind in ("word", "sign") and self._next.text in texts

    def _accept(self, text: str) -> bool:
        found = self._is(text)
        if found:
            self._take()
        return found

    def _expect(self, text: str) -> None:
        if not self._accept(text):
            raise self._wrong(f"expected {text!r}")

    def _wrong(self, expected: str) -> ExpressionError:
        token = self._next
        found = "the end" if token.kind == "end" else repr(token.text)
        return ExpressionError(f"at character {token.at + 1}: found {found}; {expected}")

    def end(self) -> None:
        if self._next.kind != "end":
            raise self._wrong("expected 'and', 'or' or the end")

    def either(self, depth: int) -> Condition:
        left = self._both(depth)
        while self._accept("or"):
            left = Either(left, self._both(depth))
        return left

    def _both(self, depth: int) -> Condition:
        left = self._single(depth)
        while self._accept("and"):
            left = Both(left, self._single(depth))
        return left

    def _single(self, depth: int) -> Condition:
        if depth > DEEPEST:
            raise self._wrong(f"expected at most {DEEPEST} parentheses inside one another")
        if self._accept("not"):
            return Not(self._single(depth + 1))
        if self._accept("("):
            inner = self.either(depth + 1)
            self._expect(")")
            return inner
        return self._test()

    def _test(self) -> Condition:
        column = Column(self._column())
        if self._accept("is"):
            opposite = self._accept("not")
            self._expect("null")
            return Not(IsNull(column)) if opposite else IsNull(column)
        opposite = self._accept("not")
        if opposite or self._is("in"):
            self._expect("in")
            found = In(column, self._values())
            return Not(found) if opposite else found
        if self._is("="):
            raise self._wrong("write '==' to compare")
        if not self._is("==", "!=", "<", "<=", ">", ">="):
            raise self._wrong("expected a comparison such as '>= 18', 'in [..]' or 'is null'")
        operator: Operator = self._take().text  # type: ignore[assignment]
        if self._is("null"):
            raise self._wrong("write 'is null' or 'is not null'")
        if self._next.kind == "quoted" or (self._next.kind == "word" and self._next.text not in WORDS):
            return Compare(column, operator, Column(self._column()))
        return Compare(column, operator, self._value())

    def _column(self) -> str:
        token = self._next
        if token.kind == "quoted":
            return self._take().text[1:-1]
        if token.kind == "word" and token.text not in WORDS:
            return self._take().text
        raise self._wrong("expected the name of a column (in `…` where it is no plain word)")

    def _values(self) -> tuple[Value, ...]:
        self._expect("[")
        values = [self._value()]
        while self._accept(","):
            values.append(self._value())
        self._expect("]")
        return tuple(values)

    def _value(self) -> Value:
        token = self._next
        if token.kind == "number":
            return float(self._take().text)
        if token.kind == "text":
            return self._take().text[1:-1]
        if self._is("true", "false"):
            return self._take().text == "true"
        raise self._wrong("expected a number, a text in quotes, true or false")

    def summary(self) -> Summary:
        if self._next.kind != "word" or self._next.text not in FUNCTIONS:
            raise self._wrong(f"expected one of {', '.join(FUNCTIONS)}")
        function = self._take().text
        self._expect("(")
        column = None if self._is(")") else self._column()
        if column is not None and function == "since":
            raise self._wrong("since() goes without a column")
        if column is None and function not in WITHOUT_COLUMN:
            raise self._wrong(f"{function} needs a column, as in {function}(crp)")
        self._expect(")")
        by = None
        if self._is("by"):
            if function not in ORDERED:
                raise self._wrong("only first and last go by a column")
            self._take()
            by = self._column()
        return Summary(function, column, by)


def _tokens(text: str) -> Iterator[_Token]:
    place = 0
    while place < len(text):
        found = TOKEN.match(text, place)
        if found is None:
            unclosed = text[place] in "\"'`"
            why = "a quote that does not close" if unclosed else f"{text[place]!r}, which means nothing here"
            raise ExpressionError(f"at character {place + 1}: found {why}")
        if found.lastgroup != "space":
            yield _Token(str(found.lastgroup), found.group(), place)
        place = found.end()
    yield _Token("end", "", len(text))
