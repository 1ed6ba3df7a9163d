"""A vector for each number of a row. What is missing gives zeros, so that its value is never seen."""

from __future__ import annotations

import math

import torch
from jaxtyping import Float
from torch import Tensor, nn

from medloom.modalities.table.options import TableOptions


class ColumnLinear(nn.Module):
    """A linear layer of its own for each column: `[batch, columns, inputs]` → `[batch, columns, width]`."""

    def __init__(self, columns: int, inputs: int, width: int) -> None:
        super().__init__()
        limit = 1 / math.sqrt(inputs)
        self.weight = nn.Parameter(torch.empty(columns, inputs, width).uniform_(-limit, limit))
        self.bias = nn.Parameter(torch.empty(columns, width).uniform_(-limit, limit))

    def forward(self, values: Float[Tensor, "batch columns inputs"]) -> Float[Tensor, "batch columns width"]:
        return torch.einsum("bci,ciw->bcw", values, self.weight) + self.bias


class Piecewise(nn.Module):
    """How far a number has come through each bin, from 0 to 1, then a linear layer of each column and a ReLU.

    The first bin is open downwards and the last upwards, so that nothing is lost beyond the edges.
    Source: Gorishniy et al., 2022 (arXiv 2203.05556), equation 1, and "Q-LR" of section 3.4.
    """

    low: Tensor
    per_width: Tensor
    least: Tensor
    most: Tensor

    def __init__(self, edges: tuple[tuple[float, ...], ...], width: int) -> None:
        super().__init__()
        bins = max([1, *(len(of_column) - 1 for of_column in edges)])
        low, per_width = torch.zeros(len(edges), bins), torch.zeros(len(edges), bins)
        least, most = torch.zeros(len(edges), bins), torch.ones(len(edges), bins)
        for column, of_column in enumerate(edges):
            count = len(of_column) - 1
            if count < 1:
                continue
            edge = torch.tensor(of_column, dtype=torch.float64)
            low[column, :count] = edge[:-1].float()
            per_width[column, :count] = (1 / edge.diff()).float()
            least[column, 0] = -torch.inf
            most[column, count - 1] = torch.inf
        # Known from the fitted state, so no part of the weights.
        for name, values in {"low": low, "per_width": per_width, "least": least, "most": most}.items():
            self.register_buffer(name, values, persistent=False)
        self.linear = ColumnLinear(len(edges), bins, width)

    def forward(self, value: Float[Tensor, "batch columns"]) -> Float[Tensor, "batch columns width"]:
        through = (value[:, :, None] - self.low) * self.per_width
        return torch.relu(self.linear(torch.maximum(torch.minimum(through, self.most), self.least)))


class Periodic(nn.Module):
    """Sines and cosines of learnt frequencies of each column, then one linear layer for all columns and a ReLU.

    Source: Gorishniy et al., 2022 (arXiv 2203.05556), equation 2; the layer shared by all columns is "PLR(lite)" of
    Gorishniy et al., "TabR", 2023 (arXiv 2307.14338).
    """

    def __init__(self, columns: int, frequencies: int, scale: float, width: int) -> None:
        super().__init__()
        self.frequency = nn.Parameter(torch.randn(columns, frequencies) * scale)
        self.linear = nn.Linear(2 * frequencies, width)

    def forward(self, value: Float[Tensor, "batch columns"]) -> Float[Tensor, "batch columns width"]:
        angle = 2 * math.pi * self.frequency * value[:, :, None]
        return torch.relu(self.linear(torch.cat([angle.cos(), angle.sin()], dim=2)))


class Straight(nn.Module):
    """A direction of its own for each column, times the number, plus a bias.

    Source: Gorishniy et al., "Revisiting deep learning models for tabular data", 2021 (arXiv 2106.11959), section 3.3.
    """

    def __init__(self, columns: int, width: int) -> None:
        super().__init__()
        self.linear = ColumnLinear(columns, 1, width)

    def forward(self, value: Float[Tensor, "batch columns"]) -> Float[Tensor, "batch columns width"]:
        return self.linear(value[:, :, None])


class Numbers(nn.Module):
    """Numbers embedded as the options say, zero where one is missing: `[batch, columns, width]`."""

    def __init__(self, options: TableOptions, edges: tuple[tuple[float, ...], ...], numeric: int, width: int) -> None:
        super().__init__()
        self.embed: nn.Module
        if options.numeric == "piecewise":
            self.embed = Piecewise(edges, width)
        elif options.numeric == "periodic":
            self.embed = Periodic(numeric, options.the("frequencies"), options.the("frequency_scale"), width)
        else:
            self.embed = Straight(numeric, width)

    def forward(
        self, value: Float[Tensor, "batch columns"], missing: Float[Tensor, "batch columns"]
    ) -> Float[Tensor, "batch columns width"]:
        return self.embed(value) * (1 - missing)[:, :, None]
