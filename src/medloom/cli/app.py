"""The commands. Each only reads its arguments and calls `run`."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from medloom.errors import counted

if TYPE_CHECKING:
    from medloom.bundle import OnProblem

app = typer.Typer(
    name="medloom",
    help="Deep learning for medical data: one path from a file to a trustworthy answer. Research use only.",
    no_args_is_help=True,
    add_completion=False,
    rich_markup_mode=None,
    pretty_exceptions_enable=False,
)

StudyFile = Annotated[Path, typer.Argument(metavar="STUDY.toml", help="study file")]
BundleFolder = Annotated[Path, typer.Argument(metavar="BUNDLE", help="folder of a bundle")]
Overrides = Annotated[
    list[str] | None, typer.Argument(metavar="[section.key=value]…", help="keys of the study to change")
]
Beginning = Annotated[
    Path | None,
    typer.Option(help="where relative paths begin, of files, stores and tables; left out: the table's folder"),
]
Problems = Annotated[str, typer.Option(help="what to do with rows that do not fit: refuse, or name it in a column")]


@app.command()
def demo(
    what: Annotated[str, typer.Argument(help="breast-cancer or digits")] = "breast-cancer",
    out: Annotated[Path | None, typer.Option(help="folder for the data, the study file and the run")] = None,
) -> None:
    """Run the main job on embedded real data."""
    from medloom.cli.demo import demonstrate

    demonstrate(what, out)


@app.command()
def guess(
    table: Annotated[Path, typer.Argument(help="CSV, TSV, Parquet or Arrow file")],
    target: Annotated[str, typer.Option(help="column with the answer")],
    out: Annotated[Path | None, typer.Option(help="study file to write; left out: beside the table")] = None,
) -> None:
    """Write a study file for a person to edit."""
    from medloom.cli.describe import guessed

    guessed(table, target, out)


@app.command()
def windows(
    table: Annotated[Path, typer.Argument(help="table with a row for each record")],
    column: Annotated[str, typer.Option(help="column with the paths of the records")],
    seconds: Annotated[float, typer.Option(help="length of a window")],
    annotations: Annotated[
        str, typer.Option(help='ending of WFDB annotation files, or "file" for those in EDF+ and BDF+')
    ] = "atr",
    stride: Annotated[float | None, typer.Option(help="seconds from window to window; left out: the length")] = None,
    label: Annotated[list[str] | None, typer.Option(help="a text that counts; give it several times")] = None,
    otherwise: Annotated[str | None, typer.Option(help="label of windows without annotation; left out: none")] = None,
    out: Annotated[Path, typer.Option(help="table to write")] = Path("windows.csv"),
) -> None:
    """Write a table with a row for each window of annotated signals."""
    from medloom.cli.windows import write_windows

    write_windows(table, column, annotations, seconds, stride, tuple(label or ()), otherwise, out)


@app.command()
def check(
    study: StudyFile,
    overrides: Overrides = None,
    data: Annotated[bool, typer.Option("--data", help="also read the data: columns, answers, split")] = False,
) -> None:
    """Name every mistake at once, and print the resolved study."""
    from medloom.study import read
    from medloom.study_text import dump_toml

    parsed = read(study, overrides or [])
    if data:
        from medloom.cli.describe import checked_data

        parsed = checked_data(parsed)
    typer.echo(dump_toml(parsed), nl=False)


@app.command()
def plan(study: StudyFile, overrides: Overrides = None) -> None:
    """What will be trained: parameters, steps, memory, and time on this machine."""
    from medloom.cli.describe import planned
    from medloom.study import read

    planned(read(study, overrides or []))


@app.command()
def audit(
    study: StudyFile,
    overrides: Overrides = None,
    strict: Annotated[bool, typer.Option("--strict", help="exit code 1 where a finding is severe")] = False,
    as_json: Annotated[bool, typer.Option("--json", help="findings as JSON")] = False,
    ids: Annotated[
        bool,
        typer.Option(
            "--ids", help="name at most five row ids a finding; with --json also all pairs of rows that are alike"
        ),
    ] = False,
) -> None:
    """Look for leaks in the data: copies of the answer, of rows, of patients. Nothing is trained."""
    from medloom.cli.describe import audited
    from medloom.study import read

    if audited(read(study, overrides or []), as_json, ids) and strict:
        sys.exit(1)


@app.command()
def ingest(
    source: Annotated[Path, typer.Argument(metavar="SOURCE", help="file or folder to read")],
    to: Annotated[Path, typer.Option(help="folder for the store; a stopped ingest there goes on")],
    options: Annotated[
        list[str] | None, typer.Argument(metavar="[key=value]…", help="options of this kind of source")
    ] = None,
    kind: Annotated[
        str | None, typer.Option("--as", help="kind of source or name of a mapping; left out: by what lies there")
    ] = None,
    broken: Annotated[
        str | None, typer.Option(help="what to do with lines that cannot be read: refuse or skip")
    ] = None,
) -> None:
    """Read a source of events, or a folder of DICOM images, into a store that studies read.

    What it is, is seen from what lies there. Every kind has options of its own (docs/reference/ingest.md), such as
    kinds=original,derived for DICOM; one that is not known is an error that names the nearest.
    """
    from medloom.cli.count import ingest_counted
    from medloom.ingest.door import parse_options

    given = parse_options([*(options or []), *([f"broken={broken}"] if broken is not None else [])])
    ingest_counted(source, to, kind, given)


@app.command()
def fit(
    study: StudyFile,
    overrides: Overrides = None,
    out: Annotated[Path, typer.Option(help="folder of the run; a stopped run there is resumed")] = Path("run"),
) -> None:
    """Train, measure beside baselines, write report and bundle."""
    from medloom.cli.watch import fit_watched
    from medloom.study import read

    fit_watched(read(study, overrides or []), out)


@app.command()
def evaluate(
    bundle: BundleFolder,
    data: Annotated[Path, typer.Argument(help="table of other rows with known answers")],
    out: Annotated[Path, typer.Option(help="folder for the figures and the report")],
    problems: Problems = "refuse",
    folder: Beginning = None,
) -> None:
    """Judge a bundle on other data."""
    from medloom.cli.watch import print_figures
    from medloom.run import evaluate as judge

    print_figures(judge(bundle, data, out, problems=_choice(problems), folder=folder))


@app.command()
def recalibrate(
    bundle: BundleFolder,
    data: Annotated[Path, typer.Argument(help="table of local rows with known answers")],
    out: Annotated[Path, typer.Option(help="folder for the new bundle")],
    problems: Problems = "refuse",
    folder: Beginning = None,
) -> None:
    """Set a bundle's calibration to local rows."""
    from medloom.cli.watch import print_recalibrated
    from medloom.recalibrating import recalibrate as set_to

    print_recalibrated(set_to(bundle, data, out, problems=_choice(problems), folder=folder))
    typer.echo(f"Bundle: {out.resolve()}")


@app.command()
def predict(
    bundle: BundleFolder,
    data: Annotated[Path, typer.Argument(help="table of new rows, of any size")],
    out: Annotated[Path, typer.Option(help="predictions: a .parquet or .csv file")],
    problems: Problems = "refuse",
    folder: Beginning = None,
) -> None:
    """Answers for new rows."""
    from medloom.cli.predict import predict_file

    rows = predict_file(bundle, data, out, _choice(problems), folder)
    typer.echo(f"{counted(rows, 'row')} → {out}")


@app.command()
def explain(
    bundle: BundleFolder,
    data: Annotated[Path, typer.Argument(help="table of rows, of any size")],
    out: Annotated[Path, typer.Option(help="what each answer rests on: a .parquet or .csv file")],
    problems: Problems = "refuse",
    folder: Beginning = None,
) -> None:
    """What each column adds to the answer of each row; of images, where in them it comes from, as maps beside OUT."""
    from medloom.cli.predict import explain_file

    lines = explain_file(bundle, data, out, _choice(problems), folder)
    typer.echo(f"{counted(lines, 'line')} → {out}")


@app.command()
def embed(
    bundle: BundleFolder,
    data: Annotated[Path, typer.Argument(help="table of rows, of any size")],
    out: Annotated[Path, typer.Option(help="vectors: a .parquet or .csv file")],
    problems: Problems = "refuse",
    folder: Beginning = None,
) -> None:
    """What the encoders make of each row, as numbers."""
    from medloom.cli.predict import embed_file

    rows = embed_file(bundle, data, out, _choice(problems), folder)
    typer.echo(f"{counted(rows, 'row')} → {out}")


@app.command()
def register(
    moving: Annotated[Path, typer.Argument(metavar="MOVING", help="image that is moved")],
    fixed: Annotated[list[Path], typer.Argument(metavar="FIXED…", help="images that it is laid over: one, or visits")],
    out: Annotated[Path, typer.Option(help="folder for the moved image, the map and the figures")],
    mask: Annotated[Path | None, typer.Option(help="outline on MOVING, which is carried over")] = None,
    points: Annotated[Path | None, typer.Option(help="table of landmarks on MOVING and FIXED, which judge")] = None,
    bundle: Annotated[Path | None, typer.Option(help="bundle that learnt to register; left out: a search")] = None,
    similarity: Annotated[str, typer.Option(help="lncc (one kind of scan) or mind (different kinds)")] = "lncc",
    start: Annotated[str, typer.Option(help="header (where files say that they lie) or centre")] = "header",
) -> None:
    """Lay an image over others; carry an outline over visits. Needs no training."""
    from medloom.cli.register import registered

    registered(moving, fixed, out, mask, points, bundle, similarity, start)


@app.command()
def show(bundle: BundleFolder) -> None:
    """What a bundle or a run holds, for people."""
    from medloom.cli.describe import shown

    shown(bundle)


@app.command()
def report(
    run: Annotated[Path, typer.Argument(metavar="RUN", help="folder of a finished run")],
    form: Annotated[str, typer.Option("--format", help="html, pdf, md or json")] = "html",
    out: Annotated[Path | None, typer.Option(help="file to write; left out: report.<format> in the run")] = None,
) -> None:
    """Write a run's report again, from what it keeps; no data are read."""
    from medloom.run import report as write

    typer.echo(str(write(run, form, out)))


@app.command()
def compare(
    runs: Annotated[list[Path], typer.Argument(metavar="RUN RUN…", help="folders of finished runs")],
    out: Annotated[Path | None, typer.Option(help="also write the comparison as a page: a .html file")] = None,
) -> None:
    """Runs side by side: what differs in their studies, their figures, and paired differences."""
    from medloom.run import compare as compared

    typer.echo(compared(runs, out), nl=False)


@app.command()
def schema() -> None:
    """JSON Schema of a study file, for editors."""
    import json

    from medloom.study_text import schema as study_schema

    typer.echo(json.dumps(study_schema(), indent=2))


@app.command()
def version() -> None:
    """Version of medloom."""
    import medloom

    typer.echo(medloom.__version__)


def _choice(problems: str) -> OnProblem:
    if problems not in ("refuse", "column"):
        typer.echo(f"--problems: found {problems!r}; expected refuse or column", err=True)
        sys.exit(2)
    return problems  # type: ignore[return-value]
