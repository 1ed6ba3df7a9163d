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
from medloom.parts import ModelPart
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

    def forward(
        self, encoded: Mapping[str, Encoded], inputs: Mapping[str, Field], member: int | None = None
    ) -> Float[Tensor, "batch width"]:
        """The fused vector; as one member of an ensemble sees it, where `member` says which."""
        parts = []
        for name, one in encoded.items():
            vector = self.absent[f"input_{name}"].weight
            pooled = one.pooled if member is None or one.members is None else one.members[:, member]
            parts.append(torch.where(inputs[name].present[:, None], pooled, vector))  # type: ignore[arg-type]
        fused: Float[Tensor, "batch width"] = self.layers(torch.cat(parts, dim=1) if len(parts) > 1 else parts[0])
        return fused


class Network(nn.Module):
    """Inputs → one output for each target. Every encoder runs for every row; absent rows are replaced in fusion.

    Where an encoder is an ensemble, every member has pooled heads of its own. Other heads (of positions, of maps) see
    the mean of the members.
    """

    def __init__(self, modalities: Mapping[str, Modality], tasks: Mapping[str, Task], part: ModelPart) -> None:
        super().__init__()
        encoders = {name: modality.encoder() for name, modality in modalities.items()}
        self.gives: dict[str, Gives] = {name: cast(Gives, encoder.gives) for name, encoder in encoders.items()}
        self.encoders = nn.ModuleDict({f"input_{name}": encoder for name, encoder in encoders.items()})
        widths = {name: gives.width for name, gives in self.gives.items()}
        self.fusion = Fusion(widths, part.hidden, part.dropout)
        self._check_needs(tasks)
        self.members = self._members()
        self.tasks = dict(tasks)
        self.heads = nn.ModuleDict({f"target_{name}": self._heads(task) for name, task in tasks.items()})

    def _members(self) -> int:
        """Members of the ensemble: those of every encoder that is one, so that member meets member."""
        several = {name: gives.members for name, gives in self.gives.items() if gives.members > 1}
        if len(set(several.values())) > 1:
            found = " and ".join(f"inputs.{name} {count}" for name, count in several.items())
            raise StudyError(f"found {found} members; expected as many in every input that is an ensemble")
        return max(several.values(), default=1)

    def _heads(self, task: Task) -> nn.Module:
        if task.needs != "pooled" or self.members == 1:
            return task.head(self.gives, self.fusion.width)
        return nn.ModuleList(task.head(self.gives, self.fusion.width) for _ in range(self.members))

    def _check_needs(self, tasks: Mapping[str, Task]) -> None:
        for name, task in tasks.items():
            ground = str(getattr(task.options, "input", ""))  # type: ignore[attr-defined]
            if task.needs == "finer" and not task.sees_inputs and not self.gives[ground].levels:
                raise StudyError(
                    f"targets.{name}: input {ground!r} has no finer maps to lay an answer on; it needs an image"
                )
            if task.needs == "tokens" and not self.gives[ground].features:
                raise StudyError(f"targets.{name}: input {ground!r} has no positions to answer for")

    def forward(
        self, inputs: Mapping[str, Field], only: str | None = None, known: Mapping[str, Encoded] | None = None
    ) -> dict[str, Output]:
        """One output for each target; where there are members, their predictions brought together by the task.

        `only` names the one target whose output is asked for; inputs that were encoded before are given as `known`.
        """
        return {
            name: parts[0] if len(parts) == 1 else self.tasks[name].combine(parts)
            for name, parts in self.apart(inputs, only, known).items()
        }

    def encoded(self, name: str, field: Field) -> Encoded:
        """One input after its encoder, row by row."""
        one: Encoded = self.encoders[f"input_{name}"](field)
        return one if field.index is None else one.take(field.index)

    def apart(
        self, inputs: Mapping[str, Field], only: str | None = None, known: Mapping[str, Encoded] | None = None
    ) -> dict[str, tuple[Output, ...]]:
        """Outputs of each target: one for each member of an ensemble, else one."""
        held = known or {}
        encoded = {name: held[name] if name in held else self.encoded(name, field) for name, field in inputs.items()}
        heads = {name: head for name, head in self.heads.items() if only in (None, name.removeprefix("target_"))}
        apart = {name for name, head in heads.items() if isinstance(head, nn.ModuleList)}
        members = range(self.members) if apart else ()
        each = [Seen(self.fusion(encoded, inputs, member), encoded, inputs) for member in members]
        whole = Seen(self.fusion(encoded, inputs), encoded, inputs) if len(apart) < len(heads) else None
        outputs = {}
        for name, head in heads.items():
            if name in apart:
                outputs[name] = tuple(one(seen) for one, seen in zip(head, each, strict=True))  # type: ignore[call-overload]
            else:
                outputs[name] = (head(whole),)
        return {name.removeprefix("target_"): parts for name, parts in outputs.items()}

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
