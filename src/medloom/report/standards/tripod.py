"""What a run says of the items of TRIPOD+AI.

Source: Collins et al., "TRIPOD+AI statement", BMJ 385:e078378, 2024.
"""

from __future__ import annotations

from medloom.errors import counted
from medloom.report.standards.known import CALIBRATION, Answers, Known
from medloom.report.standards.said import Said
from medloom.report.verdict import percent

ELSEWHERE = "The model was developed in another run; this one only evaluates it."


def _objective(known: Known) -> Said:
    did = "develops a model and evaluates it" if known.trained else "evaluates a model that was developed elsewhere"
    questions = " ".join(answer.question for answer in known.answers)
    return Said(f"This run {did}: {questions}", known.links("answers"))


def _setting(known: Known) -> Said | None:
    sites = known.story.prepared.cohort.site
    if sites is None:
        return None
    return Said(f"{counted(sites.n_unique(), 'site')}, by the column that the study names.", known.links("patients"))


def _criteria(known: Known) -> Said:
    part = known.story.prepared.study.cohort
    named = [f"{one.name} ({one.where})" for one in part.include]
    named += [f"not {one.name} ({one.where})" for one in part.exclude]
    text = f"Criteria applied by the study: {'; '.join(named)}." if named else "The study applies no criteria."
    return Said(f"{text} All other choices were made before the table was read.", known.links("patients"))


def _preparation(known: Known) -> Said:
    fitted = "on training rows alone" if known.trained else "when the bundle was made"
    return Said(
        f"Values are read as the study file declares (kinds, units, missing markers, ranges). Scaling and vocabularies were "
        f"fitted {fitted}, the same for every row: {known.inputs}.",
        known.links("method", "again"),
    )


def _outcome(known: Known) -> Said:
    columns = {name: ", ".join(task.columns(task.options)) for name, task in known.story.tasks.items()}  # type: ignore[attr-defined]
    said = "; ".join(f"{name} from {names}" for name, names in columns.items())
    return Said(f"Read from the table: {said}. Fitted: {known.outputs}.", known.links("answers"))


def _offered(known: Known) -> Said:
    if not known.trained:
        return Said(ELSEWHERE, applies=False)
    text = f"Offered to the model, as the study file says: {known.inputs}. {known.selected}".strip()
    return Said(text, known.links("method"))


def _predictors(known: Known) -> Said:
    return Said(f"Inputs: {known.inputs}. When known: {known.times}.", known.links("method", "again"))


def _size(known: Known) -> Said | None:
    if not known.sizes:
        return None
    said = [
        f"{one.target} ({one.outcome}): {counted(one.needed.rows, 'patient')} needed for {counted(one.needed.parameters, 'parameter')}, "
        f"{one.patients:,} there"
        for one in known.sizes
    ]
    return Said(f"Riley's criteria, which are for regression: {'; '.join(said)}.", known.links("sample-size"))


def _missing(known: Known) -> Said:
    return Said(f"{known.missing[known.first]} {known.handled}", known.links("patients"))


def _used(known: Known) -> Said:
    if not known.trained:
        return Said(ELSEWHERE, applies=False)
    return Said(f"{known.judged} {known.development}.", known.links("patients"))


def _handled(known: Known) -> Said:
    if not known.trained:
        return Said(ELSEWHERE, applies=False)
    return Said(f"Fitted on training rows: {known.inputs}.", known.links("method", "again"))


def _model(known: Known) -> Said:
    if not known.trained:
        return Said(ELSEWHERE, applies=False)
    return Said(
        f"{known.members}. {known.trained_how}No setting of a network was tuned within this run. {known.judged}",
        known.links("method", "again"),
    )


def _clusters(known: Known) -> Said:
    if known.story.prepared.cohort.site is None:
        return Said("No column of sites is named, so differences between sites were not looked at.")
    by = known.story.prepared.study.split.by
    how = "Whole sites judge." if by == "site" else "Sites are in all parts of the split."
    return Said(f"{how} Figures are of all judged sites together.", known.links("patients", "subgroups"))


def _measures(known: Known) -> Said:
    baselines = list(dict.fromkeys(one.label for answer in known.answers for one in answer.baselines))
    beside = f" Compared on the same rows with {', '.join(baselines)}, paired." if baselines else ""
    drawn = f" Plots: {', '.join(known.plots)}." if known.plots else ""
    return Said(
        f"Measured: {known.measures}, with {percent(known.content.level)} intervals over {known.content.who.many}.{beside}{drawn}",
        known.links("target-1-figures"),
    )


def _updated(known: Known) -> Said:
    return Said("Nothing was updated after the evaluation.", applies=False)


def _calculated(known: Known) -> Said:
    return Said("By the bundle, through the same code that medloom predict runs on new rows.", known.links("again"))


def _imbalance(known: Known) -> Said:
    if not known.imbalance:
        return Said("No method against class imbalance was used.", applies=False)
    named = ", ".join(f"{name}: {method}" for name, method in known.imbalance.items())
    after = " Probabilities were then set on calibration rows." if known.calibrated else " No rows calibrated."
    return Said(f"{named}.{after}", known.links("again"))


def _fairness(known: Known) -> Said:
    if "subgroups" in known.anchors:
        return Said("Figures were compared between groups; nothing else was done.", known.links("subgroups"))
    return Said("No group was judged by itself, and no method for fairness was used.")


def _output(known: Known) -> Said:
    if not known.trained:
        return Said(ELSEWHERE, applies=False)
    how = "Calibration rows set what the study leaves open." if known.calibrated else "No rows calibrate."
    return Said(f"{known.outputs}. {how}", known.links("target-1-figures"))


def _differences(known: Known) -> Said:
    by = known.story.prepared.study.split.by
    if not known.trained:
        return Said("The evaluation data were read as the development data were: same columns, units and outcome.")
    between = {"site": "Other sites judge than teach.", "time": f"The latest {known.content.who.many} judge."}
    text = between.get(by, "Both are of one table, by the same criteria, outcome and predictors.")
    return Said(text, known.links("patients"))


def _code(known: Known) -> Said:
    version = known.content.environment.get("medloom", "")
    return Said(f"Made by medloom {version}; the study file with every default is in the report.", known.links("again"))


def _flow(known: Known) -> Said:
    steps = "; ".join(
        f"{step.name}: {counted(step.rows, 'row')} of {known.content.who.counted(step.patients)}"
        for step in known.content.flow
    )
    return Said(f"{known.content.people} {steps}. Answers: {known.events}.", known.links("patients"))


def _characteristics(known: Known) -> Said:
    return Said(f"{known.content.people} {known.missing[known.first]}", known.links("patients", "characteristics"))


def _numbers(known: Known) -> Said:
    return Said(f"{known.development}. Answers: {known.events}.", known.links("patients"))


def _specification(known: Known) -> Said:
    if not known.trained:
        return Said(ELSEWHERE, applies=False)
    if known.story.crossed and not known.story.prepared.study.split.refits:
        return Said("Cross-validation alone: no model was kept.")
    return Said(
        f"{known.members}, whole in the folder bundle/: numbers and settings in open formats, with digests.",
        known.links("again"),
    )


def _performance(known: Known) -> Said:
    groups = "" if "subgroups" in known.anchors else " No subgroup was judged."
    calibration = "" if known.of_kind(CALIBRATION) else " Calibration was not measured."
    return Said(f"{known.intervals}.{groups}{calibration}", known.links("answers", "target-1-figures", "subgroups"))


def _interpretation(known: Known) -> Said:
    return Said(known.headlines, known.links("answers"))


def _limits(known: Known) -> Said:
    warned = known.content.warnings
    return Said(" ".join(warned) if warned else "The run raised no warning.", known.links("warnings"))


def _poor_input(known: Known) -> Said:
    return Said(
        "The bundle refuses rows that do not fit what it learnt (an unknown category, a value that cannot be), or names "
        "the problem in a column. A missing value is read as missing."
    )


ANSWERS: Answers = {
    "1": _objective,
    "4": _objective,
    "6a": _setting,
    "6b": _criteria,
    "7": _preparation,
    "8a": _outcome,
    "9a": _offered,
    "9b": _predictors,
    "10": _size,
    "11": _missing,
    "12a": _used,
    "12b": _handled,
    "12c": _model,
    "12d": _clusters,
    "12e": _measures,
    "12f": _updated,
    "12g": _calculated,
    "13": _imbalance,
    "14": _fairness,
    "15": _output,
    "16": _differences,
    "18f": _code,
    "20a": _flow,
    "20b": _characteristics,
    "21": _numbers,
    "22": _specification,
    "23a": _performance,
    "23b": _clusters,
    "24": _updated,
    "25": _interpretation,
    "26": _limits,
    "27a": _poor_input,
}
