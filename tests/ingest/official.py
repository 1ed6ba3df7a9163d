"""Columns of the tables that the shipped mappings read, as their publishers list them.

Source: OHDSI/CommonDataModel 5.4 (PostgreSQL DDL), MIT-LCP/mimic-code (MIMIC-IV, buildmimic/postgres/create.sql),
MIT-LCP/eicu-code (build-db/postgres/postgres_create_tables.sql).
"""

from __future__ import annotations

from pathlib import Path

import polars as pl

OMOP = {
    "person": "person_id gender_concept_id year_of_birth month_of_birth day_of_birth birth_datetime race_concept_id ethnicity_concept_id location_id provider_id care_site_id person_source_value gender_source_value gender_source_concept_id race_source_value race_source_concept_id ethnicity_source_value ethnicity_source_concept_id",
    "observation_period": "observation_period_id person_id observation_period_start_date observation_period_end_date period_type_concept_id",
    "visit_occurrence": "visit_occurrence_id person_id visit_concept_id visit_start_date visit_start_datetime visit_end_date visit_end_datetime visit_type_concept_id provider_id care_site_id visit_source_value visit_source_concept_id admitted_from_concept_id admitted_from_source_value discharged_to_concept_id discharged_to_source_value preceding_visit_occurrence_id",
    "condition_occurrence": "condition_occurrence_id person_id condition_concept_id condition_start_date condition_start_datetime condition_end_date condition_end_datetime condition_type_concept_id condition_status_concept_id stop_reason provider_id visit_occurrence_id visit_detail_id condition_source_value condition_source_concept_id condition_status_source_value",
    "drug_exposure": "drug_exposure_id person_id drug_concept_id drug_exposure_start_date drug_exposure_start_datetime drug_exposure_end_date drug_exposure_end_datetime verbatim_end_date drug_type_concept_id stop_reason refills quantity days_supply sig route_concept_id lot_number provider_id visit_occurrence_id visit_detail_id drug_source_value drug_source_concept_id route_source_value dose_unit_source_value",
    "procedure_occurrence": "procedure_occurrence_id person_id procedure_concept_id procedure_date procedure_datetime procedure_end_date procedure_end_datetime procedure_type_concept_id modifier_concept_id quantity provider_id visit_occurrence_id visit_detail_id procedure_source_value procedure_source_concept_id modifier_source_value",
    "device_exposure": "device_exposure_id person_id device_concept_id device_exposure_start_date device_exposure_start_datetime device_exposure_end_date device_exposure_end_datetime device_type_concept_id unique_device_id production_id quantity provider_id visit_occurrence_id visit_detail_id device_source_value device_source_concept_id unit_concept_id unit_source_value unit_source_concept_id",
    "measurement": "measurement_id person_id measurement_concept_id measurement_date measurement_datetime measurement_time measurement_type_concept_id operator_concept_id value_as_number value_as_concept_id unit_concept_id range_low range_high provider_id visit_occurrence_id visit_detail_id measurement_source_value measurement_source_concept_id unit_source_value unit_source_concept_id value_source_value measurement_event_id meas_event_field_concept_id",
    "observation": "observation_id person_id observation_concept_id observation_date observation_datetime observation_type_concept_id value_as_number value_as_string value_as_concept_id qualifier_concept_id unit_concept_id provider_id visit_occurrence_id visit_detail_id observation_source_value observation_source_concept_id unit_source_value qualifier_source_value value_source_value observation_event_id obs_event_field_concept_id",
    "death": "person_id death_date death_datetime death_type_concept_id cause_concept_id cause_source_value cause_source_concept_id",
    "concept": "concept_id concept_name domain_id vocabulary_id concept_class_id standard_concept concept_code valid_start_date valid_end_date invalid_reason",
    "location": "location_id address_1 city state zip county",
}
MIMIC = {
    "hosp/patients": "subject_id gender anchor_age anchor_year anchor_year_group dod",
    "hosp/admissions": "subject_id hadm_id admittime dischtime deathtime admission_type admission_location discharge_location insurance language marital_status race edregtime edouttime hospital_expire_flag",
    "hosp/transfers": "subject_id hadm_id transfer_id eventtype careunit intime outtime",
    "hosp/services": "subject_id hadm_id transfertime prev_service curr_service",
    "hosp/labevents": "labevent_id subject_id hadm_id specimen_id itemid charttime storetime value valuenum valueuom ref_range_lower ref_range_upper flag priority comments",
    "hosp/microbiologyevents": "microevent_id subject_id hadm_id micro_specimen_id chartdate charttime spec_itemid spec_type_desc test_seq storedate storetime test_itemid test_name org_itemid org_name isolate_num quantity ab_itemid ab_name dilution_text dilution_comparison dilution_value interpretation comments",
    "hosp/prescriptions": "subject_id hadm_id pharmacy_id poe_id poe_seq starttime stoptime drug_type drug formulary_drug_cd gsn ndc prod_strength form_rx dose_val_rx dose_unit_rx form_val_disp form_unit_disp doses_per_24_hrs route",
    "hosp/emar": "subject_id hadm_id emar_id emar_seq poe_id pharmacy_id charttime medication event_txt scheduletime storetime",
    "hosp/diagnoses_icd": "subject_id hadm_id seq_num icd_code icd_version",
    "hosp/procedures_icd": "subject_id hadm_id seq_num chartdate icd_code icd_version",
    "hosp/hcpcsevents": "subject_id hadm_id chartdate hcpcs_cd seq_num short_description",
    "hosp/drgcodes": "subject_id hadm_id drg_type drg_code description drg_severity drg_mortality",
    "hosp/d_labitems": "itemid label fluid category",
    "icu/icustays": "subject_id hadm_id stay_id first_careunit last_careunit intime outtime los",
    "icu/d_items": "itemid label abbreviation linksto category unitname param_type lownormalvalue highnormalvalue",
    "icu/chartevents": "subject_id hadm_id stay_id charttime storetime itemid value valuenum valueuom warning",
    "icu/outputevents": "subject_id hadm_id stay_id charttime storetime itemid value valueuom",
    "icu/inputevents": "subject_id hadm_id stay_id starttime endtime storetime itemid amount amountuom rate rateuom orderid linkorderid ordercategoryname secondaryordercategoryname ordercomponenttypedescription ordercategorydescription patientweight totalamount totalamountuom isopenbag continueinnextdept statusdescription originalamount originalrate",
    "icu/procedureevents": "subject_id hadm_id stay_id starttime endtime storetime itemid value valueuom location locationcategory orderid linkorderid ordercategoryname ordercategorydescription patientweight isopenbag continueinnextdept statusdescription originalamount originalrate",
}
EICU = {
    "patient": "patientunitstayid patienthealthsystemstayid gender age ethnicity hospitalid wardid apacheadmissiondx admissionheight hospitaladmittime24 hospitaladmitoffset hospitaladmitsource hospitaldischargeyear hospitaldischargetime24 hospitaldischargeoffset hospitaldischargelocation hospitaldischargestatus unittype unitadmittime24 unitadmitsource unitvisitnumber unitstaytype admissionweight dischargeweight unitdischargetime24 unitdischargeoffset unitdischargelocation unitdischargestatus uniquepid",
    "admissionDx": "admissiondxid patientunitstayid admitdxenteredoffset admitdxpath admitdxname admitdxtext",
    "diagnosis": "diagnosisid patientunitstayid activeupondischarge diagnosisoffset diagnosisstring icd9code diagnosispriority",
    "lab": "labid patientunitstayid labresultoffset labtypeid labname labresult labresulttext labmeasurenamesystem labmeasurenameinterface labresultrevisedoffset",
    "medication": "medicationid patientunitstayid drugorderoffset drugstartoffset drugivadmixture drugordercancelled drugname drughiclseqno dosage routeadmin frequency loadingdose prn drugstopoffset gtc",
    "infusionDrug": "infusiondrugid patientunitstayid infusionoffset drugname drugrate infusionrate drugamount volumeoffluid patientweight",
    "treatment": "treatmentid patientunitstayid treatmentoffset treatmentstring activeupondischarge",
    "microLab": "microlabid patientunitstayid culturetakenoffset culturesite organism antibiotic sensitivitylevel",
    "intakeOutput": "intakeoutputid patientunitstayid intakeoutputoffset intaketotal outputtotal dialysistotal nettotal intakeoutputentryoffset cellpath celllabel cellvaluenumeric cellvaluetext",
    "nurseCharting": "nursingchartid patientunitstayid nursingchartoffset nursingchartentryoffset nursingchartcelltypecat nursingchartcelltypevallabel nursingchartcelltypevalname nursingchartvalue",
    "vitalPeriodic": "vitalperiodicid patientunitstayid observationoffset temperature sao2 heartrate respiration cvp etco2 systemicsystolic systemicdiastolic systemicmean pasystolic padiastolic pamean st1 st2 st3 icp",
    "vitalAperiodic": "vitalaperiodicid patientunitstayid observationoffset noninvasivesystolic noninvasivediastolic noninvasivemean paop cardiacoutput cardiacinput svr svri pvr pvri",
}
CLAIMS = {
    "members": "member_id birth_date sex death_date",
    "diagnoses": "member_id service_date code_type code",
    "procedures": "member_id service_date code_type code",
    "drugs": "member_id fill_date code_type code days_supply",
    "stays": "member_id admission_date discharge_date",
    "enrolment": "member_id from_date to_date",
}
TABLES = {"omop": OMOP, "mimic-iv": MIMIC, "eicu": EICU, "claims": CLAIMS}


def write(folder: Path, kind: str, lines: dict[str, list[dict[str, object]]], suffix: str = ".csv") -> Path:
    """Every table of a kind with all its columns; what `lines` does not say is empty."""
    for name, columns in TABLES[kind].items():
        names = columns.split()
        given = lines.get(name, [])
        assert not {column for line in given for column in line} - set(names), name
        frame = pl.DataFrame([[str(line.get(c, "")) for c in names] for line in given], schema=dict.fromkeys(names, pl.String), orient="row")  # fmt: skip
        path = folder / f"{name}{suffix}"
        path.parent.mkdir(parents=True, exist_ok=True)
        frame.write_csv(path)
    return folder
