"""For all tests: one thread, shapes checked at run time, and Hypothesis the same on every machine."""

from __future__ import annotations

import os

os.environ["OMP_NUM_THREADS"] = "1"

import pytest
from hypothesis import HealthCheck, settings
from jaxtyping import install_import_hook

import tests.shapes  # noqa: F401  the hook below names it

# Annotations of these resolve at run time; in modality.py and the tasks, they stand behind TYPE_CHECKING.
CHECKED = ("batch", "packed", "draw", "statistics", "evaluation", "model", "training")
install_import_hook([f"medloom.{name}" for name in CHECKED], "tests.shapes.checked")

import torch

torch.set_num_threads(1)

settings.register_profile("medloom", deadline=None, derandomize=True, suppress_health_check=[HealthCheck.too_slow])
settings.load_profile("medloom")


@pytest.hookimpl(optionalhook=True)
def pytest_xdist_make_scheduler(config: pytest.Config, log: object) -> object:
    """Where several processes run the tests (-n), those of one contract case stay in one of them."""
    from tests.scheduling import CaseScheduling

    return CaseScheduling(config, log)
