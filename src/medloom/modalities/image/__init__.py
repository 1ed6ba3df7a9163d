"""Images: DICOM, NIfTI, pictures and more, two or three axes, seen in patches on their own grid or on one that is asked for."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar, Self

import numpy as np

from medloom.draw import Draw
from medloom.errors import StudyError
from medloom.modalities.image import bags, dense, packing, showing, space, stored
from medloom.modalities.image.augment import altered_view
from medloom.modalities.image.intensity import (
    ImageSummary,
    centre_and_scale,
    counts,
    feature_count,
    feature_names,
    merge,
)
from medloom.modalities.image.options import ImageOptions
from medloom.modalities.image.packing import Grids
from medloom.modalities.image.reading.scan import Scan
from medloom.modalities.image.views import covering_view, gather, telling, training_view, within
from medloom.modalities.image.writing import write_mask, write_numbers
from medloom.modality import Budget, Hiding, Lifted, Lifting, Marks, Modality, Pinned, Settle, Sized, View
from medloom.packed import Packed, Source
from medloom.tally import add
from medloom.told import Located, Picture

if TYPE_CHECKING:
    import polars as pl
    from torch import Tensor, nn

    from medloom.batch import Field
    from medloom.cohort.table import Cohort


@dataclass(frozen=True, slots=True)
class Image(Modality):
    """Fitted images: median and robust scale of the training images' foreground, for each channel."""

    Options: ClassVar[type[ImageOptions]] = ImageOptions
    Summary: ClassVar[type[ImageSummary]] = ImageSummary
    windows: ClassVar[bool] = True
    mixes: ClassVar[bool] = True
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

        keys = cls.keys(options, cohort).to_list()
        if options.bagged:
            keys = bags.first_names(options, cohort, keys)
        return sizing.sized(options, looking.looked(options, cohort, keys), budget)

    @classmethod
    def columns(cls, options: ImageOptions) -> tuple[str, ...]:  # type: ignore[override]
        return options.columns

    @classmethod
    def takes_masks(cls, options: ImageOptions) -> bool:  # type: ignore[override]
        return not options.bagged

    @classmethod
    def keys(cls, options: ImageOptions, cohort: Cohort) -> pl.Series:  # type: ignore[override]
        """The path of each row's file; null where there is none, or where it was not known before the index time."""
        import polars as pl

        from medloom.cohort.table import canonical

        single = options.columns[0]
        paths = bags.keys(options, cohort) if options.bagged else canonical(cohort.column(single, "image"))
        known = _known_at(options, cohort)
        if known is None or cohort.at is None:
            return paths
        return pl.select(pl.when(pl.Series(known < cohort.at)).then(paths).alias("key")).to_series()

    @classmethod
    def read(cls, options: ImageOptions, cohort: Cohort) -> list[Scan] | list[bags.Bag]:  # type: ignore[override]
        """The decoded files of these rows. Raises DataError naming the rows of every file that cannot be used."""
        keys, rows = cls.keys(options, cohort).to_list(), cohort.row.to_list()
        if options.bagged:
            return bags.read(options, cohort, keys)
        if options.store is not None:
            return stored.read_scans(cohort.folder / options.store, keys, rows, options.label, options.wish)
        return packing.read_scans([cohort.files / path for path in keys], rows, options.label, options.wish)

    @classmethod
    def pack(cls, options: ImageOptions, columns: Iterable[Any], store: Path | None) -> Packed:  # type: ignore[override]
        if not options.bagged:
            return packing.pack(columns, options.dims, options.channels, store)
        ends = bags.Ends()
        return packing.pack(ends.noted(columns), options.dims, options.channels, store, ends.arrays)

    @classmethod
    def point(cls, options: ImageOptions, packed: Packed, cohort: Cohort, unit: np.ndarray) -> Source:  # type: ignore[override]
        known = _known_at(options, cohort)
        along: dict[str, np.ndarray] = {}
        if options.bagged:
            unit, along = bags.point(packed, unit)
        newest = None if known is None else np.where(unit > 0, known, np.nan)
        bound: dict[str, Any] = {"row_ids": cohort.row.to_list()}
        if options.masks == "dicom-seg":
            packing.check_series(packed, unit, bound["row_ids"], options.label)
            bound["files"] = [cohort.files / path if path else None for path in cls.keys(options, cohort).to_list()]
        return Source(packed, unit, cohort.patient, newest=newest, bound=bound, along=along)

    @classmethod
    def summarise(cls, options: ImageOptions, source: Source, rows: np.ndarray) -> ImageSummary:  # type: ignore[override]
        """Counts of the intensities of these rows; an image that several rows share counts once for each."""
        grids = Grids(source.packed)
        total = merge([ImageSummary(((np.zeros(0, np.float32), np.zeros(0, np.int64)),) * options.channels)])
        unit, number = np.unique(bags.units(source, rows)[0], return_counts=True)
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
        which axes it is mirrored. What `augment` asks for stands beside them (`augment.py`), in training alone.
        """
        if self.options.bagged:
            return bags.view(source, rows, draw, self._view)
        return self._view(source, source.unit[rows], rows, draw, focus)

    def _view(
        self, source: Source, units: np.ndarray, rows: np.ndarray, draw: Draw | None, focus: Sequence[Source] = ()
    ) -> View:
        """Views of one image each; `rows` are what random numbers are keyed by."""
        grids, patch = Grids(source.packed), self.options.sides
        shapes = np.asarray(grids.shapes[units])
        if draw is None:
            windows = covering_view(shapes, patch, self.options.overlap, rows, self.options.predict_flip)
            return telling(windows, source, patch) if self.options.skip_empty and not self.options.bagged else windows
        view = training_view(shapes, patch, self.options.flip, rows, draw, focus)
        if self.options.augment is None:
            return view
        return altered_view(view, self.options.augment, patch, grids.spacing(units), draw)

    def batch(self, source: Source, view: View) -> Field:
        """Images: `[views, channels, *patch]`, scaled, 0 where `valid` is false. Laid masks: class ids `[views, *patch]`.

        Where rows have several images, `[views, images, channels, *patch]`, those of a row first and then padding.
        """
        if not self.options.bagged:
            return self._batch(source, source.unit[view.rows], view)
        each = self._batch(source, bags.units(source, view.rows)[0], bags.apart(view))
        assert each.valid is not None
        return bags.joined(source, view, each.value, each.valid)

    def _batch(self, source: Source, unit: np.ndarray, view: View) -> Field:
        """Views of one image each."""
        import torch

        from medloom.batch import Field

        grids = Grids(source.packed)
        laid = source.packed.meta["kind"] == "mask"
        channels = 1 if laid else self.options.channels
        out = np.empty((len(unit), channels, *self.options.sides), np.int64 if laid else np.float32)
        seen = torch.ones((), dtype=torch.bool).expand(len(unit), *self.options.sides)
        if not within(view, grids.shapes[unit], self.options.sides):
            seen = seen.contiguous()
        valid, value, present = seen.numpy(), torch.from_numpy(out), torch.from_numpy(unit > 0)
        gathered = gather(grids, unit, view, out, valid)
        if laid:
            list(gathered)
            return Field(value[:, 0], present, seen)
        bound = source.bound if "centre" in source.bound else self.bind(source).bound
        # A rate of each channel, as to multiply is faster than to divide.
        centre, rate = bound["centre"][unit].astype(np.float32), (1 / bound["scale"][unit]).astype(np.float32)
        for place, whole in enumerate(gathered):
            for plane, middle, factor in zip(out[place], centre[place], rate[place], strict=True):
                plane -= middle
                plane *= factor
            if self.options.augment is not None:
                self._paint(value[place], seen[place], view, place, -centre[place] * rate[place])
            if not whole:
                np.copyto(out[place], 0, where=~valid[place])
        return Field(value, present, seen)

    def _paint(self, values: Tensor, seen: Tensor, view: View, place: int, zero: np.ndarray) -> None:
        """Alters the intensities of one view; a view of prediction says nothing of it."""
        from medloom.modalities.image.painting import painted

        painted(values, seen, {name: array[place] for name, array in view.at.items()}, zero)

    def plain(self, source: Source, rows: np.ndarray) -> np.ndarray:
        """Of each channel, scaled: standard deviation, mean, extremes, quantiles, and a coarse grid of means.

        Of several images of a row, the mean and the highest of each number.
        """
        bound = source.bound if "centre" in source.bound else self.bind(source).bound
        unit = bags.units(source, rows)[0] if self.options.bagged else source.unit[rows]
        raw = source.packed.arrays["plain"][unit].reshape(
            len(unit), self.options.channels, feature_count(self.options.dims)
        )
        centre = np.repeat(bound["centre"][unit][:, :, None], raw.shape[2], axis=2)
        centre[:, :, 0] = 0.0
        numbers = ((raw - centre) / bound["scale"][unit][:, :, None]).reshape(len(unit), raw.shape[1] * raw.shape[2])
        return bags.means(source, rows, numbers) if self.options.bagged else numbers

    def plain_names(self) -> tuple[str, ...]:
        channels = ("",) if self.options.channels == 1 else ("red: ", "green: ", "blue: ")
        names = [f"{channel}{name}" for channel in channels for name in feature_names(self.options.dims)]
        if self.options.bagged:
            names = [f"{how} over images of the {name}" for how in ("mean", "highest") for name in names]
        return tuple(names)

    def fingerprint(self, source: Source, rows: np.ndarray) -> np.ndarray:
        """The coarse pattern of each image, which stays when it is saved anew, resized, turned, mirrored or brightened."""
        signature = source.packed.arrays["signature"]
        if not self.options.bagged:
            return np.asarray(signature[source.unit[rows]], np.float64)
        mean = bags.means(source, rows, signature[bags.units(source, rows)[0]])[:, : signature.shape[1]]
        return np.nan_to_num(mean)

    def encoder(self) -> nn.Module:
        if self.options.bagged:
            from medloom.modalities.image.encoders.bag import BagEncoder

            return BagEncoder(self.options)
        from medloom.modalities.image.encoders.network import ImageEncoder

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
        from medloom.modalities.image.encoders import densenet, published, published_dense

        path = folder / self.options.weights
        found = published.read(path)
        if isinstance(encoder.trunk, densenet.PublishedDenseNet):
            return published_dense.put_into(encoder.trunk, found, path.name)
        return published.put_into(encoder.trunk, published.named(found), path.name)  # type: ignore[arg-type]

    def lay(self, source: Source, marks: Marks, store: Path | None) -> Source:
        if self.options.bagged:
            raise StudyError(
                f"masks are laid on one image a row, and {self.options.label} names several; give each image a row of its own"
            )
        return dense.lay(source, marks, store)

    def pin(self, source: Source, marks: Marks) -> Pinned:
        return space.pin(source, marks)

    def truth(self, laid: Source, rows: np.ndarray) -> Lifted:
        return dense.truth(laid, rows)

    def lifting(self, source: Source, settle: Settle | None = None) -> Lifting:
        """Averages the one dense tensor of outputs, `[views, classes, *patch]`, over the views of each row.

        Where rows have several images, `[views, images, classes, *patch]`: an entry for each image of a row.
        """
        from medloom.modalities.image.lifting import ImageLifting

        if self.options.bagged:
            return bags.BagLifting(source, self.options.dims, settle)
        return ImageLifting(source, self.options.dims, settle, self.options.skip_empty)

    def save(self, source: Source, row: int, values: np.ndarray, stem: Path, labels: Mapping[str, int]) -> Path:
        """Writes label values, `[*shape]`, in the format and the geometry of the row's image, or as `masks` says."""
        scan = Grids(source.packed).scan(int(source.unit[row]))
        if self.options.masks == "dicom-seg":
            from medloom.modalities.image.dicom_seg import write_segmentation

            return write_segmentation(values, scan, source.bound["files"][row], stem, labels)
        return write_mask(values, scan, stem)

    def save_numbers(self, source: Source, row: int, values: np.ndarray, stem: Path, image: int = 0) -> Path:
        """Writes real numbers, `[*shape]`, in the format and the geometry of one of the row's images."""
        return write_numbers(values, Grids(source.packed).scan(int(source.unit[row]) + image), stem)

    def located(self, encoder: nn.Module) -> Located:
        from medloom.modalities.image.encoders.bag import located

        return located(encoder, self.options)

    def shares(self, encoder: nn.Module, field: Field) -> Tensor | None:
        if not self.options.bagged:
            return None
        return encoder.weights(field)  # type: ignore[operator]

    def pictures(self, source: Source, row: int) -> tuple[Picture, ...]:
        units, _ = bags.units(source, np.array([row]))
        return tuple(showing.picture(source.packed, unit) for unit in units.tolist())


def _known_at(options: ImageOptions, cohort: Cohort) -> np.ndarray | None:
    """When each row's image was known, where the study says so."""
    if options.at is None or cohort.at is None:
        return None
    from medloom.cohort.times import read_times

    return read_times(cohort.column(options.at, "at"), f"at {options.at!r}", cohort.row)[0]
