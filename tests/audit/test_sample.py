import numpy as np
import pytest

from medloom.audit import sample
from medloom.audit.examine import examine
from medloom.audit.sample import sampled
from medloom.prepare import prepare, read
from tests.cases.tables import table_binary


@pytest.fixture
def prepared(tmp_path):
    return prepare(*read(table_binary(tmp_path)))


def test_a_small_table_is_searched_whole(prepared):
    assert sampled(prepared) is prepared


def test_of_a_large_table_whole_patients_are_searched(prepared, monkeypatch):
    monkeypatch.setattr(sample, "MOST_CELLS", 0)
    monkeypatch.setattr(sample, "FEWEST_ROWS", 100)
    found = sampled(prepared)
    assert 60 < len(found.cohort) < 140 < len(prepared.cohort)
    whole = {id: int((prepared.cohort.patient_id == id).sum()) for id in found.cohort.patient_id.to_list()}
    assert all(int((found.cohort.patient_id == id).sum()) == rows for id, rows in whole.items())
    parts = np.concatenate(list(found.fold.parts().values()))
    assert sorted(parts) == list(range(len(found.cohort)))
    # Rows keep what is known of them: part, answer and values.
    place = {row: i for i, row in enumerate(prepared.cohort.row.to_list())}
    rows = np.array([place[row] for row in found.cohort.row.to_list()])
    assert set(rows[found.fold.test]) <= set(prepared.fold.test)
    np.testing.assert_array_equal(found.marks["death"].values, prepared.marks["death"].values[rows])
    every = np.arange(len(rows))
    np.testing.assert_array_equal(found.feed.plain(every), prepared.feed.plain(rows))
    audit = examine(prepared)
    assert audit.looked_at["rows"] == len(rows)
    assert any("all rows of some patients were searched" in text for text in audit.left_out)
