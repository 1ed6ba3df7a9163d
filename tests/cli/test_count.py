"""How far an ingest is, where nobody sits at a terminal."""

from __future__ import annotations

import pytest

from medloom.cli.count import EVERY_SECONDS, lines
from medloom.ingest.source import Counted


def test_a_line_now_and_then(capsys: pytest.CaptureFixture[str]) -> None:
    now = 0.0
    watch = lines(lambda: now)
    for number in range(1, 1001):
        now = number * EVERY_SECONDS / 400
        watch(Counted("headers read", number * 200, 200_000) if number < 900 else Counted("files found", number))
    assert capsys.readouterr().out == "headers read: 80,000 of 200,000\nheaders read: 160,000 of 200,000\n"
    watch = lines(lambda: 0.0)
    watch(Counted("files found", 3))
    assert capsys.readouterr().out == ""
