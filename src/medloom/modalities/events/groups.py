"""Wider groups in place of single codes: read from the user's table once, then part of the study that a bundle keeps."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
from jaxtyping import Int

from medloom.cohort.code_groups import CodeSets, code_groups, read_groups
from medloom.errors import DataError, some
from medloom.modalities.events.options import EventsOptions


def with_members(options: EventsOptions, folder: Path) -> EventsOptions:
    """The options with the table of groups read: its file is not asked for again. Raises DataError."""
    if options.groups is None or options.groups.table is None:
        return options
    members = {group: tuple(codes) for group, codes in read_groups(folder / options.groups.table).items()}
    levels = options.groups.model_copy(update={"table": None})
    left = levels if levels.icd9 or levels.icd10 or levels.atc else None
    return options.model_copy(update={"groups": left, "members": {**options.members, **members}})


def names_of(options: EventsOptions, codes: Sequence[str]) -> list[str]:
    """What each code counts as: the group that has it as a member, else the level of its system, else itself."""
    found = list(codes) if options.groups is None else list(code_groups(codes, options.groups))
    if not options.members:
        return found
    of_members = CodeSets.of(options.members).names(codes)
    several = [code for code, names in zip(codes, of_members, strict=True) if len(names) > 1]
    if several:
        raise DataError(f"members: codes in several groups ({some(several)}); expected one group for each code")
    return [names[0] if names else one for names, one in zip(of_members, found, strict=True)]


def first_of_name(names: Sequence[str]) -> Int[np.ndarray, " codes"]:
    """For each code, from 1 on, the first code of the same name; 0 of code 0, which is none."""
    first: dict[str, int] = {}
    return np.array([0, *(first.setdefault(name, number) for number, name in enumerate(names, 1))], np.int64)
