"""Each shipped mapping on files of the official schema, every event of every table once."""

from __future__ import annotations

from pathlib import Path

import pytest

from medloom.cohort.event_store import open_store
from medloom.errors import DataError
from medloom.ingest.door import ingest
from medloom.ingest.mapping import read_mapping, shipped
from tests.ingest.making import day, made
from tests.ingest.official import TABLES, write

NONE = float("-inf")


def test_omop(tmp_path: Path) -> None:
    who = {"person_id": 7}
    concepts = [(8507, "MALE", "Gender", "M"), (9201, "Inpatient Visit", "Visit", "IP"), (316139, "Heart failure", "SNOMED", "84114007"),
                (1503297, "metformin", "RxNorm", "6809"), (3004249, "Systolic", "LOINC", "8480-6"), (8876, "mmHg", "UCUM", "mm[Hg]"),
                (3023368, "Culture", "LOINC", "600-7"), (9191, "Positive", "Meas Value", "10828004")]  # fmt: skip
    lines = {
        "concept": [dict(zip(("concept_id", "concept_name", "vocabulary_id", "concept_code"), c, strict=True)) for c in concepts],
        "person": [{**who, "gender_concept_id": 8507, "year_of_birth": 1950, "month_of_birth": 2, "day_of_birth": 3},
                   {"person_id": 8, "gender_concept_id": 0, "gender_source_value": "x", "year_of_birth": 1960}],
        "observation_period": [{**who, "observation_period_start_date": "2019-01-01", "observation_period_end_date": "2021-06-01"}],
        "death": [{**who, "death_date": "2021-01-01"}],
        "visit_occurrence": [{**who, "visit_concept_id": 9201, "visit_start_date": "2020-01-01", "visit_start_datetime": "2020-01-01 08:00:00", "visit_end_date": "2020-01-05"}],
        "condition_occurrence": [{**who, "condition_concept_id": 316139, "condition_start_date": "2020-01-02"},
                                 {**who, "condition_concept_id": 0, "condition_source_value": "local 7", "condition_start_date": "2020-01-03"}],
        "drug_exposure": [{**who, "drug_concept_id": 1503297, "drug_exposure_start_date": "2020-01-02"}],
        "procedure_occurrence": [{**who, "procedure_concept_id": 0, "procedure_source_value": "CABG", "procedure_date": "2020-01-02"}],
        "device_exposure": [{**who, "device_concept_id": 0, "device_source_value": "pump", "device_exposure_start_date": "2020-01-02"}],
        "measurement": [{**who, "measurement_concept_id": 3004249, "measurement_date": "2020-01-02", "value_as_number": 120, "unit_concept_id": 8876},
                        {**who, "measurement_concept_id": 3023368, "measurement_date": "2020-01-02", "value_as_concept_id": 9191}],
        "observation": [{**who, "observation_concept_id": 0, "observation_source_value": "smoker", "observation_date": "2020-01-02", "value_as_string": "yes"}],
    }  # fmt: skip
    found = made(write(tmp_path / "omop", "omop", lines), tmp_path / "s")
    assert {(p, c, v) for p, _, c, v in found} == {
        ("7", "gender=MALE", None), ("7", "MEDS_BIRTH", None), ("7", "OBSERVATION_PERIOD_START", None), ("7", "VISIT/Visit/IP", None),
        ("7", "SNOMED/84114007", None), ("7", "condition/local 7", None), ("7", "RxNorm/6809", None), ("7", "procedure/CABG", None),
        ("7", "device/pump", None), ("7", "LOINC/8480-6", 120.0), ("7", "LOINC/600-7=Positive", None), ("7", "observation/smoker=yes", None),
        ("7", "VISIT_END/Visit/IP", None), ("7", "MEDS_DEATH", None), ("7", "OBSERVATION_PERIOD_END", None), ("8", "gender=x", None),
    }  # fmt: skip
    assert found[0][1] == NONE and found[1][1] == day(1950, 2, 3)
    provenance = open_store(tmp_path / "s").provenance()
    assert provenance["mapping"] == "omop" and provenance["tried_on_real_data"] is False
    assert provenance["tables_not_read"] == ["location"]


def test_mimic(tmp_path: Path) -> None:
    who = {"subject_id": 10000032, "hadm_id": 22595853}
    item = {**who, "stay_id": 1, "itemid": 220045}
    lines = {
        "hosp/patients": [{"subject_id": 10000032, "gender": "F", "anchor_age": 52, "anchor_year": 2180, "dod": "2180-09-09"}],
        "hosp/admissions": [{**who, "admittime": "2180-05-06 22:23:00", "dischtime": "2180-05-07 17:15:00", "admission_type": "URGENT", "discharge_location": "HOME", "race": "WHITE", "edregtime": "2180-05-06 19:17:00"}],
        "hosp/transfers": [{**who, "eventtype": "admit", "careunit": "Transplant", "intime": "2180-05-06 22:24:00"}, {**who, "eventtype": "discharge", "intime": "2180-05-07 17:15:00"}],
        "hosp/services": [{**who, "transfertime": "2180-05-06 22:24:57", "curr_service": "MED"}],
        "hosp/d_labitems": [{"itemid": 50813, "label": "Lactate", "fluid": "Blood"}],
        "hosp/labevents": [{**who, "itemid": 50813, "charttime": "2180-05-06 22:25:00", "storetime": "2180-05-06 23:16:00", "value": "2.5", "valuenum": 2.5, "valueuom": "mmol/L"},
                           {**who, "itemid": 51466, "charttime": "2180-05-06 22:26:00", "value": "NEG"},
                           {**who, "itemid": 51466, "charttime": "2180-05-06 22:27:00", "value": "___"}],
        "hosp/microbiologyevents": [{**who, "chartdate": "2180-05-06 00:00:00", "storetime": "2180-05-07 09:00:00", "test_name": "BLOOD CULTURE", "org_name": "E. COLI"}],
        "hosp/prescriptions": [{**who, "starttime": "2180-05-07 00:00:00", "drug": "Furosemide"}],
        "hosp/emar": [{**who, "charttime": "2180-05-07 01:00:00", "medication": "Furosemide", "event_txt": "Administered"}, {**who, "charttime": "2180-05-07 02:00:00", "medication": "Heparin", "event_txt": "Not Given"}],
        "hosp/diagnoses_icd": [{**who, "icd_code": "5723", "icd_version": 9}],
        "hosp/procedures_icd": [{**who, "chartdate": "2180-05-07", "icd_code": "5491", "icd_version": 9}],
        "hosp/hcpcsevents": [{**who, "chartdate": "2180-05-07", "hcpcs_cd": "99218"}],
        "hosp/drgcodes": [{**who, "drg_type": "HCFA", "drg_code": "441"}],
        "icu/d_items": [{"itemid": 220045, "label": "Heart Rate"}],
        "icu/icustays": [{**who, "first_careunit": "MICU", "last_careunit": "SICU", "intime": "2180-05-06 23:00:00", "outtime": "2180-05-07 10:00:00"}],
        "icu/chartevents": [{**item, "charttime": "2180-05-06 23:10:00", "storetime": "2180-05-06 23:11:00", "value": "91", "valuenum": 91, "valueuom": "bpm"}],
        "icu/outputevents": [{**item, "charttime": "2180-05-06 23:10:00", "storetime": "2180-05-06 23:12:00", "value": 175, "valueuom": "mL"}],
        "icu/inputevents": [{**item, "starttime": "2180-05-06 23:13:00", "endtime": "2180-05-06 23:20:00", "amount": 50, "amountuom": "mL", "rate": 10, "rateuom": "mL/hour"}],
        "icu/procedureevents": [{**item, "starttime": "2180-05-06 23:14:00"}],
    }  # fmt: skip
    found = made(write(tmp_path / "mimic", "mimic-iv", lines), tmp_path / "s")
    assert [(c, v) for _, _, c, v in found] == [
        ("gender=F", None), ("AGE", 52.0), ("ED_REGISTRATION", None), ("ADMISSION/URGENT", None), ("race=WHITE", None),
        ("TRANSFER/admit/Transplant", None), ("SERVICE/MED", None), ("LAB/51466=NEG", None), ("LAB/51466", None),
        ("ICU_ADMISSION/MICU", None), ("CHART/220045/Heart Rate", 91.0), ("OUTPUT/220045/Heart Rate", 175.0),
        ("INPUT_START/220045/Heart Rate", 10.0), ("PROCEDURE/220045/Heart Rate", None), ("LAB/50813/Lactate", 2.5),
        ("INPUT_END/220045/Heart Rate", 50.0), ("DRUG/Furosemide", None), ("EMAR/Furosemide", None), ("MICRO/BLOOD CULTURE=E. COLI", None),
        ("ICU_DISCHARGE/SICU", None), ("DISCHARGE/HOME", None), ("DRG/HCFA/441", None), ("HCPCS/99218", None), ("ICD9CM/5723", None),
        ("ICD9PCS/5491", None), ("TRANSFER/discharge", None), ("MEDS_DEATH", None),
    ]  # fmt: skip


def test_eicu(tmp_path: Path) -> None:
    who = {"patientunitstayid": 141168}
    lines = {
        "patient": [{**who, "gender": "Female", "age": "70", "ethnicity": "Caucasian", "unittype": "MICU", "hospitaladmitoffset": -10, "unitdischargeoffset": 3596, "unitdischargelocation": "Death", "hospitaldischargeoffset": 3600, "hospitaldischargelocation": "Death", "hospitaldischargestatus": "Expired", "uniquepid": "002-34851"}],
        "admissionDx": [{**who, "admitdxenteredoffset": 3, "admitdxname": "Sepsis"}],
        "diagnosis": [{**who, "diagnosisoffset": 4, "diagnosisstring": "shock|septic"}],
        "lab": [{**who, "labresultoffset": 5, "labresultrevisedoffset": 9, "labname": "lactate", "labresult": 4.1, "labmeasurenamesystem": "mmol/L"}],
        "medication": [{**who, "drugstartoffset": 6, "drugordercancelled": "No", "drugname": "norepinephrine"}, {**who, "drugstartoffset": 6, "drugordercancelled": "Yes", "drugname": "heparin"}],
        "infusionDrug": [{**who, "infusionoffset": 7, "drugname": "norepi", "drugrate": "3.5"}],
        "treatment": [{**who, "treatmentoffset": 8, "treatmentstring": "ventilation"}],
        "microLab": [{**who, "culturetakenoffset": 10, "culturesite": "Blood"}],
        "intakeOutput": [{**who, "intakeoutputoffset": 1, "intakeoutputentryoffset": 11, "celllabel": "Urine", "cellvaluenumeric": 40}],
        "nurseCharting": [{**who, "nursingchartoffset": 1, "nursingchartentryoffset": 12, "nursingchartcelltypevallabel": "Heart Rate", "nursingchartcelltypevalname": "Heart Rate", "nursingchartvalue": "88"}],
        "vitalPeriodic": [{**who, "observationoffset": 13, "heartrate": 90, "sao2": 97}],
        "vitalAperiodic": [{**who, "observationoffset": 14, "noninvasivemean": 65}],
    }  # fmt: skip
    found = made(write(tmp_path / "eicu", "eicu", lines), tmp_path / "s")
    assert [(t, c, v) for _, t, c, v in found if t != NONE] == [
        (-10, "HOSPITAL_ADMISSION", None), (3, "ADMISSION_DX/Sepsis", None), (4, "DIAGNOSIS/shock|septic", None),
        (6, "DRUG/norepinephrine", None), (7, "INFUSION/norepi", 3.5), (8, "TREATMENT/ventilation", None), (9, "LAB/lactate", 4.1),
        (10, "CULTURE/Blood", None), (11, "FLUID/Urine", 40), (12, "NURSE/Heart Rate/Heart Rate", 88), (13, "VITAL/heartrate", 90),
        (13, "VITAL/sao2", 97), (14, "VITAL/noninvasivemean", 65), (3596, "UNIT_DISCHARGE/Death", None), (3600, "HOSPITAL_DISCHARGE/Death", None),
        (3600, "MEDS_DEATH", None),
    ]  # fmt: skip
    assert [(c, v) for _, t, c, v in found if t == NONE] == [
        ("age", 70), ("ethnicity=Caucasian", None), ("gender=Female", None), ("unit=MICU", None),
    ]  # fmt: skip


def test_claims(tmp_path: Path) -> None:
    lines = {
        "members": [{"member_id": "m", "birth_date": "1950-01-01", "sex": "F"}],
        "diagnoses": [{"member_id": "m", "service_date": "2020-01-02", "code_type": "ICD10CM", "code": "I50.9"}],
        "procedures": [{"member_id": "m", "service_date": "2020-01-03", "code_type": "CPT4", "code": "99213"}],
        "drugs": [{"member_id": "m", "fill_date": "2020-01-04", "code_type": "NDC", "code": "0002", "days_supply": 30}],
        "stays": [{"member_id": "m", "admission_date": "2020-01-05", "discharge_date": "2020-01-07"}, {"member_id": "m", "admission_date": "2020-01-06"}],
        "enrolment": [{"member_id": "m", "from_date": "2019-01-01", "to_date": "2020-12-31"}],
    }  # fmt: skip
    found = made(write(tmp_path / "claims", "claims", lines), tmp_path / "s", "claims")
    assert [(c, v) for _, _, c, v in found] == [
        ("sex=F", None), ("MEDS_BIRTH", None), ("ENROLMENT_START", None), ("ICD10CM/I50.9", None), ("CPT4/99213", None),
        ("NDC/0002", 30.0), ("ADMISSION", None), ("ADMISSION", None), ("DISCHARGE", None), ("ENROLMENT_END", None),
    ]  # fmt: skip


@pytest.mark.parametrize("kind", sorted(TABLES))
def test_every_table_of_a_mapping_is_tried_here(kind: str) -> None:
    mapping = read_mapping(kind)
    tried = {name.rpartition("/")[2] for name in TABLES[kind]}
    assert {table.table for table in mapping.tables} <= tried and not mapping.tried_on_real_data
    assert set(shipped()) == set(TABLES)


def test_tables_and_columns_that_are_not_there_are_named_at_once(tmp_path: Path) -> None:
    folder = write(tmp_path / "claims", "claims", {})
    (folder / "drugs.csv").unlink()
    (folder / "members.csv").write_text("member,birth_date,sex,death_date\n")
    with pytest.raises(DataError) as told:
        ingest(folder, tmp_path / "s", "claims")
    assert "no table 'drugs'" in str(told.value)
    assert "members.csv has no column 'member_id'; did you mean 'member'?" in str(told.value)
