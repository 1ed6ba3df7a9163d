"""A study as text: the study file itself, JSON for bundles, and the JSON Schema for editors."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from medloom import find
from medloom.study import Study

SQLITE = "sqlite:///"


def dump_json(study: Study) -> str:
    """The whole study, defaults included, as JSON."""
    return json.dumps(study.model_dump(mode="json"), indent=2) + "\n"


def dump_toml(study: Study) -> str:
    """The whole study, defaults included, as a study file. `make(tomllib.loads(...))` gives it back."""
    plain = study.model_dump(mode="json", exclude_none=True)
    lines = [f"{key} = {_value(value)}" for key, value in plain.items() if not isinstance(value, dict)]
    for key, value in plain.items():
        if isinstance(value, dict):
            lines += _section((key,), value)
    return "\n".join(lines) + "\n"


def _section(path: tuple[str, ...], values: Mapping[str, Any]) -> list[str]:
    tables = {key: value for key, value in values.items() if isinstance(value, dict)}
    flat = all(not isinstance(item, dict) for value in tables.values() for item in value.values())
    inline = bool(tables) and len(tables) == len(values) and path[-1] == "columns" and flat
    header = [f"\n[{'.'.join(_key(part) for part in path)}]"]
    if inline:
        rows = [
            f"{_key(k)} = {{ {', '.join(f'{_key(a)} = {_value(b)}' for a, b in v.items())} }}"
            for k, v in tables.items()
        ]
        return header + rows
    arrays = {key: value for key, value in values.items() if value and _of_tables(value)}
    lines = [f"{_key(k)} = {_value(v)}" for k, v in values.items() if k not in tables and k not in arrays]
    lines = header + lines if lines or not tables else []
    for key, value in arrays.items():
        name = ".".join(_key(part) for part in (*path, key))
        for item in value:
            lines += [f"\n[[{name}]]", *(f"{_key(k)} = {_value(v)}" for k, v in item.items())]
    for key, value in tables.items():
        lines += _section((*path, key), value)
    return lines


def _of_tables(value: Any) -> bool:
    return isinstance(value, list) and all(isinstance(item, dict) for item in value)


def _key(name: str) -> str:
    bare = name and all(c.isascii() and (c.isalnum() or c in "_-") for c in name)
    return name if bare else _text(name)


def _value(value: Any) -> str:
    if isinstance(value, dict):
        return "{ " + ", ".join(f"{_key(key)} = {_value(item)}" for key, item in value.items()) + " }"
    if isinstance(value, (list, tuple)):
        return "[" + ", ".join(map(_value, value)) + "]"
    return _text(value)


def _text(value: Any) -> str:
    """A value as JSON, which is TOML but for the character DEL, which only TOML wants escaped."""
    return json.dumps(value, ensure_ascii=False).replace("\x7f", "\\u007f")


def schema() -> dict[str, Any]:
    """JSON Schema of a study file, with the options of every modality and task, for editors."""
    result = Study.model_json_schema()
    definitions = result.setdefault("$defs", {})
    rooms: dict[str, list[Any]] = {
        "inputs": [find.modality(n) for n in find.modalities()],
        "targets": [find.task(n) for n in find.tasks()],
    }
    for section, kinds in rooms.items():
        choices = []
        for kind in kinds:
            part = kind.Options.model_json_schema(ref_template="#/$defs/{model}")
            definitions.update(part.pop("$defs", {}))
            definitions[kind.Options.__name__] = part
            choices.append({"$ref": f"#/$defs/{kind.Options.__name__}"})
        result["properties"][section]["additionalProperties"] = {"oneOf": choices}
    return result


def without_folders(study: Study) -> Study:
    """Only the names of table files: folders of the machine it was trained on are nobody's business."""
    return _tables(study, lambda table: Path(table).name)


def with_folders(study: Study) -> Study:
    """Table files with their whole paths, so that the study can be run from any folder."""
    return _tables(study, lambda table: str((study.folder / table).resolve()))


def _tables(study: Study, change: Callable[[str], str]) -> Study:
    def kept(path: str) -> str:
        """A slash at the end says that a folder is meant, and paths lose it."""
        return change(path).rstrip("/") + "/" if path.endswith("/") else change(path)

    def changed(part: Any) -> Any:
        table, connection = getattr(part, "table", None), getattr(part, "connection", None)
        if connection and connection.startswith(SQLITE):
            return part.model_copy(update={"connection": SQLITE + change(connection.removeprefix(SQLITE))})
        weights = {"weights": change(part.weights_file)} if getattr(part, "weights_file", None) else {}
        return (
            part.model_copy(update={**({"table": kept(table)} if table else {}), **weights})
            if table or weights
            else part
        )

    join = {name: changed(part) for name, part in study.cohort.join.items()}
    cohort = changed(study.cohort).model_copy(update={"join": join})
    events = study.cohort.events
    if events is not None:
        paths = {"store": kept(events.store), "groups": change(events.groups) if events.groups else None}
        cohort = cohort.model_copy(update={"events": events.model_copy(update=paths)})

    inputs = {name: changed(part) for name, part in study.inputs.items()}
    start = study.model.start
    model = study.model.model_copy(update={"start": kept(start)}) if start else study.model
    return study.model_copy(update={"cohort": cohort, "inputs": inputs, "model": model})
