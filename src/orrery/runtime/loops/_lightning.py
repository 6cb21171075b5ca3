"""A callback for the Trainer of Lightning.

Models:  nothing; this does it. With automatic optimisation a step is the forward and the backward
         pass of a batch. With manual optimisation, or an optimiser that runs both several times
         (L-BFGS), it lasts until the batch ends.
Ignores: nothing that happens between two batches is part of a step.
Judge:   the real Trainer: losses, weights and checkpoints as without
         (tests/runtime/loops/test_lightning.py).
"""

from __future__ import annotations

from typing import Any

from lightning.pytorch.callbacks import Callback

from ._step import LoopStep, Session


class OffloadLightningCallback(Callback):  # type: ignore[misc,unused-ignore]  # may be absent
    """Has each training batch of a Lightning Trainer run inside a session of `orrery.offload`.

    ``Trainer(..., callbacks=[OffloadLightningCallback(session)])``. What each step moved, and what
    that cost it, is logged as ``offload_...``. Validation and saving lie between two steps.

    Parameters
    ----------
    session : from `orrery.offload`; stays open when training ends
    """

    def __init__(self, session: Session) -> None:
        self.session = session
        self._step = LoopStep(session)
        self._backward_seen = False

    def on_train_batch_start(
        self, trainer: Any, pl_module: Any, batch: Any, batch_idx: int
    ) -> None:
        """Begin a step."""
        self._backward_seen = False
        self._step.begin()

    def on_after_backward(self, trainer: Any, pl_module: Any) -> None:
        """End the step where this was its only backward pass; after the first step, plan."""
        from torch.optim import LBFGS

        self._backward_seen = True
        if pl_module.automatic_optimization and not any(
            isinstance(optimiser, LBFGS) for optimiser in trainer.optimizers
        ):
            self._step.end()

    def on_train_batch_end(
        self, trainer: Any, pl_module: Any, outputs: Any, batch: Any, batch_idx: int
    ) -> None:
        """End the step, or give up one without a backward pass, and log what was done."""
        if self._backward_seen:
            self._step.end()
        else:
            self._step.give_up()
        if figures := self._step.figures():
            pl_module.log_dict(figures, on_step=True, on_epoch=False)

    def on_train_epoch_end(self, trainer: Any, pl_module: Any) -> None:
        """Give up a step that was begun for a batch that the module passed over."""
        self._step.give_up()

    def on_train_end(self, trainer: Any, pl_module: Any) -> None:
        """Likewise."""
        self._step.give_up()

    def on_exception(self, trainer: Any, pl_module: Any, exception: BaseException) -> None:
        """Give up the step that an error was raised in."""
        self._step.give_up()
