"""What a study file may say of events."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Annotated, Any, ClassVar, Literal, Self

from pydantic import BeforeValidator, Field, model_validator
from pydantic_core import PydanticCustomError

from medloom.cohort.code_groups import CodeGroups, mistake
from medloom.parts import InputPart, Share

ENCODERS: Mapping[str, Mapping[str, Any]] = {
    "gru": {"code_width": 32, "layers": 1},
    "lstm": {"code_width": 32, "layers": 1},
    "tcn": {"code_width": 32, "layers": 4, "kernel": 3},
    "transformer": {"code_width": 32, "layers": 2, "heads": 4},
    "grid": {"layers": 1, "over": "gru", "kernel": 3},
    "gru_decay": {},
    "statistics": {"layers": 1},
}
"""The keys that go with each encoder, and what stands there where nothing is given."""
BINNED = ("grid", "gru_decay")
"""Encoders that read a grid of time bins in place of the events one by one."""
MOST_BINS = 4096
Positive = Annotated[int, Field(ge=1, le=8192)]


class EventsOptions(InputPart):
    """The long table or the store, which of its events a row sees, and the encoder."""

    proves_time: ClassVar[bool] = True

    modality: Literal["events"] = Field("events", description="kind of input")
    table: str = Field(
        min_length=1,
        description='the long table: CSV, TSV, Parquet or Arrow file, relative to the study file; a frame passed under this name goes before it. Or, with a slash at its end, the folder of a store that `medloom ingest` made: "events/"',
    )
    patient: str = Field("patient", description="column of the long table with the patient, as in cohort.patient")
    time: str = Field(
        "time",
        description="column with the time, of the kind of cohort.at; a date without a time counts as the end of that day",
    )
    code: str = Field("code", description="column with what happened or was measured")
    value: Annotated[str, BeforeValidator(lambda value: "" if value is None else value)] = Field(
        "value",
        description='column with the number that was measured, empty where there is none; "": events have codes alone',
    )
    unit: str = Field(
        "unit",
        description='column with the unit of the value, where the table has one: a code whose values stand in several units is refused; "": numbers are read as they stand',
    )
    timeless: bool = Field(
        False,
        description="keep events of the long table that have no time, as known before all others (sex, date of birth); else they are refused",
    )
    groups: CodeGroups | None = Field(
        None,
        description='wider groups in place of single codes, such as groups = { icd10 = "category", atc = "therapeutic group" }',
    )
    members: dict[str, tuple[str, ...]] = Field(
        {},
        description="groups with their members, codes or patterns such as icd10:I20-I25; those of groups.table are put here when the data are read, and stay with the bundle",
    )
    last: int = Field(
        1024,
        ge=1,
        le=1_000_000,
        description="a row sees at most so many events with a time, the newest ones; the report says how many rows have more",
    )
    lookback: float | None = Field(
        None,
        gt=0,
        description="a row sees events at most so old: days where times are dates, else the unit of the times; left out: any age",
    )
    scale: Literal["robust", "quantiles"] = Field(
        "quantiles",
        description="robust: values less their median, over the interquartile range; quantiles: bent so that each code's values are about normal, which tames skewed ones. Either is fitted code by code, and clipped at 10",
    )
    encoder: Literal["gru", "lstm", "tcn", "transformer", "grid", "gru_decay", "statistics"] = Field(
        "gru",
        description="gru, lstm: recurrent network over the events with their gaps; tcn: causal convolutions over them; transformer: attention between them, with the age of each; grid: a network over bins of time with what was measured and when last; gru_decay: the same bins, memory and old values fade with time (GRU-D); statistics: fully connected layers over summary statistics",
    )
    statistics: bool = Field(
        True,
        description="the encoder sees summary statistics of the frequent codes beside the course of time (encoder = statistics: sees them alone)",
    )
    width: int = Field(64, ge=1, le=8192, description="width of the encoder's state and of the encoded row")
    code_width: Positive | None = Field(
        None, description="gru, lstm, tcn, transformer: width of the embedding of a code; left out: 32"
    )
    layers: Annotated[int, Field(ge=1, le=32)] | None = Field(
        None, description="how many layers; left out: 1, tcn 4, transformer 2; not for gru_decay"
    )
    kernel: Annotated[int, Field(ge=2, le=64)] | None = Field(
        None, description='tcn, and grid over = "tcn": events or bins that a convolution sees at a time; left out: 3'
    )
    heads: Annotated[int, Field(ge=1, le=64)] | None = Field(
        None, description="transformer: parallel attentions, a divisor of width; left out: 4"
    )
    bin: Annotated[float, Field(gt=0)] | None = Field(
        None,
        description="grid, gru_decay: width of a bin in the unit of lookback, which they need: bin = 1 and lookback = 48 make 48 bins",
    )
    over: Literal["gru", "tcn"] | None = Field(None, description="grid: what reads the bins; left out: gru")
    dropout: Share = Field(0.0, description="dropout of encoder inputs and of the pooled row")
    bucket: int = Field(
        48,
        ge=0,
        le=4096,
        description="rows of like length share a batch: so many batches are drawn at random, then sorted by length; 0: at random. Grids and statistics are all of one length",
    )
    budget: int = Field(
        262_144,
        ge=1,
        description="events, with padding, computed at a time: bounds memory; a step stays that of the whole batch",
    )

    @model_validator(mode="after")
    def _four_columns(self) -> Self:
        names = self.table_columns()
        if len(set(names)) < len(names):
            raise PydanticCustomError("column", "patient, time, code and value must be different columns")
        if self.is_store:
            own = ("patient", "time", "code", "value", "unit", "timeless")
            given = [key for key in own if getattr(self, key) != type(self).model_fields[key].default]
            if given:
                raise _wrong(f"{given[0]} goes with a long table; a store knows its own columns")
        return self

    @model_validator(mode="after")
    def _members_are_patterns(self) -> Self:
        wrong = [why for codes in self.members.values() for code in codes if (why := mistake(code))]
        if wrong:
            raise _wrong(f"members: {wrong[0]}")
        return self

    @model_validator(mode="after")
    def _goes_with_encoder(self) -> Self:
        allowed = {*ENCODERS[self.encoder], *(("bin",) if self.encoder in BINNED else ())}
        keys = {key for keys in ENCODERS.values() for key in keys} | {"bin"}
        wrong = sorted(key for key in keys - allowed if getattr(self, key) is not None)
        if wrong:
            those = " or ".join(f'"{name}"' for name, with_ in ENCODERS.items() if wrong[0] in with_)
            raise _wrong(
                f'{wrong[0]} goes with encoder = {those or "grid or gru_decay"}, and encoder is "{self.encoder}"'
            )
        if self.kernel is not None and self.encoder == "grid" and self.the("over") != "tcn":
            raise _wrong('kernel goes with over = "tcn"')
        if self.encoder == "transformer" and self.width % self.the("heads"):
            raise _wrong(f"width {self.width} is not a multiple of heads {self.the('heads')}")
        if self.encoder in BINNED:
            if self.bin is None or self.lookback is None:
                raise _wrong(f"encoder {self.encoder} needs bin and lookback, such as bin = 1 and lookback = 48")
            if self.bins > MOST_BINS:
                raise _wrong(f"lookback / bin makes {self.bins} bins; at most {MOST_BINS}")
        if self.encoder == "statistics" and not self.statistics:
            raise _wrong("encoder statistics sees nothing else; leave statistics = false out")
        return self

    @property
    def is_store(self) -> bool:
        """Whether `table` names the folder of a store."""
        return self.table.endswith("/")

    @property
    def bins(self) -> int:
        """Bins of time that the look-back makes; 0 for encoders that read events one by one."""
        if self.bin is None or self.lookback is None:
            return 0
        return max(1, math.ceil(self.lookback / self.bin - 1e-9))

    def the(self, key: str) -> Any:
        """An option of the chosen encoder, or what stands there where nothing is given."""
        given = getattr(self, key)
        return ENCODERS[self.encoder][key] if given is None else given

    def table_columns(self) -> tuple[str, ...]:
        """Columns of the long table that are read."""
        return tuple(name for name in (self.patient, self.time, self.code, self.value) if name)


def _wrong(why: str) -> PydanticCustomError:
    return PydanticCustomError("part", "{why}", {"why": why})
