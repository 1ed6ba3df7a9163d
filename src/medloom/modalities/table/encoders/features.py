"""A row of a table as one flat vector: numbers, what is missing, embedded categories."""

from __future__ import annotations

import torch
from jaxtyping import Float
from torch import Tensor, nn

from medloom.batch import Field
from medloom.modalities.table.encoders.code_bag import CodeBag
from medloom.modalities.table.encoders.gates import Gates
from medloom.modalities.table.encoders.numeric import Numbers
from medloom.modalities.table.layout import Layout
from medloom.modalities.table.options import TableOptions

ACTIVATIONS = {"relu": nn.ReLU, "silu": nn.SiLU, "gelu": nn.GELU}


def embedding_width(words: int) -> int:
    """Width of a category's embedding: 1.6 · words^0.56, at most 64.

    Source: the rule of fastai's `emb_sz_rule` (Howard & Gugger, "fastai: a layered API for deep learning", 2020).
    """
    return min(64, round(1.6 * words**0.56))


class Features(nn.Module):
    """`Field` (numbers, with `missing` and `codes`) → `[batch, width]`."""

    def __init__(self, options: TableOptions, layout: Layout) -> None:
        super().__init__()
        widths = [embedding_width(words) for words in layout.vocabulary]
        self.embeddings = nn.ModuleList(map(nn.Embedding, layout.vocabulary, widths))
        bags = [CodeBag(bag, embedding_width(sum(bag.words))) for bag in layout.bags]
        self.bags = nn.ModuleList(bags)
        self.indicators = options.missing_indicators
        self.numbers: Numbers | None = None
        each = 1
        if options.numeric not in (None, "plain") and layout.numbers:
            each = options.the("numeric_width")
            self.numbers = Numbers(options, layout.edges, layout.numbers, each)
        self.gates = gates_of(options, layout)
        self.width = layout.numbers * (each + int(self.indicators)) + sum(widths) + sum(bag.gives for bag in bags)

    def forward(self, field: Field) -> Float[Tensor, "batch width"]:
        value, missing = field.value, field.extra["missing"]
        passes = self.gates() if self.gates is not None else None
        if self.numbers is not None:
            embedded = self.numbers(value, missing)
            value = (embedded if passes is None else embedded * passes[:, None]).flatten(1)
        elif passes is not None:
            value = value * passes
        parts: list[Float[Tensor, "batch features"]] = [value]
        if self.indicators:
            parts.append(missing if passes is None else missing * passes)
        if self.embeddings:
            codes = field.extra["codes"]
            parts += [embed(codes[:, index]) for index, embed in enumerate(self.embeddings)]
        parts += [bag(field).flatten(1) for bag in self.bags]
        return torch.cat(parts, dim=1) if len(parts) > 1 else parts[0]


def gates_of(options: TableOptions, layout: Layout) -> Gates | None:
    """Gates on the numbers that are read, where the study asks for them; those made of words always pass."""
    if options.select is None or options.select.by != "gates":
        return None
    read = len(options.numbers)
    return Gates(read, layout.numbers - read, options.select.keep)
