"""Events → `Encoded`: an embedding of the code beside value and time, read by a recurrent network.

Source: Cho et al., "Learning Phrase Representations using RNN Encoder–Decoder", EMNLP 2014 (GRU);
Hochreiter & Schmidhuber, "Long Short-Term Memory", Neural Computation 1997 (LSTM).
"""

from __future__ import annotations

from typing import Literal

import torch
from torch import nn

from medloom.batch import Encoded, Field, Gives

NUMBERS = 4
"""Features of an event beside its code: value, whether it has one, age, gap."""


class EventsEncoder(nn.Module):
    """`forward(Field) -> Encoded`: tokens are the network's states after each event, oldest first.

    Padding stands to the right of the events. The network reads from the left, so no state of an event can depend on
    padding, and mean and last state are taken over events alone.
    """

    def __init__(self, codes: int, code_width: int, width: int, rnn: Literal["gru", "lstm"]) -> None:
        super().__init__()
        self.gives = Gives(width=width, features=width)
        self.code = nn.Embedding(codes, code_width, padding_idx=0)
        kind = nn.GRU if rnn == "gru" else nn.LSTM
        self.rnn = kind(code_width + NUMBERS, width, batch_first=True)
        self.pool = nn.Linear(2 * width, width)

    def forward(self, field: Field) -> Encoded:
        assert field.valid is not None
        valid = field.valid
        numbers = [field.value, field.extra["has_value"], field.extra["age"], field.extra["gap"]]
        beside = torch.stack([number.to(field.value.dtype) for number in numbers], dim=-1)
        tokens, _ = self.rnn(torch.cat([self.code(field.extra["code"]), beside], dim=-1))
        tokens = torch.where(valid[..., None], tokens, torch.zeros((), dtype=tokens.dtype, device=tokens.device))
        length = valid.sum(dim=1)
        mean = tokens.sum(dim=1) / length.clamp(min=1)[:, None]
        newest = (length - 1).clamp(min=0)[:, None, None].expand(-1, 1, tokens.shape[2])
        last = tokens.gather(1, newest)[:, 0]
        return Encoded(pooled=self.pool(torch.cat([mean, last], dim=-1)), tokens=tokens, valid=valid)
