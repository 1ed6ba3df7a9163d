"""Labels stand in sentences as words do."""

import pytest

from medloom.report.words import inside


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
