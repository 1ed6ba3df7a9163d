from __future__ import annotations

import gzip
import json
from pathlib import Path
from typing import Any

import polars as pl
import pytest

from medloom.cohort.event_store import open_store
from medloom.errors import DataError, StudyError
from medloom.ingest.door import ingest
from tests.ingest.making import made

LOINC, SUBJECT = "http://loinc.org", {"subject": {"reference": "Patient/p1"}}


def concept(code: str, system: str = LOINC) -> dict[str, Any]:
    return {"coding": [{"system": system, "code": code, "display": "…"}], "text": "words"}


def quantity(value: float, unit: str) -> dict[str, Any]:
    return {"value": value, "unit": unit, "system": "http://unitsofmeasure.org", "code": unit}


PATIENT = {
    "resourceType": "Patient",
    "id": "p1",
    "birthDate": "1950-02-03",
    "gender": "female",
    "deceasedDateTime": "2021-01-01T00:00:00Z",
}
RESOURCES: list[dict[str, Any]] = [
    PATIENT,
    {"resourceType": "Encounter", "id": "e", "status": "finished", "class": {"code": "IMP"}, **SUBJECT,
     "period": {"start": "2020-01-01T08:00:00+01:00", "end": "2020-01-05T08:00:00+01:00"}},
    {"resourceType": "Condition", "code": concept("I50.9", "http://hl7.org/fhir/sid/icd-10-cm"), **SUBJECT,
     "onsetDateTime": "2019-01-01", "recordedDate": "2020-01-01T09:00:00Z"},
    {"resourceType": "Condition", "code": concept("I21", "http://hl7.org/fhir/sid/icd-10"), **SUBJECT,
     "verificationStatus": concept("refuted", "http://terminology.hl7.org/CodeSystem/condition-ver-status")},
    {"resourceType": "Observation", "status": "final", "code": concept("2524-7"), **SUBJECT,
     "effectiveDateTime": "2020-01-01T10:00:00Z", "valueQuantity": quantity(2.5, "mmol/L")},
    {"resourceType": "Observation", "status": "final", "code": concept("85354-9"), **SUBJECT,
     "effectiveDateTime": "2020-01-01T11:00:00Z",
     "component": [{"code": concept("8480-6"), "valueQuantity": quantity(120, "mm[Hg]")},
                   {"code": concept("8462-4"), "valueQuantity": quantity(80, "mm[Hg]")}]},
    {"resourceType": "Observation", "status": "final", "code": concept("6690-2"), **SUBJECT,
     "effectiveDateTime": "2020-01-01T12:00:00Z", "valueQuantity": {**quantity(0.5, "10*3/uL"), "comparator": "<"}},
    {"resourceType": "Observation", "status": "final", "code": concept("600-7"), **SUBJECT,
     "effectiveInstant": "2020-01-01T13:00:00.5Z", "valueCodeableConcept": concept("112283007", "http://snomed.info/sct")},
    {"resourceType": "MedicationRequest", "status": "active", **SUBJECT, "authoredOn": "2020-01-02T00:00:00Z",
     "medicationReference": {"reference": "Medication/m1"}},
    {"resourceType": "Medication", "id": "m1", "code": concept("860975", "http://www.nlm.nih.gov/research/umls/rxnorm")},
    {"resourceType": "MedicationAdministration", "status": "completed", **SUBJECT,
     "effectivePeriod": {"start": "2020-01-02T01:00:00Z"}, "dosage": {"dose": quantity(500, "mg")},
     "medicationCodeableConcept": {"text": "metformin"}},
    {"resourceType": "Procedure", "status": "completed", **SUBJECT, "performedDateTime": "2020-01-03T00:00:00Z",
     "code": concept("232717009", "http://snomed.info/sct")},
    {"resourceType": "Procedure", "status": "not-done", **SUBJECT, "code": concept("1", "http://snomed.info/sct")},
    {"resourceType": "Claim", "status": "active", "patient": {"reference": "urn:uuid:p1"},
     "billablePeriod": {"start": "2020-01-01", "end": "2020-01-05"}, "created": "2020-02-01",
     "diagnosis": [{"sequence": 1, "diagnosisCodeableConcept": concept("E11", "http://hl7.org/fhir/sid/icd-10-cm")}],
     "item": [{"sequence": 1, "servicedDate": "2020-01-04", "productOrService": concept("99213", "http://www.ama-assn.org/go/cpt")}]},
    {"resourceType": "ExplanationOfBenefit", "status": "active", "patient": {"reference": "https://x.org/fhir/Patient/p1/_history/2"},
     "billablePeriod": {"end": "2020-01-05"},
     "item": [{"sequence": 1, "productOrService": concept("J1", "http://x.org/codes/hcpcs")}]},
    {"resourceType": "Immunization", **SUBJECT},
]  # fmt: skip
CODES = [
    "gender=female",
    "MEDS_BIRTH",
    "ENCOUNTER/IMP",
    "ICD10CM/I50.9",
    "LOINC/2524-7",
    "LOINC/8462-4",
    "LOINC/8480-6",
    "LOINC/6690-2=<0.5",
    "LOINC/600-7=SNOMED/112283007",
    "RxNorm/860975",
    "metformin",
    "SNOMED/232717009",
    "CPT4/99213",
    "ENCOUNTER_END/IMP",
    "ICD10CM/E11",
    "hcpcs/J1",
    "MEDS_DEATH",
]  # fmt: skip


def bundle(resources: list[Any]) -> dict[str, Any]:
    return {"resourceType": "Bundle", "type": "collection", "entry": [{"resource": one} for one in resources]}


def lined(path: Path, resources: list[Any]) -> Path:
    text = "".join(one if isinstance(one, str) else json.dumps(one) + "\n" for one in resources).encode()
    path.write_bytes(gzip.compress(text) if path.suffix == ".gz" else text)
    return path


@pytest.mark.parametrize("form", ["bundle.json", "bundle.json.gz", "export.ndjson"])
def test_every_resource_becomes_its_events(tmp_path: Path, form: str) -> None:
    path = tmp_path / form
    if form == "export.ndjson":
        # Bulk export: a file a kind.
        path.mkdir()
        for kind in {one["resourceType"] for one in RESOURCES}:
            lined(path / f"{kind}.ndjson", [one for one in RESOURCES if one["resourceType"] == kind])
    else:
        text = json.dumps(bundle(RESOURCES)).encode()
        path.write_bytes(gzip.compress(text) if form.endswith("gz") else text)
    found = made(path, tmp_path / "s")
    assert [code for _, _, code, _ in found] == CODES
    values = {code: value for _, _, code, value in found if value is not None}
    assert values == {"LOINC/2524-7": 2.5, "LOINC/8462-4": 80.0, "LOINC/8480-6": 120.0, "metformin": 500.0}
    store = open_store(tmp_path / "s")
    assert store.provenance()["counts"]["resources not read: Immunization"] == 1
    assert store.provenance()["counts"]["resources of what did not happen, or entered in error"] == 2
    assert dict(store.codes.select("code", "measured_in").rows())["LOINC/2524-7"] == "mmol/L"


@pytest.mark.parametrize(
    ("resource", "why"),
    [
        ({"resourceType": "Encounter", "class": [concept("IMP")], **SUBJECT}, "a resource of FHIR R5; expected R4"),
        ({"resourceType": "Encounter", "actualPeriod": {"start": "2020-01-01"}, **SUBJECT}, "a resource of FHIR R5; expected R4"),
        ({"resourceType": "MedicationRequest", "medication": {"concept": concept("1")}, **SUBJECT}, "a resource of FHIR R5; expected R4"),
        ({"resourceType": "Procedure", "occurrenceDateTime": "2020-01-01", **SUBJECT}, "a resource of FHIR R5; expected R4"),
        ({"resourceType": "Observation", "meta": {"fhirVersion": "5.0.0"}, **SUBJECT}, "FHIR 5.0.0; expected R4"),
        ({"resourceType": "Condition", "assertedDate": "2020-01-01", **SUBJECT}, "a resource of FHIR STU3 or earlier; expected R4"),
        ({"resourceType": "Condition", "code": concept("1"), "recordedDate": "2020-01-01"}, "no patient"),
        ({"resourceType": "Condition", "code": concept("1"), **SUBJECT}, "no time"),
        ({"resourceType": "Condition", "code": concept("1"), "recordedDate": "2020", **SUBJECT}, "a date without a day"),
        ({"resourceType": "Procedure", "performedDateTime": "2020-01-01", **SUBJECT}, "no code"),
        ({"resourceType": "Condition", "code": "I50", "recordedDate": 7, **SUBJECT}, "a Condition whose fields are not those of FHIR R4"),
        ({"resourceType": "MedicationRequest", "authoredOn": "2020-01-01", "medicationReference": {"reference": "Medication/x"}, **SUBJECT}, "a medication that is referred to and not there"),
        ({"id": "1"}, "no FHIR resource"),
        ('{"resourceType": "Condi\n', "not JSON"),
        ("[1, 2]\n", "no FHIR resource"),
        ('"Jane Doe"\n', "no FHIR resource"),
    ],
)  # fmt: skip
def test_what_cannot_be_read_is_listed_with_its_line(tmp_path: Path, resource: Any, why: str) -> None:
    path = lined(tmp_path / "a.ndjson.gz", [PATIENT, resource])
    with pytest.raises(DataError, match="1 line cannot be read"):
        ingest(path, tmp_path / "s")
    assert pl.read_csv(tmp_path / "s" / "broken.csv").rows() == [("a.ndjson.gz", 2, why)]
    assert len(made(path, tmp_path / "s", broken="skip")) == 3


def test_a_bundle_that_ends_early_is_told(tmp_path: Path) -> None:
    (tmp_path / "a.json").write_text(json.dumps(bundle(RESOURCES))[:-30])
    with pytest.raises(DataError, match="not whole JSON"):
        ingest(tmp_path / "a.json", tmp_path / "s")
    packed = gzip.compress(json.dumps(bundle(RESOURCES)).encode())
    (tmp_path / "b.json.gz").write_bytes(packed[:-40])
    with pytest.raises(DataError, match="ends early"):
        ingest(tmp_path / "b.json.gz", tmp_path / "s", "fhir")


@pytest.mark.parametrize(
    "text",
    [
        '{"resourceType": "Bundle", "entry": 5}',
        '{"resourceType": "Bundle", "entry": [null, 5]}',
        '{"resourceType": "Bundle", "entry": [{"resource": "Jane Doe"}]}',
        "[]",
        "7",
    ],
)
def test_json_of_a_strange_form_is_listed(tmp_path: Path, text: str) -> None:
    (tmp_path / "a.json").write_text(text)
    with pytest.raises(DataError, match="no FHIR resource"):
        ingest(tmp_path / "a.json", tmp_path / "s", "fhir")


def test_a_death_without_a_time_is_counted_and_left_out(tmp_path: Path) -> None:
    patient = {"resourceType": "Patient", "id": "p", "gender": "male", "deceasedBoolean": True}
    path = lined(tmp_path / "a.ndjson", [patient])
    assert [code for _, _, code, _ in made(path, tmp_path / "s")] == ["gender=male"]
    assert open_store(tmp_path / "s").provenance()["counts"] == {"deaths without a time, left out": 1}


def test_only_some_resources_by_choice(tmp_path: Path) -> None:
    path = lined(tmp_path / "a.ndjson", RESOURCES)
    found = made(path, tmp_path / "s", resources="Condition,Procedure")
    assert [code for _, _, code, _ in found] == ["ICD10CM/I50.9", "SNOMED/232717009"]
    with pytest.raises(StudyError, match="did you mean 'Condition'"):
        ingest(path, tmp_path / "t", "fhir", {"resources": "Conditions"})
