"""Classification: two classes, several, or several labels at once; targets may be missing."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, ClassVar, Literal, Self

import numpy as np

from medloom.errors import DataError, StudyError, some
from medloom.modality import Lifted, Marks
from medloom.task import Baseline, Measured, Metric, Plot, Prediction, Task
from medloom.tasks._class_options import ClassifyOptions, Kind
from medloom.tasks._class_reading import count_classes, count_labels, natural, read_classes, read_label

if TYPE_CHECKING:
    from jaxtyping import Float
    from torch import Tensor, nn

    from medloom.batch import Field, Gives, Output
    from medloom.cohort.table import Cohort
    from medloom.statistics.sample_size import Needed

MOST_NAMED = 20
"""Classes or labels up to which each one has figures of its own."""


@dataclass(frozen=True, slots=True)
class ClassSummary:
    """Rows of each class name; for labels, rows with 0 and with 1."""

    counts: Mapping[str, int] | tuple[tuple[int, int], ...]


@dataclass(frozen=True, slots=True)
class ClassPrediction(Prediction):
    """Calibrated probabilities and decisions: `probability` is [rows] for two classes, else [rows, classes]."""

    kind: Kind
    classes: tuple[str, ...]
    probability: np.ndarray
    decision: np.ndarray

    def __len__(self) -> int:
        return len(self.decision)

    def columns(self) -> Mapping[str, Any]:
        names = np.array(self.classes, dtype=object)
        if self.kind == "binary":
            return {"": names[self.decision], "probability": self.probability}
        each = {f"probability_{name}": self.probability[:, i] for i, name in enumerate(self.classes)}
        if self.kind == "multiclass":
            return {"": names[self.decision], **each}
        return {**{name: self.decision[:, i] for i, name in enumerate(self.classes)}, **each}


@dataclass(frozen=True, slots=True)
class Classify(Task):
    """A fitted classification: `classes` in order (of two, the one asked for last), weights, temperature, threshold."""

    Options: ClassVar[type[ClassifyOptions]] = ClassifyOptions
    Summary: ClassVar[type[ClassSummary]] = ClassSummary
    needs: ClassVar[Literal["pooled"]] = "pooled"
    joins: ClassVar[tuple[str, ...]] = ("logistic", "gradient_boosting")

    options: ClassifyOptions
    kind: Kind
    classes: tuple[str, ...]
    counts: tuple[int, ...]
    weights: tuple[float, ...]
    temperature: tuple[float, ...]
    threshold: tuple[float, ...]
    calibrated: bool = False

    @classmethod
    def columns(cls, options: ClassifyOptions) -> tuple[str, ...]:  # type: ignore[override]
        return options.text_columns()

    @classmethod
    def read(cls, options: ClassifyOptions, cohort: Cohort) -> Marks:  # type: ignore[override]
        """Class codes of `Marks.names`, −1 unknown; for labels a matrix of 0, 1 and NaN."""
        if options.columns:
            values = np.stack([read_label(options, cohort, name) for name in options.columns], axis=1)
            return Marks(values, ~np.isnan(values).all(axis=1), options.columns)
        return read_classes(options, cohort)

    @classmethod
    def strata(cls, options: ClassifyOptions, marks: Marks) -> np.ndarray | None:  # type: ignore[override]
        """The class; of labels, how many are 1 (at most 3)."""
        if not options.columns:
            return marks.values
        return np.where(marks.present, np.minimum(np.nansum(marks.values, axis=1), 3), -1).astype(np.int64)

    @classmethod
    def outcomes(cls, options: ClassifyOptions, marks: Marks) -> np.ndarray:  # type: ignore[override]
        """1 in the class of each row and 0 in the others; of two classes the second alone; of labels each."""
        if options.columns:
            return np.asarray(marks.values, np.float64)
        codes = np.asarray(marks.values)
        first = 1 if len(marks.names) == 2 else 0
        indicators = (codes[:, None] == np.arange(first, len(marks.names))).astype(np.float64)
        indicators[codes < 0] = np.nan
        return indicators

    @classmethod
    def tally(cls, options: ClassifyOptions, marks: Marks, rows: np.ndarray) -> Mapping[str, int]:  # type: ignore[override]
        """Rows of each class; of labels, rows with 1."""
        values = marks.values[rows]
        if options.columns:
            return {name: int(np.nansum(values[:, i])) for i, name in enumerate(marks.names)}
        times = np.bincount(values[values >= 0], minlength=len(marks.names))
        return dict(sorted(zip(marks.names, map(int, times), strict=True), key=lambda item: natural(item[0])))

    @classmethod
    def summarise(cls, options: ClassifyOptions, marks: Marks, rows: np.ndarray) -> ClassSummary:  # type: ignore[override]
        values = marks.values[rows]
        if options.columns:
            return ClassSummary(tuple((int((c == 0).sum()), int((c == 1).sum())) for c in values.T))
        times = np.bincount(values[values >= 0], minlength=len(marks.names))
        return ClassSummary({name: int(n) for name, n in zip(marks.names, times, strict=True) if n})

    @classmethod
    def fit(cls, options: ClassifyOptions, summaries: Sequence[ClassSummary]) -> Self:  # type: ignore[override]
        held: list[Any] = [summary.counts for summary in summaries]
        kind, classes, counts, weights = (
            count_labels(options, held) if options.columns else count_classes(options, held)
        )
        outputs = len(classes) if kind == "multilabel" else 1
        fixed = options.threshold if isinstance(options.threshold, float) else 0.5
        return cls(options, kind, classes, counts, weights, (1.0,) * outputs, (fixed,) * outputs)

    def target(self, marks: Marks, rows: np.ndarray) -> Field:
        """Two classes: float [batch, 1]; several: int [batch]; labels: float [batch, labels] with `valid`."""
        import torch

        from medloom.batch import Field

        values = marks.values[rows]
        if self.kind == "multilabel":
            known = ~np.isnan(values)
            value = torch.from_numpy(np.nan_to_num(values).astype(np.float32))
            return Field(value, torch.from_numpy(known.any(axis=1)), valid=torch.from_numpy(known))
        unknown = [name for name in marks.names if name not in self.classes]
        place = np.array([self.classes.index(n) if n in self.classes else -2 for n in marks.names] + [-1])
        codes = place[values]
        if (codes == -2).any():
            raise DataError(
                f"column {self.options.column!r}: {int((codes == -2).sum())} rows have a class that no training row has "
                f"({some(unknown)}); pool it with another class, or leave it empty to mask it"
            )
        present = torch.from_numpy(codes >= 0)
        clean = np.maximum(codes, 0)
        return Field(torch.from_numpy(clean[:, None].astype(np.float32) if self.kind == "binary" else clean), present)

    def head(self, gives: Mapping[str, Gives], width: int) -> nn.Module:
        from medloom.tasks._heads import PooledHead

        if self.options.order:
            from medloom.tasks._class_losses import OrderedHead

            return OrderedHead(width, self.counts)
        return PooledHead(width, 1 if self.kind == "binary" else len(self.classes))

    def loss(self, output: Output, target: Field, inputs: Mapping[str, Field]) -> Float[Tensor, " batch"]:
        """Cross-entropy or focal loss of each row. With class weights the logits are shifted by the log weights first,

        so that what the head returns stays a logit of the cohort's own prevalence. Source: Menon et al., "Long-tail learning
        via logit adjustment", ICLR 2021, equation 10, with the weighted loss's optimum as the shift.
        """
        import torch
        from torch.nn import functional as F

        if self.options.loss == "focal" or self.options.label_noise:
            return self._corrected_loss(output, target)
        logits = output["logits"]
        weighted = self.options.class_weights != "none"
        weights = torch.tensor(self.weights if weighted else (), dtype=logits.dtype, device=logits.device)
        if self.kind == "multiclass":
            loss = F.cross_entropy(logits + weights.log() if weighted else logits, target.value, reduction="none")
            return (loss * weights[target.value] if weighted else loss) * target.present.float()
        known = (target.present[:, None] if target.valid is None else target.valid).float()
        weight = known
        if weighted:
            negative, positive = weights.reshape(-1, 2).T
            logits = logits + (positive / negative).log()
            weight = known * torch.where(target.value > 0.5, positive, negative)
        loss = F.binary_cross_entropy_with_logits(logits, target.value, weight, reduction="none")
        if loss.shape[1] == 1:
            return loss[:, 0]
        return loss.sum(dim=1) / known.sum(dim=1).clamp_min(1.0)

    def _corrected_loss(self, output: Output, target: Field) -> Float[Tensor, " batch"]:
        """Focal loss, and loss under label noise."""
        import torch
        from torch.nn import functional as F

        from medloom.tasks._class_losses import class_loss, log_both

        logits, several = output["logits"], self.kind == "multiclass"
        log = F.log_softmax(logits, dim=1)[:, None] if several else log_both(logits)
        codes = target.value[:, None] if several else target.value.long()
        weights = None
        if self.options.class_weights != "none":
            weights = torch.tensor(self.weights, dtype=logits.dtype, device=logits.device).view(-1, log.shape[-1])
        loss = class_loss(log, codes, weights, self.options.label_noise, self.options.gamma())
        known = (target.present[:, None] if target.valid is None else target.valid).to(loss.dtype)
        return (loss * known).sum(dim=1) / known.sum(dim=1).clamp_min(1.0)

    def combine(self, outputs: Sequence[Output], shares: Float[Tensor, " members"] | None = None) -> Output:
        """Logits of the mean of the members' probabilities."""
        import torch
        from torch.nn import functional as F

        logits = torch.stack([output["logits"] for output in outputs])
        if shares is None:
            log = logits.new_full((len(outputs), 1, 1), -math.log(len(outputs)))
        else:
            log = shares.to(logits.dtype).log().view(-1, 1, 1)
        if self.kind == "multiclass":
            return {"logits": torch.logsumexp(F.log_softmax(logits, dim=-1) + log, dim=0)}
        positive, negative = F.logsigmoid(logits) + log, F.logsigmoid(-logits) + log
        return {"logits": positive.logsumexp(dim=0) - negative.logsumexp(dim=0)}

    def calibrate(self, outputs: Iterable[tuple[Output, Field]]) -> Self:
        """Temperature by log-likelihood, then the threshold; each only where both classes have calibration rows."""
        logits, truth = self._collect(outputs)
        temperature, threshold = list(self.temperature), list(self.threshold)
        for i in range(len(temperature)):
            known = ~np.isnan(truth[:, i])
            score = logits[known] if self.kind == "multiclass" else logits[known, i]
            answer = truth[known, i]
            if len(answer) < 10 or len(np.unique(answer)) < 2:
                continue
            if self.options.calibration == "temperature":
                temperature[i] = _temperature(score, answer, self.kind, self.options.label_noise)
            if self.kind != "multiclass":
                threshold[i] = self._threshold(score / temperature[i], answer, threshold[i])
        return replace(self, temperature=tuple(temperature), threshold=tuple(threshold), calibrated=len(truth) > 0)

    def _threshold(self, score: np.ndarray, answer: np.ndarray, fixed: float) -> float:
        from medloom.tasks._calibration import accuracy_threshold, youden_threshold

        if isinstance(self.options.threshold, float):
            return fixed
        choose = youden_threshold if self.options.threshold == "youden" else accuracy_threshold
        return choose(answer > 0.5, _sigmoid(score))

    def _collect(self, outputs: Iterable[tuple[Output, Field]]) -> tuple[np.ndarray, np.ndarray]:
        """All logits, and truths with NaN where unknown, as [rows, outputs]."""
        logits, truths = [np.zeros((0, 1))], [np.zeros((0, len(self.temperature)))]
        for output, target in outputs:
            logits.append(output["logits"].detach().double().numpy())
            truths.append(_truth(target).reshape(len(logits[-1]), -1))
        return np.concatenate(logits[1:] or logits), np.concatenate(truths[1:] or truths)

    def decode(self, output: Output | Lifted) -> ClassPrediction:
        if isinstance(output, Lifted):
            raise StudyError("classify gives one answer a row and cannot be laid on an input")
        logits = output["logits"].detach().double().numpy() / np.array(self.temperature)
        if self.kind == "multiclass":
            shifted = np.exp(logits - logits.max(axis=1, keepdims=True))
            probability = shifted / shifted.sum(axis=1, keepdims=True)
            return ClassPrediction(self.kind, self.classes, probability, probability.argmax(axis=1))
        probability = _sigmoid(logits)
        decision = (probability >= np.array(self.threshold)).astype(np.int64)
        if self.kind == "binary":
            return ClassPrediction(self.kind, self.classes, probability[:, 0], decision[:, 0])
        return ClassPrediction(self.kind, self.classes, probability, decision)

    def measure(self, prediction: Prediction, truth: Field | Lifted) -> Measured:
        """`truth` with NaN where unknown, `probability`, `decision`."""
        assert isinstance(prediction, ClassPrediction) and not isinstance(truth, Lifted)
        answer = _truth(truth)
        return {
            "truth": answer[:, 0] if self.kind == "binary" else answer,
            "probability": prediction.probability,
            "decision": prediction.decision,
        }

    def metrics(self) -> Mapping[str, Metric]:
        from medloom.tasks import _class_figures, _ordinal_figures

        named = self.classes if len(self.classes) <= MOST_NAMED else ()
        figures = _class_figures.metrics(self.kind, self.threshold, named)
        return _ordinal_figures.metrics(figures) if self.options.order else figures

    def baselines(self, seed: int) -> Mapping[str, Baseline]:
        from medloom.tasks._baselines import GradientBoosting, Logistic, Majority

        outputs = len(self.classes)
        return {
            "majority": Majority(self.kind, outputs, seed),
            "logistic": Logistic(self.kind, outputs, seed),
            "gradient_boosting": GradientBoosting(self.kind, outputs, seed),
        }

    def plots(self, measured: Mapping[str, Measured]) -> tuple[Plot, ...]:
        from medloom.tasks import _class_figures

        return _class_figures.plots(self.kind, self.classes, measured)

    def sample_size(
        self, marks: Marks, rows: np.ndarray, parameters: int, explained: float
    ) -> Mapping[str, tuple[Needed, int | None]]:
        """For the class that is asked for, or each label; several classes have no such criteria here."""
        from medloom.statistics.sample_size import of_share

        if self.kind == "multiclass":
            return {}
        tally = self.tally(self.options, marks, rows)
        known = {name: len(rows) for name in self.classes}
        if self.kind == "multilabel":
            known = dict(zip(marks.names, (~np.isnan(marks.values[rows])).sum(axis=0).tolist(), strict=True))
        asked = self.classes if self.kind == "multilabel" else self.classes[1:]
        shares = {name: (tally[name] / known[name], tally[name]) for name in asked}
        return {
            name: (of_share(parameters, share, explained), n) for name, (share, n) in shares.items() if 0 < share < 1
        }

    def question(self) -> str:
        if self.kind == "binary":
            plain = self.classes[1].lower() in ("1", "true", "yes", "y")
            return f"{self.options.column}: {'yes or no' if plain else f'{self.classes[1]} or {self.classes[0]}'}?"
        if self.options.order:
            return f"{self.options.column}: how far from {self.classes[0]} to {self.classes[-1]}?"
        names = ", ".join(self.classes[:12]) + (", …" if len(self.classes) > 12 else "")
        return (
            f"Which of these apply: {names}?"
            if self.kind == "multilabel"
            else f"{self.options.column}: which of {names}?"
        )

    def describe(self) -> Mapping[str, str]:
        counts = ", ".join(f"{name} {n}" for name, n in zip(self.classes, self.counts, strict=True))
        facts = {"training rows": counts}
        if self.kind == "binary":
            facts = {
                "asked for": self.classes[1],
                **facts,
                "threshold": f"{self.threshold[0]:.3f} ({self.options.threshold})",
            }
        if self.options.order:
            facts["order"] = " < ".join(self.classes)
        if self.options.loss == "focal":
            facts["loss"] = f"focal, gamma {self.options.gamma():g}; probabilities are those after calibration"
        if self.options.label_noise:
            facts["label noise"] = f"{self.options.label_noise:g} of answers taken to be recorded wrongly"
        facts["temperature"] = ", ".join(f"{t:.3f}" for t in self.temperature) if self.calibrated else "not calibrated"
        return facts


def _truth(target: Field) -> np.ndarray:
    value = target.value.double().numpy().copy()
    if target.valid is not None:
        value[~target.valid.numpy()] = np.nan
    value[~target.present.numpy()] = np.nan
    return value


def _sigmoid(logits: np.ndarray) -> np.ndarray:
    from scipy.special import expit

    return np.asarray(expit(logits))


def _temperature(score: np.ndarray, answer: np.ndarray, kind: Kind, noise: float) -> float:
    """By the likelihood of what is recorded: with label noise a calibration row, too, may be recorded wrongly."""
    from scipy.special import log_softmax

    from medloom.tasks._calibration import temperature

    if kind != "multiclass":
        score = np.stack([np.zeros_like(score), score], axis=1)
    rows, codes = np.arange(len(answer)), answer.astype(int)
    other = noise / (score.shape[1] - 1)

    def loss(value: float) -> float:
        log = log_softmax(score / value, axis=1)[rows, codes]
        return float(-(np.logaddexp(log + np.log(1 - noise - other), np.log(other)) if noise else log).mean())

    return temperature(loss)
