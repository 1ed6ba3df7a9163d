"""Networks that turn the events that a row sees into a vector, one kind a file."""

from __future__ import annotations

from torch import nn

from medloom.modalities.events.encoders.beside import Beside
from medloom.modalities.events.encoders.binned import Binned, Decaying
from medloom.modalities.events.encoders.sequence import Attentive, Convolving, Recurrent
from medloom.modalities.events.options import EventsOptions


def encoder(options: EventsOptions, codes: int, slots: int, numbers: int) -> nn.Module:
    """The encoder that the options name: of `codes` words, `slots` frequent codes, and `numbers` summary statistics."""
    return Beside(options, _over_time(options, codes, slots), numbers if options.statistics else 0)


def _over_time(options: EventsOptions, codes: int, slots: int) -> nn.Module | None:
    """What reads the course of time: `forward(Field) -> (pooled, tokens, valid)`; none for statistics alone."""
    if options.encoder in ("gru", "lstm"):
        return Recurrent(options, codes)
    if options.encoder == "tcn":
        return Convolving(options, codes)
    if options.encoder == "transformer":
        return Attentive(options, codes)
    if options.encoder == "grid":
        return Binned(options, slots)
    return Decaying(options, slots) if options.encoder == "gru_decay" else None
