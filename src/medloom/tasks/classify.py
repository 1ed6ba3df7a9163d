"""Classification: two classes, several, or several labels at once; targets may be missing."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, ClassVar, Literal, Self

import numpy as np

from medloom.errors import DataError, StudyError, counted, some
from medloom.modality import Lifted, Marks
from medloom.task import Baseline, Measured, Metric, Plot, Prediction, Replies, Scores, Task
from medloom.tasks._class_options import ClassifyOptions, Kind
from medloom.tasks._class_prediction import ClassPrediction
from medloom.tasks._class_reading import count_classes, count_labels, natural, read_classes, read_label
from medloom.tasks._class_words import words_of
from medloom.tasks._conformal import Limits, group_of
from medloom.tasks._curves import Line, Steps

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
class Classify(Task):
    """A fitted classification: `classes` in order (of two, the one asked for last), weights, temperature, threshold.

    `intercept` and `steps` are of the other ways to calibrate, `local` of a recalibration to another place. `limits` are
    those of sets: one for all classes, or one for each. Rows that are less certain than `certain` are left to a person.
    """

    Options: ClassVar[type[ClassifyOptions]] = ClassifyOptions
    Summary: ClassVar[type[ClassSummary]] = ClassSummary
    needs: ClassVar[Literal["pooled"]] = "pooled"
    joins: ClassVar[tuple[str, ...]] = ("best_feature", "logistic", "ridge", "gradient_boosting")

    options: ClassifyOptions
    kind: Kind
    classes: tuple[str, ...]
    counts: tuple[int, ...]
    weights: tuple[float, ...]
    temperature: tuple[float, ...]
    threshold: tuple[float, ...]
    calibrated: bool = False
    intercept: tuple[float, ...] = ()
    steps: tuple[Steps, ...] = ()
    limits: tuple[Limits, ...] = ()
    certain: float | None = None
    local: tuple[Line, ...] = ()

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
    def told(cls, options: ClassifyOptions, names: Sequence[str]) -> tuple[str, ...]:  # type: ignore[override]
        """No and yes for 0 and 1."""
        return tuple(names) if options.columns else words_of(names)

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
                f"column {self.options.column!r}: {counted(int((codes == -2).sum()), 'row has', 'rows have')} a class that no training row has "
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
        from medloom.tasks._class_losses import corrected_loss, cross_entropy

        options = self.options
        weights = self.weights if options.class_weights != "none" else ()
        if options.loss == "focal" or options.label_noise:
            return corrected_loss(self.kind, output["logits"], target, weights, options.label_noise, options.gamma())
        return cross_entropy(self.kind, output["logits"], target, weights)

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
        """The curve of the scores by likelihood, then the threshold, each only where two classes have calibration rows;

        then the limits of sets and the certainty below which a row is left to a person.
        """
        logits, truth, group = self._collect(outputs)
        return self._curved(logits, truth)._decided(logits, truth)._limited(logits, truth, group)

    def _curved(self, logits: np.ndarray, truth: np.ndarray) -> Self:
        from medloom.tasks import _class_calibration as fit

        temperature = list(self.temperature)
        shifts, rising = self.options.calibration == "platt", self.options.calibration == "isotonic"
        intercept = [0.0] * (len(self.classes) if self.kind == "multiclass" else len(temperature))
        steps: list[Steps] = [Steps((), ())] * len(intercept)
        told = False
        for i in range(len(temperature) if self.options.calibration != "none" else 0):
            known = ~np.isnan(truth[:, i])
            score = logits[known] if self.kind == "multiclass" else logits[known, i]
            answer = truth[known, i]
            if len(answer) < fit.FEWEST or len(np.unique(answer)) < 2:
                continue
            told = True
            if rising:
                each = fit.class_steps(score, answer) if self.kind == "multiclass" else (fit.isotonic(score, answer),)
                steps[i : i + len(each)] = each
                continue
            line = fit.line(score, answer, self.options.label_noise, shifts)
            temperature[i] = 1 / line.slope
            intercept[i : i + len(line.intercept)] = line.intercept
        return replace(
            self,
            temperature=tuple(temperature),
            calibrated=told,
            intercept=tuple(intercept) if shifts else (),
            steps=tuple(steps) if rising and told else (),
        )

    def _decided(self, logits: np.ndarray, truth: np.ndarray) -> Self:
        from medloom.tasks._calibration import accuracy_threshold, youden_threshold

        threshold, fixed = list(self.threshold), isinstance(self.options.threshold, float)
        scores = self._scores(logits)
        choose = youden_threshold if self.options.threshold == "youden" else accuracy_threshold
        for i in range(len(threshold) if self.kind != "multiclass" and not fixed else 0):
            known = ~np.isnan(truth[:, i])
            if known.sum() >= 10 and len(np.unique(truth[known, i])) > 1:
                threshold[i] = choose(truth[known, i] > 0.5, _sigmoid(scores[known, i]))
        return replace(self, threshold=tuple(threshold))

    def _limited(self, logits: np.ndarray, truth: np.ndarray, group: np.ndarray) -> Self:
        from medloom.tasks._conformal import class_scores, limits

        known = ~np.isnan(truth[:, 0])
        scores, codes = self._scores(logits)[known], truth[known, 0].astype(int)
        found, certain, asked = self, None, self.options.conformal
        if self.options.abstain is not None and len(codes):
            certain = float(np.quantile(self._certainty(scores), self.options.abstain, method="higher"))
            found = replace(found, certain=certain)
        if asked is None:
            return found
        strange = class_scores(self._matrix(scores), self.options.conformal_score)[np.arange(len(codes)), codes]
        if self.options.conformal_by == "class":
            return replace(
                found, limits=tuple(limits(strange[codes == k], None, asked) for k in range(len(self.classes)))
            )
        return replace(found, limits=(limits(strange, group[known] if self.group_column() else None, asked),))

    def group_column(self) -> str | None:
        return None if self.options.conformal_by == "class" else self.options.conformal_by

    def recalibrate(self, outputs: Sequence[tuple[Output, Field]]) -> Self:
        """A line of the log-odds (slope and intercepts) that local rows say, after what calibration rows said.

        Decisions stay those of the same rows, but where the study fixes the threshold; sets and the certainty below which
        rows are left to a person are set anew. Raises DataError below twenty rows of a class.
        Source: Steyerberg, "Clinical prediction models", 2nd ed. 2019, chapter 20 (logistic recalibration).
        """
        from medloom.tasks._class_calibration import local_line

        logits, truth, group = self._collect(outputs)
        scores, several = self._scores(logits), self.kind == "multiclass"
        lines, threshold = [], list(self.threshold)
        for i in range(1 if several else len(threshold)):
            known = ~np.isnan(truth[:, i])
            name = self.classes[i] if self.kind == "multilabel" else str(self.options.column)
            classes = self.classes if self.kind != "multilabel" else ("0", "1")
            line = local_line(scores[known] if several else scores[known, i], truth[known, i], classes, name)
            lines.append(line.after(self.local[i]) if self.local else line)
            if not several and not isinstance(self.options.threshold, float):
                threshold[i] = float(_sigmoid(line(np.log(np.array([threshold[i] / (1 - threshold[i])]))))[0])
        return replace(self, local=tuple(lines), threshold=tuple(threshold))._limited(logits, truth, group)

    def _collect(self, outputs: Iterable[tuple[Output, Field]]) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """All logits, truths with NaN where unknown, as [rows, outputs], and the group of each row (0: none)."""
        width = len(self.classes) if self.kind == "multiclass" else len(self.temperature)
        logits, truths = [np.zeros((0, width))], [np.zeros((0, len(self.temperature)))]
        groups = [np.zeros(0, np.int64)]
        for output, target in outputs:
            logits.append(output["logits"].detach().double().numpy())
            truths.append(_truth(target).reshape(len(logits[-1]), -1))
            groups.append(group_of(output, len(logits[-1])))
        return np.concatenate(logits), np.concatenate(truths), np.concatenate(groups)

    def _scores(self, logits: np.ndarray) -> np.ndarray:
        """Calibrated scores: log-odds, or of several classes log-probabilities but for a constant a row."""
        several = self.kind == "multiclass"
        scores = logits / np.array(self.temperature)
        if self.intercept:
            scores = scores + np.array(self.intercept)
        if self.steps and several:
            from medloom.tasks._class_calibration import stepped

            scores = stepped(logits, self.steps)
        elif self.steps:
            each = [curve(logits[:, i]) if curve.score else logits[:, i] for i, curve in enumerate(self.steps)]
            scores = np.stack(each, axis=1)
        if self.local and several:
            return self.local[0](scores)
        return np.stack([line(scores[:, i]) for i, line in enumerate(self.local)], axis=1) if self.local else scores

    def _matrix(self, scores: np.ndarray) -> np.ndarray:
        """Probabilities [rows, classes] of two or several classes."""
        if self.kind == "multiclass":
            shifted = np.exp(scores - scores.max(axis=1, keepdims=True))
            return np.asarray(shifted / shifted.sum(axis=1, keepdims=True))
        probability = _sigmoid(scores[:, 0])
        return np.stack([1 - probability, probability], axis=1)

    def _certainty(self, scores: np.ndarray) -> np.ndarray:
        """How far log-odds lie from the threshold; of several classes the largest probability."""
        if self.kind == "multiclass":
            return np.asarray(self._matrix(scores).max(axis=1))
        return np.asarray(np.abs(scores[:, 0] - np.log(self.threshold[0] / (1 - self.threshold[0]))))

    def decode(self, output: Output | Lifted) -> ClassPrediction:
        if isinstance(output, Lifted):
            raise StudyError("classify gives one answer a row and cannot be laid on an input")
        scores = self._scores(output["logits"].detach().double().numpy())
        if self.kind == "multilabel":
            probability = _sigmoid(scores)
            return ClassPrediction(
                self.kind, self.classes, probability, (probability >= np.array(self.threshold)).astype(np.int64)
            )
        left = None
        if self.options.abstain is not None:
            left = self._certainty(scores) < self.certain if self.certain is not None else np.zeros(len(scores), bool)
        inside, own = self._sets(self._matrix(scores), group_of(output, len(scores)))
        if self.kind == "multiclass":
            probability = self._matrix(scores)
            return ClassPrediction(self.kind, self.classes, probability, probability.argmax(axis=1), inside, own, left)
        probability = _sigmoid(scores[:, 0])
        decision = (probability >= self.threshold[0]).astype(np.int64)
        return ClassPrediction(self.kind, self.classes, probability, decision, inside, own, left)

    def _sets(self, probability: np.ndarray, group: np.ndarray) -> tuple[np.ndarray | None, np.ndarray | None]:
        """Which classes are in the set of each row; and, where groups have limits, whether the row's own has one."""
        from medloom.tasks._conformal import class_sets

        if self.options.conformal is None:
            return None, None
        if self.options.conformal_by == "class":
            each = [np.inf if one.every is None else one.every for one in self.limits]
            limit = np.broadcast_to(np.array(each or [np.inf] * len(self.classes)), probability.shape)
            return class_sets(probability, limit, self.options.conformal_score), None
        found, own = (self.limits or (Limits(None, 0),))[0].of(group)
        inside = class_sets(
            probability, np.broadcast_to(found[:, None], probability.shape), self.options.conformal_score
        )
        return inside, own if self.group_column() else None

    def measure(self, prediction: Prediction, truth: Field | Lifted) -> Measured:
        """`truth` with NaN where unknown, `probability`, `decision`; `covered`, `set_size` of sets; `left_to_person`."""
        assert isinstance(prediction, ClassPrediction) and not isinstance(truth, Lifted)
        answer = _truth(truth)
        measured = {
            "truth": answer[:, 0] if self.kind == "binary" else answer,
            "probability": prediction.probability,
            "decision": prediction.decision,
        }
        if prediction.inside is not None:
            codes = answer.reshape(len(answer), -1)[:, 0]
            held = prediction.inside[np.arange(len(codes)), np.nan_to_num(codes).astype(int)].astype(np.float64)
            measured["covered"] = np.where(np.isnan(codes), np.nan, held)
            measured["set_size"] = prediction.inside.sum(axis=1).astype(np.float64)
        return measured if prediction.left is None else {**measured, "left_to_person": prediction.left.astype(float)}

    def metrics(self) -> Mapping[str, Metric]:
        from medloom.tasks import _class_figures, _ordinal_figures, _set_figures

        named = self.classes if len(self.classes) <= MOST_NAMED else ()
        figures = _class_figures.metrics(self.kind, self.threshold, named)
        if self.options.conformal is not None:
            figures = {**figures, **_set_figures.metrics()}
        return _ordinal_figures.metrics(figures) if self.options.order else figures

    def baselines(self, seed: int) -> Mapping[str, Baseline]:
        from medloom.tasks._baselines import BestFeature, GradientBoosting, Logistic, Majority
        from medloom.tasks._ridge_classes import RidgeClasses

        outputs = len(self.classes)
        return {
            "majority": Majority(self.kind, outputs, seed),
            "best_feature": BestFeature(self.kind, outputs, seed),
            "logistic": Logistic(self.kind, outputs, seed),
            "ridge": RidgeClasses(self.kind, outputs, seed),
            "gradient_boosting": GradientBoosting(self.kind, outputs, seed),
        }

    def scores(self, output: Output) -> Scores:
        """Calibrated log-odds: of the class asked for, of each class against all others, or of each label."""
        import torch

        logits = output["logits"] / torch.tensor(self.temperature, dtype=output["logits"].dtype)
        if self.kind == "multiclass":
            log = torch.log_softmax(logits, dim=1)
            # log(1 − p) as the sum of the other classes, so that nothing is lost where p is near 1.
            rest = [torch.cat([log[:, :k], log[:, k + 1 :]], dim=1).logsumexp(dim=1) for k in range(log.shape[1])]
            logits = log - torch.stack(rest, dim=1)
        return Scores(logits, self._answers, "log-odds")

    @property
    def called(self) -> tuple[str, ...]:
        """What the classes are called for people: no and yes for 0 and 1."""
        return words_of(self.classes) if self.kind == "binary" else self.classes

    @property
    def _answers(self) -> tuple[str, ...]:
        return self.classes[1:] if self.kind == "binary" else self.classes

    def replies(self, measured: Measured) -> Replies:
        """Probabilities; the error is the squared distance from the truth (Brier), summed over classes or labels."""
        probability, truth = measured["probability"], measured["truth"]
        if self.kind == "multiclass":
            known = ~np.isnan(truth)
            hot = (np.nan_to_num(truth)[:, None] == np.arange(len(self.classes))).astype(np.float64)
            error = np.where(known, ((probability - hot) ** 2).sum(axis=1), np.nan)
        else:
            error = (probability - truth) ** 2
        if self.kind == "multilabel":
            error = error.mean(axis=1)
        value = probability[:, None] if self.kind == "binary" else probability
        names = self.called[1:] if self.kind == "binary" else self.classes
        return Replies(value, names, "probability", error, "squared error of the probability")

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
            (self.called[1] if self.kind == "binary" else name): (of_share(parameters, share, explained), n)
            for name, (share, n) in shares.items()
            if 0 < share < 1
        }

    def question(self) -> str:
        from medloom.tasks._class_words import question

        return question(self)

    def describe(self) -> Mapping[str, str]:
        from medloom.tasks._class_words import describe

        return describe(self)


def _truth(target: Field) -> np.ndarray:
    value = target.value.double().numpy().copy()
    if target.valid is not None:
        value[~target.valid.numpy()] = np.nan
    value[~target.present.numpy()] = np.nan
    return value


def _sigmoid(logits: np.ndarray) -> np.ndarray:
    from scipy.special import expit

    return np.asarray(expit(logits))
