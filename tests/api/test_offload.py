"""A training loop with `orrery.offload`: the same parameters, less memory, and what is said."""

from __future__ import annotations

import gc
import importlib.util
import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest

import orrery
from orrery.api.offloading import OffloadOptions, TrainingSession
from orrery.errors import MissingExtraError, SpecError
from orrery.offload_plan import OffloadPlan, StepProfile, read_offload_plan, read_step_profile
from orrery.runtime.offload import OffloadError
from orrery.timeline import read_io_trace, read_timeline

pytestmark = [pytest.mark.torch, pytest.mark.needs("torch")]

STEPS = 11
SMALL = OffloadOptions(least="4 KiB", block="16 KiB", queue="256 KiB", ahead="1 MiB", threads=2,
                       trace=True)  # fmt: skip


@contextmanager
def opened(folder: Path, limit: str | None = None, **more: Any) -> Iterator[TrainingSession]:
    session = orrery.offload(folder, limit, **{"options": SMALL, **more})
    try:
        yield session
    finally:
        session.close()


def conv_bn(size: int = 24) -> Any:
    from torch import nn

    return nn.Sequential(
        nn.Conv2d(3, 8, 3, padding=1), nn.BatchNorm2d(8), nn.ReLU(inplace=True), nn.MaxPool2d(2),
        nn.Conv2d(8, 8, 3, padding=1), nn.BatchNorm2d(8), nn.ReLU(), nn.Flatten(),
        nn.Linear(8 * (size // 2) ** 2, 4),
    )  # fmt: skip


def transformer() -> Any:
    from torch import nn

    layer = nn.TransformerEncoderLayer(32, 4, 64, dropout=0.1, batch_first=True)
    return nn.Sequential(nn.TransformerEncoder(layer, 2, enable_nested_tensor=False))


def trained(
    make: Callable[[], Any], shape: tuple[int, ...], session: TrainingSession | None, steps: int
) -> list[Any]:
    """Return each step's loss and gradients, and parameters and buffers at the end."""
    import torch

    torch.manual_seed(5)
    net = make()
    best = torch.optim.Adam(net.parameters(), lr=1e-2)
    seen = []
    for _ in range(steps):
        x = torch.randn(shape)
        best.zero_grad()
        if session is None:
            loss = net(x).square().mean()
            loss.backward()
        else:
            with session:
                loss = net(x).square().mean()
                loss.backward()
        seen += [loss.detach().clone(), *(p.grad.clone() for p in net.parameters())]
        best.step()
    return [*seen, *(value.clone() for value in net.state_dict().values())]


def bits(tensors: list[Any]) -> list[bytes]:
    return [tensor.contiguous().numpy().tobytes() for tensor in tensors]


def within(monkeypatch: pytest.MonkeyPatch, share: float) -> None:
    """Let the planner have room for a share of what is saved.

    A process takes more memory, and less evenly, than so small a network: only what is planned for
    is fixed here, the planner and all else are the real ones.
    """
    from orrery.mapping import offload

    real = offload.plan_offload

    def plan(profile: StepProfile, *more: Any) -> Any:
        room = profile.other_bytes + round(share * profile.saved_bytes)
        return real(replace(profile, limit_bytes=room), *more)

    monkeypatch.setattr(offload, "plan_offload", plan)


@pytest.mark.parametrize(("make", "shape"), [(conv_bn, (8, 3, 24, 24)), (transformer, (8, 24, 32))])
def test_training_is_bitwise_the_same(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, make: Callable[[], Any],
    shape: tuple[int, ...],
) -> None:  # fmt: skip
    within(monkeypatch, 0.6)
    wanted = bits(trained(make, shape, None, STEPS))
    with opened(tmp_path) as session:
        assert bits(trained(make, shape, session, STEPS)) == wanted
        (plan,) = session.plans
        assert plan.named("offload") + plan.named("recompute")
        assert plan.peak_bytes <= plan.limit_bytes
        assert [r.measured for r in session.reports] == [True] + [False] * (STEPS - 1)
        # What a step shows may change the plan of those after it: each obeyed the last before it.
        for number, report in enumerate(session.reports[1:], start=1):
            obeyed = [p.answer for p in session.plannings if p.step <= number][-1]
            assert isinstance(obeyed, OffloadPlan)
            assert report.offloaded == len(obeyed.named("offload"))
            assert report.recomputed == len(obeyed.named("recompute"))
        said = session.explain()
        assert said.startswith(plan.summary)
        assert f"{STEPS - 1} planned steps since: median " in said
        assert " was planned, " in said


def chain() -> Any:
    """A network that saves a hundred times what its parameters take."""
    from torch import nn

    return nn.Sequential(nn.Linear(64, 64), *(nn.Tanh() for _ in range(24)))


def test_a_limit_is_kept_that_training_would_break_without(tmp_path: Path) -> None:
    roomy, rows = replace(SMALL, block="512 KiB", least="1 MiB", queue="2 MiB"), (8192, 64)
    wanted = bits(trained(chain, rows, None, 3))
    with opened(tmp_path, options=roomy) as free:
        trained(chain, rows, free, 3)
        (profile,) = free.profiles
        assert not free.plans[0].named("offload")  # nothing leaves where everything fits
    limit = profile.other_bytes + profile.saved_bytes // 2
    with opened(tmp_path, f"{limit} B", options=roomy) as session:
        assert bits(trained(chain, rows, session, 3)) == wanted
        (plan,) = session.plans
        assert plan.named("offload") + plan.named("recompute")
        assert plan.peak_bytes <= plan.limit_bytes == limit
        assert session.reports[-1].peak_bytes < free.reports[-1].peak_bytes


def one_step(session: TrainingSession, rows: int = 512) -> None:
    trained(chain, (rows, 64), session, 1)


def test_files_open_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    within(monkeypatch, 0.5)
    with opened(tmp_path, name="chain", options=replace(SMALL, recompute=False)) as session:
        trained(chain, (512, 64), session, 3)
        files = session.write(tmp_path / "out")
        assert read_offload_plan(files["plan"]) == session.plans[0]
        assert read_step_profile(files["profile"]) == session.profiles[0]
        trace = read_io_trace(files["io-trace"])
        timeline = read_timeline(files["timeline"])
        assert (trace,) == session.engine.traces()
        assert sum(r.size_bytes for r in trace.requests if r.write) == sum(
            r.moved.written_bytes for r in session.reports
        )
        steps = [span for span in timeline.spans if span.resource == "training"]
        assert [span.name for span in steps] == ["step 1", "step 2", "step 3"]
        assert all(a.end_ps <= b.start_ps for a, b in pairwise(steps))
        gone = [tensor.name for tensor in session.plans[0].named("offload")]
        for way in ("writes", "reads"):
            expected = [s.name for s in timeline.spans if s.resource == f"{way}, planned"]
            assert sorted(expected) == sorted(gone)
            assert {s.name for s in timeline.spans if s.resource == f"{way}, measured"} <= set(gone)
        assert {s.name for s in timeline.spans if s.resource == "writes, measured"}
        text = files["report text"].read_text()
        for said in (
            session.plans[0].summary,
            "with everything in memory",
            "Saved tensors",
            "Step time",
        ):
            assert said in " ".join(text.split())
    assert not [path for path in tmp_path.iterdir() if path.is_file()]


def test_a_session_that_did_nothing_says_so(tmp_path: Path) -> None:
    with opened(tmp_path, options=replace(SMALL, trace=False)) as session:
        assert session.explain().startswith("No step yet")
        assert set(session.write(tmp_path / "out")) == {
            "timeline", "report", "report data", "report text",
        }  # fmt: skip


def test_a_step_that_saves_other_tensors_is_planned_anew(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    import torch

    within(monkeypatch, 0.5)
    net = chain()
    # A plan that makes tensors again is compared with its step more than once.
    with opened(tmp_path, options=replace(SMALL, recompute=False)) as session:
        for rows in (128, 128, 256, 256, 256, 256):
            with session:
                net(torch.ones(rows, 64)).mean().backward()
        # After the measured step, and after the first planned one with what that showed.
        assert [planning.step for planning in session.plannings] == [1, 2, 4, 5]
        assert session.reports[-1].offloaded == len(session.plans[0].named("offload"))
        said = session.explain()
    assert "Planned 3 more times, last after step 5: with what the first planned step" in said
    assert "step 3: drifted" in said


def test_steps_of_two_passes_have_two_plans(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    import torch

    within(monkeypatch, 0.5)
    net = chain()
    with opened(tmp_path) as session:
        for _ in range(2):
            with session:
                for part in (128, 256):
                    net(torch.ones(part, 64)).mean().backward()
        assert len(session.plans) == len(session.profiles) == 2
        assert "pass 2: " in session.explain()
        assert {"plan", "plan-2", "profile-2"} <= set(session.write(tmp_path / "out"))


def test_a_limit_that_is_too_low_is_refused_with_what_is_needed(tmp_path: Path) -> None:
    with opened(tmp_path, "1 MiB") as session:
        with pytest.raises(orrery.api.InfeasibleError, match=r"memory_limit.*there is 1 MiB") as no:
            one_step(session)
        assert no.value.infeasible.need > no.value.infeasible.have == 2**20
        assert session.explain().startswith("There is no plan: memory of step")
        assert session.page().sections


@pytest.mark.parametrize("limit", [4 << 30, "4", "4 gib", "0 GiB", "-1 GiB"])
def test_limits_are_sizes_with_a_unit(tmp_path: Path, limit: Any) -> None:
    with pytest.raises(SpecError, match="offload: memory_limit"):
        orrery.offload(tmp_path, limit)


@pytest.mark.parametrize("options", [
    OffloadOptions(least=1), OffloadOptions(block="1000 B"), OffloadOptions(threads=0),
    OffloadOptions(method="best"), OffloadOptions(when_full="stop"),
])  # fmt: skip
def test_options_that_cannot_be_are_refused(tmp_path: Path, options: OffloadOptions) -> None:
    with pytest.raises(SpecError, match=r"offload (options|settings|planner)"):
        orrery.offload(tmp_path, options=options)


def test_folders_are_checked(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    for wrong, said in ((tmp_path / "none", "nothing"), (tmp_path / "file", "something else"),
                        ((), "none"), ((tmp_path, tmp_path), "each once"), (3, "paths"),
                        ("", "paths")):  # fmt: skip
        with pytest.raises(SpecError, match=said):
            orrery.offload(wrong)


def test_a_device_that_is_not_there_is_refused(tmp_path: Path) -> None:
    with pytest.raises(SpecError, match=r"device: found 'cuda:99'.*cpu"):
        orrery.offload(tmp_path, options=orrery.OffloadOptions(device="cuda:99"))


def test_a_folder_that_may_not_be_written_is_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(os, "access", lambda path, mode: False)  # root may write everywhere
    with pytest.raises(SpecError, match="may not be written"):
        orrery.offload(tmp_path)


def test_without_torch_the_extra_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    real = importlib.util.find_spec
    monkeypatch.setattr(
        importlib.util,
        "find_spec",
        lambda name, *more: None if name == "torch" else real(name, *more),
    )
    with pytest.raises(MissingExtraError, match=r"orrery\[torch\]"):
        orrery.offload(tmp_path)


def test_sessions_do_not_nest(tmp_path: Path) -> None:
    with opened(tmp_path) as one, opened(tmp_path) as other:
        for inner, said in ((other, "another session"), (one, "this session")):
            with pytest.raises(SpecError, match=said), one, inner:
                pass
        assert other.reports == []
        one_step(other)  # what was refused leaves nothing behind


def test_steps_that_train_nothing_are_refused(tmp_path: Path) -> None:
    import torch

    net, x = chain(), torch.ones(512, 64)
    with opened(tmp_path) as session:
        with pytest.raises(SpecError, match="nothing saved"), session, torch.no_grad():
            net(x)
        with pytest.raises(SpecError, match="no backward pass"), session:
            net(x)
        with (
            pytest.raises(SpecError, match=r"on meta.*the device that the session is for"),
            session,
        ):
            net.to("meta")(x.to("meta")).sum().backward()


def test_a_step_may_evaluate_once_there_was_a_plan(tmp_path: Path) -> None:
    import torch

    net = chain()
    with opened(tmp_path) as session:
        one_step(session)
        one_step(session, rows=256)  # other tensors: the plan is gone, the next step is measured
        assert not session.plans
        with session, torch.no_grad():
            net(torch.ones(512, 64))
        one_step(session, rows=256)
        assert session.plans


def test_files_are_not_written_over_a_file(tmp_path: Path) -> None:
    (tmp_path / "out").write_text("mine")
    with opened(tmp_path) as session, pytest.raises(SpecError, match="found 'a file'"):
        session.write(tmp_path / "out")
    assert (tmp_path / "out").read_text() == "mine"


def test_a_small_network_has_nothing_to_move(tmp_path: Path) -> None:
    with opened(tmp_path, options=OffloadOptions()) as session:
        one_step(session)
        assert "no saved tensor on the CPU has 1 MiB or more" in session.explain()


def test_an_error_in_a_step_ends_the_step_alone(tmp_path: Path) -> None:
    with opened(tmp_path) as session:
        with pytest.raises(ZeroDivisionError), session:
            1 / 0  # noqa: B018
        one_step(session)
        assert session.plans


def test_closing_ends_a_step_that_a_loop_left_open(tmp_path: Path) -> None:
    with opened(tmp_path) as left, opened(tmp_path) as other:
        left.__enter__()
        left.close()
        one_step(other)
        assert other.plans and not left.reports


@pytest.mark.needs("lightning", "transformers")
def test_callbacks_are_classes_of_their_libraries(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from lightning.pytorch import Callback
    from transformers import TrainerCallback

    with opened(tmp_path) as session:
        assert isinstance(orrery.OffloadLightningCallback(session), Callback)
        assert isinstance(orrery.OffloadTrainerCallback(session), TrainerCallback)
    real = importlib.util.find_spec
    for name, package in (("OffloadLightningCallback", "lightning"),
                          ("OffloadTrainerCallback", "transformers")):  # fmt: skip
        with monkeypatch.context() as without:
            without.setattr(importlib.util, "find_spec",
                            lambda n, *m, p=package: None if n == p else real(n, *m))  # fmt: skip
            with pytest.raises(MissingExtraError, match=rf"{package}.*orrery\[torch\]"):
                getattr(orrery, name)


def test_a_session_that_nobody_holds_is_closed(tmp_path: Path) -> None:
    session = orrery.offload(tmp_path, options=SMALL)
    one_step(session)
    engine = session.engine
    del session
    gc.collect()
    with pytest.raises(OffloadError, match="closed"):
        engine.__enter__()
