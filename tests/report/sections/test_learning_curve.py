from __future__ import annotations

from medloom.evaluation.intervals import Comparison, Estimate
from medloom.evaluation.learning import Reached
from medloom.report.content import Answer, Entrant, Figure
from medloom.report.section import Table
from medloom.report.sections.learning_curve import section
from medloom.task import Plot


def comparison(model: float, simple: float) -> Comparison:
    figures = {"model": {"auroc": Estimate(model, model - 0.1, model + 0.1)}, "logistic": {"auroc": Estimate(simple)}}
    return Comparison(figures, {"logistic": {"auroc": Estimate(model - simple)}}, 50, 30, 100, 0.95)


def answer(best: str | None = "logistic") -> Answer:
    network = Entrant("model", "Network", {"auroc": Estimate(0.8)})
    simple = (Entrant("logistic", "Logistic regression", {"auroc": Estimate(0.75)}),)
    return Answer("death", "died?", (Figure("auroc", "AUROC", True),), network, simple if best else (), best=best)


CURVE = (
    Reached(0.1, 20, 10, note="cannot be estimated: one class"),
    Reached(0.5, 100, 50, {"death": comparison(0.7, 0.74)}),
    Reached(1.0, 200, 100, {"death": comparison(0.8, 0.75)}),
)


def test_a_plot_and_a_table_of_the_model_and_the_best_simple_one():
    told = section(CURVE, (answer(),))
    plot = next(piece for piece in told.pieces if isinstance(piece, Plot))
    assert [curve.name for curve in plot.curves] == ["Network", "Logistic regression"]
    assert list(plot.curves[0].x) == [50, 100] and list(plot.curves[0].y) == [0.7, 0.8]
    assert plot.curves[0].low is not None and plot.curves[1].low is None
    assert "from 0.700 with 50 to 0.800" in plot.text
    table = next(piece for piece in told.pieces if isinstance(piece, Table))
    assert table.head[-1] == "Difference" and table.signed == ("Difference",)
    assert table.rows[0] == ("10%", "10", "20", "cannot be estimated", "cannot be estimated", "–")
    assert (
        table.rows[2][3].value == 0.8
        and table.rows[2][5].value == comparison(0.8, 0.75).differences["logistic"]["auroc"].value
    )
    assert "10% of the patients: cannot be estimated: one class." in told.pieces[-1].text


def test_without_a_simple_model_the_curve_stands_alone():
    told = section(CURVE[1:], (answer(None),))
    table = next(piece for piece in told.pieces if isinstance(piece, Table))
    assert table.head == ("Share", "Patients", "Rows", "Network") and len(table.rows[0]) == 4


def test_where_nothing_could_be_trained_there_is_no_plot():
    told = section(CURVE[:1], (answer(),))
    assert not any(isinstance(piece, Plot) for piece in told.pieces)


def test_nothing_is_told_of_nothing():
    assert section((), (answer(),)) is None
