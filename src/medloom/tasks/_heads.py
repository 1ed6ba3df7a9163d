"""Heads that several tasks share."""

from __future__ import annotations

from torch import nn

from medloom.batch import Output, Seen


class PooledHead(nn.Module):
    """A linear layer on the fused vector: `{"logits": [batch, outputs]}`."""

    def __init__(self, width: int, outputs: int) -> None:
        super().__init__()
        self.linear = nn.Linear(width, outputs)

    def forward(self, seen: Seen) -> Output:
        return {"logits": self.linear(seen.fused)}
