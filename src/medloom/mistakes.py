"""Every mistake of a pydantic model as a path and a sentence: what was found, what was expected, what is near."""

from __future__ import annotations

import types
import typing
from collections.abc import Sequence
from typing import Annotated, Any

from pydantic import BaseModel, ValidationError

from medloom import find

BETWEEN_KEYS = frozenset(
    {"part", "patient", "budget", "column", "shares", "test", "split", "expression", "learning_rate", "model"}
)
"""Types of mistakes that are not of one key alone, and whose message is a whole sentence."""


def problems(error: ValidationError, model: type[BaseModel]) -> list[tuple[tuple[Any, ...], str]]:
    """Every mistake as (path, sentence), those inside parts with their whole path."""
    found: list[tuple[tuple[Any, ...], str]] = []
    for item in error.errors(include_url=False):
        path = tuple(part for part in item["loc"] if not is_branch(part))
        inner = item.get("ctx", {}).get("problems")
        if inner is not None:
            found += [(path + tuple(more), text) for more, text in inner]
        else:
            found.append((path, _sentence(item, model)))
    return [
        (path, _either([text for other, text in found if other == path])) for path in dict.fromkeys(p for p, _ in found)
    ]


def _either(texts: list[str]) -> str:
    """One sentence of what the branches of a union each expected: "found 'big'; input should be …, or expected 'auto'"."""
    first, *others = dict.fromkeys(texts)
    return ", or ".join([first, *(text.partition("; ")[2] or text for text in others)])


def is_branch(part: Any) -> bool:
    """Union branches that pydantic adds to paths ("literal['auto']", "constrained-int"): noise to a reader."""
    return isinstance(part, str) and (
        "[" in part or part in {"int", "float", "str", "bool"} or part.startswith("constrained-")
    )


def _sentence(item: Any, model: type[BaseModel]) -> str:
    if item["type"] == "extra_forbidden":
        known = _keys_at(model, item["loc"][:-1])
        return f"unknown key; {find.near(str(item['loc'][-1]), known)}"
    if item["type"] == "missing":
        return "missing; it has no default"
    if item["type"] == "literal_error":
        expected = item["ctx"]["expected"]
        hint = find.near(str(item["input"]), [word.strip(" '") for word in expected.replace(" or ", ",").split(",")])
        return f"found {item['input']!r}; expected {expected}" + (f"; {hint}" if hint.startswith("did") else "")
    if item["type"] in BETWEEN_KEYS:
        return str(item["msg"])
    shown = repr(item["input"])
    return f"found {shown if len(shown) < 60 else shown[:57] + '…'}; {item['msg'][0].lower()}{item['msg'][1:]}"


def _keys_at(model: Any, path: Sequence[Any]) -> list[str]:
    """Names of the keys allowed at a path below a model."""
    for part in path:
        if isinstance(model, type) and issubclass(model, BaseModel):
            if part not in model.model_fields:
                return []
            model = model.model_fields[part].annotation
        elif typing.get_origin(model) is dict:
            model = typing.get_args(model)[1]
        elif typing.get_origin(model) is tuple:
            model = typing.get_args(model)[0]
        while typing.get_origin(model) in (typing.Union, types.UnionType, Annotated):
            model = next((a for a in typing.get_args(model) if a is not type(None)), None)
    return list(model.model_fields) if isinstance(model, type) and issubclass(model, BaseModel) else []
