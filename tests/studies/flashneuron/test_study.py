"""The whole study on made-up trials, and one real one under a real cap."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from orrery.errors import CancelledError
from orrery.progress import SILENT, Progress, Step
from orrery.report import Series, Table, Text
from orrery.runtime.together import Comparison
from orrery.runtime.training import Cap, DeepNetwork, Trainer, cap_here
from orrery.studies import CATALOGUE, StudyResult
from orrery.studies.flashneuron import (
    OURS,
    Outcome,
    Taken,
    Trial,
    _measure,
    attempt,
    conduct_on,
    rounds,
)
from orrery.studies.flashneuron._case import EIGHT, Effort
from orrery.studies.flashneuron._journal import Journal
from orrery.studies.flashneuron._published import NETWORKS, Network

MIB = 1 << 20
SHAPE = DeepNetwork(kind="residual", depth=1, width=4, size=8)
TINY = Network(name="tiny", theirs="none", shape=SHAPE)
EFFORT = Effort(networks=(TINY,), caps_bytes=(200 * MIB, 300 * MIB), near=0.0, rounds=2,
                threads=1)  # fmt: skip
#: What a sample takes of memory in each way, beside 100 MiB; and its seconds.
SAMPLE_MIB = {"none": 10, "checkpointing": 4, "save_on_cpu": 10, "naive file": 1, OURS: 0.9}
SAMPLE_S = {"none": 1.0, "checkpointing": 1.3, "save_on_cpu": 1.0, "naive file": 4.0, OURS: 1.1}


def made_up(trial: Trial) -> Outcome:
    assert trial.cap_bytes is not None
    if 100 * MIB + trial.batch * SAMPLE_MIB[trial.way] * MIB > trial.cap_bytes:
        return Outcome(fits=False, why="more memory than the cap", weight_bytes=5 * MIB)
    seconds = SAMPLE_S[trial.way] * trial.batch
    taken = Taken(loss=float(trial.batch), seconds=seconds, cpu_s=seconds, peak_bytes=MIB)
    if trial.way == OURS:
        taken = replace(taken, moved_bytes=MIB, hidden_share=0.9, planned_s=1.1 * seconds,
                        within_s=seconds)  # fmt: skip
    return Outcome(
        fits=True, steps=(taken, taken), weight_bytes=5 * MIB, start_bytes=90 * MIB,
        engine="a cart" if trial.way == OURS else "",
    )  # fmt: skip


def in_turn(
    trials: dict[str, Trial], cap: Cap, **_: object
) -> tuple[Comparison, dict[str, Outcome]]:
    outcomes = {name: made_up(trial) for name, trial in trials.items()}
    times = {n: (SAMPLE_S[t.way],) * 2 for n, t in trials.items() if outcomes[n].fits}
    return Comparison(times_s=times), outcomes


def planted(monkeypatch: pytest.MonkeyPatch, tried: list[Trial]) -> None:
    def attempted(trial: Trial, cap: Cap, *, step_s: float) -> Outcome:
        tried.append(trial)
        return made_up(trial)

    monkeypatch.setattr(_measure, "attempt", attempted)
    monkeypatch.setattr(_measure, "rounds", in_turn)


def conducted(folder: Path, effort: Effort = EFFORT, progress: Progress = SILENT) -> StudyResult:
    return conduct_on(effort.networks, Cap(kind="address space"), folder, effort, progress,
                      journal=Journal(folder))  # fmt: skip


def test_records_follow_from_what_fits(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    planted(monkeypatch, [])
    result = conducted(tmp_path)
    records = {r.name: r for r in result.records}
    # 100 MiB are left: 10 samples plain, 111 ours.
    batch = records["tiny: largest batch"]
    assert (batch.ours, batch.judge_value, batch.status) == (111, 80, "match")
    assert "checkpointing 25" in batch.note and "naive file 100" in batch.note
    least, most = (
        records["least gain in the largest batch"],
        records["most gain in the largest batch"],
    )
    assert least.ours == most.ours == pytest.approx(11.1)
    assert (least.published, most.published) == (12.4, 14.0)
    assert records["most gain in samples/s"].ours == pytest.approx(100 * (1 / 1.1 - 1))
    assert records["most gain in samples/s"].status == "differs"
    assert records["tiny: samples/s, 8 x batch"].ours == pytest.approx(1 / 1.1)
    assert records["tiny: samples/s, 8 x batch"].status == "match"
    assert records["tiny: samples/s over checkpointing"].ours == pytest.approx(1.3 / 1.1)
    assert records["tiny: samples/s over naive file"].ours == pytest.approx(4 / 1.1)
    assert records["tiny: planned step, largest batch"].status == "match"
    assert records["tiny: ways with other losses"].status == "match"
    tables = {s.title: s for s in result.sections if isinstance(s, Table)}
    rows = [r for r in tables["Largest batch under a cap"].rows if r[1] == 300 * MIB]
    assert [(r[2], r[3]) for r in rows] == [("none", 20), (OURS, 222)]
    assert tables["Networks"].rows[0][2:5] == (8, 5.0 * MIB, 2.5)
    assert {r[2] for r in tables["Samples a second, in turn"].rows if r[1] == "largest"} > {EIGHT}
    assert any(isinstance(s, Series) for s in result.sections)
    how = next(s for s in result.sections if isinstance(s, Text))
    assert any("address space" in p for p in how.paragraphs)
    assert "Offloading moved with a cart." in how.paragraphs


def test_other_losses_and_too_little_are_said(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    planted(monkeypatch, [])
    monkeypatch.setitem(SAMPLE_MIB, OURS, 5)

    def other(trials: dict[str, Trial], cap: Cap, **_: object) -> object:
        compared, outcomes = in_turn(trials, cap)
        wrong = replace(outcomes[OURS].steps[0], loss=0.5)
        return compared, {**outcomes, OURS: replace(outcomes[OURS], steps=(wrong, wrong))}

    monkeypatch.setattr(_measure, "rounds", other)
    records = {r.name: r for r in conducted(tmp_path).records}
    assert records["tiny: largest batch"].status == "differs"
    assert records["tiny: ways with other losses"].ours == 1
    assert records["tiny: ways with other losses"].status == "differs"
    assert "not so with offloading" in records["tiny: ways with other losses"].note


def test_a_stopped_study_goes_on_where_it_was(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    tried: list[Trial] = []
    planted(monkeypatch, tried)
    seen: list[Step] = []

    def report(step: Step) -> None:
        seen.append(step)

    stopping = Progress(report=report, cancelled=lambda: len(seen) > 12)
    with pytest.raises(CancelledError):
        conducted(tmp_path, progress=stopping)
    before = list(tried)
    result = conducted(tmp_path)
    assert before and len(tried) == len(set(tried))  # nothing twice
    how = next(s for s in result.sections if isinstance(s, Text))
    assert any(p.startswith(f"{len(before)} measurements are of a study") for p in how.paragraphs)
    assert not list(tmp_path.glob("studies/*"))


def test_scales(monkeypatch: pytest.MonkeyPatch) -> None:
    assert all(n.shape.layers >= 200 for n in NETWORKS)
    assert len(Effort.at(0.25).networks) == 1 and Effort.at(1.0).networks == NETWORKS
    assert len(Effort.at(1.0).caps_bytes) == 3
    (study,) = (s for s in CATALOGUE if s.name == "flashneuron")
    assert study.usual < 1


@pytest.mark.torch
@pytest.mark.needs("torch")
def test_ours_runs_in_a_child_with_the_losses_of_this_process(tmp_path: Path) -> None:
    ours = Trial(network=SHAPE, way=OURS, batch=8, cap_bytes=None, folder=str(tmp_path), threads=1,
                 limit_bytes=1 << 40, options=(("least", "4 KiB"),))  # fmt: skip
    compared, outcomes = rounds({"ours": ours}, cap_here(), most=2, most_s=60, progress=SILENT,
                                task="test")  # fmt: skip
    found = outcomes["ours"]
    trainer = Trainer(SHAPE, "none", 8, threads=1)
    assert [taken.loss for taken in found.steps] == [trainer.step()[0] for _ in found.steps]
    assert len(found.steps) == 4 and len(compared.times_s["ours"]) == 2
    assert found.steps[0].moved_bytes > 0 and found.steps[0].planned_s is None
    assert found.steps[-1].planned_s is not None and found.steps[-1].planned_bytes == 0
    assert found.weight_bytes == trainer.network.weight_bytes


@pytest.mark.torch
@pytest.mark.needs("torch")
def test_a_cap_that_is_too_small_is_an_answer(tmp_path: Path) -> None:
    tight = Trial(network=SHAPE, way="none", batch=1, cap_bytes=20 * MIB, folder=str(tmp_path),
                  threads=1)  # fmt: skip
    found = attempt(tight, cap_here())
    assert not found.fits and not found.steps
    assert found.why
