"""Signals: regularly sampled leads of records of any length, seen in windows of time.

Records are packed once at the study's rate and stay on disk; a row of the cohort points at a record, or a part of it.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar, Self, cast

import numpy as np

from medloom.draw import Draw
from medloom.errors import DataError, some
from medloom.modalities.signal import packing, simple
from medloom.modalities.signal.options import IN_FILE, SignalOptions
from medloom.modalities.signal.packing import Column
from medloom.modalities.signal.pointing import point
from medloom.modalities.signal.quality import QUALITY, WORDS, complaints, poor, quality
from medloom.modalities.signal.recording import Refused, open_recording
from medloom.modalities.signal.summary import (
    SignalSummary,
    centre_and_scale,
    merge,
    nothing,
    summarise,
    usual_quality,
)
from medloom.modalities.signal.windows import alter, covering_view, seen, training_view
from medloom.modality import Attention, Feature, Held, Modality, Problem, Trace, View
from medloom.packed import Packed, Source
from medloom.parts import InputPart

if TYPE_CHECKING:
    import polars as pl
    from jaxtyping import Bool, Float, Int
    from torch import nn

    from medloom.batch import Field
    from medloom.cohort.table import Cohort

MOST_WINDOWS = 8
"""Windows of a row, evenly spaced, that fits, simple numbers and warnings are made from."""
MOST_TRACES, MOST_POINTS = 3, 500
"""Leads of a single case that a report draws, and points of each."""
VALUES_AT_ONCE = 1 << 22
_ONE = dict(zip(WORDS, ("is flat", "is clipped", "is mostly noise", "has gaps"), strict=True))
EINTHOVEN = 0.2
"""Share of power by which lead II may differ from I + III."""


@dataclass(frozen=True, slots=True)
class Signal(Modality):
    """Fitted state: centre and scale of each lead, the quality that is usual of it, and the random convolutions where simple
    models see them.
    """

    Options: ClassVar[type[InputPart]] = SignalOptions
    Summary: ClassVar[type] = SignalSummary
    windows: ClassVar[bool] = True
    read_block: ClassVar[int] = 64

    options: SignalOptions
    centre: tuple[float, ...]
    scale: tuple[float, ...]
    convolutions: Mapping[str, simple.Stored]
    usual: tuple[tuple[float, ...], ...]

    @classmethod
    def complete(cls, options: InputPart, cohort: Cohort, taken: frozenset[str]) -> InputPart:
        """Leads and rate of the first record, where the study does not name them."""
        chosen = cast(SignalOptions, options)
        keys = cls.keys(chosen, cohort)
        cls._columns_exist(chosen, cohort)
        known = keys.is_not_null().arg_true()
        if not len(known):
            raise DataError(f"column {chosen.column!r}: no row has a record; expected paths of files")
        if chosen.leads is None or chosen.rate_hz is None:
            row = int(known[0])
            try:
                first = open_recording(cohort.files / keys[row], chosen)
            except Refused as error:
                raise DataError(packing.told(chosen.column, {str(error): [cohort.row[row]]})) from error
            chosen = chosen.model_copy(
                update={"leads": chosen.leads or first.names, "rate_hz": chosen.rate_hz or max(first.rate_hz)}
            )
        if chosen.samples < 8:
            raise DataError(f"window_seconds: a window holds {chosen.samples} samples; expected at least 8")
        if chosen.samples < 8 * max(chosen.convolution_parts):
            raise DataError(
                f"convolution_parts: a window holds {chosen.samples} samples, too few for {max(chosen.convolution_parts)} "
                "parts of at least 8; give fewer parts, or a longer window_seconds"
            )
        return chosen

    @classmethod
    def _columns_exist(cls, options: SignalOptions, cohort: Cohort) -> None:
        for name in cls.columns(options):
            cohort.column(name, "signal")

    @classmethod
    def columns(cls, options: InputPart) -> tuple[str, ...]:
        chosen = cast(SignalOptions, options)
        begins = (chosen.starts,) if chosen.starts not in (None, IN_FILE) else ()
        return cast("tuple[str, ...]", (chosen.column, *begins, *(chosen.segment or ())))

    @classmethod
    def keys(cls, options: InputPart, cohort: Cohort) -> pl.Series:
        from medloom.cohort.table import canonical

        column = cast(SignalOptions, options).column
        return canonical(cohort.column(column, "column"))

    @classmethod
    def read(cls, options: InputPart, cohort: Cohort) -> Column:
        """Opens records; samples are read while they are packed."""
        paths = [cohort.files / path for path in cls.keys(options, cohort).to_list()]
        return packing.read_column(paths, cohort.row.to_list(), cast(SignalOptions, options))

    @classmethod
    def pack(cls, options: InputPart, columns: Iterable[Column], store: Path | None) -> Packed:
        return packing.pack(columns, cast(SignalOptions, options), store)

    @classmethod
    def point(cls, options: InputPart, packed: Packed, cohort: Cohort, unit: Int[np.ndarray, " rows"]) -> Source:
        return point(cast(SignalOptions, options), packed, cohort, unit)

    @classmethod
    def summarise(cls, options: InputPart, source: Source, rows: Int[np.ndarray, " rows"]) -> SignalSummary:
        """Values of some windows of each of these rows."""
        chosen = cast(SignalOptions, options)
        leads = len(chosen.leads or ())
        total = nothing(leads, chosen.samples)
        for view in _some_windows(chosen, source, rows):
            windows, known = _raw(source, view, chosen.samples)
            lead = np.asarray(source.packed.arrays["lead"])[source.unit[view.rows]]
            total = merge([total, summarise(windows, known, lead, "convolutions" in chosen.plain)])
        return total

    @classmethod
    def fit(cls, options: InputPart, summaries: Sequence[Any]) -> Self:
        """Centre and scale of each lead. Raises DataError where the training rows have no samples of a lead."""
        chosen = cast(SignalOptions, options)
        summary = merge(summaries)
        empty = [lead for lead, (_, number) in zip(chosen.leads or (), summary.leads, strict=True) if not number.sum()]
        if empty:
            raise DataError(
                f"column {chosen.column!r}: training rows have no samples of lead {some(empty)}; take it out of leads, "
                "or look at paths, segments and index times"
            )
        scaled = [centre_and_scale(*one) for one in summary.leads]
        centre, scale = tuple(c for c, _ in scaled), tuple(s for _, s in scaled)
        fitted = cls(chosen, centre, scale, {}, usual_quality(summary))
        if "convolutions" not in chosen.plain:
            return fitted
        known = np.isfinite(summary.kept)
        windows = np.where(known, summary.kept, 0)
        if chosen.scale == "window":
            _scale_alone(windows, known)
        else:
            windows = np.where(known, (windows - np.array(centre)[:, None]) / np.array(scale)[:, None], 0)
        return replace(
            fitted, convolutions=simple.fit_convolutions(windows.astype(np.float32), chosen.convolution_parts)
        )

    def bind(self, source: Source) -> Source:
        """Adds the random convolutions, made from their state once."""
        return replace(source, bound={**source.bound, "convolutions": simple.convolutions(self.convolutions)})

    def view(
        self, source: Source, rows: Int[np.ndarray, " rows"], draw: Draw | None, focus: Sequence[Source] = ()
    ) -> View:
        """Training: a random window a row, with the numbers of its alterations. Prediction: windows that cover each row.

        `at["first"]` and `at["last"]` bound the samples of the record that stand in a window.
        """
        options = self.options
        start, stop = _ranges(source, rows)
        if draw is None:
            return covering_view(start, stop, options.samples, options.stride, rows)
        return training_view(start, stop, options.samples, len(self.centre), options.augment, rows, draw)

    def batch(self, source: Source, view: View) -> Field:
        """`value`: windows `[views, leads, samples]`, scaled, 0 where unknown; `valid`: samples of which any lead is known.

        `extra["lead"]` says which leads are there.
        """
        import torch

        from medloom.batch import Field

        value, valid, lead = self._windows(source, view)
        return Field(
            torch.from_numpy(value),
            torch.from_numpy(source.unit[view.rows] > 0),
            torch.from_numpy(valid),
            {"lead": torch.from_numpy(lead)},
        )

    def _windows(
        self, source: Source, view: View
    ) -> tuple[
        Float[np.ndarray, "views leads samples"], Bool[np.ndarray, "views samples"], Bool[np.ndarray, "views leads"]
    ]:
        unit = source.unit[view.rows]
        lead = np.asarray(source.packed.arrays["lead"])[unit]
        alone = self.options.scale == "window"
        # A rate of each lead, as to multiply is faster than to divide.
        scaling = np.array(self.centre, np.float32)[:, None], (1 / np.array(self.scale)).astype(np.float32)[:, None]
        value, valid, holey = packing.gather(
            source.packed, unit, view.at["first"], view.at["last"], self.options.samples, None if alone else scaling
        )
        unknown = None
        if holey.any():
            unknown = ~np.isfinite(value)
            value[unknown] = 0.0
            valid &= ~(unknown | ~lead[:, :, None]).all(axis=1)
        if alone:
            _scale_alone(value, valid[:, None] & (True if unknown is None else ~unknown))
        alter(value, view, self.options.augment, float(self.options.rate_hz or 0))
        if "dropped" in view.at:
            kept = lead & ~view.at["dropped"]
            # A window whose only leads would go keeps what it has.
            lead = np.where(kept.any(axis=1, keepdims=True), kept, lead)
        before = valid
        valid = seen(valid, view)
        if not before.all() or not valid.all():
            value *= valid[:, None]
        if not lead.all():
            value *= lead[:, :, None]
        if unknown is not None:
            value[unknown] = 0.0
        return value, valid, lead

    def plain(self, source: Source, rows: Int[np.ndarray, " rows"]) -> Float[np.ndarray, "rows features"]:
        """Means over windows of each row of what `options.plain` names; NaN in rows and leads that are not there."""
        bound = source if "convolutions" in source.bound else self.bind(source)
        made = bound.bound["convolutions"]
        kinds, rate = self.options.plain, float(self.options.rate_hz or 0)
        blocks = []
        for part in _blocks(self.options, rows):
            view = covering_view(*_ranges(source, part), self.options.samples, self.options.stride, part, MOST_WINDOWS)
            value, _, lead = self._windows(source, view)
            windows, known = _raw(source, view, self.options.samples)
            numbers = simple.features(kinds, value, np.nan_to_num(windows), known, lead, rate, made)
            blocks.append(simple.row_means(numbers, view.rows, part, source.unit[part] > 0))
        return np.concatenate(blocks) if blocks else np.zeros((0, simple.width(kinds, len(self.centre), rate, made)))

    def fingerprint(self, source: Source, rows: Int[np.ndarray, " rows"]) -> Float[np.ndarray, "rows features"]:
        """Shares of power in bands of each lead, which neither a shift in time nor another amplitude changes."""
        from medloom.fingerprint import ranked

        blocks = [np.zeros((0, 0))]
        for part in _blocks(self.options, rows):
            view = covering_view(*_ranges(source, part), self.options.samples, self.options.stride, part, MOST_WINDOWS)
            value, _, _ = self._windows(source, view)
            blocks.append(simple.row_means(simple.spectrum(value), view.rows, part, source.unit[part] > 0))
        return ranked(np.concatenate(blocks[1:] or blocks))

    def encoder(self) -> nn.Module:
        from medloom.modalities.signal.encoders import build

        options = self.options
        return build(options.encoder, len(self.centre), options.samples, float(options.rate_hz or 0))

    def features(self) -> tuple[Feature, ...]:
        """The lead of each plain number; nothing where random convolutions mix the leads."""
        return simple.parts(self.options.plain, self.options.leads or (), float(self.options.rate_hz or 0))

    def exchanged(self, field: Field, other: Field, parts: Collection[str]) -> Field:
        """The field with these leads of `other`, and with its marks of what is valid where all leads are taken."""
        import torch

        taken = torch.tensor([lead in parts for lead in self.options.leads or ()], dtype=torch.bool)
        assert field.valid is not None and other.valid is not None
        value = torch.where(taken[:, None], other.value, field.value)
        valid = other.valid if bool(taken.all()) else field.valid
        lead = torch.where(taken, other.extra["lead"], field.extra["lead"])
        return replace(field, value=value * valid[:, None], valid=valid, extra={**field.extra, "lead": lead})

    def attention(self, encoder: nn.Module, field: Field) -> Attention | None:
        options = self.options
        if options.encoder.pooling != "attention":
            return None
        return Attention(encoder.attention(field), 1 / float(options.rate_hz or 1), "s")  # type: ignore[operator]

    def problems(self, source: Source, cohort: Cohort) -> list[Problem]:
        """Records that are absent though named, leads that are missing or poor, and names of limb leads that do not fit."""
        found: list[Problem] = []
        named = self.keys(self.options, cohort).is_not_null().to_numpy()
        leads = self.options.leads or ()
        for part, lead, measured, off in self._qualities(source, np.arange(len(cohort))):
            for place, row in enumerate(part.tolist()):
                if not source.unit[row]:
                    text = (
                        ["the record could not be read, or holds nothing before the index time"] if named[row] else []
                    )
                else:
                    there = lead[place]
                    gone = [name for name, has in zip(leads, there, strict=True) if not has]
                    text = [f"leads {', '.join(gone[:12])} are missing"] if gone else []
                    text += complaints(measured[place], leads, there, self.usual)
                    if off is not None and off[place] > EINTHOVEN and there.all():
                        text.append("lead II is not the sum of I and III; their names may be exchanged")
                found += [Problem(row, f"{self.options.column}: {words}") for words in text]
        return found

    def held(self, source: Source, rows: Int[np.ndarray, " rows"]) -> Held:
        """Whole seconds that each row sees, and the share of rows with each lead that is missing or poor."""
        leads, start, stop = self.options.leads or (), *_ranges(source, rows)
        seconds = np.ceil((stop - start) / float(self.options.rate_hz or 1)).astype(np.int64)
        gone, bad, turned = np.zeros(len(leads)), np.zeros((len(leads), len(QUALITY))), 0
        for part, lead, measured, off in self._qualities(source, rows):
            has = source.unit[part] > 0
            gone += (has[:, None] & ~lead).sum(axis=0)
            bad += poor(measured, lead & has[:, None]).sum(axis=0)
            turned += 0 if off is None else int((has & lead.all(axis=1) & (off > EINTHOVEN)).sum())
        found = [(f"lead {name} is missing", gone[place]) for place, name in enumerate(leads)]
        found += [
            (f"lead {name} {_ONE[word]}", bad[place, kind])
            for place, name in enumerate(leads)
            for kind, word in enumerate(WORDS)
        ]
        found += [("lead II is not the sum of I and III", turned)]
        shares = [(words, float(count) / len(rows)) for words, count in found if count]
        return Held(
            "seconds of signal", np.where(source.unit[rows] > 0, seconds, 0), tuple(sorted(shares, key=lambda s: -s[1]))
        )

    def timeline(self, source: Source, row: int) -> tuple[Trace, ...]:
        """The first leads of the first window of a row, as packed, thinned to what a figure can show."""
        if not source.unit[row]:
            return ()
        rows = np.array([row])
        view = covering_view(*_ranges(source, rows), self.options.samples, self.options.stride, rows)
        windows, known = _raw(source, view, self.options.samples)
        step = max(1, self.options.samples // MOST_POINTS)
        drawn = []
        for place, name in enumerate((self.options.leads or ())[:MOST_TRACES]):
            at = np.flatnonzero(known[0, place])
            at = at[at % step == 0]
            age = (self.options.samples - at) / float(self.options.rate_hz or 1)
            drawn += [Trace(name, tuple(age.tolist()), tuple(windows[0, place, at].tolist()), "s")] if len(at) else []
        return tuple(drawn)

    def _qualities(
        self, source: Source, rows: Int[np.ndarray, " rows"]
    ) -> Iterator[tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray | None]]:
        """Blocks of rows, with the leads each has, the quality of each lead, and how far lead II is from I + III."""
        leads = self.options.leads or ()
        for part in _blocks(self.options, rows):
            view = covering_view(*_ranges(source, part), self.options.samples, self.options.stride, part, MOST_WINDOWS)
            windows, known = _raw(source, view, self.options.samples)
            clean = np.nan_to_num(windows)
            measured = simple.row_means(
                quality(clean, known).reshape(len(clean), -1), view.rows, part, source.unit[part] > 0
            )
            lead = np.asarray(source.packed.arrays["lead"])[source.unit[part]]
            off = simple.einthoven(clean, leads, view.rows, part)
            yield part, lead, measured.reshape(len(part), len(leads), len(QUALITY)), off

    def describe(self) -> Mapping[str, str]:
        options = self.options
        return {
            "leads": ", ".join(options.leads or ()),
            "sampling rate": f"{options.rate_hz:g} Hz",
            "window": f"{options.window_seconds:g} s",
        }


def _scale_alone(
    value: Float[np.ndarray, "views leads samples"], known: Bool[np.ndarray, "views #leads samples"]
) -> None:
    """Scales each lead of each window by its own mean and standard deviation, in place."""
    count = np.maximum(known.sum(axis=2, keepdims=True), 1)
    value -= ((value * known).sum(axis=2, keepdims=True, dtype=np.float64) / count).astype(np.float32)
    power = (np.square(value, dtype=np.float64) * known).sum(axis=2, keepdims=True) / count
    value /= np.where(power > 0, np.sqrt(power), 1.0).astype(np.float32)


def _ranges(source: Source, rows: Int[np.ndarray, " rows"]) -> tuple[np.ndarray, np.ndarray]:
    assert source.start is not None and source.stop is not None
    return source.start[rows], source.stop[rows]


def _blocks(options: SignalOptions, rows: Int[np.ndarray, " rows"]) -> Iterator[Int[np.ndarray, " some"]]:
    """Rows, so many at a time that some windows of each fit into memory."""
    size = max(1, VALUES_AT_ONCE // (MOST_WINDOWS * options.samples * len(options.leads or ())))
    for begin in range(0, len(rows), size):
        yield rows[begin : begin + size]


def _some_windows(options: SignalOptions, source: Source, rows: Int[np.ndarray, " rows"]) -> Iterator[View]:
    """Windows of those rows that have the input, a block of rows at a time."""
    for part in _blocks(options, rows[source.unit[rows] > 0]):
        yield covering_view(*_ranges(source, part), options.samples, options.stride, part, MOST_WINDOWS)


def _raw(
    source: Source, view: View, samples: int
) -> tuple[Float[np.ndarray, "views leads samples"], Bool[np.ndarray, "views leads samples"]]:
    """Windows as they are packed, NaN where unknown, and which samples of which leads are known."""
    unit = source.unit[view.rows]
    windows, valid, _ = packing.gather(source.packed, unit, view.at["first"], view.at["last"], samples)
    known = np.isfinite(windows) & valid[:, None] & np.asarray(source.packed.arrays["lead"])[unit][:, :, None]
    return np.where(known, windows, np.nan).astype(np.float32), known
