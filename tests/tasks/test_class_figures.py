"""The figures of a classification: what they are called, in which group, and that each is what its interval is about."""

from __future__ import annotations

import numpy as np
import pytest
from scipy.special import expit
from sklearn import metrics as theirs

from medloom.tasks import _class_figures

ONES = np.ones((1, 400))


def measured(seed: int = 0, rows: int = 400) -> dict[str, np.ndarray]:
    random = np.random.default_rng(seed)
    x = np.random.default_rng(0).normal(size=rows)
    truth = (np.random.default_rng(1).random(rows) < expit(x - 1)).astype(float)
    probability = expit(1.2 * (x + 0.5 * random.normal(size=rows)) - 1)
    return {"truth": truth, "probability": probability, "decision": (probability >= 0.3).astype(int)}


def test_figures_of_two_classes_are_sklearns_and_their_definitions() -> None:
    m = measured()
    truth, p, d = m["truth"], m["probability"], m["decision"]
    found = {name: metric.of(m, ONES)[0] for name, metric in _class_figures.metrics("binary", (0.3,)).items()}
    assert next(iter(found)) == "auroc"
    sens, spec = d[truth == 1].mean(), 1 - d[truth == 0].mean()
    expected = {
        "auroc": theirs.roc_auc_score(truth, p),
        "average_precision": theirs.average_precision_score(truth, p),
        "prevalence": truth.mean(),
        "brier": theirs.brier_score_loss(truth, p),
        "scaled_brier": 1 - theirs.brier_score_loss(truth, p) / (truth.mean() * (1 - truth.mean())),
        "log_loss": theirs.log_loss(truth, p),
        "accuracy": theirs.accuracy_score(truth, d),
        "majority_share": max(truth.mean(), 1 - truth.mean()),
        "balanced_accuracy": theirs.balanced_accuracy_score(truth, d),
        "sensitivity": sens,
        "specificity": spec,
        "ppv": theirs.precision_score(truth, d),
        "npv": theirs.precision_score(1 - truth, 1 - d),
        "positive_likelihood_ratio": theirs.class_likelihood_ratios(truth, d)[0],
        "negative_likelihood_ratio": theirs.class_likelihood_ratios(truth, d)[1],
        "number_needed_to_evaluate": 1 / theirs.precision_score(truth, d),
        "f1": theirs.f1_score(truth, d),
        "mcc": theirs.matthews_corrcoef(truth, d),
        "net_benefit": (d * (truth == 1)).mean() - (d * (truth == 0)).mean() * 3 / 7,
    }
    for name, value in expected.items():
        assert found[name] == pytest.approx(value), name
    assert set(found) - set(expected) == {
        *(f"sensitivity_at_specificity_{at}" for at in (90, 95)),
        *(f"specificity_at_sensitivity_{at}" for at in (90, 95)),
        *("calibration_slope", "calibration_intercept", "ici", "e90"),
    }


def test_every_interval_is_about_its_figure() -> None:
    one, other, patient = measured(0), measured(5), np.arange(400)
    for name, metric in _class_figures.metrics("binary", (0.3,)).items():
        value = metric.of(one, ONES)[0]
        if metric.interval is not None:
            found, low, high = metric.interval(one, patient, 0.95)
            assert found == pytest.approx(value, abs=1e-6), name
            assert low < value < high, name
            wide = metric.interval(one, patient, 0.99)
            assert wide[1] < low and high < wide[2], name
        if metric.difference is not None:
            apart = metric.difference(one, other, patient, 0.95)
            assert apart[0] == pytest.approx(value - metric.of(other, ONES)[0], abs=1e-6), name
            assert apart[1] <= apart[0] <= apart[2], name


def test_closed_intervals_are_near_those_of_resamples_in_a_large_sample() -> None:
    rows = 4000
    m, patient = measured(0, rows), np.arange(rows)
    random = np.random.default_rng(2)
    weight = np.stack([np.bincount(random.integers(0, rows, rows), minlength=rows) for _ in range(400)]).astype(float)
    for name, metric in _class_figures.metrics("binary", (0.3,)).items():
        if metric.interval is not None:
            _, low, high = metric.interval(m, patient, 0.95)
            drawn = metric.of(m, weight)
            assert (high - low) / (2 * 1.96) == pytest.approx(drawn.std(), rel=0.2), name


def test_without_a_threshold_there_is_no_net_benefit_and_groups_lay_out_the_table() -> None:
    found = _class_figures.metrics("binary")
    assert "net_benefit" not in found and "net_benefit" not in _class_figures.metrics("binary", (1.0,))
    groups = [metric.group for metric in found.values()]
    assert [g for i, g in enumerate(groups) if i == 0 or groups[i - 1] != g] == [
        "discrimination",
        "calibration",
        "overall",
        "decisions",
    ]


def test_each_class_and_each_label_has_its_auroc() -> None:
    random = np.random.default_rng(0)
    truth = random.integers(0, 3, 300).astype(float)
    probability = random.dirichlet([1, 1, 1], 300) + 0.4 * (truth[:, None] == np.arange(3))
    m = {"truth": truth, "probability": probability, "decision": probability.argmax(axis=1)}
    names = ("a", "b", "c")
    found = _class_figures.metrics("multiclass", (), names)
    assert next(iter(found)) == "accuracy"
    for code, name in enumerate(names):
        metric = found[f"auroc_{name}"]
        expected = theirs.roc_auc_score(truth == code, probability[:, code])
        assert metric.of(m, np.ones((1, 300)))[0] == pytest.approx(expected)
        assert metric.interval is not None and metric.group == "each"
        assert metric.interval(m, np.arange(300), 0.95)[0] == pytest.approx(expected)
    labels = {"truth": (truth[:, None] == np.arange(2)).astype(float), "probability": probability[:, :2]}
    each = _class_figures.metrics("multilabel", (0.5, 0.5), ("a", "b"))["auroc_b"]
    assert each.of(labels, np.ones((1, 300)))[0] == pytest.approx(theirs.roc_auc_score(truth == 1, probability[:, 1]))
    assert len(_class_figures.metrics("multiclass", (), tuple("abcdefghijklm"))) == 6


def test_plots_say_what_they_show() -> None:
    found = _class_figures.plots("binary", ("no", "yes"), {"model": measured(), "logistic": measured(5)})
    roc, precision, calibrated, decision = found
    assert [plot.title for plot in found] == ["ROC curve", "Precision and recall", "Calibration", "Decision curve"]
    assert [curve.name for curve in precision.curves] == ["model", "logistic", "chance"]
    assert len(roc.curves) == 2
    (smooth,) = calibrated.curves
    assert smooth.low is not None and smooth.high is not None
    assert [curve.name for curve in decision.curves] == ["model", "logistic", "treat all", "treat none"]
    assert decision.curves[0].low is not None and decision.curves[1].low is None
    truth = measured()["truth"]
    first = decision.curves[2].y[0]
    assert first == pytest.approx(truth.mean() - 0.01 / 0.99 * (1 - truth.mean()))


def test_the_bands_of_plots_know_whose_rows_these_are() -> None:
    once = measured()
    patient = np.repeat(np.arange(400), 3)
    thrice = {name: np.repeat(value, 3) for name, value in once.items()}
    naive = _class_figures.plots("binary", ("no", "yes"), {"model": thrice})
    honest = _class_figures.plots("binary", ("no", "yes"), {"model": {**thrice, "patient": patient}})
    for narrow, wide in zip(naive[2:], honest[2:], strict=True):
        widths = [np.mean(np.array(p.curves[0].high) - np.array(p.curves[0].low)) for p in (narrow, wide)]
        assert widths[1] > 1.5 * widths[0]
