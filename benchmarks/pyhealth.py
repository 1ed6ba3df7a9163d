"""The same data set, question and network in PyHealth: time and peak memory from the files to the figure.

Needs no data. PyHealth wants other versions of its libraries than medloom: it runs in an environment of its own, whose
interpreter MEDLOOM_PYHEALTH names (`python3.12 -m venv x && x/bin/pip install pyhealth==2.1.0`). Where it names none, there
are no results. A data set in the layout of MEDS is made up: stays of many codes, of which a few tell who dies. Both read
it, take each stay's first 48 hours, and train a GRU on codes over the same patients, epochs and batches; both processes
compute in one thread.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
from pathlib import Path

import numpy as np
import polars as pl

from benchmarks.result import Result

ID = "pyhealth"
STAYS, CODES, TELLING = 4_000, 300, 20
EPOCHS, BATCH, WIDTH = 4, 64, 64
FOLDS = ("train",) * 6 + ("valid", "calibrate", "test", "test")
"""The part of a stay, by the last digit of its patient."""

THEIRS = """
import json, sys
from pathlib import Path
import torch
torch.set_num_threads(1)
import pyhealth.datasets.configs as configs
from pyhealth.datasets import MEDSDataset, get_dataloader
from pyhealth.models import RNN
from pyhealth.tasks import InHospitalMortalityMEDS
from pyhealth.trainer import Trainer
def main():
    root, cache, epochs, batch, width = sys.argv[1], sys.argv[2], *map(int, sys.argv[3:6])
    config = str(Path(configs.__file__).parent / "meds_with_hadm.yaml")
    data = MEDSDataset(root=root, config_path=config, cache_dir=cache)
    samples = data.set_task(InHospitalMortalityMEDS(observation_window="first_hours"))
    parts = {}
    for patient, places in samples.patient_to_index.items():
        parts.setdefault(json.loads(sys.argv[6])[int(patient) % 10], []).extend(places)
    load = {name: get_dataloader(samples.subset(places), batch_size=batch, shuffle=name == "train") for name, places in parts.items()}
    trainer = Trainer(model=RNN(dataset=samples, embedding_dim=width, hidden_dim=width), metrics=["roc_auc"], device="cpu", enable_logging=False)
    trainer.train(load["train"], load["valid"], epochs=epochs, monitor="roc_auc", optimizer_params={"lr": 2e-3})
    print(json.dumps({"rows": len(samples), "auroc": float(trainer.evaluate(load["test"])["roc_auc"])}))
if __name__ == "__main__":
    main()
"""
OURS = """
import json, sys
import torch
torch.set_num_threads(1)
from pathlib import Path
from medloom.ingest.door import ingest
from medloom.run import fit
from medloom.study import read
folder = Path(sys.argv[1])
ingest(folder / "meds", folder / "store")
run = fit(read(folder / "study.toml"), folder / "run")
target = run.metrics["targets"]["death"]
print(json.dumps({"rows": sum(part["rows"] for part in run.metrics["counts"]["parts"].values()), "auroc": target["model"]["auroc"]["value"]}))
"""
STUDY = f"""
name = "meds"
[cohort.events]
store = "store/"
observed_until = "last event"
[cohort.events.sets]
admission = "HOSPITAL_ADMISSION//*"
discharge = "HOSPITAL_DISCHARGE//*"
died = "HOSPITAL_DISCHARGE//DIED"
[cohort.events.index]
at = "admission"
after = "48h"
until = "discharge"
[cohort.events.outcomes.dies]
of = "died"
window = "[0, discharge]"
[cohort.join.folds]
table = "folds.csv"
on = "patient"
[inputs.course]
modality = "events"
table = "store/"
encoder = "gru"
statistics = false
width = {WIDTH}
[targets.death]
task = "classify"
column = "dies"
[split]
by = "column"
column = "fold"
[train]
epochs = {EPOCHS}
batch = {BATCH}
evaluations = {EPOCHS}
threads = 1
[evaluate]
baselines = false
"""


def run(data: Path | None) -> list[Result]:
    """Times and memory of both, and their figures on the same patients."""
    interpreter = os.environ.get("MEDLOOM_PYHEALTH")
    if not interpreter:
        return []
    with tempfile.TemporaryDirectory(prefix="medloom-bench-") as name:
        folder = Path(name)
        events = made(folder)
        words = (str(folder / "cache"), *map(str, (EPOCHS, BATCH, WIDTH)), json.dumps(FOLDS))
        theirs = timed(interpreter, THEIRS, folder, str(folder / "meds"), *words)
        ours = timed(sys.executable, OURS, folder, str(folder))
    rows = f"{ours['rows']:.0f} stays of ours, {theirs['rows']:.0f} of theirs"
    split = f"{events:,} events of {STAYS:,} made-up stays ({rows}); GRU of width {WIDTH}, {EPOCHS} epochs, one thread"
    beside = f"AUROC on the same test patients {ours['auroc']:.3f}, PyHealth {theirs['auroc']:.3f}"
    return [
        Result(ID, "times as fast, from files to figure", theirs["seconds"] / ours["seconds"], True, split, baseline=f"PyHealth {theirs['seconds']:.0f} s, ours {ours['seconds']:.0f} s with audit, report and bundle", difference=beside),
        Result(ID, "share of the peak memory", ours["peak_mb"] / theirs["peak_mb"], False, split, baseline=f"PyHealth {theirs['peak_mb']:,.0f} MB in its largest process, ours {ours['peak_mb']:,.0f} MB"),
    ]  # fmt: skip


def timed(interpreter: str, code: str, folder: Path, *words: str) -> dict[str, float]:
    """What a program prints last, with its seconds and the peak memory of its largest process, imports included."""
    script = folder / "child.py"
    script.write_text(code, encoding="utf-8")
    watch = (
        "import json, resource, subprocess, sys, time\n"
        "start = time.perf_counter()\n"
        "done = subprocess.run(sys.argv[1:], capture_output=True, text=True)\n"
        "seconds = time.perf_counter() - start\n"
        "sys.stderr.write(done.stderr[-4000:])\n"
        "peak = resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss / 1024\n"
        "print(json.dumps({'seconds': seconds, 'peak_mb': peak, **json.loads(done.stdout.splitlines()[-1])}))\n"
    )
    # Neither is to see the libraries of the other.
    environment = {name: value for name, value in os.environ.items() if name != "PYTHONPATH" or code is OURS}
    done = subprocess.run(
        [sys.executable, "-c", watch, interpreter, str(script), *words],
        capture_output=True, text=True, env={**environment, "OMP_NUM_THREADS": "1"},
    )  # fmt: skip
    if done.returncode:
        raise RuntimeError(f"{interpreter} stopped: {done.stderr[-2000:]}")
    found: dict[str, float] = json.loads(done.stdout.splitlines()[-1])
    return found


def made(folder: Path) -> int:
    """Writes a data set in MEDS's layout, the study and the folds; how many events there are."""
    random = np.random.default_rng(0)
    frame = events(random)
    file = folder / "meds" / "data" / "train" / "0.parquet"
    file.parent.mkdir(parents=True)
    frame.write_parquet(file)
    who = frame["subject_id"].unique().sort()
    about = folder / "meds" / "metadata"
    about.mkdir()
    (about / "dataset.json").write_text(json.dumps({"dataset_name": "made up", "meds_version": "0.4.0"}))
    pl.DataFrame({"subject_id": who, "split": ["train"] * len(who)}).write_parquet(about / "subject_splits.parquet")
    known = frame["code"].unique().sort()
    pl.DataFrame({"code": known, "description": known, "parent_codes": [[""]] * len(known)}).write_parquet(
        about / "codes.parquet"
    )
    parts = pl.DataFrame({"patient": who, "fold": [FOLDS[number % 10] for number in who.to_list()]})
    parts.write_csv(folder / "folds.csv")
    (folder / "study.toml").write_text(STUDY, encoding="utf-8")
    return len(frame)


def events(random: np.random.Generator) -> pl.DataFrame:
    """A stay for each patient: codes through two to ten days, some of them more often in those who die."""
    sick = random.normal(size=STAYS)
    hours = random.uniform(50, 240, STAYS)
    begin = random.integers(1_420_070_400, 1_577_836_800, STAYS).astype(float)
    number = random.poisson(1.2 * hours)
    of = np.repeat(np.arange(STAYS), number)
    at = random.uniform(0, 1, len(of)) * hours[of] * 3600
    telling = random.random(len(of)) < 0.3 / (1 + np.exp(-sick[of]))
    code = np.where(telling, random.integers(0, TELLING, len(of)), random.integers(TELLING, CODES, len(of)))
    dies = random.random(STAYS) < 1 / (1 + np.exp(2.2 - 1.3 * sick))
    every = np.arange(STAYS)
    parts = [
        (every, begin, ["HOSPITAL_ADMISSION//WARD"] * STAYS),
        (of, begin[of] + at, [f"CODE//{one:03}" for one in code.tolist()]),
        (every, begin + hours * 3600, [f"HOSPITAL_DISCHARGE//{'DIED' if one else 'HOME'}" for one in dies.tolist()]),
    ]
    frames = [
        pl.DataFrame(
            {
                "subject_id": who + 1,
                "time": pl.Series((when * 1e6).round().astype(np.int64)).cast(pl.Datetime("us")),
                "code": codes,
                "numeric_value": pl.Series([None] * len(codes), dtype=pl.Float32),
                "hadm_id": who + 1,
            }
        )
        for who, when, codes in parts
    ]
    return pl.concat(frames).sort("subject_id", "time")
