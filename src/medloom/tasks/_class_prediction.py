"""What a classification answers: probabilities, decisions, sets of classes, and which rows are left to a person."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from medloom.task import Prediction
from medloom.tasks._class_options import Kind


@dataclass(frozen=True, slots=True)
class ClassPrediction(Prediction):
    """Calibrated probabilities and decisions: `probability` is [rows] for two classes, else [rows, classes].

    `inside` [rows, classes] says which classes are in the set of each row, `own_group` whose set has the limit of the
    row's own group, `left` which rows are left to a person; None where the study does not ask.
    """

    kind: Kind
    classes: tuple[str, ...]
    probability: np.ndarray
    decision: np.ndarray
    inside: np.ndarray | None = None
    own_group: np.ndarray | None = None
    left: np.ndarray | None = None

    def __len__(self) -> int:
        return len(self.decision)

    def columns(self) -> Mapping[str, Any]:
        return {**self._answers(), **self._beside()}

    def _answers(self) -> dict[str, Any]:
        names = np.array(self.classes, dtype=object)
        if self.kind == "binary":
            return {"": names[self.decision], "probability": self.probability}
        each = {f"probability_{name}": self.probability[:, i] for i, name in enumerate(self.classes)}
        if self.kind == "multiclass":
            return {"": names[self.decision], **each}
        return {**{name: self.decision[:, i] for i, name in enumerate(self.classes)}, **each}

    def _beside(self) -> dict[str, Any]:
        """The set of each row as text, what its limit is from, and whether the row is left to a person."""
        found: dict[str, Any] = {}
        if self.inside is not None:
            sets = ["; ".join(np.array(self.classes, dtype=object)[row]) for row in self.inside]
            found["set"] = np.array(sets, dtype=object)
        if self.own_group is not None:
            found["set_basis"] = np.array(["own group" if own else "all rows" for own in self.own_group], dtype=object)
        return found if self.left is None else {**found, "left_to_person": self.left}
