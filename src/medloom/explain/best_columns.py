"""Which column the best single feature is of, in words."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from medloom.evaluation.baseline import Fitted
from medloom.feed import Feed
from medloom.task import Member

BEST = "best_feature"


def best_columns(feed: Feed, simple: Fitted, folds: Sequence[object] = ()) -> dict[str, str]:
    """By target, the column of the one feature that was chosen; of several answers each one's, in their order.

    With `folds`, `simple` are the models of the first of them, and what is said says so. Inputs whose numbers have no
    names are called by the input's.
    """
    names = []
    for name, modality in feed.modalities.items():
        width = modality.plain(feed.sources[name], np.zeros(1, np.int64)).shape[1]
        own = [" is ".join(filter(None, (one.number, one.word))) for one in modality.features()]
        own = own if len(own) == width else list(modality.plain_names())
        named = own if len(own) == width else [""] * width
        several = len(feed.modalities) > 1
        names += [f"{name}: {one}" if one and several else one or name for one in named]
    found = {}
    for target, models in simple.items():
        model = models.get(BEST)
        held = model.arrays() if isinstance(model, Member) else {}
        chosen = [int(array) for key, array in held.items() if key.split("/")[-1] == "feature"]
        if chosen:
            said = ", ".join(dict.fromkeys(names[place] for place in chosen))
            found[target] = said + (" (in the first fold)" if folds else "")
    return found
