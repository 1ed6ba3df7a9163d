"""Every case, prepared once for all contract tests, with a network that was trained a little."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import pytest

from medloom.model.assembly import Network, assemble
from medloom.prepare import Prepared, prepare, read
from medloom.run import Run, fit
from medloom.study import Study
from tests.cases import CASES


@dataclass(frozen=True)
class Case:
    """A study on its data, prepared, with a fresh network; `run` is a whole fit."""

    name: str
    folder: Path
    study: Study
    prepared: Prepared
    network: Network
    run: Run


@pytest.fixture(scope="session", params=list(CASES))
def case(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Case:
    folder = tmp_path_factory.mktemp(request.param)
    study = CASES[request.param](folder)
    prepared = prepare(*read(study))
    network = assemble(prepared.feed.modalities, prepared.feed.tasks, study.model, study.seed)
    return Case(request.param, folder, study, prepared, network.eval(), fit(study, folder / "run"))
