"""Rows of two patients that are the same: exactly, in all but a few cells, nearly, or in what makes a person."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
from jaxtyping import Float, Int
from scipy.spatial import cKDTree
from scipy.stats import poisson

from medloom.audit.evidence import Column, Evidence, words_of
from medloom.audit.finding import MOST_PAIRS, Finding
from medloom.draw import generator
from medloom.errors import counted

PERSON = frozenset(
    "birth dob birthdate birthday born sex gender zip zipcode postcode postal name surname firstname lastname initials "
    "ethnicity race height address street city phone email insurance blood bloodtype mother marital nationality".split()
)
"""Words of columns that stay with a person."""
SUBSETS = 24
"""Random halves of the columns in which rows are compared."""
NEIGHBOURS = 12
MOST_ROWS = 100_000
MANY = ((1e-3, 7, 4e-3), (1e-4, 5, 5e-4))
"""Where rows lie close with at most this chance, how many of them, and what share, are more than honest tables have."""
MOST_FEATURES = 1_000
"""So many features, drawn at random of more, tell close rows from others as well as all do."""
LATTICE = 20
"""A feature of at most so many different values is no measured number."""
CROWD = 40
"""More rows than these with one key are no copies of each other but a common value."""


@dataclass(frozen=True, slots=True)
class Pairs:
    """Pairs of rows of different patients, each once."""

    one: Int[np.ndarray, " pairs"]
    other: Int[np.ndarray, " pairs"]

    @property
    def rows(self) -> Int[np.ndarray, " rows"]:
        """Every row that is in a pair."""
        return np.unique(np.concatenate([self.one, self.other]))

    def crossing(self, part: Int[np.ndarray, " rows"]) -> int:
        """Pairs whose rows stand in different parts of the split."""
        a, b = part[self.one], part[self.other]
        return int(((a != b) & (a >= 0) & (b >= 0)).sum())


def findings(evidence: Evidence) -> Iterator[Finding]:
    """Exact copies, then copies of which some cells were changed or jittered, then one person under two ids."""
    exact, near = _same_rows(evidence)
    if len(exact.one):
        yield finding_of("duplicate-rows", "equal in every column", exact, evidence)
    near = _joined(near, jittered(evidence))
    if len(near.one) > 1:  # one pair that is nearly alike is found in honest tables, too
        yield finding_of("near-duplicates", "almost equal", near, evidence)
    yield from _persons(evidence, _joined(exact, near))


def finding_of(kind: str, how: str, pairs: Pairs, evidence: Evidence) -> Finding:
    """What is said of such pairs of rows."""
    rows, crossing = pairs.rows, pairs.crossing(evidence.part)
    return Finding(
        kind,
        "severe" if crossing or len(pairs.one) > 3 else "suspicious",
        f"{counted(len(rows), 'row')} of different patients are {how}; {counted(crossing, 'pair stands', 'pairs stand')} in two parts of the split",
        "keep one of each, or give them one patient id, so that none both teaches and judges",
        "pairs",
        float(len(pairs.one)),
        rows=len(rows),
        row_ids=tuple(evidence.cohort.row.gather(rows[:5]).to_list()),
        pairs=_named(pairs, evidence),
    )


def _named(pairs: Pairs, evidence: Evidence) -> tuple[tuple[str, str], ...]:
    """The ids of the rows of the first pairs."""
    one, other = (evidence.cohort.row.gather(rows[:MOST_PAIRS]).to_list() for rows in (pairs.one, pairs.other))
    return tuple((str(a), str(b)) for a, b in zip(one, other, strict=True))


def _joined(*several: Pairs) -> Pairs:
    both = np.concatenate([np.stack([np.minimum(p.one, p.other), np.maximum(p.one, p.other)], axis=1) for p in several])
    both = np.unique(both, axis=0) if len(both) else both
    return Pairs(both[:, 0], both[:, 1])


def hashes(columns: Sequence[Column], seed: int) -> Int[np.ndarray, "rows columns"]:
    """A random number for each value of each column: sums of them tell whether rows agree in these columns."""
    parts = []
    for place, column in enumerate(columns):
        table = generator(seed, "twins", place).integers(-(2**62), 2**62, len(column.values) + 1)
        parts.append(table[column.code + 1])
    return np.stack(parts, axis=1)


def pairs_of(key: Int[np.ndarray, " rows"], patient: Int[np.ndarray, " rows"], rows: Int[np.ndarray, " rows"]) -> Pairs:
    """All pairs of rows with one key and different patients; keys that a crowd shares are left out."""
    order = np.argsort(key, kind="stable")
    ordered = key[order]
    starts = np.flatnonzero(np.concatenate([[True], ordered[1:] != ordered[:-1]]))
    sizes = np.diff(np.append(starts, len(key)))
    ones, others = [np.zeros(0, np.int64)], [np.zeros(0, np.int64)]
    for start, size in zip(starts[sizes > 1].tolist(), sizes[sizes > 1].tolist(), strict=True):
        if size <= CROWD:
            i, j = np.triu_indices(size, 1)
            a, b = order[start + i], order[start + j]
            differ = patient[a] != patient[b]
            ones.append(rows[a[differ]])
            others.append(rows[b[differ]])
    return Pairs(np.concatenate(ones), np.concatenate(others))


def count_pairs(key: Int[np.ndarray, " rows"], patient: Int[np.ndarray, " rows"]) -> float:
    """How many pairs of rows of different patients have one key."""
    sizes = np.unique(key, return_counts=True)[1].astype(np.float64)
    mixed = key * np.int64(2_654_435_761) + patient * np.int64(97_531)
    same = np.unique(mixed, return_counts=True)[1].astype(np.float64)
    return float((sizes * (sizes - 1)).sum() - (same * (same - 1)).sum()) / 2


def by_coincidence(hashed: Int[np.ndarray, "rows columns"], patient: Int[np.ndarray, " rows"], exact: float) -> float:
    """How many pairs would agree in every column by coincidence.

    From the pairs that agree in all columns but one: where nothing was copied, they agree in the last one as often as
    the column's values do by themselves. So correlated and coarse columns count as what they are.
    """
    rows, many = hashed.shape
    total, estimates, odds = hashed.sum(axis=1), [], []
    every = count_pairs(np.zeros(rows, np.int64), patient)
    chance = every
    for place in range(many):
        # Pairs that agree in everything may be copies, and say nothing of how often a value stands twice by itself.
        same = max((count_pairs(hashed[:, place], patient) - exact) / max(every - exact, 1.0), 1e-9)
        odds.append(min(same / max(1 - same, 1e-9), 1e6))
        estimates.append((count_pairs(total - hashed[:, place], patient) - exact) * odds[-1])
        chance *= same
    return max(float(np.mean(estimates)) + 0.5 * min(odds), 10 * chance)


def different(columns: Sequence[Column], most: int = 4_000) -> list[Column]:
    """The columns without those that say what an earlier one says: agreement in both is agreement in one."""
    if len(columns) < 2:
        return list(columns)
    every = max(1, len(columns[0].code) // most)
    r = np.abs(np.nan_to_num(np.corrcoef(np.stack([c.code[::every] for c in columns]).astype(np.float64))))
    kept: list[int] = []
    for place in range(len(columns)):
        if not (r[place, kept] > 0.95).any():
            kept.append(place)
    return [columns[place] for place in kept]


def _same_rows(evidence: Evidence) -> tuple[Pairs, Pairs]:
    """Pairs that agree in all columns, and pairs that agree in most with several rare values among them."""
    none = Pairs(np.zeros(0, np.int64), np.zeros(0, np.int64))
    columns = different([c for c in evidence.columns if len(c.values) > 1])
    if len(columns) < 3:
        return none, none
    present = np.stack([c.present for c in columns], axis=1).mean(axis=1) >= 0.5
    rows = np.flatnonzero(present)[:MOST_ROWS]
    if len(rows) < 20:
        return none, none
    hashed, patient = hashes(columns, 0)[rows], evidence.cohort.patient[rows]
    total = hashed.sum(axis=1)
    exact = pairs_of(total, patient, rows)
    if len(exact.one):
        expected = by_coincidence(hashed, patient, count_pairs(total, patient))
        if poisson.sf(len(exact.one) - 1, expected + 1e-6) > 1e-3:
            exact = none
    return exact, _most_cells(columns, hashed, patient, rows, exact)


def _most_cells(
    columns: Sequence[Column], hashed: np.ndarray, patient: np.ndarray, rows: np.ndarray, exact: Pairs
) -> Pairs:
    """Pairs that agree in three fifths of their values, four of them finely measured, beyond what chance gives.

    Rows meet where they agree in some columns drawn at random, just enough of them to tell rows apart. As columns hang
    together, what an agreement says counts for three fifths of what it would of independent columns.
    """
    none = np.zeros(0, np.int64)
    fine = np.array([len(c.values) >= 20 for c in columns])
    if fine.sum() < 4 or len(columns) < 5:
        return Pairs(none, none)
    present = np.stack([c.present[rows] for c in columns], axis=1)
    share = [np.append(c.tally, len(c.code)) / len(c.code) for c in columns]
    bits = -0.6 * np.log2(np.stack([s[c.code[rows]] for c, s in zip(columns, share, strict=True)], axis=1))
    mean_bits, enough = bits.mean(axis=0), np.log2(len(rows))
    position = np.full(int(rows.max()) + 1, -1)
    position[rows] = np.arange(len(rows))
    found, surest = [], []
    for subset in range(SUBSETS if len(rows) <= 30_000 else 8):
        drawn = generator(subset, "columns").permutation(len(columns))
        chosen = drawn[: int(np.searchsorted(np.cumsum(mean_bits[drawn]), enough + 1)) + 1]
        pairs = pairs_of(hashed[:, chosen].sum(axis=1), patient, rows)
        a, b = position[pairs.one], position[pairs.other]
        same = (hashed[a] == hashed[b]) & present[a]
        told = (present[a] | present[b]).sum(axis=1)
        close = (same.sum(axis=1) >= 0.6 * told) & ((same & fine).sum(axis=1) >= 4)
        told_apart = (bits[a] * same).sum(axis=1) - 2 * enough
        close &= told_apart >= 7
        found.append(Pairs(pairs.one[close], pairs.other[close]))
        surest.append(Pairs(pairs.one[close & (told_apart >= 25)], pairs.other[close & (told_apart >= 25)]))
    near = _joined(Pairs(none, none), *found)
    if len(near.one) < 3:  # a pair or two have to be beyond doubt
        near = _joined(Pairs(none, none), *surest)
    known = set(zip(exact.one.tolist(), exact.other.tolist(), strict=True))
    known |= {(b, a) for a, b in known}
    kept = np.array([pair not in known for pair in zip(near.one.tolist(), near.other.tolist(), strict=True)], bool)
    return Pairs(near.one[kept], near.other[kept])


def jittered(evidence: Evidence) -> Pairs:
    """Pairs that lie far closer together than rows do, in all features or in a random half of them.

    In m dimensions the nearest of k neighbours lies at under a share r of the distance of the k-th with probability
    (k − 1) rᵐ at most. m is estimated from the rows themselves.
    Source: Facco et al., "Estimating the intrinsic dimension of datasets by a minimal neighborhood information",
    Scientific Reports 7, 2017.
    """
    features = evidence.fingerprint[:MOST_ROWS]
    features = features[:, features.std(axis=0) > 1e-9]
    if features.shape[1] > MOST_FEATURES:
        features = features[:, generator(0, "features").permutation(features.shape[1])[:MOST_FEATURES]]
    rows, many = features.shape
    none = np.zeros(0, np.int64)
    # Where all features are counts and words, rows lie on a lattice, on which a nearest neighbour is no wonder.
    if rows < 40 or many < 3 or sum(len(np.unique(one)) > LATTICE for one in features.T) < 3:
        return Pairs(none, none)
    found = []
    subsets = 1 if many < 14 else 7 if rows <= 20_000 else 3
    for subset in range(subsets):
        random = generator(subset, "projections")
        chosen: np.ndarray = np.asarray(random.random(many) < (0.5 if subset else 1.0))
        if chosen.sum() >= 7 or not subset:
            found.append(_close(features[:, chosen], evidence.cohort.patient[:rows], random, subsets))
    return _joined(Pairs(none, none), *found)


def _close(
    features: Float[np.ndarray, "rows features"], patient: np.ndarray, random: np.random.Generator, tries: int
) -> Pairs:
    rows, many = features.shape
    low = features
    if many > 6:
        turn = random.normal(size=(many, many if many <= 400 else 6))
        low = features @ (np.linalg.qr(turn)[0] if many <= 400 else turn)[:, :6]
    near = cKDTree(low).query(low, k=min(NEIGHBOURS, rows - 1) + 1)[1][:, 1:]
    distance = np.empty(near.shape)
    for start in range(0, rows, 512):
        some = slice(start, start + 512)
        distance[some] = np.sqrt(((features[some, None] - features[near[some]]) ** 2).sum(axis=2))
    distance[patient[near] == patient[:, None]] = np.inf
    distance[distance < 1e-9] = np.inf
    order = np.argsort(distance, axis=1)
    ranked = np.take_along_axis(distance, order, axis=1)
    nearest = near[np.arange(rows), order[:, 0]]
    usable = np.isfinite(ranked[:, :5]).all(axis=1)
    if usable.sum() < 40:
        return Pairs(np.zeros(0, np.int64), np.zeros(0, np.int64))
    ratio = ranked[usable, 1] / ranked[usable, 0]
    dimension = float(np.clip(np.log(2) / np.log(max(np.median(ratio), 1.0001)), 2, 14))
    chance = np.ones(rows)
    chance[usable] = 4 * (ranked[usable, 0] / ranked[usable, 4]) ** dimension
    mutual = nearest[nearest] == np.arange(rows)
    sure: np.ndarray = mutual & (chance * rows * tries < 1e-3) & (chance[nearest] < 1e-4)
    one = np.flatnonzero(sure)
    return Pairs(one, nearest[one])


def _persons(evidence: Evidence, known: Pairs) -> Iterator[Finding]:
    """Patients who agree in everything that stays with a person, by name or because it does in the table."""
    cohort = evidence.cohort
    first, times = np.unique(cohort.patient, return_index=True, return_counts=True)[1:]
    columns = different([c for c in (*evidence.columns, *evidence.others) if _stays(c, cohort.patient, first, times)])
    patients = np.arange(len(first))
    if len(columns) < 2 or len(first) < 20:
        return
    hashed = hashes(columns, 1)[first]
    complete = np.stack([c.present[first] for c in columns], axis=1).mean(axis=1) >= 0.75
    hashed, patients = hashed[complete], patients[complete]
    total = hashed.sum(axis=1)
    pairs = pairs_of(total, patients, first[complete])
    if not len(pairs.one):
        return
    expected = by_coincidence(hashed, patients, count_pairs(total, patients))
    if poisson.sf(len(pairs.one) - 1, expected + 1e-6) > 1e-5 or len(pairs.one) < 3 * expected + 2:
        return
    twice = set(known.rows.tolist())
    new = np.array([not {a, b} <= twice for a, b in zip(pairs.one.tolist(), pairs.other.tolist(), strict=True)])
    names = tuple(c.name for c in columns)
    shown = ", ".join(names[:4]) + (" and others" if len(names) > 4 else "")
    rows = pairs.rows
    if new.any() or any(set(words_of(name)) & PERSON for name in names):
        yield Finding(
            "same-patient",
            "severe" if len(pairs.one) > 2 * expected + 5 else "suspicious",
            f"{counted(len(pairs.one), 'pair of patients agrees', 'pairs of patients agree')} in {shown}, where coincidence gives {expected:.2g}; "
            f"{counted(pairs.crossing(evidence.part), 'pair stands', 'pairs stand')} in two parts of the split",
            "give the rows of one person one patient id before the split",
            "pairs",
            float(len(pairs.one)),
            names,
            rows=len(rows),
            row_ids=tuple(cohort.row.gather(rows[:5]).to_list()),
        )


def _stays(column: Column, patient: np.ndarray, first: np.ndarray, times: np.ndarray) -> bool:
    """Whether a column stays with a person: by its name, or because it is constant in patients with several rows."""
    if len(column.values) < 2 or column.present.mean() < 0.5:
        return False
    same = column.code == column.code[first][patient]
    several = np.flatnonzero(times[patient] > 1)
    constant = same[several].mean() if len(several) else 1.0
    if set(words_of(column.name)) & PERSON:
        return bool(constant >= 0.95)
    return bool((times > 1).sum() >= 20 and constant >= 0.995)
