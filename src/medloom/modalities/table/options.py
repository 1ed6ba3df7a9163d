"""What a study file may say of a table."""

from __future__ import annotations

from collections.abc import Mapping
from functools import cached_property
from typing import Annotated, Any, Literal, Self

from pydantic import Field, model_validator
from pydantic_core import PydanticCustomError

from medloom.find import near
from medloom.modalities.table.column import Column
from medloom.parts import InputPart, Share, Strict

ENCODERS: Mapping[str, Mapping[str, Any]] = {
    "mlp": {"hidden": (128, 64), "activation": "relu", "norm": "layer"},
    "tabm": {"hidden": (128, 128), "activation": "relu", "members": 16},
    "transformer": {"width": 64, "blocks": 3, "heads": 8},
}
"""The keys that go with each encoder, and what stands there where nothing is given."""
NUMERIC: Mapping[str, Mapping[str, Any]] = {
    "plain": {},
    "piecewise": {"bins": 16, "numeric_width": 12},
    "periodic": {"frequencies": 24, "frequency_scale": 0.1, "numeric_width": 12},
}
"""The keys that go with each way to embed numbers."""
CATEGORY: Mapping[str, Mapping[str, Any]] = {"embedding": {}, "hash": {"buckets": 256}}
"""The keys that go with each way to embed categories."""
_CHOICES = (("encoder", ENCODERS), ("numeric", NUMERIC), ("category", CATEGORY))
Positive = Annotated[int, Field(ge=1, le=65_536)]


MOST_EMBEDDED = 200
"""Numbers that are embedded by quantiles where the study does not say how: more of them would make the network large."""


class Select(Strict):
    """Which numbers are kept. Categories and codes always are."""

    by: Literal["variance", "mutual_information", "gates"] = Field(
        description="variance: those that vary most, as they are read (for columns of one unit); mutual_information: those that tell most of the answers, each alone; gates: the network learns which to let through"
    )
    keep: Annotated[float, Field(gt=0)] = Field(description="how many numbers, or below 1 the share of them")

    @model_validator(mode="after")
    def _whole(self) -> Self:
        if self.keep >= 1 and self.keep != int(self.keep):
            raise PydanticCustomError("part", "keep is a whole number, or a share below 1")
        return self


def _said(choice: str | None) -> str:
    return "not given" if choice is None else f'"{choice}"'


class TableOptions(InputPart):
    """Options of `modality = "table"`. Keys that do not go with the chosen encoder or embedding are mistakes."""

    modality: Literal["table"] = "table"
    columns: dict[str, Column] = Field(
        default_factory=dict,
        description="columns to read; left out: every column that is nothing else, by its storage type",
    )
    exclude: tuple[str, ...] = Field(
        (), description="columns not to read when columns is left out (identifiers, leaks)"
    )
    missing: tuple[str | float, ...] = Field((), description="values that mean missing in every column")
    scale: Literal["robust", "none"] = Field(
        "robust",
        description="robust: centre on the median, divide by the interquartile range, clip at 8; none: as they are",
    )
    missing_indicators: bool = Field(True, description="tell the network which numbers were missing")
    encoder: Literal["mlp", "tabm", "transformer"] = Field(
        "mlp",
        description="mlp: fully connected layers; tabm: an ensemble of them that shares most weights, better on most tables and many times slower; transformer: attention between columns",
    )
    dropout: Share = Field(0.1, description="dropout after each layer")
    hidden: tuple[Positive, ...] | None = Field(
        None, min_length=1, description="mlp, tabm: sizes of the layers, the last is the width of the encoded row; left out: [128, 64] for mlp, [128, 128] for tabm"
    )  # fmt: skip
    activation: Literal["relu", "silu", "gelu"] | None = Field(
        None, description="mlp, tabm: activation after each layer; left out: relu"
    )
    norm: Literal["layer", "none"] | None = Field(
        None, description="mlp: layer normalisation before each activation, or none; left out: layer"
    )
    members: Annotated[int, Field(ge=2, le=256)] | None = Field(
        None, description="tabm: members of the ensemble; left out: 16"
    )
    width: Positive | None = Field(
        None, description="transformer: width of a column's token and of the encoded row, a multiple of heads; left out: 64"
    )  # fmt: skip
    blocks: Annotated[int, Field(ge=1, le=64)] | None = Field(
        None, description="transformer: blocks of attention and a fully connected layer; left out: 3"
    )
    heads: Annotated[int, Field(ge=1, le=64)] | None = Field(
        None, description="transformer: attention heads; left out: 8"
    )
    numeric: Literal["plain", "piecewise", "periodic"] | None = Field(
        None,
        description="plain: each number as it is scaled; piecewise: by its place among quantiles of the training rows; periodic: by sines and cosines of learnt frequencies; left out: piecewise for tabm on at most 200 numbers, else plain",
    )
    bins: Annotated[int, Field(ge=2, le=256)] | None = Field(
        None, description="piecewise: bins between quantiles of the training rows; left out: 16"
    )
    frequencies: Annotated[int, Field(ge=1, le=1024)] | None = Field(
        None, description="periodic: frequencies of each column; left out: 24"
    )
    frequency_scale: Annotated[float, Field(gt=0)] | None = Field(
        None, description="periodic: standard deviation of the first frequencies; left out: 0.1"
    )
    numeric_width: Annotated[int, Field(ge=1, le=1024)] | None = Field(
        None, description="piecewise, periodic: width of an embedded number; left out: 12; the transformer's own width for the transformer"
    )  # fmt: skip
    category: Literal["embedding", "hash"] = Field(
        "embedding",
        description="embedding: one for each word of at least 10 training patients; hash: words fall into buckets, those never seen too",
    )
    buckets: Annotated[int, Field(ge=2, le=1_000_000)] | None = Field(
        None, description="hash: buckets of each column; left out: 256"
    )

    select: Select | None = Field(None, description="keep only some of the numbers, chosen from training rows")

    @model_validator(mode="before")
    @classmethod
    def _fill(cls, raw: Any) -> Any:
        """Puts what was left out of the chosen encoder and embeddings in its place, so that a resolved study says it."""
        if not isinstance(raw, Mapping):
            return raw
        filled = dict(raw)
        for choice, keys in _CHOICES:
            chosen = raw.get(choice, cls.model_fields[choice].default)
            for key, value in keys.get(chosen, {}).items() if isinstance(chosen, str) else ():
                if filled.get(key) is None and not (key == "numeric_width" and raw.get("encoder") == "transformer"):
                    filled[key] = value
        return filled

    @model_validator(mode="after")
    def _coherent(self) -> Self:
        for choice, keys in _CHOICES:
            chosen = getattr(self, choice)
            for key in sorted({key for group in keys.values() for key in group} - set(keys.get(chosen, {}))):
                if getattr(self, key) is not None:
                    owners = " or ".join(f'"{name}"' for name, group in keys.items() if key in group)
                    raise PydanticCustomError(
                        "part",
                        "{why}",
                        {"why": f"{key} goes with {choice} = {owners}, and {choice} is {_said(chosen)}; take it out"},
                    )
        if self.category == "hash" and any(
            column.kind == "category" and column.encoding != "embedding" for column in self.columns.values()
        ):
            raise PydanticCustomError(
                "part", 'encoding by answers needs the words: it goes with category = "embedding"'
            )
        if self.encoder == "transformer":
            if self.numeric_width is not None:
                raise PydanticCustomError("part", "numeric_width does not go with the transformer: give width")
            if self.the("width") % self.the("heads"):
                raise PydanticCustomError("part", "width has to be a multiple of heads")
        return self

    def the(self, key: str) -> Any:
        """A key that goes with the chosen encoder or embedding, which is therefore there."""
        value = getattr(self, key)
        if value is None:
            raise KeyError(f"{key} does not go with these options; {near(key, self.model_dump(exclude_none=True))}")
        return value

    def text_columns(self) -> tuple[str, ...]:
        """Columns that a CSV reader must leave as text."""
        words = ("category", "ordinal", "duration", "code")
        return tuple(source for name in self.named(*words) for source in self.sources(name))

    def sources(self, name: str) -> tuple[str, ...]:
        """Columns of the table that this column is read from: several may hold the codes of one."""
        return self.columns[name].columns or (name,)

    @property
    def table_columns(self) -> tuple[str, ...]:
        """All columns of the table that are read, each once."""
        return tuple(dict.fromkeys(source for name in self.columns for source in self.sources(name)))

    def markers(self, name: str) -> tuple[Any, ...]:
        """Values that mean missing in this column."""
        return (*self.missing, *self.columns[name].missing)

    def named(self, *kinds: str) -> list[str]:
        """Names of the columns of these kinds, in the order of the study."""
        if len(kinds) == 1:
            return list(self._by_kind.get(kinds[0], ()))
        return [name for name, column in self.columns.items() if column.kind in kinds]

    @cached_property
    def _by_kind(self) -> Mapping[str, list[str]]:
        """Asked for with every batch, so it is sorted once: a table may have tens of thousands of columns."""
        found: dict[str, list[str]] = {}
        for name, column in self.columns.items():
            found.setdefault(column.kind, []).append(name)
        return found

    @property
    def numbers(self) -> list[str]:
        """Names of the columns that are read as numbers: all but categories and codes."""
        return list(self._numbers)

    @cached_property
    def _numbers(self) -> list[str]:
        return [name for name, column in self.columns.items() if column.kind not in ("category", "code")]

    @property
    def coded(self) -> list[str]:
        """Names of the columns that are read as the mean answer of their words."""
        return [name for name, column in self.columns.items() if column.encoding != "embedding"]

    def completed(self, columns: Mapping[str, Column]) -> Self:
        """The options with these columns, and with what depends on how many there are."""
        numbers = sum(column.kind not in ("category", "boolean", "ordinal", "code") for column in columns.values())
        small = self.encoder == "tabm" and numbers <= MOST_EMBEDDED
        numeric = self.numeric or ("piecewise" if small else "plain")
        return self.model_validate({**dict(self), "columns": columns, "numeric": numeric})
