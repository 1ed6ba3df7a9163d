import re

from medloom.report.markdown import render
from tests.report.test_kept import CONTENT


def test_says_what_the_page_says():
    text = render(CONTENT)
    assert text.startswith("# A study\n")
    assert "| Network | 0.910 (0.880 to 0.940) | – |" in text
    assert "| Gradient boosting (strongest) | 0.860 (0.820 to 0.900) | +0.050 (+0.020 to +0.080) |" in text
    for piece in (
        "prose",
        "- two",
        "- rows: 20",
        "| men | 0.800 (0.700 to 0.900) |",
        "| 0.100 * | 0.300 (0.100 to 0.500) |",
    ):
        assert piece in text
    assert "p: It falls." in text


def test_tables_have_as_many_cells_in_every_line():
    tables = re.split(r"\n(?!\|)", render(CONTENT))
    lines = [re.findall(r"(?<!\\)\|", line) for block in tables for line in block.splitlines() if line.startswith("|")]
    assert len(lines) > 10
    for block in tables:
        counts = {len(re.findall(r"(?<!\\)\|", line)) for line in block.splitlines() if line.startswith("|")}
        assert len(counts) <= 1, block


def test_names_become_neither_html_nor_cells():
    text = render(CONTENT)
    assert "Will the patient &lt;die>?" in text and "<die>" not in text
