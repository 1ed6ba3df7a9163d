"""The encoder of several images a row: each by one network, then brought together by attention.

Source: Ilse, Tomczak & Welling, "Attention-based deep multiple instance learning", ICML 2018, equations 7 to 9 (gated).
"""

from __future__ import annotations

from dataclasses import replace
from functools import partial
from typing import cast

import torch
from jaxtyping import Bool, Float
from torch import Tensor, nn

from medloom.batch import Encoded, Field, Gives
from medloom.modalities.image.bags import PLACE
from medloom.modalities.image.encoders.network import AttentionPool, ImageEncoder
from medloom.modalities.image.options import ImageOptions
from medloom.told import Located

VOXELS_AT_ONCE = 1 << 21
"""Voxels that are encoded together in prediction."""


class BagEncoder(nn.Module):
    """Bags of images → a vector of each image (tokens), and their weighted mean.

    Where images come from several columns, a learnt vector says from which. It begins as the plain mean over images.
    """

    def __init__(self, options: ImageOptions) -> None:
        super().__init__()
        width = options.pooled_width
        self.images = ImageEncoder(options)
        self.place = nn.Embedding(len(options.columns), width)
        nn.init.zeros_(self.place.weight)
        self.pool = AttentionPool(width)
        # Grids are inside, and no head may ask for them; that there are some says that threads and memory matter.
        self.gives = Gives(width=width, features=width, dims=options.dims)

    def forward(self, field: Field) -> Encoded:
        """Encodes `field.value` [batch, images, channels, *patch]; places without an image count for nothing."""
        held, vectors = self._vectors(field)
        grid, valid = vectors.transpose(1, 2), held[:, None].to(vectors.dtype)
        return Encoded(pooled=self.pool(grid, valid), tokens=vectors, valid=held)

    def weights(self, field: Field) -> Float[Tensor, "batch images"]:
        """How much each image counts in the pooled vector."""
        held, vectors = self._vectors(field)
        return self.pool.weights(vectors.transpose(1, 2), held[:, None].to(vectors.dtype))

    def _vectors(self, field: Field) -> tuple[Bool[Tensor, "batch images"], Float[Tensor, "batch images width"]]:
        """Which places hold an image, and the vector of each; 0 elsewhere."""
        one, held = images_of(field)
        vectors = field.value.new_zeros((*held.shape, self.gives.width))
        if not held.any():
            return held, vectors
        # Where nothing is learnt, few images at a time: a row may have many.
        step = len(one.value) if torch.is_grad_enabled() else max(1, VOXELS_AT_ONCE // one.value[0].numel())
        parts = [self.images(one.rows(first, first + step)).pooled for first in range(0, len(one.value), step)]
        made = torch.cat(parts) + self.place(field.extra[PLACE][held])
        # Set by places and not by a mask that is copied into: the products may come in a shorter type.
        return held, vectors.to(made.dtype).index_put((held,), made)


def images_of(field: Field) -> tuple[Field, Bool[Tensor, "batch images"]]:
    """The images of all bags that are data, one after another, and which places hold one."""
    assert field.valid is not None
    held = field.valid.flatten(2).any(2)
    return replace(field, value=field.value[held], present=held[held], valid=field.valid[held], extra={}), held


def located(encoder: nn.Module, options: ImageOptions) -> Located:
    """Where maps over images are made in an encoder of one image a row, or of several."""
    several = isinstance(encoder, BagEncoder)
    images = cast(ImageEncoder, encoder.images if several else encoder)
    if options.pool != "attention":
        return Located(images, options.dims)
    return Located(images, options.dims, partial(_weights, images, several))


def _weights(images: ImageEncoder, several: bool, field: Field) -> Tensor:
    found = images.weights(images_of(field)[0] if several else field)
    assert found is not None
    return torch.as_tensor(found)
