"""Times of events as whole numbers, so that stores, tables and index times are compared exactly."""

from __future__ import annotations

import numpy as np
from jaxtyping import Float, Int

TICKS = 1_000_000
"""Times are int64: microseconds since 1970 of dates, millionths of the unit of numbers."""
TIMELESS = int(np.iinfo(np.int64).min)
"""The time of what is known of a patient at any time (sex, date of birth): it stands before all other events."""


def ticks(time: Float[np.ndarray, " events"]) -> Int[np.ndarray, " events"]:
    """Seconds since 1970, or numbers, as the store keeps them; NaN is timeless."""
    known = ~np.isnan(time)
    return np.where(known, np.rint(np.where(known, time, 0.0) * TICKS), TIMELESS).astype(np.int64)


def times(stored: Int[np.ndarray, " events"]) -> Float[np.ndarray, " events"]:
    """What `ticks` took: seconds since 1970, or numbers; −inf for what is timeless, which is before any index time."""
    return np.where(stored == TIMELESS, -np.inf, stored / TICKS)
