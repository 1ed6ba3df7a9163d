"""The network of a study: an encoder for each input, fusion, a head for each target."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Literal, cast

import torch
from jaxtyping import Float
from torch import Tensor, nn

from medloom.batch import Encoded, Field, Gives, Output, Seen
from medloom.draw import seed_of
from medloom.errors import StudyError
from medloom.modality import Modality
from medloom.study import ModelPart
from medloom.task import Task


class Fusion(nn.Module):
    """Encoded inputs side by side, a learnt vector in place of an absent one, then the hidden layers if any."""

    def __init__(self, widths: Mapping[str, int], hidden: tuple[int, ...] | Literal["auto"], dropout: float) -> None:
        super().__init__()
        self.absent = nn.ModuleDict({f"input_{name}": nn.Embedding(1, width) for name, width in widths.items()})
        sizes = ((64,) if len(widths) > 1 else ()) if hidden == "auto" else hidden
        width = sum(widths.values())
        layers: list[nn.Module] = []
        for size in sizes:
            layers += [nn.Linear(width, size), nn.LayerNorm(size), nn.ReLU()]
            layers += [nn.Dropout(dropout)] if dropout else []
            width = size
        self.layers = nn.Sequential(*layers)
        self.width = width

    def forward(self, encoded: Mapping[str, Encoded], inputs: Mapping[str, Field]) -> Float[Tensor, "batch width"]:
        parts = []
        for name, one in encoded.items():
            vector = self.absent[f"input_{name}"].weight
            parts.append(torch.where(inputs[name].present[:, None], one.pooled, vector))  # type: ignore[arg-type]
        fused: Float[Tensor, "batch width"] = self.layers(torch.cat(parts, dim=1) if len(parts) > 1 else parts[0])
        return fused


class Network(nn.Module):
    """Inputs → one output for each target. Every encoder runs for every row; absent rows are replaced in fusion."""

    def __init__(self, modalities: Mapping[str, Modality], tasks: Mapping[str, Task], part: ModelPart) -> None:
        super().__init__()
        encoders = {name: modality.encoder() for name, modality in modalities.items()}
        self.gives: dict[str, Gives] = {name: cast(Gives, encoder.gives) for name, encoder in encoders.items()}
        self.encoders = nn.ModuleDict({f"input_{name}": encoder for name, encoder in encoders.items()})
        widths = {name: gives.width for name, gives in self.gives.items()}
        self.fusion = Fusion(widths, part.hidden, part.dropout)
        self._check_needs(tasks)
        heads = {name: task.head(self.gives, self.fusion.width) for name, task in tasks.items()}
        self.heads = nn.ModuleDict({f"target_{name}": head for name, head in heads.items()})

    def _check_needs(self, tasks: Mapping[str, Task]) -> None:
        for name, task in tasks.items():
            ground = str(getattr(task.options, "input", ""))  # type: ignore[attr-defined]
            if task.needs == "finer" and not self.gives[ground].levels:
                raise StudyError(
                    f"targets.{name}: input {ground!r} has no finer maps to lay an answer on; it needs an image"
                )
            if task.needs == "tokens" and not self.gives[ground].features:
                raise StudyError(f"targets.{name}: input {ground!r} has no positions to answer for")

    def forward(self, inputs: Mapping[str, Field]) -> dict[str, Output]:
        encoded = {}
        for name, field in inputs.items():
            one = self.encoders[f"input_{name}"](field)
            encoded[name] = one if field.index is None else one.take(field.index)
        seen = Seen(self.fusion(encoded, inputs), encoded, inputs)
        return {name.removeprefix("target_"): head(seen) for name, head in self.heads.items()}

    @property
    def on_grids(self) -> bool:
        """Whether any input is a grid, for which several threads pay."""
        return any(gives.dims > 0 for gives in self.gives.values())


def assemble(modalities: Mapping[str, Modality], tasks: Mapping[str, Task], part: ModelPart, seed: int) -> Network:
    """A new network whose first weights are a function of the seed; the caller's generator is left as it was."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed_of(seed, "weights"))
        return Network(modalities, tasks, part)


def parameters(network: nn.Module) -> int:
    """Number of trainable numbers."""
    return sum(p.numel() for p in network.parameters() if p.requires_grad)
