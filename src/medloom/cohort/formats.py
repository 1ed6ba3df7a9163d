"""Tables that are not text: Excel, SPSS, SAS, Stata and databases. Read whole; nothing is repaired."""

from __future__ import annotations

import os
import sqlite3
from contextlib import closing
from pathlib import Path

import polars as pl

from medloom import find
from medloom.errors import DataError, some

EXCEL = (".xlsx", ".xls", ".xlsb", ".ods")
READERS = {
    ".sav": "read_sav",
    ".zsav": "read_sav",
    ".por": "read_por",
    ".dta": "read_dta",
    ".sas7bdat": "read_sas7bdat",
    ".xpt": "read_xport",
}
SUFFIXES = (*EXCEL, *READERS)
SQLITE = "sqlite:///"


def read(path: Path) -> pl.DataFrame:
    """The table of an Excel, SPSS, SAS or Stata file. Codes stay codes; user-defined missing values are null."""
    frame = _excel(path) if path.suffix.lower() in EXCEL else _statistical(path)
    texts = [name for name, kind in frame.schema.items() if kind == pl.String]
    return frame.with_columns(pl.when(pl.col(name) != "").then(pl.col(name)).alias(name) for name in texts)


def _excel(path: Path) -> pl.DataFrame:
    fastexcel = find.need("fastexcel")
    try:
        sheets = pl.read_excel(path, sheet_id=0, infer_schema_length=None, raise_if_empty=False)
    except (fastexcel.FastExcelError, pl.exceptions.PolarsError) as error:
        raise _broken(path, error) from error
    filled = {name: sheet for name, sheet in sheets.items() if sheet.width}
    if len(filled) != 1:
        raise DataError(f"{path}: found {len(filled)} sheets with a table ({some(list(filled))}); expected one sheet")
    return next(iter(filled.values()))


def _statistical(path: Path) -> pl.DataFrame:
    pyreadstat = find.need("pyreadstat")
    reader = getattr(pyreadstat, READERS[path.suffix.lower()])
    try:
        frame: pl.DataFrame = reader(str(path), output_format="polars")[0]
    except (pyreadstat.ReadstatError, pyreadstat.PyreadstatError, UnicodeDecodeError) as error:
        raise _broken(path, error) from error
    return frame


def _broken(path: Path, error: Exception) -> DataError:
    return DataError(f"{path}: cannot be read as {path.suffix[1:]}: {str(error).splitlines()[0][:160]}")


def read_query(query: str, connection: str, folder: Path) -> pl.DataFrame:
    """The rows that a query gives. `connection` is `sqlite:///file.db` (opened to read only) or `env:NAME`, a variable

    that holds such an address or that of any database which connectorx reads. The address is never shown or kept.
    """
    address = connection
    if connection.startswith("env:"):
        address = os.environ.get(connection.removeprefix("env:"), "")
        if not address:
            raise DataError(f"cohort.connection: the variable {connection.removeprefix('env:')} is not set")
    if address.startswith(SQLITE):
        return _sqlite(query, folder / address.removeprefix(SQLITE), connection)
    find.need("connectorx")
    try:
        return pl.read_database_uri(query, address, engine="connectorx")
    # connectorx raises RuntimeError for all that a database may say; its text may hold the address.
    except (RuntimeError, ValueError, pl.exceptions.PolarsError) as error:
        told = str(error).splitlines()[0][:160] if address not in str(error) else "the database refused"
        raise DataError(f"cohort.query on {connection}: {told}") from None


def _sqlite(query: str, path: Path, connection: str) -> pl.DataFrame:
    if not path.is_file():
        raise DataError(f"cohort.connection {connection}: no such file {path.name}")
    try:
        with closing(sqlite3.connect(f"{path.resolve().as_uri()}?mode=ro", uri=True)) as opened:
            return pl.read_database(query, opened, infer_schema_length=None)
    except (sqlite3.Error, pl.exceptions.PolarsError) as error:
        raise DataError(f"cohort.query on {connection}: {str(error).splitlines()[0][:160]}") from error
