"""Networks that turn a table's rows into vectors, one a file."""

from __future__ import annotations

from torch import nn

from medloom.modalities.table.encoders.features import Features
from medloom.modalities.table.encoders.mlp import Mlp
from medloom.modalities.table.encoders.tabm import TabM
from medloom.modalities.table.encoders.transformer import Transformer
from medloom.modalities.table.layout import Layout
from medloom.modalities.table.options import TableOptions


def encoder(options: TableOptions, layout: Layout) -> nn.Module:
    """The encoder that the options name, for a table of this layout."""
    if options.encoder == "transformer":
        return Transformer(options, layout)
    features = Features(options, layout)
    return TabM(options, features) if options.encoder == "tabm" else Mlp(options, features)
