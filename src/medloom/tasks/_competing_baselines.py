"""Simple models where competing events end the follow-up: those of one event, one for each cause, put together.

Each gives what the head gives, `{"logits": [rows, causes, bins]}`: log-odds of each cause in each interval of time,
against none of them.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np
import torch
from jaxtyping import Float

from medloom import fitted
from medloom.batch import Output
from medloom.task import Block, Member
from medloom.tasks._hazards import log_odds, log_rates, marginal_causes, odds_of_rates
from medloom.tasks._survive_baselines import BestFeature, CoxPH, GradientBoosting

CAUSES = 2


class AalenJohansen(Member):
    """The hazards of each cause among all training rows together, whatever the inputs."""

    label = "Aalen-Johansen curve for everyone"

    def __init__(self, edges: Float[np.ndarray, " bins"]) -> None:
        self._edges = edges
        self._logits = np.zeros((CAUSES, len(edges)))

    def fit(self, train: Iterable[Block], valid: Iterable[Block]) -> None:
        followed = np.concatenate(
            [np.zeros((0, 2)), *(b.target.value.double().numpy()[b.target.present.numpy()] for b in train)]
        )
        self._logits = log_odds(marginal_causes(followed[:, 0], followed[:, 1], self._edges, CAUSES))

    def answer(self, plain: Float[np.ndarray, "rows features"]) -> Output:
        return {"logits": torch.from_numpy(np.tile(self._logits, (len(plain), 1, 1)).astype(np.float32))}

    def arrays(self) -> dict[str, np.ndarray]:
        return {"logits": self._logits}

    def restore(self, arrays: Mapping[str, np.ndarray]) -> None:
        self._logits = arrays["logits"]


class CauseSpecific(Member):
    """A model of one event for each cause, to which rows that another cause ended are censored.

    Their hazards are those of a row that is still free of any event; cumulative incidences come from all of them
    together. Source: Prentice et al., "The analysis of failure times in the presence of competing risks", Biometrics
    34, 1978.
    """

    def __init__(self, label: str, one: Callable[[], Member]) -> None:
        self.label = f"{label}, one for each cause"
        self._each = tuple(one() for _ in range(CAUSES))

    def fit(self, train: Iterable[Block], valid: Iterable[Block]) -> None:
        for cause, model in enumerate(self._each, 1):
            model.fit(_Of(train, cause), _Of(valid, cause))

    def answer(self, plain: Float[np.ndarray, "rows features"]) -> Output:
        alone = [model.answer(plain)["logits"].double().numpy()[:, None] for model in self._each]
        rates = np.concatenate([log_rates(logits) for logits in alone], axis=1)
        return {"logits": torch.from_numpy(odds_of_rates(rates).astype(np.float32))}

    def arrays(self) -> dict[str, np.ndarray]:
        return {
            f"{cause}/{name}": array
            for cause, model in enumerate(self._each, 1)
            for name, array in model.arrays().items()
        }

    def restore(self, arrays: Mapping[str, np.ndarray]) -> None:
        for cause, model in enumerate(self._each, 1):
            model.restore(fitted.below(arrays, f"{cause}/"))


@dataclass(frozen=True, slots=True)
class _Of:
    """Blocks in which one cause is the event, and rows that another cause ended are censored."""

    blocks: Iterable[Block]
    cause: int

    def __iter__(self) -> Iterator[Block]:
        for block in self.blocks:
            value = block.target.value.clone()
            value[:, 1] = (value[:, 1] == self.cause).to(value.dtype)
            yield replace(block, target=replace(block.target, value=value))


def baselines(edges: Sequence[float], seed: int) -> Mapping[str, Member]:
    """The simple models by name; the first learns nothing of the inputs."""
    at = np.array(edges)
    return {
        "aalen_johansen": AalenJohansen(at),
        "best_feature": CauseSpecific(BestFeature.label, lambda: BestFeature(at, seed)),
        "cox": CauseSpecific(CoxPH.label, lambda: CoxPH(at, seed)),
        "gradient_boosting": CauseSpecific(GradientBoosting.label, lambda: GradientBoosting(at, seed)),
    }
