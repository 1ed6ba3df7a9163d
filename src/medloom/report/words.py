"""What the parts of a report are called, on the page and in its other forms."""

from __future__ import annotations

from collections.abc import Mapping

from medloom.errors import PATIENT, Noun

PARTS: Mapping[str, str] = {"train": "Training", "valid": "Validation", "calibrate": "Calibration", "test": "Test"}
PURPOSES: Mapping[str, str] = {
    "train": "teaches the models",
    "valid": "stops the training and chooses settings",
    "calibrate": "sets temperature and thresholds",
    "test": "judges; scored once",
}
CHAPTERS: Mapping[str, str] = {
    "patients": "Who the patients are",
    "figures": "The figures, closer",
    "trust": "Whether it can be believed",
    "explanation": "What the answers rest on",
    "method": "How it was made",
}
GROUPS: Mapping[str, str] = {
    "discrimination": "Does it tell them apart?",
    "calibration": "Do the probabilities hold?",
    "overall": "Overall error",
    "decisions": "Decisions at the threshold",
    "usefulness": "Is acting on it worth it?",
    "error": "How far off?",
    "intervals": "Do its intervals hold?",
    "each": "Each by itself",
}
"""Groups of figures, by `Metric.group`."""


NAMES = ("Aalen-Johansen", "Cox", "Kaplan-Meier", "Harrell's", "Uno's", "Brier", "Dice", "Hausdorff")
"""People whose names labels begin with."""


def inside(label: str) -> str:
    """A label inside a sentence: it begins small, unless with a name or an abbreviation. Of several with + each does."""
    parts = label.split(" + ")
    return " + ".join(part if _stays(part.partition(" ")[0]) else part[:1].lower() + part[1:] for part in parts)


def _stays(word: str) -> bool:
    return word in NAMES or word[1:] != word[1:].lower() or any(letter.isdigit() for letter in word)


def heading(of: Noun) -> str:
    """Over the part of a report that tells whose rows these are."""
    return CHAPTERS["patients"] if of == PATIENT else "What the rows are"


def how_to_read(level: str, resamples: str, of: Noun) -> str:
    """What the intervals are, in a few sentences."""
    elsewhere = "patients from elsewhere" if of == PATIENT else "other times or places"
    return (
        f"Intervals are {level} intervals over {of.many}, never over rows: closed forms where one is known to hold "
        "(shares, areas under curves, calibration), otherwise "
        f"{resamples} resamples of whole {of.many}, corrected for bias and skewness. The model and the baselines meet the "
        f"same {of.many}, so a difference has an interval of its own: it can be clear of zero even where the two intervals "
        "overlap. The strongest baseline is chosen on the same rows, which favours the baseline. No interval speaks of "
        f"{elsewhere}."
    )
