"""Lightning trains inside a session's steps: weights and checkpoints are those without it."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from ..offload.test_exact import same, session

pytestmark = [
    pytest.mark.torch,
    pytest.mark.needs("torch", "lightning"),
    pytest.mark.filterwarnings("ignore::UserWarning"),
    pytest.mark.filterwarnings("ignore::FutureWarning"),
    pytest.mark.filterwarnings("ignore::DeprecationWarning"),
]


def modules() -> dict[str, Any]:
    """Modules to train, each with another way through a batch."""
    import lightning.pytorch as pl
    import torch
    from torch import nn

    class Automatic(pl.LightningModule):
        def __init__(self) -> None:
            super().__init__()
            torch.manual_seed(0)
            self.net = nn.Sequential(nn.Linear(16, 32), nn.Tanh(), nn.Dropout(0.1),
                                     nn.Linear(32, 4), nn.Tanh())  # fmt: skip
            self.losses: list[Any] = []

        def training_step(self, batch: Any, batch_idx: int) -> Any:
            loss = self.net(batch[0]).square().mean()
            self.losses.append(loss.detach().clone())
            self.log("train_loss", loss)
            return loss

        def validation_step(self, batch: Any, batch_idx: int) -> None:
            with torch.enable_grad():  # saves tensors, though between two steps
                self.log("val_loss", self.net(batch[0]).square().mean())

        def configure_optimizers(self) -> Any:
            return torch.optim.AdamW(self.parameters(), lr=1e-2)

    class Passing(Automatic):
        """Passes over a batch, and ends an epoch early."""

        def training_step(self, batch: Any, batch_idx: int) -> Any:
            return None if batch_idx == 2 else super().training_step(batch, batch_idx)

        def on_train_batch_start(self, batch: Any, batch_idx: int) -> int | None:
            return -1 if batch_idx == 4 else None

    class Searching(Automatic):
        """Runs several forward and backward passes for each step of its optimiser."""

        def configure_optimizers(self) -> Any:
            return torch.optim.LBFGS(self.parameters(), lr=1e-1, max_iter=3)

    class Manual(Automatic):
        """Two losses and two steps of the optimiser in a batch."""

        def __init__(self) -> None:
            super().__init__()
            self.automatic_optimization = False

        def training_step(self, batch: Any, batch_idx: int) -> None:
            optimiser = self.optimizers()
            for half in batch[0].chunk(2):
                optimiser.zero_grad()
                loss = self.net(half).square().mean()
                self.manual_backward(loss)
                optimiser.step()
                self.losses.append(loss.detach().clone())

    class Failing(Automatic):
        def training_step(self, batch: Any, batch_idx: int) -> Any:
            loss = super().training_step(batch, batch_idx)
            if batch_idx == 3:
                raise ZeroDivisionError
            return loss

    return {kind.__name__: kind for kind in (Automatic, Passing, Searching, Manual, Failing)}


def fitted(
    name: str, folder: Path, *callbacks: Any, again: str | None = None, **options: Any
) -> tuple[Any, Any]:
    """Train for two epochs of six batches."""
    import lightning.pytorch as pl
    import torch
    from torch.utils.data import DataLoader, TensorDataset

    data = TensorDataset(torch.randn(24, 16, generator=torch.Generator().manual_seed(7)))
    loader = DataLoader(data, batch_size=4)
    net = modules()[name]()
    trainer = pl.Trainer(**{
        "max_epochs": 2, "accelerator": "cpu", "devices": 1, "logger": False,
        "enable_progress_bar": False, "enable_model_summary": False, "log_every_n_steps": 1,
        "default_root_dir": folder, "callbacks": list(callbacks), **options,
    })  # fmt: skip
    trainer.fit(net, loader, loader, ckpt_path=again)
    return net, trainer


def results(net: Any) -> list[Any]:
    return [*net.losses, *net.state_dict().values()]


@pytest.fixture
def offload(tmp_path: Path) -> Iterator[Any]:
    (tmp_path / "away").mkdir()
    with session(tmp_path / "away") as found:
        yield found


@pytest.mark.parametrize(
    ("name", "options", "steps", "passes"),
    [("Automatic", {"accumulate_grad_batches": 4}, 12, 1), ("Passing", {}, 10, 1),
     ("Searching", {}, 12, 3), ("Manual", {}, 12, 2),
     ("Automatic", {"precision": "bf16-mixed", "gradient_clip_val": 0.1}, 12, 1)],
)  # fmt: skip
def test_it_trains_as_without(
    name: str, options: dict[str, Any], steps: int, passes: int, offload: Any, tmp_path: Path
) -> None:
    from orrery.runtime.loops import OffloadLightningCallback

    wanted, _ = fitted(name, tmp_path, enable_checkpointing=False, **options)
    found, trainer = fitted(
        name, tmp_path, OffloadLightningCallback(offload), enable_checkpointing=False, **options
    )
    assert same(results(found), results(wanted))
    assert len(offload.reports) == steps
    assert len(offload.plans) == passes
    idle = sum(not report.offloaded for report in offload.reports)
    assert idle == (4 if name == "Passing" else 0)
    assert sum(report.measured for report in offload.reports) == 1
    logged = trainer.logged_metrics
    # What is needed again before it has been written never leaves: here that may be all.
    assert sum(report.offloaded + report.forwarded for report in offload.reports) > 0
    assert logged["offload_step_s"] > 0
    assert {
        "offload_written_mib",
        "offload_read_mib",
        "offload_peak_mib",
        "offload_hidden_share",
    } <= set(logged)


def test_a_checkpoint_goes_on_as_without(offload: Any, tmp_path: Path) -> None:
    from orrery.runtime.loops import OffloadLightningCallback

    wanted, trainer = fitted("Automatic", tmp_path / "plain", max_epochs=1)
    saved = str(tmp_path / "plain.ckpt")
    trainer.save_checkpoint(saved)
    wanted, _ = fitted("Automatic", tmp_path / "plain", again=saved)
    callback = OffloadLightningCallback(offload)
    _, trainer = fitted("Automatic", tmp_path / "ours", callback, max_epochs=1)
    saved = str(tmp_path / "ours.ckpt")
    trainer.save_checkpoint(saved)
    found, _ = fitted("Automatic", tmp_path / "ours", callback, again=saved)
    assert same(results(found), results(wanted))
    again, _ = fitted("Automatic", tmp_path / "ours", again=saved)  # without: it holds nothing ours
    assert same(results(again), results(wanted))
    assert len(offload.reports) == 12


def test_an_error_ends_its_step(offload: Any, tmp_path: Path) -> None:
    from orrery.runtime.loops import OffloadLightningCallback

    callback = OffloadLightningCallback(offload)
    with pytest.raises(ZeroDivisionError):
        fitted("Failing", tmp_path, callback, enable_checkpointing=False)
    with offload:  # none is under way
        pass
    fitted("Automatic", tmp_path, callback, enable_checkpointing=False)
    assert len(offload.reports) == 4 + 1 + 12
