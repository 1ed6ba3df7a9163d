"""Predictions and explanations of a file of any size, block after block, written whole or not at all."""

from __future__ import annotations

import shutil
import tempfile
from collections.abc import Iterable
from pathlib import Path

import polars as pl

from medloom.bundle import OnProblem
from medloom.embedding import embed
from medloom.errors import StudyError
from medloom.run import explain, predict


def predict_file(bundle: Path, data: Path, out: Path, problems: OnProblem, folder: Path | None) -> int:
    """Writes the predictions of `data` to `out`; returns the number of rows. Memory does not grow with the file."""
    _named(out)
    masks = out.with_name(out.stem + "-masks")
    return _written(predict(bundle, data, problems=problems, folder=folder, masks=masks), out)


def explain_file(bundle: Path, data: Path, out: Path, problems: OnProblem, folder: Path | None) -> int:
    """Writes what the answers of `data` rest on to `out`, maps over images beside it; returns the number of lines."""
    _named(out)
    maps = out.with_name(out.stem + "-maps")
    return _written(explain(bundle, data, problems=problems, folder=folder, maps=maps), out)


def embed_file(bundle: Path, data: Path, out: Path, problems: OnProblem, folder: Path | None) -> int:
    """Writes the vectors of the rows of `data` to `out`; returns the number of rows."""
    _named(out)
    return _written(embed(bundle, data, problems=problems, folder=folder), out)


def _named(out: Path) -> None:
    if out.suffix not in (".parquet", ".csv"):
        raise StudyError(f"--out {out}: expected a name that ends in .parquet or .csv")


def _written(blocks: Iterable[pl.DataFrame], out: Path) -> int:
    """The blocks as one file; the number of their rows."""
    out.parent.mkdir(parents=True, exist_ok=True)
    parts = Path(tempfile.mkdtemp(prefix=f".{out.name}.", dir=out.parent))
    rows = 0
    try:
        for number, block in enumerate(blocks):
            block.write_parquet(parts / f"{number:08d}.parquet")
            rows += len(block)
        whole = pl.scan_parquet(parts / "*.parquet")
        partial = parts / f"whole{out.suffix}"
        whole.sink_parquet(partial) if out.suffix == ".parquet" else whole.sink_csv(partial)
        partial.replace(out)
    finally:
        shutil.rmtree(parts, ignore_errors=True)
    return rows
