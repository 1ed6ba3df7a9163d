"""Writes one made-up hospital as five systems export it: `python examples/make_exports.py`, into examples/data/exports.

`omop/`, `mimic-iv/`, `eicu/` and `claims/` are CSV tables with the columns that `medloom ingest` reads of the official
schemas, `fhir/` is NDJSON of FHIR R4. In all of them the kidneys of sicker patients are injured more often, above all under
gentamicin.
"""

from __future__ import annotations

import datetime
import json
import sys
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import numpy as np

INJURY = {"sickness": 0.9, "gentamicin": 1.2}
"""Log odds of a kidney injury on a day in hospital: a standard deviation of sickness, gentamicin the day before."""
START = datetime.datetime(2018, 1, 1)
GENDERS = ("F", "M")
Line = dict[str, Any]


def course(stay: int, patient: int, begin: datetime.datetime, random: np.random.Generator) -> Line:
    """A stay of some days: creatinine (mg/dL) and potassium (mmol/L) morning by morning, doses of gentamicin, and the end."""
    sickness, days = random.normal(), int(random.integers(3, 12))
    level = usual = 0.9 * np.exp(random.normal(0, 0.2))
    labs, doses = [], []
    for day in range(days):
        at = begin + datetime.timedelta(days=day, hours=float(random.uniform(5, 9)))
        labs.append((at, round(float(level * np.exp(random.normal(0, 0.05))), 2)))
        treated = random.random() < 0.25
        if treated:
            doses.append(at + datetime.timedelta(hours=3))
        odds = -3.4 + INJURY["sickness"] * sickness + INJURY["gentamicin"] * treated
        level = (
            level * random.uniform(1.6, 2.5)
            if random.random() < 1 / (1 + np.exp(-odds))
            else usual + 0.7 * (level - usual)
        )
    pulse = [(at + datetime.timedelta(minutes=30), int(80 + 12 * sickness + random.normal(0, 6))) for at, _ in labs]
    salts = [(at, round(float(4.0 + 0.3 * value + random.normal(0, 0.3)), 2)) for at, value in labs]
    end = begin + datetime.timedelta(days=days, hours=2)
    dies = random.random() < 1 / (1 + np.exp(4 - 1.2 * sickness))
    return {"stay": stay, "patient": patient, "begin": begin, "end": end, "labs": labs, "salts": salts, "pulse": pulse, "doses": doses, "dies": dies}  # fmt: skip


def hospital(patients: int, random: np.random.Generator) -> list[Line]:
    """The stays of all patients; nobody comes back who died."""
    stays: list[Line] = []
    for patient in range(1, patients + 1):
        at = START + datetime.timedelta(days=float(random.uniform(0, 900)), hours=float(random.uniform(0, 24)))
        for _ in range(int(random.integers(1, 4))):
            stays.append(course(len(stays) + 1, patient, at.replace(microsecond=0), random))
            if stays[-1]["dies"]:
                break
            at = stays[-1]["end"] + datetime.timedelta(days=float(random.uniform(20, 300)))
    return stays


def table(path: Path, columns: str, lines: Iterable[tuple[Any, ...]]) -> None:
    """A CSV file with a header; None is an empty field."""
    path.parent.mkdir(parents=True, exist_ok=True)
    rows = [",".join("" if cell is None else _text(cell) for cell in line) for line in lines]
    path.write_text("\n".join([columns.replace(" ", ","), *rows]) + "\n", encoding="utf-8")


def _text(cell: Any) -> str:
    return cell.isoformat(" ", "seconds") if isinstance(cell, datetime.datetime) else str(cell)


def people(stays: list[Line]) -> dict[int, Line]:
    """The last stay of each patient, by patient."""
    return {stay["patient"]: stay for stay in stays}


def mimic(folder: Path, stays: list[Line]) -> None:
    """MIMIC-IV: the folders hosp and icu; results are stored an hour after the blood was taken."""
    hosp, later = folder / "hosp", datetime.timedelta(hours=1)
    who = people(stays)
    table(hosp / "patients.csv", "subject_id gender anchor_age anchor_year dod", ((p, GENDERS[p % 2], 40 + p % 50, 2018, s["end"].date() if s["dies"] else None) for p, s in who.items()))  # fmt: skip
    table(
        hosp / "admissions.csv",
        "subject_id hadm_id admittime dischtime deathtime admission_type discharge_location insurance language marital_status race edregtime edouttime",
        ((s["patient"], s["stay"], s["begin"], s["end"], s["end"] if s["dies"] else None, "URGENT", "DIED" if s["dies"] else "HOME", "Other", "ENGLISH", "SINGLE", "OTHER", None, None) for s in stays),
    )  # fmt: skip
    table(hosp / "d_labitems.csv", "itemid label", [(50912, "Creatinine"), (50971, "Potassium")])
    table(
        hosp / "labevents.csv",
        "subject_id hadm_id itemid charttime storetime value valuenum valueuom",
        ((s["patient"], s["stay"], item, at, at + later, value, value, unit) for s in stays for of, item, unit in (("labs", 50912, "mg/dL"), ("salts", 50971, "mEq/L")) for at, value in s[of]),
    )  # fmt: skip
    table(hosp / "prescriptions.csv", "subject_id hadm_id starttime drug", ((s["patient"], s["stay"], at, "Gentamicin") for s in stays for at in s["doses"]))  # fmt: skip
    table(hosp / "diagnoses_icd.csv", "subject_id hadm_id icd_code icd_version", ((s["patient"], s["stay"], "A419", 10) for s in stays))  # fmt: skip
    table(folder / "icu/d_items.csv", "itemid label", [(220045, "Heart Rate")])
    table(
        folder / "icu/chartevents.csv",
        "subject_id stay_id charttime storetime itemid value valuenum valueuom",
        ((s["patient"], s["stay"], at, at, 220045, value, value, "bpm") for s in stays for at, value in s["pulse"]),
    )  # fmt: skip


def omop(folder: Path, stays: list[Line]) -> None:
    """OMOP CDM 5.4 with the few concepts that are needed."""
    concepts = [(8507, "MALE", "Gender", "M"), (8532, "FEMALE", "Gender", "F"), (9201, "Inpatient Visit", "Visit", "IP"), (3016723, "Creatinine", "LOINC", "2160-0"), (3023103, "Potassium", "LOINC", "2823-3"), (3027018, "Heart rate", "LOINC", "8867-4"), (8753, "mmol/L", "UCUM", "mmol/L"), (8840, "mg/dL", "UCUM", "mg/dL"), (8483, "/min", "UCUM", "/min"), (919345, "gentamicin", "RxNorm", "4413")]  # fmt: skip
    who = people(stays)
    table(folder / "concept.csv", "concept_id concept_name vocabulary_id concept_code", concepts)
    table(folder / "person.csv", "person_id gender_concept_id year_of_birth month_of_birth day_of_birth birth_datetime gender_source_value", ((p, (8532, 8507)[p % 2], 1978 - p % 50, 7, 1, None, GENDERS[p % 2]) for p in who))  # fmt: skip
    table(folder / "observation_period.csv", "person_id observation_period_start_date observation_period_end_date", ((p, "2018-01-01", "2022-12-31") for p in who))  # fmt: skip
    table(folder / "death.csv", "person_id death_date death_datetime", ((p, s["end"].date(), s["end"]) for p, s in who.items() if s["dies"]))  # fmt: skip
    table(folder / "visit_occurrence.csv", "person_id visit_concept_id visit_start_date visit_start_datetime visit_end_date visit_end_datetime visit_source_value", ((s["patient"], 9201, s["begin"].date(), s["begin"], s["end"].date(), s["end"], "IP") for s in stays))  # fmt: skip
    table(folder / "drug_exposure.csv", "person_id drug_concept_id drug_exposure_start_date drug_exposure_start_datetime drug_source_value", ((s["patient"], 919345, at.date(), at, "gentamicin") for s in stays for at in s["doses"]))  # fmt: skip
    measured = [(s["patient"], concept, at.date(), at, value, None, unit, None) for s in stays for of, concept, unit in (("labs", 3016723, 8840), ("salts", 3023103, 8753), ("pulse", 3027018, 8483)) for at, value in s[of]]  # fmt: skip
    table(folder / "measurement.csv", "person_id measurement_concept_id measurement_date measurement_datetime value_as_number value_as_concept_id unit_concept_id measurement_source_value", measured)  # fmt: skip


def eicu(folder: Path, stays: list[Line]) -> None:
    """eICU: a patient of the store is a stay, and times are its minutes."""

    def minutes(stay: Line, at: datetime.datetime) -> int:
        return int((at - stay["begin"]).total_seconds() // 60)

    table(
        folder / "patient.csv",
        "patientunitstayid gender ethnicity age unittype hospitaladmitoffset unitdischargeoffset unitdischargelocation hospitaldischargeoffset hospitaldischargelocation hospitaldischargestatus uniquepid",
        ((s["stay"], ("Female", "Male")[s["patient"] % 2], "Other", 40 + s["patient"] % 50, "MICU", 0, minutes(s, s["end"]), "Floor", minutes(s, s["end"]), "Home", "Expired" if s["dies"] else "Alive", f"002-{s['patient']}") for s in stays),
    )  # fmt: skip
    table(folder / "admissionDx.csv", "patientunitstayid admitdxenteredoffset admitdxname", ((s["stay"], 10, "Sepsis") for s in stays))  # fmt: skip
    table(
        folder / "lab.csv",
        "patientunitstayid labresultoffset labresultrevisedoffset labname labresult labresulttext labmeasurenamesystem",
        ((s["stay"], minutes(s, at), minutes(s, at) + 60, name, value, value, unit) for s in stays for of, name, unit in (("labs", "creatinine", "mg/dL"), ("salts", "potassium", "mmol/L")) for at, value in s[of]),
    )  # fmt: skip
    table(
        folder / "vitalPeriodic.csv",
        "patientunitstayid observationoffset temperature sao2 heartrate respiration cvp etco2 systemicsystolic systemicdiastolic systemicmean pasystolic padiastolic pamean st1 st2 st3 icp",
        ((s["stay"], minutes(s, at), None, None, value, *[None] * 13) for s in stays for at, value in s["pulse"]),
    )  # fmt: skip


def claims(folder: Path, stays: list[Line]) -> None:
    """Claims in plain tables: no values, but who was insured until when."""
    who = people(stays)
    table(folder / "members.csv", "member_id birth_date sex death_date", ((p, f"{1978 - p % 50}-07-01", GENDERS[p % 2], s["end"].date() if s["dies"] else None) for p, s in who.items()))  # fmt: skip
    table(folder / "enrolment.csv", "member_id from_date to_date", ((p, "2018-01-01", "2022-12-31") for p in who))
    table(folder / "stays.csv", "member_id admission_date discharge_date", ((s["patient"], s["begin"].date(), s["end"].date()) for s in stays))  # fmt: skip
    injured = [s for s in stays if max(value for _, value in s["labs"]) >= 1.5 * s["labs"][0][1]]
    table(folder / "diagnoses.csv", "member_id service_date code_type code", [(s["patient"], s["end"].date(), "ICD10CM", code) for listed, code in ((stays, "A41.9"), (injured, "N17.9")) for s in listed])  # fmt: skip
    table(folder / "procedures.csv", "member_id service_date code_type code", ((s["patient"], s["begin"].date(), "CPT4", "99223") for s in stays))  # fmt: skip
    table(folder / "drugs.csv", "member_id fill_date code_type code days_supply", ((s["patient"], s["end"].date(), "ATC", "C09AA05", 30) for s in injured))  # fmt: skip


def fhir(folder: Path, stays: list[Line]) -> None:
    """FHIR R4 as bulk export writes it: one resource a line, a file for each kind."""
    folder.mkdir(parents=True, exist_ok=True)

    def subject(stay: Line) -> Line:
        return {"reference": f"Patient/{stay['patient']}"}

    def zone(at: datetime.datetime) -> str:
        return at.isoformat(timespec="seconds") + "Z"

    def observed(stay: Line, at: datetime.datetime, code: str, value: float, unit: str) -> Line:
        coding = {"coding": [{"system": "http://loinc.org", "code": code}]}
        quantity = {"value": value, "unit": unit, "system": "http://unitsofmeasure.org", "code": unit}
        return {"resourceType": "Observation", "status": "final", "code": coding, "subject": subject(stay), "effectiveDateTime": zone(at), "issued": zone(at), "valueQuantity": quantity}  # fmt: skip

    gentamicin = {"coding": [{"system": "http://www.whocc.no/atc", "code": "J01GB03"}]}
    kinds = {
        "Patient": [{"resourceType": "Patient", "id": str(p), "gender": ("female", "male")[p % 2], "birthDate": f"{1978 - p % 50}-07-01", **({"deceasedDateTime": zone(s["end"])} if s["dies"] else {})} for p, s in people(stays).items()],
        "Encounter": [{"resourceType": "Encounter", "id": str(s["stay"]), "status": "finished", "class": {"system": "http://terminology.hl7.org/CodeSystem/v3-ActCode", "code": "IMP"}, "subject": subject(s), "period": {"start": zone(s["begin"]), "end": zone(s["end"])}} for s in stays],
        "Observation": [observed(s, at, code, value, unit) for s in stays for of, code, unit in (("labs", "2160-0", "mg/dL"), ("salts", "2823-3", "mmol/L"), ("pulse", "8867-4", "/min")) for at, value in s[of]],
        "MedicationAdministration": [{"resourceType": "MedicationAdministration", "status": "completed", "medicationCodeableConcept": gentamicin, "subject": subject(s), "effectiveDateTime": zone(at)} for s in stays for at in s["doses"]],
    }  # fmt: skip
    for kind, resources in kinds.items():
        (folder / f"{kind}.ndjson").write_text("".join(json.dumps(one) + "\n" for one in resources), encoding="utf-8")


def main(folder: Path, scale: float = 1.0) -> None:
    """Writes all five; `scale` below 1 makes smaller ones."""
    stays = hospital(int(1200 * scale), np.random.default_rng(0))
    for write in (mimic, omop, eicu, claims, fhir):
        write(folder / {"mimic": "mimic-iv"}.get(write.__name__, write.__name__), stays)


if __name__ == "__main__":
    main(Path(__file__).parent / "data" / "exports", float(sys.argv[1]) if len(sys.argv) > 1 else 1.0)
