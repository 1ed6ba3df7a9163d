"""The networks of images: what padding and other rows may not change, what they give, and what they refuse."""

from __future__ import annotations

import pytest
import torch
from pydantic import ValidationError
from torch import nn

from medloom.batch import Field, Seen
from medloom.modalities.image.encoders.network import NETWORKS, AttentionPool, ImageEncoder, PeakPool
from medloom.modalities.image.encoders.pyramid import Pyramid
from medloom.modalities.image.options import ImageOptions
from medloom.tasks._decoder import Decoder

BOTH = pytest.mark.parametrize("dims", [2, 3])
EVERY = pytest.mark.parametrize("encoder", sorted(NETWORKS))


def options_of(dims: int, **chosen: object) -> ImageOptions:
    base = {
        "column": "scan", "dims": dims, "patch": [16, 16] if dims == 2 else [8, 8, 8], "levels": 3, "width": 8,
        "pooled_width": 6, "known_before_index": True,
    }  # fmt: skip
    return ImageOptions.model_validate({**base, **chosen})


def encoder_of(options: ImageOptions, seed: int = 0) -> ImageEncoder:
    torch.manual_seed(seed)
    encoder = ImageEncoder(options).eval()
    for name, weight in encoder.named_parameters():
        if weight.ndim == 1 or name == "pool.score.weight":
            nn.init.normal_(weight, 0.5, 0.5)  # norms and scores that start as nothing would hide a mistake
    return encoder


def field_of(options: ImageOptions, filled: list[tuple[int, ...]], seed: int = 1) -> Field:
    """A row for each shape: that much of the patch, from its first corner on, is image."""
    torch.manual_seed(seed)
    value = torch.zeros(len(filled), options.channels, *options.patch)
    valid = torch.zeros(len(filled), *options.patch, dtype=torch.bool)
    for row, shape in enumerate(filled):
        part = tuple(slice(0, size) for size in shape)
        value[(row, slice(None), *part)] = torch.randn(options.channels, *shape)
        valid[(row, *part)] = True
    return Field(value, torch.tensor([all(shape) for shape in filled]), valid)


def part_shapes(dims: int) -> list[tuple[int, ...]]:
    return [(16, 16), (9, 13), (0, 0)] if dims == 2 else [(8, 8, 8), (5, 8, 3), (0, 0, 0)]


@EVERY
@BOTH
def test_maps_are_what_was_promised_and_zero_in_padding(encoder: str, dims: int) -> None:
    options = options_of(dims, encoder=encoder, halvings=[2, 1] if dims == 2 else [2, 2, 1])
    network, field = encoder_of(options), field_of(options, part_shapes(dims))
    found, gives = network(field), network.gives
    assert found.pooled.shape == (3, gives.width) and found.grid is not None
    assert found.grid.shape[1] == gives.features and found.grid.shape[2:] == found.finer[-1].shape[2:]
    assert gives.levels[0][1] == 1 and gives.levels[-1][1] == ((4, 2) if dims == 2 else (4, 4, 2))
    for level, (values, (channels, stride)) in enumerate(zip(found.finer, gives.levels, strict=True)):
        strides = stride if isinstance(stride, tuple) else (stride,) * dims
        grid = tuple(side // each for side, each in zip(options.patch, strides, strict=True))
        assert values.shape == (3, channels, *grid)
        covered = torch.ones(3, *grid, dtype=torch.bool)
        for row, shape in enumerate(part_shapes(dims)):
            for axis, (size, each) in enumerate(zip(shape, strides, strict=True)):
                beyond = torch.arange(grid[axis]) * each >= size
                covered[row].movedim(axis, 0)[beyond] = False
        assert not values.movedim(1, -1)[~covered].any(), level
        assert values.movedim(1, -1)[covered].any(1).all()


@EVERY
@BOTH
@pytest.mark.parametrize("pool", ["mean", "peak", "attention"])
def test_a_row_does_not_see_its_padding_nor_the_other_rows(encoder: str, dims: int, pool: str) -> None:
    options = options_of(dims, encoder=encoder, pool=pool)
    network, shapes = encoder_of(options), part_shapes(dims)
    together = field_of(options, shapes)
    wide = options_of(dims, encoder=encoder, pool=pool, patch=[2 * side for side in options.patch])
    more = Field(torch.zeros(3, 1, *wide.patch), together.present, torch.zeros(3, *wide.patch, dtype=torch.bool))
    corner = tuple(slice(0, side) for side in options.patch)
    more.value[(slice(None), slice(None), *corner)] = together.value
    assert more.valid is not None and together.valid is not None
    more.valid[(slice(None), *corner)] = together.valid
    with torch.inference_mode():
        whole, padded = network(together), network(more)
        torch.testing.assert_close(padded.pooled, whole.pooled, rtol=1e-5, atol=1e-5)
        for row in range(len(shapes)):
            alone = network(together.rows(row, row + 1))
            torch.testing.assert_close(alone.pooled[0], whole.pooled[row], rtol=1e-5, atol=1e-5)
    assert (whole.pooled[0] - whole.pooled[1]).abs().max() > 1e-3


@EVERY
def test_every_weight_learns(encoder: str) -> None:
    options = options_of(2, encoder=encoder, pool="attention", blocks=2)
    network = encoder_of(options)
    found = network(field_of(options, part_shapes(2)))
    sum(values.square().sum() for values in (found.pooled, *found.finer)).backward()
    for name, weight in network.named_parameters():
        assert weight.grad is not None and torch.isfinite(weight.grad).all(), name
        assert weight.grad.abs().max() > 0, name


@EVERY
def test_blocks_are_the_depth(encoder: str) -> None:
    counts = []
    for blocks in (1, 2, 3):
        torch.manual_seed(0)
        network = ImageEncoder(options_of(2, encoder=encoder, blocks=blocks))
        counts.append(sum(p.numel() for name, p in network.named_parameters() if "norm" not in name))
    if encoder == "dense":  # what a level adds is shared by its layers: more of them, each narrower
        layers = ImageEncoder(options_of(2, encoder="dense", blocks=3)).trunk.layers
        assert [layer.grow.out_channels for layer in layers] == [1, 1, 2, 4, 4, 4, 8, 8, 8]
        assert [layer.narrow.in_channels for layer in layers] == [4, 5, 6, 4, 8, 12, 8, 16, 24]
    else:
        assert counts[2] - counts[1] == counts[1] - counts[0] > 0


def test_attention_begins_as_the_mean_and_weighs_by_its_score() -> None:
    torch.manual_seed(3)
    pool = AttentionPool(5)
    grid, valid = torch.randn(2, 5, 3, 4), (torch.rand(2, 1, 3, 4) < 0.6).float()
    valid[1] = 0
    mean = (grid * valid).flatten(2).sum(2)[0] / valid[0].sum()
    torch.testing.assert_close(pool(grid, valid)[0], mean)
    nn.init.normal_(pool.score.weight)
    weights = pool.weights(grid, valid)
    assert not weights[valid[:, 0] < 0.5].any() and float(weights[0].sum().detach()) == pytest.approx(1)
    each = grid[0].flatten(1).T
    score = (torch.tanh(pool.look(each)) * torch.sigmoid(pool.gate(each))) @ pool.score.weight[0]
    kept = valid[0].flatten() > 0.5
    expected = torch.zeros(12).index_put((kept,), score[kept].exp() / score[kept].exp().sum())
    torch.testing.assert_close(weights[0].flatten(), expected)
    torch.testing.assert_close(pool(grid, valid)[0], (each * expected[:, None]).sum(0))
    assert not pool(grid, valid)[1].any()


def test_the_peak_is_the_highest_valid_value_beside_the_mean() -> None:
    grid = torch.randn(3, 5, 3, 4, generator=torch.Generator().manual_seed(4)) - 3  # below what padding holds
    valid = torch.zeros(3, 1, 3, 4)
    valid[0, 0, 1:, :2], valid[1] = 1, 1
    found = PeakPool()(grid * valid, valid)
    kept = grid[0, :, 1:, :2].flatten(1)
    torch.testing.assert_close(found[0], torch.cat([kept.mean(1), kept.max(1).values]))
    torch.testing.assert_close(found[1, 5:], grid[1].flatten(1).max(1).values)
    assert not found[2].any()


def test_weights_are_there_where_positions_are_weighed() -> None:
    attentive, plain = options_of(2, pool="attention"), options_of(2)
    field = field_of(attentive, part_shapes(2))
    assert encoder_of(plain).weights(field) is None
    weights = encoder_of(attentive).weights(field)
    assert weights is not None and weights.shape == (3, 4, 4)
    torch.testing.assert_close(weights.flatten(1).sum(1), torch.tensor([1.0, 1.0, 0.0]))
    assert weights[0].max() > 1.01 / 16


def test_the_transformer_knows_places() -> None:
    """Tokens side by side in another order are another picture, even where attention alone would not tell."""
    options = options_of(2, encoder="transformer", levels=1, patch=[4, 6])
    network = encoder_of(options)
    field = Field(torch.zeros(1, 1, 4, 6), torch.tensor([True]))
    field.value[..., 1, 2] = 1.0
    grid = network(field).grid
    assert (grid[0, :, 0, 5] - grid[0, :, 3, 0]).abs().max() > 1e-3


def test_a_coarse_axis_waits() -> None:
    pyramid = Pyramid(3, 1, 4, 4, (3, 3, 1))
    assert [pyramid.step(level) for level in range(4)] == [(1, 1, 1), (2, 2, 1), (2, 2, 1), (2, 2, 2)]
    assert pyramid.gives == ((4, 1), (8, (2, 2, 1)), (16, (4, 4, 1)), (32, (8, 8, 2)))
    assert Pyramid(2, 1, 200, 3, (2, 2)).channels == (200, 256, 256)
    assert Pyramid(2, 1, 300, 2, (1, 1)).channels == (300, 300)


@EVERY
def test_a_decoder_comes_back_to_every_voxel(encoder: str) -> None:
    options = options_of(3, encoder=encoder, patch=[8, 8, 5], halvings=[2, 2, 0])
    network, field = encoder_of(options), field_of(options, [(8, 8, 5), (6, 8, 2)])
    decoder = Decoder("scan", network.gives, 3)
    found = network(field)
    assert decoder(Seen(found.pooled, {"scan": found}, {"scan": field}))["logits"].shape == (2, 3, 8, 8, 5)


@pytest.mark.parametrize(
    ("chosen", "words"),
    [
        ({"halvings": [2, 2, 1]}, "halvings = .* expected 2 numbers"),
        ({"halvings": [1, 1]}, "the largest of them levels - 1 = 2"),
        ({"halvings": [2, 0], "patch": [18, 7]}, r"multiple of \[4, 1\]; the nearest is \[16, 7\]"),
        ({"encoder": "transformer", "patch": [512, 512]}, "16384 positions at once, and 4096 are the most"),
        ({"encoder": "dense", "width": 6}, "expected a width of at least 8"),
        ({"encoder": "resnet"}, "'residual', 'dense', 'convnext', 'transformer', 'resnet10'"),
    ],
)  # fmt: skip
def test_what_does_not_fit_is_said(chosen: dict[str, object], words: str) -> None:
    with pytest.raises(ValidationError, match=words):
        options_of(2, **chosen)
