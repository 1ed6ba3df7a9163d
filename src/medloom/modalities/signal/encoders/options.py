"""What a study file may say of the network that reads a signal."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Any, Literal, Self

from pydantic import Field, model_validator
from pydantic_core import PydanticCustomError

from medloom.parts import Share, Strict

_CONVOLUTION = {"channels": 32, "levels": 4, "kernel": 7}
_RECURRENT = {"cell": "gru", "hidden": 64, "layers": 1}
KINDS: Mapping[str, Mapping[str, Any]] = {
    "resnet": _CONVOLUTION,
    "rnn": {**_RECURRENT, "patch_samples": 16},
    "cnn_rnn": {**_CONVOLUTION, **_RECURRENT},
    "transformer": {"hidden": 64, "patch_samples": 32, "blocks": 3, "heads": 4},
    "spectrogram": {"channels": 32, "levels": 3, "frame_samples": 64},
}
"""The keys that go with each encoder, and what stands there where nothing is given."""


class EncoderOptions(Strict):
    """The encoder of a signal. Keys that do not go with the chosen kind are mistakes."""

    kind: Literal["resnet", "rnn", "cnn_rnn", "transformer", "spectrogram"] = Field(
        "resnet",
        description="resnet: residual convolutions along time; rnn: a recurrent network on patches; cnn_rnn: residual convolutions, then a recurrent network on what they found; transformer: attention between patches; spectrogram: convolutions over frequency and time",
    )
    width: Annotated[int, Field(ge=1, le=4096)] = Field(64, description="width of the encoded row")
    dropout: Share = Field(0.1, description="dropout before the encoded row, and between the layers of a transformer")
    pooling: Literal["attention", "mean"] = Field(
        "attention",
        description="attention: positions are weighed, and their weighted mean and spread are the row; mean: the plain mean",
    )
    bands: bool = Field(False, description="tell the network the logarithmic power in bands of frequency as well")
    channels: Annotated[int, Field(ge=1, le=1024)] | None = Field(
        None, description="resnet, cnn_rnn, spectrogram: channels of the first level, doubled at each up to four times as many; left out: 32"
    )  # fmt: skip
    levels: Annotated[int, Field(ge=1, le=10)] | None = Field(
        None, description="resnet, cnn_rnn, spectrogram: levels, each of half the resolution; left out: 4, for spectrogram 3"
    )  # fmt: skip
    kernel: Annotated[int, Field(ge=3, le=63)] | None = Field(
        None, description="resnet, cnn_rnn: samples under each convolution, an odd number; left out: 7"
    )
    cell: Literal["gru", "lstm"] | None = Field(None, description="rnn, cnn_rnn: recurrent cell; left out: gru")
    hidden: Annotated[int, Field(ge=1, le=4096)] | None = Field(
        None, description="rnn, cnn_rnn: width of the state in each of two directions; transformer: width of a patch, a multiple of heads; left out: 64"
    )  # fmt: skip
    layers: Annotated[int, Field(ge=1, le=8)] | None = Field(
        None, description="rnn, cnn_rnn: recurrent layers; left out: 1"
    )
    patch_samples: Annotated[int, Field(ge=1, le=4096)] | None = Field(
        None, description="rnn, transformer: samples that make one step; left out: 16 for rnn, 32 for transformer"
    )
    blocks: Annotated[int, Field(ge=1, le=64)] | None = Field(
        None, description="transformer: blocks of attention and a fully connected layer; left out: 3"
    )
    heads: Annotated[int, Field(ge=1, le=64)] | None = Field(
        None, description="transformer: attention heads; left out: 4"
    )
    frame_samples: Annotated[int, Field(ge=8, le=8192)] | None = Field(
        None, description="spectrogram: samples of one frame, which overlap by half; left out: 64"
    )

    @model_validator(mode="before")
    @classmethod
    def _fill(cls, raw: Any) -> Any:
        """Puts what was left out of the chosen kind in its place, so that a resolved study says it."""
        if not isinstance(raw, Mapping):
            return raw
        kind = raw.get("kind", cls.model_fields["kind"].default)
        keys = KINDS.get(kind, {}) if isinstance(kind, str) else {}
        return {**raw, **{key: value for key, value in keys.items() if raw.get(key) is None}}

    @model_validator(mode="after")
    def _coherent(self) -> Self:
        for key in sorted({key for keys in KINDS.values() for key in keys} - set(KINDS[self.kind])):
            if getattr(self, key) is not None:
                owners = " or ".join(f'"{name}"' for name, keys in KINDS.items() if key in keys)
                why = f'{key} goes with kind = {owners}, and kind is "{self.kind}"; take it out'
                raise PydanticCustomError("part", "{why}", {"why": why})
        if self.kernel is not None and self.kernel % 2 == 0:
            raise PydanticCustomError("part", "kernel is an odd number, such as 7")
        if self.kind == "transformer" and self.the("hidden") % self.the("heads"):
            raise PydanticCustomError("part", "hidden has to be a multiple of heads")
        return self

    def the(self, key: str) -> Any:
        """A key that goes with the chosen kind, which is therefore there."""
        value = getattr(self, key)
        if value is None:
            raise KeyError(f"{key} does not go with {self.kind}")
        return value
