"""Names → classes: the registry is the file system, and what is unknown answers with what is near."""

from __future__ import annotations

from types import SimpleNamespace

import pytest

from medloom import find
from medloom.errors import StudyError, some


def test_unknown_names_answer_with_the_nearest() -> None:
    with pytest.raises(StudyError, match="unknown modality 'tabel'; did you mean 'table'"):
        find.modality("tabel")
    with pytest.raises(StudyError, match="unknown task 'quixotry'; known: .*classify"):
        find.task("quixotry")


@pytest.mark.parametrize("name", ["", "_heads", "table.columns", "..table", "__init__", "Table"])
def test_only_names_of_the_registry_are_found(name: str) -> None:
    with pytest.raises(StudyError):
        find.modality(name)
    with pytest.raises(StudyError):
        find.task(name)


def test_entry_points_add_names_and_come_first(monkeypatch: pytest.MonkeyPatch) -> None:
    class Theirs:
        pass

    points = [SimpleNamespace(name=name, load=lambda: Theirs) for name in ("spirometry", "table")]
    monkeypatch.setattr(find, "_points", find._points.__wrapped__)
    monkeypatch.setattr(find, "entry_points", lambda group: points if group == "medloom.modalities" else [])
    assert "spirometry" in find.modalities()
    assert find.modality("spirometry") is Theirs
    assert find.modality("table") is Theirs
    assert "spirometry" not in find.tasks()


def test_a_missing_package_names_its_extra(monkeypatch: pytest.MonkeyPatch) -> None:
    assert find.need("json").loads("1") == 1
    monkeypatch.setitem(__import__("sys").modules, "nibabel", None)
    with pytest.raises(StudyError, match=r"pip install 'medloom\[image\]'"):
        find.need("nibabel")


def test_near() -> None:
    assert find.near("stpes", ["steps", "epochs"]) == "did you mean 'steps'?"
    assert find.near("zzz", ["steps", "epochs"]) == "known: epochs, steps"
    assert find.near("zzz", [f"key{i:02}" for i in range(30)]).endswith("key19, …")
    assert find.near("zzz", []) == ""


def test_some() -> None:
    assert some(["a", 2]) == "'a', '2'"
    assert some(list(range(9))) == "'0', '1', '2', '3', '4' and 4 more"


def test_a_study_error_carries_every_problem() -> None:
    assert StudyError("a").problems == ("a",)
    assert StudyError(["a", "b"]).problems == ("a", "b")
    assert str(StudyError(["a", "b"])) == "a\nb"
