"""The content of a report as a file of its run: what is drawn again, in any form, without the data."""

from __future__ import annotations

import json
import math
from pathlib import Path
from typing import Any

from pydantic import TypeAdapter

from medloom.errors import DataError
from medloom.fitted import load
from medloom.report.content import Content

NAME = "content.json"
FORMAT = 1
"""Raised where older files can no longer be read."""


def as_json(content: Content) -> str:
    """The content as JSON. It holds no patient's row and no row id."""
    held = TypeAdapter(Content).dump_python(content, serialize_as_any=True)
    plain = {"format": FORMAT, "content": _finite(held)}
    return json.dumps(plain, ensure_ascii=False, allow_nan=False) + "\n"


def read_json(text: str) -> Content:
    """The inverse of `as_json`. Raises ValueError where the text is not such content."""
    plain = json.loads(text)
    if not isinstance(plain, dict) or plain.get("format") != FORMAT:
        raise ValueError("another format")
    return load(Content, plain["content"])


def opened(run: Path) -> Content:
    """The content of a run's report. Raises DataError where the run holds none that can be read."""
    path = run / NAME
    if not run.is_dir():
        raise DataError(f"{run}: no such folder; expected a run, as `medloom fit` writes it")
    if not path.exists():
        raise DataError(
            f"{run} holds no {NAME}: its fit is not finished, or was made by an earlier medloom; run medloom fit again"
        )
    try:
        return read_json(path.read_text(encoding="utf-8"))
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise DataError(f"{path} cannot be read by this medloom; run medloom fit again") from error


def _finite(plain: Any) -> Any:
    """JSON has no word for NaN and infinity: they are written as text, which reads back as the number."""
    if isinstance(plain, dict):
        return {key: _finite(value) for key, value in plain.items()}
    if isinstance(plain, (list, tuple)):
        return [_finite(value) for value in plain]
    return str(plain) if isinstance(plain, float) and not math.isfinite(plain) else plain
