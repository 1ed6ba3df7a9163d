from __future__ import annotations

import json

from medloom.audit.finding import Audit, Finding


def test_an_audit_is_json_and_sentences() -> None:
    one = Finding("site", "severe", "hospital tells death", "judge by site", "AUROC", 0.97, ("hospital",), rows=12)
    note = Finding("row-order", "note", "rows are sorted", "nothing", "AUROC", 0.9, row_ids=("r1",))
    audit = Audit((one, note), {"rows": 1200}, ("chosen columns",))
    plain = json.loads(json.dumps(audit.plain()))
    assert plain["findings"][0]["called"] == "the site tells the answer"
    assert audit.severe == (one,)
    text = "\n".join(audit.lines())
    assert "1,200 rows: 2 findings" in text and "→ judge by site" in text and "(rows r1)" in text
    alike = Finding(
        "copied-records",
        "severe",
        "copies",
        "keep one",
        "pairs",
        7,
        row_ids=("a0",),
        pairs=tuple((f"a{n}", f"b{n}") for n in range(7)),
    )
    told = Audit((alike,), {"rows": 9}).lines()
    assert (
        "    a4 = b4" in told
        and "    and 2 more: --ids --json has them" in told
        and not any("rows a0" in line for line in told)
    )
    assert Audit((), {"rows": 5}).lines() == ["looked at 5 rows: no findings"]
