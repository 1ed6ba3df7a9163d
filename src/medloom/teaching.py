"""The networks and simple models of one fold, taught on its rows."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from jaxtyping import Int

from medloom.draw import seed_of
from medloom.evaluation.baseline import Fitted, answered, fit_baselines
from medloom.feed import Feed
from medloom.model.assembly import Network, assemble
from medloom.model.start import Begun, begin
from medloom.parts import TrainPart
from medloom.prepare import Prepared, naming
from medloom.rundir import TrainingFolder
from medloom.study import Study
from medloom.task import Member
from medloom.training import distributed
from medloom.training.loop import Event, Watch, train
from medloom.training.plan import Plan, make_plan
from medloom.training.state import Progress


@dataclass(frozen=True, slots=True)
class Taught:
    """Networks that differ by their seed, the losses of each, and what they began with where that is from elsewhere.

    `kept_step` is the step whose weights they have (the median over networks), of `steps` planned.
    """

    networks: tuple[Network, ...]
    histories: tuple[Sequence[Mapping[str, float]], ...]
    kept_step: int
    steps: int
    begun: tuple[Begun, ...]


def teach_networks(prepared: Prepared, part: TrainPart, folder: TrainingFolder, watch: Watch) -> Taught:
    """Trains the networks of the team on the fold's rows, from the folder's checkpoints on where there are any.

    A budget in minutes is that of all networks together.
    """
    count = prepared.study.model.networks
    if part.minutes is not None and count > 1:
        part = part.model_copy(update={"minutes": part.minutes / count})
    networks, histories, kept, begun, steps = [], [], [], [], 0
    for place in range(count):
        if count > 1:
            watch(Event("member", place + 1, count))
        network, progress, plan, began = _network(prepared, part, folder.member(place), place, watch)
        begun += [began] if began.told else []
        best = part.keep == "best" and progress.best_loss is not None
        networks.append(network)
        histories.append(progress.history)
        kept.append(progress.best_step if best else progress.step)
        steps = plan.steps
    return Taught(tuple(networks), tuple(histories), int(np.median(kept or [0])), steps, tuple(begun))


def teach_simple(prepared: Prepared) -> Fitted:
    """The simple models of the fold's rows: those that join the team, and, where figures have baselines beside, all."""
    study, fold, joins = prepared.study, prepared.fold, prepared.study.model.simple
    return fit_baselines(
        prepared.feed,
        fold.train,
        fold.valid,
        study.seed,
        lambda _, name: study.evaluate.baselines or name in joins,
        named=joins,
    )


def members_of(study: Study, simple: Fitted) -> dict[str, dict[str, Member]]:
    """Those simple models, by target, that answer beside the networks."""
    joins = study.model.simple
    return {
        target: {name: one for name, one in each.items() if name in joins and isinstance(one, Member)}
        for target, each in simple.items()
    }


def _network(
    prepared: Prepared, part: TrainPart, folder: TrainingFolder, place: int, watch: Watch
) -> tuple[Network, Progress, Plan, Begun]:
    """The network of one place in the team, trained, and what it began with; the first has the study's seed."""
    study, feed, fold = prepared.study, prepared.feed, prepared.fold
    seed = seed_of(study.seed, "member", place) if place else study.seed
    network = assemble(feed.modalities, feed.tasks, study.model, seed)
    began = _begun(network, prepared, place)
    for sentence in began.told:
        watch(Event("begun", 0, 0, text=sentence))
    train_rows, valid_rows = (_with_any_answer(feed, rows) for rows in (fold.train, fold.valid))
    weights = {name: target.loss_weight for name, target in study.targets.items()}
    plan = distributed.current().in_turn(_planned, folder, part, network, feed, train_rows, seed, weights, began.inputs)
    progress = train(network, feed, (train_rows, valid_rows), part, plan, folder.checkpoint, watch)
    return network, progress, plan, began


def _begun(network: Network, prepared: Prepared, place: int) -> Begun:
    """Puts weights from elsewhere into a new network: published ones of its inputs, and those of a bundle's networks in turn."""
    began = Begun()
    for name, modality in prepared.feed.modalities.items():
        with naming(f"inputs.{name}"):
            told = modality.begin(network.encoders[f"input_{name}"], prepared.study.folder)
        if told is not None:
            began = began.and_(Begun((name,), (f"{name}: {told}",)))
    if prepared.given:
        began = began.and_(begin(network, prepared.given[place % len(prepared.given)]))
    return began


def _planned(
    folder: TrainingFolder,
    part: TrainPart,
    network: Network,
    feed: Feed,
    rows: Int[np.ndarray, " train"],
    seed: int,
    weights: Mapping[str, float],
    begun: tuple[str, ...],
) -> Plan:
    """The plan that the training began with; made and kept where it begins now."""
    plan = folder.plan()
    if plan is None:
        plan = make_plan(part, network, feed, rows, seed, weights, distributed.current(), begun)
        folder.keep_plan(plan)
    return plan


def _with_any_answer(feed: Feed, rows: Int[np.ndarray, " rows"]) -> Int[np.ndarray, " some"]:
    known = np.zeros(len(rows), bool)
    for name in feed.tasks:
        known |= np.isin(rows, answered(feed, name, rows))
    return rows[known]
