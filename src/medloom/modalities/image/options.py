"""What a study file may say of an image."""

from __future__ import annotations

from collections.abc import Mapping
from math import prod
from typing import Annotated, Literal, Self

from pydantic import Field, model_validator
from pydantic_core import PydanticCustomError

from medloom.modalities.image.augment_part import AugmentPart
from medloom.modalities.image.encoders.pyramid import Pyramid
from medloom.modalities.image.reading.scan import Wish
from medloom.parts import InputPart

Side = Annotated[int, Field(ge=1, le=4096)]
Axis = Annotated[int, Field(ge=0, le=2)]
USUAL_BLOCKS = {"residual": 1, "dense": 4, "convnext": 2, "transformer": 4}
"""Blocks of each encoder where the study names no number: of a level, and of the transformer in all."""
Encoders = Literal[
    "residual",
    "dense",
    "convnext",
    "transformer",
    "resnet10",
    "resnet18",
    "resnet34",
    "resnet50",
    "resnet101",
    "densenet121",
]
PUBLISHED: Mapping[str, tuple[tuple[int, ...], bool]] = {
    "resnet10": ((1, 1, 1, 1), False),
    "resnet18": ((2, 2, 2, 2), False),
    "resnet34": ((3, 4, 6, 3), False),
    "resnet50": ((3, 4, 6, 3), True),
    "resnet101": ((3, 4, 23, 3), True),
}
"""Residual networks of published weights: blocks of each of their four levels, and whether these have bottlenecks."""
PUBLISHED_DENSE: Mapping[str, tuple[tuple[int, ...], tuple[int, ...]]] = {
    "densenet121": ((6, 12, 24, 16), (16, 64, 256, 512, 1024, 1024)),
}
"""Dense ones: layers of each of their four levels, and channels of all maps."""
FROM_FILES = (*PUBLISHED, *PUBLISHED_DENSE)
"""Encoders that begin with published weights."""
MOST_TOKENS = 4096
"""Positions that may attend to each other: what that takes grows with their square."""


class ImageOptions(InputPart):
    """Options of `modality = "image"`."""

    modality: Literal["image"] = "image"
    column: str | tuple[str, ...] = Field(
        description="column with the path of a file (DICOM, NIfTI, NRRD, MetaImage, PNG, JPEG, TIFF, .npy) or of a folder "
        "that holds one DICOM series (of a TIFF, pages are slices where dims = 3), relative to the table's folder; with store: a volume, series, study or patient of it; "
        "empty where the row has none; or several columns, such as frontal and lateral, of which any may be empty"
    )
    most_images: int = Field(
        1,
        ge=1,
        le=256,
        description='images that a cell may name, parted by ";" (with store also a study, for all its volumes): above 1, '
        "rows have any number of images, which attention brings together; each is then seen whole (patch = size)",
    )
    store: str | None = Field(
        None,
        description="folder that `medloom ingest` wrote, relative to the study file: column then names what it holds",
    )
    dims: Literal[2, 3] = Field(2, description="spatial axes: 2 for pictures and single slices, 3 for volumes")
    channels: Literal[1, 3] = Field(1, description="1 for grey, 3 for colour")
    colour: Literal["refuse", "grey"] = Field(
        "refuse", description="what happens to colour where channels = 1: refused, or its luma (ITU-R BT.601)"
    )
    gaps: Literal["refuse", "interpolate"] = Field(
        "refuse",
        description="what happens to a DICOM series that misses slices or has them at uneven distances: refused, or filled "
        "from the neighbours where no more than three in a row are missing",
    )
    window: tuple[float, float] | None = Field(
        None,
        description="lowest and highest intensity that is kept, in the file's units: [-160, 240] for soft tissue in CT; what "
        "lies beyond is set to them",
    )
    spacing_mm: tuple[Annotated[float, Field(gt=0, le=1000)], ...] | None = Field(
        None,
        min_length=2,
        max_length=3,
        description="distance of voxels along each axis that the network sees: images are resampled to it (linear; masks "
        "nearest), answers come back on the grid of the file; left out: each file's own",
    )
    size: tuple[Side, ...] | None = Field(
        None, min_length=2, max_length=3, description="or the number of voxels along each axis, whatever their distance"
    )
    patch: Annotated[tuple[Side, ...], Field(min_length=2, max_length=3)] | Literal["auto"] = Field(
        "auto",
        description="voxels along each axis that the network sees at a time: [rows, columns] of a picture, [x, y, z] of a "
        "volume; auto: size where it is given, else an image of median size, or as much of it as memory and time allow",
    )
    overlap: float = Field(
        0.5, ge=0, le=0.75, description="share of a window that its neighbour sees too, in prediction"
    )
    flip: tuple[Axis, ...] = Field((), description="axes that may be mirrored in training, from 0")
    predict_flip: tuple[Axis, ...] = Field(
        (),
        description="axes along which each window is seen mirrored too, in prediction, in every combination, and answers "
        "averaged: two axes take four times as long",
    )
    skip_empty: bool = Field(
        False,
        description="in prediction, windows in which all voxels are equal (air, padding) are not looked at: nothing is found "
        "in them",
    )
    masks: Literal["nifti", "dicom-seg"] = Field(
        "nifti",
        description="how answers that are masks of volumes are written: nifti, or for images from a DICOM series as DICOM "
        "segmentation objects that refer to its slices",
    )
    augment: AugmentPart | None = Field(
        None, description="how the views of training rows are altered; left out: not at all, but for flip"
    )
    intensity: Literal["cohort", "image"] = Field(
        "cohort",
        description="centre and scale from all training images (X-ray, CT, photographs), or from each image alone (MR, whose units are arbitrary)",
    )
    encoder: Encoders = Field(
        "residual",
        description="network: residual (He 2016), dense (each layer sees all before it, Huang 2017), convnext (wide depthwise "
        "kernels, Liu 2022), transformer (attention between positions of a convolutional map, Dosovitskiy 2021); resnet10 to resnet101 (He 2015) and "
        "densenet121: those of published weights, which they need",
    )
    weights: str | None = Field(
        None,
        description="local file of published weights that an encoder of published weights begins with, relative to the study file: "
        ".safetensors or .pth, of torchvision, MedicalNet, RadImageNet or TorchXRayVision; a bundle holds what became of it",
    )
    blocks: int | None = Field(
        None,
        ge=1,
        le=48,
        description="depth: blocks of each level (dense: layers; transformer: blocks in all, on the deepest grid); left out: 1 "
        "for residual, 4 for dense, 2 for convnext, 4 for transformer",
    )
    pool: Literal["mean", "peak", "attention"] = Field(
        "mean",
        description="what becomes of the deepest grid: the mean of its positions; peak: that beside the highest value of each "
        "feature, for findings that fill little of an image; attention: a mean that weighs positions by what they show",
    )
    halvings: tuple[Annotated[int, Field(ge=0, le=6)], ...] | None = Field(
        None,
        min_length=2,
        max_length=3,
        description="how often each axis is halved over the levels, at most levels - 1: fewer along thick slices, which are "
        'then halved last; left out: levels - 1 along each, and with levels = "auto" as size and spacing ask for',
    )
    width: Annotated[int, Field(ge=4, le=256)] | Literal["auto"] = Field(
        "auto",
        description="channels of the network at full resolution; they double at each level, up to 256; auto: 16, or with "
        "minutes as many as time allows",
    )
    levels: Annotated[int, Field(ge=1, le=7)] | Literal["auto"] = Field(
        "auto",
        description="resolutions of the network, each half of the one before; auto: until the deepest grid has 4 to 7 "
        "positions along an axis (of the transformer 8 to 15)",
    )
    pooled_width: int = Field(128, ge=4, le=4096, description="features of a whole view, handed on to fusion")

    @property
    def resolved(self) -> bool:
        """Whether patch, width and levels are all numbers, as they are once the data were looked at."""
        return self.encoder in FROM_FILES or "auto" not in (self.patch, self.width, self.levels)

    @property
    def sides(self) -> tuple[int, ...]:
        """The patch in voxels. Raises TypeError before the data were looked at."""
        if isinstance(self.patch, str):
            raise TypeError('patch = "auto" has no sides before the data were looked at')
        return self.patch

    @property
    def pyramid(self) -> Pyramid:
        """The shape of the encoder's maps. Raises TypeError before the data were looked at."""
        if self.encoder in FROM_FILES:
            if self.encoder in PUBLISHED:
                _, bottleneck = PUBLISHED[self.encoder]
                widths = (16, 64, *(64 * (4 if bottleneck else 1) * 2**level for level in range(4)))
            else:
                _, widths = PUBLISHED_DENSE[self.encoder]
            return Pyramid(self.dims, self.channels, widths[0], len(widths), (len(widths) - 1,) * self.dims, widths)
        if isinstance(self.width, str) or isinstance(self.levels, str):
            raise TypeError('width and levels = "auto" have no maps before the data were looked at')
        return Pyramid(self.dims, self.channels, self.width, self.levels, self._halved(self.levels))

    @property
    def block_count(self) -> int:
        """Blocks of a level, or in all, as the encoder counts them."""
        return self.blocks or USUAL_BLOCKS.get(self.encoder, 1)

    @property
    def strides(self) -> tuple[int, ...]:
        """Voxels that one step on the deepest grid covers along each axis."""
        if self.encoder in FROM_FILES or isinstance(self.levels, str):
            pyramid = self.pyramid
            return pyramid.strides(pyramid.levels - 1)
        return tuple(2**times for times in self._halved(self.levels))

    def _halved(self, levels: int) -> tuple[int, ...]:
        return (levels - 1,) * self.dims if self.halvings is None else self.halvings

    @property
    def weights_file(self) -> str | None:
        """Path of published weights, relative to the study file."""
        return self.weights

    @model_validator(mode="after")
    def _fits_together(self) -> Self:
        if not isinstance(self.patch, str) and len(self.patch) != self.dims:
            raise PydanticCustomError(
                "part",
                "patch has {found} sizes; expected one for each of the {dims} dims",
                {"found": len(self.patch), "dims": self.dims},
            )
        self._check_network()
        if not self.columns or len(set(self.columns)) != len(self.columns):
            raise PydanticCustomError("part", "column must name a column, or several different ones")
        if self.bagged and not self.seen_whole:
            raise PydanticCustomError(
                "part",
                "several images a row are each seen whole: give size, such as [128, 128], and leave out patch",
            )
        for name in ("flip", "predict_flip"):
            axes = getattr(self, name)
            if any(axis >= self.dims for axis in axes) or len(set(axes)) != len(axes):
                raise PydanticCustomError(
                    "part",
                    "{name} = {flip} must name different axes from 0 to {last}",
                    {"name": name, "flip": list(axes), "last": self.dims - 1},
                )
        if self.masks == "dicom-seg" and (self.dims != 3 or self.store is not None or self.bagged):
            raise PydanticCustomError(
                "part", 'masks = "dicom-seg" goes with dims = 3 and with files of DICOM, not with a store'
            )
        if self.augment is not None and self.dims == 2 and isinstance(self.augment.rotate_degrees, tuple):
            raise PydanticCustomError(
                "part", "augment.rotate_degrees has three angles and pictures one; expected a number where dims = 2"
            )
        for name in ("spacing_mm", "size"):
            given = getattr(self, name)
            if given is not None and len(given) != self.dims:
                raise PydanticCustomError(
                    "part",
                    "{name} has {found} numbers; expected one for each of the {dims} dims",
                    {"name": name, "found": len(given), "dims": self.dims},
                )
        if self.spacing_mm is not None and self.size is not None:
            raise PydanticCustomError("part", "spacing_mm and size are two ways to name one grid; give one of them")
        if self.window is not None and not self.window[0] < self.window[1]:
            raise PydanticCustomError("part", "window must rise, such as [-160, 240]")
        if self.channels == 3 and self.colour == "grey":
            raise PydanticCustomError("part", 'colour = "grey" goes with channels = 1')
        return self

    @property
    def columns(self) -> tuple[str, ...]:
        """The columns that name images."""
        return (self.column,) if isinstance(self.column, str) else self.column

    @property
    def label(self) -> str:
        """The columns, for messages."""
        several = "s" if len(self.columns) > 1 else ""
        return f"column{several} {', '.join(map(repr, self.columns))}"

    @property
    def bagged(self) -> bool:
        """Whether a row may have several images."""
        return len(self.columns) > 1 or self.most_images > 1

    @property
    def hides(self) -> bool:
        """Whether parts of it can be hidden from its encoder: of one image a row."""
        return not self.bagged

    @property
    def seen_whole(self) -> bool:
        """Whether the network sees each image at once and once: all of it, resampled to the size of a view."""
        return self.size is not None and self.patch in ("auto", self.size) and not self.predict_flip

    @property
    def wish(self) -> Wish:
        """How files are to be read."""
        return Wish(
            self.dims,
            self.channels,
            colour=self.colour,
            gaps=self.gaps,
            window=self.window,
            spacing_mm=self.spacing_mm,
            size=self.size,
        )

    def _check_network(self) -> None:
        """Raises PydanticCustomError where the network does not fit the patch, or itself."""
        self._check_published()
        if self.halvings is not None:
            most = max(self.halvings) if isinstance(self.levels, str) else self.levels - 1
            if len(self.halvings) != self.dims or max(self.halvings) != most:
                raise PydanticCustomError(
                    "part",
                    "halvings = {halvings} does not fit: expected {dims} numbers, the largest of them levels - 1 = {most}",
                    {"halvings": list(self.halvings), "dims": self.dims, "most": most},
                )
        if self.encoder == "dense" and not isinstance(self.width, str) and self.width < 2 * self.block_count:
            raise PydanticCustomError(
                "part",
                "{blocks} dense layers share half of width = {width}; expected a width of at least {least}, or fewer blocks",
                {"blocks": self.block_count, "width": self.width, "least": 2 * self.block_count},
            )
        if isinstance(self.patch, str) or (isinstance(self.levels, str) and self.encoder not in FROM_FILES):
            return
        strides = self.strides
        if any(side % stride for side, stride in zip(self.sides, strides, strict=True)):
            near = [max(t, round(side / t) * t) for side, t in zip(self.sides, strides, strict=True)]
            several = strides[0] if len(set(strides)) == 1 else list(strides)
            raise PydanticCustomError(
                "part",
                "patch = {patch} does not fit {levels} levels: every size must be a multiple of {stride}; the nearest is {near}",
                {
                    "patch": list(self.sides),
                    "levels": self.levels if isinstance(self.levels, int) else self.pyramid.levels,
                    "stride": several,
                    "near": near,
                },
            )
        tokens = prod(side // stride for side, stride in zip(self.sides, strides, strict=True))
        if self.encoder == "transformer" and tokens > MOST_TOKENS:
            raise PydanticCustomError(
                "part",
                "the transformer would see {tokens} positions at once, and {most} are the most; give more levels or a smaller patch",
                {"tokens": tokens, "most": MOST_TOKENS},
            )

    def _check_published(self) -> None:
        """Raises PydanticCustomError where weights and the network that they are for do not go together."""
        if (self.encoder in FROM_FILES) != (self.weights is not None):
            raise PydanticCustomError(
                "part",
                'weights and an encoder of published weights go together: give weights = "<file>" and encoder = one of {known}',
                {"known": ", ".join(FROM_FILES)},
            )
        if self.encoder in FROM_FILES:
            if self.patch == "auto":
                raise PydanticCustomError(
                    "part",
                    "{encoder} needs patch, of sizes that are multiples of 32, such as [96, 96]",
                    {"encoder": self.encoder},
                )
            usual = ImageOptions.model_fields
            given = [k for k in ("width", "levels", "blocks", "halvings") if getattr(self, k) != usual[k].default]
            if given:
                raise PydanticCustomError(
                    "part",
                    "{encoder} has widths and levels of its own; take {given} out",
                    {"encoder": self.encoder, "given": " and ".join(given)},
                )

    def text_columns(self) -> tuple[str, ...]:
        """Columns that a CSV reader must leave as text."""
        return self.columns
