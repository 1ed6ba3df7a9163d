"""Group normalisation over valid positions, against torch's own where all are valid."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from medloom.masked import MaskedGroupNorm


@pytest.mark.parametrize(("channels", "spatial"), [(4, (9,)), (12, (5, 6)), (16, (3, 4, 5))])
def test_without_padding_it_is_group_norm(channels: int, spatial: tuple[int, ...]) -> None:
    torch.manual_seed(0)
    ours = MaskedGroupNorm(channels)
    theirs = nn.GroupNorm(ours.groups, channels)
    for mine, other in ((ours.weight, theirs.weight), (ours.bias, theirs.bias)):
        nn.init.normal_(mine)
        other.data.copy_(mine.data)
    values = torch.randn(2, channels, *spatial) * 3 + 5
    torch.testing.assert_close(ours(values, torch.ones(2, 1, *spatial)), theirs(values), atol=1e-5, rtol=1e-5)


def test_what_stands_in_the_padding_does_not_count() -> None:
    norm = MaskedGroupNorm(8)
    nn.init.ones_(norm.bias)
    values, valid = torch.randn(1, 8, 10), torch.ones(1, 1, 10)
    valid[:, :, 6:] = 0
    other = values.clone()
    other[:, :, 6:] = 1e4
    torch.testing.assert_close(norm(other, valid), norm(values, valid))
    torch.testing.assert_close(
        norm(values, valid)[:, :, :6], norm(values[:, :, :6], valid[:, :, :6]), atol=1e-5, rtol=1e-5
    )
    assert (norm(values, valid)[:, :, 6:] == 0).all()
    assert (norm(values, torch.zeros(1, 1, 10)) == 0).all()
