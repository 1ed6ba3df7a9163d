"""Encoders of tables: embedded numbers against their formulas, rows apart from each other, and what can be learnt."""

from __future__ import annotations

import json
from itertools import product
from typing import Any

import numpy as np
import pytest
import torch
from torch.nn import functional as F

from medloom import fitted
from medloom.feed import pack
from medloom.modalities.table import Table
from medloom.modalities.table.column import Column
from medloom.modalities.table.encoders.numeric import Periodic, Piecewise
from medloom.modalities.table.encoders.tabm import SharedLinear
from medloom.modalities.table.encoders.transformer import Attention
from medloom.modalities.table.scaling import bin_edges
from medloom.parts import ModelPart
from tests.modalities.table_rows import cohort_of, encoder_of, field_of, fitted_on, options_of

COLUMNS = {"a": {"kind": "numeric"}, "b": {"kind": "numeric"}, "c": {"kind": "category"}}
SMALL: dict[str, dict[str, Any]] = {
    "mlp": {"hidden": [8]},
    "tabm": {"hidden": [8], "members": 3},
    "transformer": {"width": 8, "heads": 2, "blocks": 2},
}
EVERY = list(product(SMALL, ["plain", "piecewise", "periodic"], ["embedding", "hash"]))


def rows(count: int = 60) -> dict[str, Any]:
    random = np.random.default_rng(0)
    numbers = random.gamma(2, 1, (2, count)).round(3).tolist()
    numbers[0][3] = numbers[1][3] = numbers[0][7] = None
    return {"a": numbers[0], "b": numbers[1], "c": random.choice(["x", "y", "z"], count).tolist()}


@pytest.mark.parametrize(("encoder", "numeric", "category"), EVERY)
def test_a_row_alone_is_the_row_in_a_batch_and_state_survives_json(encoder: str, numeric: str, category: str) -> None:
    options = options_of(COLUMNS, encoder=encoder, numeric=numeric, category=category, **SMALL[encoder])
    cohort = cohort_of(rows())
    table, source = fitted_on(options, cohort)
    again = fitted.load(Table, json.loads(json.dumps(fitted.dump(table), allow_nan=False)))
    assert fitted.same(again, table) and again == table
    network = encoder_of(table)
    assert network.gives.width == 8 and network.gives.members == (3 if encoder == "tabm" else 1)
    whole = network(field_of(table, source))
    for row in (0, 3, 7):
        alone = network(field_of(again, source, [row]))
        torch.testing.assert_close(alone.pooled[0], whole.pooled[row], rtol=1e-5, atol=1e-5)
        if encoder == "tabm":
            torch.testing.assert_close(alone.members[0], whole.members[row], rtol=1e-5, atol=1e-5)
    assert torch.isfinite(whole.pooled).all()
    halves = [Table.summarise(options, source, np.arange(start, 60, 2)) for start in (0, 1)]
    assert Table.fit(options, halves) == Table.fit(options, halves[::-1]) == table


@pytest.mark.parametrize("encoder", SMALL)
@pytest.mark.parametrize("numeric", ["piecewise", "periodic"])
def test_a_missing_number_is_never_seen(encoder: str, numeric: str) -> None:
    table, source = fitted_on(
        options_of(COLUMNS, encoder=encoder, numeric=numeric, **SMALL[encoder]), cohort_of(rows())
    )
    network, field = encoder_of(table), field_of(table, source)
    field.value[3, 0] = 5.0
    before = network(field_of(table, source)).pooled[3]
    assert torch.equal(network(field).pooled[3], before)
    field.value[4, 0] += 1.0
    assert not torch.allclose(network(field).pooled[4], network(field_of(table, source)).pooled[4])


def test_piecewise_numbers_follow_equation_1() -> None:
    layer = Piecewise(((0.0, 1.0, 3.0), (5.0, 6.0), ()), 4)
    layer.linear.weight.data = torch.eye(2, 4).expand(3, 2, 4).clone()
    layer.linear.bias.data.zero_()
    value = torch.tensor([[-1.0, 5.5, 9.0], [0.5, 7.0, 9.0], [2.0, 5.0, 9.0], [5.0, 5.25, 9.0]])
    expected = torch.tensor(
        [
            [[-1.0, 0.0], [0.5, 0.0], [0, 0]], [[0.5, 0.0], [2.0, 0.0], [0, 0]],
            [[1.0, 0.5], [0.0, 0.0], [0, 0]], [[1.0, 2.0], [0.25, 0.0], [0, 0]],
        ]
    )  # fmt: skip
    torch.testing.assert_close(layer(value)[:, :, :2], expected.clamp_min(0))


def test_periodic_numbers_follow_equation_2() -> None:
    torch.manual_seed(0)
    layer = Periodic(2, 3, 0.5, 5)
    value = torch.randn(4, 2)
    angle = 2 * np.pi * layer.frequency[1] * value[2, 1]
    expected = torch.relu(layer.linear.weight @ torch.cat([angle.cos(), angle.sin()]) + layer.linear.bias)
    torch.testing.assert_close(layer(value)[2, 1], expected)


def test_edges_are_quantiles_of_the_training_rows_and_no_extremes() -> None:
    values, counts = np.arange(1000.0), np.ones(1000, np.int64)
    edges = bin_edges(values, counts, 4)
    np.testing.assert_allclose(edges, np.array([0.1, 0.3, 0.5, 0.7, 0.9]) * 1000, atol=1)
    assert bin_edges(values[:1], counts[:1], 4) == ()
    assert bin_edges(np.array([0.0, 1.0]), np.array([999, 1]), 4) == (0.0, 1.0)


def test_members_of_tabm_are_layers_of_their_own_with_one_matrix() -> None:
    torch.manual_seed(0)
    layer = SharedLinear(4, 3, 2, first=True)
    assert set(layer.scale_in.unique().tolist()) == {-1.0, 1.0}
    layer.scale_out.data = torch.rand(2, 3)
    value = torch.randn(5, 1, 4)
    for member in range(2):
        weight = layer.scale_out[member][:, None] * layer.weight * layer.scale_in[member]
        expected = value[:, 0] @ weight.T + layer.bias[member]
        torch.testing.assert_close(layer(value)[:, member], expected)


def test_attention_is_the_textbook_one_over_valid_tokens() -> None:
    torch.manual_seed(0)
    layer = Attention(8, 2, 0.0).eval()
    tokens, valid = torch.randn(3, 5, 8), torch.tensor([[1, 1, 0, 1, 0]] * 3).bool()
    reference = torch.nn.MultiheadAttention(8, 2, batch_first=True).eval()
    reference.in_proj_weight.data = torch.cat([layer.query.weight, layer.key_value.weight])
    reference.in_proj_bias.data = torch.cat([layer.query.bias, layer.key_value.bias])
    reference.out_proj.load_state_dict(layer.out.state_dict())
    expected, _ = reference(tokens, tokens, tokens, key_padding_mask=~valid)
    torch.testing.assert_close(layer(tokens, tokens, valid), expected)


@pytest.mark.parametrize(("encoder", "numeric"), [(e, n) for e in SMALL for n in ("plain", "piecewise", "periodic")])
def test_every_encoder_learns_xor(encoder: str, numeric: str) -> None:
    random = np.random.default_rng(1)
    numbers = random.normal(0, 1, (64, 2))
    answer = torch.tensor((numbers[:, 0] > 0) ^ (numbers[:, 1] > 0)).float()
    size = {"mlp": {"hidden": [32, 32]}, "tabm": {"hidden": [32, 32], "members": 4}, "transformer": {"width": 16, "heads": 2, "blocks": 2}}[encoder]  # fmt: skip
    columns = {"a": {"kind": "numeric"}, "b": {"kind": "numeric"}}
    options = options_of(columns, encoder=encoder, numeric=numeric, dropout=0.0, **size)
    table, source = fitted_on(options, cohort_of({"a": numbers[:, 0].tolist(), "b": numbers[:, 1].tolist()}))
    network, field = encoder_of(table), field_of(table, source)
    head = torch.nn.Linear(network.gives.width, 1)
    optimizer = torch.optim.AdamW([*network.parameters(), *head.parameters()], lr=0.01)
    for _ in range(300):
        optimizer.zero_grad()
        loss = F.binary_cross_entropy_with_logits(head(network(field).pooled)[:, 0], answer)
        loss.backward()
        optimizer.step()
    assert ((head(network(field).pooled)[:, 0] > 0).float() == answer).all() and loss < 0.1


def test_hashed_words_are_the_same_everywhere_and_never_a_problem() -> None:
    options = options_of({"c": {"kind": "category"}}, category="hash", buckets=64)
    table, source = fitted_on(options, cohort_of({"c": ["E11.9", "I10", None, "I10"]}))
    # By coreutils: `printf E11.9 | b2sum -l 64` ends in 4e, and 0x4e mod 64 is 14; two ids stand below the buckets.
    assert source.bound["code"][1:, 0].tolist() == [2 + 14, 2 + 50, 2 + 50] and table.words == ()
    new = cohort_of({"c": ["never seen", "I10"]})
    bound = table.bind(pack(Table, options, new))
    assert table.problems(bound, new) == [] and bound.bound["code"][2, 0] == 2 + 50
    assert table.plain(source, np.arange(4)).sum(axis=1).tolist() == [1, 1, 0, 1]
    assert table.describe()["categorical columns"] == "1, 64 buckets each"


@pytest.mark.parametrize(
    ("given", "why"),
    [
        ({"encoder": "mlp", "members": 4}, 'members goes with encoder = "tabm", and encoder is "mlp"'),
        ({"encoder": "transformer", "hidden": [8]}, 'hidden goes with encoder = "mlp" or "tabm"'),
        ({"encoder": "tabm", "norm": "layer"}, 'norm goes with encoder = "mlp"'),
        ({"bins": 4}, 'bins goes with numeric = "piecewise", and numeric is not given'),
        ({"numeric": "piecewise", "frequencies": 4}, 'frequencies goes with numeric = "periodic"'),
        ({"numeric_width": 4}, "numeric_width goes with"),
        ({"encoder": "transformer", "numeric": "periodic", "numeric_width": 4}, "give width"),
        ({"encoder": "transformer", "width": 9, "heads": 2}, "a multiple of heads"),
        ({"buckets": 4}, 'buckets goes with category = "hash"'),
    ],
)
def test_keys_of_another_encoder_are_mistakes(given: dict[str, Any], why: str) -> None:
    with pytest.raises(ValueError, match=why):
        options_of(COLUMNS, **given)


def test_what_is_left_out_stands_in_the_resolved_options() -> None:
    mlp = options_of(COLUMNS, encoder="mlp")
    assert mlp.hidden == (128, 64) and mlp.members is None
    assert options_of(COLUMNS).encoder == "mlp" and options_of(COLUMNS, encoder="tabm").members == 16
    one = options_of(COLUMNS, encoder="transformer", numeric="piecewise")
    assert (one.width, one.bins, one.hidden, one.numeric_width) == (64, 16, None, None)
    assert type(one).model_validate(one.model_dump()) == one
    assert ModelPart().hidden == "auto"


def test_numbers_are_embedded_where_there_are_few() -> None:
    few = options_of(COLUMNS, encoder="tabm")
    assert few.numeric is None and few.completed(few.columns).numeric == "piecewise"
    assert few.completed(few.columns).bins == 16
    many = {f"x{i}": Column(kind="numeric") for i in range(201)}
    assert few.completed(many).numeric == "plain" and few.completed(many).bins is None
    for given in ({}, {"encoder": "tabm", "numeric": "plain"}, {"encoder": "transformer"}):
        one = options_of(COLUMNS, **given)
        assert one.completed(one.columns).numeric == "plain"


@pytest.mark.parametrize("encoder", SMALL)
@pytest.mark.parametrize("columns", [{"c": {"kind": "category"}}, {"a": {"kind": "numeric"}}])
def test_tables_of_one_kind_of_column(encoder: str, columns: dict[str, Any]) -> None:
    options = options_of(columns, encoder=encoder, numeric="piecewise", **SMALL[encoder])
    table, source = fitted_on(options, cohort_of(rows()))
    assert encoder_of(table)(field_of(table, source)).pooled.shape == (60, 8)
