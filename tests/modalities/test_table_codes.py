"""Columns of codes: what they may hold, how rare ones fall back to wider groups, and what the network sees."""

from __future__ import annotations

import numpy as np
import polars as pl
import pytest
import torch

from medloom.errors import DataError
from medloom.feed import pack
from medloom.modalities.table import Table, columns
from medloom.modalities.table.bags import FIRST, OTHER
from medloom.modality import View
from tests.modalities.table_rows import cohort_of, encoder_of, field_of, fitted_on, options_of

SEVERAL = {"kind": "code", "system": "icd9", "columns": ["d1", "d2"], "primary": "d1", "missing": ["?"]}


def rows_of(**more):
    """Twelve patients with 250.43, three with 250.7, and one with 401; second codes with gaps."""
    first = ["250.43"] * 12 + ["250.7"] * 3 + ["401"]
    second = ["428"] * 10 + ["?", None, "428", "", "V45.1", "250.43"]
    return cohort_of({"d1": first, "d2": second, **more})


def test_several_columns_are_one_bag_with_the_main_code_first():
    options = options_of({"dx": SEVERAL})
    read = columns.read(options, rows_of()).codes[0]
    assert read.count.tolist() == [2] * 10 + [1, 1, 2, 1, 2, 2]
    assert read.text.to_list()[:2] == ["250.43", "428"] and read.text.to_list()[-2:] == ["401", "250.43"]
    assert read.lead.all()
    assert Table.columns(options) == ("d1", "d2") and options.text_columns() == ("d1", "d2")


def test_several_codes_in_a_cell():
    options = options_of({"atc": {"kind": "code", "system": "atc", "separator": ";", "missing": ["-"]}})
    read = columns.read(options, cohort_of({"atc": ["A10BA02; c09aa", "", None, ";-;B01", "N"]})).codes[0]
    assert read.count.tolist() == [2, 0, 0, 1, 1]
    assert read.text.to_list() == ["A10BA02", "c09aa", "B01", "N"]
    listed = cohort_of({"atc": pl.Series([["A10", "B01"], [], None])})
    assert columns.read(options, listed).codes[0].count.tolist() == [2, 0, 0]


def test_rare_codes_fall_back_to_their_group_and_unknown_ones_to_other():
    options = options_of({"dx": SEVERAL})
    table, source = fitted_on(options, rows_of())
    assert table.codes == ((("240-279", "390-459"), ("250", "428"), ("250.43",)),)
    ids = field_of(table, source).extra["bag_0"]
    assert ids.shape == (16, 2, 3)
    assert ids[0, 0].tolist() == [FIRST, FIRST + 2, FIRST + 4]
    assert ids[12, 0].tolist() == [FIRST, FIRST + 2, 0]
    assert ids[15, 0].tolist() == [FIRST + 1, 0, 0]
    assert ids[10, 1].tolist() == [0, 0, 0]
    assert ids[14, 1].tolist() == [OTHER, 0, 0]
    new = table.bind(pack(Table, options, cohort_of({"d1": ["E812", "250.99"], "d2": [None, "251"]})))
    assert field_of(table, new).extra["bag_0"][:, :, 0].tolist() == [[OTHER, 0], [FIRST, FIRST]]
    assert table.problems(new, cohort_of({"d1": ["E812", "250.99"], "d2": [None, "251"]})) == []


def test_a_row_without_a_main_code_leaves_its_slot_empty():
    options = options_of({"dx": SEVERAL})
    table, _ = fitted_on(options, rows_of())
    new = table.bind(pack(Table, options, cohort_of({"d1": [None, "250.43", None], "d2": ["428", None, None]})))
    ids = field_of(table, new).extra["bag_0"]
    assert (ids[0, 0] == 0).all() and (ids[0, 1] > 0).any()
    assert (ids[1, 0] > 0).all() and (ids[1, 1] == 0).all()
    assert not field_of(table, new).present[2]


@pytest.mark.parametrize("encoder", [{"encoder": "mlp"}, {"encoder": "tabm"}, {"encoder": "transformer", "width": 16}])
def test_a_row_alone_equals_the_row_beside_one_with_many_codes(encoder):
    options = options_of({"dx": SEVERAL, "more": {"kind": "code", "system": "none", "separator": " "}}, **encoder)
    cohort = rows_of(more=["a"] * 8 + ["a b c d e f"] * 7 + [None])
    table, source = fitted_on(options, cohort)
    network = encoder_of(table)
    for module in network.modules():
        if isinstance(module, torch.nn.Embedding):
            torch.nn.init.normal_(module.weight[1:])
    with torch.inference_mode():
        together = network(field_of(table, source)).pooled
        for row in (0, 9, 15):
            torch.testing.assert_close(
                network(field_of(table, source, [row])).pooled[0], together[row], atol=1e-5, rtol=0
            )
    assert not torch.equal(together[0], together[12])


def test_the_order_of_codes_but_the_main_one_says_nothing():
    options = options_of({"c": {"kind": "code", "system": "none", "separator": ";", "pool": "sum"}})
    table, source = fitted_on(options, cohort_of({"c": ["x;y;z"] * 10 + ["z;x;y", "z", "x"]}))
    with torch.inference_mode():
        rows = encoder_of(table)(field_of(table, source)).pooled
    torch.testing.assert_close(rows[0], rows[10])
    assert not torch.allclose(rows[10], rows[11])


def test_baselines_see_frequent_groups_counts_and_the_main_chapter():
    options = options_of({"dx": SEVERAL})
    table, source = fitted_on(options, rows_of())
    plain = table.plain(source, np.array([0, 10, 14, 15]))
    np.testing.assert_array_equal(
        plain,
        [[2, 1, 1, 1, 0], [1, 1, 0, 1, 0], [2, 1, 0, 1, 0], [2, 1, 0, 0, 1]],
    )


def test_what_is_no_code_is_refused_and_mended():
    options = options_of({"dx": SEVERAL})
    bad = cohort_of({"d1": ["250.43", "I50.1", "250"], "d2": ["428", "428;401", None]})
    with pytest.raises(DataError, match="'d1': 1 value is not in ICD-9 \\(rows '2'\\); expected such as 250.43"):
        columns.read(options, bad)
    mended, problems = columns.mend(options, bad)
    assert [(p.row, p.text) for p in problems] == [
        (1, "d1: not a code of its system"),
        (1, "d2: not a code of its system"),
    ]
    assert columns.read(options, mended).codes[0].count.tolist() == [2, 0, 1]
    absent, problems = columns.mend(options, cohort_of({"d1": ["250"]}))
    assert [p.text for p in problems] == ["d2: column missing"]
    assert columns.read(options, absent).codes[0].count.tolist() == [1]


def test_summaries_of_sites_add_up():
    options = options_of({"dx": SEVERAL})
    source = pack(Table, options, rows_of())
    parts = [Table.summarise(options, source, rows) for rows in (np.arange(7), np.arange(7, 16))]
    assert Table.fit(options, parts) == fitted_on(options, rows_of())[0]


@pytest.mark.parametrize(
    ("column", "why"),
    [
        ({"kind": "code"}, "needs system"),
        ({"kind": "category", "system": "icd9"}, "system goes with kind"),
        ({"kind": "code", "system": "atc", "primary": "a"}, "primary is one of columns"),
        ({"kind": "code", "system": "atc", "columns": ["a", "a"]}, "twice"),
        ({"kind": "numeric", "encoding": "target"}, "encoding goes with"),
        ({"kind": "category", "smoothing": 5.0}, "smoothing goes with"),
    ],
)
def test_columns_that_make_no_sense(column, why):
    with pytest.raises(ValueError, match=why):
        options_of({"x": column})


def test_views_of_rows_gather_only_those_rows():
    options = options_of({"dx": SEVERAL})
    table, source = fitted_on(options, rows_of())
    some = table.batch(source, View(np.array([15, 0]))).extra["bag_0"]
    assert torch.equal(some, field_of(table, source).extra["bag_0"][[15, 0]])
