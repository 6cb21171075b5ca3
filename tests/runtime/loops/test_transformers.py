"""The Trainer of transformers trains inside a session's steps: all is as it is without it."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from ..offload.test_exact import same, session

pytestmark = [
    pytest.mark.torch,
    pytest.mark.needs("torch", "transformers", "accelerate"),
    pytest.mark.filterwarnings("ignore"),
]


def trainer(folder: Path, *callbacks: Any, **options: Any) -> Any:
    """A Trainer of a GPT-2 of two small layers, with 26 sequences."""
    import torch
    from transformers import GPT2Config, GPT2LMHeadModel, Trainer, TrainingArguments

    torch.manual_seed(0)
    config = GPT2Config(vocab_size=48, n_positions=16, n_embd=32, n_layer=2, n_head=2,
                        bos_token_id=0, eos_token_id=0)  # fmt: skip
    tokens = torch.randint(0, 48, (26, 16), generator=torch.Generator().manual_seed(7))
    data = [{"input_ids": row, "labels": row} for row in tokens]
    arguments = TrainingArguments(**{
        "output_dir": str(folder), "use_cpu": True, "report_to": [], "disable_tqdm": True,
        "max_steps": 10, "per_device_train_batch_size": 4, "gradient_accumulation_steps": 2,
        "logging_steps": 2, "save_strategy": "no", "learning_rate": 1e-2, "seed": 3, **options,
    })  # fmt: skip
    return Trainer(
        model=GPT2LMHeadModel(config), args=arguments, train_dataset=data,
        eval_dataset=data[:4], callbacks=list(callbacks),
    )  # fmt: skip


def results(trained: Any) -> list[Any]:
    """Every loss and norm of gradients that was logged, then all weights."""
    import torch

    logs = [torch.tensor([float(log["loss"]), float(log["grad_norm"])], dtype=torch.float64)
            for log in trained.state.log_history if "loss" in log]  # fmt: skip
    return [*logs, *trained.model.state_dict().values()]


@pytest.fixture
def offload(tmp_path: Path) -> Iterator[Any]:
    (tmp_path / "away").mkdir()
    with session(tmp_path / "away") as found:
        yield found


def callback(offload: Any) -> Any:
    from orrery.runtime.loops import OffloadTrainerCallback

    return OffloadTrainerCallback(offload)


@pytest.mark.parametrize(
    "options", [{"eval_strategy": "steps", "eval_steps": 3}, {"gradient_checkpointing": True}]
)
def test_it_trains_as_without(options: dict[str, Any], offload: Any, tmp_path: Path) -> None:
    plain = trainer(tmp_path, **options)
    plain.train()
    ours = trainer(tmp_path, callback(offload), **options)
    ours.train()
    assert same(results(ours), results(plain))
    assert len(offload.reports) == 10
    assert all(report.offloaded for report in offload.reports)
    assert [report.measured for report in offload.reports[:4]] == [True, False, False, False]
    assert len(offload.plans) == 2  # one for each accumulated batch
    logs = [log for log in ours.state.log_history if "loss" in log]
    assert len(logs) == 5
    written = sum(report.moved.written_bytes for report in offload.reports) / 2**20
    assert sum(log["offload_written_mib"] for log in logs) == pytest.approx(written)
    assert all(0 <= log["offload_hidden_share"] <= 1 for log in logs)
    assert not any("offload_step_s" in log for log in ours.state.log_history if "loss" not in log)


def test_a_checkpoint_goes_on_as_without(offload: Any, tmp_path: Path) -> None:
    saving = {"save_strategy": "steps", "save_steps": 5}
    for name, callbacks in (("plain", []), ("ours", [callback(offload)])):
        trainer(tmp_path / name, *callbacks, **saving, max_steps=6).train()
    halfway = {name: tmp_path / name / "checkpoint-5" for name in ("plain", "ours")}
    state = json.loads((halfway["ours"] / "trainer_state.json").read_text())
    assert state["log_history"][0]["offload_step_s"] > 0

    def resumed(name: str, *callbacks: Any) -> list[Any]:
        again = trainer(tmp_path / "again", *callbacks)
        again.train(resume_from_checkpoint=str(halfway[name]))
        return results(again)

    wanted = resumed("plain")
    assert same(resumed("ours", callback(offload)), wanted)
    assert same(resumed("ours"), wanted)  # the checkpoint holds nothing of ours
    assert len(offload.reports) == 6 + 5


def test_a_step_that_an_error_left_open_ends_with_the_next_training(
    offload: Any, tmp_path: Path
) -> None:
    plain = trainer(tmp_path)
    plain.train()
    used = callback(offload)
    failing = trainer(tmp_path, used)
    loss, calls = failing.compute_loss, []

    def failing_loss(*given: Any, **named: Any) -> Any:
        calls.append(1)
        found = loss(*given, **named)
        if len(calls) == 6:
            raise ZeroDivisionError
        return found

    failing.compute_loss = failing_loss
    with pytest.raises(ZeroDivisionError):
        failing.train()
    ours = trainer(tmp_path, used)
    ours.train()
    assert same(results(ours), results(plain))
    assert len(offload.reports) == 3 + 10
    with offload:  # none is under way
        pass
