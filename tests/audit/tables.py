"""Small tables for tests of the audit."""

from __future__ import annotations

from typing import Any

import numpy as np
import polars as pl

from medloom.audit.evidence import Evidence
from medloom.audit.gather import gather
from medloom.prepare import prepare, read
from medloom.study import make


def honest(rows: int = 400, seed: int = 0) -> pl.DataFrame:
    """Four measured numbers and a word, of which two tell the answer in part."""
    random = np.random.default_rng(seed)
    values = random.normal(size=(rows, 4))
    logit = 1.2 * values[:, 0] - 0.8 * values[:, 1] - 0.6
    frame = pl.DataFrame({f"x{i}": values[:, i] for i in range(4)})
    ward = random.choice(["medical", "surgical", "cardiac"], rows)
    died = (random.random(rows) < 1 / (1 + np.exp(-logit))).astype(int)
    return frame.with_columns(ward=pl.Series(ward), died=pl.Series(died))


def evidence(frame: pl.DataFrame, cohort: dict[str, Any] | None = None, **parts: Any) -> Evidence:
    """What the audit looks at, of a table with the answer `died`."""
    study = make(
        {
            "name": "audit",
            "cohort": cohort or {"independent_rows": True},
            "inputs": {"table": {"modality": "table", "known_before_index": True, **parts.pop("table", {})}},
            "targets": parts.pop("targets", {"death": {"task": "classify", "column": "died"}}),
            **parts,
        }
    )
    return gather(prepare(*read(study, frame)))
