"""From planes in any order to stacks: by geometry and by what the headers tell, never by the names of files."""

from __future__ import annotations

import re
from collections import Counter, defaultdict
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Literal

import numpy as np
from jaxtyping import Float, Int

from medloom.errors import counted
from medloom.modalities.image.reading.dicom_header import SLICED, TELLING, Header, Plane
from medloom.modalities.image.reading.geometry import TILT_DEGREES, Geometry, of_planes, plane_word
from medloom.modalities.image.reading.scan import Refused

SAME_PLACE_MM = 0.01
FAR_STEPS = 6
"""Slices further apart than so many usual steps, with an even volume on either side, are of two regions: both hips."""
LEAST_SLICES = 3
"""Slices that a region has at least."""
SAME_DIRECTION = 1e-3
LOCALIZERS = re.compile(
    r"(?<![a-z])(locali[sz]ers?|scouts?|survey|pilot|topogram|3[ _-]?(plane|pl)[ _-]?loc)(?![a-z])|^loc(?![a-z])",
    re.IGNORECASE,
)
"""Words of a series' description that say so where the image type does not, as in many MR archives."""
MADE = {
    "ADC",
    "EADC",
    "FA",
    "MIP",
    "MINIP",
    "MNIP",
    "MPR",
    "PROJECTION IMAGE",
    "SUBTRACTION",
    "T1 MAP",
    "T2 MAP",
    "T2_STAR MAP",
}
"""Words of an image type that name what was computed, though some scanners call it original."""
DOSE = "RTDOSE"
"""Grids of a planned dose: volumes that no scanner saw."""
Kind = Literal["original", "derived", "localizer", "dose", "film", "picture", "capture"]
FLAT: tuple[Kind, ...] = ("film", "picture", "capture")
"""Kinds that have no place in space."""
Pair = tuple[Header, Plane]


@dataclass(frozen=True, slots=True)
class Stack:
    """Planes that belong together, in order along their normal; `geometry` is None where the headers tell none.

    `apart` says what tells this stack from others of its series; `refused` why it is no volume, None where it is one;
    `problems` is what a reader should know all the same.
    """

    header: Header
    planes: tuple[Plane, ...]
    kind: Kind
    geometry: Geometry | None
    apart: str = ""
    problems: tuple[str, ...] = ()
    refused: str | None = None


def stacks(headers: Sequence[Header], digest: Callable[[Plane], str]) -> list[Stack]:
    """All stacks of some files, in an order that does not depend on the order or the names of the files.

    `digest` gives the pixels of a plane in a few letters, "" where they cannot be decoded; it is asked only of images
    that stand in the same place.
    """
    found: list[Stack] = []
    series: dict[str, list[Header]] = defaultdict(list)
    for header in headers:
        series[header.series].append(header)
    for name in sorted(series):
        pairs, copies = _once([(header, plane) for header in series[name] for plane in header.planes], digest)
        made: list[Stack] = []
        for group, apart in _alike(pairs):
            made += _placed(group, apart, digest) if _has_place(group) else _unplaced(group)
        if copies:
            made = [replace(one, problems=(*one.problems, f"{counted(copies, 'image')} of the series {'was' if copies == 1 else 'were'} there twice")) for one in made]  # fmt: skip
        found += sorted(made, key=lambda one: (natural(one.apart), one.planes[0].uid, one.planes[0].frame))
    return found


def _once(pairs: Sequence[Pair], digest: Callable[[Plane], str]) -> tuple[list[Pair], int]:
    """The planes without those of the same object again, sorted by their object and frame.

    Objects with one identifier and other pixels or another place are not the same: some anonymisers give one to all. A
    copy that cannot be decoded goes where a whole one is there.
    """
    groups: dict[tuple[object, ...], list[Pair]] = defaultdict(list)
    for pair in sorted(pairs, key=lambda pair: (pair[1].uid, pair[1].frame, pair[1].path)):
        plane = pair[1]
        groups[(plane.uid, plane.frame, plane.position, plane.rows, plane.columns)].append(pair)
    kept: list[Pair] = []
    for group in groups.values():
        if len(group) == 1:
            kept += group
            continue
        pixels = [digest(plane) for _, plane in group]
        whole = sorted(set(pixels) - {""}) or [""]
        kept += [group[pixels.index(one)] for one in whole]
    return kept, len(pairs) - len(kept)


def _has_place(group: Sequence[Pair]) -> bool:
    plane = group[0][1]
    return plane.position is not None and plane.orientation is not None


def _alike(pairs: Sequence[Pair]) -> Iterator[tuple[list[Pair], str]]:
    """Planes of one direction, shape, spacing, kind and frame of reference, and in words what differs in a series.

    A series is of one patient and study; anonymisers that give one identifier to several do not make them one.
    """
    directions = _near([plane.orientation for _, plane in pairs], SAME_DIRECTION)
    spacings = _near([plane.spacing_mm for _, plane in pairs], SAME_DIRECTION)
    groups: dict[tuple[object, ...], list[Pair]] = defaultdict(list)
    for (header, plane), direction, spacing in zip(pairs, directions, spacings, strict=True):
        key: tuple[object, ...] = (
            (header.patient, header.study),
            header.frame_of_reference,
            plane.image_type,
            (plane.rows, plane.columns, plane.samples),
            direction,
            spacing,
            plane.position is None,
        )
        groups[key].append((header, plane))
    names = ("patient or study", "frame of reference", "image type", "size", "direction", "spacing", "place in space")
    differ = [place for place in range(len(names)) if len({key[place] for key in groups}) > 1]
    for group in groups.values():
        words = [_word(names[place], group[0]) for place in differ]
        yield group, ", ".join(word for word in words if word)


def _word(name: str, pair: Pair) -> str:
    """What a person would call what tells these planes apart. Who it is stands in the inventory, and in no message."""
    header, plane = pair
    if name == "patient or study":
        return "another patient or study"
    if name == "frame of reference":
        return f"{name} {header.frame_of_reference}"
    if name == "image type":
        return f"{name} {_listed(plane.image_type)}"
    if name == "size":
        colour = " in colour" if plane.samples > 1 else ""
        return f"{counted(plane.rows, 'row')} and {counted(plane.columns, 'column')}{colour}"
    if plane.position is None or plane.orientation is None:
        return f"no {name}" if name == "place in space" else ""
    if name == "direction":
        axes = np.array(plane.orientation)
        return f"{plane_word(np.cross(axes[:3], axes[3:]))} ({_listed(np.round(axes, 3) + 0.0)})"
    if name == "spacing":
        return "no spacing" if plane.spacing_mm is None else f"spacing {_listed(plane.spacing_mm)}"
    return ""


def _listed(values: Iterable[object]) -> str:
    return "/".join(f"{one:g}" if isinstance(one, float) else str(one) for one in values)


def _near(values: Sequence[tuple[float, ...] | None], tolerance: float) -> list[int]:
    """A number for each value, the same for values that differ by no more than `tolerance` in any place."""
    known: list[tuple[float, ...] | None] = []
    exact: dict[tuple[float, ...] | None, int] = {}
    for value in sorted(set(values), key=lambda one: one or ()):
        for number, other in enumerate(known):
            same = value == other or (
                value is not None
                and other is not None
                and len(value) == len(other)
                and bool(np.abs(np.subtract(value, other)).max() <= tolerance)
            )
            if same:
                exact[value] = number
                break
        else:
            exact[value] = len(known)
            known.append(value)
    return [exact[value] for value in values]


def _unplaced(group: Sequence[Pair]) -> Iterator[Stack]:
    """Pictures and films: each file by itself."""
    files: dict[tuple[str, str], list[Pair]] = defaultdict(list)
    for header, plane in group:
        files[(plane.uid, plane.path)].append((header, plane))
    for pairs in files.values():
        header, planes = pairs[0][0], tuple(plane for _, plane in pairs)
        notes = _notes(header)
        if len(files) > 1 and header.modality in SLICED and not header.capture:
            notes = (*notes, f"of its series, {counted(len(files), 'slice tells', 'slices tell')} no place in space")
        if len(planes) > 1:
            why = "hold several frames without ImagePositionPatient and ImageOrientationPatient (a film, or a header that lost them)"
            yield Stack(header, planes, "film", None, planes[0].uid, notes, why)
        else:
            yield Stack(header, planes, "capture" if header.capture else "picture", None, planes[0].uid, notes)


def _placed(group: Sequence[Pair], apart: str, digest: Callable[[Plane], str]) -> Iterator[Stack]:
    parts = [(_without_copies(part, digest), told) for part, told in _split(list(group), TELLING)]
    most = max(len(kept) for (kept, _), _ in parts)
    for (kept, copies), told in parts:
        notes = [f"{counted(copies, 'slice')} {'was' if copies == 1 else 'were'} there twice"] if copies else []
        if len(kept) < most:
            notes.append(
                f"{counted(len(kept), 'slice')} where another volume of its series has {most}; it may have been broken off"
            )
        regions = _regions(kept)
        for number, region in enumerate(regions, start=1):
            several = len(regions) > 1
            words = (apart, told, f"region {number} of {len(regions)}" if several else "")
            more = (
                [f"one of {len(regions)} regions far apart, unless slices between them are missing"] if several else []
            )
            yield _stack(region, ", ".join(word for word in words if word), [*notes, *more])


def _regions(group: list[Pair]) -> list[list[Pair]]:
    """The planes of each region along the normal, where each is an even volume; else all of them together."""
    first = group[0][1]
    if len(group) < 2 * LEAST_SLICES or first.spacing_mm is None or _excess(group):
        return [group]
    heights = np.array([plane.position for _, plane in group]) @ _normal(group)
    order = np.argsort(heights, kind="stable")
    steps = np.diff(heights[order])
    far = np.flatnonzero(steps > FAR_STEPS * np.median(steps)) + 1
    parts = [[group[place] for place in part.tolist()] for part in np.split(order, far)]
    if len(parts) == 1 or min(map(len, parts)) < LEAST_SLICES:
        return [group]
    return parts if all(_even(part) for part in parts) else [group]


def _even(group: Sequence[Pair]) -> bool:
    first = group[0][1]
    assert first.spacing_mm is not None
    places, direction = (np.array(one, float) for one in ([p.position for _, p in group], first.orientation))
    try:
        return of_planes(places, direction, first.spacing_mm)[0].even
    except Refused:
        return False


def _split(group: list[Pair], names: Sequence[str]) -> Iterator[tuple[list[Pair], str]]:
    """Parts in which no two planes stand in one place, by the first headers that tell such planes apart."""
    most = _most(group)
    for number, name in enumerate(names if most > 1 else ()):
        parts: dict[str, list[Pair]] = defaultdict(list)
        for pair in group:
            parts[pair[1].tells.get(name, "")].append(pair)
        if 1 < len(parts) <= most and sum(map(_excess, parts.values())) < _excess(group):
            for value in sorted(parts, key=_sortable):
                for part, told in _split(parts[value], names[number + 1 :]):
                    yield part, ", ".join(word for word in (f"{name} {value or 'none'}", told) if word)
            return
    yield from _by_number(group, most) if most > 1 else [(group, "")]


def _by_number(group: list[Pair], most: int) -> Iterator[tuple[list[Pair], str]]:
    """Passes over the same places one after the other, or all times of each place in turn, by their numbers.

    Dynamic series of old archives tell nothing else. Only where every pass is complete: anything less stays together.
    """
    numbers = [pair[1].tells.get("InstanceNumber", "") for pair in group]
    places = _places(group)
    count = len(set(places.tolist()))
    if len(group) != most * count or len(set(numbers)) != len(group) or not all(one.isdigit() for one in numbers):
        yield group, ""
        return
    order = np.argsort(np.array([int(one) for one in numbers]))
    passes = order.reshape(most, count)
    if not all(len(set(places[one].tolist())) == count for one in passes):
        passes = order.reshape(count, most).T
        if not all(len(set(places[one].tolist())) == 1 for one in passes.T):
            yield group, ""
            return
    for number, members in enumerate(passes, start=1):
        yield [group[place] for place in sorted(members.tolist())], f"pass {number} by InstanceNumber"


def natural(text: str) -> tuple[tuple[float, str], ...]:
    """Orders text by the numbers in it: b 500 before b 1000."""
    parts = re.split(r"(\d+(?:\.\d+)?)", text)
    return tuple((float(part), "") if place % 2 else (float("inf"), part) for place, part in enumerate(parts))


def _sortable(value: str) -> tuple[float, str]:
    try:
        return float(value), ""
    except ValueError:
        return float("inf"), value


def _places(group: Sequence[Pair]) -> Int[np.ndarray, " planes"]:
    """A number for each plane, the same for those in one place along the normal."""
    heights = np.array([plane.position for _, plane in group]) @ _normal(group)
    order = np.argsort(heights, kind="stable")
    new = np.concatenate([[0], np.diff(heights[order]) > SAME_PLACE_MM]).astype(np.int64)
    out = np.zeros(len(group), np.int64)
    out[order] = np.cumsum(new)
    return out


def _normal(group: Sequence[Pair]) -> Float[np.ndarray, " 3"]:
    orientation = np.array(group[0][1].orientation)
    return np.cross(orientation[:3], orientation[3:])


def _most(group: Sequence[Pair]) -> int:
    return max(Counter(_places(group).tolist()).values())


def _excess(group: Sequence[Pair]) -> int:
    return len(group) - len(set(_places(group).tolist()))


def _without_copies(group: list[Pair], digest: Callable[[Plane], str]) -> tuple[list[Pair], int]:
    """The planes without those whose pixels stand in the same place already."""
    places = _places(group)
    shared = {place for place, count in Counter(places.tolist()).items() if count > 1}
    seen: set[tuple[int, str]] = set()
    kept = []
    for pair, place in zip(group, places.tolist(), strict=True):
        if place in shared:
            told = digest(pair[1])
            if told and (place, told) in seen:
                continue
            seen.add((place, told))
        kept.append(pair)
    return kept, len(group) - len(kept)


def _stack(group: Sequence[Pair], apart: str, told: Sequence[str]) -> Stack:
    header, planes = group[0][0], [plane for _, plane in group]
    first = planes[0]
    notes = [*_notes(header), *told]
    kind = _kind(header, planes)
    if first.spacing_mm is None:
        return Stack(header, tuple(planes), kind, None, apart, tuple(notes), "have no PixelSpacing")
    try:
        geometry, order = of_planes(
            np.array([plane.position for plane in planes], float),
            np.array(first.orientation, float),
            first.spacing_mm,
            first.thickness_mm,
        )
    except Refused as error:
        return Stack(header, tuple(planes), kind, None, apart, tuple(notes), str(error))
    planes = [planes[place] for place in order.tolist()]
    geometry = replace(
        geometry,
        frame_of_reference=header.frame_of_reference,
        uids=tuple(plane.uid for plane in planes),
        frames=tuple(plane.frame + 1 for plane in planes),
    )
    if geometry.tilt_degrees > TILT_DEGREES:
        notes.append(f"gantry tilted by {geometry.tilt_degrees:.1f} degrees, kept as a sheared grid")
    return Stack(header, tuple(planes), kind, geometry, apart, tuple(notes), _not_a_volume(group, geometry))


def _not_a_volume(group: Sequence[Pair], geometry: Geometry) -> str | None:
    again = _excess(group)
    if again:
        return f"hold {counted(again, 'slice')} in a place that another one has, and nothing in the headers tells them apart"
    if len(geometry.origins) == 1 and not geometry.thickness_mm:
        return "are one slice without a thickness; set dims = 2, or give whole series"
    if geometry.even:
        return None
    if not geometry.straight:
        return "have slices that do not lie on one line"
    if geometry.missing is None:
        return "have slices at uneven distances"
    return f"miss {counted(geometry.missing, 'slice')} between the first and the last"


def _kind(header: Header, planes: Sequence[Plane]) -> Kind:
    words = set(planes[0].image_type)
    if header.modality == DOSE:
        return "dose"
    if words & {"LOCALIZER", "SCOUT", "TOPOGRAM"} or LOCALIZERS.search(header.description):
        return "localizer"
    return "derived" if words & {"DERIVED", *MADE} else "original"


def _notes(header: Header) -> tuple[str, ...]:
    notes = [] if header.patient else ["no PatientID"]
    if header.burned_in.upper() == "YES":
        notes.append("text is burned into the pixels")
    return tuple(notes)
