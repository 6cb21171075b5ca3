"""How a network is taken, and what it is asked to do: options that commands share."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from orrery.errors import SpecError
from orrery.settings import setting


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
    weights: str | None = setting(
        None, "Trained weights for a library network: a safetensors file with its tensors' names."
    )
    training: bool = setting(False, "Take the training step: forward, backward and update.")
    optimizer: Literal["sgd", "momentum", "adam"] = setting("sgd", "Optimiser of the step.")
    shape: tuple[str, ...] = setting((), "Bind a symbolic dimension, e.g. batch=8; repeatable.")


@dataclass(frozen=True, slots=True, kw_only=True)
class TaskOptions:
    """Labelled data, and what is asked of it."""

    data: str | None = setting(
        None, "Labelled data to run: an .npz file of the network's inputs and `labels`."
    )
    metric: str = setting("top1", "What to judge answers by: top1, top5, mse, perplexity.")
    numerics: tuple[str, ...] = setting(
        (), "Judge a design too, wherever it takes a node, e.g. 'winograd(tile=2)'; repeatable."
    )
    samples: int | None = setting(None, "Samples to draw from the data; all where not given.")
    seed: int = setting(0, "Seed that the samples are drawn with.")
    mean: str = setting(
        "", "Images in bytes: mean per channel, of byte / 255, e.g. 0.485,0.456,0.406."
    )
    std: str = setting("", "Images in bytes: deviation per channel, e.g. 0.229,0.224,0.225.")


@dataclass(frozen=True, slots=True, kw_only=True)
class BeyondOptions:
    """What to look at beyond one network on one array."""

    flexibility: bool = setting(
        False, "Map the published suite of layers onto the array, and onto it with one thing fixed."
    )
    scalability: bool = setting(
        False, "Map the network onto smaller and larger arrays, at larger batches, on more chips."
    )
    chips: int = setting(2, "Most chips of a system that scalability looks at: 1, 2, 4, 8, …")
    budget: int = setting(
        3_000_000,
        "Evaluations of nests per layer and array; beyond them the best one so far stands.",
    )

    def __post_init__(self) -> None:
        for name in ("chips", "budget"):
            if getattr(self, name) < 1:
                raise SpecError(f"--{name}", found=getattr(self, name), wanted="1 or more",
                                fix="correct it")  # fmt: skip


def numbers(option: str, text: str) -> tuple[float, ...]:
    """Return the numbers of an option, written with commas between; none from an empty one."""
    try:
        return tuple(float(word) for word in text.split(",")) if text.strip() else ()
    except ValueError:
        raise SpecError(option, found=text, wanted="numbers with commas between",
                        fix="e.g. 0.485,0.456,0.406") from None  # fmt: skip
