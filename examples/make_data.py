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
        tissue = 90 + 25 * np.sin(x / random.uniform(6, 12) + random.uniform(0, 6)) + random.normal(0, 12, (64, 64))
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
    pictures(int(240 * scale), folder / "pictures", random).write_csv(folder / "pictures.csv")


if __name__ == "__main__":
    main(Path(__file__).parent / "data", float(sys.argv[1]) if len(sys.argv) > 1 else 1.0)
