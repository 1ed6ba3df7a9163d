"""Forecasts have no patients: what is said of them speaks of periods."""

from medloom.evaluation.intervals import Estimate
from medloom.report.section import Led, Paragraph, Section, Table
from medloom.report.who import Who
from tests.cases.answers import forecast_panel

PERIODS = Who("period", "periods")


def test_texts_of_a_report_speak_of_periods_throughout():
    section = Section(
        "key",
        "patients",
        "Too few patients",
        (
            Paragraph(Led("Patients' rows; each patient once.", (("patients", "Who"),))),
            Table("of 8 patients", ("Patients", "patient_id"), (("a", Estimate(0.5, note="only 3 patients: rough")),)),
        ),
    )
    told = PERIODS.throughout(section)
    assert told.title == "Too few periods" and (told.key, told.chapter) == ("key", "patients")
    paragraph, table = told.pieces
    assert paragraph.text.text == "Periods' rows; each period once." and paragraph.text.places == (("patients", "Who"),)
    assert table.head == ("Periods", "patient_id") and table.rows[0][1].note == "only 3 periods: rough"
    assert Who().throughout(section) is section


def test_a_column_that_counts_patients_keeps_its_name(tmp_path):
    study = forecast_panel(tmp_path)
    assert Who.of(study) == Who("forecast date", "forecast dates")
    named = study.cohort.model_copy(update={"panel": study.cohort.panel.model_copy(update={"value": "patients"})})
    assert Who.of(study.model_copy(update={"cohort": named})) == Who()
