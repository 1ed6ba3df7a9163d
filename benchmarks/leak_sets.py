"""Tables without a leak, and leaks to put into them: what the audit is measured on."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl

from medloom.study import Study, make

Random = np.random.Generator


@dataclass(frozen=True)
class Case:
    """A table with its study's parts. `answer` is the column a leak is made of."""

    frame: pl.DataFrame
    task: str = "classify"
    cohort: Mapping[str, Any] = field(default_factory=lambda: {"independent_rows": True})
    kinds: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)
    hidden: tuple[str, ...] = ()

    @property
    def answer(self) -> np.ndarray:
        """The answer as numbers: of several classes whether it is the first, of a time the event."""
        values = self.frame["event" if self.task == "survive" else "answer"].to_numpy().astype(float)
        return (
            (values == values.min()).astype(float) if self.task == "classify" and len(np.unique(values)) > 2 else values
        )

    @property
    def inputs(self) -> list[str]:
        """Columns that are read."""
        taken = {"answer", "time", "event", *self.hidden, *(str(v) for v in self.cohort.values())}
        return [name for name in self.frame.columns if name not in taken]

    @property
    def numbers(self) -> list[str]:
        """Columns that are read as measured numbers."""
        return [n for n in self.inputs if self.frame[n].dtype.is_float() and self.frame[n].n_unique() > 20]

    def study(self) -> Study:
        """The study of the table."""
        columns = {}
        for name in self.inputs:
            number = self.frame[name].dtype.is_numeric()
            columns[name] = self.kinds.get(name, {"kind": "numeric" if number else "category"})
        target = {"task": self.task, "column": "answer"}
        if self.task == "survive":
            target = {"task": "survive", "time": "time", "event": "event"}
        return make(
            {
                "name": "leaks",
                "cohort": dict(self.cohort),
                "inputs": {"table": {"modality": "table", "known_before_index": True, "columns": columns}},
                "targets": {"answer": target},
            }
        )

    def with_column(self, name: str, values: Any, **kind: Any) -> Case:
        """The table with one more column, in a place of its own."""
        kinds = {**self.kinds, name: kind} if kind else self.kinds
        return replace(self, frame=self.frame.with_columns(pl.Series(name, values)), kinds=kinds)

    def with_rows(self, frame: pl.DataFrame, fresh: bool = True) -> Case:
        """The table with rows behind it, as other patients where ids are given."""
        patient = self.cohort.get("patient")
        if patient and fresh:
            frame = frame.with_columns(pl.Series(patient, [f"Q{i:06d}" for i in range(len(frame))]))
        return replace(self, frame=pl.concat([self.frame, frame.select(self.frame.columns)], how="vertical_relaxed"))

    def shuffled(self, seed: int) -> Case:
        """The same rows in another order."""
        return replace(self, frame=self.frame.sample(len(self.frame), shuffle=True, seed=seed))


def shipped(name: str) -> Case:
    """A table that scikit-learn ships, its rows in random order."""
    from sklearn import datasets

    data = getattr(datasets, f"load_{name}")()
    names = [str(n).replace(" ", "_").replace("/", "_") for n in data.feature_names]
    frame = pl.DataFrame({n: data.data[:, i] for i, n in enumerate(names)}).with_columns(answer=data.target)
    return Case(frame, "regress" if name == "diabetes" else "classify").shuffled(0)


def clinic(rows: int, seed: int, *, task: str = "classify", share: float = 0.25, strong: float = 1.0) -> Case:
    """Visits of patients at sites over two years: measured numbers that hang together, words, gaps, an index time."""
    random = np.random.default_rng(seed)
    person = np.sort(random.integers(0, max(10, int(rows / 1.3)), rows))
    people = int(person.max()) + 1
    hidden = random.normal(size=(rows, 4))
    loads = random.normal(0, 0.6, (4, 14))
    x = hidden @ loads + random.normal(0, 0.8, (rows, 14))
    age = np.clip(random.normal(60, 15, people), 18, 99).round(0)[person]
    sex = random.choice(["f", "m"], people)[person]
    site = random.choice(["north", "south", "east", "west", "hill", "lake"], people)[person]
    ward = random.choice(["medical", "surgical", "cardiac", "stroke"], rows, p=[0.5, 0.3, 0.15, 0.05])
    smoker = (random.random(people) < 0.3)[person].astype(int)
    logit = strong * (1.4 * x[:, 0] - 0.9 * x[:, 1] + 0.8 * x[:, 2] + 0.03 * (age - 60) + 0.9 * (ward == "surgical"))
    frame = {
        "stay": [f"S{i:06d}" for i in random.permutation(rows) + 100_000],
        "patient": [f"P{i:06d}" for i in random.permutation(people * 3)[:people][person]],
        "admitted": (np.datetime64("2021-01-01") + random.integers(0, 730, rows)).astype("datetime64[D]"),
        "hospital": site,
        "birth_date": (np.datetime64("1930-01-01") + random.integers(0, 27_000, people)).astype("datetime64[D]")[
            person
        ],
        "age": age,
        "sex": sex,
        "ward": ward,
        "smoker": smoker,
    }
    scales = np.exp(random.normal(0, 1.5, 14))
    for i in range(14):
        values = np.exp(0.4 * x[:, i]) * 10 * scales[i] if i % 3 == 0 else x[:, i] * scales[i] + 5 * scales[i]
        values = values.round(int(random.integers(1, 4))) if i % 2 else values
        frame[f"lab_{i}"] = values
    table = pl.DataFrame(frame)
    gaps = random.random((rows, 14)) < 1 / (1 + np.exp(3.0 - 0.3 * logit[:, None]))
    table = table.with_columns(
        pl.when(pl.Series(gaps[:, i])).then(None).otherwise(pl.col(f"lab_{i}")).alias(f"lab_{i}")
        for i in range(0, 14, 2)
    )
    cut = np.quantile(logit, 1 - share)
    cohort = {"row": "stay", "patient": "patient", "at": "admitted", "site": "hospital"}
    if task == "regress":
        table = table.with_columns(answer=np.exp(0.5 * logit + random.normal(0, 0.7, rows)).round(3))
    elif task == "survive":
        times = random.exponential(np.exp(-0.7 * logit)) * 100
        end = random.uniform(20, 400, rows)
        table = table.with_columns(time=np.minimum(times, end).round(1), event=(times <= end).astype(int))
    else:
        died = random.random(rows) < 1 / (1 + np.exp(-1.2 * (logit - cut)))
        table = table.with_columns(answer=died.astype(int))
    return Case(table, task, cohort, hidden=("birth_date",))


def made(rows: int, columns: int, seed: int, task: str = "classify") -> Case:
    """scikit-learn's own made tables, with noise."""
    from sklearn import datasets

    if task == "regress":
        x, y = datasets.make_regression(rows, columns, n_informative=columns // 2, noise=40.0, random_state=seed)
    else:
        x, y = datasets.make_classification(
            rows, columns, n_informative=columns // 2, n_redundant=2, flip_y=0.05, class_sep=0.8, random_state=seed
        )
    return Case(pl.DataFrame({f"x{i}": x[:, i] for i in range(columns)}).with_columns(answer=y), task)


def hospital(name: str, data: Path) -> Case:
    """A public hospital table: readmission within 30 days, or death in intensive care."""
    from benchmarks.table_sets import icu, readmission

    table = (readmission if name == "readmission" else icu)(data)
    frame = table.frame.with_columns(pl.selectors.string().replace("?", None)) if name == "readmission" else table.frame
    keep = np.sort(np.random.default_rng(1).permutation(len(frame))[:12_000])
    cohort = {"patient": table.patient} if table.patient else {"independent_rows": True}
    return Case(frame[keep], cohort=cohort)


def _flip(case: Case, share: float, random: Random) -> np.ndarray:
    y = case.answer
    return np.where(random.random(len(y)) < share, 1 - y, y)


def _ranks(case: Case) -> np.ndarray:
    from scipy.stats import rankdata

    values = case.frame["time"].to_numpy() if case.task == "survive" else case.answer
    return rankdata(values) / len(values)


def copy(case: Case, random: Random, strength: float) -> Case:
    """The answer itself under another name, as words, as other numbers, or as a function of it."""
    y, form = _ranks(case) if case.task != "classify" else case.answer, int(random.integers(0, 3))
    if case.task != "classify":
        values = [-3.1 * y + 7, np.log(0.01 + y), np.where(y > np.quantile(y, 0.6), "B", "A")][form]
        return case.with_column("group", values)
    values = [np.where(y > 0.5, "K7", "R2"), 2.5 - y, np.where(y > 0.5, random.choice(["c1", "c2"], len(y)), "d0")][
        form
    ]
    return case.with_column("group", values)


def near_copy(case: Case, random: Random, strength: float) -> Case:
    """The answer with noise: a number that parts the classes nearly, or follows the number closely."""
    if case.task != "classify":
        y = _ranks(case)
        return case.with_column("marker", y + random.normal(0, 0.06 - 0.04 * strength, len(y)))
    return case.with_column("marker", case.answer + random.normal(0, 0.33 - 0.15 * strength, len(case.frame)))


def recoding(case: Case, random: Random, strength: float) -> Case:
    """A code that follows the answer but for a few per cent."""
    y = _flip(case, 0.04 - 0.03 * strength, random)
    return case.with_column("plan", np.where(y > 0.5, "follow up", "routine"))


def code_of_cases(case: Case, random: Random, strength: float) -> Case:
    """A code that some of the cases have, and no one else."""
    given = (case.answer > 0.5) & (random.random(len(case.frame)) < 0.35 + 0.4 * strength)
    return case.with_column("code", np.where(given, "Z51", random.choice(["A1", "B2", "C3"], len(given))))


def gaps(case: Case, random: Random, strength: float) -> Case:
    """A column that is measured because of the answer."""
    chance = np.where(_ranks(case) > 0.6 if case.task != "classify" else case.answer > 0.5, 0.08, 0.65 + 0.3 * strength)
    values = random.normal(5, 1, len(chance))
    return case.with_column(
        "biopsy", pl.Series(np.where(random.random(len(chance)) < chance, np.nan, values)).fill_nan(None)
    )


def sorted_rows(case: Case, random: Random, strength: float) -> Case:
    """Cases stand before controls, but for some."""
    key = case.answer + random.normal(0, 0.6 - 0.5 * strength, len(case.frame)) * case.answer.std() * 2
    return replace(case, frame=case.frame[np.argsort(key)])


def telling_ids(case: Case, random: Random, strength: float) -> Case:
    """Ids that were given to cases and controls apart."""
    n = len(case.frame)
    y = np.where(random.random(n) < 0.1 * (1 - strength), random.permutation(case.answer), case.answer) > np.median(
        case.answer
    )
    if case.task == "classify":
        y = np.where(random.random(n) < 0.1 * (1 - strength), random.permutation(case.answer), case.answer) > 0.5
    number = random.permutation(n)
    prefix = [f"{'C' if yes else 'N'}{i:05d}" for yes, i in zip(y, number, strict=True)]
    ranks = np.empty(n, int)
    ranks[np.lexsort((random.random(n), y))] = np.arange(n)
    ids = prefix if random.random() < 0.5 else [f"{i + 1:06d}" for i in ranks]
    return replace(
        case,
        frame=case.frame.with_columns(pl.Series("subject", ids)),
        cohort={**_without(case), "patient": "subject"},
        hidden=(*case.hidden, "stay", "patient"),
    )


def _without(case: Case) -> dict[str, Any]:
    return {k: v for k, v in case.cohort.items() if k not in ("patient", "independent_rows", "row")}


def telling_site(case: Case, random: Random, strength: float) -> Case:
    """Sites that sent nearly only cases, or nearly only controls."""
    y = case.answer > np.median(case.answer) if case.task != "classify" else case.answer > 0.5
    y = np.where(random.random(len(y)) < 0.14 - 0.12 * strength, ~y, y)
    site = np.where(y, random.choice(["a", "b"], len(y)), random.choice(["c", "d", "e"], len(y)))
    return replace(
        case, frame=case.frame.with_columns(pl.Series("origin", site)), cohort={**case.cohort, "site": "origin"}
    )


def target_mean(case: Case, random: Random, strength: float) -> Case:
    """The mean answer of each group over all rows; plain, smoothed, or without the row itself."""
    n, y = len(case.frame), case.answer
    group = random.integers(0, max(5, n // int(12 + 30 * strength)), n)
    count, total = np.bincount(group), np.bincount(group, y)
    form = int(random.integers(0, 3))
    values = (total / np.maximum(count, 1))[group]
    if form == 1:
        values = ((total + 10 * y.mean()) / (count + 10))[group]
    if form == 2:
        values = np.where(count[group] > 1, (total[group] - y) / np.maximum(count[group] - 1, 1), y.mean())
    return case.with_column("area", [f"z{g}" for g in group]).with_column("area_rate", values)


def scaled_on_all(case: Case, random: Random, strength: float) -> Case:
    """Measured columns standardised, ranked or rotated over all rows."""
    names = case.numbers[: max(2, int(len(case.numbers) * (0.3 + 0.7 * strength)))]
    whole = case.frame.select(pl.col(names).fill_null(pl.col(names).median())).to_numpy()
    form = int(random.integers(0, 3))
    if form == 0:
        out = (whole - whole.mean(axis=0)) / whole.std(axis=0)
    elif form == 1:
        from sklearn.preprocessing import quantile_transform

        out = quantile_transform(whole, n_quantiles=min(1000, len(whole)), subsample=10**6, random_state=0)
    else:
        from sklearn.decomposition import PCA

        out = PCA(min(len(names), 8)).fit_transform(whole)
    made = [pl.Series(f"s{i}", out[:, i]) for i in range(out.shape[1])]
    return replace(case, frame=case.frame.drop(names).with_columns(made))


def filled_on_all(case: Case, random: Random, strength: float) -> Case:
    """Gaps filled with the mean over all rows."""
    name = case.numbers[int(random.integers(0, len(case.numbers)))]
    values = case.frame[name].to_numpy().astype(float).copy()
    values[random.random(len(values)) < 0.05 + 0.25 * strength] = np.nan
    values = np.where(np.isnan(values), np.nanmean(values), values)
    return replace(case, frame=case.frame.with_columns(pl.Series(name, values)))


def drift(case: Case, random: Random, strength: float) -> Case:
    """The outcome becomes more frequent over the years."""
    n = len(case.frame)
    place = random.beta(2.6 + 1.4 * strength, 2, n)
    y = _ranks(case) > 0.5 if case.task != "classify" else case.answer > 0.5
    when = np.where(y, place, random.beta(2, 2.6 + 1.4 * strength, n))
    days = (np.datetime64("2019-01-01") + (when * 1400).astype(int)).astype("datetime64[D]")
    return replace(case, frame=case.frame.with_columns(pl.Series("seen", days)), cohort={**case.cohort, "at": "seen"})


def late_dates(case: Case, random: Random, strength: float) -> Case:
    """A date that stands after the index time."""
    n = len(case.frame)
    at = np.datetime64("2020-01-01") + random.integers(0, 500, n)
    later = np.where(random.random(n) < 0.3 + 0.6 * strength, random.integers(1, 30, n), -random.integers(1, 90, n))
    made = replace(
        case,
        frame=case.frame.with_columns(pl.Series("seen", at.astype("datetime64[D]"))),
        cohort={**case.cohort, "at": "seen"},
    )
    return made.with_column("last_visit", (at + later).astype("datetime64[D]"), kind="datetime")


def exact_copies(case: Case, random: Random, strength: float) -> Case:
    """Rows that stand twice, as two patients."""
    rows = random.permutation(len(case.frame))[: int(max(3, len(case.frame) * (0.01 + 0.05 * strength)))]
    return case.with_rows(_renamed(case, rows)).shuffled(int(random.integers(0, 10**6)))


def jittered_copies(case: Case, random: Random, strength: float) -> Case:
    """Rows that stand twice as two patients, all numbers a little changed."""
    rows = random.permutation(len(case.frame))[: int(max(5, len(case.frame) * (0.02 + 0.05 * strength)))]
    copied = _renamed(case, rows)
    noise = 0.03 - 0.025 * strength
    numbers = [
        (
            pl.col(n) + pl.Series(random.normal(0, noise, len(copied))) * case.frame[n].drop_nulls().to_numpy().std()
        ).alias(n)
        for n in case.numbers
    ]
    return case.with_rows(copied.with_columns(numbers)).shuffled(int(random.integers(0, 10**6)))


def edited_copies(case: Case, random: Random, strength: float) -> Case:
    """Rows that stand twice as two patients, some cells changed."""
    rows = random.permutation(len(case.frame))[: int(max(5, len(case.frame) * (0.02 + 0.05 * strength)))]
    copied = _renamed(case, rows)
    for name in random.permutation(case.inputs)[: 1 + int(2 * (1 - strength))]:
        copied = copied.with_columns(
            case.frame[str(name)].gather(random.integers(0, len(case.frame), len(copied))).alias(str(name))
        )
    return case.with_rows(copied).shuffled(int(random.integers(0, 10**6)))


def _renamed(case: Case, rows: np.ndarray) -> pl.DataFrame:
    copied = case.frame[rows]
    key = case.cohort.get("row")
    return copied.with_columns(pl.Series(key, [f"S9{i:06d}" for i in range(len(rows))])) if key else copied


def two_ids(case: Case, random: Random, strength: float) -> Case:
    """Persons who came back under another id: all but what stays with a person is another visit's."""
    people = ["birth_date", "sex", "age", "smoker", "hospital"]
    rows = random.permutation(len(case.frame))[: int(len(case.frame) * (0.04 + 0.06 * strength))]
    others = _renamed(case, random.permutation(len(case.frame))[: len(rows)])
    again = others.with_columns(case.frame[rows][name].alias(name) for name in people)
    return case.with_rows(again).shuffled(int(random.integers(0, 10**6)))


def made_up_rows(case: Case, random: Random, strength: float) -> Case:
    """The rarer class filled up before the split, with copies or with points between its rows."""
    y = case.answer > 0.5
    rare = np.flatnonzero(y if y.mean() < 0.5 else ~y)
    many = int(len(rare) * (0.3 + 0.7 * strength))
    rows = rare[random.integers(0, len(rare), many)]
    copied = _renamed(case, rows)
    if random.random() < 0.6:
        copied = _between(case, rows, rare, copied, random)
    return case.with_rows(copied).shuffled(int(random.integers(0, 10**6)))


def _between(case: Case, rows: np.ndarray, rare: np.ndarray, copied: pl.DataFrame, random: Random) -> pl.DataFrame:
    from scipy.spatial import cKDTree

    names = case.numbers
    values = case.frame.select(pl.col(names).fill_null(pl.col(names).median())).to_numpy()
    scaled = values / values.std(axis=0)
    near = rare[cKDTree(scaled[rare]).query(scaled[rows], k=6)[1][:, 1:]]
    chosen = near[np.arange(len(rows)), random.integers(0, 5, len(rows))]
    made = values[rows] + random.random((len(rows), 1)) * (values[chosen] - values[rows])
    return copied.with_columns(pl.Series(n, made[:, i]) for i, n in enumerate(names))


def id_as_input(case: Case, random: Random, strength: float) -> Case:
    """The patient's number stands among the inputs."""
    number = random.permutation(len(case.frame)) + 10_000
    if "patient" in case.cohort:
        return case.with_column("mrn", case.frame[case.cohort["patient"]].str.extract(r"(\d+)").cast(pl.Int64) * 7 + 3)
    return case.with_column("patient_number", number)


def pair(case: Case, random: Random, strength: float) -> Case:
    """A total that holds the answer beside the rest of it."""
    name = case.numbers[0]
    part = case.frame[name].fill_null(case.frame[name].median()).to_numpy()
    answer = case.answer if case.task == "classify" else case.frame["answer"].to_numpy()
    other = replace(case, frame=case.frame.with_columns(pl.Series(name, part)))
    return other.with_column("total", part + answer * part.std() / answer.std())


def named(case: Case, random: Random, strength: float) -> Case:
    """A column named after what follows, that tells the answer well."""
    y = case.answer if case.task == "classify" else _ranks(case) * 2
    return case.with_column("discharge_score", y + random.normal(0, 0.8 - 0.3 * strength, len(case.frame)))


@dataclass(frozen=True, slots=True)
class Leak:
    """How a leak is put in, and the kinds of finding that name it; `tasks` it can be made in; `needs` a column."""

    put: Callable[[Case, Random, float], Case]
    kinds: frozenset[str]
    tasks: tuple[str, ...] = ("classify", "regress", "survive")
    needs: str | None = None


def _leak(
    put: Any, *kinds: str, tasks: tuple[str, ...] = ("classify", "regress", "survive"), needs: str | None = None
) -> Leak:
    return Leak(put, frozenset(kinds), tasks, needs)


TWINS = ("duplicate-rows", "near-duplicates", "oversampling", "same-patient")
LEAKS: Mapping[str, Leak] = {
    "copy of the answer": _leak(copy, "copy-of-target", "too-good"),
    "near copy": _leak(near_copy, "too-good", "copy-of-target", tasks=("classify", "regress")),
    "recoding": _leak(recoding, "copy-of-target", "too-good", "code-of-cases", tasks=("classify",)),
    "code of cases": _leak(code_of_cases, "code-of-cases", "too-good", "copy-of-target", tasks=("classify",)),
    "gaps": _leak(gaps, "missingness"),
    "sorted rows": _leak(sorted_rows, "row-order"),
    "telling ids": _leak(telling_ids, "identifier", tasks=("classify", "regress")),
    "telling site": _leak(telling_site, "site", tasks=("classify", "regress")),
    "mean of the answer": _leak(target_mean, "target-statistics", tasks=("classify", "regress")),
    "scaled on all rows": _leak(scaled_on_all, "fitted-on-all-rows"),
    "filled on all rows": _leak(filled_on_all, "fitted-on-all-rows"),
    "drift": _leak(drift, "time"),
    "late dates": _leak(late_dates, "after-index"),
    "exact copies": _leak(exact_copies, *TWINS),
    "jittered copies": _leak(jittered_copies, *TWINS),
    "edited copies": _leak(edited_copies, *TWINS),
    "two ids": _leak(two_ids, "same-patient", "near-duplicates", needs="birth_date"),
    "made-up rows": _leak(made_up_rows, "oversampling", tasks=("classify",)),
    "id as input": _leak(id_as_input, "identifier-input"),
    "total with the answer": _leak(pair, "copy-of-target", "too-good", tasks=("classify", "regress")),
    "named after the outcome": _leak(named, "named-like-target", "after-index", "too-good"),
}
