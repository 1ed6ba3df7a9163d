"""Published weights from a local file into a residual network of ours: read once, folded, and fitted to the channels and axes of a study.

Understood are state dicts of residual networks under the usual names: those of torchvision (`layer1.0.conv1.weight`), of
MedicalNet (`module.layer1.0.conv1.weight`, three axes) and of RadImageNet (`backbone.4.0.conv1.weight`).
"""

from __future__ import annotations

import warnings
import zipfile
from collections.abc import Mapping
from pathlib import Path
from typing import cast

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file
from torch import Tensor, nn

from medloom.errors import DataError
from medloom.modalities.image.encoders.resnet import PublishedNet

MOST_BYTES = 2 << 30
"""Larger files, and files that would unpack to more, are refused unread."""
ENDINGS = (".safetensors", ".pth", ".pt", ".bin", ".tar")
INSIDE = ("state_dict", "model_state_dict", "model", "net")
"""Keys under which files keep the weights beside other things."""
BEFORE = ("module.", "backbone.", "encoder.", "model.", "resnet.")
"""What names may begin with."""
PLACES = {"0": "conv1", "1": "bn1", "4": "layer1", "5": "layer2", "6": "layer3", "7": "layer4"}
"""Names of the parts where a network was kept as a sequence of them."""
EPSILON = 1e-5


def read(path: Path) -> dict[str, Tensor]:
    """The tensors of a file by name. Raises DataError where it is no such file, or too large."""
    if path.suffix not in ENDINGS:
        raise DataError(f"weights {path.name}: expected a file that ends in {', '.join(ENDINGS)}")
    if not path.is_file():
        raise DataError(f"weights {path.name}: no such file; give a path relative to the study file")
    if path.stat().st_size > MOST_BYTES:
        raise DataError(f"weights {path.name}: larger than {MOST_BYTES >> 30} GB, which no network of these is")
    try:
        held = load_file(path) if path.suffix == ".safetensors" else _unpacked(path)
    except SafetensorError as error:
        raise DataError(f"weights {path.name}: no safetensors file, or a damaged one; download it again") from error
    found = _inside(held)
    if not found:
        raise DataError(f"weights {path.name}: holds no named tensors; expected a state dict of a network")
    return found


def _unpacked(path: Path) -> object:
    """What a file of torch holds, tensors and plain values alone: nothing in it is run."""
    try:
        if zipfile.is_zipfile(path):
            with zipfile.ZipFile(path) as packed:
                if sum(one.file_size for one in packed.infolist()) > MOST_BYTES:
                    raise DataError(f"weights {path.name}: unpacks to more than {MOST_BYTES >> 30} GB; not read")
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # of a foreign file, what torch thinks of its format helps nobody
            return torch.load(path, map_location="cpu", weights_only=True)
    except (DataError, MemoryError):
        raise
    except Exception as error:  # a foreign file may raise anything
        raise DataError(
            f"weights {path.name}: not a file of weights alone ({type(error).__name__}); expected a state dict of tensors, "
            "as torch.save(model.state_dict(), ...) or safetensors write it"
        ) from error


def _inside(held: object) -> dict[str, Tensor]:
    """The tensors of a mapping, or of one that lies in it under a usual name."""
    if not isinstance(held, Mapping):
        return {}
    for key in INSIDE:
        if isinstance(held.get(key), Mapping):
            return _inside(held[key])
    return {name: tensor for name, tensor in held.items() if isinstance(name, str) and isinstance(tensor, Tensor)}


def named(found: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """The tensors under the names that torchvision gives them; what is not of the encoder is left out."""
    tensors = dict(found)
    for _ in BEFORE:
        for start in BEFORE:
            if sum(name.startswith(start) for name in tensors) > len(tensors) / 2:
                tensors = {name.removeprefix(start): tensor for name, tensor in tensors.items()}
    if "0.weight" in tensors:
        parts = [(name.partition("."), tensor) for name, tensor in tensors.items()]
        tensors = {f"{PLACES[head]}.{rest}": tensor for (head, _, rest), tensor in parts if head in PLACES}
    kept = ("conv1.", "bn1.", *(f"layer{number}." for number in range(1, 5)))
    return {name: tensor.float() for name, tensor in tensors.items() if name.startswith(kept)}


def shape_of(tensors: Mapping[str, Tensor]) -> tuple[tuple[int, ...], bool]:
    """Blocks of each of the four levels, and whether they have bottlenecks."""
    counts = []
    for number in range(1, 5):
        places = {name.split(".")[1] for name in tensors if name.startswith(f"layer{number}.")}
        counts.append(len(places))
    return tuple(counts), "layer1.0.conv3.weight" in tensors


def put_into(trunk: PublishedNet, tensors: Mapping[str, Tensor], name: str) -> str:
    """Puts the weights into a network of their shape; returns what was made of them, as a sentence. Raises DataError."""
    counts, bottleneck = shape_of(tensors)
    if (counts, bottleneck) != (trunk.counts, trunk.bottleneck):
        expected = _words(trunk.counts, trunk.bottleneck)
        raise DataError(
            f"weights {name}: found {_words(counts, bottleneck)}; expected {expected}, as the encoder of this input has them"
        )
    pairs: list[tuple[nn.Module, str, str]] = [(trunk.stem, "conv1", "bn1")]
    block = iter(trunk.blocks)
    for level, count in enumerate(counts, 1):
        for place in range(count):
            own, before = next(block), f"layer{level}.{place}"
            pairs += [
                (getattr(own, f"conv{i}"), f"{before}.conv{i}", f"{before}.bn{i}") for i in range(1, 3 + bottleneck)
            ]
            if not isinstance(own.shortcut, nn.Identity):
                pairs.append((cast(nn.Module, own.shortcut), f"{before}.downsample.0", f"{before}.downsample.1"))
    told = set()
    with torch.no_grad():
        for layer, convolution, norm in pairs:
            weight, bias = folded(tensors, convolution, norm, layer, name)
            made, how = fitted(weight, layer.weight, name)  # type: ignore[arg-type]
            told |= how
            layer.weight.copy_(made)  # type: ignore[operator]
            layer.bias.copy_(bias)  # type: ignore[operator]
    said = "".join(f", {how}" for how in sorted(told))
    return f"{name}: {len(pairs)} convolutions, their normalisation folded in{said}"


def _words(counts: tuple[int, ...], bottleneck: bool) -> str:
    if not sum(counts):
        return "no layers of a residual network (layer1 to layer4)"
    return f"{'-'.join(map(str, counts))} blocks {'with' if bottleneck else 'without'} bottlenecks"


def folded(
    tensors: Mapping[str, Tensor], convolution: str, norm: str | None, layer: nn.Module, name: str
) -> tuple[Tensor, Tensor]:
    """Weight and bias of a convolution with the normalisation after it, where there is one. Raises DataError."""
    if f"{convolution}.weight" not in tensors and ".downsample." in convolution:
        return _padding_shortcut(layer)
    weight = _held(tensors, f"{convolution}.weight", name)
    bias = tensors.get(f"{convolution}.bias", weight.new_zeros(len(weight)))
    factor, shift = (torch.ones_like(bias), torch.zeros_like(bias)) if norm is None else resting(tensors, norm, name)
    if not (torch.isfinite(factor).all() and torch.isfinite(weight).all()) or len(factor) != len(weight):
        raise DataError(f"weights {name}: {convolution} holds numbers that are not finite, or do not fit {norm}")
    return weight * factor.view(-1, *[1] * (weight.ndim - 1)), bias * factor + shift


def resting(tensors: Mapping[str, Tensor], norm: str, name: str) -> tuple[Tensor, Tensor]:
    """Factor and shift of each channel that a normalisation is once its statistics rest. Raises DataError."""
    scale, shift, mean, variance = (
        _held(tensors, f"{norm}.{part}", name) for part in ("weight", "bias", "running_mean", "running_var")
    )
    factor = scale / (variance + EPSILON).sqrt()
    return factor, shift - mean * factor


def _held(tensors: Mapping[str, Tensor], key: str, name: str) -> Tensor:
    if key not in tensors:
        raise DataError(f"weights {name}: lacks {key}; the file is of another network, or only a part")
    return tensors[key]


def _padding_shortcut(layer: nn.Module) -> tuple[Tensor, Tensor]:
    """The shortcut that has no weights: channels as they are, and 0 in those that are new (He et al., option A)."""
    weight = torch.zeros_like(layer.weight)  # type: ignore[arg-type]
    entering = torch.arange(weight.shape[1])
    weight[entering, entering] = 1.0
    return weight, torch.zeros(len(weight))


def fitted(weight: Tensor, wanted: Tensor, name: str) -> tuple[Tensor, set[str]]:
    """The weight for the channels and axes of our layer, and what was done to it, in words.

    Colours are summed where an image is grey, as if it were shown in each of them. A third axis repeats the kernel,
    divided by its length, so that a volume of equal slices answers as the slice did.
    Source: Carreira & Zisserman, "Quo vadis, action recognition?", CVPR 2017.
    """
    how = set()
    if weight.ndim == 4 and wanted.ndim == 5:
        depth = wanted.shape[-1]
        weight = weight[..., None].expand(*weight.shape, depth) / depth
        how.add("kernels repeated along the third axis")
    if weight.ndim == wanted.ndim and weight.shape[1] != wanted.shape[1] and weight.shape[0] == wanted.shape[0]:
        if weight.shape[1] == 3 and wanted.shape[1] == 1:
            weight = weight.sum(1, keepdim=True)
            how.add("the first summed over colours")
        elif weight.shape[1] == 1 and wanted.shape[1] == 3:
            weight = weight.expand(-1, 3, *weight.shape[2:]) / 3
            how.add("the first shared by three colours")
    if weight.shape != wanted.shape:
        raise DataError(
            f"weights {name}: found a convolution of shape {tuple(weight.shape)}; expected {tuple(wanted.shape)}"
        )
    return weight, how
