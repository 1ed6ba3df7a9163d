"""Networks over a grid of time bins: the newest value of each frequent code, whether and how often it was measured.

Source: Che et al., "Recurrent neural networks for multivariate time series with missing values", Scientific Reports 8,
2018 (masks, time since the last value, and decay: equations 8 to 14).
"""

from __future__ import annotations

import torch
from jaxtyping import Float
from torch import Tensor, nn

from medloom.batch import Field
from medloom.modalities.events.encoders.sequence import Causal, Over, mean_and_last
from medloom.modalities.events.options import EventsOptions


def all_bins(field: Field) -> Tensor:
    """Every bin is valid: a bin in which nothing was measured says something too."""
    return torch.ones(field.value.shape[:2], dtype=torch.bool, device=field.value.device)


class Binned(nn.Module):
    """A GRU or causal convolutions over the bins; tokens are its states after each bin."""

    def __init__(self, options: EventsOptions, slots: int) -> None:
        super().__init__()
        width, layers = options.width, options.the("layers")
        self.dropout = nn.Dropout(options.dropout)
        self.widen = nn.Linear(3 * slots, width)
        if options.the("over") == "gru":
            inner = options.dropout if layers > 1 else 0.0
            self.over: nn.Module = nn.GRU(width, width, layers, batch_first=True, dropout=inner)
        else:
            self.over = nn.Sequential(
                *(Causal(width, options.the("kernel"), 2**level, options.dropout) for level in range(layers))
            )
        self.pool = nn.Linear(2 * width, width)

    def forward(self, field: Field) -> Over:
        seen = torch.cat([field.value, field.extra["count"], field.extra["since"]], dim=2)
        read = self.over(torch.relu(self.widen(self.dropout(seen))))
        tokens = read[0] if isinstance(read, tuple) else read
        valid = all_bins(field)
        return self.pool(mean_and_last(tokens, valid)), tokens, valid


class Measured(nn.Module):
    """Whether anything was measured in a bin: 1 or 0. By itself, so that its share in an answer can be told."""

    def forward(self, count: Float[Tensor, "batch bins slots"]) -> Float[Tensor, "batch bins slots"]:
        return (count > 0).to(count.dtype)


class Decaying(nn.Module):
    """A GRU whose memory, and whose newest values, fade with the time since they were measured."""

    def __init__(self, options: EventsOptions, slots: int) -> None:
        super().__init__()
        width = options.width
        self.dropout = nn.Dropout(options.dropout)
        self.value_rate = nn.Parameter(torch.zeros(slots))
        self.value_base = nn.Parameter(torch.zeros(slots))
        self.memory_rate = nn.Linear(slots, width)
        self.measured = Measured()
        self.cell = nn.GRUCell(2 * slots, width)
        self.pool = nn.Linear(2 * width, width)

    def forward(self, field: Field) -> Over:
        measured, since = self.measured(field.extra["count"]), field.extra["since"]
        # Equation 11: values fade to the centre of the code, which scaling made 0.
        fade = torch.exp(-torch.relu(since * self.value_rate + self.value_base))
        value = measured * field.value + (1 - measured) * fade * field.value
        inputs = self.dropout(torch.cat([value, measured], dim=2))
        memory_fade = torch.exp(-torch.relu(self.memory_rate(since)))
        memory: Float[Tensor, "batch width"] = inputs.new_zeros(len(inputs), self.cell.hidden_size)
        states = []
        for now, faded in zip(inputs.unbind(1), memory_fade.unbind(1), strict=True):
            memory = self.cell(now, faded * memory)
            states.append(memory)
        tokens, valid = torch.stack(states, dim=1), all_bins(field)
        return self.pool(mean_and_last(tokens, valid)), tokens, valid
