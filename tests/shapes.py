"""The type checker of the tests: beartype, for which a whole number is a number, as it is for Python."""

from __future__ import annotations

from beartype import BeartypeConf, beartype

checked = beartype(conf=BeartypeConf(is_pep484_tower=True))
