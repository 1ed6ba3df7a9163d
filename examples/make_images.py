"""Writes the made-up pictures and scans of the examples into examples/data: `python examples/make_images.py`.

`--shortcut` ties pneumonia to the hospital of the chest X-rays, as a data set gathered at two places often does.
"""

from __future__ import annotations

import argparse
from pathlib import Path

import nibabel
import numpy as np
import polars as pl
from PIL import Image

CHEST_SIDE = 96
HOSPITALS = {"north": (0.9, 6.0), "south": (1.1, 3.0)}
"""Contrast and noise of each hospital's X-rays."""
BRAIN_SHAPE, BRAIN_MM = (36, 44, 32), 2.0
TISSUES = {"skull": (0.9, 0.3), "fluid": (0.2, 0.1), "grey": (0.55, 0.65), "white": (0.8, 0.5), "lesion": (0.6, 1.0)}
"""Intensity of each tissue in the T1 and in the FLAIR image."""
HIPPOCAMPUS_SHAPE = (28, 40, 28)
MOLE_SIDE = 40
VISIT_SIDE = 32
GROWTHS = (0.8, 0.9, 1.1, 1.25, 1.5)
"""Volume of a lesion at a later visit, as a share of the first one."""


def grid(shape: tuple[int, ...]) -> np.ndarray:
    """Positions from −1 to 1 along each axis, `[*shape, axes]`."""
    return np.stack(np.meshgrid(*[np.linspace(-1, 1, size) for size in shape], indexing="ij"), -1)


def ball(at: np.ndarray, centre: np.ndarray, radii: np.ndarray | float, edge: float = 0.05) -> np.ndarray:
    """1 inside an ellipsoid, 0 outside, with a soft edge of this share of its radius."""
    away = np.linalg.norm((at - centre) / radii, axis=-1)
    return 1 / (1 + np.exp(np.clip((away - 1) / edge, -50, 50)))


def smooth_noise(at: np.ndarray, waves: int, most: float, random: np.random.Generator) -> np.ndarray:
    """A texture with a standard deviation of about 1: cosines of random directions, up to `most` radians a unit."""
    total = np.zeros(at.shape[:-1])
    for _ in range(waves):
        total += np.cos(at @ random.normal(0, most / 2, at.shape[-1]) + random.uniform(0, 2 * np.pi))
    return total * np.sqrt(2 / waves)


def save_picture(path: Path, values: np.ndarray) -> str:
    """Writes 8 bits; returns the path below the folder of the tables."""
    Image.fromarray(values.clip(0, 255).astype(np.uint8)).save(path)
    return f"{path.parent.name}/{path.name}"


def save_volume(path: Path, values: np.ndarray, spacing_mm: float, turned: bool = False) -> str:
    """Writes NIfTI; `turned` counts the first axis the other way round, as another scanner would."""
    affine = np.diag([spacing_mm, spacing_mm, spacing_mm, 1.0])
    if turned:
        values = values[::-1]
        affine[0, 0] = -spacing_mm
        affine[0, 3] = spacing_mm * (values.shape[0] - 1)
    image = nibabel.Nifti1Image(np.ascontiguousarray(values), affine)
    image.header.set_xyzt_units("mm")
    nibabel.save(image, path)
    return f"{path.parent.name}/{path.name}"


def chest(ill: bool, random: np.random.Generator) -> tuple[np.ndarray, np.ndarray]:
    """An X-ray of a chest, 0 to 255, and the mask of its opacities: none, or one to three in the lungs."""
    at = grid((CHEST_SIDE, CHEST_SIDE)) * random.uniform(0.95, 1.1) + random.normal(0, 0.03, 2)
    y, x = at[..., 0], at[..., 1]
    body = ball(at, np.array([0.3, 0.0]), np.array([1.25, 0.95]), 0.04)
    halves = [np.array([-0.05, side * random.uniform(0.4, 0.46)]) for side in (-1, 1)]
    size = np.array([random.uniform(0.62, 0.74), random.uniform(0.29, 0.35)])
    lungs = np.maximum(*(ball(at, centre, size) for centre in halves))
    heart = ball(at, np.array([0.3, 0.14]), np.array([0.32, random.uniform(0.26, 0.36)]), 0.1)
    spine = np.exp(-((x / 0.1) ** 2)) + 0.5 * np.exp(-(((y - 0.75) / 0.2) ** 2))
    ribs = np.sin((y + 0.5 * x**2) * random.uniform(20, 24) + random.uniform(0, 6)) > 0.55
    picture = 30 + 110 * body - 75 * lungs * (1 - heart) + 30 * spine * body + 12 * ribs * lungs
    picture += 4 * smooth_noise(at, 40, 25, random) * lungs
    mask = np.zeros(picture.shape, bool)
    for _ in range(int(random.integers(1, 4)) if ill else 0):
        centre = halves[random.integers(2)] + random.uniform(-0.6, 0.6, 2) * size
        cloud = ball(at, centre, random.uniform(0.11, 0.24, 2), 0.2) * (1 + 0.35 * smooth_noise(at, 12, 16, random))
        cloud *= lungs
        picture += random.uniform(35, 70) * cloud
        mask |= cloud > 0.5
    return picture, mask


def chests(count: int, folder: Path, random: np.random.Generator, shortcut: bool = False) -> pl.DataFrame:
    """X-rays of two hospitals, one or two a patient. A marker of lead lies in a corner of three in four pictures.

    With `shortcut` the north sends mostly ill patients and always uses the marker, the south neither.
    """
    folder.mkdir(parents=True, exist_ok=True)
    rows = []
    for number in range(count):
        patient = number * 2 // 3
        hospital = ("north", "south")[patient % 2]
        likely = {"north": 0.8, "south": 0.2}[hospital] if shortcut else 0.5
        ill = bool(random.random() < likely)
        contrast, noise = HOSPITALS[hospital]
        picture, mask = chest(ill, random)
        picture = 128 + contrast * (picture - 110) + random.normal(0, noise, picture.shape)
        if hospital == "north" if shortcut else random.random() < 0.75:
            picture[6:16, 6:8] = picture[14:16, 6:12] = 250
        paths = {
            name: save_picture(folder / f"{name}{number:04d}.png", values)
            for name, values in (("image", picture), ("mask", mask * 255))
        }
        ids = {"picture": number, "patient": f"p{patient:04d}", "hospital": hospital}
        rows.append({**ids, **paths, "pneumonia": "yes" if ill else "no"})
    return pl.DataFrame(rows)


def brain(lesions: int, random: np.random.Generator) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """T1 and FLAIR of one head, and the mask of its lesions: bright on FLAIR, hardly seen on T1, in white matter."""
    at = grid(BRAIN_SHAPE) * random.uniform(0.97, 1.08) + random.normal(0, 0.03, 3)
    bent = at + 0.03 * np.stack([smooth_noise(at, 12, 6, random) for _ in range(3)], -1)
    centre = np.zeros(3)
    shares = {
        "skull": ball(at, centre, np.array([0.9, 0.94, 0.9]), 0.02),
        "fluid": ball(at, centre, np.array([0.83, 0.87, 0.83]), 0.02),
        "grey": ball(bent, centre, np.array([0.78, 0.82, 0.78]), 0.03),
        "white": ball(bent + 0.05 * np.sin(12 * bent), centre, np.array([0.63, 0.68, 0.62]), 0.06),
    }
    wide = random.uniform(0.08, 0.13)
    ventricles = np.maximum(
        *(ball(bent, np.array([side * 0.17, 0.05, 0.1]), np.array([wide, 0.34, 0.16])) for side in (-1, 1))
    )
    spots = np.zeros(BRAIN_SHAPE)
    for _ in range(lesions):
        direction = random.normal(size=3)
        place = direction / np.linalg.norm(direction) * random.uniform(0.25, 0.5)
        spots = np.maximum(spots, ball(at, place, random.uniform(0.08, 0.16, 3), 0.1))
    images = []
    for sequence in (0, 1):
        values = np.zeros(BRAIN_SHAPE)
        for name, share in shares.items():
            values += share * (TISSUES[name][sequence] - values)
        values += ventricles * (TISSUES["fluid"][sequence] - values)
        values += spots * (TISSUES["lesion"][sequence] - values)
        field = 1 + 0.15 * smooth_noise(at, 6, 2, random)
        noisy = values * field + random.normal(0, 0.04, BRAIN_SHAPE)
        images.append(noisy * random.uniform(300, 1500))
    return images[0], images[1], spots > 0.5


def brains(count: int, folder: Path, random: np.random.Generator) -> pl.DataFrame:
    """T1 and FLAIR of each patient, half of them with one to six lesions; of one in ten the T1 was not made."""
    folder.mkdir(parents=True, exist_ok=True)
    rows = []
    for number in range(count):
        lesions = int(random.integers(1, 7)) if random.random() < 0.5 else 0
        first, second, mask = brain(lesions, random)
        images = {"t1": first.astype(np.int16), "flair": second.astype(np.int16), "mask": mask.astype(np.uint8)}
        paths: dict[str, str | None] = {
            name: save_volume(folder / f"{name}{number:03d}.nii.gz", values, BRAIN_MM)
            for name, values in images.items()
        }
        if random.random() < 0.1:
            paths["t1"] = None
        volume_ml = float(mask.sum()) * BRAIN_MM**3 / 1000
        rows.append(
            {"scan": number, "patient": number, **paths, "lesions": "yes" if lesions else "no", "lesion_ml": volume_ml}
        )
    return pl.DataFrame(rows)


def hippocampus(random: np.random.Generator) -> tuple[np.ndarray, np.ndarray]:
    """A crop around a bent body with a thick head, 1 mm, and its labels: 1 anterior, 2 posterior."""
    size = np.array(HIPPOCAMPUS_SHAPE)
    at = grid(HIPPOCAMPUS_SHAPE) * size / 2
    along = np.linspace(-1, 1, 40)
    bend, turn = random.uniform(2, 4.5), random.normal(0, 0.15)
    length = random.uniform(12.5, 15.5)
    spine = np.stack([bend * (along**2 - 0.4) + turn * length * along, length * along, -0.5 * bend * along**2], -1)
    spine += random.normal(0, 1, 3)
    thick = random.uniform(0.9, 1.15) * (
        2.4 + 1.9 * np.exp(-(((along - 0.6) / 0.45) ** 2)) - 0.5 * np.exp(-((along + 1) / 0.2))
    )
    away = np.linalg.norm(at[..., None, :] - spine, axis=-1) / thick
    inside = away.min(-1)
    body = 1 / (1 + np.exp(np.clip((inside - 1) / 0.12, -50, 50)))
    front = along[away.argmin(-1)] > 0.1
    labels = np.where(inside < 1, np.where(front, 1, 2), 0)
    around = 0.55 + 0.2 * smooth_noise(at, 20, 0.3, random)
    horn = ball(at, spine.mean(0) + np.array([5.5, 0.0, 2.0]), np.array([2.5, 11, 2.5]), 0.1)
    values = around + body * (0.62 - around) + horn * (0.1 - around) * (1 - body)
    values += random.normal(0, 0.05, HIPPOCAMPUS_SHAPE)
    return values * random.uniform(200, 2000), labels


def hippocampi(count: int, folder: Path, random: np.random.Generator) -> pl.DataFrame:
    """Two crops of each patient; files of two scanners that count the first axis another way."""
    folder.mkdir(parents=True, exist_ok=True)
    rows = []
    for number in range(count):
        image, labels = hippocampus(random)
        values = {"image": image.astype(np.float32), "mask": labels.astype(np.uint8)}
        paths = {
            name: save_volume(folder / f"{name}{number:03d}.nii.gz", one, 1.0, turned=number % 3 == 0)
            for name, one in values.items()
        }
        rows.append({"scan": number, "patient": number // 2, **paths})
    return pl.DataFrame(rows)


def visit(seed: int, growth: float, shift: np.ndarray, random: np.random.Generator) -> tuple[np.ndarray, np.ndarray]:
    """A head of 1 mm voxels, moved by `shift`, in which the lesion of this patient has grown; and the lesion's mask.

    A place at a radius r from the lesion's centre was at r · s(r) before, with s from growth^(−1/3) at the lesion to 1
    far away: volumes inside change by exactly `growth`.
    """
    own = np.random.default_rng(seed)
    side = VISIT_SIDE
    centre, radius = side / 2 + own.uniform(-3, 3, 3), own.uniform(4, 5)
    at = grid((side, side, side)) * (side - 1) / 2 + (side - 1) / 2 - shift
    away = np.linalg.norm(at - centre, axis=-1)
    grown, share = radius * growth ** (1 / 3), growth ** (-1 / 3)
    fade = np.clip((away - grown) / (1.5 * grown), 0, 1)
    scale = share + (1 - share) * fade * fade * (3 - 2 * fade)
    before = centre + (at - centre) * scale[..., None]
    head = ball(before, np.full(3, (side - 1) / 2), side * np.array([0.4, 0.43, 0.37]))
    texture = 12 * smooth_noise(before, 24, 0.7, own)
    lesion = 1 / (1 + np.exp((np.linalg.norm(before - centre, axis=-1) - radius) / 0.4))
    values = head * (100 + texture) + 60 * lesion + random.normal(0, 3, head.shape)
    return values.astype(np.float32), (away <= grown).astype(np.uint8)


def visits(count: int, folder: Path, random: np.random.Generator) -> pl.DataFrame:
    """The first scan of each patient beside two later ones, a row for each pair; `growth` is the true change of volume."""
    folder.mkdir(parents=True, exist_ok=True)
    rows = []
    for patient in range(count):
        paths = []
        grown = [1.0, *random.choice(GROWTHS, 2, replace=False).tolist()]
        for number, growth in enumerate(grown):
            shift = random.uniform(-1.5, 1.5, 3) * (number > 0)
            values, mask = visit(patient, growth, shift, random)
            stem = f"p{patient:03d}-{number + 1}"
            paths.append(
                [
                    save_volume(folder / f"{stem}.nii.gz", values, 1.0),
                    save_volume(folder / f"{stem}-mask.nii.gz", mask, 1.0),
                ]
            )
        for number in (1, 2):
            first, later = paths[0], paths[number]
            rows.append(
                {
                    "pair": f"p{patient:03d}-{number + 1}", "patient": patient, "visit": number + 1,
                    "first": first[0], "later": later[0], "first_mask": first[1], "later_mask": later[1],
                    "growth": grown[number],
                }
            )  # fmt: skip
    return pl.DataFrame(rows)


def mole(ill: bool, close: bool, random: np.random.Generator) -> np.ndarray:
    """A photograph of a mole, `[rows, columns, 3]`: close by, an ill one has a ragged border and blue-black parts."""
    at = grid((MOLE_SIDE, MOLE_SIDE))
    skin = np.array([205.0, 165, 145]) * random.uniform(0.8, 1.1) + 4 * smooth_noise(at, 20, 12, random)[..., None]
    radius = random.uniform(0.45, 0.6) if close else random.uniform(0.15, 0.22)
    off = (at - random.uniform(-0.15, 0.15, 2)) / (radius * random.uniform(0.85, 1.15, 2))
    angle = np.arctan2(off[..., 0], off[..., 1])
    border = 0.2 * np.sin(3 * angle + random.uniform(0, 6)) + 0.12 * np.sin(7 * angle) if ill and close else 0.0
    share = 1 / (1 + np.exp(np.clip((np.linalg.norm(off, axis=-1) - 1 - border) / 0.12, -50, 50)))[..., None]
    brown = np.array([120.0, 80, 60]) * random.uniform(0.8, 1.2)
    picture = skin + share * (brown - skin)
    if ill and close:
        dark = ball(off, random.uniform(-0.4, 0.4, 2), random.uniform(0.3, 0.5), 0.2)[..., None]
        picture += share * dark * (np.array([45.0, 45, 70]) - picture)
    for _ in range(int(random.integers(0, 4))):
        x, slope = random.uniform(-1, 1), random.normal(0, 0.5)
        picture[np.abs(at[..., 1] - x - slope * at[..., 0]) < 0.03] *= 0.5
    return picture + random.normal(0, 4, picture.shape)


def moles(count: int, folder: Path, random: np.random.Generator) -> pl.DataFrame:
    """Moles, two of each patient, with one to four photographs: one close by, the others from far off, in any order."""
    folder.mkdir(parents=True, exist_ok=True)
    rows = []
    for number in range(count):
        ill, photographs = bool(random.random() < 0.4), int(random.integers(1, 5))
        nearest = int(random.integers(photographs))
        paths = [
            save_picture(folder / f"m{number:04d}-{one + 1}.png", mole(ill, one == nearest, random))
            for one in range(photographs)
        ]
        answer = "yes" if ill else "no"
        rows.append({"mole": number, "patient": number // 2, "photographs": ";".join(paths), "melanoma": answer})
    return pl.DataFrame(rows)


def main(folder: Path, scale: float = 1.0, shortcut: bool = False) -> None:
    """Writes every table and its images; `scale` below 1 makes fewer."""
    folder.mkdir(parents=True, exist_ok=True)
    for name, make, count, least in (
        ("brains", brains, 160, 16),
        ("hippocampi", hippocampi, 120, 16),
        ("visits", visits, 60, 8),
        ("moles", moles, 300, 36),
    ):
        table = make(max(least, int(count * scale)), folder / name, np.random.default_rng(19))
        table.write_csv(folder / f"{name}.csv")
    table = chests(max(40, int(600 * scale)), folder / "chests", np.random.default_rng(19), shortcut)
    table.write_csv(folder / "chests.csv")


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("scale", nargs="?", type=float, default=1.0, help="below 1 makes fewer")
    parser.add_argument("--shortcut", action="store_true", help="pneumonia goes with the hospital")
    asked = parser.parse_args()
    main(Path(__file__).parent / "data", asked.scale, asked.shortcut)
