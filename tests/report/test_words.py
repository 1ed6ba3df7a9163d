"""Labels stand in sentences as words do."""

import pytest

from medloom.errors import PATIENT
from medloom.report.words import heading, how_to_read, inside
from tests.cases.answers import forecast_panel


@pytest.mark.parametrize(
    ("label", "told"),
    [
        ("Gradient boosting", "gradient boosting"),
        ("Weighted interval score", "weighted interval score"),
        ("Cox regression", "Cox regression"),
        ("Kaplan-Meier curve for everyone", "Kaplan-Meier curve for everyone"),
        ("Naive Bayes on the intensity", "naive Bayes on the intensity"),
        ("Network + Ridge regression + Cox regression", "network + ridge regression + Cox regression"),
        ("AUROC", "AUROC"),
        ("R² of the rank", "R² of the rank"),
        ("MAE of the median", "MAE of the median"),
        ("Harrell's concordance", "Harrell's concordance"),
    ],
)
def test_a_label_inside_a_sentence(label: str, told: str) -> None:
    assert inside(label) == told


def test_a_part_of_a_report_is_called_by_what_its_rows_are_of(tmp_path) -> None:
    dates = forecast_panel(tmp_path).cohort.unit
    assert (PATIENT.counted(1), dates.counted(1), dates.counted(2)) == (
        "1 patient",
        "1 forecast date",
        "2 forecast dates",
    )
    assert heading(PATIENT) == "Who the patients are" and heading(dates) == "What the rows are"
    told = how_to_read("95 %", "100", dates)
    assert "over forecast dates" in told and told.endswith("No interval speaks of other times or places.")
    assert "patient" not in told and how_to_read("95 %", "100", PATIENT).endswith("patients from elsewhere.")
