"""What this machine has, whatever else uses it now: the same answer each time."""

from __future__ import annotations

import os

USUAL_MEMORY = 8 << 30
"""Where a system does not tell its memory."""


def memory_bytes() -> int:
    """Memory of the machine."""
    try:
        return os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
    except (AttributeError, ValueError, OSError):
        return USUAL_MEMORY


def cores() -> int:
    """Cores of the machine."""
    return os.cpu_count() or 1


def threads_named() -> int | None:
    """Threads that `OMP_NUM_THREADS` allows a process; None where it is not set, or names no number.

    Of a list such as 4,2 the first number counts: those within are for threads within threads.
    """
    named = os.environ.get("OMP_NUM_THREADS", "").partition(",")[0].strip()
    return int(named) if named.isdecimal() and int(named) > 0 else None


def load_average() -> float:
    """How many processes wanted a core during the last minute, on average; 0 where a system does not tell."""
    try:
        return os.getloadavg()[0]
    except (AttributeError, OSError):
        return 0.0


def crowded(threads: int, before: float) -> str:
    """What to say where others used this machine before so many threads of a training did; "" where nobody did."""
    if threads == 1 or before < cores() + 0.5:
        return ""
    # Threads wait for one another at each product: on a busy machine several can be far slower than one.
    return f"others use this machine too (load {before:.1f}, cores {cores()}): train.threads=1 may be much faster"
