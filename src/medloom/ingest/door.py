"""What `medloom ingest` calls: finds the kind of a source, reads its options, and has it ingested."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from pydantic import ValidationError

from medloom import find
from medloom.errors import DataError, StudyError, some
from medloom.ingest.source import Ingested, Watch, unwatched
from medloom.mistakes import problems


def ingest(
    source: Path | str,
    to: Path | str,
    kind: str | None = None,
    options: Mapping[str, Any] | None = None,
    watch: Watch = unwatched,
) -> Ingested:
    """Reads a source into the folder `to`. `kind` is the name of a kind of source or of a shipped mapping; None guesses.
    `watch` is told how far it is.

    Raises StudyError with every mistake of the options, and DataError for what does not fit in the source.
    """
    path, given = Path(source), dict(options or {})
    if not path.exists():
        raise DataError(f"{path}: no such file or folder")
    name = kind or _guessed(path)
    name, given = _by_mapping(name, given)
    found = find.source(name)
    try:
        parsed = found.Options.model_validate(given)
    except ValidationError as error:
        raise StudyError(
            [f"{'.'.join(map(str, where))}: {text}" for where, text in problems(error, found.Options)]
        ) from error
    return found.ingest(path, Path(to), parsed, watch)


def parse_options(words: Sequence[str]) -> dict[str, Any]:
    """`key=value` words; a comma makes a list of a key that stands for several. Raises StudyError."""
    given: dict[str, Any] = {}
    for word in words:
        key, equals, value = word.partition("=")
        if not equals or not key:
            raise StudyError(f"{word!r}: expected key=value, as time=charttime")
        if key in given:
            raise StudyError(f"{key}: stands twice")
        given[key] = value.split(",") if key in ("missing",) else value
    return given


def _by_mapping(name: str, given: dict[str, Any]) -> tuple[str, dict[str, Any]]:
    from medloom.ingest.mapping import shipped

    if name in shipped():
        return "tables", {"mapping": name, **given}
    if name not in find.sources():
        raise StudyError(f"no kind of source {name!r}; {find.near(name, [*find.sources(), *shipped()])}")
    return name, given


def _guessed(path: Path) -> str:
    from medloom.cohort.event_store import is_store
    from medloom.ingest.mapping import nearly, recognised

    found = [name for name in find.sources() if find.source(name).recognises(path)]
    found += recognised(path)
    if len(found) == 1:
        return found[0]
    known = ", ".join(find.sources())
    if found:
        raise DataError(f"{path}: may be {' or '.join(found)}; say which with --as")
    if is_store(path):
        raise DataError(f"{path}: is a store of events already; name it in a study")
    near = "".join(f"; it looks like {one}" for one in nearly(path))
    raise DataError(
        f"{path}: not recognised as any kind of source{near}{_looked(path)}; "
        f"say which with --as: {known}, or the name of a mapping{'' if near else _of_columns(path)}"
    )


def _looked(path: Path) -> str:
    """Where tables of the shipped mappings were looked for in a folder."""
    from medloom.ingest.tables import DEEPEST

    return (
        f"; tables were looked for in it and in folders down to {DEEPEST} below, not in links" if path.is_dir() else ""
    )


def _of_columns(path: Path) -> str:
    """What a table that is not recognised has, and the words by which it is read as one of events."""
    from medloom.ingest.lines import columns_of
    from medloom.ingest.sources.long import tables_of, told_apart

    tables = tables_of(path)
    if not tables:
        return ""
    columns = columns_of(tables[0])
    apart = told_apart(columns)
    todo = f"{apart}, with --as long" if apart else "If they are events: --as long patient=… time=… code=… names them"
    return f". {tables[0].name} has the columns {some(columns, 12)}. {todo}"
