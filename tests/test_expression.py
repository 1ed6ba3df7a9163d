"""The language of conditions and summaries: what it says, and where a mistake is."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from medloom.expression import (
    Both,
    Column,
    Compare,
    Either,
    ExpressionError,
    In,
    IsNull,
    Not,
    Summary,
    condition,
    summary,
    text_columns,
)

AGE, WARD = Column("age"), Column("ward")


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("age >= 18", Compare(AGE, ">=", 18.0)),
        ("age<-1.5e2", Compare(AGE, "<", -150.0)),
        ("ward == 'it''s'", None),
        ('ward != "medical"', Compare(WARD, "!=", "medical")),
        ("alive == true", Compare(Column("alive"), "==", True)),
        ("age > ward", Compare(AGE, ">", WARD)),
        ("`first name` is null", IsNull(Column("first name"))),
        ("Größe is not null", Not(IsNull(Column("Größe")))),
        ("ward in ['a', \"b\"]", In(WARD, ("a", "b"))),
        ("ward not in [1, 2]", Not(In(WARD, (1.0, 2.0)))),
        (
            "age > 1 or age > 2 and not age > 3",
            Either(Compare(AGE, ">", 1.0), Both(Compare(AGE, ">", 2.0), Not(Compare(AGE, ">", 3.0)))),
        ),
        (
            "(age > 1 or age > 2) and age > 3",
            Both(Either(Compare(AGE, ">", 1.0), Compare(AGE, ">", 2.0)), Compare(AGE, ">", 3.0)),
        ),
    ],
)
def test_conditions(text, expected):
    if expected is None:
        with pytest.raises(ExpressionError):
            condition(text)
    else:
        assert condition(text) == expected


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("", "at character 1: found the end; expected the name of a column"),
        ("age", "at character 4: found the end; expected a comparison"),
        ("age = 18", "at character 5: found '='; write '=='"),
        ("age == null", "write 'is null'"),
        ("age >= 18 ward == 'a'", "at character 11: found 'ward'; expected 'and', 'or' or the end"),
        ("18 <= age", "at character 1: found '18'; expected the name of a column"),
        ("(age > 1", "at character 9: found the end; expected '\\)'"),
        ("ward == 'a", "at character 9: found a quote that does not close"),
        ("age > 1; drop", "at character 8: found ';', which means nothing here"),
        ("__import__('os')", "expected a comparison"),
        ("age > 1 + 2", "found '\\+', which means nothing here"),
        ("ward in []", "at character 10: found ']'"),
        ("(" * 60 + "age > 1" + ")" * 60, "at most 40 parentheses"),
        ("not " * 60 + "age > 1", "at most 40 parentheses"),
    ],
)
def test_mistakes_have_a_place(text, told):
    with pytest.raises(ExpressionError, match=told):
        condition(text)


@given(st.text(alphabet="age<>=!()[]'\"` andornotisul1.,#", max_size=40))
def test_any_text_is_a_condition_or_an_expression_error(text):
    try:
        list(text_columns(condition(text)))
    except ExpressionError as error:
        assert str(error).startswith("at character")


def test_columns_compared_with_text():
    found = text_columns(condition("a == '1' and not (b in [1] or c in ['x']) or d is null"))
    assert list(found) == ["a", "c"]


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("count()", Summary("count", None, None)),
        ("count(hb)", Summary("count", "hb", None)),
        ("last(hb) by date", Summary("last", "hb", "date")),
        ("max(`C-reactive protein`)", Summary("max", "C-reactive protein", None)),
    ],
)
def test_summaries(text, expected):
    assert summary(text) == expected


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("median(x)", "expected one of count, max"),
        ("max()", "max needs a column"),
        ("max(x) by t", "only first and last go by a column"),
        ("max(x", "expected '\\)'"),
        ("max(max(x))", "expected '\\)'"),
    ],
)
def test_summaries_with_mistakes(text, told):
    with pytest.raises(ExpressionError, match=told):
        summary(text)
