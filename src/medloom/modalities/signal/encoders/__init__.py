"""Networks that turn windows of a signal into vectors: each has a trunk that makes tokens, and a pool over them."""

from __future__ import annotations

from typing import TYPE_CHECKING

from medloom.modalities.signal.encoders.options import EncoderOptions

if TYPE_CHECKING:
    from torch import nn

    from medloom.modalities.signal.encoders.trunk import Trunk


def build(options: EncoderOptions, channels: int, samples: int, rate_hz: float) -> nn.Module:
    """The encoder that the options name, for windows of so many channels and samples at this rate.

    Its `forward(field)` gives `Encoded` with tokens, and `attention(field)` the weight of each sample.
    """
    # Imported here, as a study file is read through this folder's options, without torch.
    from medloom.modalities.signal.encoders.pooling import SignalEncoder

    return SignalEncoder(options, trunk_of(options, channels, samples), channels, samples, rate_hz)


def trunk_of(options: EncoderOptions, channels: int, samples: int) -> Trunk:
    """What makes tokens of windows."""
    from medloom.modalities.signal.encoders.patches import PatchRecurrent, PatchTransformer
    from medloom.modalities.signal.encoders.recurrent import ConvolutionalRecurrent
    from medloom.modalities.signal.encoders.residual import Residual
    from medloom.modalities.signal.encoders.spectrogram import Spectrogram

    if options.kind == "resnet":
        return Residual(options, channels)
    if options.kind == "cnn_rnn":
        return ConvolutionalRecurrent(options, channels)
    if options.kind == "rnn":
        return PatchRecurrent(options, channels)
    if options.kind == "transformer":
        return PatchTransformer(options, channels)
    return Spectrogram(options, channels, samples)
