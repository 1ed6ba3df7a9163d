"""A model card in the fields of the CHAI applied model card, as XML.

Source: https://mc.chai.org/v0.2/schema.xsd. Fields that nobody wrote say so; none is filled with what was not computed.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from xml.etree import ElementTree

from medloom.evaluation.intervals import Estimate
from medloom.report.standards.known import CALIBRATION, Answers, Known
from medloom.report.standards.said import Answered, Measured, Said

NAMESPACE = "https://mc.chai.org/v0.2/schema.xsd"
UNSAID = "Not stated by the authors."
METRICS = {
    "UsefulnessUsabilityEfficacy": "usefulness",
    "FairnessEquity": "fairness",
    "SafetyReliability": "safety",
}
"""Groups of figures by their element, and how their goal is called among the fields."""


def measured(known: Known) -> dict[str, Measured]:
    """The figures of the run by the groups of the card."""
    kind = "Cross-validation" if known.story.crossed else f"Held-out {known.content.who.many} of the same data"
    kind = kind if known.trained else "Other data than those of the development"
    data = f"{known.content.people} Answers: {known.events}."
    level = f"{100 * known.content.level:g} % intervals over {known.content.who.many}. {known.judged}"
    safety = tuple(known.of_kind(CALIBRATION))
    held = "See the results." if safety else "Calibration was not measured in this run."
    groups = "Subgroups are in the report." if "subgroups" in known.anchors else "No group was judged by itself."
    return {
        "usefulness": Measured(tuple(known.of_kind(CALIBRATION, others=True)), known.headlines, kind, data, level),
        "fairness": Measured((), groups, kind, data, level),
        "safety": Measured(safety, held, kind, data, level),
    }


def _risks(known: Known) -> Said:
    return Said(f"Research use only; not a medical device. {' '.join(known.content.warnings)}".strip())


def _summary(known: Known) -> Said:
    return Said(f"{' '.join(answer.question for answer in known.answers)} {known.headlines}")


def _mitigation(known: Known) -> Said:
    return Said("No method for fairness was used by the run.")


ANSWERS: Answers = {
    "model_name": lambda known: Said(known.content.title),
    "release_stage": lambda known: Said("Research use only; not a medical device."),
    "release_date": lambda known: Said(known.content.made),
    "release_version": lambda known: Said(f"Made by medloom {known.content.environment['medloom']}."),
    "summary": _summary,
    "how_to_use": lambda known: Said("By medloom predict with the bundle of the run, on rows of the same columns."),
    "risks_and_limitations": _risks,
    "outcomes_and_outputs": lambda known: Said(f"{known.outputs}."),
    "model_type": lambda known: Said(f"{known.members}."),
    "data_types": lambda known: Said(f"Input: {known.inputs}. Output: {known.outputs}."),
    "development_data": lambda known: Said(
        f"{known.content.people} {known.development}. {known.missing['train']}"
        if known.trained
        else "The card of the run that made the bundle tells it; this run only evaluates."
    ),
    "bias_mitigation": _mitigation,
    "transparency": lambda known: Said(
        "The report of the run holds the study file, the split and its proof, all figures with their intervals, and the "
        "lists of TRIPOD+AI and PROBAST+AI."
    ),
    "evaluation_references": lambda known: Said("The report of the run (report.html), its figures (metrics.json)."),
}


def xml(fields: Sequence[Answered], figures: Mapping[str, Measured], level: float) -> str:
    """The card as an XML document, in the order of the schema."""
    root = ElementTree.Element("AppliedModelCard", xmlns=NAMESPACE)
    by_part: dict[str, list[Answered]] = {}
    for field in fields:
        by_part.setdefault(field.item.part, []).append(field)
    for name in ("BasicInfo", "ReleaseInfo", "ModelSummary", "UsesAndDirections", "Warnings"):
        part = _part(root, name, by_part[name])
        if name == "ModelSummary":
            ElementTree.SubElement(part, "Keywords")
    trust = ElementTree.SubElement(root, "TrustIngredients")
    for name in ("AISystemFacts", "TransparencyInformation"):
        _part(trust, name, by_part[name])
    metrics = ElementTree.SubElement(root, "KeyMetrics")
    for name, group in METRICS.items():
        _figures(_part(metrics, name, by_part[name]), figures[group], level)
    _part(root, "Resources", by_part["Resources"])
    ElementTree.SubElement(root, "Bibliography")
    ElementTree.indent(root)
    return f'<?xml version="1.0" encoding="UTF-8"?>\n{ElementTree.tostring(root, encoding="unicode")}\n'


def _part(above: ElementTree.Element, name: str, fields: Sequence[Answered]) -> ElementTree.Element:
    part = ElementTree.SubElement(above, name)
    for field in fields:
        if field.state == "for the authors" and field.item.optional:
            continue
        text = UNSAID if field.state == "for the authors" else field.text
        ElementTree.SubElement(part, field.item.element).text = _allowed(text)
    return part


def _figures(part: ElementTree.Element, group: Measured, level: float) -> None:
    results = ElementTree.SubElement(part, "Results")
    for label, estimate in group.results or (("None", Estimate(None, note=group.interpretation)),):
        result = ElementTree.SubElement(results, "MetricResult")
        ElementTree.SubElement(result, "Label").text = _allowed(label)
        ElementTree.SubElement(result, "ValueJson").text = _value(estimate, level)
    for name, text in (
        ("Interpretation", group.interpretation),
        ("TestType", group.kind),
        ("TestingDataDescription", group.data),
        ("ValidationProcessAndJustification", group.process),
    ):
        ElementTree.SubElement(part, name).text = _allowed(text)


def _value(estimate: Estimate, level: float) -> str:
    """A figure as the examples of the schema write it: an estimate with its interval, or a single value."""
    if estimate.value is None:
        return json.dumps({"kind": "single", "value": None, "note": estimate.note or "cannot be estimated"})
    if estimate.low is None or estimate.high is None:
        return json.dumps({"kind": "single", "value": estimate.value})
    between = {"lower": estimate.low, "upper": estimate.high, "level": 100 * level}
    return json.dumps({"kind": "estimate_ci", "estimate": estimate.value, **between})


def _allowed(text: str) -> str:
    """Text without the control characters that XML cannot hold."""
    return "".join(c for c in text if c in "\t\n" or " " <= c < "\ud800" or "\ue000" <= c < "\ufffe" or c > "\uffff")
