"""What each resource of FHIR R4 means as events. Plain JSON; nothing of a resource is guessed.

Source: HL7 FHIR R4 (4.0.1), https://hl7.org/fhir/R4, and its list of changes for R5, https://hl7.org/fhir/R5/diff.html.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from typing import Any, NamedTuple

Resource = Mapping[str, Any]
BIRTH, DEATH = "MEDS_BIRTH", "MEDS_DEATH"
SYSTEMS = {
    "http://loinc.org": "LOINC",
    "http://snomed.info/sct": "SNOMED",
    "http://www.nlm.nih.gov/research/umls/rxnorm": "RxNorm",
    "http://hl7.org/fhir/sid/icd-10-cm": "ICD10CM",
    "http://hl7.org/fhir/sid/icd-10": "ICD10",
    "http://hl7.org/fhir/sid/icd-9-cm": "ICD9CM",
    "http://www.cms.gov/Medicare/Coding/ICD10": "ICD10PCS",
    "http://www.ama-assn.org/go/cpt": "CPT4",
    "http://hl7.org/fhir/sid/ndc": "NDC",
    "http://www.whocc.no/atc": "ATC",
    "http://hl7.org/fhir/sid/cvx": "CVX",
}
"""Short names of code systems; others keep the last part of their address."""
LATER = {
    "Encounter": ("actualPeriod", "plannedStartDate", "admission", "virtualService"),
    "MedicationRequest": ("medication", "effectiveDosePeriod", "renderedDosageInstruction"),
    "MedicationAdministration": ("medication", "occurenceDateTime", "occurencePeriod", "occurenceTiming"),
    "Procedure": ("occurrenceDateTime", "occurrencePeriod", "occurrenceString", "occurrenceAge", "reported"),
    "Observation": ("triggeredBy", "bodyStructure", "instantiatesCanonical", "instantiatesReference"),
    "Condition": ("participant",),
    "Claim": ("event", "traceNumber", "diagnosisRelatedGroup", "encounter"),
    "ExplanationOfBenefit": ("event", "traceNumber", "diagnosisRelatedGroup", "encounter"),
}
"""Fields that R5 brought."""
EARLIER = {
    "Condition": ("context", "assertedDate"),
    "MedicationRequest": ("context",),
    "MedicationAdministration": ("notGiven", "prescription"),
    "Procedure": ("context", "notDone"),
    "Observation": ("context", "comment"),
    "Encounter": ("incomingReferral",),
}
"""Fields that R4 took away."""
VOID = {"entered-in-error", "not-done", "cancelled", "refuted", "nullified"}
"""Statuses of what did not happen."""


class Event(NamedTuple):
    """One event of a resource; `timeless` where it is a fact of the patient."""

    time: str | None
    code: str | None
    value: float | None = None
    text: str | None = None
    unit: str | None = None
    timeless: bool = False


class Unreadable(Exception):
    """Why a resource cannot be read: what is listed beside its line."""


class Left(Exception):
    """Why a resource has no events though nothing is wrong with it: what is counted."""


def version_fault(resource: Resource) -> str | None:
    """The sentence that names another version of FHIR than R4; None where nothing speaks of one."""
    kind = resource["resourceType"]
    meta = resource.get("meta")
    said = resource.get("fhirVersion") or (meta.get("fhirVersion") if isinstance(meta, dict) else None)
    if isinstance(said, str) and not said.startswith("4."):
        return f"FHIR {said}; expected R4"
    if any(name in resource for name in LATER.get(kind, ())) or (
        kind == "Encounter" and isinstance(resource.get("class"), list)
    ):
        return "a resource of FHIR R5; expected R4"
    if any(name in resource for name in EARLIER.get(kind, ())):
        return "a resource of FHIR STU3 or earlier; expected R4"
    return None


def patient_of(resource: Resource) -> str | None:
    """The id of the patient that a resource is about."""
    if resource["resourceType"] == "Patient":
        return resource.get("id")
    subject = resource.get("subject") or resource.get("patient")
    reference = subject.get("reference") if isinstance(subject, dict) else None
    return _id(reference, "Patient") if isinstance(reference, str) else None


def _id(reference: str, kind: str) -> str | None:
    """The id in `Patient/1`, `https://server/Patient/1/_history/2` or `urn:uuid:…`."""
    if reference.startswith("urn:"):
        return reference.rpartition(":")[2] or None
    parts = reference.partition("/_history/")[0].split("/")
    return parts[-1] if len(parts) > 1 and parts[-2] == kind else None


def coded(concept: Any) -> str | None:
    """`LOINC/8480-6` of a CodeableConcept: its first coding that has a system and a code, else its text."""
    if not isinstance(concept, dict):
        return None
    codings = [c for c in concept.get("coding") or () if isinstance(c, dict) and c.get("code")]
    for coding in sorted(codings, key=lambda c: not c.get("system")):
        return _coding(coding)
    text = concept.get("text")
    return text.strip() or None if isinstance(text, str) else None


def _coding(coding: Resource) -> str:
    system = coding.get("system")
    if not system:
        return str(coding["code"])
    short = SYSTEMS.get(system.rstrip("/")) or system.rstrip("/").rpartition("/")[2].rpartition(":")[2]
    return f"{short}/{coding['code']}"


def events_of(resource: Resource, medications: Mapping[str, str]) -> Iterator[Event]:
    """The events of a resource. Raises Unreadable or Left. `medications` gives the codes of Medication by id."""
    statuses = {resource.get("status"), coded(resource.get("verificationStatus"))}
    if any(str(status).rpartition("/")[2] in VOID for status in statuses if status):
        raise Left("resources of what did not happen, or entered in error")
    reader = READERS[resource["resourceType"]]
    yield from reader(resource, medications)


def _start(period: Any) -> str | None:
    return period.get("start") if isinstance(period, dict) else None


def _end(period: Any) -> str | None:
    return period.get("end") if isinstance(period, dict) else None


def _patient(resource: Resource, medications: Mapping[str, str]) -> Iterator[Event]:
    if resource.get("birthDate"):
        yield Event(resource["birthDate"], BIRTH)
    if resource.get("gender"):
        yield Event(None, f"gender={resource['gender']}", timeless=True)
    if resource.get("deceasedDateTime"):
        yield Event(resource["deceasedDateTime"], DEATH)


def _encounter(resource: Resource, medications: Mapping[str, str]) -> Iterator[Event]:
    kind = resource.get("class")
    word = kind.get("code") if isinstance(kind, dict) else None
    period = resource.get("period")
    yield Event(_start(period), f"ENCOUNTER/{word or 'unknown'}")
    if _end(period):
        yield Event(_end(period), f"ENCOUNTER_END/{word or 'unknown'}")


def _condition(resource: Resource, medications: Mapping[str, str]) -> Iterator[Event]:
    # When it was recorded, not when it began: before, nobody knew of it.
    time = resource.get("recordedDate") or resource.get("onsetDateTime") or _start(resource.get("onsetPeriod"))
    yield Event(time, coded(resource.get("code")))


def _observation(resource: Resource, medications: Mapping[str, str]) -> Iterator[Event]:
    period = resource.get("effectivePeriod")
    time = (
        resource.get("effectiveDateTime")
        or resource.get("effectiveInstant")
        or _end(period)
        or _start(period)
        or resource.get("issued")
    )
    components = resource.get("component") or ()
    # A panel has components and often no value of its own.
    if not components or any(name.startswith("value") for name in resource):
        yield _measured(time, resource)
    for component in components:
        yield _measured(time, component)


def _measured(time: str | None, item: Resource) -> Event:
    code = coded(item.get("code"))
    quantity = item.get("valueQuantity")
    if isinstance(quantity, dict):
        value, unit = quantity.get("value"), quantity.get("code") or quantity.get("unit")
        if isinstance(value, (int, float)) and not isinstance(value, bool):
            if quantity.get("comparator"):
                return Event(time, code, None, f"{quantity['comparator']}{value:g}")
            return Event(time, code, float(value), None, unit)
        return Event(time, code)
    if "valueInteger" in item:
        return Event(time, code, float(item["valueInteger"]), None, "")
    if "valueBoolean" in item:
        return Event(time, code, None, "true" if item["valueBoolean"] else "false")
    if "valueCodeableConcept" in item:
        return Event(time, code, None, coded(item["valueCodeableConcept"]))
    if "valueString" in item:
        return Event(time, code, None, str(item["valueString"]))
    return Event(time, code)


def _medicine(resource: Resource, medications: Mapping[str, str]) -> str | None:
    """The code of the medication, or of the one that is referred to."""
    if "medicationCodeableConcept" in resource:
        return coded(resource["medicationCodeableConcept"])
    pointed = resource.get("medicationReference")
    reference = pointed.get("reference") if isinstance(pointed, dict) else None
    if not isinstance(reference, str):
        return None
    if reference.startswith("#"):
        held = [c for c in resource.get("contained") or () if isinstance(c, dict) and c.get("id") == reference[1:]]
        return coded(held[0].get("code")) if held else None
    known = medications.get(_id(reference, "Medication") or "")
    if known is None:
        raise Unreadable("a medication that is referred to and not there")
    return known


def _request(resource: Resource, medications: Mapping[str, str]) -> Iterator[Event]:
    yield Event(resource.get("authoredOn"), _medicine(resource, medications))


def _administration(resource: Resource, medications: Mapping[str, str]) -> Iterator[Event]:
    time = resource.get("effectiveDateTime") or _start(resource.get("effectivePeriod"))
    dosage = resource.get("dosage")
    dose = dosage.get("dose") if isinstance(dosage, dict) else None
    value = dose.get("value") if isinstance(dose, dict) else None
    unit = (dose.get("code") or dose.get("unit")) if isinstance(dose, dict) else None
    code = _medicine(resource, medications)
    if isinstance(value, (int, float)) and not isinstance(value, bool):
        yield Event(time, code, float(value), None, unit)
    else:
        yield Event(time, code)


def _procedure(resource: Resource, medications: Mapping[str, str]) -> Iterator[Event]:
    time = resource.get("performedDateTime") or _start(resource.get("performedPeriod"))
    yield Event(time, coded(resource.get("code")))


def _claim(resource: Resource, medications: Mapping[str, str]) -> Iterator[Event]:
    """Diagnoses at the end of what is billed, services on their own dates."""
    period = resource.get("billablePeriod")
    billed = _end(period) or _start(period) or resource.get("created")
    for diagnosis in resource.get("diagnosis") or ():
        if "diagnosisCodeableConcept" in diagnosis:
            yield Event(billed, coded(diagnosis["diagnosisCodeableConcept"]))
    for procedure in resource.get("procedure") or ():
        if "procedureCodeableConcept" in procedure:
            yield Event(procedure.get("date") or billed, coded(procedure["procedureCodeableConcept"]))
    for item in resource.get("item") or ():
        time = item.get("servicedDate") or _start(item.get("servicedPeriod")) or billed
        yield Event(time, coded(item.get("productOrService")))


READERS: dict[str, Callable[[Resource, Mapping[str, str]], Iterator[Event]]] = {
    "Patient": _patient,
    "Encounter": _encounter,
    "Condition": _condition,
    "Observation": _observation,
    "MedicationRequest": _request,
    "MedicationAdministration": _administration,
    "Procedure": _procedure,
    "Claim": _claim,
    "ExplanationOfBenefit": _claim,
}
