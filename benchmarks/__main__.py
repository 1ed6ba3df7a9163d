"""Runs benchmarks, keeps what they measured, and writes the table. What is done at this commit is not done again."""

from __future__ import annotations

import argparse
import difflib
import importlib
import pkgutil
import sys
import time
from collections.abc import Callable, Sequence
from pathlib import Path

import benchmarks
from benchmarks.result import Result, commit_of, keep, read
from benchmarks.table import table

HERE = Path(__file__).parent
Run = Callable[[Path | None], list[Result]]


def discover() -> dict[str, Run]:
    """Every benchmark of this folder by its id."""
    names = [module.name for module in pkgutil.iter_modules(benchmarks.__path__) if module.name != "__main__"]
    modules = [importlib.import_module(f"benchmarks.{name}") for name in names]
    return {module.ID: module.run for module in modules if hasattr(module, "ID")}


def chosen(known: Sequence[str], only: Sequence[str]) -> list[str]:
    """Which ids to run; exits where one is unknown."""
    for name in only:
        if name not in known:
            near = difflib.get_close_matches(name, known) or known
            sys.exit(f"no benchmark {name!r}; expected one of {', '.join(near)}")
    return list(only) or sorted(known)


def measure(known: dict[str, Run], ids: Sequence[str], data: Path | None, kept: Path, again: bool) -> None:
    """Runs these benchmarks one after the other, and keeps each as soon as it is done."""
    commit = commit_of(HERE.parent)
    for number, name in enumerate(ids, 1):
        done = any(line["id"] == name and line["commit"] == commit for line in read(kept)) and not commit.endswith("+")
        if done and not again:
            print(f"[{number}/{len(ids)}] {name}: done at {commit}; --again measures it again")
            continue
        print(f"[{number}/{len(ids)}] {name} …", flush=True)
        start = time.monotonic()
        results = known[name](data)
        if not results:
            print("    left out: its data set is not in the folder that --data names", flush=True)
            continue
        if any(result.id != name for result in results):
            sys.exit(f"{name} must give results of its own id")
        (kept.with_name("RESULTS.md")).write_text(table(keep(kept, results, commit)), encoding="utf-8")
        for result in results:
            print(
                f"    {result.metric}: {result.value:.4g}"
                + ("" if result.want is None else f", wanted {result.want:.4g}")
            )
        print(f"    {time.monotonic() - start:.0f} s", flush=True)


def main(arguments: Sequence[str] | None = None) -> None:
    """Entry point of `python -m benchmarks`."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks", description=__doc__)
    parser.add_argument("--data", type=Path, help="folder of the public data sets; each benchmark says which it reads")
    parser.add_argument(
        "--only", action="append", default=[], metavar="ID", help="this benchmark alone; may be repeated"
    )
    parser.add_argument("--again", action="store_true", help="measure again what was measured at this commit")
    parser.add_argument("--list", action="store_true", help="name the benchmarks, and stop")
    parser.add_argument("--results", type=Path, default=HERE / "results.json", help="file that keeps what was measured")
    given = parser.parse_args(arguments)
    known = discover()
    if given.list:
        print("\n".join(sorted(known)))
        return
    if given.data is not None and not given.data.is_dir():
        sys.exit(f"--data {given.data}: no such folder")
    only = [name for words in given.only for name in words.split(",") if name]
    measure(known, chosen(sorted(known), only), given.data, given.results, given.again)


if __name__ == "__main__":
    main()
