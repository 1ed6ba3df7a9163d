"""The command line: errors of the user as sentences, without a traceback, with exit code 2."""

from __future__ import annotations

import errno
import sys

_PLACES = frozenset(
    {
        *(errno.ENOSPC, errno.EDQUOT, errno.EFBIG, errno.EACCES, errno.EPERM, errno.EROFS),
        *(errno.ENOENT, errno.ENOTDIR, errno.EISDIR, errno.EEXIST, errno.ENAMETOOLONG),
    }
)
"""Errors of a disk or of a path that the user named: they are told in a line."""


def main() -> None:
    """Entry point of the command `medloom`."""
    from medloom.cli.app import app
    from medloom.errors import MedloomError

    try:
        app()
    except MedloomError as error:
        print(f"{_what(error)}:\n{_indented(str(error))}", file=sys.stderr)
        sys.exit(2)
    except KeyboardInterrupt:
        print("\nstopped", file=sys.stderr)
        sys.exit(130)
    except OSError as error:
        if error.errno not in _PLACES:
            raise
        print(f"cannot read or write: {error}", file=sys.stderr)
        sys.exit(2)


def _what(error: Exception) -> str:
    return {
        "StudyError": "The study has a mistake",
        "DataError": "The data do not fit",
        "BundleError": "The bundle cannot be used",
    }.get(type(error).__name__, "Error")


def _indented(text: str) -> str:
    return "\n".join(f"  {line}" for line in text.splitlines())
