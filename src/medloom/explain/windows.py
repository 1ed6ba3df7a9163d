"""Windows of rows that networks looked at once, so that they can be asked again and again about the rows' other inputs.

What an encoder makes of a window is the same whatever stands beside it. Patients' whole records can change places, too.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

from medloom.batch import Encoded, Field, Output
from medloom.feed import Feed
from medloom.model.assembly import Network
from medloom.model.outputs import averaged, each_of, threads_set
from medloom.model.team import Team

VIEWS = 1 << 16
"""Windows answered for at a time, which bounds memory."""


@dataclass(frozen=True, slots=True)
class Windows:
    """What each network made of the windows of some rows, pooled; windows of a row stand side by side.

    `first` and `count` say where those of each of `rows` are, which are in order; `plain` are the plain numbers of the
    inputs that are seen in windows, of each row, where simple models need them.
    """

    rows: Int[np.ndarray, " rows"]
    first: Int[np.ndarray, " rows"]
    count: Int[np.ndarray, " rows"]
    encoded: tuple[Mapping[str, Encoded], ...]
    present: Mapping[str, Bool[Tensor, " views"]]
    plain: Mapping[str, Float[np.ndarray, "rows features"]]

    def at_once(self, most: int) -> int:
        """Rows answered for at a time."""
        return int(np.clip(VIEWS // max(1, int(self.count.max(initial=1))), 1, most))

    def plain_of(self, name: str, rows: Int[np.ndarray, " some"]) -> Float[np.ndarray, "some features"]:
        """Plain numbers of one input that is seen in windows."""
        return self.plain[name][np.searchsorted(self.rows, rows)]

    def said(
        self, team: Team, feed: Feed, target: str, givers: Mapping[str, np.ndarray], near: Mapping[str, Field]
    ) -> Output:
        """What all networks say of a target, of rows with the windows of the `givers` and `near`, their other inputs.

        Where givers of several inputs have unlike many windows, those of the fewer stand in several, as in prediction.
        """
        views = self.views(givers)
        with torch.inference_mode(), threads_set(1):
            each = [
                self.of_one(number, network, feed, target, views, near) for number, network in enumerate(team.networks)
            ]
            output = each[0] if len(each) == 1 else feed.tasks[target].combine(each)
            return views.averaged(output)

    def of_one(
        self, number: int, network: Network, feed: Feed, target: str, views: Views, near: Mapping[str, Field]
    ) -> Output:
        """What the network of that number says of each view, which is of the row that owns it."""
        encoded, device = self.encoded[number], next(network.parameters()).device
        present = {name: self.present[name][place] for name, place in views.place.items()}
        known: dict[str, Encoded] = {name: _taken(encoded[name], place) for name, place in views.place.items()}
        for name, field in near.items():
            known[name] = _taken(_pooled(network.encoded(name, field.to(device))), views.owner)
            present[name] = field.present[views.owner]
        inputs = {name: Field(one[:, None], one).to(device) for name, one in present.items()}
        held = {name: _at(known[name], device) for name in feed.modalities}
        said: Output = network({name: inputs[name] for name in held}, target, held)[target]
        return {key: value.cpu() for key, value in said.items()}

    def views(self, givers: Mapping[str, np.ndarray]) -> Views:
        """Which row each view is of, and which window of each input stands in it."""
        held = {name: np.searchsorted(self.rows, rows) for name, rows in givers.items()}
        counts = {name: self.count[at] for name, at in held.items()}
        wanted = np.max(list(counts.values()), axis=0)
        owner = np.repeat(np.arange(len(wanted)), wanted)
        number = np.arange(len(owner)) - np.repeat(np.cumsum(wanted) - wanted, wanted)
        place = {
            name: torch.from_numpy(self.first[at][owner] + number * counts[name][owner] // wanted[owner])
            for name, at in held.items()
        }
        return Views(torch.from_numpy(owner), place, len(wanted))


@dataclass(frozen=True, slots=True)
class Views:
    """Windows that are answered for together, of so many `rows`: whose each is, and its place among those of each input."""

    owner: Int[Tensor, " views"]
    place: Mapping[str, Int[Tensor, " views"]]
    rows: int

    def averaged(self, output: Output) -> Output:
        """One answer of each row."""
        return averaged(output, self.owner.numpy(), np.arange(self.rows))


def windows_of(team: Team, feed: Feed, rows: Int[np.ndarray, " rows"]) -> Windows:
    """The windows of these rows, looked at once. Inputs that are seen otherwise are left for later."""
    names = [name for name, modality in feed.modalities.items() if modality.windows]
    rows = np.unique(rows)
    made: list[dict[str, list[Encoded]]] = [{name: [] for name in names} for _ in team.networks]
    present: dict[str, list[Tensor]] = {name: [] for name in names}
    seen: list[np.ndarray] = []
    for network in team.networks:
        network.eval()
    for _, batches in feed.covering(rows):
        for _, batch in batches:
            seen.append(batch.rows.numpy())
            for name in names:
                present[name].append(batch.inputs[name].present)
            with torch.inference_mode(), threads_set(1):
                for network, own in zip(team.networks, made, strict=True):
                    for piece in each_of(network, feed, batch):
                        for name in names:
                            encoded = network.encoded(name, piece.inputs[name])
                            own[name].append(_at(_pooled(encoded), torch.device("cpu")))
    _, first, count = np.unique(np.concatenate(seen), return_index=True, return_counts=True)
    return Windows(
        rows,
        first,
        count,
        tuple({name: _joined(parts) for name, parts in own.items()} for own in made),
        {name: torch.cat(parts) for name, parts in present.items()},
        {name: feed.modalities[name].plain(feed.sources[name], rows).astype(np.float64) for name in names}
        if any(team.simple.values())
        else {},
    )


def _pooled(one: Encoded) -> Encoded:
    """What heads of a few numbers need."""
    return Encoded(one.pooled, members=one.members)


def _taken(one: Encoded, place: Int[Tensor, " views"]) -> Encoded:
    return one.take(place.to(one.pooled.device))


def _at(one: Encoded, device: torch.device) -> Encoded:
    return Encoded(one.pooled.to(device), members=None if one.members is None else one.members.to(device))


def _joined(parts: list[Encoded]) -> Encoded:
    members = [one.members for one in parts if one.members is not None]
    return Encoded(torch.cat([one.pooled for one in parts]), members=torch.cat(members) if members else None)
