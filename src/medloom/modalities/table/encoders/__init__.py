"""Networks that turn a table's rows into vectors, one a file."""

from __future__ import annotations

from torch import nn

from medloom.modalities.table.encoders.features import Features
from medloom.modalities.table.encoders.mlp import Mlp
from medloom.modalities.table.encoders.tabm import TabM
from medloom.modalities.table.encoders.transformer import Transformer
from medloom.modalities.table.options import TableOptions


def encoder(
    options: TableOptions, edges: tuple[tuple[float, ...], ...], numeric: int, vocabulary: tuple[int, ...]
) -> nn.Module:
    """The encoder that the options name; `edges` of bins in scaled numbers, `vocabulary` ids of each category."""
    if options.encoder == "transformer":
        return Transformer(options, edges, numeric, vocabulary)
    features = Features(options, edges, numeric, vocabulary)
    return TabM(options, features) if options.encoder == "tabm" else Mlp(options, features)
