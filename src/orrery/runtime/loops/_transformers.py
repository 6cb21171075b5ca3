"""A callback for the Trainer of Hugging Face's transformers.

Models:  nothing; this does it. A step is a whole group of accumulated batches: it begins before the
         first batch and ends before the optimiser, after gradients were clipped.
Ignores: training steps that a subclass runs elsewhere than between these two events.
Judge:   the real Trainer: losses, weights and checkpoints as without
         (tests/runtime/loops/test_transformers.py).

The Trainer tells its callbacks of no error. A step that one left open ends when training begins
again, or with the session.
"""

from __future__ import annotations

from typing import Any

from transformers import TrainerCallback

from ._step import LoopStep, Session


class OffloadTrainerCallback(TrainerCallback):  # type: ignore[misc,unused-ignore]  # may be absent
    """Has each training step of a Trainer run inside a session of `orrery.offload`.

    ``Trainer(..., callbacks=[OffloadTrainerCallback(session)])``. What the steps since the last log
    moved, and what that cost them, joins each log of the training loss, as ``offload_...`` in
    `log_history`. Evaluation and saving lie between two steps.

    Parameters
    ----------
    session : from `orrery.offload`; stays open when training ends
    """

    def __init__(self, session: Session) -> None:
        self.session = session
        self._step = LoopStep(session)

    def on_train_begin(self, args: Any, state: Any, control: Any, **others: Any) -> None:
        """Give up a step that an error left open."""
        self._step.give_up()

    def on_step_begin(self, args: Any, state: Any, control: Any, **others: Any) -> None:
        """Begin a step."""
        self._step.begin()

    def on_pre_optimizer_step(self, args: Any, state: Any, control: Any, **others: Any) -> None:
        """End the step; after the first, plan."""
        self._step.end()

    def on_epoch_end(self, args: Any, state: Any, control: Any, **others: Any) -> None:
        """Give up a step that training was stopped in, between two of its batches."""
        self._step.give_up()

    def on_train_end(self, args: Any, state: Any, control: Any, **others: Any) -> None:
        """Likewise."""
        self._step.give_up()

    def on_log(self, args: Any, state: Any, control: Any, logs: Any = None, **others: Any) -> None:
        """Add what the steps did to a log of the training loss."""
        if logs is not None and "loss" in logs:
            figures = self._step.figures()
            logs.update(figures)
            if state.log_history:  # holds a copy that was made before
                state.log_history[-1].update(figures)
