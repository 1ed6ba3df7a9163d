"""State dicts of published networks, generated: their names and shapes, and what such a network answers."""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional as F

CONVOLVE = {2: F.conv2d, 3: F.conv3d}
POOL = {2: F.max_pool2d, 3: F.max_pool3d}


def state_dict(
    counts: tuple[int, ...], bottleneck: bool, dims: int = 2, colours: int = 3, padded: bool = False, width: int = 64
) -> dict[str, Tensor]:
    """Random weights with running statistics, under the names of torchvision; `padded`: shortcuts without weights."""
    random = torch.Generator().manual_seed(3)
    found: dict[str, Tensor] = {}

    def normal(*shape: int) -> Tensor:
        return torch.randn(*shape, generator=random)

    def layer(convolution: str, norm: str, leaving: int, entering: int, kernel: int) -> None:
        fan = entering * kernel**dims
        found[f"{convolution}.weight"] = normal(leaving, entering, *[kernel] * dims) * (1.5 / fan) ** 0.5
        found[f"{norm}.weight"] = 1 + 0.2 * normal(leaving)
        found[f"{norm}.bias"] = 0.2 * normal(leaving)
        found[f"{norm}.running_mean"] = 0.2 * normal(leaving)
        found[f"{norm}.running_var"] = 0.5 + normal(leaving).square()
        found[f"{norm}.num_batches_tracked"] = torch.tensor(7)

    layer("conv1", "bn1", width, colours, 7)
    entering = width
    for level, count in enumerate(counts, 1):
        inner = width * 2 ** (level - 1)
        leaving = inner * (4 if bottleneck else 1)
        for place in range(count):
            name = f"layer{level}.{place}"
            kernels = (1, 3, 1) if bottleneck else (3, 3)
            sizes = [entering, *[inner] * (len(kernels) - 1), leaving]
            for i, kernel in enumerate(kernels, 1):
                layer(f"{name}.conv{i}", f"{name}.bn{i}", sizes[i], sizes[i - 1], kernel)
            if not place and (level > 1 or entering != leaving) and not padded:
                layer(f"{name}.downsample.0", f"{name}.downsample.1", leaving, entering, 1)
            entering = leaving
    found["fc.weight"], found["fc.bias"] = normal(5, entering), normal(5)
    return found


def answer(found: dict[str, Tensor], counts: tuple[int, ...], image: Tensor) -> Tensor:
    """The deepest map of such a network, `[batch, channels, *spatial]`, with its statistics at rest."""
    dims = image.ndim - 2

    def layer(values: Tensor, convolution: str, norm: str, stride: int = 1) -> Tensor:
        weight = found[f"{convolution}.weight"]
        values = CONVOLVE[dims](values, weight, None, stride, weight.shape[-1] // 2)
        each = (1, -1, *[1] * dims)
        mean, variance = found[f"{norm}.running_mean"].view(each), found[f"{norm}.running_var"].view(each)
        scaled = (values - mean) / (variance + 1e-5).sqrt()
        return scaled * found[f"{norm}.weight"].view(each) + found[f"{norm}.bias"].view(each)

    values = POOL[dims](F.relu(layer(image, "conv1", "bn1", 2)), 3, 2, 1)
    for level, count in enumerate(counts, 1):
        for place in range(count):
            name, stride = f"layer{level}.{place}", 2 if level > 1 and not place else 1
            last = 3 if f"{name}.conv3.weight" in found else 2
            inner = values
            for i in range(1, last + 1):
                inner = layer(inner, f"{name}.conv{i}", f"{name}.bn{i}", stride if i == last - 1 else 1)
                inner = F.relu(inner) if i < last else inner
            if f"{name}.downsample.0.weight" in found:
                values = layer(values, f"{name}.downsample.0", f"{name}.downsample.1", stride)
            elif inner.shape != values.shape:
                values = values[(slice(None), slice(None), *[slice(None, None, stride)] * dims)]
                missing = inner.shape[1] - values.shape[1]
                values = torch.cat([values, values.new_zeros(len(values), missing, *values.shape[2:])], 1)
            values = F.relu(inner + values)
    return values


def dense_state_dict(counts: tuple[int, ...] = (6, 12, 24, 16), colours: int = 3) -> dict[str, Tensor]:
    """Random weights of a dense network with running statistics, under the names of torchvision."""
    random = torch.Generator().manual_seed(4)
    found: dict[str, Tensor] = {}

    def convolution(name: str, leaving: int, entering: int, kernel: int) -> None:
        weight = torch.randn(leaving, entering, kernel, kernel, generator=random)
        found[f"features.{name}.weight"] = weight * (1.5 / (entering * kernel**2)) ** 0.5

    def norm(name: str, channels: int) -> None:
        parts = {
            "weight": 1 + 0.2 * torch.randn(channels, generator=random),
            "bias": 0.2 * torch.randn(channels, generator=random),
        }
        parts["running_mean"] = 0.2 * torch.randn(channels, generator=random)
        parts["running_var"] = 0.5 + torch.randn(channels, generator=random).square()
        found.update({f"features.{name}.{part}": tensor for part, tensor in parts.items()})
        found[f"features.{name}.num_batches_tracked"] = torch.tensor(7)

    convolution("conv0", 64, colours, 7)
    norm("norm0", 64)
    channels = 64
    for level, count in enumerate(counts, 1):
        for place in range(1, count + 1):
            name = f"denseblock{level}.denselayer{place}"
            norm(f"{name}.norm1", channels)
            convolution(f"{name}.conv1", 128, channels, 1)
            norm(f"{name}.norm2", 128)
            convolution(f"{name}.conv2", 32, 128, 3)
            channels += 32
        if level < len(counts):
            norm(f"transition{level}.norm", channels)
            convolution(f"transition{level}.conv", channels // 2, channels, 1)
            channels //= 2
    norm("norm5", channels)
    found["classifier.weight"], found["classifier.bias"] = torch.zeros(5, channels), torch.zeros(5)
    return found


def dense_answer(found: dict[str, Tensor], image: Tensor) -> Tensor:
    """The deepest map of such a network, after its last norm and activation, with its statistics at rest."""

    def norm(values: Tensor, name: str) -> Tensor:
        parts = [found[f"features.{name}.{part}"] for part in ("running_mean", "running_var", "weight", "bias")]
        return F.relu(F.batch_norm(values, *parts, training=False, eps=1e-5))

    def convolve(values: Tensor, name: str, stride: int = 1) -> Tensor:
        weight = found[f"features.{name}.weight"]
        return F.conv2d(values, weight, None, stride, weight.shape[-1] // 2)

    values = F.max_pool2d(norm(convolve(image, "conv0", 2), "norm0"), 3, 2, 1)
    for level in range(1, 5):
        place = 1
        while f"features.denseblock{level}.denselayer{place}.conv1.weight" in found:
            name = f"denseblock{level}.denselayer{place}"
            inner = convolve(norm(values, f"{name}.norm1"), f"{name}.conv1")
            values = torch.cat([values, convolve(norm(inner, f"{name}.norm2"), f"{name}.conv2")], 1)
            place += 1
        if level < 4:
            values = F.avg_pool2d(convolve(norm(values, f"transition{level}.norm"), f"transition{level}.conv"), 2)
    return norm(values, "norm5")
