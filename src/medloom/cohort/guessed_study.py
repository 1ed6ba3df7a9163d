"""The study file of a first guess: every line that a person should look at says so."""

from __future__ import annotations

import json
import os
import re
import unicodedata
from collections.abc import Iterator
from itertools import chain, count
from pathlib import Path
from typing import Any

from medloom.cohort.guess import Guess
from medloom.cohort.kinds import FILES, ColumnGuess
from medloom.errors import counted

ALTERED = (
    "rotate_degrees = 10",
    "scale = 0.15",
    "contrast = 0.2",
    "brightness = 0.2",
    "gamma = 0.2",
    "share = 0.7",
)
"""How training images are altered at first."""


def study_toml(found: Guess, name: str, folder: Path | None = None) -> str:
    """A study file with a comment on all that was guessed. The table's path is relative to `folder`.

    Without `folder`, the file is to stand beside the table.
    """
    names = _input_names(found)
    lines = [
        "# A first guess from the table's columns: read every line. `medloom check <this file> --data` checks it.",
        f"name = {_quoted(as_name(name, 'study'))}",
        "",
        *_cohort(found, folder),
        *(line for column in found.files for line in _files(column, names[column.name], found.window_seconds)),
        *_table(found),
        *_target(found, names),
        *_split(found),
    ]
    return "\n".join(lines) + "\n"


def as_name(text: str, otherwise: str) -> str:
    """A text as a name that a study file allows: letters, digits, "_" and "-", beginning with a letter."""
    plain = unicodedata.normalize("NFKD", text).encode("ascii", "ignore").decode()
    plain = re.sub(r"[^A-Za-z0-9_-]+", "-", plain).strip("-_")
    if not plain:
        return otherwise
    return (plain if plain[0].isalpha() else f"{otherwise}-{plain}")[:64]


def _cohort(found: Guess, folder: Path | None) -> Iterator[str]:
    yield "[cohort]"
    if found.path is not None:
        relative = found.path.name if folder is None else Path(os.path.relpath(found.path, folder)).as_posix()
        yield f"table = {_quoted(relative)}      # relative to this file"
    if found.row is not None:
        yield f"row = {_quoted(found.row)}      # check: one id for each row"
    if found.patient is not None:
        yield f"patient = {_quoted(found.patient)}      # check: rows of one patient stay in one part of the split"
    else:
        yield "independent_rows = true      # check: no column of patients was found. If a patient has several rows, give instead:"
        yield '# patient = "<column>"'
    if found.window_seconds is not None:
        yield '# exclude = [{ name = "mixed windows", where = "share < 0.8" }]      # without windows of which the label covers less'
    for column in found.columns:
        if column.kind == "date":
            yield f"# at = {_quoted(column.name)}      # the index time? Nothing at or after it is read as input"


def _input_names(found: Guess) -> dict[str, str]:
    """A name of its own for the input of each column of files."""
    names: dict[str, str] = {}
    for column in found.files:
        plain = as_name(column.name, FILES[column.kind].modality)[:60]
        taken = {"table", *names.values()}
        names[column.name] = next(one for one in chain([plain], (f"{plain}-{n}" for n in count(2))) if one not in taken)
    return names


def _files(column: ColumnGuess, name: str, window_seconds: float | None) -> Iterator[str]:
    """The input of a column of images or signals, of which a row sees a window of so many seconds, or all."""
    what = FILES[column.kind]
    yield from ("", f"[inputs.{name}]", f'modality = "{what.modality}"', f"column = {_quoted(column.name)}")
    yield f"known_before_index = true      # check: was it taken before the prediction is to be made? {_comment(column.reason)}"
    if what.modality == "signal" and window_seconds is not None:
        yield 'segment = ["start_s", "stop_s"]      # the part of the record that a row sees'
        yield f"window_seconds = {window_seconds:g}"
        return
    if what.modality == "signal":
        yield "window_seconds = 10      # check: the stretch that is looked at, several of a longer record"
        return
    if what.dims == 3:
        yield "dims = 3"
        yield 'intensity = "image"      # check: of MR, whose units are arbitrary; of CT, take this line out'
    yield from (
        "",
        f"[inputs.{name}.augment]      # check: take out what would change the answer, such as a size or a shade",
    )
    yield from ALTERED


def _table(found: Guess) -> Iterator[str]:
    """The input of the plain columns; nothing where images or signals are all that there is to learn from."""
    known = {
        found.target,
        found.row,
        found.patient,
        *(one.name for one in found.columns if one.kind == "split" or one in found.files),
    }
    used = [column for column in found.columns if column.used and column.name not in known]
    others = [column for column in found.columns if not column.used and column.name not in known]
    if found.files and not used:
        yield from ("", *map(_column, others)) if others else ()
        return
    yield from ("", "[inputs.table]", 'modality = "table"')
    yield "known_before_index = true      # check: were all of these values known when the prediction is to be made?"
    if not used:
        yield f"exclude = {_list([column.name for column in others])}      # no column was found to learn from"
        yield from map(_column, others)
        return
    yield from ("", "[inputs.table.columns]", *map(_column, used), *map(_column, others))


def _target(found: Guess, names: dict[str, str]) -> Iterator[str]:
    yield from ("", f"[targets.{as_name(found.target, 'target')}]", f'task = "{found.task}"')
    yield f"column = {_quoted(found.target)}"
    if found.task == "segment":
        yield f'input = "{next(iter(names.values()))}"      # check: the image that the masks are drawn on'
        yield _labels(found)
    if found.positive is not None:
        yield f"positive = {_quoted(found.positive)}      # check: the class that is asked for, of {_comment(' and '.join(found.classes))}"
    if found.target_missing:
        yield f"missing = {_list(found.target_missing)}      # check: rows with these have no answer"


def _labels(found: Guess) -> str:
    """The labels, as far as masks were looked at. What they mean is in no file."""
    if not found.labels:
        return "labels = { outline = 1 }      # check: the name of each label, and its value in the masks"
    names = ["outline"] if len(found.labels) == 1 else [f"label_{value}" for value in found.labels]
    pairs = ", ".join(f"{name} = {value}" for name, value in zip(names, found.labels, strict=True))
    return f"labels = {{ {pairs} }}      # check: the names; the values are those in {counted(len(found.masks), 'mask')} that were opened, and 0"


def _split(found: Guess) -> Iterator[str]:
    if found.split is not None:
        yield from ("", "[split]", 'by = "column"      # check: rows of one patient must have one word')
        yield f"column = {_quoted(found.split)}"


def _column(column: ColumnGuess) -> str:
    kind = column.kind if column.kind in ("numeric", "category", "code") else "category"
    missing = f", missing = {_list(column.missing)}" if column.missing else ""
    if column.codes is not None:
        separator = f", separator = {_quoted(column.codes.separator)}" if column.codes.separator else ""
        missing = f", system = {_quoted(column.codes.system)}{separator}{missing}"
    line = f"{_key(column.name)} = {{ kind = {_quoted(kind)}{missing} }}      # {_comment(column.reason)}"
    return line if column.used else f"# {line} Left out ({column.kind})."


def _key(name: str) -> str:
    return name if re.fullmatch(r"[A-Za-z0-9_-]+", name) else _quoted(name)


def _quoted(text: str) -> str:
    return json.dumps(text, ensure_ascii=False).replace("\x7f", "\\u007f")


def _list(values: Any) -> str:
    return "[" + ", ".join(_quoted(v) if isinstance(v, str) else repr(v) for v in values) + "]"


def _comment(text: str) -> str:
    return "".join(c if c.isprintable() else " " for c in text)
