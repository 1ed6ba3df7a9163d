"""TabM: an ensemble of multilayer perceptrons that share their weight matrices.

Source: Gorishniy et al., "TabM: advancing tabular deep learning with parameter-efficient ensembling", 2024 (arXiv
2410.24210), section 3; its layers are those of Wen et al., "BatchEnsemble", ICLR 2020 (arXiv 2002.06715).
"""

from __future__ import annotations

import math

import torch
from jaxtyping import Float
from torch import Tensor, nn

from medloom.batch import Encoded, Field, Gives
from medloom.modalities.table.encoders.features import ACTIVATIONS, Features
from medloom.modalities.table.options import TableOptions


class SharedLinear(nn.Module):
    """Member m of a row: `s_m ⊙ W (r_m ⊙ x_m) + b_m`, with W shared.

    Only the first layer's r differ at the beginning, by sign: that is what keeps the members apart. All other r and s
    begin at 1 (TabM, section 3.3).
    """

    def __init__(self, inputs: int, outputs: int, members: int, first: bool) -> None:
        super().__init__()
        limit = 1 / math.sqrt(inputs)
        self.weight = nn.Parameter(torch.empty(outputs, inputs).uniform_(-limit, limit))
        signs = torch.randint(0, 2, (members, inputs)).float() * 2 - 1
        self.scale_in = nn.Parameter(signs if first else torch.ones(members, inputs))
        self.scale_out = nn.Parameter(torch.ones(members, outputs))
        self.bias = nn.Parameter(torch.empty(members, outputs).uniform_(-limit, limit))

    def forward(self, values: Float[Tensor, "batch #members inputs"]) -> Float[Tensor, "batch members outputs"]:
        return nn.functional.linear(values * self.scale_in, self.weight) * self.scale_out + self.bias


class TabM(nn.Module):
    """Flat features → one vector for each member. Every member has a head of its own (see `Encoded.members`)."""

    def __init__(self, options: TableOptions, features: Features) -> None:
        super().__init__()
        self.features = features
        width, members = features.width, options.the("members")
        layers: list[nn.Module] = []
        for hidden in options.the("hidden"):
            layers += [SharedLinear(width, hidden, members, not layers), ACTIVATIONS[options.the("activation")]()]
            layers += [nn.Dropout(options.dropout)] if options.dropout else []
            width = hidden
        self.layers = nn.Sequential(*layers)
        self.gives = Gives(width=width, members=members)

    def forward(self, field: Field) -> Encoded:
        members = self.layers(self.features(field)[:, None])
        return Encoded(members.mean(dim=1), members=members)
