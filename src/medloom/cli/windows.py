"""A table of windows for people: what was written, and how often each label is in it."""

from __future__ import annotations

from pathlib import Path

import typer

from medloom.errors import counted


def write_windows(
    table: Path,
    column: str,
    annotations: str,
    seconds: float,
    stride: float | None,
    labels: tuple[str, ...],
    otherwise: str | None,
    out: Path,
) -> None:
    """Writes the table of windows beside a count of its labels."""
    from medloom.modalities.signal.annotations import windows_table

    frame = windows_table(table, column, annotations, seconds, stride, labels, otherwise, out)
    typer.echo(f"{out}: {counted(len(frame), 'window')} of {counted(frame[column].n_unique(), 'record')}")
    for label, count in frame["label"].value_counts(sort=True).iter_rows():
        typer.echo(f"  {'(no annotation)' if label is None else label}: {count}")
