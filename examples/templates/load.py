"""Makes the table of a published data set for the study file of the same name:

    python examples/templates/load.py isic /data/ISIC2020 --to examples/templates

writes isic.csv beside isic.toml; then `medloom check isic.toml --data` and `medloom fit isic.toml --out runs/isic`.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Callable
from pathlib import Path

import pictures
import polars as pl
import scans

LOADERS: dict[str, Callable[[Path, Path], pl.DataFrame]] = {
    "isic": pictures.isic,
    "aptos": pictures.aptos,
    "refuge": pictures.refuge,
    "chexpert": pictures.chexpert,
    "grazpedwri": pictures.grazpedwri,
    "medmnist": pictures.medmnist,
    "arcade": pictures.arcade,
    "cbis-ddsm": scans.cbis_ddsm,
    "lidc": scans.lidc,
    "adni": scans.adni,
}


def load(name: str, root: Path, to: Path) -> Path:
    """Writes `to`/name.csv, with paths of the images in `root`, and of files that are made into `to`/name."""
    if not root.is_dir():
        sys.exit(f"{root}: is no folder; expected the unpacked data set")
    try:
        table = LOADERS[name](root.resolve(), to.resolve() / name)
    except FileNotFoundError as error:
        sys.exit(f"{error.filename}: not found; {root} has another layout than the one that the loader is written for")
    if table.is_empty():
        sys.exit(f"{root}: holds no images where they were expected; look at the loader's description of the layout")
    to.mkdir(parents=True, exist_ok=True)
    table.write_csv(to / f"{name}.csv")
    return to / f"{name}.csv"


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("name", choices=sorted(LOADERS))
    parser.add_argument("root", type=Path, help="folder of the unpacked data set")
    parser.add_argument("--to", type=Path, default=Path(__file__).parent, help="folder of the table (default: here)")
    asked = parser.parse_args()
    made = load(asked.name, asked.root, asked.to)
    sys.stdout.write(f"{pl.read_csv(made, infer_schema=False).height} rows → {made}\n")
