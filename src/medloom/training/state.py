"""Checkpoints: tensors in one safetensors file, the rest as JSON in its header, replaced atomically."""

from __future__ import annotations

import json
import os
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file
from torch import Tensor, nn

from medloom.errors import DataError
from medloom.fitted import below
from medloom.training.averaging import Averaged


@dataclass(slots=True)
class Progress:
    """Where a training stands after `step` steps: all that the next step depends on besides weights and optimiser."""

    step: int = 0
    best_loss: float | None = None
    best_step: int = 0
    scorings_since: int = 0
    stopped: bool = False
    train_loss: float = 0.0
    train_steps: int = 0
    history: list[dict[str, float | int]] = field(default_factory=list)


def save(
    path: Path,
    network: nn.Module,
    best: Mapping[str, Tensor] | None,
    optimizer: torch.optim.Optimizer,
    progress: Progress,
    averaged: Averaged | None = None,
) -> None:
    """Writes a checkpoint beside the old one, flushes it, and renames it into place."""
    tensors = {f"weights/{name}": tensor for name, tensor in network.state_dict().items()}
    tensors |= {f"best/{name}": tensor for name, tensor in (best or {}).items()}
    tensors |= {f"averaged/{name}": tensor for name, tensor in (averaged.weights if averaged else {}).items()}
    for index, state in optimizer.state_dict()["state"].items():
        tensors |= {f"optimizer/{index}/{name}": t for name, t in state.items() if isinstance(t, Tensor)}
    described = {"progress": json.dumps({name: getattr(progress, name) for name in Progress.__slots__})}
    partial = path.with_suffix(".partial")
    save_file({name: tensor.detach().contiguous() for name, tensor in tensors.items()}, partial, described)
    with open(partial, "rb") as handle:
        os.fsync(handle.fileno())
    partial.replace(path)


def load(
    path: Path, network: nn.Module, optimizer: torch.optim.Optimizer, averaged: Averaged | None = None
) -> tuple[Progress, dict[str, Tensor] | None]:
    """Restores network, optimiser and average in place; returns the progress and the best weights. Raises DataError."""
    try:
        with safe_open(path, framework="pt") as handle:
            progress = Progress(**json.loads(handle.metadata()["progress"]))
            tensors = {name: handle.get_tensor(name) for name in handle.keys()}
        network.load_state_dict(below(tensors, "weights/"))
        if averaged is not None:
            averaged.restore(below(tensors, "averaged/"))
    except (SafetensorError, KeyError, TypeError, ValueError, RuntimeError) as error:
        raise DataError(f"{path}: the checkpoint does not fit this study; train into an empty folder") from error
    state: dict[int, dict[str, Any]] = {}
    for name, tensor in below(tensors, "optimizer/").items():
        index, key = name.split("/", 1)
        state.setdefault(int(index), {})[key] = tensor
    optimizer.load_state_dict({"state": state, "param_groups": optimizer.state_dict()["param_groups"]})
    best = below(tensors, "best/")
    return progress, best or None
