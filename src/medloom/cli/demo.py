"""The main job on data that scikit-learn ships: nothing is downloaded."""

from __future__ import annotations

import time
from pathlib import Path

import polars as pl

from medloom import study
from medloom.cli.watch import fit_watched
from medloom.errors import StudyError
from medloom.find import near

BREAST_CANCER = """\
# Is a breast mass malignant? 30 measurements of cell nuclei from a fine-needle aspirate (Wisconsin, 1995).
name = "breast-cancer"

[cohort]
table = "breast-cancer.csv"
row = "sample"
independent_rows = true        # one sample a patient

[inputs.nuclei]
modality = "table"
known_before_index = true      # measured on the aspirate, before the diagnosis

[targets.malignant]
task = "classify"
column = "diagnosis"
positive = "malignant"
"""

DIGITS = """\
# The newcomers' classic first network: flatten, 128, 10. Handwritten digits of 8 × 8 pixels.
name = "digits"

[cohort]
table = "digits.csv"
row = "image"
independent_rows = true        # the data do not say who wrote which digit

[inputs.pixels]
modality = "table"
known_before_index = true
encoder = "mlp"
hidden = [128]
activation = "relu"
norm = "none"
scale = "none"
missing_indicators = false

[targets.digit]
task = "classify"
column = "digit"

[train]
epochs = 20
"""


def demonstrate(what: str, out: Path | None) -> None:
    """Writes data and study file into `out`, and fits there. A second call trains again, in a folder of its own."""
    makers = {"breast-cancer": (_breast_cancer, BREAST_CANCER), "digits": (_digits, DIGITS)}
    if what not in makers:
        raise StudyError(f"no demo {what!r}; {near(what, makers)}")
    folder = out or Path(f"medloom-demo-{what}")
    began = time.monotonic()
    make, text = makers[what]
    folder.mkdir(parents=True, exist_ok=True)
    make().write_csv(folder / f"{what}.csv")
    (folder / "study.toml").write_text(text, encoding="utf-8")
    runs = [
        int(path.name.removeprefix("run-")) for path in folder.glob("run-*") if path.name.removeprefix("run-").isdigit()
    ]
    fit_watched(study.read(folder / "study.toml"), folder / f"run-{max(runs, default=0) + 1}")
    print(f"Study file: {(folder / 'study.toml').resolve()}\n{time.monotonic() - began:.0f} s")


def _breast_cancer() -> pl.DataFrame:
    from sklearn.datasets import load_breast_cancer

    data = load_breast_cancer()
    columns = {name.replace(" ", "_"): data.data[:, i] for i, name in enumerate(data.feature_names)}
    names = [str(data.target_names[code]) for code in data.target]
    return pl.DataFrame({"sample": range(1, len(names) + 1), **columns, "diagnosis": names})


def _digits() -> pl.DataFrame:
    from sklearn.datasets import load_digits

    data = load_digits()
    pixels = {f"pixel_{i // 8}_{i % 8}": data.data[:, i] / 16 for i in range(64)}
    return pl.DataFrame({"image": range(1, len(data.target) + 1), **pixels, "digit": data.target})
