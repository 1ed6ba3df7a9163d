"""Published weights of dense networks: what becomes of them answers as the published network does."""

from __future__ import annotations

import re

import pytest
import torch

from medloom.batch import Field
from medloom.errors import DataError
from medloom.modalities.image import Image
from medloom.modalities.image.encoders import published_dense
from medloom.modalities.image.encoders.network import ImageEncoder
from medloom.modalities.image.options import ImageOptions
from tests.modalities.published_files import dense_answer, dense_state_dict, state_dict


def _options(dims=2, channels=3):
    return ImageOptions(
        column="image", known_before_index=True, dims=dims, channels=channels, patch=(64,) * dims, encoder="densenet121",
        weights="net.pth",
    )  # fmt: skip


@pytest.fixture(scope="module")
def found():
    return dense_state_dict()


def _deepest(encoder, image, valid=None):
    with torch.inference_mode():
        return encoder(Field(image, torch.ones(len(image), dtype=torch.bool), valid)).grid


def _image(*shape):
    return torch.randn(*shape, generator=torch.Generator().manual_seed(5))


def test_the_network_answers_as_the_published_one_and_rows_stand_alone(found, tmp_path):
    torch_save = getattr(torch, "save")  # noqa: B009 - files of others are made so
    torch_save(found, tmp_path / "net.pth")
    encoder = ImageEncoder(_options()).eval()
    told = Image(_options(), (0.0,) * 3, (1.0,) * 3).begin(encoder, tmp_path)
    assert told == "net.pth: 120 convolutions, their normalisation folded in or kept as a factor and a shift"
    image = _image(2, 3, 64, 64)
    expected = dense_answer(found, image)
    deepest = _deepest(encoder, image)
    assert deepest.shape == (2, 1024, 2, 2)
    torch.testing.assert_close(deepest, expected, rtol=1e-5, atol=1e-5 * float(expected.abs().max()))
    # Padding, and a row of another size beside it, change nothing.
    valid = torch.ones(2, 64, 64, dtype=torch.bool)
    valid[0, :, 32:] = False
    both = _deepest(encoder, image * valid[:, None], valid)
    alone = _deepest(encoder, (image * valid[:, None])[:1], valid[:1])
    torch.testing.assert_close(both[:1], alone, rtol=1e-5, atol=1e-5 * float(expected.abs().max()))
    assert (both[0, :, :, 1:] == 0).all()


def test_names_of_other_houses_are_the_same_network(found):
    plain = published_dense.named(found)
    assert "denseblock4.denselayer16.norm2.running_var" in plain and not any("classifier" in name for name in plain)
    others = {
        "TorchXRayVision": lambda name: f"model.{name}",
        "RadImageNet": lambda name: name.replace("features.", "backbone.0."),
        "old torchvision": lambda name: (
            re.sub(r"(norm|conv)([12])\.", r"\1.\2.", name) if "denselayer" in name else name
        ),
        "MONAI": lambda name: re.sub(r"(denselayer\d+)\.", r"\1.layers.", name),
    }
    for rename in others.values():
        renamed = published_dense.named({rename(name): tensor for name, tensor in found.items()})
        assert set(renamed) == set(plain) and all(torch.equal(renamed[name], plain[name]) for name in plain)


def test_grey_volumes_take_flat_kernels_of_colours(found):
    encoder = ImageEncoder(_options(3, 1))
    told = published_dense.put_into(encoder.trunk, found, "net.pth")
    assert "kernels repeated along the third axis" in told and "summed over colours" in told
    stem = encoder.trunk.stem
    flat = found["features.conv0.weight"].sum(1, keepdim=True)
    scale = found["features.norm0.weight"] / (found["features.norm0.running_var"] + 1e-5).sqrt()
    torch.testing.assert_close(stem.weight.sum(-1), flat * scale.view(-1, 1, 1, 1))


@pytest.mark.parametrize(
    ("change", "says"),
    [
        (lambda found: state_dict((1, 1, 1, 1), False, width=8), "no layers of a dense network"),
        (lambda found: dense_state_dict((6, 12, 32, 32)), "found 6-12-32-32 dense layers; expected 6-12-24-16"),
        (lambda found: {k: v for k, v in found.items() if "denselayer3.norm1.running_var" not in k}, "lacks denseblock1.denselayer3.norm1.running_var"),
        (lambda found: {**found, "features.norm5.weight": torch.full((1024,), torch.nan)}, "norm5 holds numbers that are not finite"),
        (lambda found: {**found, "features.transition1.conv.weight": torch.zeros(8, 256, 1, 1)}, "convolution of shape"),
    ],
)  # fmt: skip
def test_weights_that_do_not_fit_are_refused(found, change, says):
    with pytest.raises(DataError, match=f"weights a.pth: (.*){says}"):
        published_dense.put_into(ImageEncoder(_options()).trunk, change(found), "a.pth")
