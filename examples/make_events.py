"""Writes the made-up stores of events of the examples into examples/data: `python examples/make_events.py`.

Each is what `medloom ingest` makes of a long table; `--csv` writes that table beside it, to try the command.
"""

from __future__ import annotations

import sys
from pathlib import Path

import numpy as np
import polars as pl

from medloom.cohort.event_store import TICKS, TIMELESS, write_store

DAY, YEAR = 86_400.0, 31_557_600.0
START = 1_420_070_400.0
"""2015-01-01, in seconds since 1970."""
READMISSION = {"frailty": 0.9, "heart": 0.8}
"""Log odds of a readmission within 30 days: a standard deviation of frailty, heart disease."""
DIABETES_RATE = {"obese": 1.0, "glucose": 0.8}
"""Log hazards of diabetes: obesity, a standard deviation of the usual glucose."""
ICU_HAZARD = 1.1
"""Log hazard of death in the ICU: a standard deviation of sickness in that hour."""
LIVER = {"bilirubin": 1.1, "albumin": -0.8, "age": 0.3}
"""Log hazards of death or transplant: log bilirubin at that time, albumin, and ten years of age."""


class Record:
    """Events of patients, gathered kind by kind."""

    def __init__(self) -> None:
        self._parts: list[pl.DataFrame] = []

    def add(self, patient: np.ndarray, time: np.ndarray | None, code: str | np.ndarray, value: np.ndarray | None = None) -> None:  # fmt: skip
        """Events of these patients. Without times they are timeless, without values they have none."""
        codes = [code] * len(patient) if isinstance(code, str) else code.tolist()
        self._parts.append(
            pl.DataFrame(
                {
                    "patient": [f"p{number:05d}" for number in patient.tolist()],
                    "time": np.full(len(patient), np.nan) if time is None else time,
                    "code": codes,
                    "value": np.full(len(patient), np.nan) if value is None else value.astype(np.float64),
                },
                schema={"patient": pl.String, "time": pl.Float64, "code": pl.String, "value": pl.Float64},
            )
        )

    def frame(self) -> pl.DataFrame:
        """All of them, those of one patient together."""
        return pl.concat(self._parts).sort("patient", "time", maintain_order=True)


def claims(patients: int, random: np.random.Generator) -> pl.DataFrame:
    """Years of insurance claims: contacts with diagnoses and drugs, laboratory values, stays in hospital, death."""
    record, who = Record(), np.arange(patients)
    frailty, obese = random.normal(size=patients), random.random(patients) < 0.3
    usual = random.normal(0, 1, patients)
    begin = START + random.uniform(0, 365, patients) * DAY
    insured = begin + random.uniform(3, 9, patients) * YEAR
    age = random.uniform(40, 85, patients)
    death = begin + random.exponential(1 / (0.015 * np.exp(0.5 * frailty + 0.06 * (age - 60)))) * YEAR
    end = np.minimum(insured, death)
    risk = DIABETES_RATE["obese"] * obese + DIABETES_RATE["glucose"] * usual
    diabetes = begin + random.exponential(1 / (0.025 * np.exp(risk))) * YEAR
    heart = begin + random.exponential(1 / (0.03 * np.exp(0.5 * frailty + 0.5 * (diabetes < end)))) * YEAR
    record.add(who, None, np.where(random.random(patients) < 0.5, "sex//female", "sex//male"))
    record.add(who, None, "age at start", age.round())
    record.add(who, end, np.where(death < insured, "death", "insurance end"))
    each = np.repeat(who, random.poisson(5 * (end - begin) / YEAR))
    when = random.uniform(begin[each], end[each])
    usual_codes = np.array(["ICD10//I10", "ICD10//J06.9", "ICD10//M54.5", "ICD10//F32.9", "ICD10//Z00.0"])
    record.add(each, when, usual_codes[random.integers(0, len(usual_codes), len(each))])
    for onset, code, drug in ((diabetes, "ICD10//E11.9", "ATC//A10BA02"), (heart, "ICD10//I25.1", "ATC//C07AB02")):
        ill = (when > onset[each]) & (random.random(len(each)) < 0.5)
        record.add(each[ill], when[ill], code)
        record.add(each[ill], when[ill], drug)
    record.add(each[obese[each]], when[obese[each]], "ICD10//E66.9")
    seen = random.random(len(each)) < 0.4
    glucose = 96 + 9 * usual[each] + 35 * (when > diabetes[each]) + random.normal(0, 6, len(each))
    record.add(each[seen], when[seen], "LAB//glucose", glucose[seen].round())
    _stays(record, begin, end, frailty, heart, random)
    return record.frame()


def _stays(
    record: Record,
    begin: np.ndarray,
    end: np.ndarray,
    frailty: np.ndarray,
    heart: np.ndarray,
    random: np.random.Generator,
) -> None:
    """Stays in hospital, some followed by another within 30 days."""
    stay = np.repeat(np.arange(len(begin)), random.poisson(0.5 * np.exp(0.3 * frailty) * (end - begin) / YEAR))
    admitted = random.uniform(begin[stay], end[stay])
    for again in range(3):
        discharged = admitted + random.uniform(1, 10, len(stay)) * DAY
        home = discharged < end[stay]
        record.add(stay, admitted, "admission")
        record.add(stay[home], discharged[home], "discharge")
        sick = heart[stay] < admitted
        record.add(stay[sick], admitted[sick], "ICD10//I50.1")
        odds = -1.7 - again + READMISSION["frailty"] * frailty[stay] + READMISSION["heart"] * sick
        back = home & (random.random(len(stay)) < 1 / (1 + np.exp(-odds)))
        stay, admitted = stay[back], discharged[back] + random.uniform(2, 30, int(back.sum())) * DAY
        inside = admitted < end[stay]
        stay, admitted = stay[inside], admitted[inside]


def intensive_care(stays: int, random: np.random.Generator) -> pl.DataFrame:
    """Stays in intensive care, hour by hour: a patient's sickness walks, and death follows it."""
    record, who, hours = Record(), np.arange(stays), 240
    sickness = random.normal(0, 1, (stays, 1)) + np.cumsum(random.normal(0, 0.16, (stays, hours)), axis=1)
    dies = random.random((stays, hours)) < np.exp(-6.6 + ICU_HAZARD * sickness)
    death = np.where(dies.any(axis=1), dies.argmax(axis=1) + 1, np.inf)
    leaves = np.minimum(24 + random.gamma(2.0, 30, stays), hours).round()
    last = np.minimum(death, leaves)
    admitted = START + random.uniform(0, 1000, stays) * DAY
    record.add(who, None, "age", random.integers(20, 95, stays))
    record.add(who, admitted, "admission")
    record.add(who, admitted + last * 3600, np.where(death <= leaves, "death", "discharge"))
    for code, base, slope, noise, share in (
        ("heart rate", 85, 9, 8, 0.6),
        ("systolic", 125, -9, 10, 0.6),
        ("lactate", 1.6, 0.7, 0.4, 0.15),
        ("creatinine", 90, 18, 12, 0.1),
    ):
        row, hour = np.nonzero((random.random((stays, hours)) < share) & (np.arange(hours) < last[:, None]))
        value = base + slope * sickness[row, hour] + random.normal(0, noise, len(row))
        record.add(row, admitted[row] + (hour + random.random(len(row))) * 3600, code, value.round(1).clip(0.1))
    return record.frame()


def liver(patients: int, random: np.random.Generator) -> pl.DataFrame:
    """Visits over years of a disease of the liver, in years since the first: laboratory values, transplant, death."""
    record, who = Record(), np.arange(patients)
    age, slope = random.normal(50, 10, patients).round(1), random.normal(0.12, 0.15, patients)
    base, albumin = random.normal(0.6, 0.9, patients), random.normal(3.5, 0.4, patients)
    steps = np.arange(0, 14, 0.05)
    hazard = 0.02 * np.exp(
        LIVER["bilirubin"] * (base[:, None] + slope[:, None] * steps)
        + LIVER["albumin"] * (albumin[:, None] - 3.5 - 0.03 * steps)
        + LIVER["age"] * (age[:, None] - 50) / 10
    )
    risk = 1 - np.exp(-np.cumsum(hazard, axis=1) * 0.05)
    drawn = random.random((patients, 1))
    ended = np.where((risk > drawn).any(axis=1), steps[(risk > drawn).argmax(axis=1)] + 0.05, np.inf)
    followed = random.uniform(3, 14, patients)
    last = np.minimum(ended, followed).round(4)
    record.add(who, None, "age at start", age)
    record.add(who, None, np.where(random.random(patients) < 0.85, "sex//female", "sex//male"))
    end = np.where(
        ended > followed, "end of follow-up", np.where(random.random(patients) < 0.85, "death", "transplant")
    )
    record.add(who, last, end)
    for planned in (0, 0.5, *range(1, 14)):
        visit = np.maximum(planned + random.normal(0, 0.05, patients), 0).round(4) * (planned > 0)
        there = visit < last
        one, at = who[there], visit[there]
        record.add(one, at, "visit")
        noise = random.normal(0, 1, (3, len(one)))
        record.add(one, at, "bilirubin", np.exp(base[one] + slope[one] * at + 0.2 * noise[0]).round(1))
        record.add(one, at, "albumin", (albumin[one] - 0.03 * at + 0.15 * noise[1]).round(2))
        record.add(one, at, "prothrombin", (10.6 + 0.4 * base[one] + 0.5 * noise[2]).round(1))
    return record.frame()


UNITS = {
    "LAB//glucose": "mg/dL",
    "heart rate": "1/min",
    "systolic": "mmHg",
    "lactate": "mmol/L",
    "creatinine": "umol/L",
    "bilirubin": "mg/dL",
    "albumin": "g/dL",
    "prothrombin": "s",
}


def main(folder: Path, scale: float = 1.0, csv: bool = False) -> None:
    """Writes every store; `scale` below 1 makes smaller ones, `csv` also writes the long tables they come from."""
    random = np.random.default_rng(0)
    tables = {
        "claims": claims(int(2000 * scale), random),
        "icu": intensive_care(int(900 * scale), random),
        "liver": liver(int(600 * scale), random),
    }
    for name, frame in tables.items():
        of_dates = name != "liver"
        known = pl.col("time").is_not_nan()
        ticks = pl.when(known).then((pl.col("time").fill_nan(0) * TICKS).round()).otherwise(TIMELESS).cast(pl.Int64)
        held = set(frame["code"].unique().to_list())
        units = {code: unit for code, unit in UNITS.items() if code in held}
        provenance = {"source": f"made up by {Path(__file__).name}"}
        write_store(
            folder / name, frame.with_columns(ticks.alias("time")), "date" if of_dates else "number", provenance, units
        )
        if csv:
            at = pl.from_epoch((pl.col("time") * 1e6).round().cast(pl.Int64), "us") if of_dates else pl.col("time")
            frame.with_columns(
                pl.when(known).then(at).alias("time"), pl.col("value").fill_nan(None), unit=pl.col("code").replace_strict(units, default=None)
            ).write_csv(folder / f"{name}.csv")  # fmt: skip


if __name__ == "__main__":
    main(Path(__file__).parent / "data", csv="--csv" in sys.argv)
