"""Small studies on data made here, one for each way the project is used. Contract tests run over all of them."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl

from medloom.cohort.event_store import ticks, write_store
from medloom.study import Study, make

SMALL = {"epochs": 3, "evaluations": 3, "batch": 16}
COHORT = {"table": "cohort.csv", "row": "stay", "patient": "patient"}


def _study(folder: Path, inputs: dict[str, Any], targets: dict[str, Any], **more: Any) -> Study:
    whole = {"name": "case", "cohort": COHORT, "inputs": inputs, "targets": targets, "train": SMALL}
    return make({**whole, "evaluate": {"resamples": 100}, **more}).within(folder)


def _cohort(rows: int, seed: int = 0) -> pl.DataFrame:
    """Stays of patients, about three stays to two patients; outcome from a number and a category, with gaps."""
    random = np.random.default_rng(seed)
    patient = np.sort(random.integers(0, rows * 2 // 3, rows))
    lactate = random.gamma(2.0, 1.2, rows).round(2)
    ward = random.choice(["medical", "surgical", "cardiac"], rows)
    logit = 1.6 * (lactate - 2.2) + 1.2 * (ward == "surgical") - 0.4
    died = random.random(rows) < 1 / (1 + np.exp(-logit))
    severity = np.digitize(logit + random.normal(0, 0.5, rows), [-1.0, 1.0])
    frame = pl.DataFrame(
        {
            "stay": [f"s{i:04d}" for i in range(rows)],
            "patient": [f"p{code:04d}" for code in patient],
            "lactate": lactate,
            "age": random.integers(20, 90, rows),
            "ward": ward,
            "died": died.astype(int),
            "sepsis": (lactate > 2.5).astype(int),
            "severity": np.array(["mild", "moderate", "severe"])[severity],
        }
    )
    holes = random.random((rows, 2)) < 0.1
    return frame.with_columns(
        pl.when(pl.Series(holes[:, 0])).then(None).otherwise(pl.col("lactate")).alias("lactate"),
        pl.when(pl.Series(holes[:, 1])).then(None).otherwise(pl.col("sepsis")).alias("sepsis"),
    )


TABLE = {
    "modality": "table",
    "known_before_index": True,
    "encoder": "mlp",
    "hidden": [16, 8],
    "columns": {"lactate": {"kind": "numeric"}, "age": {"kind": "numeric"}, "ward": {"kind": "category"}},
}


def table_binary(folder: Path) -> Study:
    """One table, two classes."""
    _cohort(240).write_csv(folder / "cohort.csv")
    return _study(folder, {"labs": TABLE}, {"death": {"task": "classify", "column": "died"}})


def table_stacked(folder: Path) -> Study:
    """Two networks of different seeds with both simple models; classes and a number asked of the same table."""
    _cohort(240, 5).write_csv(folder / "cohort.csv")
    inputs = {"labs": {**TABLE, "columns": {"lactate": {"kind": "numeric"}, "ward": {"kind": "category"}}}}
    targets = {
        "severity": {"task": "classify", "column": "severity"},
        "age": {"task": "regress", "column": "age"},
    }
    return _study(folder, inputs, targets, model={"members": ["network", "network", "gradient_boosting", "logistic"]})


def table_several(folder: Path) -> Study:
    """Two tables, one of them absent for some rows; three targets: classes, labels with gaps, two classes weighted."""
    frame = _cohort(240, 1).with_columns(
        pl.when(pl.int_range(pl.len()) % 5 == 0).then(None).otherwise(pl.col("age")).alias("age")
    )
    frame.write_csv(folder / "cohort.csv")
    inputs = {
        "labs": {**TABLE, "columns": {"lactate": {"kind": "numeric"}, "ward": {"kind": "category"}}},
        "person": {**TABLE, "columns": {"age": {"kind": "numeric"}}},
    }
    targets = {
        "severity": {"task": "classify", "column": "severity"},
        "labels": {"task": "classify", "columns": ["died", "sepsis"]},
        "death": {"task": "classify", "column": "died", "class_weights": "balanced", "loss_weight": 0.5},
    }
    return _study(folder, inputs, targets)


def table_ensemble(folder: Path) -> Study:
    """TabM beside a plain table: every kind of column, numbers by quantiles, hashed words; two classes and three."""
    cohort = _cohort(240, 5)
    random = np.random.default_rng(6)
    day = np.datetime64("2024-03-01") + random.integers(0, 60, len(cohort))
    hours = random.integers(0, 72, len(cohort))
    cohort.with_columns(
        pl.Series("discharge", day.astype(str)),
        pl.Series("admission", (day - random.integers(-1, 30, len(cohort))).astype(str)),
        pl.Series("surgery", [("3 h", "P1DT2H", f"{h}:30", None)[h % 4] for h in hours]),
        pl.Series("smoker", random.choice(["yes", "no", "TRUE", "0"], len(cohort))),
        pl.Series("asa", random.choice(["I", "II", "III"], len(cohort))),
    ).write_csv(folder / "cohort.csv")
    columns = {
        "lactate": {"kind": "numeric"}, "ward": {"kind": "category"}, "admission": {"kind": "datetime"},
        "surgery": {"kind": "duration", "unit": "h"}, "smoker": {"kind": "boolean"},
        "asa": {"kind": "ordinal", "order": ["I", "II", "III"]},
    }  # fmt: skip
    labs = {
        "modality": "table", "known_before_index": True, "encoder": "tabm", "hidden": [16, 8], "members": 3,
        "numeric": "piecewise", "bins": 4, "numeric_width": 4, "category": "hash", "buckets": 16, "columns": columns,
    }  # fmt: skip
    targets = {
        "death": {"task": "classify", "column": "died"},
        "severity": {"task": "classify", "column": "severity"},
    }
    person = {**TABLE, "columns": {"age": {"kind": "numeric"}}}
    return _study(folder, {"labs": labs, "person": person}, targets, cohort={**COHORT, "at": "discharge"})


def table_transformer(folder: Path) -> Study:
    """Attention between columns, periodic numbers."""
    _cohort(240, 7).write_csv(folder / "cohort.csv")
    labs = {
        "modality": "table", "known_before_index": True, "columns": TABLE["columns"], "encoder": "transformer",
        "width": 16, "blocks": 2, "heads": 4, "numeric": "periodic", "frequencies": 8,
    }  # fmt: skip
    return _study(folder, {"labs": labs}, {"labels": {"task": "classify", "columns": ["died", "sepsis"]}})


def table_codes(folder: Path) -> Study:
    """Codes in a list and in several columns, words as mean answers, earlier rows, some of the numbers kept."""
    cohort = _cohort(240, 8)
    random = np.random.default_rng(9)
    drugs = np.array(["A10BA02", "C09AA05", "C07AB02", "N02BE01"])
    codes = np.array(["250.00", "250.43", "428.0", "V45.1", "401.9", None])
    cohort.with_columns(
        pl.Series("day", random.integers(0, 200, len(cohort))),
        pl.Series("drugs", [";".join(random.choice(drugs, n)) for n in random.integers(0, 5, len(cohort))]),
        pl.Series("d1", random.choice(codes, len(cohort)).tolist(), dtype=pl.String),
        pl.Series("d2", random.choice(codes, len(cohort)).tolist(), dtype=pl.String),
    ).write_csv(folder / "cohort.csv")
    columns = {
        "lactate": {"kind": "numeric"}, "age": {"kind": "numeric"}, "stays": {"kind": "numeric"}, "last": {"kind": "numeric"},
        "ward": {"kind": "category", "encoding": "both"}, "drugs": {"kind": "code", "system": "atc", "separator": ";"},
        "dx": {"kind": "code", "system": "icd9", "columns": ["d1", "d2"], "primary": "d1", "encoding": "both"},
    }  # fmt: skip
    labs = {
        "modality": "table", "known_before_index": True, "encoder": "mlp", "hidden": [16, 8], "columns": columns,
        "select": {"by": "variance", "keep": 3},
    }  # fmt: skip
    history = {"aggregate": {"stays": "count()", "last": "last(lactate)"}}
    targets = {"death": {"task": "classify", "column": "died"}, "severity": {"task": "classify", "column": "severity"}}
    return _study(folder, {"labs": labs}, targets, cohort={**COHORT, "at": "day", "history": history})


def _with_events(folder: Path, seed: int, timeless: bool = False) -> pl.DataFrame:
    """A cohort with several index times a patient in `hour`, and what was measured of most patients."""
    cohort = _cohort(160, seed)
    random = np.random.default_rng(seed + 1)
    cohort = cohort.with_columns(pl.Series("hour", random.uniform(24, 200, len(cohort)).round(2)))
    cohort.write_csv(folder / "cohort.csv")
    count = 3000
    patients = cohort["patient"].unique().sort().to_list()[:-5]
    events = pl.DataFrame(
        {
            "patient": random.choice(patients, count),
            "time": random.uniform(0, 240, count).round(2),
            "code": random.choice(["heart rate", "lactate", "dialysis", "culture"], count),
            "value": random.normal(2, 1, count).round(2),
        }
    ).with_columns(pl.when(pl.col("code") == "dialysis").then(None).otherwise(pl.col("value")).alias("value"))
    if timeless:
        known = {
            "patient": patients,
            "code": ["sex=female", "sex=male"] * (len(patients) // 2) + ["sex=male"] * (len(patients) % 2),
        }
        events = pl.concat([events, pl.DataFrame(known)], how="diagonal")
    events.write_csv(folder / "events.csv")
    return events


def events_binary(folder: Path) -> Study:
    """A long table of events, several index times a patient, beside a table."""
    _with_events(folder, 2)
    inputs = {
        "course": {"modality": "events", "table": "events.csv", "last": 32, "width": 16, "code_width": 8},
        "labs": TABLE,
    }
    targets = {"death": {"task": "classify", "column": "died"}}
    return _study(folder, inputs, targets, cohort={**COHORT, "at": "hour"})


def events_sequences(folder: Path) -> Study:
    """The same events read one by one, by each kind of network; rows of like length together, part after part."""
    _with_events(folder, 21, timeless=True)
    events = {
        "modality": "events", "table": "events.csv", "timeless": True, "last": 24, "width": 8, "code_width": 4, "bucket": 3, "budget": 200,
    }  # fmt: skip
    inputs = {
        "memory": {**events, "encoder": "lstm", "layers": 2, "dropout": 0.1, "statistics": True},
        "convolution": {**events, "encoder": "tcn", "layers": 2, "scale": "quantiles"},
        "attention": {**events, "encoder": "transformer", "heads": 2, "layers": 1},
    }
    targets = {"death": {"task": "classify", "column": "died"}, "age": {"task": "regress", "column": "age"}}
    return _study(folder, inputs, targets, cohort={**COHORT, "at": "hour"})


def events_bins(folder: Path) -> Study:
    """Events of a store in bins of time, by each kind of network over them, and as summary statistics."""
    from medloom.cohort.event_store import ticks, write_store

    events = _with_events(folder, 23, timeless=True)
    stored = events.with_columns(pl.Series("time", ticks(events["time"].fill_null(float("nan")).to_numpy())))
    write_store(folder / "events", stored, "number", {}, {})
    events = {"modality": "events", "table": "events/", "last": 100, "lookback": 48, "width": 8}
    inputs = {
        "grid": {**events, "encoder": "grid", "bin": 6},
        "wide": {**events, "encoder": "grid", "bin": 12, "over": "tcn", "statistics": True},
        "decay": {**events, "encoder": "gru_decay", "bin": 12},
        "summary": {**events, "encoder": "statistics", "dropout": 0.1},
    }
    targets = {"death": {"task": "classify", "column": "died"}}
    return _study(folder, inputs, targets, cohort={**COHORT, "at": "hour"})


def _pictures(folder: Path, rows: int, shape: tuple[int, ...]) -> pl.DataFrame:
    """Images with a bright blob or not, and masks of the blob; PNG in two axes, NIfTI in three."""
    random = np.random.default_rng(4)
    names, masks, blob = [], [], []
    for row in range(rows):
        image = random.normal(80, 10, shape)
        mask = np.zeros(shape, np.uint8)
        corner = [int(random.integers(1, side - 6)) for side in shape]
        ill = bool(row % 2)
        where = tuple(slice(c, c + 5) for c in corner)
        if ill:
            image[where] += 90
            mask[where] = 1
        pixels = image.clip(0, 255).astype(np.uint8)
        names.append(_save(folder / f"image{row}", pixels))
        masks.append(_save(folder / f"mask{row}", mask))
        blob.append(int(ill))
    ids = {"stay": [f"s{i:04d}" for i in range(rows)], "patient": [f"p{i // 2:04d}" for i in range(rows)]}
    return pl.DataFrame({**ids, "image": names, "mask": masks, "blob": blob})


def _save(stem: Path, values: np.ndarray) -> str:
    if values.ndim == 2:
        from PIL import Image

        Image.fromarray(values).save(stem.with_suffix(".png"))
        return stem.with_suffix(".png").name
    import nibabel

    nibabel.save(
        nibabel.Nifti1Image(values.astype(np.int16), np.diag([1.0, 1.0, 2.0, 1.0])), stem.with_suffix(".nii.gz")
    )
    return stem.with_suffix(".nii.gz").name


def _image(dims: int) -> dict[str, Any]:
    patch = [16] * dims if dims == 2 else [8] * dims
    return {
        "modality": "image", "column": "image", "dims": dims, "patch": patch, "flip": [0], "width": 4, "levels": 2,
        "pooled_width": 8, "known_before_index": True,
    }  # fmt: skip


def image_segment_2d(folder: Path) -> Study:
    """Outlines on PNG, and a class of the whole picture, from one encoder."""
    _pictures(folder, 40, (20, 24)).write_csv(folder / "cohort.csv")
    targets = {
        "outline": {"task": "segment", "column": "mask", "input": "scan", "labels": {"blob": 1}},
        "ill": {"task": "classify", "column": "blob"},
    }
    return _study(folder, {"scan": _image(2)}, targets, train={**SMALL, "batch": 8})


def image_segment_3d(folder: Path) -> Study:
    """Outlines on NIfTI."""
    _pictures(folder, 24, (10, 12, 9)).write_csv(folder / "cohort.csv")
    targets = {"outline": {"task": "segment", "column": "mask", "input": "scan", "labels": {"blob": 1}}}
    return _study(folder, {"scan": _image(3)}, targets, train={**SMALL, "batch": 4})


def image_dicom_resampled(folder: Path) -> Study:
    """Series of DICOM in folders, seen at another spacing and within a window; outlines on the files' own grids."""
    import nibabel

    from tests.modalities.dicom_files import series

    frame = _pictures(folder, 20, (12, 10, 9))
    names = []
    for row, name in enumerate(frame["image"].to_list()):
        image = nibabel.load(folder / name)
        voxels = np.asarray(image.dataobj).astype(np.int16).transpose(2, 1, 0)
        series(
            folder / f"series{row}", voxels, name=str(row), origin=(0, 0, 0), orientation=(-1, 0, 0, 0, -1, 0),
            spacing=(1.0, 1.0), step=(0, 0, 2.0),
        )  # fmt: skip
        names.append(f"series{row}")
    frame.with_columns(pl.Series("image", names)).write_csv(folder / "cohort.csv")
    scan = {**_image(3), "spacing_mm": [1.5, 1.25, 1.0], "window": [0, 200]}
    targets = {
        "outline": {"task": "segment", "column": "mask", "input": "scan", "labels": {"blob": 1}},
        "ill": {"task": "classify", "column": "blob"},
    }
    return _study(folder, {"scan": scan}, targets, train={**SMALL, "batch": 4})


def _records(folder: Path, rows: int, seed: int) -> list[str]:
    """NumPy records of two leads of 8 to 12 seconds at 50 Hz; in every other one, the first lead beats faster."""
    random = np.random.default_rng(seed)
    names = []
    for row in range(rows):
        seconds = np.arange(int(random.integers(400, 600))) / 50
        beat = np.sin(2 * np.pi * (1.5 + 2 * (row % 2)) * seconds + random.uniform(0, 6))
        trace = np.stack([beat, random.normal(0, 0.5, len(seconds))]) + random.normal(0, 0.3, (2, len(seconds)))
        trace[1, 20:30] = np.nan
        names.append(f"record{row}.npz")
        np.savez(folder / names[-1], signal=trace.astype(np.float32), rate_hz=50.0, leads=["I", "II"])
    return names


_SIGNAL = {
    "modality": "signal", "column": "record", "rate_hz": 25, "window_seconds": 4, "stride_seconds": 2,
    "augment": {"crop": 0.2, "scale": 0.1, "noise": 0.1, "wander": 0.1, "drop_leads": 0.2, "mask": 0.2},
    "encoder": {"channels": 4, "levels": 2, "width": 8},
}  # fmt: skip


def signal_windows(folder: Path) -> Study:
    """Records with an index time within them, seen in windows; two classes and a number."""
    frame = _cohort(48, 19).with_columns(pl.Series("record", _records(folder, 48, 20)))
    random = np.random.default_rng(21)
    begins = np.datetime64("2024-03-01T08:00:00") + random.integers(0, 9_000, 48)
    frame.with_columns(
        pl.Series("begins", np.datetime_as_string(begins, "s")),
        pl.Series("at", np.datetime_as_string(begins + random.integers(5, 20, 48), "s")),
        fast=pl.Series(np.arange(48) % 2),
        beats=pl.Series(90 + 120.0 * (np.arange(48) % 2) + random.normal(0, 5, 48)),
    ).write_csv(folder / "cohort.csv")
    targets = {"fast": {"task": "classify", "column": "fast"}, "beats": {"task": "regress", "column": "beats"}}
    part = {**_SIGNAL, "starts": "begins", "highpass_hz": 0.8}
    return _study(folder, {"ecg": part}, targets, cohort={**COHORT, "at": "at"})


def signal_and_table(folder: Path) -> Study:
    """Parts of records, some missing, beside a table."""
    frame = _cohort(64, 23)
    names = [name if row % 7 else None for row, name in enumerate(_records(folder, 64, 24))]
    frame.with_columns(
        pl.Series("record", names, dtype=pl.String),
        begin=pl.lit(1.0),
        end=pl.lit(6.5),
        fast=pl.Series(np.arange(64) % 2),
    ).write_csv(folder / "cohort.csv")
    part = {
        **_SIGNAL, "known_before_index": True, "segment": ["begin", "end"], "scale": "window", "store": "int16",
        "plain": ["statistics", "bands"],
    }  # fmt: skip
    return _study(folder, {"ecg": part, "labs": TABLE}, {"fast": {"task": "classify", "column": "fast"}})


def regress_numbers(folder: Path) -> Study:
    """A number with quantiles and gaps, a count, and a number with outliers, from a table."""
    frame = _cohort(240, 5)
    random = np.random.default_rng(6)
    base = frame["lactate"].fill_null(2.4).to_numpy() + 1.5 * (frame["ward"] == "surgical").to_numpy()
    hours = np.where(random.random(240) < 0.1, np.nan, (20 + 8 * base + random.normal(0, 4, 240)).round(1))
    frame.with_columns(
        hours=pl.Series(hours).fill_nan(None),
        visits=pl.Series(random.poisson(np.exp(0.3 * base))),
        charge=pl.Series((base + random.standard_cauchy(240)).round(2)),
    ).write_csv(folder / "cohort.csv")
    targets = {
        "hours": {"task": "regress", "column": "hours", "quantiles": [0.1, 0.5, 0.9], "coverage": 0.8},
        "visits": {"task": "regress", "column": "visits", "loss": "poisson", "coverage": 0.8},
        "charge": {"task": "regress", "column": "charge", "loss": "huber", "scale": "robust", "coverage": 0.8},
    }
    return _study(folder, {"labs": TABLE}, targets)


def survive_table(folder: Path) -> Study:
    """Time to death with censoring, ties, times of 0 and gaps, from a table; and the same to given horizons."""
    frame = _cohort(300, 7)
    random = np.random.default_rng(8)
    risk = 0.8 * frame["lactate"].fill_null(2.4).to_numpy() + 0.8 * (frame["ward"] == "surgical").to_numpy()
    dies, leaves = random.exponential(60 * np.exp(-risk + 1)), random.exponential(40, 300)
    days = np.floor(np.minimum(dies, leaves))
    unknown = random.random(300) < 0.05
    frame.with_columns(
        days=pl.Series(np.where(unknown, np.nan, days)).fill_nan(None),
        dead=pl.Series(np.where(unknown, None, np.where(dies <= leaves, "yes", "no")).tolist(), dtype=pl.String),
    ).write_csv(folder / "cohort.csv")
    followed = {"task": "survive", "time": "days", "event": "dead"}
    targets = {"death": {**followed, "bins": 8}, "early": {**followed, "horizons": [5, 12.5], "bins": 5}}
    return _study(folder, {"labs": TABLE}, targets)


def _followed(rows: int, seed: int) -> pl.DataFrame:
    """Stays with a time in days until death (1), discharge (2) or the end of follow-up (0)."""
    frame = _cohort(rows, seed)
    random = np.random.default_rng(seed + 1)
    risk = 0.8 * frame["lactate"].fill_null(2.4).to_numpy() + 0.8 * (frame["ward"] == "surgical").to_numpy()
    dies, home, leaves = random.exponential(60 * np.exp(1 - risk)), random.exponential(25, rows), random.exponential(60, rows)  # fmt: skip
    days = np.minimum(np.minimum(dies, home), leaves)
    fate = np.where(leaves == days, 0, np.where(dies == days, 1, 2))
    return frame.with_columns(days=pl.Series(np.ceil(days)), fate=pl.Series(fate))


def survive_proportional(folder: Path) -> Study:
    """Proportional hazards of an ensemble, with numbers embedded by quantiles."""
    _followed(240, 11).write_csv(folder / "cohort.csv")
    labs = {**TABLE, "encoder": "tabm", "members": 3, "numeric": "piecewise", "bins": 4}
    followed = {"task": "survive", "time": "days", "event": "fate", "censored_values": [0, 2]}
    return _study(folder, {"labs": labs}, {"death": {**followed, "hazards": "proportional", "bins": 8}})


def survive_competing(folder: Path) -> Study:
    """Death in hospital where discharge comes first for many; hazards free, and proportional."""
    _followed(300, 13).write_csv(folder / "cohort.csv")
    followed = {"task": "survive", "time": "days", "event": "fate", "competing_values": [2], "bins": 6}
    targets = {"death": followed, "early": {**followed, "horizons": [5, 10], "hazards": "proportional"}}
    return _study(folder, {"labs": TABLE}, targets)


def classify_ordered(folder: Path) -> Study:
    """Classes with an order, plain and weighted."""
    _cohort(240, 15).write_csv(folder / "cohort.csv")
    severity = {"task": "classify", "column": "severity", "order": ["mild", "moderate", "severe"]}
    return _study(folder, {"labs": TABLE}, {"severity": severity, "again": {**severity, "class_weights": "balanced"}})


def classify_focal_noise(folder: Path) -> Study:
    """Focal loss and label noise, of two classes, of three and of labels with gaps."""
    _cohort(240, 17).write_csv(folder / "cohort.csv")
    noisy = {"task": "classify", "loss": "focal", "label_noise": 0.1}
    targets = {
        "death": {**noisy, "column": "died", "class_weights": "balanced"},
        "severity": {**noisy, "column": "severity", "focal_gamma": 1.0},
        "labels": {**noisy, "columns": ["died", "sepsis"]},
    }
    return _study(folder, {"labs": TABLE}, targets)


def table_folds(folder: Path) -> Study:
    """Cross-validation, and a network trained on all rows afterwards."""
    _cohort(120, 5).write_csv(folder / "cohort.csv")
    targets = {"death": {"task": "classify", "column": "died"}}
    return _study(folder, {"labs": TABLE}, targets, split={"folds": 3, "valid": 0.15, "calibrate": 0.15})


def _weekly(series: int, weeks: int, seed: int) -> pl.DataFrame:
    """Weekly counts of wards with a season, a covariate that leads them by two weeks, and gaps."""
    random = np.random.default_rng(seed)
    week = np.arange(weeks)
    warm = 10 + 8 * np.sin(2 * np.pi * week / 26) + random.normal(0, 2, weeks)
    day = np.datetime64("2020-01-06") + 7 * week
    parts = []
    for place in range(series):
        rate = np.exp(1.5 + 0.3 * place + 0.08 * np.roll(warm, 2))
        parts.append(
            pl.DataFrame(
                {
                    "ward": [f"ward {place}"] * weeks,
                    "week": day.astype(str),
                    "cases": random.poisson(rate),
                    "warm": warm.round(2),
                    "holiday": (week % 13 == 0).astype(int),
                }
            )
        )
    table = pl.concat(parts)
    hole = pl.Series(random.random(len(table)) < 0.03)
    return table.with_columns(pl.when(~hole).then(pl.col("cases")).alias("cases"))


def forecast_panel(folder: Path) -> Study:
    """Rows made of weekly series with a covariate; two horizons, judged by the latest dates."""
    _weekly(4, 60, 19).write_csv(folder / "cohort.csv")
    panel = {
        "series": "ward", "time": "week", "value": "cases", "horizons": 2, "lags": 3, "means": [3], "season": 26,
        "covariates": ["warm"], "covariate_lags": [1, 2], "end": "2021-02-08", "known_ahead": ["holiday"],
    }  # fmt: skip
    cohort = {"table": "cohort.csv", "row": "stay", "panel": panel, "site": "ward"}
    inputs = {"past": {"modality": "table", "at": "newest", "encoder": "mlp", "hidden": [16, 8]}}
    asked = {
        "task": "forecast", "horizons": 2, "season": "last_season_", "day_of_year": "day_of_year", "series": "ward",
        "quantiles": [0.1, 0.5, 0.9],
    }  # fmt: skip
    split = {"by": "time", "valid": 0.2, "calibrate": 0.2}
    return _study(folder, inputs, {"cases": asked}, cohort=cohort, split=split)


def visits(folder: Path, patients: int, seed: int) -> None:
    """A store of visits with a value, an illness that the value foretells, and the end of each record."""
    random = np.random.default_rng(seed)
    who, level = np.arange(patients), random.normal(0, 1, patients)
    each = np.repeat(who, random.integers(1, 5, patients))
    when = random.integers(0, 4_000, len(each)) / 100
    onset = random.exponential(40 / np.exp(0.8 * level), patients).round(2)
    ill = who[onset < 55]
    kinds = (
        (each, when, "visit", np.full(len(each), np.nan)),
        (each, when - 0.01, "lab", (5 + level[each] + random.normal(0, 0.5, len(each))).round(2)),
        (ill, onset[ill], "ICD10//I21.4", np.full(len(ill), np.nan)),
        (who, random.uniform(45, 60, patients).round(2), "end", np.full(patients, np.nan)),
        (who, np.full(patients, np.nan), "age", random.integers(20, 90, patients).astype(float)),
    )
    frames = [
        pl.DataFrame(
            {"patient": [f"p{n:04d}" for n in one.tolist()], "time": ticks(time), "code": [code] * len(one), "value": value}
        )
        for one, time, code, value in kinds
    ]  # fmt: skip
    write_store(folder, pl.concat(frames), "number", {}, {})


WINDOWS = {
    "store": "events/",
    "sets": {"visit": "visit", "lab": "lab", "ill": "icd10:I20-I25", "end": "end", "age": "age"},
    "index": {"at": "visit"},
    "observed_until": "end",
    "exclude": [{"name": "ill already", "of": "ill", "window": "(-inf, 0)"}],
    "columns": {
        "lab": {"of": "lab", "window": "[-9, 0)", "take": "last"},
        "age": {"of": "age", "window": "(-inf, 0)", "take": "last"},
    },
    "outcomes": {
        "soon": {"of": "ill", "window": "(0, 15]"},
        "illness": {"of": "ill", "window": "(0, inf)", "take": "time"},
    },
}


def cohort_of_events(folder: Path) -> Study:
    """Rows, columns and answers made of a store that an input reads as well; windows without an answer."""
    visits(folder / "events", 160, 21)
    inputs = {
        "summary": {**TABLE, "columns": {"lab": {"kind": "numeric"}, "age": {"kind": "numeric"}}},
        "record": {"modality": "events", "table": "events/", "last": 8, "width": 16},
    }
    targets = {
        "soon": {"task": "classify", "column": "soon"},
        "illness": {"task": "survive", "time": "illness_time", "event": "illness_event", "bins": 6},
    }
    return _study(folder, inputs, targets, cohort={"events": WINDOWS})


_MADE = (
    table_binary,
    table_stacked,
    table_several,
    table_ensemble,
    table_codes,
    table_transformer,
    events_binary,
    events_sequences,
    events_bins,
    image_segment_2d,
    image_segment_3d,
    image_dicom_resampled,
    signal_windows,
    signal_and_table,
    regress_numbers,
    survive_table,
    survive_proportional,
    survive_competing,
    classify_ordered,
    classify_focal_noise,
    table_folds,
    cohort_of_events,
    forecast_panel,
)
CASES: dict[str, Callable[[Path], Study]] = {made.__name__: made for made in _MADE}
