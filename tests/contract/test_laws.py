"""The laws, over every modality and task."""

from __future__ import annotations

import json
import subprocess
import sys
from dataclasses import replace

import numpy as np
import polars as pl
import torch

from medloom import find, fitted
from medloom.batch import Batch, Field
from medloom.bundle import load
from medloom.draw import Draw
from medloom.feed import Feed, fit_inputs, fit_tasks, with_outcomes
from medloom.modality import Lifted
from medloom.model.outputs import outputs
from medloom.model.team import Team
from medloom.prepare import prepare, read, read_first, with_answers, with_ground
from medloom.run import fit
from medloom.study_text import with_folders
from tests.cases import CASES


def _batch(case, rows, epoch=0):
    rows = np.asarray(rows)
    return case.prepared.feed.batch(rows, Draw(0, np.full(len(rows), epoch)))


def test_every_modality_and_task_stands_in_a_case(tmp_path_factory):
    seen_inputs, seen_tasks = set(), set()
    for name, made in CASES.items():
        study = made(tmp_path_factory.mktemp(name))
        seen_inputs |= {part.modality for part in study.inputs.values()}
        seen_tasks |= {part.task for part in study.targets.values()}
    assert seen_inputs == set(find.modalities())
    assert seen_tasks == set(find.tasks())


def test_the_first_row_of_each_input_can_be_read_by_itself(case):
    read_first(case.prepared.study, case.prepared.cohort)


def test_law_1_state_is_of_training_rows_alone(case):
    """The fit of a fold equals, bit for bit, the fit on a cohort that holds the training rows and nothing else."""
    prepared = case.prepared
    rows = prepared.fold.train
    study, cohort, marks = read(case.study)
    from medloom.feed import pack

    sources = {n: pack(find.modality(p.modality), p, cohort.take(rows)) for n, p in study.inputs.items()}
    short = {n: replace(m, values=m.values[rows], present=np.asarray(m.present)[rows]) for n, m in marks.items()}
    everyone = np.arange(len(rows))
    sources = with_outcomes(study.inputs, sources, study.targets, short, everyone, study.seed)
    alone = fit_inputs(study.inputs, sources, everyone)
    for name, modality in prepared.feed.modalities.items():
        assert fitted.same(alone[name], modality)
    feed = Feed(alone, sources, fit_tasks(study.targets, short, everyone)).bound()
    for name, task in with_ground(with_answers(feed, study, short, everyone), everyone).tasks.items():
        assert fitted.same(task, prepared.feed.tasks[name])


def test_law_1_summaries_add_up_over_patients(case):
    prepared = case.prepared
    rows = prepared.fold.train
    odd = prepared.cohort.patient[rows] % 2 == 1
    for name, part in prepared.study.inputs.items():
        kind, source = find.modality(part.modality), prepared.feed.sources[name]
        sites = [kind.summarise(part, source, rows[odd]), kind.summarise(part, source, rows[~odd])]
        assert fitted.same(kind.fit(part, sites), prepared.feed.modalities[name])
        assert fitted.same(kind.fit(part, sites[::-1]), prepared.feed.modalities[name])


def test_law_2_no_patient_crosses_and_times_are_proved(case):
    prepared = case.prepared
    patients = [set(prepared.cohort.patient[rows]) for rows in prepared.fold.parts().values()]
    assert sum(map(len, patients)) == len(set().union(*patients))
    for name, part in prepared.study.inputs.items():
        proof = prepared.proof["index_time"][name]
        if (part.proves_time or part.at) and prepared.cohort.at is not None:
            newest = prepared.feed.sources[name].newest
            known = ~np.isnan(newest)
            assert proof.startswith("proved") and (newest[known] < prepared.cohort.at[known]).all() and known.any()
        else:
            assert proof.startswith("declared")


def test_law_3_a_row_alone_equals_the_row_in_any_batch(case):
    rows = np.arange(len(case.prepared.cohort))[:12]
    together = _batch(case, rows)
    with torch.inference_mode():
        whole = case.network(together.inputs)
        for position, row in enumerate(rows):
            single = _batch(case, [row])
            alone = case.network(single.inputs)
            for target, task in case.prepared.feed.tasks.items():
                for key, value in alone[target].items():
                    torch.testing.assert_close(value[0], whole[target][key][position], rtol=1e-5, atol=1e-5)
                one = task.loss(alone[target], single.targets[target], single.inputs)
                all_ = task.loss(whole[target], together.targets[target], together.inputs)
                torch.testing.assert_close(one[0], all_[position], rtol=1e-4, atol=1e-5)


def test_law_3_gradients_of_rows_sum_to_the_gradient_of_the_batch(case):
    rows = np.arange(len(case.prepared.cohort))[:6]
    network, tasks = case.network, case.prepared.feed.tasks

    def gradient(batch: Batch) -> list[torch.Tensor]:
        network.zero_grad(set_to_none=True)
        out = network(batch.inputs)
        sum(task.loss(out[n], batch.targets[n], batch.inputs).sum() for n, task in tasks.items()).backward()
        return [torch.zeros_like(p) if p.grad is None else p.grad.clone() for p in network.parameters()]

    whole = gradient(_batch(case, rows))
    singles = [gradient(_batch(case, [row])) for row in rows]
    assert any(g.abs().max() > 0 for g in whole)
    for index, expected in enumerate(whole):
        torch.testing.assert_close(sum(single[index] for single in singles), expected, rtol=1e-4, atol=1e-4)


def test_law_3_losses_are_one_number_a_row_and_zero_where_the_answer_is_unknown(case):
    batch = _batch(case, np.arange(8))
    out = case.network(batch.inputs)
    for name, task in case.prepared.feed.tasks.items():
        target = batch.targets[name]
        assert task.loss(out[name], target, batch.inputs).shape == (8,)
        unknown = Field(target.value, torch.zeros_like(target.present), target.valid, target.extra)
        if task.options.__class__.__name__ == "ClassifyOptions" and target.valid is not None:
            unknown = replace(unknown, valid=torch.zeros_like(target.valid))
        assert task.loss(out[name], unknown, batch.inputs).abs().max() == 0


def test_law_4_a_batch_is_a_function_of_row_and_epoch(case):
    feed = case.prepared.feed
    rows = np.array([5, 2, 9])
    one, other = _batch(case, rows, epoch=3), _batch(case, rows[::-1].copy(), epoch=3)
    for name in feed.modalities:
        for position in range(3):
            first, second = one.slice(position, position + 1), other.slice(2 - position, 3 - position)
            if first.inputs[name].value.shape == second.inputs[name].value.shape:
                assert torch.equal(first.inputs[name].value, second.inputs[name].value)
    for name in feed.tasks:
        assert torch.equal(one.targets[name].value[0], other.targets[name].value[2])


def test_law_5_answers_carry_the_ids_of_their_rows_in_order(case):
    prepared = case.prepared
    expected = prepared.cohort.row.gather(prepared.fold.test).to_list()
    answers, split = case.run.predictions, pl.read_parquet(case.run.folder / "split.parquet")
    if case.study.split.folds > 1:
        assert sorted(answers["row"]) == sorted(prepared.cohort.row)
        answers, split = (table.filter(pl.col("fold") == 1) for table in (answers, split))
    assert answers["row"].to_list() == expected
    assert split["row"].to_list() == prepared.cohort.row.to_list()
    assert split.filter(pl.col("part") == "test")["row"].to_list() == expected


def test_law_7_a_bundle_answers_the_same_in_a_fresh_process(case):
    script = (
        "import sys; from pathlib import Path; import torch; torch.set_num_threads(1)\n"
        "from medloom.cli.predict import predict_file\n"
        "predict_file(Path(sys.argv[1]), Path(sys.argv[2]), Path(sys.argv[3]), 'column', None)"
    )
    events = case.study.cohort.events
    data = case.folder / (events.store if events is not None else "cohort.csv")
    out = case.folder / "again.parquet"
    words = [sys.executable, "-c", script, str(case.run.folder / "bundle"), str(data), str(out)]
    subprocess.run(words, check=True, timeout=120)
    one = pl.read_parquet(out)
    dense = tuple(case.study.dense_targets())
    files = [name for name in one.columns if dense and name.startswith(dense) and one[name].dtype == pl.String]
    names = [name for name in one.columns if name not in files]
    here = pl.concat(list(case.run.bundle.stream(data, problems="column", masks=case.folder / "masks")))
    assert here.select(names).equals(one.select(names))
    if case.study.split.folds > 1:
        return  # the rows were judged by the networks of the folds
    judged = case.run.predictions
    again = pl.DataFrame({one.columns[0]: judged["row"]}).join(
        one, on=one.columns[0], how="left", maintain_order="left"
    )
    for name in judged.select(pl.selectors.float()).columns:
        np.testing.assert_allclose(again[name].to_numpy(), judged[name].to_numpy(), atol=1e-5)


def test_law_9_every_number_has_its_companions(case):
    metrics = json.loads((case.run.folder / "metrics.json").read_text())
    assert set(metrics["targets"]) == set(case.study.targets)
    assert metrics["split"]["patients_in_two_parts"] == 0 and metrics["counts"]
    for target in metrics["targets"].values():
        assert target["baselines"] and target["difference"]["baseline"] in target["baselines"]
        for figure, estimate in target["model"].items():
            if "note" not in estimate:
                rounding = 1e-12 * abs(estimate["value"])
                assert estimate["low"] - rounding <= estimate["value"] <= estimate["high"] + rounding, figure
            assert figure in target["difference"]
            assert all(figure in of for of in target["baselines"].values())


def test_law_10_no_patient_in_bundle_or_report(case):
    ids = case.prepared.cohort.row.to_list() + case.prepared.cohort.patient_id.to_list()
    whole = b"".join(p.read_bytes() for p in (case.run.folder / "bundle").iterdir()) + case.run.report.read_bytes()
    assert not [name for name in ids if name.encode() in whole]


def test_fitted_state_survives_json(case):
    for fitted_part in (*case.prepared.feed.modalities.values(), *case.prepared.feed.tasks.values()):
        text = json.dumps(fitted.dump(fitted_part), allow_nan=False)
        assert fitted.same(fitted.load(type(fitted_part), json.loads(text)), fitted_part)


def test_study_survives_its_own_file(case):
    from medloom import study as files

    again = files.read(case.run.folder / "study.toml")
    assert again.model_dump() == with_folders(case.prepared.study).model_dump()


def test_a_bundle_reads_what_it_saved(case):
    bundle = case.run.bundle
    again = load(bundle.save(case.folder / "copy"))
    for (name, one), (_, two) in zip(
        bundle.network.state_dict().items(), again.network.state_dict().items(), strict=True
    ):
        assert torch.equal(one, two), name


def test_training_learns_and_is_repeatable(case, tmp_path):
    one, two = case.run.bundle.network.state_dict(), _weights(case, tmp_path / "again")
    assert one.keys() == two.keys()
    assert all(torch.equal(one[name], two[name]) for name in one)
    fresh = case.network.state_dict()
    assert any(not torch.equal(fresh[name], one[name]) for name in one)


def test_answers_come_in_the_shape_of_the_truth(case):
    feed, rows = case.prepared.feed, case.prepared.fold.test[:3]
    for part, raw, truths in outputs(Team((case.network,)), feed, rows):
        for name, task in feed.tasks.items():
            prediction = task.decode(raw[name])
            assert len(prediction) == len(part)
            if isinstance(truths[name], Lifted):
                for masks in prediction.dense().values():
                    assert [m.shape for m in masks] == [t.shape[1:] for t in truths[name].values]
            measured = task.measure(prediction, truths[name])
            assert all(len(values) == len(part) for values in measured.values())


def _weights(case, out, **train):
    """Weights of a fit of the case with nothing beside them, and with other training options."""
    part = case.study.train.model_copy(update=train)
    judged = case.study.evaluate.model_copy(update={"baselines": False, "explain": False})
    study = case.study.model_copy(update={"train": part, "evaluate": judged}).within(case.folder)
    return fit(study, out).bundle.network.state_dict()


def test_law_4_the_number_of_workers_changes_nothing(case, tmp_path):
    assert case.study.train.workers == 1
    one = case.run.bundle.network.state_dict()
    for workers in (0, 2):
        other = _weights(case, tmp_path / str(workers), workers=workers)
        assert all(torch.equal(one[name], other[name]) for name in one)


def test_prepare_is_the_same_from_a_store(case, tmp_path):
    stored = prepare(*read(case.study), store=tmp_path / "packed")
    rows = np.arange(6)
    one, two = (
        stored.feed.batch(rows, Draw(0, np.zeros(6, int))),
        case.prepared.feed.batch(rows, Draw(0, np.zeros(6, int))),
    )
    for name in case.prepared.feed.modalities:
        assert torch.equal(one.inputs[name].value, two.inputs[name].value)
    reopened = prepare(*read(case.study), store=tmp_path / "packed")
    again = reopened.feed.batch(rows, Draw(0, np.zeros(6, int)))
    for name in case.prepared.feed.modalities:
        assert torch.equal(one.inputs[name].value, again.inputs[name].value)
