"""Single rows as pictures, for reports whose study asks for them: images with their maps, and outlines of dense answers."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace

import numpy as np
from jaxtyping import Bool, Float, Int

from medloom.draw import generator
from medloom.errors import counted
from medloom.evaluation.intervals import MODEL
from medloom.explain.mapped import laid
from medloom.explain.maps import SIGNED, Asked, can_map, lifted, maps
from medloom.feed import Feed
from medloom.modality import Marks
from medloom.model.outputs import outputs
from medloom.model.team import Team
from medloom.packed import Source
from medloom.study import Study
from medloom.task import Measured
from medloom.told import Picture

ANISOTROPIC = 1.2
"""A volume is cut across its coarsest axis, where this one is so many times as coarse as the finest; else the last."""
WORST, MEDIAN, BEST = "worst", "median", "best"
HUNG = {
    "SI": ("axial ", ("R", "A"), " Seen from the feet: the patient's right is on the left."),
    "AP": ("coronal ", ("R", "S"), " Seen from the front: the patient's right is on the left."),
    "RL": ("sagittal ", ("A", "S"), " Seen from a side: the patient's front is on the left."),
}
"""By the axis that a volume is cut across: the plane, what lies on the left and above, and both in words."""
UNTOLD = " The file does not tell which side is which."
MOST_IMAGES = 4
"""Images of one row that are drawn."""


@dataclass(frozen=True, slots=True)
class Panel:
    """One picture: an image, or a slice of one, with a map over it or outlines on it.

    `heat` is in units of its highest size. `spacing_mm` is that of rows and columns. `text` says what is to be seen.
    `sides` are the letters of what lies on the left of a slice and above: R (right), A (front), S (head).
    """

    title: str
    text: str
    image: Float[np.ndarray, "channels rows columns"]
    spacing_mm: tuple[float, float]
    heat: Float[np.ndarray, "rows columns"] | None = None
    signed: bool = False
    outlines: Mapping[str, Bool[np.ndarray, "rows columns"]] = field(default_factory=dict)
    sides: tuple[str, str] = ("", "")


@dataclass(frozen=True, slots=True)
class Case:
    """The pictures of one row, or of a few, under a number or a rank and never under an id."""

    title: str
    panels: tuple[Panel, ...]


def with_maps(
    study: Study, team: Team, feed: Feed, rows: Int[np.ndarray, " rows"], masks: Mapping[str, Marks]
) -> tuple[Case, ...]:
    """`evaluate.maps.pictures` of the rows, drawn at random, with a map of each method for each target.

    What a person marked, in `masks` by input, is outlined.
    """
    found = []
    for target in feed.tasks:
        for name in feed.modalities:
            if not can_map(team, feed, target, name):
                continue
            asked = Asked(team.networks, feed, target, name)
            seen = rows[feed.sources[name].unit[rows] > 0]
            order = generator(study.seed, "rows of pictures").permutation(len(seen))
            methods = asked.methods(study.evaluate.maps.methods)
            drawn = seen[order[: study.evaluate.maps.pictures]]
            marked = laid(asked, masks.get(name), drawn)
            for number, row in enumerate(drawn.tolist(), 1):
                case = _with_maps(asked, row, methods, f"Case {number}: {name}", marked)
                found += [case] if case is not None else []
    return tuple(found)


def _with_maps(asked: Asked, row: int, methods: Sequence[str], title: str, marked: Source | None) -> Case | None:
    views = next(asked.views(np.array([row])), None)
    if views is None or not methods:
        return None
    names, unit = asked.answers()
    answer = names[int(views.answer[0])]
    shown = asked.feed.modalities[asked.input].pictures(asked.feed.sources[asked.input], row)
    each = {m: [one for _, one in lifted(asked, views, of)] for m, of in maps(asked, views, methods).items()}
    said = f"{asked.target}: {answer} {format(views.score[0], '.3g').replace('-', '−')} {unit}"
    shares = asked.shares(views)
    panels = []
    # Of many images those that were looked at most.
    order = np.arange(len(shown)) if shares is None else np.argsort(-shares[0][: len(shown)], kind="stable")
    for place in order[:MOST_IMAGES].tolist():
        picture = shown[place]
        which = "" if shares is None else f"image {place + 1} ({shares[0][place]:.0%} of the attention), "
        sides, told = hung(picture)
        plain, at = cut(picture, each[methods[0]][place])
        truth = _truth(asked, row, picture, marked)
        lines = _lines(truth, each[methods[0]][place], picture)
        panels.append(Panel(f"{which}as it is{at}", f"{which}{said}.{told}", *plain, outlines=lines, sides=sides))
        for method in methods:
            (image, spacing), at = cut(picture, each[method][place])
            heat = _plane(each[method][place], picture)
            panels.append(
                Panel(
                    f"{which}{words(method)}{at}",
                    f"{which}{_where(heat)}.{told}",
                    image,
                    spacing,
                    _scaled(heat),
                    method in SIGNED,
                    _lines(truth, each[method][place], picture),
                    sides,
                )
            )
    return Case(f"{title} ({said})", tuple(panels))


def _truth(asked: Asked, row: int, picture: Picture, marked: Source | None) -> np.ndarray | None:
    """What a person marked on the row's image; None where nothing is."""
    if marked is None:
        return None
    (found,) = asked.feed.modalities[asked.input].truth(marked, np.array([row])).values
    return found[0] > 0 if found.any() and found.shape[1:] == picture.values.shape[1:] else None


def _lines(
    truth: np.ndarray | None, by: Float[np.ndarray, "*spatial"], picture: Picture
) -> dict[str, Bool[np.ndarray, "rows columns"]]:
    return {} if truth is None else {"truth": _at(truth, by, picture)}


def words(method: str) -> str:
    """What a method is called."""
    return {"grad_cam": "Grad-CAM", "integrated_gradients": "integrated gradients"}.get(method, method)


def cut_axis(picture: Picture) -> int:
    """The axis across which a volume is cut."""
    spacing = picture.spacing_mm
    return int(np.argmax(spacing)) if max(spacing) > ANISOTROPIC * min(spacing) else len(spacing) - 1


def cut(picture: Picture, by: Float[np.ndarray, "*spatial"]) -> tuple[tuple[np.ndarray, tuple[float, float]], str]:
    """An image as (rows and columns, their spacing): of a volume the slice through the highest value of `by`; and which."""
    if len(picture.spacing_mm) == 2:
        return (picture.values, (picture.spacing_mm[0], picture.spacing_mm[1])), ""
    axis = cut_axis(picture)
    place = int(np.unravel_index(int(np.argmax(by)), by.shape)[axis])
    plane = HUNG[_pair(picture, axis)][0] if picture.towards else ""
    return _slice(picture, axis, place), f", {plane}slice {place + 1} of {by.shape[axis]}"


def _pair(picture: Picture, axis: int) -> str:
    return next(pair for pair in HUNG if picture.towards[axis] in pair)


def hung(picture: Picture) -> tuple[tuple[str, str], str]:
    """What lies on the left of a slice and above, in letters; and in words. A picture of its own has no such sides."""
    if len(picture.spacing_mm) == 2:
        return ("", ""), ""
    return HUNG[_pair(picture, cut_axis(picture))][1:] if picture.towards else (("", ""), UNTOLD)


def _slice(picture: Picture, axis: int, place: int) -> tuple[np.ndarray, tuple[float, float]]:
    """As radiologists hang it: head or front upwards, the patient's right, or the front, on the left of the viewer.

    Of a file that does not tell its sides: its last axis, or the second, upwards.
    """
    plane = picture.values.take(place, axis=axis + 1)
    first, second = (other for other in range(3) if other != axis)
    if picture.towards:
        columns, rows = sorted((first, second), key=lambda other: "RLAPSI".index(picture.towards[other]))
        down, across = picture.towards[rows] in "AS", picture.towards[columns] in "RA"
    else:
        columns, rows, down, across = first, second, True, False
    hung = plane if rows == first else plane.swapaxes(1, 2)
    hung = hung[:, :: -1 if down else 1, :: -1 if across else 1]
    return hung, (picture.spacing_mm[rows], picture.spacing_mm[columns])


def _plane(values: Float[np.ndarray, "*spatial"], picture: Picture) -> Float[np.ndarray, "rows columns"]:
    """The slice of a map through its highest value, as `cut` shows it."""
    return cut(replace(picture, values=values[None]), values)[0][0][0]


def _scaled(heat: Float[np.ndarray, "rows columns"]) -> Float[np.ndarray, "rows columns"]:
    most = float(np.abs(heat).max(initial=0.0))
    return (heat / most if most > 0 else heat).astype(np.float32)


def _where(heat: Float[np.ndarray, "rows columns"]) -> str:
    """Where a map is highest, in words that need no picture."""
    if not heat.any():
        return "the map is 0 everywhere"
    row, column = np.unravel_index(int(np.argmax(heat)), heat.shape)
    down = ("upper", "middle", "lower")[min(2, int(3 * row / heat.shape[0]))]
    across = ("left", "middle", "right")[min(2, int(3 * column / heat.shape[1]))]
    return "highest in the middle" if down == across else f"highest in the {down} {across} of the picture"


def with_outlines(
    team: Team,
    feed: Feed,
    measured: Mapping[str, Mapping[str, Measured]],
    judged: Mapping[str, Int[np.ndarray, " rows"]],
    rows: Int[np.ndarray, " rows"],
) -> tuple[Case, ...]:
    """Of each target of outlines the worst, the median and the best of these rows by its headline, with both outlines.

    `measured` is of the rows `judged`, by target.
    """
    found = []
    for name, task in feed.tasks.items():
        if task.drawn_on() is None or name not in measured:
            continue
        figure = next(iter(task.metrics()))
        values = measured[name][MODEL][figure]
        here = np.isin(judged[name], rows) & ~np.isnan(values)
        own, values = judged[name][here], values[here]
        order = np.argsort(values, kind="stable")
        if not len(order):
            continue
        places = {WORST: order[0], MEDIAN: order[(len(order) - 1) // 2], BEST: order[-1]}
        ranks = places if len(order) > 2 else {BEST: order[-1]}
        label = task.metrics()[figure].label
        panels: list[Panel] = []
        for rank, place in ranks.items():
            panels += _outlined(team, feed, name, int(own[place]), f"{rank} ({label} {values[place]:.3f})")
        if panels:
            found.append(Case(f"{name}: {_listed([f'the {rank}' for rank in ranks])} case", tuple(panels)))
    return tuple(found)


def _listed(words: Sequence[str]) -> str:
    return " and ".join([", ".join(words[:-1]), words[-1]] if len(words) > 1 else words)


def _outlined(team: Team, feed: Feed, target: str, row: int, rank: str) -> list[Panel]:
    """The outlines of each label on the slice that shows most of it; none where the row has no image."""
    task = feed.tasks[target]
    ground = task.drawn_on()
    assert ground is not None
    _, said, truths = next(outputs(team, feed, np.array([row])))
    picture = next(iter(feed.modalities[ground].pictures(feed.sources[ground], row)), None)
    if picture is None:
        return []
    shape = picture.values.shape[1:]
    drawn, answered = (
        {label: _onto(mask, shape) for label, mask in one.items()}
        for one in task.outlines(task.decode(said[target]), truths[target])
    )
    sides, told = hung(picture)
    panels = []
    for label, marked in drawn.items():
        area = _area(marked if marked.any() else answered[label], picture)
        (image, spacing), at = cut(picture, area)
        both = {"truth": _at(marked, area, picture), "answer": _at(answered[label], area, picture)}
        word = "pixel" if marked.ndim == 2 else "voxel"
        voxels = f"{counted(int(marked.sum()), f'{word} is', f'{word}s are')} marked, {int(answered[label].sum()):,} answered"
        panels.append(Panel(f"{rank}: {label}{at}", f"{voxels}.{told}", image, spacing, outlines=both, sides=sides))
    return panels


def _onto(mask: Bool[np.ndarray, "*grid"], shape: tuple[int, ...]) -> Bool[np.ndarray, "*spatial"]:
    """A mask on the grid of a picture: the nearest voxel, where it was answered on another grid."""
    if mask.shape == shape:
        return mask
    nearest = [
        ((np.arange(size) + 0.5) * have / size).astype(int) for have, size in zip(mask.shape, shape, strict=True)
    ]
    return mask[np.ix_(*nearest)]


def _area(mask: Bool[np.ndarray, "*spatial"], picture: Picture) -> Float[np.ndarray, "*spatial"]:
    """At each voxel the marked voxels of its slice: highest where a slice shows most of a mask."""
    if mask.ndim == 2:
        return mask.astype(np.float32)
    axis = cut_axis(picture)
    area = mask.sum(axis=tuple(other for other in range(3) if other != axis)).astype(np.float32)
    return np.broadcast_to(area.reshape([-1 if other == axis else 1 for other in range(3)]), mask.shape)


def _at(mask: Bool[np.ndarray, "*spatial"], by: Float[np.ndarray, "*spatial"], picture: Picture) -> np.ndarray:
    plane = cut(replace(picture, values=mask[None].astype(np.float32)), by)[0][0][0]
    return plane > 0.5
