"""Published weights of densely connected networks, under the names that torchvision, TorchXRayVision and RadImageNet give.

All of them say `denseblock1.denselayer1.norm1.weight` behind a beginning of their own, older files `norm.1`, those of
MONAI `layers.norm1`. What classifies is left out.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import cast

import torch
from torch import Tensor, nn

from medloom.errors import DataError
from medloom.modalities.image.encoders.densenet import Affine, PublishedDenseNet, PublishedTransition
from medloom.modalities.image.encoders.published import fitted, folded, resting

PART = re.compile(r"(?:^|\.)((?:conv0|norm0|norm5|denseblock[1-4]|transition[1-3])\..+)$")


def named(found: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """The tensors under the names that torchvision gives them below `features.`; what is not of the encoder is left out."""
    tensors = {}
    for name, tensor in found.items():
        part = PART.search(name)
        if part is not None:
            plain = re.sub(r"\.(norm|conv)\.([12])\.", r".\1\2.", part[1].replace(".layers.", "."))
            tensors[plain] = tensor.float()
    return tensors


def put_into(trunk: PublishedDenseNet, found: Mapping[str, Tensor], name: str) -> str:
    """Puts the weights into a network of their shape; returns what was made of them, as a sentence. Raises DataError."""
    tensors = named(found)
    counts = tuple(len({k.split(".")[1] for k in tensors if k.startswith(f"denseblock{n}.")}) for n in range(1, 5))
    if counts != trunk.counts:
        what = (
            f"{'-'.join(map(str, counts))} dense layers"
            if sum(counts)
            else "no layers of a dense network (denseblock1 to denseblock4)"
        )
        raise DataError(
            f"weights {name}: found {what}; expected {'-'.join(map(str, trunk.counts))}, as the encoder of this input has them"
        )
    told: set[str] = set()
    layers = iter(trunk.layers)
    with torch.no_grad():
        told |= _convolution(tensors, "conv0", "norm0", trunk.stem, name)
        for level, count in enumerate(counts, 1):
            if level > 1:
                own = cast(PublishedTransition, trunk.transitions[level - 2])
                before = f"transition{level - 1}"
                _affine(tensors, f"{before}.norm", own.before, name)
                told |= _convolution(tensors, f"{before}.conv", None, own.narrow, name)
            for place in range(1, count + 1):
                layer, before = next(layers), f"denseblock{level}.denselayer{place}"
                _affine(tensors, f"{before}.norm1", cast(Affine, layer.before), name)
                told |= _convolution(tensors, f"{before}.conv1", f"{before}.norm2", cast(nn.Module, layer.narrow), name)
                told |= _convolution(tensors, f"{before}.conv2", None, cast(nn.Module, layer.grow), name)
        _affine(tensors, "norm5", trunk.last, name)
    made = "".join(f", {how}" for how in sorted(told))
    number = 1 + 2 * sum(counts) + len(trunk.transitions)
    return f"{name}: {number} convolutions, their normalisation folded in or kept as a factor and a shift{made}"


def _convolution(
    tensors: Mapping[str, Tensor], convolution: str, norm: str | None, layer: nn.Module, name: str
) -> set[str]:
    """Copies a convolution, with the normalisation that follows it folded in where there is one; what was done, in words."""
    weight, bias = folded(tensors, convolution, norm, layer, name)
    made, how = fitted(weight, layer.weight, name)  # type: ignore[arg-type]
    layer.weight.copy_(made)  # type: ignore[operator]
    if norm is not None:
        layer.bias.copy_(bias)  # type: ignore[operator]
    return how


def _affine(tensors: Mapping[str, Tensor], norm: str, layer: Affine, name: str) -> None:
    """Copies what a normalisation does to each channel once its statistics rest."""
    factor, shift = resting(tensors, norm, name)
    if factor.shape != layer.weight.shape or not torch.isfinite(factor).all() or not torch.isfinite(shift).all():
        raise DataError(f"weights {name}: {norm} holds numbers that are not finite, or another number of channels")
    layer.weight.copy_(factor)
    layer.bias.copy_(shift)
