"""Which numbers are kept: against scikit-learn, from training rows alone, and quickly."""

from __future__ import annotations

import time
from dataclasses import replace

import numpy as np
import pytest
import torch
from sklearn.feature_selection import mutual_info_classif
from sklearn.metrics import mutual_info_score

from medloom.feed import fit_inputs, pack, with_outcomes
from medloom.modalities.table import Table
from medloom.modalities.table.encoders.gates import Gates
from medloom.modalities.table.selection import _binned, _shared, chosen, information
from medloom.modality import Marks, Outcomes
from medloom.packed import Packed, Source
from medloom.tasks.classify import ClassifyOptions
from tests.modalities.table_rows import cohort_of, encoder_of, field_of, fitted_on, options_of

ROWS = 500


def numbers(columns: int = 40, seed: int = 0) -> tuple[dict[str, np.ndarray], np.ndarray]:
    """Columns 3 (linear), 7 (its size alone) and 11 (being missing) tell the answer; spreads differ."""
    random = np.random.default_rng(seed)
    answer = random.integers(0, 2, ROWS)
    values = random.normal(size=(ROWS, columns)) * np.arange(1, columns + 1)
    values[:, 3] = random.normal(size=ROWS) + 1.5 * answer
    values[:, 7] = random.normal(size=ROWS) * (1 + 3 * answer)
    values[:, 11] = np.where(random.random(ROWS) < 0.5 * answer, np.nan, values[:, 11])
    return {f"x{i}": values[:, i] for i in range(columns)}, answer


def fitted(
    columns: dict[str, np.ndarray], answer: np.ndarray, rows: np.ndarray, **select: object
) -> tuple[Table, Source]:
    options = options_of({name: {"kind": "numeric"} for name in columns}, select=select)
    cohort = replace(cohort_of(columns), patient=np.arange(ROWS))
    source = pack(Table, options, cohort)
    marks = Marks(answer, answer >= 0, ("no", "yes"))
    told = with_outcomes({"t": options}, {"t": source}, {"y": ClassifyOptions(column="y")}, {"y": marks}, rows, 0)
    table = fit_inputs({"t": options}, told, rows)["t"]
    return table, table.bind(told["t"])


def test_mutual_information_finds_what_tells_the_answer():
    columns, answer = numbers()
    table, source = fitted(columns, answer, np.arange(ROWS), by="mutual_information", keep=3)
    assert table.kept == (3, 7, 11)
    assert source.bound["value"].shape[1] == 3 and table.plain(source, np.arange(5)).shape == (5, 3)
    assert table.describe()["numeric columns kept"] == "3 of 40: x3, x7, x11"
    filled = np.nan_to_num(np.stack(list(columns.values()), axis=1), nan=1e3)
    assert set(np.argsort(-mutual_info_classif(filled, answer, random_state=0))[:2].tolist()) <= {3, 7, 11}


def test_mutual_information_is_that_of_the_bins_less_its_bias():
    random = np.random.default_rng(1)
    values, code = random.normal(size=(300, 5)), random.integers(0, 3, 300)
    values[code == 1, 2] += 2
    values[:20, 4] = np.nan
    binned = _binned(values)
    bias = [(len(np.unique(binned[:, i])) - 1) * 2 / 600 for i in range(5)]
    expected = [mutual_info_score(binned[:, i], code) - bias[i] for i in range(5)]
    np.testing.assert_allclose(_shared(binned, code), expected, atol=1e-12)
    assert np.bincount(binned[:, 0], minlength=9)[1:].tolist() == [37, 38, 37, 38, 37, 38, 37, 38]


def test_variance_keeps_what_varies_most():
    columns, answer = numbers()
    table, _ = fitted(columns, answer, np.arange(ROWS), by="variance", keep=0.1)
    spread = np.array([np.nanvar(values) for values in columns.values()])
    assert table.kept == tuple(sorted(np.argsort(-spread)[:4].tolist()))


@pytest.mark.parametrize("by", ["variance", "mutual_information"])
def test_rows_that_do_not_train_choose_nothing(by):
    columns, answer = numbers()
    rows = np.arange(300)
    table, _ = fitted(columns, answer, rows, by=by, keep=5)
    moved = {name: np.where(np.arange(ROWS) >= 300, values + 1e6, values) for name, values in columns.items()}
    other, _ = fitted(moved, np.where(np.arange(ROWS) >= 300, 1 - answer, answer), rows, by=by, keep=5)
    assert table == other


def test_information_adds_up_over_sites():
    columns, answer = numbers()
    options = options_of({n: {"kind": "numeric"} for n in columns}, select={"by": "mutual_information", "keep": 3})
    source = pack(Table, options, replace(cohort_of(columns), patient=np.arange(ROWS)))
    marks = Marks(answer, answer >= 0, ("no", "yes"))
    told = with_outcomes(
        {"t": options}, {"t": source}, {"y": ClassifyOptions(column="y")}, {"y": marks}, np.arange(ROWS), 0
    )["t"]
    sites = [Table.summarise(options, told, rows) for rows in (np.arange(250), np.arange(250, ROWS))]
    assert set(Table.fit(options, sites).kept) == {3, 7, 11}


def test_twenty_thousand_columns_are_judged_in_seconds():
    random = np.random.default_rng(0)
    number = random.normal(size=(ROWS + 1, 20_000))
    answer = random.integers(0, 2, ROWS)
    number[1:, 17] += 2 * answer
    source = Source(Packed({"number": number}, {}), np.arange(1, ROWS + 1), np.arange(ROWS))
    outcomes = Outcomes(np.arange(ROWS), answer[:, None].astype(float), np.zeros(ROWS, int), ((0, 1),))
    start = time.process_time()
    found = information(source, outcomes, np.arange(ROWS))
    assert chosen(found, 1) == (17,) and time.process_time() - start < 20


@pytest.mark.parametrize("keep", [0, 1.5, -1])
def test_what_cannot_be_kept(keep):
    with pytest.raises(ValueError, match="keep"):
        options_of({"x": {"kind": "numeric"}}, select={"by": "variance", "keep": keep})


GATED = {"by": "gates", "keep": 2}


@pytest.mark.parametrize("encoder", [{"encoder": "mlp"}, {"encoder": "tabm"}, {"encoder": "transformer", "width": 8}])
def test_gates_let_as_many_through_as_the_study_keeps(encoder):
    columns = {f"x{i}": values for i, values in enumerate(np.random.default_rng(0).normal(size=(6, 40)))}
    options = options_of({name: {"kind": "numeric"} for name in columns}, select=GATED, **encoder)
    table, source = fitted_on(options, cohort_of(columns))
    network = encoder_of(table)
    gates = next(module for module in network.modules() if isinstance(module, Gates))
    with torch.no_grad():
        gates.mean[[1, 4]] = 1.0
    assert table.learnt(network) == {"numeric columns that gates let through": "2 of 6: x1, x4"}
    field = field_of(table, source)
    with torch.inference_mode():
        before = network(field).pooled
        field.value[:, [0, 2, 3, 5]] += 3.0
        field.extra["missing"][:, [0, 2, 3, 5]] = 1.0
        assert torch.equal(network(field).pooled, before)
        field.value[:, 1] += 3.0
        assert not torch.equal(network(field).pooled, before)
    gates.train()
    opened = torch.stack([gates() for _ in range(20)])
    assert ((opened >= 0) & (opened <= 1)).all() and opened.std(dim=0).sum() > 0


def test_gates_learn_which_numbers_tell_the_answer():
    random = np.random.default_rng(3)
    values = random.normal(size=(600, 20))
    answer = torch.from_numpy((values[:, 4] + values[:, 13] > 0).astype(np.float32))
    torch.manual_seed(0)
    gates, layer = Gates(20, 0, 2), torch.nn.Linear(20, 1)
    optimizer = torch.optim.AdamW([*gates.parameters(), *layer.parameters()], lr=0.01)
    inputs = torch.from_numpy(values.astype(np.float32))
    for _ in range(300):
        optimizer.zero_grad()
        loss = torch.nn.functional.binary_cross_entropy_with_logits(layer(inputs * gates())[:, 0], answer)
        loss.backward()
        optimizer.step()
    assert gates.kept() == [4, 13]
    assert all(parameter.grad is not None and torch.isfinite(parameter.grad).all() for parameter in gates.parameters())
