"""A learning curve: the same study taught by shares of its training patients, each judged once on the same test rows."""

from __future__ import annotations

from collections.abc import Callable, Mapping

import numpy as np

from medloom.cohort.split import Fold
from medloom.errors import DataError
from medloom.evaluation.intervals import Comparison
from medloom.evaluation.learning import Reached, with_share
from medloom.judging import Trained, compared, judge_one, train_one
from medloom.prepare import Prepared, strata
from medloom.rundir import RunFolder
from medloom.training.loop import Event, Watch


def learning_curve(
    final: Trained,
    comparisons: Mapping[str, Comparison],
    prepared: Callable[[Fold], Prepared],
    folder: RunFolder,
    watch: Watch,
) -> tuple[Reached, ...]:
    """What each share of `evaluate.learning_curve` reaches; the share 1 is the run itself, `final` and `comparisons`.

    Rows that validate and calibrate stay all of theirs. A budget in minutes becomes the steps of the run. A share that
    is too small to be taught by (a class without a row) is told so, with what was found.
    """
    study, whole, cohort = final.prepared.study, final.prepared.fold, final.prepared.cohort
    shares, reached = study.evaluate.learning_curve, []
    codes = strata(study, final.prepared.marks)
    part = study.train
    if part.minutes is not None:
        part = part.model_copy(update={"steps": final.steps, "minutes": None})
    for place, share in enumerate(shares, 1):
        fold = with_share(whole, cohort, codes, share, study.seed)
        size = (share, len(fold.train), len(np.unique(cohort.patient[fold.train])))
        if share == 1:
            reached.append(Reached(*size, comparisons))
            continue
        watch(Event("fold", place, len(shares)))
        name = f"share-{round(share * 10_000):05d}"
        try:
            trained = train_one(prepared(fold), part, folder.training(name), watch)
            judged = judge_one(trained, folder.work / name / "masks")
        except DataError as error:
            reached.append(Reached(*size, note=f"cannot be estimated: {error}"))
            continue
        reached.append(Reached(*size, compared(study, trained.tasks, judged)))
    return tuple(reached)
