"""Recurrent networks over tokens, in both directions."""

from __future__ import annotations

from jaxtyping import Bool, Float
from torch import Tensor, nn
from torch.nn.utils.rnn import pack_padded_sequence, pad_packed_sequence

from medloom.batch import Field
from medloom.modalities.signal.encoders.options import EncoderOptions
from medloom.modalities.signal.encoders.residual import Residual
from medloom.modalities.signal.encoders.trunk import Trunk


class Recurrent(nn.Module):
    """Tokens → states of a GRU or LSTM from both ends, up to each row's own last valid token."""

    def __init__(self, options: EncoderOptions, features: int) -> None:
        super().__init__()
        kind = nn.GRU if options.the("cell") == "gru" else nn.LSTM
        self.cell = kind(features, options.the("hidden"), options.the("layers"), batch_first=True, bidirectional=True)
        self.features = 2 * options.the("hidden")

    def forward(
        self, tokens: Float[Tensor, "batch tokens features"], valid: Bool[Tensor, "batch tokens"]
    ) -> Float[Tensor, "batch tokens states"]:
        count = tokens.shape[1]
        last = count - valid.flip(1).float().argmax(1)
        # A row without any valid token is read for one step; what it gives is masked below.
        length = last.where(valid.any(1), last.new_ones(())).cpu()
        packed = pack_padded_sequence(tokens, length, batch_first=True, enforce_sorted=False)
        states, _ = pad_packed_sequence(self.cell(packed)[0], batch_first=True, total_length=count)
        return states * valid[:, :, None]


class ConvolutionalRecurrent(Trunk):
    """Residual convolutions, then a recurrent network over what they found."""

    def __init__(self, options: EncoderOptions, channels: int) -> None:
        super().__init__()
        self.convolutions = Residual(options, channels)
        self.recurrent = Recurrent(options, self.convolutions.features)
        self.features, self.stride = self.recurrent.features, self.convolutions.stride

    def forward(self, field: Field) -> tuple[Float[Tensor, "batch tokens features"], Bool[Tensor, "batch tokens"]]:
        tokens, valid = self.convolutions(field)
        return self.recurrent(tokens, valid), valid
