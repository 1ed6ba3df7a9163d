"""Where a network computes, and how precisely."""

from __future__ import annotations

from dataclasses import dataclass

import torch

from medloom import machine
from medloom.batch import Output
from medloom.errors import StudyError
from medloom.parts import TrainPart
from medloom.training.distributed import Ranks


@dataclass(frozen=True, slots=True)
class Place:
    """The device, and whether products are computed in bfloat16. Weights, losses and optimiser stay in float32."""

    device: torch.device
    bfloat16: bool = False

    def __str__(self) -> str:
        return f"on {self.device}, products in {'bfloat16' if self.bfloat16 else 'float32'}"

    def seed(self, value: int) -> None:
        """Seeds what draws dropout here."""
        torch.default_generator.manual_seed(value)
        if self.device.type == "cuda":
            torch.cuda.default_generators[self.device.index].manual_seed(value)

    @property
    def memory_bytes(self) -> int:
        """Memory of the device; on a CPU all processes share it."""
        if self.device.type == "cuda":
            return int(torch.cuda.get_device_properties(self.device).total_memory)
        return machine.memory_bytes()

    @property
    def generators(self) -> list[torch.device]:
        """Devices whose generators a training seeds, beside the CPU."""
        return [self.device] if self.device.type == "cuda" else []


CPU = Place(torch.device("cpu"))


def choose(part: TrainPart, ranks: Ranks) -> Place:
    """The place that the study asks for, one GPU a process. Raises StudyError where there is none."""
    gpus = torch.cuda.device_count() if torch.cuda.is_available() else 0
    if part.device == "cpu" or (part.device == "auto" and not gpus):
        return Place(CPU.device, part.precision == "bfloat16")
    if not gpus:
        raise StudyError(
            'train.device = "cuda": this build of torch finds no GPU; install one that does, or give train.device = "cpu"'
        )
    if ranks.local_count > gpus:
        raise StudyError(
            f"found {ranks.local_count} processes on a machine with {gpus} GPUs; "
            f'start {gpus}, or give train.device = "cpu"'
        )
    device = torch.device("cuda", ranks.local)
    torch.cuda.set_device(device)
    return Place(device, part.precision == "bfloat16" or (part.precision == "auto" and torch.cuda.is_bf16_supported()))


def in_float32(output: Output) -> Output:
    """The output in float32, for losses."""
    return {name: tensor.float() if tensor.is_floating_point() else tensor for name, tensor in output.items()}
