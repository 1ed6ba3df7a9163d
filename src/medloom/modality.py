"""The contract of one kind of input: from files to `Encoded`.

A modality is one folder in `modalities/` whose `__init__.py` holds a class of the folder's name, capitalised. The
class is a frozen dataclass: its fields are the fitted state, and a bundle saves and restores exactly them. Heavy
libraries (torch, polars, decoders) are imported inside methods, or in other files of the folder.

The order in which the methods are called, by `feed.py` alone::

    complete → sized → keys → read → pack → point → summarise → fit → bind → view → batch → encoder
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar, Self, final

import numpy as np

from medloom.draw import Draw
from medloom.packed import Packed, Source
from medloom.parts import InputPart
from medloom.told import Attention, Feature, Held, Located, Neutral, Picture, Problem, Trace

if TYPE_CHECKING:
    import polars as pl
    from jaxtyping import Float, Int, Shaped
    from torch import Tensor, nn

    from medloom.batch import Field, Output
    from medloom.cohort.table import Cohort


OF_THE_PLACE = frozenset({"at", "known_before_index", "table", "connection", "column", "store", "weights"})
"""Options that say where values lie and when they were known, and not what they mean."""


@dataclass(frozen=True, slots=True)
class View:
    """Which rows are looked at, and how: numbers only, so that input, mask and marks can share and replay it.

    `rows` repeats a row once for each of its windows; `at` holds arrays with one entry a view (a corner, a flip).
    """

    rows: Int[np.ndarray, " views"]
    at: Mapping[str, Shaped[np.ndarray, "views ..."]] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Marks:
    """The answers of each row as the data hold them, before any fit. The only thing read past the index time.

    `values` has an entry a row (a class code, a number, a path of a mask); `present` is false where none is known.
    `names` are what the values mean to the task (class names, the labels a mask may hold).
    """

    values: Shaped[np.ndarray, "rows ..."]
    present: np.ndarray
    names: tuple[Any, ...] = ()
    folder: Path = Path()


@dataclass(frozen=True, slots=True)
class Outcomes:
    """What the answers of training rows are, as numbers: for an input that learns from them before the network does.

    `values` are class indicators, numbers or events, NaN where unknown; of each target, all are together in `spans`.
    `fold` parts the rows so that no patient is in two parts: what is made of an answer must not come back to a row of
    its own part.
    """

    rows: Int[np.ndarray, " rows"]
    values: Float[np.ndarray, "rows outcomes"]
    fold: Int[np.ndarray, " rows"]
    spans: tuple[tuple[int, int], ...]


@dataclass(frozen=True, slots=True)
class Lifted:
    """Values at raw positions: one array a row, `[channels, *raw shape]`.

    Real numbers are what a head gave; whole ones have been settled by the task (`Task.settle`). `spacing_mm` is the
    distance of positions along each axis, for each row; None where its file does not tell.
    """

    rows: Int[np.ndarray, " rows"]
    values: Sequence[Shaped[np.ndarray, "channels ..."]]
    spacing_mm: Sequence[tuple[float, ...] | None] = ()


@dataclass(frozen=True, slots=True)
class Pinned:
    """Places that somebody marked on an input, NaN past the last of a row and where a row has none.

    `place` are normalised positions: the outer edges of the first and the last voxel of each axis lie at −1 and 1.
    `step` takes steps between them to steps in the unit of the row's file.
    """

    place: Float[np.ndarray, "rows points dims"]
    step: Float[np.ndarray, "rows dims dims"]


Settle = Callable[[Any], Any]
"""Scores of some positions `[channels, ...]` → what is kept of each of them, as whole numbers `[kept, ...]`."""


class Lifting(ABC):
    """Collects a dense output view after view, in the order in which `view` gave them, and lifts it to raw positions.

    No more is held at a time than views that overlap need, and what is kept of all others.
    """

    @abstractmethod
    def add(self, view: View, output: Output) -> None:
        """Takes the outputs of some views; all views of a row come one after another."""

    @abstractmethod
    def finish(self) -> Lifted:
        """All rows that were added."""


@dataclass(frozen=True, slots=True)
class Stored:
    """Values that are packed already, with the unit of each row; 0 where there is none."""

    packed: Packed
    unit: Int[np.ndarray, " rows"]


@dataclass(frozen=True, slots=True)
class Lengths:
    """How many positions each row takes, so that rows of like length can share a batch and memory is bounded.

    `pool` batches at a time are drawn at random and then sorted by length (0: none are); at most `budget` positions,
    with padding, are computed at a time.
    """

    each: Int[np.ndarray, " rows"]
    pool: int
    budget: int


@dataclass(frozen=True, slots=True)
class Budget:
    """What a network may take: rows of the cohort, minutes of training (None: no limit), and what computes it.

    `inputs` share it: those that are seen in views, which are dear.
    """

    rows: int
    minutes: float | None = None
    device: str = "auto"
    inputs: int = 1
    memory_bytes: int = 8 << 30
    cores: int = 1


@dataclass(frozen=True, slots=True)
class Sized:
    """Options with a number in the place of every size that was left open, and why, in a few lines."""

    options: InputPart
    why: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Hiding:
    """How much of an input is hidden from its encoder: a share of its cells, of which so many lie along its longest axis."""

    input: str
    share: float
    cells: int


class Modality(ABC):
    """One kind of input. Abstract or final: subclasses are frozen dataclasses and are not subclassed again."""

    Options: ClassVar[type[InputPart]]
    Summary: ClassVar[type]
    """What `fit` needs of training rows. Additive over sites, and over any groups of whole patients."""
    needs_patient: ClassVar[bool] = False
    """Whether rows find their values by the patient's id, so that new rows must carry it."""
    read_block: ClassVar[int] = 16_384
    """Units read at a time while packing: fewer where one unit is large."""
    part_word: ClassVar[str] = "column"
    """What a part is called by those who read what answers rest on."""
    rest_as_one: ClassVar[bool] = False
    """Whether parts that are too many to be asked about one by one are asked about together."""
    windows: ClassVar[bool] = False
    """Whether `view` may give several views of a row."""
    mixes: ClassVar[bool] = False
    """Whether a value between those of two rows is one that a row could have: of brightness, not of a code."""
    copies_within: ClassVar[float | None] = None
    """Distance of fingerprints below which one record is a copy of the other; None where only the others can tell."""

    @classmethod
    def complete(cls, options: InputPart, cohort: Cohort, taken: frozenset[str]) -> InputPart:
        """The options with everything that only the data can tell; `taken` are columns that other parts own."""
        return options

    @classmethod
    def sized(cls, options: InputPart, cohort: Cohort, budget: Budget) -> Sized:
        """The completed options with every size of the network that was left to the data and the budget, and why.

        Sizes may come from the extent of all rows' records, never from their values.
        """
        return Sized(options)

    @classmethod
    def columns(cls, options: InputPart) -> tuple[str, ...]:
        """Columns of the cohort table that this input reads, once completed."""
        return ()

    @classmethod
    @abstractmethod
    def keys(cls, options: InputPart, cohort: Cohort) -> pl.Series:
        """What identifies each row's unit (a path, a patient): a Series of text, null where the input is absent."""

    @classmethod
    def mend(cls, options: InputPart, cohort: Cohort) -> tuple[Cohort, list[Problem]]:
        """The cohort with values that `read` would refuse made missing, each with a Problem. Only on request."""
        return cohort, []

    @classmethod
    def stored(cls, options: InputPart, cohort: Cohort) -> Stored | None:
        """Values that lie packed in a store of their own, which then are not read again; None where they do not."""
        return None

    @classmethod
    @abstractmethod
    def read(cls, options: InputPart, cohort: Cohort) -> Any:
        """A block of units, as this modality's own column type: `cohort` holds one row for each unit.

        Raises DataError for anything unreadable. Nothing is substituted.
        """

    @classmethod
    @abstractmethod
    def pack(cls, options: InputPart, columns: Iterable[Any], store: Path | None) -> Packed:
        """Blocks of units → arrays. Adds the empty unit first. `store=None` keeps them in memory."""

    @classmethod
    @abstractmethod
    def point(cls, options: InputPart, packed: Packed, cohort: Cohort, unit: Int[np.ndarray, " rows"]) -> Source:
        """Rows → units, cut at the index time of each row."""

    @classmethod
    def learns_from_answers(cls, options: InputPart) -> bool:
        """Whether `fit` asks for the answers of training rows: they then lie in `source.bound["outcomes"]`."""
        return False

    @classmethod
    @abstractmethod
    def summarise(cls, options: InputPart, source: Source, rows: Int[np.ndarray, " rows"]) -> Any:
        """A `Summary` of these rows, from the packed values: called with training rows only."""

    @classmethod
    @abstractmethod
    def fit(cls, options: InputPart, summaries: Sequence[Any]) -> Self:
        """The fitted modality from the summaries of one site or many."""

    @abstractmethod
    def bind(self, source: Source) -> Source:
        """The source with fitted look-ups done once (store code → vocabulary id, scaled values)."""

    @abstractmethod
    def view(
        self, source: Source, rows: Int[np.ndarray, " rows"], draw: Draw | None, focus: Sequence[Source] = ()
    ) -> View:
        """Training (`draw` given): one view a row, favouring where the laid sources in `focus` are marked.

        Prediction (`draw=None`): views that together cover all of each row, the views of a row side by side.
        """

    def lengths(self, source: Source, rows: Int[np.ndarray, " rows"]) -> Lengths | None:
        """How long each row is to this input; None where all rows are of one length."""
        return None

    @abstractmethod
    def batch(self, source: Source, view: View) -> Field:
        """A vectorised gather of the views. Also serves sources made by `lay`."""

    @abstractmethod
    def plain(self, source: Source, rows: Int[np.ndarray, " rows"]) -> Float[np.ndarray, "rows features"]:
        """Simple numbers of each row for the baselines; NaN where missing."""

    def plain_names(self) -> tuple[str, ...]:
        """What each of these numbers is, in words, where they are of no column; nothing where they have no names."""
        return ()

    @classmethod
    def measured_columns(cls, options: InputPart) -> Mapping[str, tuple[str, float] | None]:
        """Columns of the cohort's table that hold measured numbers: what a stress test alters.

        Each with the unit that it is easily mistaken for, and the factor that this makes; None where no unit says.
        """
        return {}

    @classmethod
    def takes_masks(cls, options: InputPart) -> bool:
        """Whether masks can be laid on this input: whether it has `lay`, `truth` and `lift`."""
        return False

    def fingerprint(self, source: Source, rows: Int[np.ndarray, " rows"]) -> Float[np.ndarray, "rows features"]:
        """Features in which rows that are almost the same lie close together, of about equal spread; for the audit.

        The plain numbers as their place among these rows, unless a modality knows better.
        """
        from medloom.fingerprint import ranked

        return ranked(self.plain(source, rows))

    @abstractmethod
    def encoder(self) -> nn.Module:
        """A module `forward(Field) -> Encoded` with an attribute `gives: Gives`."""

    def carrying(self, other: Self) -> Self | None:
        """The state to go on with, so that weights learnt with `other` mean the same here; None where they cannot.

        That of `other`, where both were asked the same of their values: its scales and vocabularies are those of its weights.
        """
        own, its = (
            one.options.model_dump(exclude=OF_THE_PLACE)  # type: ignore[attr-defined]
            for one in (self, other)
        )
        return other if own == its else None

    def begin(self, encoder: nn.Module, folder: Path) -> str | None:
        """Puts published weights into a new encoder where the options name a file, relative to `folder`.

        Returns what was taken, as a sentence; None where no file is named.
        """
        return None

    def features(self) -> tuple[Feature, ...]:
        """What each number that `plain` gives is of; nothing where the input can only be explained as a whole.

        A modality that names them has `exchanged`, or `mixed`, as well.
        """
        return ()

    def parts(self, source: Source, rows: Int[np.ndarray, " rows"]) -> tuple[str, ...]:
        """The parts of the input that these rows hold; those of the most rows first, where there may be very many."""
        return tuple(dict.fromkeys(one.part for one in self.features()))

    def called(self, part: str) -> str:
        """What people call a part whose name is a code; empty where nothing says."""
        return ""

    def exchanged(self, field: Field, other: Field, parts: Collection[str]) -> Field:
        """The field with these parts of `other`, which has other rows in the same places."""
        raise PartsUnsupported(type(self).__name__)

    def mixed(
        self, source: Source, rows: Int[np.ndarray, " rows"], others: Int[np.ndarray, " rows"], parts: Collection[str]
    ) -> Source | None:
        """A bound source of as many rows, in this order, with these parts of `others`; None where `exchanged` does it."""
        return None

    def neutral(self, encoder: nn.Module, field: Field) -> Neutral | None:
        """What the rows of a field are compared with by integrated gradients; None where there is no such row."""
        return None

    def attention(self, encoder: nn.Module, field: Field) -> Attention | None:
        """Where along its views the trained encoder of this input looked; None where it weighs no positions."""
        return None

    def located(self, encoder: nn.Module) -> Located | None:
        """Where in its trained encoder maps over images are made; None where an input is no image."""
        return None

    def shares(self, encoder: nn.Module, field: Field) -> Float[Tensor, "views images"] | None:
        """How much each image of each view is weighed, sums of 1, or of 0 where there is none; None of inputs with one image."""
        return None

    def pictures(self, source: Source, row: int) -> tuple[Picture, ...]:
        """The images of one row: a patient's data, for reports whose study asks for it. Nothing of other inputs."""
        return ()

    def problems(self, source: Source, cohort: Cohort) -> list[Problem]:
        """What of these rows does not fit the fitted state (unseen category, value out of range)."""
        return []

    def held(self, source: Source, rows: Int[np.ndarray, " rows"]) -> Held | None:
        """What these rows hold before their index times; None where an input has nothing to count."""
        return None

    def timeline(self, source: Source, row: int) -> tuple[Trace, ...]:
        """The course of one row: a patient's data, for reports whose study asks for it. Nothing without times."""
        return ()

    def describe(self) -> Mapping[str, str]:
        """Fitted facts a reader wants to see (how many columns, codes), as text."""
        return {}

    def left_out(self) -> int:
        """How many numbers were offered that a selection left out of what `plain` gives."""
        return 0

    def learnt(self, encoder: nn.Module) -> Mapping[str, str]:
        """What the trained encoder of this input chose that a reader wants to see, as text."""
        return {}

    def hide(self, field: Field, hiding: Hiding, rows: Int[np.ndarray, " rows"], draw: Draw | None) -> Field:
        """The field with parts hidden from the encoder: `extra["whole"]` has all values, `extra["hidden"]` where they are.

        In training a function of the draw and the row; in prediction (`draw=None`) the same for every row.
        """
        raise HidingUnsupported(type(self).__name__)

    def lay(self, source: Source, marks: Marks, store: Path | None) -> Source:
        """A dense target laid on this input: masks, spans. Raises DataError where the geometries differ."""
        raise DenseUnsupported(type(self).__name__)

    def pin(self, source: Source, marks: Marks) -> Pinned:
        """Places `[points, axes]` of each row, in the unit of its file, on this input. Raises DataError for places beyond it."""
        raise DenseUnsupported(type(self).__name__)

    def truth(self, laid: Source, rows: Int[np.ndarray, " rows"]) -> Lifted:
        """The laid marks at raw positions, as they were read."""
        raise DenseUnsupported(type(self).__name__)

    def lifting(self, source: Source, settle: Settle | None = None) -> Lifting:
        """What lifts dense outputs of views to raw positions, and settles them part by part; the inverse of `lay`."""
        raise DenseUnsupported(type(self).__name__)

    @final
    def lift(self, source: Source, view: View, output: Output) -> Lifted:
        """A dense output of all views of some rows → values at raw positions."""
        lifting = self.lifting(source)
        lifting.add(view, output)
        return lifting.finish()

    def save(
        self, source: Source, row: int, values: Shaped[np.ndarray, "..."], stem: Path, labels: Mapping[str, int]
    ) -> Path:
        """Writes a dense answer in the geometry of its input; returns the file's path (`stem` plus a suffix).

        `labels` are the names of the values.
        """
        raise DenseUnsupported(type(self).__name__)

    def save_numbers(
        self, source: Source, row: int, values: Float[np.ndarray, "..."], stem: Path, image: int = 0
    ) -> Path:
        """Writes real numbers in the geometry of one of a row's images; returns the file's path (`stem` plus a suffix)."""
        raise DenseUnsupported(type(self).__name__)


class PartsUnsupported(TypeError):
    """A part was asked of a modality that has none. Explanations look at `features` first."""

    def __init__(self, name: str) -> None:
        super().__init__(f"{name} has no parts that could be exchanged")


class HidingUnsupported(TypeError):
    """Something was to be hidden of a modality that has no such parts. Studies are checked before it can happen."""

    def __init__(self, name: str) -> None:
        super().__init__(f"{name} has no parts that could be hidden")


class DenseUnsupported(TypeError):
    """A dense target was asked of a modality that nothing can be laid on. `run` checks before it can happen."""

    def __init__(self, name: str) -> None:
        super().__init__(f"{name} has no positions that a dense target could be laid on")
