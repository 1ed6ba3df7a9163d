"""NIfTI, NRRD, MetaImage and NumPy: volumes on their own axes `[x, y, z]`, never reoriented."""

from __future__ import annotations

import gzip
import struct
import zlib
from pathlib import Path

import numpy as np

from medloom import find
from medloom.modalities.image.reading.grids import squeezed, voxels
from medloom.modalities.image.reading.scan import (
    FROM_RAS,
    ITK,
    MOST_VOXELS,
    NIFTI,
    NUMPY,
    Refused,
    Scan,
    Wish,
    check_spacing,
)


def read_nifti(path: Path, wish: Wish) -> Scan:
    """A NIfTI file of one volume, on its own axes. Raises Refused."""
    nibabel = find.need("nibabel")
    broken = (OSError, ValueError, TypeError, KeyError, EOFError, OverflowError, struct.error, zlib.error)
    nib_errors = (
        nibabel.filebasedimages.ImageFileError,
        nibabel.spatialimages.HeaderDataError,
        nibabel.wrapstruct.WrapStructError,
    )
    try:
        _check_told_spacing(path)
        image = nibabel.load(path, mmap=False)
        shape = tuple(int(size) for size in image.shape)
        affine = np.array(image.affine, np.float64)
        if not isinstance(image, nibabel.Nifti1Image) or not np.isfinite(affine).all():
            raise Refused("are not NIfTI files with a finite affine; convert them again from their source")
        _check_nifti_shape(shape)
        _check_axes(len(shape), wish)
        held = np.asanyarray(image.dataobj)
    except (*broken, *nib_errors) as error:
        raise Refused("are truncated or broken NIfTI files; copy them again from their source") from error
    spatial = (shape[0], shape[1], shape[2] if len(shape) > 2 else 1)
    if held.dtype.names is not None:
        planes = np.stack([held[name].reshape(spatial) for name in held.dtype.names[:3]])
    elif held.dtype.kind in "iufb":
        planes = held.reshape(1, *spatial)
    else:
        raise Refused(f"hold {held.dtype} voxels; expected whole or real numbers")
    header = image.header
    codes = (int(header["qform_code"]), int(header["sform_code"]), int(header["xyzt_units"]))
    # A header may count metres or micrometres; whatever is not said is mm by convention.
    if (scale := {1: 1000.0, 3: 0.001}.get(codes[2] & 7)) is not None:
        affine[:3] *= scale
        codes = (codes[0], codes[1], codes[2] & ~7 | 2)
    check_spacing(affine)
    return Scan(voxels(squeezed(planes, wish.dims), wish), NIFTI, spatial, affine, codes, True, True)


def _check_told_spacing(path: Path) -> None:
    """Raises Refused where only the header's spacing says where voxels lie, and it is 0: nibabel would read 1."""
    opener = gzip.open if path.name.endswith(".gz") else open
    with opener(path, "rb") as handle:
        start = handle.read(348)
    for order in "<>":
        if len(start) == 348 and struct.unpack_from(order + "i", start)[0] == 348:
            axes = struct.unpack_from(order + "h", start, 40)[0]
            steps = struct.unpack_from(order + "8f", start, 76)[1 : 1 + min(max(axes, 0), 3)]
            if struct.unpack_from(order + "h", start, 254)[0] <= 0 and not all(abs(step) > 0 for step in steps):
                raise Refused("have a spacing of zero or axes that coincide; correct the header from the source")


def _check_nifti_shape(shape: tuple[int, ...]) -> None:
    if min(shape, default=0) < 1:
        raise Refused("have no voxels")
    if np.prod([float(size) for size in shape]) > MOST_VOXELS:
        raise Refused(f"declare more than {MOST_VOXELS} voxels; crop or downsample them")
    if len(shape) < 2 or any(size > 1 for size in shape[3:]):
        raise Refused(f"have {len(shape)} axes; expected one volume a file: save each time point or channel apart")


def _check_axes(axes: int, wish: Wish) -> None:
    """A picture among volumes is a mistake of the table; a volume of one slice says so with a third axis."""
    if axes == 2 and wish.dims == 3:
        raise Refused("are pictures of 2 axes where dims = 3 is asked for; give volumes, or dims = 2")


def read_itk(path: Path, wish: Wish) -> Scan:
    """NRRD or MetaImage of one volume or one picture. Raises Refused."""
    _check_beside(path)
    itk = find.need("SimpleITK")
    itk.ProcessObject.SetGlobalWarningDisplay(False)
    try:
        reader = itk.ImageFileReader()
        reader.SetFileName(str(path))
        reader.ReadImageInformation()
        size, axes, channels = reader.GetSize(), reader.GetDimension(), reader.GetNumberOfComponents()
        shape = tuple(int(one) for one in size) + (1,) * (3 - axes)
        if axes > 3:
            raise Refused(f"have {axes} axes; expected one volume a file: save each time point apart")
        _check_axes(axes, wish)
        _check_nifti_shape((*shape, 1))
        if channels not in (1, 3):
            raise Refused(f"have {channels} channels; expected 1 or 3")
        image = reader.Execute()
        voxels_of = itk.GetArrayFromImage(image)
    except RuntimeError as error:
        if "spacing is not supported" in str(error):
            raise Refused("have a spacing of zero or axes that coincide; correct the header from the source") from error
        raise Refused("are truncated or broken NRRD or MetaImage files; copy them again from their source") from error
    planes = np.moveaxis(voxels_of, -1, 0) if channels > 1 else voxels_of[None]
    planes = np.moveaxis(planes.reshape(len(planes), *shape[::-1]), (1, 2, 3), (3, 2, 1))
    direction, matrix = np.eye(3), np.eye(4)
    direction[:axes, :axes] = np.array(image.GetDirection()).reshape(axes, axes)
    spacing = np.array([*image.GetSpacing(), 1.0][:3])
    matrix[:3, :3] = direction * spacing
    matrix[:3, 3] = [*image.GetOrigin(), 0.0][:3]
    affine = FROM_RAS @ matrix
    check_spacing(affine)
    return Scan(voxels(squeezed(planes, wish.dims), wish), ITK, shape, affine, (1, 1, 2), axes == 3, True)


def _check_beside(path: Path) -> None:
    """A header may name the file of its voxels: only one that lies beside it is opened."""
    with open(path, "rb") as handle:
        start = handle.read(1 << 16).decode("latin-1")
    for line in start.splitlines():
        key, _, value = line.replace(":=", "=").partition(":" if line.lower().startswith("data") else "=")
        if key.strip().lower() in ("elementdatafile", "data file", "datafile"):
            name = value.strip()
            if name.upper().startswith("LIST"):
                raise Refused("name their data files in a list; save the volume in one file")
            if "/" in name or "\\" in name or "%" in name or ".." in name:
                raise Refused("name a data file in another folder; put both files side by side")
            if name.upper() not in ("LOCAL", "") and not (path.parent / name).is_file():
                raise Refused("name a data file that is not beside them")


def read_numpy(path: Path, wish: Wish) -> Scan:
    """An array `[*spatial]`, or `[*spatial, channels]` for colour, in a .npy file without Python objects. Raises Refused."""
    try:
        array = np.load(path, mmap_mode="r")  # without objects, as is numpy's own default
    except (OSError, ValueError, EOFError, SyntaxError, TypeError, KeyError) as error:
        raise Refused("are truncated or broken .npy files, or hold Python objects; save plain arrays") from error
    if array.size > MOST_VOXELS or not array.size:
        raise Refused(f"hold no voxels, or more than {MOST_VOXELS}")
    if array.dtype.kind not in "iufb":
        raise Refused(f"hold {array.dtype} values; expected whole or real numbers")
    if array.ndim == wish.dims:
        planes = array[None]
    elif array.ndim == wish.dims + 1 and array.shape[-1] == 3:
        planes = np.moveaxis(array, -1, 0)
    else:
        raise Refused(f"have {array.ndim} axes where dims = {wish.dims} is asked for")
    spatial = (*planes.shape[1:], 1)[:3]
    return Scan(voxels(np.array(planes), wish), NUMPY, spatial, np.eye(4))
