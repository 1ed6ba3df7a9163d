"""Fitted state as plain JSON or arrays: what a bundle and a checkpoint hold of modalities, tasks and simple models."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import fields
from typing import Any, TypeVar

import numpy as np
from jaxtyping import Shaped
from pydantic import TypeAdapter

T = TypeVar("T")


def dump(fitted: Any) -> dict[str, Any]:
    """The fields of a frozen dataclass as JSON values. Floats keep every bit."""
    return TypeAdapter(type(fitted)).dump_python(fitted, mode="json", serialize_as_any=True)


def load(kind: type[T], state: dict[str, Any]) -> T:
    """The inverse of `dump`, validated field by field; raises pydantic's ValidationError."""
    return TypeAdapter(kind).validate_python(state)


def same(one: Any, other: Any) -> bool:
    """Whether two fitted objects hold the same state, bit for bit."""
    return type(one) is type(other) and dump(one) == dump(other)


def arrays(fitted: Any) -> dict[str, Shaped[np.ndarray, "..."]]:
    """A frozen dataclass of arrays, or of such dataclasses, as named arrays: "field", or "field:Kind/…" for one inside."""
    found = {}
    for field in fields(fitted):
        value = getattr(fitted, field.name)
        if isinstance(value, np.ndarray):
            found[field.name] = value
        else:
            found |= {f"{field.name}:{type(value).__name__}/{name}": array for name, array in arrays(value).items()}
    return found


def from_arrays(kind: type[T], named: Mapping[str, np.ndarray], kinds: Mapping[str, type]) -> T:
    """The inverse of `arrays`; `kinds` are the classes that may stand inside. Raises KeyError or TypeError."""
    inside: dict[tuple[str, str], dict[str, np.ndarray]] = {}
    own: dict[str, Any] = {}
    for name, array in named.items():
        head, slash, rest = name.partition("/")
        if slash:
            field, _, inner = head.partition(":")
            inside.setdefault((field, inner), {})[rest] = array
        else:
            own[name] = array
    for (field, inner), parts in inside.items():
        own[field] = from_arrays(kinds[inner], parts, kinds)
    return kind(**own)


def below(named: Mapping[str, T], prefix: str) -> dict[str, T]:
    """The entries whose names begin with `prefix`, named by what follows it."""
    return {name.removeprefix(prefix): value for name, value in named.items() if name.startswith(prefix)}
