"""The base of every section of a study file, and validators that read a text in a small language and keep it."""

from __future__ import annotations

from collections.abc import Callable
from typing import Annotated, Any

from pydantic import AfterValidator, BaseModel, ConfigDict, Field
from pydantic_core import PydanticCustomError

Name = Annotated[str, Field(pattern=r"^[A-Za-z][A-Za-z0-9_-]*$", max_length=64)]


class Strict(BaseModel):
    """Base of every section: frozen, and unknown keys are mistakes."""

    model_config = ConfigDict(frozen=True, extra="forbid", protected_namespaces=())


def readable(read: Callable[[Any], object]) -> Any:
    """A validator that reads a text and keeps it. What is wrong with the text is a mistake of its key."""

    def validate(text: Any) -> Any:
        try:
            read(text)
        except ValueError as error:
            raise PydanticCustomError("expression", "{why}", {"why": str(error)}) from error
        return text

    return AfterValidator(validate)
