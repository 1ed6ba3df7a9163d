import numpy as np
import pytest
from sklearn.metrics import roc_auc_score

from medloom.draw import generator
from medloom.errors import PATIENT
from medloom.explain.donors import donors
from medloom.explain.importance import correlated, exchanges, importances
from medloom.explain.probe import Piece, Probe
from tests.explain.studies import trained


@pytest.fixture(scope="module")
def asked(tmp_path_factory):
    found, feed = trained(tmp_path_factory.mktemp("stacked"), model={"members": ["network", "gradient_boosting"]})
    return (
        found,
        Probe(found.team, feed, found.prepared.fold.test),
        found.prepared.cohort.patient[found.prepared.fold.test],
    )


def test_the_fall_is_that_of_the_figure_on_exchanged_rows(asked):
    """By hand: the table's own values are exchanged before anything is packed, and the team answers the new rows."""
    found, probe, patient = asked
    pieces = probe.pieces()
    assert [piece.part for piece in pieces] == ["strong", "copy", "noise", "other", "ward"]
    moved = (Piece("labs", "strong"), Piece("labs", "ward"))
    made = exchanges(probe, patient, [moved], 2, 3)
    known = probe.known("death")
    headline = next(iter(probe.feed.tasks["death"].metrics().items()))
    drop = importances(
        "death", headline, probe.measured()["death"], made, [moved], patient, known, 100, 0.95, 3, PATIENT
    )[0].drop

    frame, rows = found.prepared.cohort.frame, probe.rows
    falls, whole = [], None
    from medloom.bundle import Bundle

    bundle = Bundle(found.prepared.study, found.prepared.feed.modalities, found.tasks, found.team, {})
    test = frame[rows.tolist()]
    whole = roc_auc_score(test["died"], bundle.predict(test)["death_probability"].to_numpy())
    for number in range(2):
        given = donors(patient, generator(3, "exchange", number)).tolist()
        other = test.with_columns(test["strong"].gather(given), test["ward"].gather(given))
        falls.append(whole - roc_auc_score(test["died"], bundle.predict(other)["death_probability"].to_numpy()))
    assert drop.value == pytest.approx(np.mean(falls), abs=1e-9)
    assert drop.low < drop.value < drop.high and drop.low > 0.1


def test_columns_that_follow_each_other_are_found(asked):
    _, probe, _ = asked
    owner = [Piece(name, one.part) for name, one in probe.features()]
    groups = correlated(probe.pieces(), owner, probe.feed.plain(probe.rows))
    assert [{piece.part for piece in group} for group in groups] == [{"strong", "copy"}]
