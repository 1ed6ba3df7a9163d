"""Segmentation: which voxels of an image belong to which label."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any, ClassVar, Literal, Self

import numpy as np

from medloom.errors import DataError, StudyError, rows_named, those
from medloom.modality import Lifted, Marks
from medloom.task import Baseline, Measured, Metric, Plot, Prediction, Task
from medloom.tasks import _segment_figures as figures
from medloom.tasks._cleanup import Cleanup, learnt, tried_on
from medloom.tasks._ground import Ground
from medloom.tasks._segment_options import SegmentOptions
from medloom.tasks._surfaces import longest_mm

if TYPE_CHECKING:
    from jaxtyping import Bool, Float, Integer, Shaped
    from torch import Tensor, nn

    from medloom.batch import Field, Gives, Output
    from medloom.cohort.table import Cohort


@dataclass(frozen=True, slots=True)
class MaskPrediction(Prediction):
    """A mask of label values, `[*shape]`, for each row; without voxels where the row has no image.

    Where labels overlap, each has a bit of the mask, and `labels` holds the bits. `confidence` has, for each row, the
    probabilities of labels that are looked at lesion by lesion, in 255 steps.
    """

    masks: tuple[np.ndarray, ...]
    labels: Mapping[str, int]
    overlapping: bool = False
    spacing_mm: tuple[tuple[float, ...] | None, ...] = ()
    confidence: tuple[Mapping[str, np.ndarray], ...] = ()

    def __len__(self) -> int:
        return len(self.masks)

    def part(self, row: int, name: str) -> Bool[np.ndarray, "*spatial"]:
        """The voxels of one label of one row."""
        mask, value = self.masks[row], self.labels[name]
        return mask & value > 0 if self.overlapping else np.asarray(mask == value)

    def columns(self) -> Mapping[str, Any]:
        """Voxels of each label: a number, or None where the row has no image."""
        return {
            f"{name}_voxels": [
                int(self.part(row, name).sum()) if mask.size else None for row, mask in enumerate(self.masks)
            ]
            for name in self.labels
        }

    def dense(self) -> Mapping[str, Sequence[np.ndarray]]:
        """Masks of label values; a mask of 0 and 1 for each label where labels overlap."""
        if not self.overlapping:
            return {"": self.masks}
        return {name: [self.part(row, name).astype(np.uint8) for row in range(len(self.masks))] for name in self.labels}

    def legend(self, suffix: str = "") -> Mapping[str, int]:
        return {suffix: 1} if suffix else self.labels

    def measurements(self) -> Sequence[Mapping[str, Any]]:
        """Voxels, volume and longest diameter of each label; None without an image, the latter two without a spacing."""
        return [self._measured(row) for row in range(len(self.masks))]

    def _measured(self, row: int) -> Mapping[str, Any]:
        spacing = self.spacing_mm[row] if self.spacing_mm else None
        found: dict[str, Any] = {}
        for name in self.labels:
            mask = self.part(row, name)
            size = f"{name}_volume_ml" if mask.ndim == 3 else f"{name}_area_mm2"
            found[f"{name}_voxels"] = int(mask.sum()) if mask.size else None
            if spacing is None or not mask.size:
                found |= {size: None, f"{name}_longest_mm": None}
                continue
            each = float(np.prod(spacing)) / (1000 if mask.ndim == 3 else 1)
            found |= {size: round(int(mask.sum()) * each, 6), f"{name}_longest_mm": round(longest_mm(mask, spacing), 6)}
        return found


@dataclass(frozen=True, slots=True)
class Segment(Task):
    """A fitted segmentation. Class ids are 0 for background, then the labels in the order of the study file.

    `cleanup` is what is mended in the answers of each label, once calibration rows have taught it. `ground` is what the
    masks of training rows are drawn on, which decides the units of figures.
    """

    Options: ClassVar[type[SegmentOptions]] = SegmentOptions
    Summary: ClassVar[type[int]] = int
    needs: ClassVar[Literal["finer"]] = "finer"
    dense: ClassVar[bool] = True

    options: SegmentOptions
    masks: int
    cleanup: tuple[Cleanup, ...] = field(default=())
    ground: Ground = field(default=Ground())

    @classmethod
    def columns(cls, options: SegmentOptions) -> tuple[str, ...]:  # type: ignore[override]
        return options.mask_columns

    @classmethod
    def read(cls, options: SegmentOptions, cohort: Cohort) -> Marks:  # type: ignore[override]
        """Paths of mask files, relative to the cohort's folder; the modality reads them when it lays them.

        Raises DataError where a row has some of its masks and not others: an empty cell cannot tell a label that is not
        there from one that nobody drew.
        """
        from medloom.cohort.table import canonical

        columns = [canonical(cohort.column(column, "target")) for column in options.mask_columns]
        paths = np.array([column.to_list() for column in columns], dtype=object).T
        present = np.stack([column.is_not_null().to_numpy() for column in columns], axis=1)
        torn = np.flatnonzero(present.any(axis=1) & ~present.all(axis=1))
        if len(torn):
            raise DataError(
                f"columns {', '.join(options.mask_columns)}: {those(len(torn), 'row', 'have some of their masks and lack others')} "
                f"({rows_named(cohort.row.gather(torn).to_list())}); give a mask without voxels where a label is not there"
            )
        values = paths[:, 0] if options.column is not None else paths
        return Marks(values, present[:, 0], options.legend.values, cohort.files)

    @classmethod
    def summarise(cls, options: SegmentOptions, marks: Marks, rows: np.ndarray) -> int:  # type: ignore[override]
        """How many of the rows have a mask."""
        return int(marks.present[rows].sum())

    @classmethod
    def fit(cls, options: SegmentOptions, summaries: Sequence[int]) -> Self:  # type: ignore[override]
        if not sum(summaries):
            raise DataError(
                f"column {options.mask_columns[0]!r}: no training row has a mask; expected paths of mask files, relative to the table's folder"
            )
        return cls(options, sum(summaries))

    def with_ground(self, truth: Lifted) -> Self:
        return replace(self, ground=Ground.of(truth))

    @property
    def channels(self) -> int:
        """Numbers that the head gives for each voxel: one a label where they overlap, and background beside them else."""
        return len(self.options.names) + (0 if self._by_label else 1)

    @property
    def _by_label(self) -> bool:
        return self.options.overlapping

    def target(self, marks: Marks, rows: np.ndarray) -> Field:
        """Never asked for: the image that masks are laid on gives their voxels, cut as it is cut itself."""
        raise TypeError("masks have no target of a row alone: lay them on their image, and take the batch of that")

    def head(self, gives: Mapping[str, Gives], width: int) -> nn.Module:
        """A U-Net decoder. Raises StudyError where the input has no pyramid of maps."""
        from medloom.tasks._decoder import Decoder

        ground = gives.get(self.options.input)
        if ground is None or not ground.levels:
            raise StudyError(
                f"segment needs an input with maps of several resolutions, and {self.options.input!r} has none; give an image as input"
            )
        return Decoder(self.options.input, ground, self.channels, self.options.deep_supervision)

    def loss(self, output: Output, target: Field, inputs: Mapping[str, Field]) -> Float[Tensor, " batch"]:
        """Cross-entropy plus soft Dice of each row over its valid voxels, and the border's loss; zero without a mask."""
        from medloom.tasks._segment_loss import segmentation_loss

        return segmentation_loss(output, target, self.options.legend, self._by_label, self.options.boundary)

    def calibrate(self, outputs: Iterable[tuple[Output | Lifted, Field | Lifted]]) -> Self:
        """The task with what is mended in its answers: for each label whatever raises the Dice of these rows."""
        if self.options.cleanup == "none":
            return self
        plain = replace(self, cleanup=())
        tried = (row for said, truth in outputs if isinstance(truth, Lifted) for row in plain._tried(said, truth))
        return replace(self, cleanup=learnt(tried, len(self.options.names)))

    def _tried(self, said: Output | Lifted, truth: Lifted) -> Iterator[Sequence[np.ndarray]]:
        prediction = self.decode(said)
        for row, marked in enumerate(truth.values):
            if marked.size:
                voxel = self.ground.voxel(truth.spacing_mm[row] if truth.spacing_mm else None)
                yield [
                    tried_on(prediction.part(row, name), self._marked(marked, place), voxel)
                    for place, name in enumerate(self.options.names)
                ]

    def _marked(self, ids: Integer[np.ndarray, "1 *spatial"], place: int) -> Bool[np.ndarray, "*spatial"]:
        """The voxels of one label of laid masks."""
        return np.asarray(self.options.legend.member[:, place][ids[0]])

    def settle(self, scores: Float[np.ndarray, "channels ..."]) -> Shaped[np.ndarray, "kept ..."]:
        """The value of each voxel in answers, then the probability of each label in `lesions`, in 255 steps."""
        written = tuple(self.options.written.values())
        kind = np.uint8 if max(written) < 256 else np.int16
        lesions = [self.options.names.index(name) for name in self.options.lesions]
        if self._by_label:
            on = sum((scores[place] > 0).astype(kind) * kind(bit) for place, bit in enumerate(written))
            sure = [1 / (1 + np.exp(-scores[place])) for place in lesions]
        else:
            on = np.array((0, *written), kind)[np.argmax(scores, axis=0)]
            sure = list(_softmax(scores)[[place + 1 for place in lesions]]) if lesions else []
        return np.stack([np.asarray(on, kind), *((255 * one).round().astype(kind) for one in sure)])

    def decode(self, output: Output | Lifted) -> MaskPrediction:
        """The likeliest class of each voxel, or each label more likely than not, mended as calibration rows taught."""
        if isinstance(output, Lifted):
            lifted, spacing = output.values, tuple(output.spacing_mm)
        else:
            lifted, spacing = list(output["logits"].detach().float().cpu().numpy()), ()
        settled = [one if one.dtype.kind in "iu" else self.settle(one) for one in lifted]
        prediction = MaskPrediction(
            tuple(one[0] for one in settled),
            dict(self.options.written),
            self._by_label,
            spacing,
            tuple(dict(zip(self.options.lesions, one[1:], strict=True)) for one in settled),
        )
        if all(one == Cleanup() for one in self.cleanup):
            return prediction
        return replace(prediction, masks=tuple(self._mended(prediction, row) for row in range(len(prediction))))

    def _mended(self, prediction: MaskPrediction, row: int) -> np.ndarray:
        mask = prediction.masks[row]
        if not mask.size:
            return mask
        voxel = self.ground.voxel(prediction.spacing_mm[row] if prediction.spacing_mm else None)
        mended = mask.copy()
        for (name, value), clean in zip(prediction.labels.items(), self.cleanup, strict=True):
            before = prediction.part(row, name)
            after = clean(before, voxel)
            if prediction.overlapping:
                # Its bit is set where the label was; an array of 8 bits knows no complement of a whole number.
                mended[before & ~after] ^= value
                mended[after] |= value
            else:
                mended[before & ~after] = 0
                # A hole is filled where nothing else was found.
                mended[after & (mask == 0)] = value
        return mended

    def measure(self, prediction: Prediction, truth: Field | Lifted) -> Measured:
        """Dice, border distances, volumes and lesions of each label, NaN where nothing can be said; means over labels.

        All are NaN for a row without a mask.
        """
        if not isinstance(prediction, MaskPrediction) or not isinstance(truth, Lifted):
            raise TypeError("segment measures masks against masks at raw positions")
        found = figures.empty(self.options, len(prediction))
        for row, marked in enumerate(truth.values):
            if not marked.size:
                continue
            spacing = truth.spacing_mm[row] if truth.spacing_mm else None
            sure = prediction.confidence[row] if prediction.confidence else {}
            for place, name in enumerate(self.options.names):
                masks = (prediction.part(row, name), self._marked(marked, place))
                figures.measure_label(found, row, name, masks, spacing, self.options, self.ground, sure.get(name))
        return figures.with_means(found, self.options.names)

    def metrics(self) -> Mapping[str, Metric]:
        """Dice first; then borders, volumes and lesions. Rows where a figure is NaN do not count for it."""
        return figures.metrics(self.options, self.ground)

    def baselines(self, seed: int) -> Mapping[str, Baseline]:
        """The most frequent class everywhere; and each voxel's class from its own intensity alone."""
        from medloom.tasks._voxels import Intensity, Prior

        legend = self.options.legend
        return {
            "prior": Prior(self.options.input, legend, self._by_label),
            "intensity": Intensity(self.options.input, legend, self._by_label),
        }

    def question(self) -> str:
        return f"Where in the {self.options.input} is the {' and the '.join(self.options.names)}?"

    def plots(self, measured: Mapping[str, Measured]) -> tuple[Plot, ...]:
        """Dice of every case, differences of volumes, and what finding lesions costs."""
        return figures.plots(self.options, measured, self.ground)

    def drawn_on(self) -> str | None:
        return self.options.input

    def outlines(
        self, prediction: Prediction, truth: Field | Lifted
    ) -> tuple[Mapping[str, np.ndarray], Mapping[str, np.ndarray]]:
        assert isinstance(prediction, MaskPrediction) and isinstance(truth, Lifted)
        names = self.options.names
        drawn = {name: self._marked(truth.values[0], place) for place, name in enumerate(names)}
        return drawn, {name: prediction.part(0, name) for name in names}

    def describe(self) -> Mapping[str, str]:
        values = {name: str(value) for name, value in self.options.written.items()}
        said = {name: one.words(self.ground.small) for name, one in zip(self.options.names, self.cleanup, strict=False)}
        mended = "; ".join(f"{name}: {words}" for name, words in said.items() if words != "nothing")
        return {
            "labels": ", ".join(self.options.names if self._by_label else (f"{n} = {v}" for n, v in values.items())),
            "training rows with a mask": str(self.masks),
            "mended in answers": mended or ("nothing" if said else "nothing was learnt"),
        }


def _softmax(scores: Float[np.ndarray, "classes ..."]) -> Float[np.ndarray, "classes ..."]:
    raised = np.exp(scores - scores.max(axis=0))
    return np.asarray(raised / raised.sum(axis=0))
