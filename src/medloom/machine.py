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
