"""Writes the made-up data of the examples into examples/data: `python examples/make_data.py`."""

from __future__ import annotations

import sys
from pathlib import Path

import numpy as np
import polars as pl
from PIL import Image


def patients(rows: int, random: np.random.Generator) -> pl.DataFrame:
    """A first table as a clinic would export it: identifiers, numbers with gaps, categories, and an outcome."""
    age = random.integers(30, 90, rows)
    pressure = random.normal(110 + 0.4 * age, 14).round()
    cholesterol = random.normal(5.2, 1.0, rows).round(2)
    smoker = random.choice(["never", "former", "current"], rows, p=[0.5, 0.3, 0.2])
    risk = 0.05 * (age - 60) + 0.03 * (pressure - 135) + 0.5 * (cholesterol - 5.2) + 1.1 * (smoker == "current") - 1.0
    disease = random.random(rows) < 1 / (1 + np.exp(-risk))
    return pl.DataFrame(
        {
            "mrn": [f"MRN{100000 + i}" for i in range(rows)],
            "name": [f"patient {i}" for i in range(rows)],
            "age": age,
            "sex": random.choice(["female", "male"], rows),
            "systolic": np.where(random.random(rows) < 0.05, np.nan, pressure),
            "cholesterol": np.where(random.random(rows) < 0.1, np.nan, cholesterol),
            "smoking": smoker,
            "heart_disease": np.where(disease, "yes", "no"),
        }
    )


def intensive_care(stays: int, random: np.random.Generator) -> tuple[pl.DataFrame, pl.DataFrame]:
    """Stays with an index time 24 h after admission, and the long table of what was measured before and after it."""
    sickness = random.normal(size=stays)
    patient = random.integers(0, stays * 3 // 4, stays)
    died = random.random(stays) < 1 / (1 + np.exp(1.6 - 1.5 * sickness))
    admitted = random.uniform(0, 20_000, stays).round(1)
    stay = pl.DataFrame(
        {
            "stay": [f"stay{i}" for i in range(stays)],
            "patient": [f"patient{code}" for code in patient],
            "hour": (admitted + 24).round(1),
            "age": random.integers(20, 95, stays),
            "unit": random.choice(["medical", "surgical", "cardiac"], stays),
            "died": died.astype(int),
            "days": np.exp(random.normal(1.1 + 0.35 * sickness, 0.5)).round(1),
            # A generator of its own: whatever is drawn after it stays as it was.
            "sofa": np.random.default_rng(13).normal(6 + 2.5 * sickness, 1.5).clip(0, 24).round(),
        }
    )
    each = random.poisson(40, stays)
    of = np.repeat(np.arange(stays), each)
    when = random.uniform(0, 48, len(of))
    code = random.choice(["heart rate", "lactate", "creatinine", "dialysis"], len(of), p=[0.5, 0.25, 0.23, 0.02])
    middle = {"heart rate": (85, 12, 15), "lactate": (1.8, 0.5, 0.8), "creatinine": (95, 30, 20), "dialysis": (0, 0, 0)}
    base, spread, slope = np.array([middle[name] for name in code]).T
    drift = sickness[of] * (0.3 + when / 48)
    value = base + slope * drift + random.normal(0, 1, len(of)) * spread
    events = pl.DataFrame(
        {
            "patient": stay["patient"].gather(of),
            "time": (admitted[of] + when).round(2),
            "code": code.tolist(),
            "value": np.where(code == "dialysis", np.nan, value.round(2)),
        }
    )
    return stay, events


def breast_cancer(patients: int, random: np.random.Generator) -> pl.DataFrame:
    """Follow-up after breast cancer: risk bends with age and rises with size and nodes; most are censored."""
    age = random.normal(60, 12, patients).clip(28, 92).round(1)
    size = random.gamma(3.0, 8.0, patients).round(1)
    nodes = random.poisson(1.5, patients)
    receptor = random.choice(["positive", "negative"], patients, p=[0.75, 0.25])
    risk = 0.0012 * (age - 58) ** 2 + 0.02 * size + 0.18 * nodes + 0.6 * (receptor == "negative") - 1.2
    death = random.exponential(110 * np.exp(-risk))
    followed = random.uniform(24, 180, patients)
    return pl.DataFrame(
        {
            "patient": range(1, patients + 1),
            "age": age,
            "size_mm": size,
            "nodes": nodes,
            "receptor": receptor,
            "months": np.minimum(death, followed).round(1),
            "died": (death <= followed).astype(int),
        }
    )


DIABETES = {"age": 0.04, "bmi": 0.10, "waist_cm": 0.03, "glucose_mg_dl": 0.06, "family_history": 0.7, "activity": -0.35}
"""Log odds of diabetes within five years: a year, a kg/m², a cm, a mg/dL, yes, a level of activity."""
HEART = {"age": 0.03, "male": 0.9, "typical": 1.6, "angina": 1.0, "st_depression_mm": 0.55, "max_heart_rate": -0.025}
"""Log odds of narrowed coronary arteries: a year, male, typical chest pain, angina on exercise, a mm, a beat a minute."""
SURGERY = {
    "infection": {"asa": 0.5, "bmi": 0.06, "albumin": -0.08, "minutes": 0.006, "emergency": 0.5},
    "bleeding": {"asa": 0.3, "haemoglobin": -0.03, "minutes": 0.007, "emergency": 0.7},
    "kidney_injury": {"asa": 0.5, "age": 0.03, "creatinine": 0.018, "emergency": 0.6},
}
"""Log odds of each complication: an ASA class, a kg/m², g/L, a planned minute, g/L, a year, a µmol/L, an emergency."""


def happened(
    effects: dict[str, float], values: dict[str, np.ndarray], share: float, random: np.random.Generator
) -> np.ndarray:
    """0 and 1 from a logistic risk with these effects, moved so that its median is `share`."""
    risk = sum(effect * values[name] for name, effect in effects.items())
    risk = risk - np.median(risk) + np.log(share / (1 - share))
    return (random.random(len(risk)) < 1 / (1 + np.exp(-risk))).astype(int)


def with_gaps(values: np.ndarray, share: float, random: np.random.Generator) -> np.ndarray:
    """The numbers, some of them not measured."""
    return np.where(random.random(len(values)) < share, np.nan, values)


def check_up(people: int, random: np.random.Generator) -> pl.DataFrame:
    """A check-up of people without diabetes, and who had it within five years."""
    age = random.integers(35, 80, people)
    bmi = random.normal(27.5, 4.5, people).clip(17, 50).round(1)
    waist = (40 + 2 * bmi + random.normal(0, 7, people)).round()
    glucose = random.normal(96, 10, people).clip(60, 125).round()
    family, activity = random.random(people) < 0.3, random.integers(0, 4, people)
    values = {"age": age, "bmi": bmi, "waist_cm": waist, "glucose_mg_dl": glucose, "family_history": family}
    return pl.DataFrame(
        {
            "person": range(1, people + 1),
            "age": age,
            "sex": random.choice(["female", "male"], people),
            "bmi": bmi,
            "waist_cm": with_gaps(waist, 0.1, random),
            "glucose_mg_dl": with_gaps(glucose, 0.05, random),
            "systolic": (100 + 0.5 * age + random.normal(0, 14, people)).round(),
            "family_history": np.where(family, "yes", "no"),
            "activity": np.array(["none", "some", "weekly", "daily"])[activity],
            "diabetes": happened(DIABETES, {**values, "activity": activity}, 0.1, random),
        }
    )


def chest_pain(patients: int, random: np.random.Generator) -> pl.DataFrame:
    """Chest pain at four hospitals that examine differently sick patients, and what angiography showed."""
    hospital = random.integers(0, 4, patients)
    age = (random.normal(54, 9, patients) + 2 * hospital).clip(29, 80).round()
    male = random.random(patients) < 0.65
    kind = random.choice(4, patients, p=[0.4, 0.28, 0.2, 0.12])
    angina = random.random(patients) < np.where(kind == 0, 0.5, 0.2)
    rate = (208 - 0.7 * age + random.normal(-8, 18, patients)).clip(70, 205).round()
    depression = np.maximum(0, random.normal(0.9, 1.1, patients)).round(1)
    values = {"age": age, "male": male, "typical": kind == 0, "angina": angina, "st_depression_mm": depression}
    return pl.DataFrame(
        {
            "patient": range(1, patients + 1),
            "hospital": np.array(["north", "east", "south", "west"])[hospital],
            "age": age,
            "sex": np.where(male, "male", "female"),
            "chest_pain": np.array(["typical", "atypical", "non-anginal", "none"])[kind],
            "resting_systolic": random.normal(132, 17, patients).round(),
            "cholesterol": with_gaps(random.normal(6.3, 1.2, patients).clip(2.5, 14).round(2), 0.1, random),
            "max_heart_rate": rate,
            "angina": np.where(angina, "yes", "no"),
            "st_depression_mm": with_gaps(depression, 0.05, random),
            "disease": np.where(happened(HEART, {**values, "max_heart_rate": rate}, 0.45, random), "present", "absent"),
        }
    )


def operations(count: int, random: np.random.Generator) -> pl.DataFrame:
    """What is known before an operation, some patients having several, and three complications after it."""
    asa, emergency = random.choice([1, 2, 3, 4], count, p=[0.15, 0.45, 0.32, 0.08]), random.random(count) < 0.2
    code = random.choice(["JDF10", "JFB30", "KAC00", "NFB49", "NGB40"], count)
    base = {"JDF10": 110, "JFB30": 180, "KAC00": 150, "NFB49": 90, "NGB40": 100}
    values = {
        "asa": asa,
        "emergency": emergency,
        "age": random.normal(62, 14, count).clip(18, 95).round(),
        "bmi": random.normal(27, 5, count).clip(16, 55).round(1),
        "minutes": (np.array([base[one] for one in code]) * random.lognormal(0, 0.25, count)).round(),
        "haemoglobin": (random.normal(138, 15, count) - 5 * (asa > 2)).clip(60, 185).round(),
        "creatinine": (random.lognormal(4.35, 0.25, count) + 12 * (asa > 2)).round(),
        "albumin": (random.normal(41, 4, count) - 2 * (asa > 2)).clip(18, 52).round(),
    }
    measured = {
        name: with_gaps(values[name], 0.25 if name == "albumin" else 0.05, random)
        for name in ("haemoglobin", "creatinine", "albumin")
    }
    day = np.sort(random.integers(0, 1400, count))
    return pl.DataFrame(
        {
            "operation": range(1, count + 1),
            "patient": random.integers(1, count * 9 // 10, count),
            "day": (np.datetime64("2020-01-01") + day).astype(str),
            "asa": np.array(["I", "II", "III", "IV"])[asa - 1],
            "emergency": np.where(emergency, "yes", "no"),
            "procedure": code,
            **{name: values[name] for name in ("age", "bmi", "minutes")},
            **measured,
            **{name: happened(effects, values, 0.1, random) for name, effects in SURGERY.items()},
        }
    )


def encounters(stays: int, random: np.random.Generator) -> pl.DataFrame:
    """Stays of patients who come again, with codes of diagnoses and drugs; whether the next stay followed in 30 days."""
    patient = np.sort(random.integers(0, stays // 3, stays))
    frailty = random.normal(size=stays // 3)[patient]
    groups = ["E11.9", "E11.65", "I50.1", "I50.9", "J44.1", "N18.3", "F32.9", "S72.0"]
    harm = np.array([0.0, 0.2, 0.9, 0.8, 0.6, 0.5, 0.1, -0.4])
    main = random.integers(0, len(groups), stays)
    drugs = np.array(["A10BA02", "C09AA05", "C07AB02", "C03CA01", "N02BE01", "N06AB06"])
    count = random.poisson(2 + 0.5 * np.exp(0.5 * frailty))
    again = random.random(stays) < 1 / (1 + np.exp(1.8 - 0.9 * frailty - harm[main] - 0.1 * count))
    last_of_patient = np.append(patient[1:] != patient[:-1], True)
    gap = np.where(again & ~last_of_patient, random.integers(2, 30, stays), random.integers(31, 400, stays))
    days = random.integers(1, 12, stays)
    passed = np.concatenate([[0], np.cumsum(days + gap)[:-1]])
    since_first = passed - passed[np.searchsorted(patient, patient)]
    discharge = np.datetime64("2015-01-01") + since_first + days
    return pl.DataFrame(
        {
            "encounter": range(1, stays + 1),
            "patient": patient,
            "discharge": discharge.astype(str),
            "age": (65 + 8 * frailty + random.normal(0, 6, stays)).round(),
            "days": days,
            "diag_1": [groups[place] for place in main],
            "diag_2": [groups[place] if place < len(groups) else None for place in random.integers(0, 12, stays)],
            "drugs": [";".join(random.choice(drugs, min(n, 5), replace=False)) for n in count],
            "readmitted_30": again.astype(int),
        }
    )


def pictures(count: int, folder: Path, random: np.random.Generator) -> pl.DataFrame:
    """Grey pictures of tissue, two a patient, some with a bright round lesion; and masks of the lesion."""
    folder.mkdir(parents=True, exist_ok=True)
    y, x = np.mgrid[:64, :64]
    rows = []
    for number in range(count):
        tissue = 90 + random.normal(0, 12, (64, 64))
        for _ in range(6):  # waves in all directions: of a few of them alone, pictures of two patients are copies
            turn, length = random.uniform(0, np.pi), random.uniform(6, 14)
            tissue += 11 * np.sin((x * np.cos(turn) + y * np.sin(turn)) / length + random.uniform(0, 2 * np.pi))
        centre, radius = random.uniform(14, 50, 2), random.uniform(5, 11)
        lesion = np.hypot(y - centre[0], x - centre[1]) < radius
        lesion &= number % 3 != 0
        tissue[lesion] += 45
        for name, pixels in (("image", tissue.clip(0, 255)), ("mask", lesion)):
            Image.fromarray((pixels * (255 if name == "mask" else 1)).astype(np.uint8)).save(
                folder / f"{name}{number:03d}.png"
            )
        paths = {name: f"{folder.name}/{name}{number:03d}.png" for name in ("image", "mask")}
        rows.append({"picture": number, "patient": number // 2, **paths, "lesion": "yes" if lesion.any() else "no"})
    return pl.DataFrame(rows)


def main(folder: Path, scale: float = 1.0) -> None:
    """Writes every table; `scale` below 1 makes smaller ones."""
    folder.mkdir(parents=True, exist_ok=True)
    random = np.random.default_rng(7)
    patients(int(2000 * scale), random).fill_nan(None).write_csv(folder / "patients.csv")
    stay, events = intensive_care(int(3000 * scale), random)
    stay.write_csv(folder / "stays.csv")
    events.fill_nan(None).write_csv(folder / "events.csv")
    encounters(int(4000 * scale), np.random.default_rng(11)).write_csv(folder / "encounters.csv")
    breast_cancer(int(1500 * scale), random).write_csv(folder / "breast-cancer.csv")
    for name, make, rows in (
        ("check-ups", check_up, 2500),
        ("chest-pain", chest_pain, 1200),
        ("operations", operations, 3000),
    ):
        make(int(rows * scale), np.random.default_rng(11)).fill_nan(None).write_csv(folder / f"{name}.csv")
    pictures(int(240 * scale), folder / "pictures", random).write_csv(folder / "pictures.csv")


if __name__ == "__main__":
    main(Path(__file__).parent / "data", float(sys.argv[1]) if len(sys.argv) > 1 else 1.0)
