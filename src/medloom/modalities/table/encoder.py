"""Tables as vectors: numbers beside embedded categories, through fully connected layers."""

from __future__ import annotations

import torch
from jaxtyping import Float
from torch import Tensor, nn

from medloom.batch import Encoded, Field, Gives
from medloom.modalities.table.options import TableOptions

_ACTIVATIONS = {"relu": nn.ReLU, "silu": nn.SiLU, "gelu": nn.GELU}


def embedding_width(words: int) -> int:
    """Width of a category's embedding: 1.6 · words^0.56, at most 64.

    Source: the rule of fastai's `emb_sz_rule` (Howard & Gugger, "fastai: a layered API for deep learning", 2020).
    """
    return min(64, round(1.6 * words**0.56))


class TableEncoder(nn.Module):
    """`Field` (numbers, with `missing` and `codes`) → `Encoded` of the last hidden width."""

    def __init__(self, options: TableOptions, numeric: int, vocabulary: tuple[int, ...]) -> None:
        super().__init__()
        self.embeddings = nn.ModuleList(nn.Embedding(words, embedding_width(words)) for words in vocabulary)
        self.indicators = options.missing_indicators
        width = numeric * (2 if self.indicators else 1) + sum(e.embedding_dim for e in self.embeddings)  # type: ignore[misc]
        layers: list[nn.Module] = []
        for hidden in options.hidden:
            layers.append(nn.Linear(width, hidden))
            if options.norm == "layer":
                layers.append(nn.LayerNorm(hidden))
            layers.append(_ACTIVATIONS[options.activation]())
            if options.dropout:
                layers.append(nn.Dropout(options.dropout))
            width = hidden
        self.layers = nn.Sequential(*layers)
        self.gives = Gives(width=width)

    def forward(self, field: Field) -> Encoded:
        parts: list[Float[Tensor, "batch features"]] = [field.value]
        if self.indicators:
            parts.append(field.extra["missing"])
        if self.embeddings:
            codes = field.extra["codes"]
            parts += [embed(codes[:, index]) for index, embed in enumerate(self.embeddings)]
        return Encoded(self.layers(torch.cat(parts, dim=1) if len(parts) > 1 else parts[0]))
