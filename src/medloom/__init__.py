"""medloom: deep learning for medical data, from a file to a trustworthy answer. Research use only."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

__version__ = "0.1.0"

if TYPE_CHECKING:
    from medloom.bundle import Bundle, load
    from medloom.errors import BundleError, DataError, StudyError
    from medloom.run import Run, evaluate, fit, predict
    from medloom.study import Study
    from medloom.study import read as read_study

__all__ = [
    "Bundle", "BundleError", "DataError", "Run", "Study", "StudyError",
    "__version__", "evaluate", "fit", "load", "predict", "read_study",
]  # fmt: skip

_HOMES = {
    "Bundle": "bundle", "load": "bundle", "BundleError": "errors", "DataError": "errors", "StudyError": "errors",
    "Run": "run", "evaluate": "run", "fit": "run", "predict": "run", "Study": "study", "read_study": "study",
}  # fmt: skip


def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        raise AttributeError(f"module 'medloom' has no attribute {name!r}")
    import importlib

    return getattr(importlib.import_module(f"medloom.{_HOMES[name]}"), "read" if name == "read_study" else name)


def __dir__() -> list[str]:
    return list(__all__)
