"""FT-Transformer: every column a token, attention between them, and a token that gathers the row.

Source: Gorishniy et al., "Revisiting deep learning models for tabular data", 2021 (arXiv 2106.11959), section 3.3.
"""

from __future__ import annotations

import torch
from jaxtyping import Bool, Float
from torch import Tensor, nn
from torch.nn import functional as F

from medloom.batch import Encoded, Field, Gives
from medloom.modalities.table.encoders.code_bag import CodeBag
from medloom.modalities.table.encoders.features import gates_of
from medloom.modalities.table.encoders.numeric import Numbers
from medloom.modalities.table.layout import Layout
from medloom.modalities.table.options import TableOptions


class Attention(nn.Module):
    """Attention of queries to tokens, in several heads; tokens that are not valid are not attended to."""

    def __init__(self, width: int, heads: int, dropout: float) -> None:
        super().__init__()
        self.heads, self.dropout = heads, dropout
        self.query, self.key_value, self.out = (nn.Linear(width, size) for size in (width, 2 * width, width))

    def forward(
        self,
        queries: Float[Tensor, "batch queries width"],
        tokens: Float[Tensor, "batch tokens width"],
        valid: Bool[Tensor, "batch tokens"],
    ) -> Float[Tensor, "batch queries width"]:
        query = self._split(self.query(queries))
        key, value = (self._split(part) for part in self.key_value(tokens).chunk(2, dim=2))
        dropout = self.dropout if self.training else 0.0
        seen = F.scaled_dot_product_attention(query, key, value, valid[:, None, None, :], dropout_p=dropout)
        return self.out(seen.transpose(1, 2).flatten(2))

    def _split(self, values: Float[Tensor, "batch tokens width"]) -> Float[Tensor, "batch heads tokens part"]:
        return values.unflatten(2, (self.heads, -1)).transpose(1, 2)


class Block(nn.Module):
    """Attention, then a gated layer (ReGLU), each after a layer norm and added to what came in."""

    def __init__(self, width: int, heads: int, dropout: float) -> None:
        super().__init__()
        self.before_attention, self.before_layer = nn.LayerNorm(width), nn.LayerNorm(width)
        self.attention = Attention(width, heads, dropout)
        wide = width * 4 // 3
        self.widen, self.narrow = nn.Linear(width, 2 * wide), nn.Linear(wide, width)
        self.dropout = nn.Dropout(dropout)

    def forward(
        self, tokens: Float[Tensor, "batch tokens width"], valid: Bool[Tensor, "batch tokens"], gather: bool
    ) -> Float[Tensor, "batch some width"]:
        """The tokens after the block; only the first, which gathers the row, where `gather` is set."""
        normed = self.before_attention(tokens)
        kept = 1 if gather else tokens.shape[1]
        tokens = tokens[:, :kept] + self.dropout(self.attention(normed[:, :kept], normed, valid))
        value, gate = self.widen(self.before_layer(tokens)).chunk(2, dim=2)
        return tokens + self.dropout(self.narrow(value * torch.relu(gate)))


class Transformer(nn.Module):
    """Columns as tokens → the gathering token. Missing numbers are not attended to; a missing category is a word."""

    def __init__(self, options: TableOptions, layout: Layout) -> None:
        super().__init__()
        width, numeric = options.the("width"), layout.numbers
        self.numbers = Numbers(options, layout.edges, numeric, width) if numeric else None
        self.column = nn.Parameter(torch.randn(numeric, width) * 0.02) if numeric else None
        self.embeddings = nn.ModuleList(nn.Embedding(words, width) for words in layout.vocabulary)
        self.bags = nn.ModuleList(CodeBag(bag, width) for bag in layout.bags)
        self.bag_names = tuple(bag.name for bag in layout.bags)
        for embedding in self.embeddings:
            nn.init.normal_(embedding.weight, std=width**-0.5)  # type: ignore[arg-type]
        self.gates = gates_of(options, layout)
        self.gather = nn.Parameter(torch.randn(width) * width**-0.5)
        self.missing = nn.Linear(numeric, width, bias=False) if options.missing_indicators and numeric else None
        self.blocks = nn.ModuleList(
            Block(width, options.the("heads"), options.dropout) for _ in range(options.the("blocks"))
        )
        self.norm = nn.LayerNorm(width)
        self.gives = Gives(width=width)

    def forward(self, field: Field) -> Encoded:
        tokens, valid = self._tokens(field)
        for number, block in enumerate(self.blocks, 1):
            tokens = block(tokens, valid, gather=number == len(self.blocks))
        return Encoded(torch.relu(self.norm(tokens[:, 0])))

    def _tokens(self, field: Field) -> tuple[Float[Tensor, "batch tokens width"], Bool[Tensor, "batch tokens"]]:
        """The gathering token first, which always stands, then numbers, then categories."""
        absent = field.extra["missing"]
        passes = self.gates() if self.gates is not None else torch.ones_like(absent[0])
        gather = self.gather.expand(len(absent), -1)
        if self.missing is not None:
            gather = gather + self.missing(absent * passes)
        tokens = [gather[:, None]]
        valid = [torch.ones(len(absent), 1, dtype=torch.bool, device=absent.device)]
        if self.numbers is not None:
            tokens.append((self.numbers(field.value, absent) + self.column) * passes[:, None])
            valid.append((absent < 0.5) & (passes > 0.5))
        if self.embeddings:
            codes = field.extra["codes"]
            tokens.append(torch.stack([embed(codes[:, i]) for i, embed in enumerate(self.embeddings)], dim=1))
            valid.append(torch.ones_like(codes, dtype=torch.bool))
        for name, bag in zip(self.bag_names, self.bags, strict=True):
            found = bag(field)
            tokens.append(found)
            valid.append((field.extra[name] > 0).flatten(1).any(dim=1)[:, None].expand(-1, found.shape[1]))
        return torch.cat(tokens, dim=1), torch.cat(valid, dim=1)
