"""How numbers of things are told everywhere."""

from __future__ import annotations

_ALONE = {"are": "is", "have": "has", "do": "does", "were": "was", "miss": "misses"}
_ALIKE = ("can", "cannot", "could", "may", "might", "must", "should", "will", "would")


def counted(count: int, one: str, many: str = "") -> str:
    """`1 row`, `1,234 rows`; `many` where an s behind `one` does not make it: `counted(n, "series", "series")`."""
    return f"{count:,} {one if count == 1 else many or f'{one}s'}"


def clause(count: int, one: str, said: str) -> str:
    """`2 values are negative`, `1 value is negative`: what is said begins with the verb of many."""
    verb, space, rest = said.partition(" ")
    alone = verb if verb in _ALIKE else _ALONE.get(verb, f"{verb}s")
    return f"{counted(count, one)} {alone if count == 1 else verb}{space}{rest}"
