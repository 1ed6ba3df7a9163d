"""Writes docs/reference/study.md and ingest.md from the pydantic models, contracts.md from the contracts, and estimators.md.

`make docs` runs it; `python docs/generate.py FOLDER` writes into another folder, for the test that compares.
"""

from __future__ import annotations

import inspect
import json
import re
import sys
import types
import typing
from collections.abc import Iterable
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import BaseModel
from pydantic.fields import FieldInfo
from pydantic_core import PydanticUndefined

from medloom import estimators, find
from medloom.ingest.mapping import EventPart, LookupPart, Mapping, TablePart, read_mapping, shipped
from medloom.ingest.source import EventOptions
from medloom.modality import Modality
from medloom.study import Study
from medloom.task import Task

HERE = Path(__file__).parent
WRITTEN = "<!-- Written by docs/generate.py; change the source that it is read from, and run `make docs`. -->\n"
STUDY = """\
# Study file

A study file is TOML. Every key that it may hold is here; any other key is an error that names the nearest one.
`medloom check study.toml` prints the whole study with every default; on the command line, `train.minutes=5` after the
study's name changes a key. `medloom schema` prints the same as JSON Schema for editors.

A value with no default has to be given.
"""
CONTRACTS = """\
# Contracts

What a modality and a task have to give. *Required* methods are abstract; the others have a default that fits most.
[Extending](../explanation/extending.md) shows how they come together.
"""


ESTIMATORS = """\
# Estimators

For notebooks: `from medloom.estimators import MedloomClassifier`. They follow scikit-learn, and what they fitted is an
ordinary bundle. [From a data frame to a report](../tutorials/notebook.md) goes through them.
"""


INGEST = """\
# Sources and mappings

`medloom ingest SOURCE --to store/ [key=value …]` reads a source into a store. What kind of source it is, is seen from
what lies there, or said with `--as`. Any other key is an error that names the nearest one.
[Ingest events](../how-to/ingest-events.md) and [From a folder of DICOM](../how-to/from-a-folder-of-dicom.md) go through it.
"""
LANGUAGE = """\
## The language of mappings

A mapping is a TOML file that says what the tables of a source mean as events. It names columns and writes codes; it
computes nothing. Every mistake in it is named at once, and so is every column that is not in the tables. Names of
tables and columns are the same in upper and lower case. A table is a file, or a folder of parts, CSV, TSV, Parquet or
Arrow, text also as .gz, anywhere in SOURCE.

A *template* is text with columns in braces, as `icd{icd_version}:{icd_code}`. A template of which a column is empty is
empty itself. `{lookup.column}` is a column that is looked up.
"""


def study_page() -> str:
    """Every section of a study file, and the options of every modality and task."""
    parts = [WRITTEN, STUDY, "## Top level\n", table(Study, skip=sections())]
    for name, model in sections().items():
        parts += [f"## `[{name}]`\n", first_line(model), "", table(model)]
        parts += below(name, model)
    parts += ["## `[inputs.<name>]`\n", "Any name; `modality` decides which further keys there are.\n"]
    for name in find.modalities():
        parts += part_of("modality", name, find.modality(name).Options)
    parts += ["## `[targets.<name>]`\n", "Any name; `task` decides which further keys there are.\n"]
    for name in find.tasks():
        parts += part_of("task", name, find.task(name).Options)
    return "\n".join(parts)


def below(path: str, model: type[BaseModel]) -> list[str]:
    """The sections inside a section, and those inside them."""
    parts = []
    for key, field in model.model_fields.items():
        for inner in inner_models(field.annotation):
            origins = {typing.get_origin(one) for one in (field.annotation, *typing.get_args(field.annotation))}
            here = f"{path}.{key}.<name>" if dict in origins else f"{path}.{key}"
            heading = f"[[{here}]]" if tuple in origins and dict not in origins else f"[{here}]"
            parts += [f"### `{heading}`\n", first_line(inner), "", table(inner), *below(here, inner)]
    return parts


def sections() -> dict[str, type[BaseModel]]:
    """The sections of a study with keys of their own: cohort, split, model, …"""
    kinds = {name: key.annotation for name, key in Study.model_fields.items()}
    return {n: k for n, k in kinds.items() if isinstance(k, type) and issubclass(k, BaseModel)}


def part_of(room: str, name: str, model: type[BaseModel]) -> list[str]:
    """The keys of one modality or task, and tables of the models that they hold."""
    text = [f'### `{room} = "{name}"`\n', table(model)]
    for key, field in model.model_fields.items():
        for inner in inner_models(field.annotation):
            text += [f'#### `{key}` of `{room} = "{name}"`\n', first_line(inner), "", table(inner)]
    return text


def inner_models(annotation: Any) -> Iterable[type[BaseModel]]:
    """Models inside an annotation, such as the columns of a table."""
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        yield annotation
    for argument in typing.get_args(annotation):
        yield from inner_models(argument)


def table(model: type[BaseModel], skip: Iterable[str] = ()) -> str:
    """A table of the keys of a model."""
    rows = [
        f"| `{name}` | {kind(field)} | {default(field)} | {cell(field.description or '')} |"
        for name, field in model.model_fields.items()
        if name not in {*skip, "inputs", "targets", "modality", "task"}
    ]
    return "\n".join(["| key | type | default | meaning |", "| --- | --- | --- | --- |", *rows, ""])


def kind(field: FieldInfo) -> str:
    """The type of a key in words, with its limits."""
    limits = [limit for limit in map(limit_of, field.metadata) if limit]
    return cell(", ".join([words(field.annotation), *limits]))


def words(annotation: Any) -> str:
    """An annotation in words."""
    if typing.get_origin(annotation) is Annotated:
        inner, *metadata = typing.get_args(annotation)
        nested = [m for item in metadata for m in (item.metadata if isinstance(item, FieldInfo) else [item])]
        return ", ".join([words(inner), *filter(None, map(limit_of, nested))])
    origin, arguments = typing.get_origin(annotation), typing.get_args(annotation)
    if origin is Literal:
        return " or ".join(f"`{json.dumps(value)}`" for value in arguments)
    if origin in (typing.Union, types.UnionType):
        return " or ".join(words(argument) for argument in arguments if argument is not type(None))
    if origin is tuple:
        many = len(arguments) == 2 and arguments[1] is Ellipsis
        return f"list of {words(arguments[0])}" if many else "[" + ", ".join(map(words, arguments)) + "]"
    if origin is dict:
        return f"table of {words(arguments[1])}"
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        return "keys below"
    return {str: "text", int: "whole number", float: "number", bool: "true or false", Path: "file"}.get(
        annotation, str(annotation)
    )


def limit_of(limit: Any) -> str:
    """A limit of pydantic or annotated-types in words; empty where it says nothing to a reader."""
    signs = {"ge": "≥", "gt": ">", "le": "≤", "lt": "<"}
    for name, sign in signs.items():
        if getattr(limit, name, None) is not None:
            return f"{sign} {getattr(limit, name):,}"
    fewest = getattr(limit, "min_length", None)
    return {None: "", 1: "not empty"}.get(fewest, f"at least {fewest}")


def default(field: FieldInfo) -> str:
    """The default as it would stand in a study file."""
    value = field.get_default(call_default_factory=True)
    if value is PydanticUndefined:
        return "**required**"
    if value is None:
        return "–"
    if isinstance(value, BaseModel):
        return "as below"
    return f"`{json.dumps(list(value) if isinstance(value, tuple) else value, ensure_ascii=False)}`"


def cell(text: str) -> str:
    """Text that can stand in a cell of a table."""
    return re.sub(r"<(\w+)>", r"&lt;\1&gt;", text.replace("|", "\\|").replace("\n", " "))


def first_line(thing: Any) -> str:
    """The first paragraph of a docstring, in one line."""
    return " ".join((inspect.getdoc(thing) or "").split("\n\n")[0].split())


def contracts_page() -> str:
    """The methods of Modality and Task, in the order in which they stand."""
    parts = [WRITTEN, CONTRACTS]
    for contract in (Modality, Task):
        parts += [f"## {contract.__name__}\n", first_line(contract), "", "| method | | gives |", "| --- | --- | --- |"]
        for name, member in vars(contract).items():
            if not name.startswith("_") and (isinstance(member, classmethod) or inspect.isfunction(member)):
                function = member.__func__ if isinstance(member, classmethod) else member
                required = "required" if name in contract.__abstractmethods__ else ""
                parts.append(f"| `{name}({arguments(function)})` | {required} | {cell(first_line(function))} |")
        parts.append("")
    return "\n".join(parts)


def estimators_page() -> str:
    """Every estimator: what it is, its parameters with their defaults, and its methods."""
    parts = [WRITTEN, ESTIMATORS]
    for name in estimators.__all__:
        estimator = getattr(estimators, name)
        parts += [f"## `{name}`\n", inspect.getdoc(estimator) or "", "", "| parameter | default |", "| --- | --- |"]
        parts += [f"| `{one.name}` | `{one.default!r}` |" for one in inspect.signature(estimator).parameters.values()]
        parts += ["", "| method | gives |", "| --- | --- |"]
        for method, member in vars(estimator).items():
            if inspect.isfunction(member) and not method.startswith("_"):
                parts.append(f"| `{method}({arguments(member)})` | {cell(first_line(member))} |")
        parts.append("")
    return "\n".join(parts)


def ingest_page() -> str:
    """The options of every kind of source, the language of mappings, and the mappings that are shipped."""
    parts = [WRITTEN, INGEST, "## Options of every source of events\n", table(EventOptions)]
    shared = set(EventOptions.model_fields)
    for name in find.sources():
        source = find.source(name)
        own = set(source.Options.model_fields) - shared
        options = (
            [table(source.Options, skip=shared if issubclass(source.Options, EventOptions) else ())] if own else []
        )
        parts += [f"## `--as {name}`\n", first_line(source), "", *options]
    parts.append(LANGUAGE)
    for title, model in (
        ("Top level", Mapping),
        ("`[lookups.<name>]`", LookupPart),
        ("`[[tables]]`", TablePart),
        ("`[[tables.events]]`", EventPart),
    ):
        parts += [f"### {title}\n", first_line(model), "", table(model)]
    parts += ["## Shipped mappings\n", "| `--as` | of | tried on real data | tables |", "| --- | --- | --- | --- |"]
    for name in shipped():
        one = read_mapping(name)
        tables = ", ".join(f"`{part.table}`" for part in one.tables)
        parts.append(f"| `{name}` | {one.title} | {'yes' if one.tried_on_real_data else 'no'} | {tables} |")
    return "\n".join(parts)


def arguments(function: Any) -> str:
    """Names of the arguments, without self and cls."""
    return ", ".join(name for name in inspect.signature(function).parameters if name not in {"self", "cls"})


def main(folder: Path = HERE / "reference") -> None:
    """Writes the pages, where they changed."""
    pages = {
        "study.md": study_page(),
        "contracts.md": contracts_page(),
        "estimators.md": estimators_page(),
        "ingest.md": ingest_page(),
    }
    for name, text in pages.items():
        path = folder / name
        text = text.rstrip() + "\n"
        if not path.exists() or path.read_text(encoding="utf-8") != text:
            path.write_text(text, encoding="utf-8")


if __name__ == "__main__":
    main(*map(Path, sys.argv[1:2]))
