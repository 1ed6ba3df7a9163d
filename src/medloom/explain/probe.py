"""The model asked again with parts of its inputs taken from other rows."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from jaxtyping import Bool, Float, Int

from medloom.batch import Batch, Field, Output
from medloom.evaluation.baseline import answered
from medloom.explain.windows import Windows
from medloom.feed import Feed
from medloom.model.outputs import said
from medloom.model.team import NETWORK, Team
from medloom.packed import Source
from medloom.task import Measured
from medloom.told import Feature

BLOCK = 4_096


@dataclass(frozen=True, slots=True, order=True)
class Piece:
    """A part of an input: a column of a table, or the whole of an input that has no parts (`part` is empty then).

    Where it stands for several parts, `parts` names them.
    """

    input: str
    part: str = ""
    several: tuple[str, ...] = ()

    @property
    def parts(self) -> tuple[str, ...]:
        """The parts that it stands for."""
        return self.several or (self.part,)

    def named(self, several: bool) -> str:
        """For people; with the input's name where there are several."""
        if not self.part:
            return f"{self.input} (whole)"
        return f"{self.input}: {self.part}" if several else self.part


@dataclass(frozen=True, slots=True)
class Probe:
    """A team with its calibrated tasks (in `feed`), and the rows that it is asked about.

    Rows have one view each, or `windows` that were looked at before. What comes back is measured against the rows' own
    answers, for rows where those are known.
    """

    team: Team
    feed: Feed
    rows: Int[np.ndarray, " rows"]
    windows: Windows | None = None

    def targets(self) -> tuple[str, ...]:
        """Targets with an answer of a few numbers a row."""
        return asked_of(self.feed)

    def pieces(self) -> tuple[Piece, ...]:
        """Every part of every input that the rows hold; inputs without parts, or seen in windows, as a whole."""
        found: list[Piece] = []
        for name, modality in self.feed.modalities.items():
            parts = () if modality.windows else modality.parts(self.feed.sources[name], self.rows)
            found += [Piece(name, part) for part in parts] or [Piece(name)]
        return tuple(found)

    def features(self) -> tuple[tuple[str, Feature], ...]:
        """The input and the part of each plain number, side by side as `Feed.plain` has them."""
        found = []
        for name, modality in self.feed.modalities.items():
            width = modality.plain(self.feed.sources[name], self.rows[:1]).shape[1]
            own = modality.features() or (Feature(""),) * width
            found += [(name, one) for one in own]
        return tuple(found)

    def plain(self) -> Float[np.ndarray, "rows features"]:
        """Plain numbers of the rows side by side, as `features` names them; NaN of inputs that are seen in windows."""
        found = []
        for name, modality in self.feed.modalities.items():
            source = self.feed.sources[name]
            rows = self.rows[:1] if modality.windows else self.rows
            own = modality.plain(source, rows).astype(np.float64)
            source.packed.release()
            found.append(np.full((len(self.rows), own.shape[1]), np.nan) if modality.windows else own)
        return np.concatenate(found, axis=1)

    def known(self, target: str) -> Bool[np.ndarray, " rows"]:
        """Which of the rows have a known answer."""
        return np.isin(self.rows, answered(self.feed, target, self.rows))

    def measured(
        self, moved: Collection[Piece] = (), donor: Int[np.ndarray, " rows"] | None = None
    ) -> dict[str, Measured]:
        """What is measured of each target where these pieces are those of the rows at the places `donor`.

        Entries are those of all rows, in their order: take `known` ones for figures.
        """
        blocks: dict[str, list[Measured]] = {name: [] for name in self.targets()}
        for place, answers in self.answers(moved, donor):
            truths = self.feed.targets(self.rows[place])
            for name in blocks:
                task = self.feed.tasks[name]
                output = self.team.together(name, task, answers[name])
                output = {**output, **self.feed.beside(name, self.rows[place])}
                blocks[name].append(task.measure(task.decode(output), truths[name]))
        return {
            name: {key: np.concatenate([block[key] for block in each]) for key in each[0]}
            for name, each in blocks.items()
        }

    def answers(
        self, moved: Collection[Piece] = (), donor: Int[np.ndarray, " rows"] | None = None
    ) -> Iterator[tuple[np.ndarray, dict[str, dict[str, Output]]]]:
        """Blocks of (places among the rows, what each member says, by target), with those pieces of other rows."""
        if self.windows is None:
            for place, batch, plain in self.blocks(moved, donor):
                yield place, said(self.team, self.feed, batch, plain)
            return
        block = self.windows.at_once(self.feed.at_once(self.rows, BLOCK))
        for start in range(0, len(self.rows), block):
            place = np.arange(start, min(start + block, len(self.rows)))
            rows = self.rows[place]
            yield place, self._beside_windows(moved, rows, rows if donor is None else self.rows[donor[place]])

    def _beside_windows(
        self, moved: Collection[Piece], rows: np.ndarray, others: np.ndarray
    ) -> dict[str, dict[str, Output]]:
        """What each member says of rows whose windows were looked at before."""
        assert self.windows is not None
        givers, near, plain = {}, {}, []
        for name, modality in self.feed.modalities.items():
            if modality.windows:
                givers[name] = others if Piece(name) in moved else rows
                plain += [self.windows.plain_of(name, givers[name])] if self.windows.plain else []
            else:
                near[name], own = self._of_input(name, moved, rows, others)
                plain.append(own)
        numbers = np.concatenate([np.zeros((len(rows), 0)), *plain], axis=1)
        found: dict[str, dict[str, Output]] = {}
        for name in self.targets():
            simple = self.team.simple.get(name, {})
            networks = (
                {NETWORK: self.windows.said(self.team, self.feed, name, givers, near)} if self.team.networks else {}
            )
            found[name] = {**networks, **{member: one.answer(numbers) for member, one in simple.items()}}
        return found

    def blocks(
        self, moved: Collection[Piece] = (), donor: Int[np.ndarray, " rows"] | None = None
    ) -> Iterator[tuple[np.ndarray, Batch, np.ndarray]]:
        """Blocks of (places among the rows, batch, plain numbers), with those pieces of other rows."""
        block = self.feed.at_once(self.rows, BLOCK)
        for start in range(0, len(self.rows), block):
            place = np.arange(start, min(start + block, len(self.rows)))
            rows = self.rows[place]
            others = rows if donor is None else self.rows[donor[place]]
            each = [self._of_input(name, moved, rows, others) for name in self.feed.modalities]
            inputs = dict(zip(self.feed.modalities, (field for field, _ in each), strict=True))
            batch = Batch(inputs, {}, torch.from_numpy(rows), torch.ones(len(rows)))
            yield place, batch, np.concatenate([plain for _, plain in each], axis=1)

    def _of_input(
        self, name: str, moved: Collection[Piece], rows: np.ndarray, others: np.ndarray
    ) -> tuple[Field, Float[np.ndarray, "rows features"]]:
        """What the networks read of one input, and its plain numbers where simple models need them."""
        modality, source = self.feed.modalities[name], self.feed.sources[name]
        parts = {part for piece in moved if piece.input == name for part in piece.parts}
        mixed = modality.mixed(source, rows, others, parts) if parts - {""} else None
        if mixed is not None:
            whole = np.arange(len(rows))
            return modality.batch(mixed, modality.view(mixed, whole, None)), self._plain(name, mixed, whole)
        if "" in parts:
            return modality.batch(source, modality.view(source, others, None)), self._plain(name, source, others)
        field, plain = modality.batch(source, modality.view(source, rows, None)), self._plain(name, source, rows)
        if not parts:
            return field, plain
        other = modality.batch(source, modality.view(source, others, None))
        taken = np.array([one.part in parts for one in modality.features()])
        if plain.shape[1]:
            plain = np.where(taken, self._plain(name, source, others), plain)
        return modality.exchanged(field, other, parts), plain

    def _plain(self, name: str, source: Source, rows: np.ndarray) -> Float[np.ndarray, "rows features"]:
        if not any(self.team.simple.values()):
            return np.zeros((len(rows), 0))
        plain = self.feed.modalities[name].plain(source, rows).astype(np.float64)
        source.packed.release()
        return plain


def asked_of(feed: Feed) -> tuple[str, ...]:
    """Targets that a model can be asked about again and again: a few numbers a row, made of what is pooled of the inputs."""
    return tuple(
        name
        for name, task in feed.tasks.items()
        if not task.dense and (feed.windowed is None or task.needs == "pooled")
    )


def of_rows(measured: Measured, rows: Bool[np.ndarray, " rows"]) -> dict[str, np.ndarray]:
    """What was measured of those rows."""
    return {name: value[rows] for name, value in measured.items()}


def several_inputs(pieces: Sequence[Piece]) -> bool:
    """Whether the pieces are of more than one input, so that names need it."""
    return len({piece.input for piece in pieces}) > 1
