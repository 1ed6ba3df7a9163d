"""What only the whole archive tells of a volume: whose it may be, too, and which other volume is the same."""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Mapping, Sequence
from typing import Any

STANDS_FOR_ANY = re.compile(
    r"(anon\w*|unknown|unbekannt|none|null|n/?a|no[ _-]?(id|name)|test\w*|dummy|default|patient|0+|x{2,}|-+|\?+)",
    re.IGNORECASE,
)
"""Words that stand in a PatientID where nobody wrote one, or an anonymiser gave one to all."""


def doubt(lines: Sequence[dict[str, Any]], births: Mapping[str, set[str]]) -> None:
    """Adds to the problems of each line whose patient is in doubt, and names the first volume of the same voxels.

    Nobody is merged and nobody is parted here: an id in doubt is set right in the table of the study.
    """
    alike: dict[str, set[str]] = defaultdict(set)
    for line in lines:
        if line["patient"]:
            alike[_bare(line["patient"])].add(line["patient"])
    first: dict[tuple[str, str], dict[str, Any]] = {}
    for line in lines:
        patient = line["patient"]
        if patient and STANDS_FOR_ANY.fullmatch(patient.rsplit("/", 1)[-1]):
            line["problems"].append("its PatientID is a word that may stand for several patients")
        if patient and len(births.get(patient, ())) > 1:
            line["problems"].append("its PatientID goes with several dates of birth")
        if patient and len(alike[_bare(patient)]) > 1:
            line["problems"].append(
                "another PatientID is the same but for case, blanks, signs, leading zeros or its issuer"
            )
        if line["stored"]:
            same = first.setdefault((line["voxels"], line["shape"]), line)
            if same is not line:
                line["copy_of"] = same["volume"]
                whose = "another volume" if same["patient"] == patient else "a volume of another patient"
                line["problems"].append(f"its voxels are those of {whose}")


def _bare(patient: str) -> str:
    """An id as far as it survives retyping: without its issuer, case, blanks, signs and leading zeros."""
    known = re.sub(r"[\W_]", "", patient.rsplit("/", 1)[-1]).casefold()
    return known.lstrip("0") or known or patient
