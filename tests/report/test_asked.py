import pytest

from medloom.report.asked import question, within
from tests.cases.answers import forecast_panel
from tests.cases.events import cohort_of_events


@pytest.mark.parametrize(
    ("window", "said"),
    [
        ("(0, 48h]", "within 48 hours"),
        ("[0, 1d]", "within 1 day"),
        ("(0, 2.5]", "within 2.5"),
        ("[24h, 48h)", "in [24h, 48h)"),
        ("(0, discharge]", "in (0, discharge]"),
    ],
)
def test_windows_are_told_in_words(window, said):
    assert within(window) == said


def test_an_outcome_of_events_is_asked_for_in_words(tmp_path):
    study = cohort_of_events(tmp_path)
    assert question(study, "soon") == "soon (ill within 15): yes or no?"
    assert question(study, "illness") is None


def test_a_forecast_names_what_is_counted(tmp_path):
    assert question(forecast_panel(tmp_path), "cases") == "cases: what will the next 2 values be?"
