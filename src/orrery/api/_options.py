"""How a network is taken: options that every command shares."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from orrery.settings import setting

__all__ = ["ModelOptions"]


@dataclass(frozen=True, slots=True, kw_only=True)
class ModelOptions:
    """How a network is taken: sizes, phase, training."""

    batch: int | None = setting(None, "Inferences in one pass (library networks: default 1).")
    phase: Literal["prefill", "decode"] | None = setting(
        None, "Decoder networks: read a prompt, or make the next token."
    )
    context: int | None = setting(None, "Decoder networks: tokens in the prompt or the cache.")
    precision: str | None = setting(
        None, "Element type to take the network in, e.g. float16, bfloat16, int8, int16."
    )
    training: bool = setting(False, "Take the training step: forward, backward and update.")
    optimizer: Literal["sgd", "momentum", "adam"] = setting("sgd", "Optimiser of the step.")
    shape: tuple[str, ...] = setting((), "Bind a symbolic dimension, e.g. batch=8; repeatable.")
