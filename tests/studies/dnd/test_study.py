"""The matrix, its tables from made-up cases, and one real binary."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace

import pytest
from bench import ordinary

from orrery.decompile import RecoverLimits
from orrery.errors import CancelledError
from orrery.progress import Progress
from orrery.report import render_text
from orrery.runtime.binaries import OPERATORS, SMALL_NETWORKS, MissingCompilerError
from orrery.store import Cache
from orrery.studies import CATALOGUE, StudyResult, StudyRun
from orrery.studies.dnd import Asked, Effort, Found, Ordinary, chosen, conduct_on, matrix
from orrery.studies.dnd import _measure as measuring
from orrery.studies.dnd import _study as study
from orrery.studies.dnd._build import Built, Workshop
from orrery.studies.dnd._measure import measure
from orrery.studies.dnd._records import case_records, ordinary_records
from orrery.studies.dnd._sections import sections_of

GEMM = Asked(network="gemm", compiler="gcc", target="x86-64", options="-O1")


def made_up(asked: Asked = GEMM, **changes: object) -> Found:
    plain = Found(asked=asked, state="same", operators=3, expected=3, weights=10, parameters=10,
                  error=1e-7, check_error=2e-7, check="natively", seconds=2.0,
                  peak_bytes=1 << 27)  # fmt: skip
    return replace(plain, **changes)  # type: ignore[arg-type]


def page(result: StudyResult) -> str:
    own = next(one for one in CATALOGUE if one.name == "dnd")
    run = StudyRun(study=own, scale=0.1, seconds=1.0, result=result)
    return " ".join(render_text(run.page).split())


def test_the_matrix_has_every_axis_and_no_case_twice() -> None:
    every = matrix()
    assert len(set(every)) == len(every)
    assert {one.network for one in every} == {*SMALL_NETWORKS, *OPERATORS, "resnet18"}
    assert {one.compiler for one in every} == {"gcc", "clang", "tvm", "iree"}
    assert {one.target for one in every} == {"x86-64", "aarch64", "armv7", "thumb", "cortex-m7"}
    for compiler in ("gcc", "clang", "tvm", "iree"):
        for network in SMALL_NETWORKS:
            some = [o for o in every if (o.compiler, o.network) == (compiler, network)]
            assert {o.copy for o in some} == {"as built", "stripped", "renamed"}
    assert chosen(1.0) == every and chosen(0.001) == every[: len(chosen(0.001))]
    few = chosen(0.002)
    assert {"gcc", "tvm"} <= {o.compiler for o in few}
    assert {"x86-64", "aarch64"} == {o.target for o in few}


def test_a_network_that_is_another_is_told_from_one_in_part() -> None:
    found = [
        made_up(),
        made_up(replace(GEMM, copy="stripped")),
        made_up(replace(GEMM, network="lrn"), state="another", operators=2, reason="output 0: Mul"),
        made_up(replace(GEMM, network="conv", compiler="tvm"), state="partial", operators=1,
                weights=4, reason="a jump at 0x123 was not followed", address=0x123),
        made_up(replace(GEMM, network="tanh", compiler="iree"), state="skipped",
                reason="run: pip install iree"),
    ]  # fmt: skip
    records = {one.name.partition(" (")[0]: one for one in case_records(found)}
    wrong = records["networks said to be whole that are another"]
    assert (wrong.ours, wrong.judge_value, wrong.status) == (1.0, 0.0, "differs")
    assert records["same network: gcc on x86-64"].ours == pytest.approx(200 / 3)
    claimed = records["same network: tvm on x86-64"]
    assert (claimed.published, claimed.ours, claimed.status) == (100.0, 0.0, "differs")
    assert not any("iree" in name for name in records)
    every = sum((o.compiler, o.target) == ("tvm", "x86-64") for o in matrix())
    assert claimed.name.endswith(f"(1 of {every} binaries)")  # a share is not the published claim
    copies = records["copies without names that come back as the original does"]
    assert (copies.ours, copies.status) == (100.0, "match")
    assert records["parameters found bit for bit"].status == "match"
    text = page(StudyResult(records=tuple(records.values()),
                            sections=sections_of(found, [], [], [])))  # fmt: skip
    assert "a jump at 0x… was not followed" in text and "0x123" in text
    assert "iree for x86-64: run: pip install iree" in text and "unconfirmed" in text


def test_a_copy_that_comes_back_worse_and_outputs_that_are_off_show() -> None:
    found = [
        made_up(error=3e-4),
        made_up(replace(GEMM, copy="renamed"), state="partial", reason="calls not linked"),
    ]
    records = {one.name: one for one in case_records(found)}
    assert records["copies without names that come back as the original does"].ours == 0.0
    assert records["largest difference of outputs"].status == "differs"


def test_a_program_taken_for_a_network_is_named() -> None:
    right = Ordinary(name="ls", kind="command", state="none", whole=True)
    wrong = Ordinary(name="libfft.so", kind="Fourier transform", state="taken", whole=True)
    (record,) = ordinary_records([right])
    assert (record.ours, record.status) == (0.0, "match")
    (record,) = ordinary_records([right, wrong])
    assert (record.ours, record.status) == (1.0, "differs") and "libfft.so" in record.note


def test_what_was_measured_is_kept_and_a_stop_loses_none_of_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked = []

    def fake(one: Asked, *_: object) -> Found:
        asked.append(one)
        return made_up(one)

    monkeypatch.setattr(study, "measure", fake)
    cases = [replace(GEMM, copy=copy) for copy in ("as built", "stripped", "renamed")]
    stops = Progress(cancelled=lambda: len(asked) == 2)
    cache = Cache("dnd", folder=tmp_path)
    with pytest.raises(CancelledError):
        conduct_on(cases, Effort(), stops, cache=cache)
    assert asked == cases[:2]
    result = conduct_on(cases, Effort(), cache=cache)
    assert asked == cases and "2 of 3 binaries were measured by an earlier run" in page(result)
    conduct_on(cases, Effort(rounds=9), cache=cache)
    assert len(asked) == 6


def test_a_bench_of_programs_goes_on_where_it_stopped(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """Programs that were begun in time are not looked into again; the others are named."""
    looked = []

    def fake(path: Path, kind: str, *_: object) -> Ordinary:
        looked.append(path.name)
        return Ordinary(name=path.name, kind=kind, state="none", whole=path.name != "b.so",
                        named=("Identity",))  # fmt: skip

    kinds = {"a.so": "algebra", "b.so": "algebra", "c.so": "codec"}
    paths = {tmp_path / name: kind for name, kind in kinds.items()}
    for path in paths:
        path.write_bytes(path.name.encode())
    turns = ordinary.by_turns(paths)
    assert [path.name for path, _ in turns] == ["a.so", "c.so", "b.so"]
    monkeypatch.setattr(ordinary, "look_into", fake)
    monkeypatch.setattr(ordinary, "Cache", lambda name: Cache(name, folder=tmp_path / "kept"))
    clock = iter([0.0, 0.0, 9.0])
    monkeypatch.setattr(ordinary, "time", SimpleNamespace(monotonic=lambda: next(clock)))
    limits = RecoverLimits()
    first = list(ordinary._figures("programs", turns, limits, 5.0, 3))
    assert looked == ["a.so", "c.so"] and "NOT LOOKED INTO, time was over: b.so" in first[0].note
    assert (first[0].met, first[1].value, first[1].met) == (True, 2.0, False)
    monkeypatch.setattr(ordinary, "time", SimpleNamespace(monotonic=lambda: 0.0))
    taken, number, whole = ordinary._figures("programs", turns, limits, 5.0, 3)
    assert looked == ["a.so", "c.so", "b.so"] and "2 from an earlier run" in taken.note
    assert "3 Identity" in taken.note and (number.value, number.met) == (3.0, True)
    assert whole.value == 2.0 and whole.note == "in part: b.so"


def test_programs_are_looked_into_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    looked = []

    def fake(path: Path, kind: str, *_: object) -> Ordinary:
        looked.append(path)
        return Ordinary(name=path.name, kind=kind, state="none", whole=True)

    paths = [tmp_path / name for name in ("ls", "cat", "libfft.so")]
    for number, path in enumerate(paths):
        path.write_bytes(bytes([number]))
    monkeypatch.setattr(study, "look_into", fake)
    monkeypatch.setattr(study, "commands", lambda count: paths[:2][:count])
    monkeypatch.setattr(study, "numeric_programs", lambda: {paths[2]: "Fourier transform"})
    cache = Cache("dnd", folder=tmp_path / "kept")
    first = study._programs(1.0, cache, Progress())
    assert [one.kind for one in first] == ["command", "command", "Fourier transform"]
    assert study._programs(1.0, cache, Progress()) == first and looked == paths
    paths[1].write_bytes(b"another program of that name")
    study._programs(1.0, cache, Progress())
    assert looked == [*paths, paths[1]]


def test_a_network_that_cannot_be_judged_does_not_lose_the_others(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It was said to be whole, so it counts as another network."""
    graph = OPERATORS["gemm"]()
    (tmp_path / "a.so").write_bytes(b"a binary")
    recovered = SimpleNamespace(verdict="whole", graph=graph)
    monkeypatch.setattr(Workshop, "build", lambda *_: Built(path=tmp_path / "a.so"))
    monkeypatch.setattr(measuring, "recover", lambda *_, **__: recovered)
    found = measure(GEMM, Workshop(tmp_path), Effort())
    assert found.state == "another" and "judging it failed: AttributeError" in found.reason


def test_a_defect_of_the_recovery_is_a_row_and_not_the_end(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def broken(*_: object, **__: object) -> None:
        raise KeyError("k13")

    (tmp_path / "a.so").write_bytes(b"a binary")
    monkeypatch.setattr(Workshop, "build", lambda *_: Built(path=tmp_path / "a.so"))
    monkeypatch.setattr(measuring, "recover", broken)
    found = measure(GEMM, Workshop(tmp_path), Effort())
    assert (found.state, found.parameters) == ("none", 24 * 10 + 10)
    assert found.reason == "a defect: KeyError: 'k13'"


def test_what_is_not_installed_is_skipped_and_said(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def missing(_: Workshop, asked: Asked) -> None:
        raise MissingCompilerError("clang", "clang", purpose="building test binaries")

    monkeypatch.setattr(Workshop, "build", missing)
    found = measure(replace(GEMM, compiler="clang"), Workshop(tmp_path), Effort())
    assert found.state == "skipped" and "apt-get install clang" in found.reason


@pytest.mark.needs("gcc", "pyvex", "capstone")
def test_a_binary_is_built_recovered_and_judged(tmp_path: Path) -> None:
    """Judges: ONNX Runtime or the reference, and the binary itself."""
    workshop = Workshop(tmp_path)
    found = measure(GEMM, workshop, Effort(time_s=600, memory_bytes=2 << 30, rounds=1))
    assert (found.state, found.reason) == ("same", "")
    assert (found.operators, found.distance) == (found.expected, 0)
    assert found.weights == found.parameters == 24 * 10 + 10
    assert found.error is not None and found.error <= 1e-5
    assert found.peak_bytes > 0 and found.seconds > 0
    copy = workshop.build(replace(GEMM, copy="stripped")).path
    assert b"infer" not in copy.read_bytes() and copy != workshop.build(GEMM).path
