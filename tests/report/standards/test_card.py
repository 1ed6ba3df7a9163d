"""The XML of the card against the structure of the CHAI schema, version 0.2: names, order and how often each may stand.

The structure is told here in our own form. "?" may be left out, "+" stands once or more, "*" any number of times; a name
alone holds text.
"""

from __future__ import annotations

import json
from xml.etree import ElementTree

import pytest

from medloom.evaluation.intervals import Estimate
from medloom.report.standards.authors import Texts
from medloom.report.standards.card import NAMESPACE, UNSAID, xml
from medloom.report.standards.items import items
from medloom.report.standards.said import Measured, Said, together

METRIC = "MetricGoal Results Interpretation TestType TestingDataDescription ValidationProcessAndJustification"
STRUCTURE = {
    "AppliedModelCard": "BasicInfo ReleaseInfo ModelSummary UsesAndDirections Warnings TrustIngredients KeyMetrics "
    "Resources Bibliography Signature?",
    "BasicInfo": "ModelName ModelDeveloper DeveloperContact",
    "ReleaseInfo": "ReleaseStage ReleaseDate ReleaseVersion GlobalAvailability EHRCompatibility? RegulatoryApproval?",
    "EHRCompatibility": "EHR*",
    "ModelSummary": "Summary Keywords",
    "Keywords": "Keyword*",
    "UsesAndDirections": "IntendedUseAndWorkflow PrimaryIntendedUsers HowToUse TargetedPatientPopulation "
    "CautionedOutOfScopeSettings",
    "Warnings": "KnownRisksAndLimitations KnownBiasesOrEthicalConsiderations ClinicalRiskLevel",
    "TrustIngredients": "AISystemFacts TransparencyInformation",
    "AISystemFacts": "OutcomesAndOutputs ModelType FoundationModels? InputDataSource OutputAndInputDataTypes "
    "DevelopmentDataCharacterization BiasMitigationApproaches OngoingMaintenance Security? Transparency?",
    "TransparencyInformation": "FundingSource ThirdPartyInformation? StakeholdersConsulted",
    "KeyMetrics": "UsefulnessUsabilityEfficacy FairnessEquity SafetyReliability",
    "UsefulnessUsabilityEfficacy": METRIC,
    "FairnessEquity": METRIC,
    "SafetyReliability": METRIC,
    "Results": "MetricResult+",
    "MetricResult": "Label ValueJson",
    "Resources": "EvaluationReferences? ClinicalTrial? PeerReviewedPublications ReimbursementStatus? "
    "PatientConsentOrDisclosure",
}
FIGURES = {
    "usefulness": Measured(
        (
            ("death: AUROC", Estimate(0.8, 0.7, 0.9)),
            ("death: F1", Estimate(0.5)),
            ("death: PPV", Estimate(None, note="cannot be estimated: nobody flagged")),
        ),
        "Beats it.",
        "Held-out",
        "20 <patients> & more",
        "Once",
    ),
    "fairness": Measured((), "No group was judged.", "Held-out", "20 patients", "Once"),
    "safety": Measured((("death: slope", Estimate(1.0, 0.9, 1.1)),), "See.", "Held-out", "20 patients", "Once"),
}


def faults(element):
    """What of an element and all below it the structure does not allow."""
    name = element.tag.removeprefix(f"{{{NAMESPACE}}}")
    if not element.tag.startswith(f"{{{NAMESPACE}}}"):
        return [f"{name}: not of the namespace"]
    if name not in STRUCTURE:
        return [f"{name}: holds elements"] if len(element) else []
    found = [] if not (element.text or "").strip() else [f"{name}: holds text"]
    children = [child.tag.removeprefix(f"{{{NAMESPACE}}}") for child in element]
    for word in STRUCTURE[name].split():
        plain, often = word.rstrip("?+*"), word[len(word.rstrip("?+*")) :]
        count = 0
        while children and children[0] == plain:
            children.pop(0)
            count += 1
        least, most = {"": (1, 1), "?": (0, 1), "+": (1, 999), "*": (0, 999)}[often]
        if not least <= count <= most:
            found.append(f"{name}: {plain} stands {count} times")
    found += [f"{name}: {left} is out of place" for left in children]
    return found + [fault for child in element for fault in faults(child)]


def made(texts=None, run=None, figures=FIGURES):
    return ElementTree.fromstring(xml(together("card", run or {}, texts or Texts()), figures, 0.95).encode())


def text_of(root, name):
    return [one.text for one in root.iter(f"{{{NAMESPACE}}}{name}")]


def test_a_card_that_nobody_wrote_is_whole_and_says_so():
    root = made()
    assert faults(root) == []
    assert text_of(root, "IntendedUseAndWorkflow") == [UNSAID]
    assert text_of(root, "RegulatoryApproval") == [], "what is optional is left out"


def test_a_card_with_every_text_is_whole():
    texts = Texts({"card": {key: f"<{key}> & ünï \x00\x0b" for key, item in items("card").items() if item.asked}})
    root = made(texts, {"model_name": Said("icu-death")})
    assert faults(root) == []
    assert text_of(root, "RegulatoryApproval") == ["<regulatory_approval> & ünï "]
    assert text_of(root, "ModelName") == ["icu-death"]
    assert text_of(root, "MetricGoal") == [f"<{name}_goal> & ünï " for name in ("usefulness", "fairness", "safety")]


def test_figures_are_values_with_intervals_and_never_made_up():
    values = [json.loads(text) for text in text_of(made(), "ValueJson")]
    assert values[0] == {"kind": "estimate_ci", "estimate": 0.8, "lower": 0.7, "upper": 0.9, "level": 95.0}
    assert values[1] == {"kind": "single", "value": 0.5}
    assert values[2] == {"kind": "single", "value": None, "note": "cannot be estimated: nobody flagged"}
    assert values[3] == {"kind": "single", "value": None, "note": "No group was judged."}
    assert text_of(made(), "TestingDataDescription")[0] == "20 <patients> & more"


def test_every_field_stands_where_the_structure_has_it():
    for item in items("card").values():
        words = {word.rstrip("?+*"): word for word in STRUCTURE[item.part].split()}
        assert item.element in words
        assert item.optional == words[item.element].endswith("?")


@pytest.mark.parametrize(
    ("name", "change"),
    [
        ("BasicInfo", lambda e: e.remove(e[0])),
        ("Warnings", lambda e: e.append(ElementTree.Element(f"{{{NAMESPACE}}}Summary"))),
        ("Results", lambda e: [e.remove(one) for one in list(e)]),
        ("KeyMetrics", lambda e: e.insert(0, e[2])),
        ("ModelName", lambda e: ElementTree.SubElement(e, f"{{{NAMESPACE}}}b")),
        ("Resources", lambda e: setattr(e, "text", "loose")),
    ],
)
def test_the_check_finds(name, change):
    root = made()
    change(next(root.iter(f"{{{NAMESPACE}}}{name}")))
    assert faults(root) != []
