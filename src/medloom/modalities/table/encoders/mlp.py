"""Fully connected layers."""

from __future__ import annotations

from torch import nn

from medloom.batch import Encoded, Field, Gives
from medloom.modalities.table.encoders.features import ACTIVATIONS, Features
from medloom.modalities.table.options import TableOptions


class Mlp(nn.Module):
    """Flat features → layers; the last is what the row is encoded as."""

    def __init__(self, options: TableOptions, features: Features) -> None:
        super().__init__()
        self.features = features
        width = features.width
        layers: list[nn.Module] = []
        for hidden in options.the("hidden"):
            layers.append(nn.Linear(width, hidden))
            if options.the("norm") == "layer":
                layers.append(nn.LayerNorm(hidden))
            layers.append(ACTIVATIONS[options.the("activation")]())
            if options.dropout:
                layers.append(nn.Dropout(options.dropout))
            width = hidden
        self.layers = nn.Sequential(*layers)
        self.gives = Gives(width=width)

    def forward(self, field: Field) -> Encoded:
        return Encoded(self.layers(self.features(field)))
