"""What a report shows and checks of images, in the section `evaluate.maps` of a study file."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field

from medloom.strict import Name, Strict

MapMethod = Literal["grad_cam", "integrated_gradients", "occlusion", "attention"]
Label = Annotated[int, Field(ge=1, le=32_767)]


class MaskPart(Strict):
    """Masks of what an answer should rest on, which maps are held against."""

    column: str = Field(description="column with the path of each row's mask file, on the grid of its image")
    labels: tuple[Label, ...] = Field((1,), min_length=1, description="values in the mask files that are looked for")


class MapsPart(Strict):
    """Maps over images: where in them the answers come from."""

    methods: tuple[MapMethod, ...] = Field(
        ("grad_cam", "integrated_gradients", "occlusion", "attention"),
        description="ways of asking; attention where the encoder of the image pools by it; empty: no maps",
    )
    pictures: int = Field(
        0,
        ge=0,
        le=20,
        description="draw the images of so many test rows with their maps, and of segment and register the best, the median and the "
        "worst case with outlines: the report then holds patients' images, and says so",
    )
    masks: dict[Name, MaskPart] = Field(
        {}, description="by the name of the image input: masks that the highest point of each map should lie in"
    )
