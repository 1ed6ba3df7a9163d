"""How numbers of things are told everywhere."""

from __future__ import annotations


def counted(count: int, one: str, many: str = "") -> str:
    """`1 row`, `1,234 rows`; `many` where an s behind `one` does not make it: `counted(n, "row has", "rows have")`."""
    return f"{count:,} {one if count == 1 else many or f'{one}s'}"
