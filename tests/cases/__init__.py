"""Small studies on data made here, one for each way the project is used. Contract tests run over all of them."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from medloom.study import Study
from tests.cases.answers import (
    classify_focal_noise,
    classify_ordered,
    forecast_panel,
    regress_numbers,
    survive_competing,
    survive_proportional,
    survive_table,
)
from tests.cases.events import cohort_of_events, events_binary, events_bins, events_sequences
from tests.cases.images import (
    image_bag_2d,
    image_dicom_resampled,
    image_networks,
    image_register_2d,
    image_restore_2d,
    image_segment_2d,
    image_segment_3d,
)
from tests.cases.signals import signal_and_table, signal_windows, signals_and_image
from tests.cases.tables import (
    table_binary,
    table_codes,
    table_ensemble,
    table_folds,
    table_several,
    table_stacked,
    table_transformer,
)

_MADE = (
    table_binary,
    table_stacked,
    table_several,
    table_ensemble,
    table_codes,
    table_transformer,
    events_binary,
    events_sequences,
    events_bins,
    image_bag_2d,
    image_segment_2d,
    image_segment_3d,
    image_dicom_resampled,
    image_register_2d,
    image_restore_2d,
    image_networks,
    signal_windows,
    signal_and_table,
    signals_and_image,
    regress_numbers,
    survive_table,
    survive_proportional,
    survive_competing,
    classify_ordered,
    classify_focal_noise,
    table_folds,
    cohort_of_events,
    forecast_panel,
)
CASES: dict[str, Callable[[Path], Study]] = {made.__name__: made for made in _MADE}
