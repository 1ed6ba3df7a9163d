"""Networks over events one by one: an embedding of the code beside value, age and gap.

Events stand from the left, oldest first, padding to their right. Recurrent and convolving networks read from the left,
so no state of an event depends on padding; attention is masked.

Source: Cho et al., "Learning Phrase Representations using RNN Encoder–Decoder", EMNLP 2014 (GRU); Hochreiter &
Schmidhuber, "Long Short-Term Memory", Neural Computation 1997 (LSTM); Bai, Kolter & Koltun, "An empirical evaluation of
generic convolutional and recurrent networks for sequence modeling", 2018 (causal convolutions); Vaswani et al.,
"Attention is all you need", NeurIPS 2017; Kazemi et al., "Time2Vec", 2019 (time as a line and waves).
"""

from __future__ import annotations

import math

import torch
from jaxtyping import Bool, Float
from torch import Tensor, nn
from torch.nn import functional as F

from medloom.batch import Field
from medloom.modalities.events.options import EventsOptions

FIRST_LEARNT = 2
"""The first id of the vocabulary that stands for one code: before it are padding and rare codes."""
NUMBERS = 5
"""Features of an event beside its code: value, whether it has one, age, gap, whether it has a time."""
WAVES = 16
"""Waves that a transformer sees the age of an event in, from a hundredth of a unit of log-time to ten of them."""


class Words(nn.Module):
    """Each event as a vector: the embedding of its code beside its numbers."""

    def __init__(self, options: EventsOptions, codes: int) -> None:
        super().__init__()
        self.code = nn.Embedding(codes, options.the("code_width"), padding_idx=0)
        self.width = options.the("code_width") + NUMBERS
        self.dropout = nn.Dropout(options.dropout)

    def forward(self, field: Field) -> Float[Tensor, "batch events width"]:
        names = ("has_value", "age", "gap", "has_time")
        numbers = [field.value, *(field.extra[name].to(field.value.dtype) for name in names)]
        words: Float[Tensor, "batch events width"] = torch.cat(
            [self.dropout(self.code(field.extra["code"])), torch.stack(numbers, dim=-1)], dim=-1
        )
        return words

    def unsaid(self, field: Field) -> Float[Tensor, "batch events width"]:
        """As many events of nothing in particular: the mean of the learnt codes and the centre of values, at the same times."""
        with torch.no_grad():
            words = self(field)
            assert field.valid is not None
            weight, width = self.code.weight, self.code.embedding_dim
            mean = (weight[FIRST_LEARNT:] if len(weight) > FIRST_LEARNT else weight).mean(dim=0)
            blank = torch.cat([mean.expand(*words.shape[:2], width), torch.zeros_like(words[..., :1])], dim=-1)
            return torch.where(field.valid[..., None], torch.cat([blank, words[..., width + 1 :]], dim=-1), words)


Over = tuple[Tensor, Tensor, Tensor]
"""Pooled "batch width", tokens "batch tokens width", and which tokens are valid "batch tokens"."""


def mean_and_last(
    tokens: Float[Tensor, "batch tokens width"], valid: Bool[Tensor, "batch tokens"]
) -> Float[Tensor, "batch two_widths"]:
    """The mean of the valid tokens beside the last of them; valid ones stand on the left."""
    length = valid.sum(dim=1)
    mean = tokens.sum(dim=1) / length.clamp(min=1)[:, None]
    newest = (length - 1).clamp(min=0)[:, None, None].expand(-1, 1, tokens.shape[2])
    return torch.cat([mean, tokens.gather(1, newest)[:, 0]], dim=-1)


def only(valid: Bool[Tensor, "batch tokens"], tokens: Float[Tensor, "batch tokens width"]) -> Tensor:
    """The tokens, 0 where they are padding."""
    return torch.where(valid[..., None], tokens, torch.zeros((), dtype=tokens.dtype, device=tokens.device))


class Recurrent(nn.Module):
    """GRU or LSTM over the events; tokens are its states after each of them."""

    def __init__(self, options: EventsOptions, codes: int) -> None:
        super().__init__()
        self.words = Words(options, codes)
        layers = options.the("layers")
        kind = nn.GRU if options.encoder == "gru" else nn.LSTM
        dropout = options.dropout if layers > 1 else 0.0
        self.rnn = kind(self.words.width, options.width, layers, batch_first=True, dropout=dropout)
        self.pool = nn.Linear(2 * options.width, options.width)

    def forward(self, field: Field) -> Over:
        assert field.valid is not None
        tokens = only(field.valid, self.rnn(self.words(field))[0])
        return self.pool(mean_and_last(tokens, field.valid)), tokens, field.valid


class Causal(nn.Module):
    """A convolution that sees the past alone, with a way past it; `dilation` apart are the events that it sees."""

    def __init__(self, width: int, kernel: int, dilation: int, dropout: float) -> None:
        super().__init__()
        self.reach = (kernel - 1) * dilation
        self.norm = nn.LayerNorm(width)
        self.convolve = nn.Conv1d(width, 2 * width, kernel, dilation=dilation)
        self.dropout = nn.Dropout(dropout)

    def forward(self, tokens: Float[Tensor, "batch tokens width"]) -> Float[Tensor, "batch tokens width"]:
        past = F.pad(self.norm(tokens).transpose(1, 2), (self.reach, 0))
        value, gate = self.convolve(past).transpose(1, 2).chunk(2, dim=2)
        return tokens + self.dropout(value * torch.sigmoid(gate))


class Convolving(nn.Module):
    """Causal convolutions, each reaching twice as far back as the one before."""

    def __init__(self, options: EventsOptions, codes: int) -> None:
        super().__init__()
        self.words = Words(options, codes)
        self.widen = nn.Linear(self.words.width, options.width)
        self.blocks = nn.Sequential(
            *(
                Causal(options.width, options.the("kernel"), 2**level, options.dropout)
                for level in range(options.the("layers"))
            )
        )
        self.pool = nn.Linear(2 * options.width, options.width)

    def forward(self, field: Field) -> Over:
        assert field.valid is not None
        tokens = only(field.valid, self.blocks(self.widen(self.words(field))))
        return self.pool(mean_and_last(tokens, field.valid)), tokens, field.valid


class Block(nn.Module):
    """Attention of all tokens to the valid ones, then a layer, each after a norm and added to what came in."""

    def __init__(self, width: int, heads: int, dropout: float) -> None:
        super().__init__()
        self.heads, self.drop = heads, dropout
        self.before_attention, self.before_layer = nn.LayerNorm(width), nn.LayerNorm(width)
        # No bias: that of the keys would change nothing, and an optimiser would make steps of its rounding errors.
        self.parts, self.out = nn.Linear(width, 3 * width, bias=False), nn.Linear(width, width)
        self.layer = nn.Sequential(nn.Linear(width, 2 * width), nn.GELU(), nn.Linear(2 * width, width))
        self.dropout = nn.Dropout(dropout)

    def forward(
        self, tokens: Float[Tensor, "batch tokens width"], valid: Bool[Tensor, "batch tokens"]
    ) -> Float[Tensor, "batch tokens width"]:
        query, key, value = (
            part.unflatten(2, (self.heads, -1)).transpose(1, 2)
            for part in self.parts(self.before_attention(tokens)).chunk(3, dim=2)
        )
        seen = F.scaled_dot_product_attention(
            query, key, value, valid[:, None, None, :], dropout_p=self.drop if self.training else 0.0
        )
        tokens = tokens + self.dropout(self.out(seen.transpose(1, 2).flatten(2)))
        layered: Float[Tensor, "batch tokens width"] = tokens + self.dropout(self.layer(self.before_layer(tokens)))
        return layered


class Attentive(nn.Module):
    """A transformer over the events with the age of each, and a token that gathers the row."""

    def __init__(self, options: EventsOptions, codes: int) -> None:
        super().__init__()
        width = options.width
        self.words = Words(options, codes)
        self.widen = nn.Linear(self.words.width + 2 * WAVES, width)
        self.gather = nn.Parameter(torch.randn(width) * width**-0.5)
        self.blocks = nn.ModuleList(
            Block(width, options.the("heads"), options.dropout) for _ in range(options.the("layers"))
        )
        self.norm = nn.LayerNorm(width)
        waves = 2 * math.pi / torch.logspace(-1, 1, WAVES)
        self.register_buffer("waves", waves, persistent=False)

    def forward(self, field: Field) -> Over:
        assert field.valid is not None
        waves: Tensor = self.waves  # type: ignore[assignment]
        angle = field.extra["age"][..., None] * waves
        words = torch.cat([self.words(field), torch.sin(angle), torch.cos(angle)], dim=-1)
        gather = self.gather.expand(len(words), 1, -1)
        tokens = torch.cat([gather, self.widen(words)], dim=1)
        # The gathering token always stands, so that attention of a row without events has something to look at.
        valid = torch.cat([torch.ones_like(field.valid[:, :1]), field.valid], dim=1)
        for block in self.blocks:
            tokens = block(tokens, valid)
        tokens = self.norm(tokens)
        return tokens[:, 0], only(field.valid, tokens[:, 1:]), field.valid
