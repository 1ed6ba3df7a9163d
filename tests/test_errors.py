import pytest

from medloom.errors import clause, counted


@pytest.mark.parametrize(
    ("count", "words", "said"),
    [
        (1, ("row",), "1 row"),
        (0, ("row",), "0 rows"),
        (12_345, ("row",), "12,345 rows"),
        (1, ("series", "series"), "1 series"),
    ],
)
def test_nouns_follow_their_number(count, words, said):
    assert counted(count, *words) == said


@pytest.mark.parametrize(
    ("count", "what", "said"),
    [
        (1, "are negative or zero", "1 value is negative or zero"),
        (2, "are negative or zero", "2 values are negative or zero"),
        (1, "hold 3 parts", "1 value holds 3 parts"),
        (1, "cannot be read", "1 value cannot be read"),
    ],
)
def test_verbs_follow_their_number(count, what, said):
    assert clause(count, "value", what) == said
