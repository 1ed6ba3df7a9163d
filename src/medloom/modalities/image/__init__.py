"""Images: DICOM, NIfTI, pictures and more, two or three axes, seen in patches on their own grid or on one that is asked for."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, ClassVar, Self

import numpy as np

from medloom.draw import Draw
from medloom.modalities.image import dense, packing, stored
from medloom.modalities.image.files import write_mask
from medloom.modalities.image.intensity import ImageSummary, centre_and_scale, counts, feature_count, merge
from medloom.modalities.image.options import ImageOptions
from medloom.modalities.image.packing import Grids
from medloom.modalities.image.scan import Scan
from medloom.modalities.image.views import covering_view, gather, training_view
from medloom.modality import Budget, Hiding, Lifted, Marks, Modality, Sized, View
from medloom.packed import Packed, Source
from medloom.tally import add

if TYPE_CHECKING:
    import polars as pl
    from torch import nn

    from medloom.batch import Field, Output
    from medloom.cohort.table import Cohort


@dataclass(frozen=True, slots=True)
class Image(Modality):
    """Fitted images: median and robust scale of the training images' foreground, for each channel."""

    Options: ClassVar[type[ImageOptions]] = ImageOptions
    Summary: ClassVar[type[ImageSummary]] = ImageSummary
    windows: ClassVar[bool] = True
    read_block: ClassVar[int] = 32
    copies_within: ClassVar[float | None] = 0.06

    options: ImageOptions
    centre: tuple[float, ...]
    scale: tuple[float, ...]

    @classmethod
    def sized(cls, options: ImageOptions, cohort: Cohort, budget: Budget) -> Sized:  # type: ignore[override]
        """Patch, width and levels from the headers of at most 200 files, memory and time (docs/adr/0035)."""
        if options.resolved:
            return Sized(options)
        from medloom.modalities.image import looking, sizing

        return sizing.sized(options, looking.looked(options, cohort, cls.keys(options, cohort).to_list()), budget)

    @classmethod
    def columns(cls, options: ImageOptions) -> tuple[str, ...]:  # type: ignore[override]
        return (options.column,)

    @classmethod
    def keys(cls, options: ImageOptions, cohort: Cohort) -> pl.Series:  # type: ignore[override]
        """The path of each row's file; null where there is none, or where it was not known before the index time."""
        import polars as pl

        from medloom.cohort.table import canonical

        paths = canonical(cohort.column(options.column, "image"))
        known = _known_at(options, cohort)
        if known is None or cohort.at is None:
            return paths
        return pl.select(pl.when(pl.Series(known < cohort.at)).then(paths).alias("key")).to_series()

    @classmethod
    def read(cls, options: ImageOptions, cohort: Cohort) -> list[Scan]:  # type: ignore[override]
        """The decoded files of these rows. Raises DataError naming the rows of every file that cannot be used."""
        keys, rows = cls.keys(options, cohort).to_list(), cohort.row.to_list()
        if options.store is not None:
            return stored.read_scans(cohort.folder / options.store, keys, rows, options.column, options.wish)
        return packing.read_scans([cohort.files / path for path in keys], rows, options.column, options.wish)

    @classmethod
    def pack(cls, options: ImageOptions, columns: Iterable[list[Scan]], store: Path | None) -> Packed:  # type: ignore[override]
        return packing.pack(columns, options.dims, options.channels, store)

    @classmethod
    def point(cls, options: ImageOptions, packed: Packed, cohort: Cohort, unit: np.ndarray) -> Source:  # type: ignore[override]
        known = _known_at(options, cohort)
        newest = None if known is None else np.where(unit > 0, known, np.nan)
        return Source(packed, unit, cohort.patient, newest=newest, bound={"row_ids": cohort.row.to_list()})

    @classmethod
    def summarise(cls, options: ImageOptions, source: Source, rows: np.ndarray) -> ImageSummary:  # type: ignore[override]
        """Counts of the intensities of these rows; an image that several rows share counts once for each."""
        grids = Grids(source.packed)
        total = merge([ImageSummary(((np.zeros(0, np.float32), np.zeros(0, np.int64)),) * options.channels)])
        unit, number = np.unique(source.unit[rows], return_counts=True)
        for one, times in zip(unit.tolist(), number.tolist(), strict=True):
            planes = [counts(plane) for plane in grids.unit(one)]
            total = ImageSummary(
                tuple(add([sofar, (v, n * times)]) for sofar, (v, n) in zip(total.channels, planes, strict=True))
            )
        return total

    @classmethod
    def fit(cls, options: ImageOptions, summaries: Sequence[ImageSummary]) -> Self:  # type: ignore[override]
        scaled = [centre_and_scale(*channel) for channel in merge(summaries).channels]
        return cls(options, tuple(centre for centre, _ in scaled), tuple(scale for _, scale in scaled))

    def bind(self, source: Source) -> Source:
        """Looks up the centre and the scale of every unit: the fitted ones, or those of each image alone."""
        own_centre, own_scale = source.packed.arrays["own_centre"], source.packed.arrays["own_scale"]
        alone = self.options.intensity == "image"
        centre = own_centre if alone else np.broadcast_to(np.array(self.centre), own_centre.shape)
        scale = own_scale if alone else np.broadcast_to(np.array(self.scale), own_scale.shape)
        return replace(source, bound={**source.bound, "centre": centre, "scale": scale})

    def view(self, source: Source, rows: np.ndarray, draw: Draw | None, focus: Sequence[Source] = ()) -> View:
        """Training: a random crop a row, mirrored as `flip` allows. Prediction: overlapping windows of each row.

        `at["corner"]` is a view's first voxel, negative where the view begins before the image; `at["flip"]` says along
        which axes it is mirrored.
        """
        shapes = np.asarray(Grids(source.packed).shapes[source.unit[rows]])
        if draw is None:
            return covering_view(shapes, self.options.sides, self.options.overlap, rows)
        return training_view(shapes, self.options.sides, self.options.flip, rows, draw, focus)

    def batch(self, source: Source, view: View) -> Field:
        """Images: `[views, channels, *patch]`, scaled, 0 where `valid` is false. Laid masks: class ids `[views, *patch]`."""
        import torch

        from medloom.batch import Field

        unit = source.unit[view.rows]
        laid = source.packed.meta["kind"] == "mask"
        grids = Grids(source.packed)
        out = np.zeros(
            (len(unit), 1 if laid else self.options.channels, *self.options.sides), np.int64 if laid else np.float32
        )
        valid = gather([grids.unit(one) for one in unit.tolist()], view, out)
        present = torch.from_numpy(unit > 0)
        if laid:
            return Field(torch.from_numpy(out[:, 0]), present, torch.from_numpy(valid))
        spread = (slice(None), slice(None), *[None] * self.options.dims)
        bound = source.bound if "centre" in source.bound else self.bind(source).bound
        out -= bound["centre"][unit].astype(np.float32)[spread]
        out /= bound["scale"][unit].astype(np.float32)[spread]
        out *= valid[:, None]
        return Field(torch.from_numpy(out), present, torch.from_numpy(valid))

    def plain(self, source: Source, rows: np.ndarray) -> np.ndarray:
        """Of each channel, scaled: standard deviation, mean, extremes, quantiles, and a coarse grid of means."""
        bound = source.bound if "centre" in source.bound else self.bind(source).bound
        unit = source.unit[rows]
        raw = source.packed.arrays["plain"][unit].reshape(
            len(rows), self.options.channels, feature_count(self.options.dims)
        )
        centre = np.repeat(bound["centre"][unit][:, :, None], raw.shape[2], axis=2)
        centre[:, :, 0] = 0.0
        return ((raw - centre) / bound["scale"][unit][:, :, None]).reshape(len(rows), -1)

    def fingerprint(self, source: Source, rows: np.ndarray) -> np.ndarray:
        """The coarse pattern of each image, which stays when it is saved anew, resized, turned, mirrored or brightened."""
        return np.asarray(source.packed.arrays["signature"][source.unit[rows]], np.float64)

    def encoder(self) -> nn.Module:
        from medloom.modalities.image.network import ImageEncoder

        return ImageEncoder(self.options)

    def hide(self, field: Field, hiding: Hiding, rows: np.ndarray, draw: Draw | None) -> Field:
        from medloom.modalities.image.hiding import hide

        return hide(field, hiding, rows, draw)

    def carrying(self, other: Self) -> Self | None:
        """Itself: intensities are scaled to those of its own training images, whatever another machine gives."""
        same = all(getattr(self.options, key) == getattr(other.options, key) for key in ("dims", "channels"))
        return self if same else None

    def begin(self, encoder: nn.Module, folder: Path) -> str | None:
        """Puts the published weights that the study names into the encoder. Raises DataError."""
        if self.options.weights is None:
            return None
        from medloom.modalities.image import published

        path = folder / self.options.weights
        tensors = published.named(published.read(path))
        return published.put_into(encoder.trunk, tensors, path.name)  # type: ignore[arg-type]

    def lay(self, source: Source, marks: Marks, store: Path | None) -> Source:
        return dense.lay(source, marks, store)

    def truth(self, laid: Source, rows: np.ndarray) -> Lifted:
        return dense.truth(laid, rows)

    def lift(self, source: Source, view: View, output: Output) -> Lifted:
        """The one dense tensor of an output, `[views, classes, *patch]`, averaged over the views of each row."""
        spatial = [values for values in output.values() if values.ndim == 2 + self.options.dims]
        if len(spatial) != 1:
            raise TypeError(
                f"found {len(spatial)} tensors of {2 + self.options.dims} axes in an output; expected one to lift"
            )
        return dense.lift(source, view, spatial[0].detach().float().cpu().numpy())

    def save(self, source: Source, row: int, values: np.ndarray, stem: Path) -> Path:
        """Writes label values, `[*shape]`, in the format and the geometry of the row's image."""
        return write_mask(values, Grids(source.packed).scan(int(source.unit[row])), stem)


def _known_at(options: ImageOptions, cohort: Cohort) -> np.ndarray | None:
    """When each row's image was known, where the study says so."""
    if options.at is None or cohort.at is None:
        return None
    from medloom.cohort.times import read_times

    return read_times(cohort.column(options.at, "at"), f"at {options.at!r}", cohort.row)[0]
