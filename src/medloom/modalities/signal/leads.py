"""Leads by name: one spelling for many, their place in a record, and units of volts."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence

import numpy as np
from jaxtyping import Float

VOLTS = {"v": 1.0, "mv": 1e-3, "uv": 1e-6, "µv": 1e-6, "μv": 1e-6, "nv": 1e-9}
"""Units of volts as files spell them, and how many volts each is."""
_BEFORE = re.compile(r"^(?:(?:ecg|ekg|eeg|emg|eog|lead)[\s_-]+)+")
_BEHIND = re.compile(r"[\s_-]+ref$")


def spelt(name: str) -> str:
    """A name as it is compared: lower case, single spaces, without "ECG", "EEG", "lead" before it or "ref" behind it."""
    plain = " ".join(name.casefold().split()).strip(" .")
    return _BEHIND.sub("", _BEFORE.sub("", plain)) or plain


def places(
    leads: Sequence[str], aliases: Mapping[str, Sequence[str]], names: Sequence[str]
) -> tuple[list[int], list[str]]:
    """Where each lead stands among the channels of a record, -1 where it does not; and leads that stand there twice."""
    known = {spelt(lead): place for place, lead in enumerate(leads)}
    known |= {spelt(other): known[spelt(lead)] for lead, others in aliases.items() for other in others}
    found, twice = [-1] * len(leads), []
    for channel, name in enumerate(names):
        place = known.get(spelt(name))
        if place is None:
            continue
        if found[place] >= 0:
            twice.append(leads[place])
        found[place] = channel
    return found, twice


def factor(found: str, wanted: str) -> float | None:
    """What a value in the unit `found` is multiplied by; None where that is no unit of volts."""
    volts = VOLTS.get(found.strip().casefold())
    return None if volts is None else volts / VOLTS[wanted.casefold()]


def unlike_einthoven(
    windows: Float[np.ndarray, "views channels samples"], leads: Sequence[str]
) -> Float[np.ndarray, " views"] | None:
    """How far lead II is from I + III in each window, as a share of its power; None without these three leads.

    Where leads were named wrongly it is large. Source: Einthoven's law, as the sum of voltages around a triangle.
    """
    place = {spelt(lead): number for number, lead in enumerate(leads)}
    if not {"i", "ii", "iii"} <= set(place):
        return None
    one, two, three = (windows[:, place[name]] for name in ("i", "ii", "iii"))
    off = two - one - three
    power = sum(part.var(axis=1) for part in (one, two, three))
    return np.divide(off.var(axis=1), power, out=np.zeros(len(windows)), where=power > 0)
