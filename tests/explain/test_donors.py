import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from medloom.explain.donors import donors


@given(st.lists(st.integers(1, 5), min_size=2, max_size=30), st.integers(0, 1000))
def test_every_row_gets_values_of_another_patient_and_one_patient_gives_to_all_rows(sizes, seed):
    patient = np.repeat(np.arange(len(sizes)), sizes)
    random = np.random.default_rng(seed)
    shuffled = random.permutation(patient)
    given_by = donors(shuffled, random)
    assert (shuffled[given_by] != shuffled).all()
    for one in range(len(sizes)):
        assert len(np.unique(shuffled[given_by[shuffled == one]])) == 1


def test_patients_of_one_row_exchange_so_that_every_value_is_used_once():
    given_by = donors(np.arange(50), np.random.default_rng(0))
    assert sorted(given_by) == list(range(50)) and (given_by != np.arange(50)).all()


def test_rows_keep_their_order_in_time():
    patient = np.array([0, 1, 0, 1, 0, 1])
    assert donors(patient, np.random.default_rng(0)).tolist() == [1, 0, 3, 2, 5, 4]


def test_a_patient_alone_keeps_their_values():
    assert donors(np.array([7, 7, 7]), np.random.default_rng(0)).tolist() == [0, 1, 2]
