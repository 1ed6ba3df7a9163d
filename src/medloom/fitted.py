"""Fitted state as plain JSON: what a bundle and a checkpoint hold of modalities and tasks."""

from __future__ import annotations

from typing import Any, TypeVar

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
