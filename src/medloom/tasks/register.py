"""Registration: where each place of one image lies in another."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from typing import TYPE_CHECKING, Any, ClassVar, Literal, Self

import numpy as np

from medloom.errors import DataError, StudyError
from medloom.modality import Lifted, Marks
from medloom.task import Baseline, Curve, Measured, Metric, Plot, Prediction, Task
from medloom.tasks._register_options import RegisterOptions
from medloom.tasks._register_points import UNITS, misses, read_pairs

if TYPE_CHECKING:
    from jaxtyping import Float
    from torch import Tensor, nn

    from medloom.batch import Field, Gives, Output
    from medloom.cohort.table import Cohort
    from medloom.parts import InputPart
    from medloom.warping.search import Search

REFINING = 0.4
"""First step, in voxels of the flow's grid, where a few steps refine what the network said."""
MISSED = "landmarks"
"""Name of the figure that says how far landmarks are missed."""
SOFT = 1.0
"""Voxels added to both halves of the soft Dice, so that a mask without a label has a gradient that is not steep."""


@dataclass(frozen=True, slots=True)
class MapPrediction(Prediction):
    """Maps of a block of rows: displacements in normalised positions (`warping.transform`), and what is told of them.

    Figures are NaN where a row lacks one of its images.
    """

    forward: Float[Tensor, "rows dims *grid"]
    likeness: np.ndarray
    folded: np.ndarray
    inverse_error: np.ndarray
    known: np.ndarray

    def __len__(self) -> int:
        return len(self.known)

    def columns(self) -> Mapping[str, Any]:
        """How alike the images became, the share of voxels that fold, and how far there and back misses (voxels)."""
        told = {"likeness": self.likeness, "folded_share": self.folded, "inverse_error_voxels": self.inverse_error}
        return {
            name: [float(v) if known else None for v, known in zip(values, self.known, strict=True)]
            for name, values in told.items()
        }


@dataclass(frozen=True, slots=True)
class Register(Task):
    """A fitted registration: `pairs` rows were there to learn from, `judged` of them with both masks.

    `unit` is what landmarks are told in, "" where no training row has any.
    """

    Options: ClassVar[type[RegisterOptions]] = RegisterOptions
    Summary: ClassVar[type[tuple[int, int, int]]] = tuple
    needs: ClassVar[Literal["finer"]] = "finer"
    sees_inputs: ClassVar[bool] = True

    options: RegisterOptions
    pairs: int
    judged: int
    unit: str = field(default="")

    @classmethod
    def columns(cls, options: RegisterOptions) -> tuple[str, ...]:  # type: ignore[override]
        return options.text_columns()

    @classmethod
    def mistakes(cls, options: RegisterOptions, inputs: Mapping[str, InputPart]) -> list[tuple[str, str]]:  # type: ignore[override]
        """Inputs that are no pair of images on one grid."""
        missing = [key for key in ("moving", "fixed") if getattr(options, key) not in inputs]
        if missing:
            return [
                (key, f"no input {getattr(options, key)!r}; expected one of {', '.join(inputs)}") for key in missing
            ]
        pair = [inputs[options.moving], inputs[options.fixed]]
        for key, part in zip(("moving", "fixed"), pair, strict=True):
            if not part.seen_whole:
                return [
                    (key, f"input {getattr(options, key)!r} is not seen whole; expected an image with size = patch")
                ]
            if part.bagged:
                return [
                    (
                        key,
                        f"input {getattr(options, key)!r} has several images a row; expected one column with one image",
                    )
                ]
            if getattr(part, "flip", ()):
                return [
                    (
                        key,
                        f"input {getattr(options, key)!r} is mirrored in training; take flip out, as both images lie in one space",
                    )
                ]
        for key in ("dims", "patch", "size", "channels", "levels", "halvings"):
            one, other = (getattr(part, key) for part in pair)
            if one != other:
                return [("fixed", f"moving has {key} = {one} and fixed has {key} = {other}; expected the same of both")]
        return []

    @classmethod
    def read(cls, options: RegisterOptions, cohort: Cohort) -> Marks:  # type: ignore[override]
        """Of each row the paths of both masks, then the landmarks on both images, None where there are none.

        Every row has an answer to be found. Raises DataError for landmarks that cannot be used.
        """
        from medloom.cohort.table import canonical

        paths = np.full((len(cohort), 4), None, dtype=object)
        for place, column in enumerate((options.moving_mask, options.fixed_mask)):
            if column is not None:
                paths[:, place] = np.array(canonical(cohort.column(column, "target")).to_list(), dtype=object)
        if options.moving_points is not None and options.fixed_points is not None:
            paths[:, 2:] = read_pairs(cohort, (options.moving_points, options.fixed_points))
        return Marks(paths, np.ones(len(cohort), bool), (0, *options.labels.values()), cohort.files)

    @classmethod
    def beneath(cls, options: RegisterOptions, marks: Marks) -> Mapping[str, Marks]:  # type: ignore[override]
        """The masks of each of the two images."""
        if not options.labels:
            return {}
        both = {}
        for place, name in enumerate((options.moving, options.fixed)):
            paths = np.asarray(marks.values)[:, place]
            present = np.array([path is not None for path in paths], bool)
            both[name] = Marks(paths, present, marks.names, marks.folder)
        return both

    @classmethod
    def pins(cls, options: RegisterOptions, marks: Marks) -> Mapping[str, Marks]:  # type: ignore[override]
        """The landmarks on each of the two images."""
        if options.moving_points is None:
            return {}
        both = {}
        for place, name in enumerate((options.moving, options.fixed), 2):
            points = np.asarray(marks.values)[:, place]
            both[name] = Marks(points, np.array([one is not None for one in points], bool))
        return both

    @classmethod
    def summarise(cls, options: RegisterOptions, marks: Marks, rows: np.ndarray) -> tuple[int, int, int]:  # type: ignore[override]
        """How many rows there are, how many of them have both masks, and how many axes landmarks have (0: there are none)."""
        values = np.asarray(marks.values)
        masked = sum(all(path is not None for path in pair) for pair in values[rows, :2])
        # Which columns the files have is a unit and no value, and landmarks often stand on rows that judge alone.
        axes = next((places.shape[1] for places in values[:, 2] if places is not None), 0)
        return len(rows), int(masked), axes

    @classmethod
    def fit(cls, options: RegisterOptions, summaries: Sequence[tuple[int, int, int]]) -> Self:  # type: ignore[override]
        pairs, masked = (int(sum(numbers)) for numbers in zip(*[one[:2] for one in summaries], strict=True))
        if not pairs:
            raise DataError("no training rows; expected rows with a moving and a fixed image")
        if options.supervise and not masked:
            raise DataError("supervise: no training row has both masks; give their paths, or supervise = 0")
        return cls(options, pairs, masked, UNITS.get(max(axes for *_, axes in summaries), ""))

    def target(self, marks: Marks, rows: np.ndarray) -> Field:
        """That there is a map to be found; the feed lays masks beside it where there are any."""
        import torch

        from medloom.batch import Field

        present = torch.from_numpy(np.asarray(marks.present)[rows])
        return Field(torch.zeros(len(rows)), present)

    def head(self, gives: Mapping[str, Gives], width: int) -> nn.Module:
        """Flows from the pyramids of both images. Raises StudyError where an input has no pyramid."""
        from medloom.tasks._register_head import PairHead

        pair = (gives[self.options.moving], gives[self.options.fixed])
        if any(not one.levels for one in pair):
            raise StudyError("register needs inputs with maps of several resolutions; give two images")
        options = self.options
        return PairHead(
            options.moving, options.fixed, pair, options.similarity, options.window, self._search(options.refine)
        )

    def _search(self, flow_steps: int) -> Search:
        from medloom.warping.search import Search

        return Search(
            self.options.similarity, self.options.window, self.options.smooth, flow_steps=flow_steps, flow_rate=REFINING
        )

    def loss(self, output: Output, target: Field, inputs: Mapping[str, Field]) -> Float[Tensor, " batch"]:
        """1 − likeness + smooth · roughness, and of rows with masks supervise · (1 − Dice); zero without both images."""
        loss = 1 - output["likeness"] + self.options.smooth * output["roughness"]
        if self.options.supervise and self.options.moving in target.extra:
            both = self._both(target).to(loss.dtype)
            loss = loss + self.options.supervise * (1 - self._soft_dice(output["forward"], target)) * both
        return loss * output["known"] * target.present.to(loss.dtype)

    def _both(self, target: Field) -> Tensor:
        return target.extra[f"{self.options.moving}.present"] & target.extra[f"{self.options.fixed}.present"]

    def _soft_dice(self, forward: Tensor, target: Field) -> Float[Tensor, " batch"]:
        """Soft Dice of the carried moving mask and the fixed mask, the mean over labels."""
        import torch

        from medloom.warping.transform import sample

        one, other = (target.extra[name] for name in (self.options.moving, self.options.fixed))
        ids = torch.arange(1, len(self.options.labels) + 1, device=one.device).view(1, -1, *[1] * (one.ndim - 1))
        carried = sample((one[:, None] == ids).to(forward.dtype), forward).flatten(2)
        truth = (other[:, None] == ids).to(forward.dtype).flatten(2)
        dice = (2 * (carried * truth).sum(2) + SOFT) / (carried.sum(2) + truth.sum(2) + SOFT)
        return dice.mean(1)

    def calibrate(self, outputs: Iterable[tuple[Output, Field]]) -> Self:
        """The task as it is: a map has no probability to calibrate."""
        return self

    def decode(self, output: Output | Lifted) -> MapPrediction:
        """The maps with what is told of them."""
        from medloom.warping.transform import folded

        if isinstance(output, Lifted):
            raise TypeError("maps are decoded on the grid of the network")
        forward = output["forward"].detach().float().cpu()
        told = {
            key: output[key].detach().cpu().numpy().astype(np.float64) for key in ("likeness", "inverse_error", "known")
        }
        known = told["known"] > 0
        figures = [told["likeness"], folded(forward).numpy().astype(np.float64), told["inverse_error"]]
        alike, folds, missed = (np.where(known, each, np.nan) for each in figures)
        return MapPrediction(forward, alike, folds, missed, known)

    def measure(self, prediction: Prediction, truth: Field | Lifted) -> Measured:
        """Figures of the map; where both images have masks the Dice of each label, NaN where neither mask has it; and how
        far landmarks are missed, on average over those of a row.
        """
        if not isinstance(prediction, MapPrediction) or isinstance(truth, Lifted):
            raise TypeError("register measures maps on the grid of the network")
        told = {
            "likeness": prediction.likeness,
            "folded": prediction.folded,
            "inverse_error": prediction.inverse_error,
        }
        dice = self._dice(prediction, truth) if self.options.labels else {}
        return {**dice, **self._missed(prediction, truth), **told}

    def _missed(self, prediction: MapPrediction, truth: Field) -> dict[str, np.ndarray]:
        if self.options.moving_points is None:
            return {}
        if f"{self.options.fixed}.place" not in truth.extra:
            return {MISSED: np.full(len(prediction), np.nan)}
        fixed, moving = (truth.extra[f"{name}.place"] for name in (self.options.fixed, self.options.moving))
        missed = misses(prediction.forward, fixed, moving, truth.extra[f"{self.options.moving}.step"])
        return {MISSED: np.where(prediction.known, missed, np.nan)}

    def _shares(self, prediction: MapPrediction, truth: Field) -> Float[Tensor, "rows classes *grid"]:
        """How much of each voxel of the fixed images is of each class of the carried moving masks."""
        import torch

        from medloom.warping.transform import sample

        moving = truth.extra[self.options.moving]
        ids = torch.arange(len(self.options.labels) + 1).view(1, -1, *[1] * (moving.ndim - 1))
        return sample((moving[:, None] == ids).float(), prediction.forward)

    def drawn_on(self) -> str | None:
        """The fixed image, where there are outlines to carry onto it."""
        return self.options.fixed if self.options.labels else None

    def outlines(
        self, prediction: Prediction, truth: Field | Lifted
    ) -> tuple[Mapping[str, np.ndarray], Mapping[str, np.ndarray]]:
        """Each label of the fixed image, beside that of the moving one as it lies, and as it is carried."""
        assert isinstance(prediction, MapPrediction) and not isinstance(truth, Lifted)
        if self.options.moving not in truth.extra or not bool(self._both(truth)[0]) or not prediction.known[0]:
            return {}, {}
        fixed, moving = (truth.extra[name][0].numpy() for name in (self.options.fixed, self.options.moving))
        carried = self._shares(prediction, truth).argmax(1)[0].numpy()
        drawn, answered = {}, {}
        for place, label in enumerate(self.options.labels, 1):
            for how, one in (("not moved", moving), ("carried", carried)):
                drawn[f"{label}, {how}"], answered[f"{label}, {how}"] = fixed == place, one == place
        return drawn, answered

    def _dice(self, prediction: MapPrediction, truth: Field) -> dict[str, np.ndarray]:
        names = tuple(self.options.labels)
        figures, sizes = (np.full((len(prediction), len(names)), np.nan) for _ in range(2))
        if self.options.moving in truth.extra:
            fixed, shares = truth.extra[self.options.fixed], self._shares(prediction, truth)
            carried = shares.argmax(1)
            both = self._both(truth).numpy() & prediction.known
            for place in range(len(names)):
                one, other = (carried == place + 1).flatten(1), (fixed == place + 1).flatten(1)
                drawn = other.sum(1).numpy()
                total = one.sum(1).numpy() + drawn
                shared = 2.0 * (one & other).sum(1).numpy()
                figures[:, place] = np.where(both & (total > 0), shared / np.maximum(total, 1), np.nan)
                size = shares[:, place + 1].flatten(1).sum(1).numpy()
                off = 100 * np.abs(size - drawn) / np.maximum(drawn, 1)
                sizes[:, place] = np.where(both & (drawn > 0), off, np.nan)
        counted = ~np.isnan(figures)
        total = np.where(counted, figures, 0.0).sum(axis=1)
        mean = np.divide(total, counted.sum(axis=1), out=np.full(len(total), np.nan), where=counted.any(axis=1))
        each = {f"dice_{name}": figures[:, place] for place, name in enumerate(names)}
        return {"dice": mean, **each, **{f"size_{name}": sizes[:, place] for place, name in enumerate(names)}}

    def metrics(self) -> Mapping[str, Metric]:
        """The mean over rows of each figure of `measure`; rows where a figure is NaN do not count for it."""
        note = "Mean over pairs, on the grid that the network sees."
        found = {}
        if self.options.labels:
            labels = {f"dice_{name}": f"Dice of {name}, carried" for name in self.options.labels}
            mean = "Dice of carried masks, mean over labels"
            for name, label in ({"dice": mean, **labels} if len(labels) > 1 else {"dice": labels.popitem()[1]}).items():
                found[name] = Metric(name, partial(_mean, name), True, label, note)
        for name in self.options.labels:
            label = f"Size of {name}, carried, differs from what is drawn by (%)"
            why = "Of a lesion that was followed up, nothing moved misses by all of its growth."
            found[f"size_{name}"] = Metric(
                f"size_{name}", partial(_mean, f"size_{name}"), False, label, f"{note} {why}"
            )
        if self.options.moving_points is not None:
            # Of a study whose training rows have no landmarks the unit is that of the files that judge.
            unit = self.unit or "the unit of the files"
            where = "Target registration error: mean over the landmarks of a pair, then over pairs."
            found[MISSED] = Metric(MISSED, partial(_mean, MISSED), False, f"Landmarks are missed by ({unit})", where)
        found["likeness"] = Metric("likeness", partial(_mean, "likeness"), True, "Likeness of the images", note)
        for name, label in {
            "folded": "Share of voxels that fold",
            "inverse_error": "There and back misses by (voxels)",
        }.items():
            found[name] = Metric(name, partial(_mean, name), False, label, note)
        return found

    def baselines(self, seed: int) -> Mapping[str, Baseline]:
        """The images as they lie, and the best affine map of each pair."""
        from medloom.tasks._register_baselines import Pair

        options = self.options
        names = (options.moving, options.fixed, options.similarity, options.window)
        return {
            "identity": Pair("Nothing moved", *names, None),
            "affine": Pair("Affine map of each pair", *names, self._search(0)),
        }

    def question(self) -> str:
        return f"Where in the {self.options.moving} is each place of the {self.options.fixed}?"

    def plots(self, measured: Mapping[str, Measured]) -> tuple[Plot, ...]:
        """The headline figure of every pair, from the worst to the best."""
        name = next(iter(self.metrics()))
        label, better = {"dice": ("Dice", "up"), MISSED: (f"landmarks missed by ({self.unit})", "down")}.get(
            name, ("likeness", "up")
        )
        curves = []
        for who, figures in measured.items():
            values = np.sort(figures[name][~np.isnan(figures[name])])
            values = values if better == "up" else values[::-1]
            share = (np.arange(len(values)) + 0.5) / max(len(values), 1)
            curves.append(Curve(who, share.tolist(), values.tolist()))
        text = f"{label} of each pair, sorted from the worst pair on the left to the best on the right: the further {better} a line lies, the better."
        heights = (0.0, 1.0) if better == "up" else None
        return (
            Plot(
                f"{label} of each pair",
                "share of pairs",
                label,
                tuple(curves),
                text,
                x_range=(0.0, 1.0),
                y_range=heights,
            ),
        )

    def describe(self) -> Mapping[str, str]:
        return {
            "training pairs": str(self.pairs),
            "training pairs with both masks": str(self.judged),
            "masks": "trained with" if self.options.supervise else "judge alone" if self.options.labels else "none",
            "landmarks": f"judge, in {self.unit}" if self.unit else "none",
            "made alike": self.options.similarity,
            "refined for each new pair": f"{self.options.refine} steps" if self.options.refine else "no",
        }


def _mean(
    name: str, measured: Measured, weight: Float[np.ndarray, "resamples rows"]
) -> Float[np.ndarray, " resamples"]:
    from medloom.statistics.forecasts import mean_known

    return mean_known(measured[name][:, None], weight)
