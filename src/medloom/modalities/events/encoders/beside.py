"""The whole encoder: a network over the course of time, and one over summary statistics beside it."""

from __future__ import annotations

import torch
from jaxtyping import Float
from torch import Tensor, nn

from medloom.batch import Encoded, Field, Gives
from medloom.modalities.events.options import EventsOptions

KNOTS = (-2.0, -1.0, 0.0, 1.0, 2.0)
"""Scaled numbers bend at these places, so that a first layer can tell low, usual and high apart."""


class Statistics(nn.Module):
    """Fully connected layers over scaled statistics, each number split at `KNOTS`, and whether it is known."""

    def __init__(self, numbers: int, width: int, layers: int, dropout: float) -> None:
        super().__init__()
        self.register_buffer("knots", torch.tensor(KNOTS), persistent=False)
        size = numbers * (len(KNOTS) + 2)
        parts: list[nn.Module] = []
        for _ in range(layers):
            parts += [nn.Linear(size, width), nn.LayerNorm(width), nn.ReLU(), nn.Dropout(dropout)]
            size = width
        self.layers = nn.Sequential(*parts)

    def forward(
        self, numbers: Float[Tensor, "batch numbers"], known: Float[Tensor, "batch numbers"]
    ) -> Float[Tensor, "batch width"]:
        """One vector a row. Each part of a number runs from 0 to 1 between two neighbouring knots."""
        knots: Tensor = self.knots  # type: ignore[assignment]
        inner = (numbers[..., None] - knots[:-1]).clamp(0, 1)
        low, high = (knots[0] - numbers).clamp(min=0), (numbers - knots[-1]).clamp(min=0)
        split = torch.cat([low[..., None], inner, high[..., None]], dim=-1) * known[..., None]
        whole: Float[Tensor, "batch width"] = self.layers(torch.cat([split.flatten(1), known], dim=1))
        return whole


class Beside(nn.Module):
    """`forward(Field) -> Encoded`: what the course of time and the statistics say, brought together in one layer."""

    def __init__(self, options: EventsOptions, over_time: nn.Module | None, numbers: int) -> None:
        super().__init__()
        width = options.width
        self.gives = Gives(width=width, features=0 if over_time is None else width)
        self.over_time = over_time
        layers = options.the("layers") if options.encoder == "statistics" else 1
        self.statistics = Statistics(numbers, width, layers, options.dropout) if options.statistics else None
        self.dropout = nn.Dropout(options.dropout)
        self.join = nn.Linear(2 * width, width) if over_time is not None and self.statistics is not None else None

    def forward(self, field: Field) -> Encoded:
        parts, tokens, valid = [], None, None
        if self.over_time is not None:
            pooled, tokens, valid = self.over_time(field)
            parts.append(self.dropout(pooled))
        if self.statistics is not None:
            parts.append(self.statistics(field.extra["statistics"], field.extra["known"]))
        whole = parts[0] if self.join is None else self.join(torch.cat(parts, dim=1))
        return Encoded(pooled=whole, tokens=tokens, valid=valid)
