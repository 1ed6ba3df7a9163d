"""What the authors write: `authors.toml`, beside the study file or in the folder of a run."""

from __future__ import annotations

import tomllib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, get_args

from medloom.errors import StudyError
from medloom.find import near
from medloom.report.standards.items import CITED, Standard, items

NAME = "authors.toml"
ANSWERS = ("yes", "probably yes", "probably no", "no", "no information", "not applicable")
"""How a signalling question may be answered. Source: Moons et al., BMJ 388:e082505, 2025."""


@dataclass(frozen=True, slots=True)
class Texts:
    """What authors wrote, by standard and item. Items without a text are not in it."""

    written: Mapping[str, Mapping[str, str]] = field(default_factory=dict)

    def of(self, standard: Standard, key: str) -> str:
        """The text of one item, empty where there is none."""
        return self.written.get(standard, {}).get(key, "")


def texts(study: Path, run: Path) -> Texts:
    """What stands beside the study, and of items that it leaves out, in the folder of the run.

    Raises StudyError with every mistake at once.
    """
    beside, inside = (_read(folder / NAME) for folder in (study, run))
    return Texts({name: {**inside.get(name, {}), **beside.get(name, {})} for name in get_args(Standard)})


def template() -> str:
    """An empty file of authors' texts, with what is asked as comments."""
    lines = [
        "# What only the authors of a study can say. Write between the quotes; what stays empty is told as not written.",
        '# Longer texts stand between three quotes: """…""". Write of the cohort as a whole: no patient belongs in here.',
        "# `medloom fit` of the same study puts these texts into model-card.xml, tripod.md and probast.md of the run, and",
        "# `medloom report` into its report.",
    ]
    for standard in get_args(Standard):
        lines += ["", f"# {CITED[standard]}", f"[{standard}]"]
        if standard == "probast":
            lines.append(f"# An answer ({', '.join(ANSWERS)}), a colon, and why.")
        for item in items(standard).values():
            if item.asked:
                lines += [f"# {item.text}.", f"# {item.ask}", f'{item.key} = ""']
    return "\n".join(lines) + "\n"


def _read(path: Path) -> dict[str, dict[str, str]]:
    try:
        raw = tomllib.loads(path.read_bytes().decode("utf-8-sig"))
    except (FileNotFoundError, NotADirectoryError):
        return {}
    except UnicodeDecodeError as error:
        raise StudyError(f"{path}: not UTF-8 text (byte {error.start}); save it as UTF-8") from error
    except tomllib.TOMLDecodeError as error:
        raise StudyError(f"{path}: not TOML: {error}") from error
    mistakes = [f"{path}: {mistake}" for mistake in _mistakes(raw)]
    if mistakes:
        raise StudyError(mistakes)
    return {name: {key: text.strip() for key, text in part.items() if text.strip()} for name, part in raw.items()}


def _mistakes(raw: Mapping[str, Any]) -> Iterator[str]:
    known: tuple[Standard, ...] = get_args(Standard)
    yield from (f"unknown section [{name}]; {near(name, known)}" for name in raw if name not in known)
    for name in known:
        part = raw.get(name, {})
        if isinstance(part, Mapping):
            yield from (f"{name}.{fault}" for fault in _faults(name, part))
        else:
            yield f"{name} is a value; expected a section [{name}]"


def _faults(standard: Standard, part: Mapping[str, Any]) -> Iterator[str]:
    asked = {item.key for item in items(standard).values() if item.asked}
    for key, text in part.items():
        if key not in items(standard):
            yield f"{key}: unknown key; {near(key, asked)}"
        elif key not in asked:
            yield f"{key} is answered by the run alone; leave it out"
        elif not isinstance(text, str):
            yield f"{key}: expected a text between quotes"
        elif standard == "probast" and text.strip() and answered(text)[0] not in ANSWERS:
            yield f"{key}: expected an answer ({', '.join(ANSWERS)}), a colon, and why"


def answered(text: str) -> tuple[str, str]:
    """The answer to a signalling question, and why.

    >>> answered("Probably yes: one laboratory measured all.")
    ('probably yes', 'one laboratory measured all.')
    """
    answer, _, why = text.partition(":")
    return " ".join(answer.lower().split()), why.strip()
