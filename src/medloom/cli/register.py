"""What `medloom register` prints."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from pathlib import Path

import typer

from medloom.registering import register


def registered(
    moving: Path,
    fixed: Sequence[Path],
    out: Path,
    mask: Path | None,
    points: Path | None,
    bundle: Path | None,
    similarity: str,
    start: str,
) -> None:
    """Registers, and prints the figures of each fixed image."""
    choices = {"--similarity": (similarity, ("lncc", "mind")), "--start": (start, ("header", "centre"))}
    for option, (found, expected) in choices.items():
        if found not in expected:
            typer.echo(f"{option}: found {found!r}; expected {' or '.join(expected)}", err=True)
            sys.exit(2)
    told = register(moving, fixed, out, mask=mask, points=points, bundle=bundle, similarity=similarity, start=start)  # type: ignore[arg-type]
    for one in told:
        typer.echo(
            f"{one['fixed']}: likeness {one['likeness_before']:.3f} → {one['likeness']:.3f}, "
            f"moved by {one['displacement_mean']:.2f} {one['unit']} on average and {one['displacement_most']:.2f} at most, "
            f"{one['folded_share']:.3%} of voxels fold, there and back misses by {one['inverse_error_voxels']:.2f} voxels"
        )
        if "landmarks" in one:
            missed = one["landmarks"]
            interval = "" if missed["low"] is None else f" ({missed['low']:.2f} to {missed['high']:.2f})"
            typer.echo(
                f"  {missed['points']} landmarks: missed by {missed['before']:.2f} → {missed['after']:.2f} {missed['unit']}"
                f"{interval} on average, {missed['most']:.2f} at most"
            )
        for volume in one.get("volumes", ()):
            typer.echo(
                f"  label {volume['label']}: {volume['before']:.3f} → {volume['after']:.3f} {volume['unit']} "
                f"({volume['change']:+.3f} {volume['unit']}, {volume['change_percent']:+.1f} %)"
            )
    typer.echo(f"→ {out.resolve()}")
