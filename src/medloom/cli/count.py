"""How far an ingest is: a bar on a terminal, a plain line now and then otherwise; then what was found."""

from __future__ import annotations

import sys
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from medloom.ingest.door import ingest
from medloom.ingest.source import Counted, Watch

EVERY_SECONDS = 30.0
"""Time between two plain lines: a log of hours stays short, and a short ingest writes none."""


def ingest_counted(source: Path, to: Path, kind: str | None, options: Mapping[str, Any]) -> None:
    """Ingests, says meanwhile how far it is, and prints what was found. Raises StudyError and DataError."""
    with _watched() as watch:
        made = ingest(source, to, kind, options, watch)
    print("\n".join(made.lines))


@contextmanager
def _watched() -> Iterator[Watch]:
    if not sys.stdout.isatty():
        yield lines(time.monotonic)
        return
    from rich.progress import BarColumn, Progress, TextColumn, TimeElapsedColumn

    columns = (TextColumn("{task.fields[told]}"), BarColumn(), TimeElapsedColumn())
    with Progress(*columns, transient=True) as bar:
        task = bar.add_task("", total=None, told="")

        def watch(now: Counted) -> None:
            bar.update(task, completed=now.done, total=now.of, told=_words(now))

        yield watch


def lines(clock: Callable[[], float]) -> Watch:
    """Prints how far it is where `EVERY_SECONDS` of this clock went by since the last line, or since the beginning."""
    last = clock()

    def watch(now: Counted) -> None:
        nonlocal last
        if clock() - last >= EVERY_SECONDS:
            last = clock()
            print(_words(now), flush=True)

    return watch


def _words(now: Counted) -> str:
    return f"{now.what}: {now.done:,}" + ("" if now.of is None else f" of {now.of:,}")
