"""What every encoder of signals must keep to, whatever the batch, the padding and the gaps."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import torch
from pydantic import ValidationError
from torch import nn
from torch.nn import functional as F

from medloom.batch import Field
from medloom.modalities.signal.encoders import build
from medloom.modalities.signal.encoders.options import KINDS, EncoderOptions
from medloom.modalities.signal.encoders.patches import waves
from medloom.modalities.signal.encoders.spectrogram import Frames

RATE_HZ, SAMPLES, CHANNELS = 100.0, 300, 3
SMALL: dict[str, dict[str, Any]] = {
    "resnet": {"channels": 8, "levels": 3},
    "rnn": {"hidden": 8},
    "cnn_rnn": {"channels": 8, "levels": 3, "hidden": 8, "cell": "lstm"},
    "transformer": {"hidden": 16, "blocks": 2},
    "spectrogram": {"channels": 8, "frame_samples": 32},
}


def encoder(kind: str, bands: bool = False, channels: int = CHANNELS, samples: int = SAMPLES) -> Any:
    torch.manual_seed(0)
    options = EncoderOptions(kind=kind, width=12, bands=bands, **SMALL[kind])  # type: ignore[arg-type]
    return build(options, channels, samples, RATE_HZ).eval()


def field(channels: int = CHANNELS, samples: int = SAMPLES) -> Field:
    """A whole row, one that ends early, one with a gap and a missing channel, and one of nothing."""
    valid = torch.ones(4, samples, dtype=torch.bool)
    valid[1, 2 * samples // 3 :] = False
    valid[2, samples // 4 : samples // 2] = False
    valid[3] = False
    lead = torch.ones(4, channels, dtype=torch.bool)
    lead[2, -1] = channels == 1
    value = torch.randn(4, channels, samples, generator=torch.Generator().manual_seed(1))
    value = value * valid[:, None] * lead[:, :, None]
    return Field(value, torch.tensor([True, True, True, False]), valid, {"lead": lead})


@pytest.mark.parametrize("bands", [False, True])
@pytest.mark.parametrize("kind", KINDS)
def test_a_row_alone_equals_the_row_in_any_batch(kind: str, bands: bool) -> None:
    model, whole = encoder(kind, bands), field()
    with torch.no_grad():
        together = model(whole)
        alone = torch.cat([model(whole.rows(i, i + 1)).pooled for i in range(4)])
    assert together.pooled.shape == (4, model.gives.width)
    assert together.tokens.shape[2] == model.gives.features
    assert torch.isfinite(together.pooled).all()
    torch.testing.assert_close(alone, together.pooled, atol=1e-5, rtol=0)


@pytest.mark.parametrize("bands", [False, True])
@pytest.mark.parametrize("kind", KINDS)
def test_more_padding_changes_nothing(kind: str, bands: bool) -> None:
    model, whole = encoder(kind, bands), field()
    padded = Field(F.pad(whole.value, (0, 117)), whole.present, F.pad(whole.valid, (0, 117)), whole.extra)
    with torch.no_grad():
        one, other = model(whole), model(padded)
    torch.testing.assert_close(one.pooled, other.pooled, atol=1e-5, rtol=0)
    count = one.tokens.shape[1]
    torch.testing.assert_close(one.tokens, other.tokens[:, :count], atol=1e-5, rtol=0)
    assert not other.valid[:, count:].any()


@pytest.mark.parametrize("kind", KINDS)
def test_what_stands_in_invalid_samples_and_missing_channels_changes_nothing(kind: str) -> None:
    model, whole = encoder(kind, bands=True), field()
    nonsense = torch.where(whole.valid[:, None] & whole.extra["lead"][:, :, None], whole.value, 99.0)
    with torch.no_grad():
        one, other = model(whole), model(replace(whole, value=nonsense))
    torch.testing.assert_close(one.pooled, other.pooled, atol=0, rtol=0)


@pytest.mark.parametrize("kind", KINDS)
def test_attention_sums_to_one_over_valid_samples(kind: str) -> None:
    model, whole = encoder(kind), field()
    with torch.no_grad():
        weight = model.attention(whole)
    assert weight.shape == (4, SAMPLES)
    torch.testing.assert_close(weight.sum(1), torch.tensor([1.0, 1.0, 1.0, 0.0]))
    assert (weight >= 0).all() and not weight[~whole.valid].any()


@pytest.mark.parametrize("kind", KINDS)
def test_a_missing_channel_is_not_a_flat_one(kind: str) -> None:
    model, whole = encoder(kind), field()
    flat = replace(whole, extra={"lead": torch.ones(4, CHANNELS, dtype=torch.bool)})
    with torch.no_grad():
        difference = (model(whole).pooled - model(flat).pooled).abs().amax(1)
    assert difference[2] > 1e-6 and difference[0] == 0


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("samples", [1, 9, 40])
def test_very_short_windows(kind: str, samples: int) -> None:
    model = encoder(kind, bands=True, channels=1, samples=samples)
    found = model(field(1, samples))
    assert torch.isfinite(found.pooled).all()
    found.pooled.sum().backward()
    assert all(torch.isfinite(p.grad).all() for p in model.parameters() if p.grad is not None)


@pytest.mark.parametrize("kind", KINDS)
def test_every_encoder_learns_where_a_short_burst_hides(kind: str) -> None:
    """Rows of noise, half of them with a quarter of a second of a 20 Hz wave somewhere."""
    random = np.random.default_rng(0)
    value = random.normal(0, 0.3, (192, 1, SAMPLES)).astype(np.float32)
    label = torch.arange(192) % 2
    wave = 2 * np.sin(2 * np.pi * 20 * np.arange(50) / RATE_HZ)
    for row, start in zip(range(1, 192, 2), random.integers(0, SAMPLES - 50, 96), strict=True):
        value[row, 0, start : start + 50] += wave
    model = encoder(kind, channels=1)
    head = nn.Linear(12, 1)
    weights = [*model.parameters(), *head.parameters()]
    optimizer = torch.optim.AdamW(weights, 5e-3)
    rows = torch.from_numpy(value)
    for step in range(60):
        part = torch.arange(step * 32 % 128, step * 32 % 128 + 32)
        seen = Field(rows[part], torch.ones(32, dtype=torch.bool))
        loss = F.binary_cross_entropy_with_logits(head(model.train()(seen).pooled)[:, 0], label[part].float())
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    with torch.no_grad():
        said = head(model.eval()(Field(rows[128:], torch.ones(64, dtype=torch.bool))).pooled)[:, 0] > 0
    assert (said == label[128:].bool()).float().mean() > 0.85


def test_frames_have_the_power_of_the_signal() -> None:
    """Parseval: the powers of both halves of the spectrum sum to the frame's size times its variance."""
    noise = torch.randn(1, 1, 64 * 400, generator=torch.Generator().manual_seed(0)) * 3
    power, held = Frames(64)(noise, torch.ones(1, noise.shape[2], dtype=torch.bool))
    twice = torch.cat([power[0, 0, :1], 2 * power[0, 0, 1:-1], power[0, 0, -1:]])
    assert (twice.sum(0) / 64)[held[0]].mean().item() == pytest.approx(9.0, rel=0.02)


def test_places_differ() -> None:
    found = waves(200, 15, torch.device("cpu"))
    assert found.shape == (200, 15) and len(torch.unique(found, dim=0)) == 200


def test_what_is_left_out_is_filled_in_and_what_does_not_go_is_refused() -> None:
    assert EncoderOptions().the("channels") == 32 and EncoderOptions().hidden is None
    assert EncoderOptions(kind="spectrogram", levels=2).the("levels") == 2
    again = EncoderOptions.model_validate(EncoderOptions(kind="cnn_rnn").model_dump())
    assert again == EncoderOptions(kind="cnn_rnn")
    with pytest.raises(ValidationError, match='patch_samples goes with kind = "rnn" or "transformer"'):
        EncoderOptions(kind="resnet", patch_samples=8)
    with pytest.raises(ValidationError, match="odd number"):
        EncoderOptions(kernel=8)
    with pytest.raises(ValidationError, match="multiple of heads"):
        EncoderOptions(kind="transformer", hidden=30)
    with pytest.raises(KeyError, match="resnet"):
        EncoderOptions().the("cell")
