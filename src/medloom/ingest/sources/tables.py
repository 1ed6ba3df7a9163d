"""Tables of any source, by a mapping that says what they mean: a shipped one by its name, or a file."""

from __future__ import annotations

from functools import partial
from pathlib import Path

from pydantic import Field

from medloom.ingest.mapping import read_mapping
from medloom.ingest.source import EventOptions, EventSource, OpenedEvents
from medloom.ingest.tables import blocks, facts, open_tables


class TablesOptions(EventOptions):
    """Options of tables with a mapping."""

    mapping: str = Field(description="name of a shipped mapping (omop, mimic-iv, eicu, claims), or a TOML file")


class Tables(EventSource):
    """A folder of tables, CSV, TSV, Parquet or Arrow, text also as .gz."""

    Options = TablesOptions

    @staticmethod
    def recognises(path: Path) -> bool:
        """Never by itself: the shipped mappings are recognised by their tables."""
        return False

    @staticmethod
    def opened(path: Path, options: TablesOptions) -> OpenedEvents:
        """The tables that the mapping names."""
        mapping = read_mapping(options.mapping)
        opened = open_tables(path, mapping)
        return OpenedEvents("tables", opened.files, partial(blocks, opened), facts(opened), mapping.shifted_dates)
