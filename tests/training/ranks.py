"""What each process of test_distributed.py runs: `ranks.py <what> <folder>`, started by torchrun."""

from __future__ import annotations

import copy
import json
import os
import signal
import sys
from pathlib import Path

import numpy as np
import torch

from medloom.errors import StudyError
from medloom.model.assembly import assemble
from medloom.parts import TrainPart
from medloom.prepare import prepare, read
from medloom.run import fit
from medloom.study import Study
from medloom.study import read as read_study
from medloom.training import distributed
from medloom.training.loop import Event, train
from medloom.training.plan import make_plan
from tests.cases import CASES

EQUAL = ("table_several", "table_ensemble", "regress_numbers", "survive_table", "events_sequences", "image_segment_2d")


def without_dropout(study: Study) -> Study:
    """The study with no dropout anywhere, as it differs between ranks."""
    inputs = {
        name: part.model_copy(update={"dropout": 0.0}) if hasattr(part, "dropout") else part
        for name, part in study.inputs.items()
    }
    return study.model_copy(update={"inputs": inputs}).within(study.folder)


def equal(folder: Path) -> dict[str, float]:
    """Largest difference of weights between training alone and together, by case; 15 rows do not divide evenly."""
    found = {}
    rank = os.environ["RANK"]
    for name in EQUAL:
        (folder / rank / name).mkdir(parents=True)
        prepared = prepare(*read(without_dropout(CASES[name](folder / rank / name))))
        study, feed, fold = prepared.study, prepared.feed, prepared.fold
        part = TrainPart(steps=9, batch=15, evaluations=3, micro_batch=5, device="cpu")
        weights = {target: one.loss_weight for target, one in study.targets.items()}
        network = assemble(feed.modalities, feed.tasks, study.model, 0)
        plan = make_plan(part, network, feed, fold.train, 0, weights)
        alone = copy.deepcopy(network)
        first = train(alone, feed, (fold.train, fold.valid), part, plan)
        if rank != "0":
            with torch.no_grad():
                next(network.parameters()).add_(1.0)
        with distributed.joined(part) as ranks:
            second = train(network, feed, (fold.train, fold.valid), part, plan)
            differences = [
                float((one.double() - two.double()).abs().max())
                for one, two in zip(alone.state_dict().values(), network.state_dict().values(), strict=True)
            ]
            lines = zip(first.history, second.history, strict=True)
            differences += [abs(one[key] - two[key]) for one, two in lines for key in one]
            found[name] = max(ranks.total([d if ranks.rank == r else 0.0 for r in range(2)])[1] for d in differences)
            found[name] = max(found[name], *differences)
    return found


def interrupted(folder: Path) -> dict[str, float]:
    """A fit that its second process is asked to stop; the command line says so with its exit code."""
    batch = distributed.Exchange.sum
    calls = 0

    def counted(exchange: distributed.Exchange, loss: torch.Tensor) -> torch.Tensor:
        nonlocal calls
        calls += 1
        if os.environ["RANK"] == "1" and calls == 7:
            signal.raise_signal(signal.SIGINT)
        return batch(exchange, loss)

    distributed.Exchange.sum = counted  # type: ignore[method-assign]
    from medloom.cli.watch import fit_watched

    fit_watched(read_study(folder / "study.toml"), folder / "run")
    return {}


def failing(folder: Path) -> dict[str, float]:
    """A fit whose first process fails in the middle: the second must end as well."""

    def fail(event: Event) -> None:
        if event.kind == "score":
            raise StudyError("the disk is full")

    fit(read_study(folder / "study.toml"), folder / "run", watch=fail)
    return {}


def different(folder: Path) -> dict[str, float]:
    """A fit whose processes were given different studies."""
    seed = f"seed={os.environ['RANK']}"
    fit(read_study(folder / "study.toml", [seed]), folder / "run")
    return {}


if __name__ == "__main__":
    torch.set_num_threads(1)
    np.seterr(all="raise", under="ignore")
    what = {"equal": equal, "interrupted": interrupted, "failing": failing, "different": different}[sys.argv[1]]
    result = what(Path(sys.argv[2]))
    if os.environ["RANK"] == "0":
        (Path(sys.argv[2]) / "found.json").write_text(json.dumps(result))
