"""First weights that come from elsewhere: what of them fits a new network, by name and shape, and what does not."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import torch
from torch import Tensor

from medloom.errors import counted
from medloom.model.assembly import Network


@dataclass(frozen=True, slots=True)
class Given:
    """Weights of a trained network by name, and which of its parts mean the same in a study.

    `inputs` and `targets` are those whose encoder and head may be taken; `fusion` says whether what lies between may.
    `name` is what they come from, for people.
    """

    name: str
    tensors: Mapping[str, Tensor]
    inputs: Sequence[str]
    targets: Sequence[str]
    fusion: bool

    def may(self, tensor: str) -> bool:
        """Whether a tensor of this name belongs to a part that means the same."""
        room, _, rest = tensor.partition(".")
        part = rest.partition(".")[0]
        if room == "encoders":
            return part.removeprefix("input_") in self.inputs
        if room == "heads":
            return part.removeprefix("target_") in self.targets
        return self.fusion


@dataclass(frozen=True, slots=True)
class Begun:
    """What a network began with: `inputs` whose encoders hold weights from elsewhere, and a sentence for each source."""

    inputs: tuple[str, ...] = ()
    told: tuple[str, ...] = ()
    left: tuple[str, ...] = field(default=())
    """Tensors of those encoders that were offered and did not fit, or that nothing was offered for."""

    def and_(self, other: Begun) -> Begun:
        """Both, one after the other."""
        return Begun(
            tuple(dict.fromkeys((*self.inputs, *other.inputs))), self.told + other.told, self.left + other.left
        )


def begin(network: Network, given: Given) -> Begun:
    """Copies into the network what fits by name and shape; everything else stays as it was drawn."""
    own = network.state_dict()
    may = {name: tensor for name, tensor in given.tensors.items() if given.may(name)}
    fits = {name: tensor for name, tensor in may.items() if name in own and own[name].shape == tensor.shape}
    with torch.no_grad():
        for name, tensor in fits.items():
            own[name].copy_(tensor)
    inputs = tuple(one for one in given.inputs if any(name.startswith(f"encoders.input_{one}.") for name in fits))
    encoders = tuple(f"encoders.input_{one}." for one in given.inputs)
    wanted = [name for name in own if name.startswith(encoders)]
    left = tuple(name for name in wanted if name not in fits)
    return Begun(inputs, (_sentence(given.name, fits, wanted, left),), left)


def _sentence(source: str, fits: Mapping[str, Tensor], wanted: Sequence[str], left: Sequence[str]) -> str:
    taken = [name for name in wanted if name in fits]
    numbers = sum(fits[name].numel() for name in taken)
    text = f"{source}: {len(taken)} of {counted(len(wanted), 'tensor')} of the encoders ({counted(numbers, 'number')})"
    beside = [room for room in ("fusion", "heads") if any(name.startswith(f"{room}.") for name in fits)]
    text += f", and what fits of {' and '.join(beside)}" if beside else ", fusion and heads are new"
    if left:
        shown = ", ".join(name.removeprefix("encoders.input_") for name in left[:5])
        text += f"; of another shape or name, so new: {shown}{' …' if len(left) > 5 else ''}"
    return text
