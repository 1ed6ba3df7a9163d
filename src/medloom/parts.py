"""The sections of a study file after its cohort: what is seen, what is asked, how it is split, trained and judged.

Modalities and tasks add their own keys to `InputPart` and `TargetPart`. Nothing here imports torch or polars.
"""

from __future__ import annotations

from typing import Annotated, ClassVar, Literal, Self

from pydantic import Field, model_validator
from pydantic_core import PydanticCustomError

from medloom.errors import counted
from medloom.maps_part import MapsPart as MapsPart
from medloom.strict import Name as Name
from medloom.strict import Strict as Strict
from medloom.subgroup_part import SubgroupPart as SubgroupPart

Share = Annotated[float, Field(ge=0, lt=1)]


class InputPart(Strict):
    """What is seen: options that every modality shares. Each modality adds its own."""

    proves_time: ClassVar[bool] = False
    """Whether values carry times, so that law 2 is proved and not declared."""

    modality: str = Field(description="kind of input")
    known_before_index: bool = Field(
        False, description="declares that all values were known before the index time; never assumed"
    )
    at: str | None = Field(
        None,
        description="column with the time at which this input was known; rows where it is not before the index time lose the input",
    )

    @property
    def weights_file(self) -> str | None:
        """Path of published weights, relative to the study file, that the encoder begins with."""
        return None

    @property
    def hides(self) -> bool:
        """Whether parts of it can be hidden from its encoder (`Modality.hide`)."""
        return False

    @property
    def bagged(self) -> bool:
        """Whether a row may have several records of it, which its encoder brings together."""
        return False

    @property
    def seen_whole(self) -> bool:
        """Whether every row has exactly one view, of all there is, on a grid of one size."""
        return False


class TargetPart(Strict):
    """What is asked: options that every task shares. Each task adds its own."""

    task: str = Field(description="kind of answer")
    loss_weight: float = Field(1.0, gt=0, description="weight of this target's loss beside the other targets'")


class SplitPart(Strict):
    """Which rows teach, choose, calibrate and judge. No patient is in two of them."""

    by: Literal["patient", "time", "site", "column"] = Field(
        "patient",
        description="patient: at random, stratified by the targets; time: the latest patients judge; site: whole sites "
        "judge; column: as a column says",
    )
    column: str | None = Field(
        None, description='for by = "column": holds train, valid, calibrate or test for each row'
    )
    test_sites: tuple[str, ...] = Field(
        (), description='for by = "site": the sites that judge; left out: a share of the sites (test), drawn at random'
    )
    test: Share = Field(
        0.2,
        description="share of patients (of sites) that judge; with folds, 1 in folds judges; 0, by patient: nobody judges and "
        "there are no figures",
    )
    valid: Share = Field(0.1, description="share of patients that stop the training")
    calibrate: Share = Field(0.1, description="share of patients that set temperature and threshold")
    stratify: bool = Field(True, description="keep the classes of the targets equally frequent in all parts")
    folds: int = Field(
        1,
        ge=1,
        le=100,
        description="above 1: cross-validation, every patient (or site) judges in one of the folds; by time: the latest "
        "share (test) judges in so many periods, each taught by what came before it",
    )
    repeats: int = Field(1, ge=1, le=100, description="how often the cross-validation is done, each time drawn anew")
    final: Literal["refit", "none"] | None = Field(
        None,
        description="after cross-validation: refit (when left out) trains on all rows for the median step count that "
        "the folds kept; none keeps the figures alone",
    )

    rehearsals: int = Field(
        0,
        ge=0,
        le=50,
        description="how often, before the training, earlier rows teach a team that answers later ones of those that "
        "teach; shares of members and calibration are then of these answers, and no row is held back (calibrate = 0)",
    )
    rehearsed: Annotated[float, Field(gt=0, lt=0.95)] | None = Field(
        None,
        description="share of the patients that teach, the latest, which rehearsals answer in so many stretches; 0.5 when "
        "left out",
    )

    @model_validator(mode="after")
    def _consistent(self) -> Self:
        if self.rehearsals and self.calibrate:
            raise PydanticCustomError("calibrate", "rehearsals calibrate, and no row is held back: give calibrate = 0")
        if self.rehearsed is not None and not self.rehearsals:
            raise PydanticCustomError("rehearsed", "rehearsed goes with rehearsals, such as rehearsals = 4")
        if (self.by == "column") != (self.column is not None):
            raise PydanticCustomError("column", 'split.column goes with by = "column", and by = "column" needs it')
        if self.test_sites and (self.by != "site" or self.folds > 1):
            raise PydanticCustomError("split", 'split.test_sites goes with by = "site" and without folds')
        if self.folds == 1 and (self.repeats > 1 or self.final is not None):
            raise PydanticCustomError("split", "split.repeats and split.final go with folds above 1, such as folds = 5")
        if self.folds > 1 and self.by == "column":
            raise PydanticCustomError("split", 'folds do not go with by = "column": there is one column')
        if self.repeats > 1 and self.by == "time":
            raise PydanticCustomError("split", 'repeats do not go with by = "time": there is one order')
        judging = 1 / self.folds if self.folds > 1 and self.by != "time" else self.test
        if judging + self.valid + self.calibrate >= 0.95:
            raise PydanticCustomError("shares", "test, valid and calibrate leave under 5 % of the patients to train on")
        if self.by in ("time", "site") and self.test == 0 and not self.test_sites:
            raise PydanticCustomError("test", 'test = 0 goes with by = "patient"; give a share such as 0.2')
        return self

    @property
    def judges(self) -> bool:
        """Whether rows are held out to judge."""
        return self.folds > 1 or self.test > 0 or self.by in ("column", "site")

    def words(self) -> str:
        """How rows are held out, in a few words."""
        if self.by == "column":
            return f"as column {self.column!r} says"
        if self.folds > 1 and self.by == "time":
            return f"the latest {self.test:.0%} judge in {self.folds} periods, each taught by what came before it"
        if self.folds > 1:
            return f"cross-validation in {counted(self.folds, 'fold')} by {self.by}"
        return f"{self.test:.0%} judge, by {self.by}" if self.judges else "nobody judges"

    @property
    def refits(self) -> bool:
        """Whether a last network is trained on all rows after cross-validation."""
        return self.folds > 1 and self.final != "none"


class ModelPart(Strict):
    """How encoded inputs become one vector, and who answers. Encoder choices stand with their input."""

    fusion: Literal["concat"] = Field(
        "concat", description="encoded inputs side by side, a learnt vector where one is absent"
    )
    hidden: tuple[Annotated[int, Field(ge=1, le=16384)], ...] | Literal["auto"] = Field(
        "auto", description="layers after fusion; auto: none for one input, one of 64 for several"
    )
    dropout: Share = Field(0.0, description="dropout after each of these layers")
    start: str | None = Field(
        None,
        description="folder of a bundle, relative to the study file, whose encoders are the first weights, and its fusion "
        "and heads where they mean the same",
    )
    start_apart: bool = Field(
        False,
        description="declares that no patient who judges here was among those that taught the bundle of start; never assumed",
    )
    members: Annotated[int, Field(ge=1, le=100)] | tuple[str, ...] = Field(
        1,
        description='how many networks answer together, each from a seed of its own; or a list of "network", once for '
        'each, and of baselines such as "gradient_boosting", stacked on the calibration rows',
    )

    @property
    def networks(self) -> int:
        """How many networks are trained."""
        return self.members if isinstance(self.members, int) else self.members.count("network")

    @property
    def simple(self) -> tuple[str, ...]:
        """Names of the baselines among the members."""
        return () if isinstance(self.members, int) else tuple(name for name in self.members if name != "network")

    @model_validator(mode="after")
    def _somebody(self) -> Self:
        if not self.networks and not self.simple:
            raise PydanticCustomError("model", 'members is empty; expected a number, or a list such as ["network"]')
        if self.start_apart and self.start is None:
            raise PydanticCustomError("model", "start_apart declares something of a bundle: give start as well")
        if self.start is not None and not self.networks:
            raise PydanticCustomError("model", "start is for networks, and members names none")
        if len(set(self.simple)) != len(self.simple):
            raise PydanticCustomError("model", "members names a baseline twice; only networks differ by their seed")
        return self


class TrainPart(Strict):
    """How long and how the network learns."""

    steps: int | None = Field(None, ge=1, description="optimiser steps")
    epochs: float | None = Field(None, gt=0, description="passes over the training rows; 40 when no budget is given")
    minutes: float | None = Field(
        None, gt=0, description="time, turned into a step budget once, by measuring a few steps"
    )
    optimizer: Literal["adamw", "sgd", "rmsprop"] = Field(
        "adamw", description="adamw (weight_decay = 0 is Adam), sgd (Nesterov momentum 0.9), rmsprop (smoothing 0.9)"
    )
    learning_rate: float | Literal["auto"] = Field(
        "auto", description="highest learning rate; auto: 0.002 for adamw, 0.05 for sgd, 0.001 for rmsprop"
    )
    weight_decay: float = Field(0.01, ge=0, description="decay of weight matrices")
    batch: Annotated[int, Field(ge=1)] | Literal["auto"] = Field(
        "auto",
        description="rows a step; auto: about a sixtieth of the training rows, a power of two between 32 and 1024 (8 and 1024 of images "
        "and signals); where each position is asked, no more than hold a quarter of a million voxels, and at least 2",
    )
    schedule: Literal["one-cycle", "constant"] = Field("one-cycle", description="learning rate over the steps")
    clip_norm: float = Field(1.0, ge=0, description="largest norm of the gradient; 0 switches clipping off")
    average: float = Field(
        0.0,
        ge=0,
        lt=1,
        description="decay of an average of the weights of all steps, such as 0.99, which is then what is scored and kept; 0: "
        "the weights of a step by themselves",
    )
    mixup: float = Field(
        0.0,
        ge=0,
        le=4,
        description="0.2: each image that is learnt from is mixed with another one, and so are the losses of their answers; shares "
        "are drawn from Beta(mixup, mixup). For studies of images alone; 0: none",
    )
    evaluations: int = Field(40, ge=1, description="how often the validation rows are scored over the whole budget")
    patience: int = Field(
        12, ge=0, description="scorings without a better validation loss after which training stops; 0: never"
    )
    valid_windows: int = Field(
        32,
        ge=0,
        description="windows of a validation row that a scoring sees at most, evenly spaced, where inputs are seen in windows; 0: all. Calibration, tests and predictions always see all",
    )
    keep: Literal["best", "last"] = Field(
        "best", description="weights of the best scoring of the validation rows, or the last ones"
    )
    workers: int = Field(
        1, ge=0, le=64, description="threads that prepare batches ahead; the result does not depend on it"
    )
    threads: Annotated[int, Field(ge=1)] | Literal["auto"] = Field(
        "auto",
        description="threads that compute; auto: one, or for networks on grids as many as OMP_NUM_THREADS allows, else all cores",
    )
    device: Literal["auto", "cpu", "cuda"] = Field(
        "auto", description="where the network computes; auto: a GPU where torch finds one, else the CPU"
    )
    precision: Literal["auto", "float32", "bfloat16"] = Field(
        "auto",
        description="numbers that products are computed in; auto: bfloat16 on a GPU that has it, else float32. Weights "
        "are float32 always",
    )
    micro_batch: Annotated[int, Field(ge=1)] | Literal["auto"] = Field(
        "auto",
        description="rows computed at a time, which bounds memory; the step stays that of the whole batch. auto: all of "
        "the batch, or as many images as hold four million voxels",
    )
    freeze: Share = Field(
        0.0,
        description="share of the steps, from the first, in which encoders that began with weights from elsewhere stay as "
        "they are, while the rest learns",
    )
    encoder_rate: float = Field(
        1.0,
        gt=0,
        le=1,
        description="learning rate of these encoders as a share of that of all else",
    )
    level_decay: float = Field(
        1.0,
        gt=0,
        le=1,
        description="what that rate is multiplied by from one block of such an encoder to the one before, so that the first "
        "layers change least",
    )
    checkpoint_seconds: float = Field(30.0, gt=0, description="time between checkpoints to resume from")

    @model_validator(mode="after")
    def _one_budget(self) -> Self:
        given = [name for name in ("steps", "epochs", "minutes") if getattr(self, name) is not None]
        if len(given) > 1:
            raise PydanticCustomError(
                "budget",
                "found {given}; expected only one of steps, epochs and minutes",
                {"given": " and ".join(given)},
            )
        if self.learning_rate != "auto" and self.learning_rate <= 0:
            raise PydanticCustomError("learning_rate", "train.learning_rate must be above 0")
        return self


StressKind = Literal[
    "missing_input", "missing_column", "missing_values", "noise", "units", "prevalence", "period", "site"
]


class StressPart(Strict):
    """One way in which the data of tomorrow may differ from those that judge."""

    kind: StressKind = Field(
        description="missing_input, missing_column: each input, each column taken away; missing_values: cells at random; noise: on every number; units: one column in another unit; prevalence: halved and doubled odds; period, site: figures of each"
    )
    share: float | None = Field(
        None,
        gt=0,
        le=2,
        description="missing_values: share of cells (0.2); noise: standard deviations of the training rows (0.5)",
    )
    factor: float | None = Field(
        None, gt=0, description="units: what a column is multiplied by; left out: by its declared unit, else 10"
    )

    @model_validator(mode="after")
    def _goes(self) -> Self:
        if self.share is not None and self.kind not in ("missing_values", "noise"):
            raise PydanticCustomError("stress", 'share goes with kind = "missing_values" or "noise"')
        if self.kind == "missing_values" and self.share is not None and self.share >= 1:
            raise PydanticCustomError("stress", "share of missing values must be below 1, such as 0.2")
        if self.factor is not None and self.kind != "units":
            raise PydanticCustomError("stress", 'factor goes with kind = "units"')
        return self


class EvaluatePart(Strict):
    """How figures get their intervals, and in which groups of patients they are looked at."""

    resamples: int = Field(1000, ge=100, le=100_000, description="bootstrap resamples of whole patients")
    level: float = Field(0.95, gt=0.5, lt=1, description="level of the intervals")
    baselines: bool = Field(True, description="train the simple models on the same rows")
    explain: bool = Field(
        True,
        description="say in the report what the answers rest on: importance of columns, and whether it can be trusted",
    )
    subgroups: tuple[str | SubgroupPart, ...] = Field(
        (),
        max_length=20,
        description='columns whose groups are judged apart: "sex", { column = "age", cuts = [50, 70] }, "site", "missing inputs"',
    )
    subgroup_patients: int = Field(
        20, ge=10, description="patients that a group needs; figures of smaller ones are not shown"
    )
    stress: tuple[StressKind | StressPart, ...] = Field(
        (),
        max_length=20,
        description='what the finished model is put through on the test rows: "missing_column", { kind = "noise", share = 0.5 }, …',
    )
    timelines: int = Field(
        0,
        ge=0,
        le=20,
        description="draw the course of so many test rows in the report: it then holds patients' data, and says so",
    )
    maps: MapsPart = Field(MapsPart(), description="where in images the answers come from, and what is shown of it")
    sample_size: bool = Field(
        True, description="tell how many patients the criteria of Riley ask for, beside how many there are"
    )
    expected_r_squared: float = Field(
        0.15,
        gt=0,
        lt=0.9,
        description="for these criteria: the share of the outcome that a model is expected to explain, from earlier "
        "studies (R² of a number, Nagelkerke's R² of classes and events)",
    )
    learning_curve: tuple[Annotated[float, Field(gt=0, le=1)], ...] = Field(
        (),
        description="shares of the training patients, rising, such as [0.1, 0.25, 0.5, 1.0]: the model and the simple "
        "models are trained on each and judged on the same test rows; takes as much longer as they sum to",
    )

    @model_validator(mode="after")
    def _rising(self) -> Self:
        shares = list(self.learning_curve)
        if len(shares) == 1 or shares != sorted(set(shares)):
            raise PydanticCustomError(
                "part", "learning_curve needs at least two rising shares, such as [0.25, 0.5, 1.0]"
            )
        return self
