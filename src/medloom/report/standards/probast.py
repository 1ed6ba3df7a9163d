"""What a run says of the signalling questions of PROBAST+AI, with its evidence. Domains are judged by people.

Source: Moons et al., "PROBAST+AI", BMJ 388:e082505, 2025; for the size of an evaluation Collins, Ogundimu & Altman,
"Sample size considerations for the external validation of a multivariable prognostic model", Stat. Med. 35, 2016.
"""

from __future__ import annotations

from medloom.errors import counted
from medloom.report.standards.known import CALIBRATION, DECISION_CURVE, USEFULNESS, Answers, Known
from medloom.report.standards.said import Said

EVENTS = 100
"""Events, and rows without, that an evaluation should have at least."""
ELSEWHERE = "The model was developed in another run; this one only evaluates it."
UNKNOWN = "no information"


def _developed(said: Said, known: Known) -> Said:
    return said if known.trained else Said(ELSEWHERE, verdict="not applicable", applies=False)


def _alike(known: Known) -> Said:
    return Said(
        "Within the run one fitted state reads every row. What came before the table is not known to it.",
        known.links("method"),
        "probably yes",
    )


def _available(known: Known) -> Said:
    verdict = "yes" if known.proved else UNKNOWN
    return Said(f"{known.times}. Declared times were not checked.", known.links("patients"), verdict)


def _size(known: Known) -> Said | None:
    if not known.trained:
        return Said(ELSEWHERE, verdict="not applicable", applies=False)
    if not known.sizes:
        return None
    enough = all(one.enough for one in known.sizes)
    said = "; ".join(
        f"{one.target} ({one.outcome}): {one.patients:,} of {counted(one.needed.rows, 'patient')}"
        for one in known.sizes
    )
    more = " The criteria are for regression; other models need more." if enough else ""
    return Said(f"Riley's criteria: {said}.{more}", known.links("sample-size"), "probably yes" if enough else "no")


def _form(known: Known) -> Said:
    tables = [one for one in known.content.inputs if one.modality == "table"]
    verdict = "probably yes" if len(tables) == len(known.content.inputs) else UNKNOWN
    said = Said(
        f"No number was cut into classes by the run; categories keep their words, rare ones pooled. {known.inputs}.",
        known.links("method"),
        verdict,
    )
    return _developed(said, known)


def _missing(known: Known, part: str) -> Said:
    left = any(known.unanswered.values()) or known.left_out
    return Said(
        f"{known.missing[part]} {known.handled}",
        known.links("patients"),
        UNKNOWN if left else "probably yes",
    )


def _recalibrated(known: Known) -> Said:
    if not known.imbalance:
        return _developed(Said("No such method was used.", verdict="not applicable", applies=False), known)
    named = ", ".join(f"{name}: {method}" for name, method in known.imbalance.items())
    how = "Probabilities were set on calibration rows." if known.calibrated else "No rows calibrated."
    return _developed(Said(f"{named}. {how}", known.links("again"), "yes" if known.calibrated else UNKNOWN), known)


def _overfitting(known: Known) -> Said:
    curve, decay = known.content.training, known.story.prepared.study.train.weight_decay
    chosen = known.chosen
    said = [
        *(["the weights that were kept are the best on validation rows"] * chosen),
        *([f"weight decay {decay:g}"] * bool(curve is not None and decay)),
        *(["simple models stand beside it on the same rows"] * any(answer.baselines for answer in known.answers)),
    ]
    done = f"Done: {'; '.join(said)}." if said else "Nothing was done against it."
    text = f"{done} {known.selected}".strip()
    return _developed(Said(text, known.links("method"), "probably yes" if chosen else UNKNOWN), known)


def _beyond(known: Known) -> Said:
    return Said(f"{known.judged} No figure is of rows that taught.", known.links("patients", "answers"), "yes")


def _events(known: Known) -> Said:
    fewest = known.fewest()
    if not fewest:
        return Said(f"{known.intervals}.", known.links("answers"), UNKNOWN)
    said = ", ".join(f"{name} {n:,}" for name, n in fewest.items())
    return Said(
        f"Judged rows with the rarest answer: {said}; {EVENTS} are asked for. {known.intervals}.",
        known.links("answers", "patients"),
        "probably yes" if min(fewest.values()) >= EVENTS else "probably no",
    )


def _uncorrected(known: Known) -> Said:
    if not known.imbalance:
        return Said("No such method was used.", verdict="not applicable", applies=False)
    return Said("Judged rows are as they came; weights were used in training alone.", verdict="yes")


def _leakage(known: Known) -> Said:
    if not known.trained:
        return Said("All rows judge; none was split off.", verdict="not applicable", applies=False)
    shared = known.story.prepared.proof["patients_in_two_parts"]
    declared = known.story.prepared.study.cohort.independent_rows
    compared = "that every row is another patient is declared" if declared else "every id was compared"
    audit = known.story.audit
    severe = len(audit.severe) if audit else 0
    looked = (
        f" The audit for leaks has {counted(len(audit.findings), 'finding')}, {severe} of them severe." if audit else ""
    )
    verdict = (
        "no" if shared else "probably no" if severe else "yes" if known.proved and not declared else "probably yes"
    )
    return Said(
        f"{known.content.who.counted(shared)} {'is' if shared == 1 else 'are'} in two parts: {compared}. Inputs, outcome and model are fitted on training rows. "
        f"{known.times}.{looked}",
        known.links("patients", "audit"),
        verdict,
    )


def _repeated(known: Known) -> Said:
    if not known.story.crossed:
        return Said("No resampling was used; rows were held out.", verdict="not applicable", applies=False)
    return Said("Every fold fits, trains, calibrates and judges by itself.", known.links("patients"), "yes")


def _measured(known: Known) -> Said:
    calibration, useful = known.of_kind(CALIBRATION), known.of_kind(USEFULNESS) or DECISION_CURVE in known.plots
    absent = [name for name, found in (("calibration", calibration), ("net benefit", useful)) if not found]
    without = f" Not measured: {', '.join(absent)}." if absent else ""
    verdict = "yes" if not absent else "probably yes" if calibration else "probably no"
    return Said(f"Measured: {known.measures}.{without}", known.links("target-1-figures"), verdict)


ANSWERS: Answers = {
    "dev-2-2": lambda known: _developed(_alike(known), known),
    "dev-2-4": lambda known: _developed(_available(known), known),
    "dev-4-1": _size,
    "dev-4-2": _form,
    "dev-4-3": lambda known: _developed(_missing(known, "train"), known),
    "dev-4-4": _recalibrated,
    "dev-4-5": _overfitting,
    "eval-2-2": _alike,
    "eval-2-4": _available,
    "eval-4-1": _beyond,
    "eval-4-2": _events,
    "eval-4-3": lambda known: _missing(known, "test"),
    "eval-4-4": _uncorrected,
    "eval-4-5": _leakage,
    "eval-4-6": _repeated,
    "eval-4-7": _measured,
}
