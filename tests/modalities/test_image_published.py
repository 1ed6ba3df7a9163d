"""Published weights: what becomes of them answers as the published network does."""

from __future__ import annotations

import zipfile

import pytest
import torch
from safetensors.torch import save_file

from medloom.batch import Field
from medloom.bundle import load
from medloom.errors import DataError, StudyError
from medloom.modalities.image import Image
from medloom.modalities.image.encoders import published
from medloom.modalities.image.encoders.network import ImageEncoder
from medloom.modalities.image.options import PUBLISHED, ImageOptions
from medloom.run import fit
from medloom.study import make
from tests.cases.images import _pictures
from tests.modalities.published_files import answer, state_dict


def _options(encoder, dims=2, channels=3, **more):
    return ImageOptions(
        column="image", known_before_index=True, dims=dims, channels=channels, patch=(32,) * dims, encoder=encoder,
        weights="file.pth", **more,
    )  # fmt: skip


def _encoder(options, tensors):
    encoder = ImageEncoder(options)
    told = published.put_into(encoder.trunk, published.named(tensors), "file.pth")
    return encoder.eval(), told


def _image(*shape):
    return torch.randn(*shape, generator=torch.Generator().manual_seed(5))


def _deepest(encoder, image, valid=None):
    present = torch.ones(len(image), dtype=torch.bool)
    with torch.inference_mode():
        return encoder(Field(image, present, valid)).grid


@pytest.mark.parametrize(
    ("encoder", "dims", "colours", "padded", "before"),
    [
        ("resnet18", 2, 3, False, ""),
        ("resnet50", 2, 3, False, "backbone."),
        ("resnet10", 3, 1, False, "module."),
        ("resnet18", 3, 1, True, "module."),
    ],
)
def test_the_folded_network_answers_as_the_published_one(encoder, dims, colours, padded, before):
    counts, bottleneck = PUBLISHED[encoder]
    found = state_dict(counts, bottleneck, dims, colours, padded)
    ours, _ = _encoder(_options(encoder, dims, colours), {f"{before}{name}": t for name, t in found.items()})
    image = _image(2, colours, *[32] * dims)
    expected = answer(found, counts, image)
    torch.testing.assert_close(_deepest(ours, image), expected, rtol=1e-5, atol=1e-5 * float(expected.abs().max()))


def test_names_of_a_sequence_are_those_of_radimagenet():
    found = state_dict((2, 2, 2, 2), False)
    places = {"conv1": "0", "bn1": "1", "layer1": "4", "layer2": "5", "layer3": "6", "layer4": "7"}
    parts = [(name.partition("."), tensor) for name, tensor in found.items() if not name.startswith("fc.")]
    sequence = {f"backbone.{places[head]}.{rest}": tensor for (head, _, rest), tensor in parts}
    again = published.named(sequence)
    assert set(again) == {name for name in found if not name.startswith("fc.")}
    assert torch.equal(again["layer3.0.downsample.0.weight"], found["layer3.0.downsample.0.weight"])


def test_a_grey_image_answers_as_the_same_image_in_three_colours():
    found = state_dict((1, 1, 1, 1), False)
    ours, told = _encoder(_options("resnet10", channels=1), found)
    image = _image(1, 1, 32, 32)
    expected = answer(found, (1, 1, 1, 1), image.expand(-1, 3, -1, -1))
    torch.testing.assert_close(_deepest(ours, image), expected, rtol=1e-5, atol=1e-5 * float(expected.abs().max()))
    assert "summed over colours" in told


def test_a_volume_of_equal_slices_answers_as_the_slice_away_from_its_ends():
    found = state_dict((1, 1, 1, 1), False)
    encoder = ImageEncoder(_options("resnet10", dims=3, channels=3))
    published.put_into(encoder.trunk, published.named(found), "file.pth")
    image = _image(1, 3, 32, 32)
    with torch.inference_mode():
        stem = encoder.trunk.stem
        whole = stem(image[..., None].expand(-1, -1, -1, -1, 32))
        slice_ = torch.nn.functional.conv2d(image, stem.weight.sum(-1), stem.bias, 2, 3)
    torch.testing.assert_close(whole[..., 8], slice_, rtol=1e-4, atol=1e-4)
    plain = torch.nn.functional.conv2d(image, published.named(found)["conv1.weight"], None, 2, 3)
    each = (1, -1, 1, 1)
    scaled = (plain - found["bn1.running_mean"].view(each)) / (found["bn1.running_var"].view(each) + 1e-5).sqrt()
    expected = scaled * found["bn1.weight"].view(each) + found["bn1.bias"].view(each)
    torch.testing.assert_close(whole[..., 8], expected, rtol=1e-4, atol=1e-4)


def test_padding_and_other_rows_change_nothing():
    ours, _ = _encoder(_options("resnet10", channels=1), state_dict((1, 1, 1, 1), False))
    image = _image(2, 1, 64, 64)
    valid = torch.ones(2, 64, 64, dtype=torch.bool)
    valid[0, :, 32:] = False
    image = image * valid[:, None]
    both = _deepest(ours, image, valid)
    alone = _deepest(ours, image[:1], valid[:1])
    torch.testing.assert_close(both[:1], alone, rtol=1e-5, atol=1e-5)
    changed = _deepest(ours, torch.where(valid[:, None], image, 0.0), valid)
    assert torch.equal(changed, both) and (both[0, :, :, 1:] == 0).all()


def test_a_file_is_read_whatever_it_keeps_beside_the_weights(tmp_path):
    found = state_dict((1, 1, 1, 1), False, width=8)
    torch_save = getattr(torch, "save")  # noqa: B009 - files of others are made so
    torch_save({"epoch": 3, "state_dict": {f"module.{n}": t for n, t in found.items()}}, tmp_path / "a.pth.tar")
    save_file(found, tmp_path / "a.safetensors")
    one, other = (published.named(published.read(tmp_path / name)) for name in ("a.pth.tar", "a.safetensors"))
    assert set(one) == set(other) and all(torch.equal(one[name], other[name]) for name in one)


@pytest.mark.parametrize("kind", ["text", "code", "bomb", "empty", "other", "ending", "missing", "damaged"])
def test_files_that_are_something_else_are_refused_with_a_sentence(kind, tmp_path, monkeypatch):
    path = tmp_path / ("a.safetensors" if kind == "damaged" else "a.onnx" if kind == "ending" else "a.pth")
    torch_save = getattr(torch, "save")  # noqa: B009 - files of others are made so
    if kind in ("text", "damaged", "ending"):
        path.write_text("these are no weights")
    elif kind == "code":
        torch_save(torch.nn.Linear(2, 2), path)
    elif kind == "bomb":
        monkeypatch.setattr(published, "MOST_BYTES", 1 << 16)
        with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as packed:
            packed.writestr("archive/data.pkl", bytes(1 << 20))
        assert path.stat().st_size < 1 << 16
    elif kind == "empty":
        torch_save({"epoch": 3}, path)
    elif kind == "other":
        torch_save({"encoder.weight": torch.zeros(3)}, path)
    with pytest.raises(DataError, match="weights a"):
        published.put_into(ImageEncoder(_options("resnet10")).trunk, published.named(published.read(path)), path.name)


def test_weights_of_another_network_are_named_beside_what_was_expected():
    trunk = ImageEncoder(_options("resnet18")).trunk
    with pytest.raises(DataError, match="found 3-4-6-3 blocks with bottlenecks; expected 2-2-2-2 blocks without"):
        published.put_into(trunk, state_dict((3, 4, 6, 3), True, width=8), "a.pth")
    part = {n: t for n, t in state_dict((2, 2, 2, 2), False).items() if n != "layer3.1.bn2.running_var"}
    with pytest.raises(DataError, match=r"lacks layer3\.1\.bn2\.running_var"):
        published.put_into(trunk, part, "a.pth")


def test_weights_and_their_encoder_go_together():
    with pytest.raises(ValueError, match="go together"):
        ImageOptions(column="image", known_before_index=True, patch=(32, 32), encoder="resnet18")
    with pytest.raises(ValueError, match="go together"):
        ImageOptions(column="image", known_before_index=True, patch=(32, 32), weights="a.pth")
    with pytest.raises(ValueError, match="take width out"):
        _options("resnet18", width=8)
    assert Image(_options("resnet18"), (0.0,), (1.0,)).options.weights_file == "file.pth"


def test_a_bundle_holds_what_became_of_a_file_and_needs_it_no_more(tmp_path):
    pictures = _pictures(tmp_path, 30, (32, 32))
    pictures.write_csv(tmp_path / "cohort.csv")
    save_file(state_dict((1, 1, 1, 1), False), tmp_path / "net.safetensors")
    scan = {
        "modality": "image", "column": "image", "known_before_index": True, "patch": [32, 32], "size": [32, 32],
        "encoder": "resnet10", "weights": "net.safetensors", "pooled_width": 8,
    }  # fmt: skip
    study = make(
        {
            "name": "x",
            "cohort": {"table": "cohort.csv", "row": "stay", "patient": "patient"},
            "inputs": {"scan": scan},
            "targets": {"ill": {"task": "classify", "column": "blob"}},
            "train": {"steps": 2, "batch": 8, "freeze": 0.9, "evaluations": 1, "keep": "last"},
            "evaluate": {"resamples": 100, "baselines": False, "explain": False},
        }
    ).within(tmp_path)
    run = fit(study, tmp_path / "run")
    (tmp_path / "net.safetensors").unlink()
    bundle = load(run.folder / "bundle")
    assert "12 convolutions" in bundle.card["began_with"][0]
    answer_of_bundle = bundle.predict(pictures.head(3), folder=tmp_path)
    assert answer_of_bundle["ill_probability"].is_between(0, 1).all()
    expected, _ = _encoder(_options("resnet10", channels=1), state_dict((1, 1, 1, 1), False))
    held = bundle.network.encoders["input_scan"].trunk.state_dict()
    own = expected.trunk.state_dict()
    assert all(torch.equal(held[name], own[name]) for name in own if not name.startswith("fine."))
    with pytest.raises(StudyError, match=r"no file net\.safetensors"):
        fit(study, tmp_path / "again")
    (tmp_path / "net.safetensors").write_text("no weights")
    with pytest.raises(DataError, match=r"inputs\.scan: weights net\.safetensors: no safetensors file"):
        fit(study, tmp_path / "other")
