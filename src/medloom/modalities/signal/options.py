"""What a study file may say of a signal."""

from __future__ import annotations

from typing import Annotated, Literal, Self

from pydantic import Field, model_validator
from pydantic_core import PydanticCustomError

from medloom.modalities.signal.encoders.options import EncoderOptions
from medloom.modalities.signal.leads import spelt
from medloom.parts import InputPart, Strict

Lead = Annotated[str, Field(min_length=1, max_length=80)]
IN_FILE = "file"
"""In place of a column's name: the time stands in the header of each file."""
PlainKind = Literal["statistics", "quality", "bands", "convolutions"]


class AugmentOptions(Strict):
    """What a window goes through in training, each time anew. 0 leaves it as it is; prediction never sees any of it."""

    crop: float = Field(
        0.0, ge=0, lt=1, description="at most this share of a window is cut off at its ends, and marked as no data"
    )
    scale: float = Field(
        0.0, ge=0, lt=1, description="amplitude of all leads times a factor from 1 - scale to 1 + scale"
    )
    noise: float = Field(0.0, ge=0, le=10, description="white noise of this standard deviation, in scaled units")
    wander: float = Field(
        0.0,
        ge=0,
        le=10,
        description="a slow wave (0.05 to 0.5 Hz) of at most this amplitude on each lead, in scaled units",
    )
    drop_leads: float = Field(0.0, ge=0, lt=1, description="chance of each lead to be taken away; one always stays")
    mask: float = Field(
        0.0, ge=0, lt=1, description="at most this share of a window, somewhere in it, is marked as no data"
    )


class SignalOptions(InputPart):
    """Options of `modality = "signal"`."""

    modality: Literal["signal"] = Field("signal", description="kind of input")
    column: str = Field(
        description="column with the path of a record, relative to the table's folder: WFDB (.hea, or no suffix), EDF or BDF "
        "(.edf, .bdf), .csv, .tsv, .parquet (a column a lead), .npy, .npz, .txt (a number a line); empty where there is none"
    )
    leads: tuple[Lead, ...] | None = Field(
        None,
        min_length=1,
        max_length=512,
        description="leads (channels) by name, in the order that the network sees; left out: those of the first record",
    )
    aliases: dict[Lead, tuple[Lead, ...]] = Field(
        {},
        description='other names of a lead: { II = ["MLII"] }; upper case, spaces and "ECG", "EEG", "lead" before a name do not count',
    )
    missing_leads: Literal["error", "absent"] = Field(
        "error", description="a record without some of the leads is an error, or these leads are absent in it and named"
    )
    unreadable: Literal["error", "absent"] = Field(
        "error",
        description="a record that cannot be read is an error, or the input is absent in its rows and that is named",
    )
    rate_hz: float | None = Field(
        None,
        gt=0,
        le=1e6,
        description="samples a second that the network sees; records of another rate are resampled, with a filter against "
        "aliases; left out: the rate of the first record",
    )
    file_rate_hz: float | None = Field(
        None,
        gt=0,
        le=1e6,
        description="samples a second in files that do not say it: .csv, .tsv, .parquet, .npy, .npz, .txt",
    )
    samples_first: bool = Field(
        False, description="in .npy and .npz, the first axis is time and the second the lead; else the other way round"
    )
    unit: Literal["V", "mV", "uV", "nV"] = Field(
        "mV",
        description="unit that leads in volts are converted to; those in another unit, or without one, stay as they are",
    )
    notch_hz: float | None = Field(
        None, gt=0, description="mains frequency to take out (50 or 60), forwards and backwards in time"
    )
    highpass_hz: float | None = Field(
        None, gt=0, description="slower parts are taken out, forwards and backwards in time"
    )
    lowpass_hz: float | None = Field(
        None, gt=0, description="faster parts are taken out, forwards and backwards in time"
    )
    window_seconds: float = Field(gt=0, le=86_400, description="length of what the network sees at a time")
    stride_seconds: float | None = Field(
        None,
        gt=0,
        description="at most this much lies between the beginnings of two windows of a prediction, which together cover all "
        "that a row sees; left out: window_seconds",
    )
    segment: tuple[str, str] | None = Field(
        None,
        description="columns with where a row's part of the record begins and ends, in seconds from the record's beginning; left out: all of it",
    )
    starts: str | None = Field(
        None,
        description='column with the time at which the record begins, of the kind of cohort.at, or "file" for the time in the '
        "file's header: a row then sees only what came before its index time",
    )
    scale: Literal["cohort", "window"] = Field(
        "cohort",
        description="centre and scale of each lead from all training rows, which keeps differences in amplitude; or of each window alone",
    )
    store: Literal["float32", "int16"] = Field(
        "float32",
        description="how samples are kept; int16 is half the size, with 65,535 steps over the range of each lead of a record",
    )
    plain: tuple[PlainKind, ...] = Field(
        ("statistics", "quality", "bands"),
        min_length=1,
        description="simple numbers that baselines see, means over windows of each row: statistics, quality (flat, clipped, noisy, "
        "unknown), power in bands, random convolutions",
    )
    convolution_parts: tuple[Annotated[int, Field(ge=1, le=64)], ...] = Field(
        (1,),
        min_length=1,
        max_length=8,
        description="random convolutions are taken of the whole window (1), of its halves (2), its quarters (4), …, each "
        "averaged over its parts, side by side: [1, 2, 4] tells more of records whose character changes, and takes three "
        "times as long",
    )
    augment: AugmentOptions = Field(AugmentOptions(), description="changes of training windows")
    encoder: EncoderOptions = Field(EncoderOptions(), description="the network that reads a window")

    @property
    def proves_time(self) -> bool:  # type: ignore[override]
        """Whether values carry times: only where something says when records begin."""
        return self.starts is not None

    @model_validator(mode="after")
    def _fits_together(self) -> Self:
        names = [spelt(name) for name in self.leads or ()]
        others = [spelt(name) for listed in self.aliases.values() for name in listed]
        if len(set(names + others)) < len(names + others):
            raise PydanticCustomError("part", "a lead or an alias is named twice")
        strange = [name for name in self.aliases if self.leads is not None and spelt(name) not in names]
        if strange:
            raise PydanticCustomError(
                "part", "aliases are given of {name}, which is none of the leads", {"name": strange[0]}
            )
        if self.highpass_hz and self.lowpass_hz and self.highpass_hz >= self.lowpass_hz:
            raise PydanticCustomError("part", "highpass_hz must be below lowpass_hz")
        if self.stride_seconds and self.stride_seconds > self.window_seconds:
            raise PydanticCustomError("part", "stride_seconds is above window_seconds, which would leave gaps")
        if self.rate_hz is not None and self.window_seconds * self.rate_hz < 8:
            raise PydanticCustomError("part", "a window holds fewer than 8 samples; make window_seconds longer")
        if len(set(self.plain)) < len(self.plain):
            raise PydanticCustomError("part", "plain names something twice")
        if len(set(self.convolution_parts)) < len(self.convolution_parts):
            raise PydanticCustomError("part", "convolution_parts names something twice")
        if self.convolution_parts != (1,) and "convolutions" not in self.plain:
            raise PydanticCustomError("part", 'convolution_parts goes with plain = ["convolutions"]')
        return self

    @property
    def samples(self) -> int:
        """Samples of a window, once the rate is known."""
        return max(1, round(self.window_seconds * float(self.rate_hz or 0)))

    @property
    def stride(self) -> int:
        """Samples between the beginnings of two windows."""
        return max(1, round((self.stride_seconds or self.window_seconds) * float(self.rate_hz or 0)))

    def text_columns(self) -> tuple[str, ...]:
        """Columns that a CSV reader must leave as text."""
        return (self.column,)
