"""How a number is scaled and parted into bins, from counts of its values."""

from __future__ import annotations

import numpy as np
from jaxtyping import Float, Int

from medloom.tally import quantile


def centre_and_scale(
    values: Float[np.ndarray, " distinct"], counts: Int[np.ndarray, " distinct"]
) -> tuple[float, float]:
    """Median and interquartile range / 1.349; where more than half are equal, the standard deviation; never 0."""
    if not len(values):
        return 0.0, 1.0
    low, middle, high = (quantile(values, counts, share) for share in (0.25, 0.5, 0.75))
    if high > low:
        return middle, (high - low) / 1.349
    values = values.astype(np.float64)
    mean = float(np.average(values, weights=counts))
    spread = float(np.sqrt(np.average((values - mean) ** 2, weights=counts)))
    return middle, spread if spread > 0 else 1.0


def bin_edges(
    values: Float[np.ndarray, " distinct"], counts: Int[np.ndarray, " distinct"], bins: int
) -> tuple[float, ...]:
    """Different quantiles that part the rows into at most `bins` bins; none where all values are equal.

    The first and the last bin are open, so the outer edges need not be the extremes, which are single patients'.
    Source: Gorishniy et al., "On embeddings for numerical features in tabular deep learning", 2022 (arXiv
    2203.05556), section 3.2.1.
    """
    if len(values) < 2:
        return ()
    found = sorted({quantile(values, counts, (step + 0.5) / (bins + 1)) for step in range(bins + 1)})
    if len(found) < 2:
        return float(values[0]), float(values[-1])
    return tuple(found)
