"""The tutorial of the notebook runs, cell after cell, with fewer epochs."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import numpy as np
import pytest

PAGE = Path(__file__).resolve().parents[2] / "docs" / "tutorials" / "notebook.md"


def test_every_cell_runs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    cells = re.findall(r"```python\n(.*?)```", PAGE.read_text(encoding="utf-8"), re.DOTALL)
    assert len(cells) >= 8
    held: dict[str, Any] = {}
    for cell in cells:
        exec(compile(re.sub(r"epochs=\d+", "epochs=4", cell), str(PAGE), "exec"), held)  # noqa: S102
    assert held["judged"].run_.metrics["targets"]["answer"]["model"]["auroc"]["value"] > 0.9
    assert (tmp_path / "run" / "study.toml").exists()
    risk = held["survival"].predict_risk(held["pd"].DataFrame({"age": [50.0, 70.0]}), [6, 12])
    assert (risk[1] > risk[0]).all() and np.isfinite(risk).all()
