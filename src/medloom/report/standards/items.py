"""The items of each standard, read from the lists beside this file."""

from __future__ import annotations

import tomllib
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Literal

Standard = Literal["tripod", "probast", "card"]
Who = Literal["run", "author", "both"]
CITED = {
    "tripod": "TRIPOD+AI: Collins et al., BMJ 385:e078378, 2024",
    "probast": "PROBAST+AI: Moons et al., BMJ 388:e082505, 2025",
    "card": "CHAI applied model card, version 0.2, https://mc.chai.org",
}
"""What each standard is, for readers."""


@dataclass(frozen=True, slots=True)
class Item:
    """One item: `text` says in our words what it is about, `ask` what authors are asked.

    `about` has D for development and E for evaluation. `element` is the name a field of a card has in its XML.
    """

    key: str
    part: str
    text: str
    who: Who
    about: str = "DE"
    ask: str = ""
    element: str = ""
    optional: bool = False

    @property
    def place(self) -> str:
        """Where the standard has it: an item of the checklist, or a signalling question of a domain."""
        part, _, number = self.key.partition("-")
        parts = {"dev": "development", "eval": "evaluation"}
        return f"{parts[part]} {number.replace('-', '.')}" if part in parts and number else self.key

    @property
    def asked(self) -> bool:
        """Whether authors may write something here."""
        return self.who != "run"


@cache
def items(standard: Standard) -> dict[str, Item]:
    """All items of a standard by their key, in order."""
    raw = tomllib.loads((Path(__file__).parent / f"{standard}.toml").read_text(encoding="utf-8"))
    return {key: Item(key, **fields) for key, fields in raw.items()}
