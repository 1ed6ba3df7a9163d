from medloom.audit.finding import Audit, Finding
from medloom.report.sections.audit import of, severe

GRAVE = Finding("copy-of-target", "severe", "column 'x' is the answer", "take it out", "AUROC", 1.0)
LIGHT = Finding("site", "note", "the site tells", "know it", "AUROC", 0.61)


def test_findings_are_told_and_severe_ones_warn():
    audit = Audit((GRAVE, LIGHT), {"rows": 20, "columns": 1}, ("images: no values",))
    section = of(audit)
    assert section.chapter == "trust"
    assert "20 rows, 1 column; 2 found" in section.pieces[0].text
    assert [row[1] for row in section.pieces[1].rows] == ["severe", "note"]
    assert section.pieces[2].items == ("Not looked at: images: no values",)
    assert severe(audit) == ("Leakage audit: column 'x' is the answer. Take it out.",)


def test_nothing_found_is_not_called_proof():
    section = of(Audit((), {"rows": 20}))
    assert "nothing was found" in section.pieces[0].text and "does not prove" in section.pieces[0].text
    assert len(section.pieces) == 1
    assert severe(None) == ()
