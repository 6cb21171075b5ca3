"""Deep networks to train, of a size that the caller chooses, as PyTorch modules.

Models:  residual networks as in He et al. 2016 (6 n + 2 layers on small images), densely connected
         ones with bottlenecks and compression as in Huang et al. 2017, encoders as in Devlin et al.
         2019 with normalisation first; what they save for the backward pass is what counts here.
Ignores: data: images, words and labels are drawn. Dropout is on sums of the encoder, not within
         its attention.
Judge:   layers and parameters counted by hand (tests/runtime/training/test_networks.py).
"""

from __future__ import annotations

import functools
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Literal

from orrery.errors import SpecError

_CLASSES = 10
_WORDS = 512
_HEADS = 4


@dataclass(frozen=True, slots=True, kw_only=True)
class DeepNetwork:
    """A network by its shape.

    Attributes
    ----------
    kind : ``residual``, ``dense`` or ``encoder``
    depth : units of each of three stages (residual: two convolutions; dense: two), or of the whole
        encoder (six products each)
    width : channels of the first stage; channels that a dense unit adds; features of a word
    size : height and width of images, or words of a text
    """

    kind: Literal["residual", "dense", "encoder"]
    depth: int
    width: int
    size: int

    def __post_init__(self) -> None:
        """Refuse what cannot be built.

        Raises
        ------
        SpecError : a kind that there is not, a shape that does not divide
        """
        if self.kind not in _BUILDERS:
            raise SpecError("deep network: kind", found=self.kind,
                            wanted=f"one of {', '.join(_BUILDERS)}", fix="choose one")  # fmt: skip
        for key in ("depth", "width", "size"):
            if getattr(self, key) < 1:
                raise SpecError(f"deep network: {key}", found=getattr(self, key),
                                wanted="1 or more", fix="raise it")  # fmt: skip
        key, step = ("width", _HEADS) if self.kind == "encoder" else ("size", 4)
        if getattr(self, key) % step:
            raise SpecError(f"deep network: {key}", found=getattr(self, key),
                            wanted=f"a multiple of {step}", fix="round it up")  # fmt: skip

    @property
    def layers(self) -> int:
        """Convolutions and matrix products with weights, one after the other or not."""
        return {
            "residual": 6 * self.depth + 2, "dense": 6 * self.depth + 4,
            "encoder": 6 * self.depth + 1,
        }[self.kind]  # fmt: skip

    def build(self) -> TrainableNetwork:
        """Return the network with weights drawn from PyTorch's generator as it stands."""
        return _BUILDERS[self.kind](self)


@dataclass(frozen=True, slots=True, kw_only=True)
class TrainableNetwork:
    """A module in units, of which each can be run again in the backward pass.

    Attributes
    ----------
    parts : first part, units, last part; called one after the other
    batch : draws so many inputs and labels
    """

    parts: Any
    batch: Callable[[int], tuple[Any, Any]]

    @property
    def weight_bytes(self) -> int:
        """Of all parameters."""
        return sum(p.numel() * p.element_size() for p in self.parts.parameters())


@functools.cache
def _residual_unit() -> Any:
    import torch
    from torch import nn

    class Residual(nn.Module):  # type: ignore[misc]  # torch tells no types
        """Two convolutions beside a shortcut, which is one by one where the shape changes."""

        def __init__(self, before: int, after: int, stride: int) -> None:
            super().__init__()
            self.inner = nn.Sequential(
                nn.Conv2d(before, after, 3, stride, 1, bias=False), nn.BatchNorm2d(after),
                nn.ReLU(), nn.Conv2d(after, after, 3, 1, 1, bias=False), nn.BatchNorm2d(after),
            )  # fmt: skip
            self.shape = None if before == after and stride == 1 else (after - before, stride)

        def forward(self, x: Any) -> Any:
            found = self.inner(x)
            if self.shape is not None:
                # Without weights: the image thinned out, and channels of zeros added.
                more, stride = self.shape
                x = nn.functional.pad(x[:, :, ::stride, ::stride], (0, 0, 0, 0, 0, more))
            return torch.relu(found + x)

    return Residual


@functools.cache
def _dense_unit() -> Any:
    import torch
    from torch import nn

    class Dense(nn.Module):  # type: ignore[misc]  # torch tells no types
        """Two convolutions whose result is put beside everything before."""

        def __init__(self, before: int, more: int) -> None:
            super().__init__()
            self.inner = nn.Sequential(
                nn.BatchNorm2d(before), nn.ReLU(), nn.Conv2d(before, 4 * more, 1, bias=False),
                nn.BatchNorm2d(4 * more), nn.ReLU(),
                nn.Conv2d(4 * more, more, 3, 1, 1, bias=False),
            )  # fmt: skip

        def forward(self, x: Any) -> Any:
            return torch.cat([x, self.inner(x)], 1)

    return Dense


@functools.cache
def _encoder_unit() -> Any:
    from torch import nn

    class Encoder(nn.Module):  # type: ignore[misc]  # torch tells no types
        """Attention and two products, each beside a shortcut."""

        def __init__(self, width: int) -> None:
            super().__init__()
            self.before, self.between = nn.LayerNorm(width), nn.LayerNorm(width)
            self.query, self.key, self.value, self.out = (nn.Linear(width, width) for _ in range(4))
            self.rise, self.fall = nn.Linear(width, 4 * width), nn.Linear(4 * width, width)
            self.drop = nn.Dropout(0.1)

        def forward(self, x: Any) -> Any:
            seen = self.before(x)
            heads = (
                layer(seen).unflatten(-1, (_HEADS, -1)).transpose(1, 2)
                for layer in (self.query, self.key, self.value)
            )
            found = nn.functional.scaled_dot_product_attention(*heads)
            x = x + self.drop(self.out(found.transpose(1, 2).flatten(2)))
            return x + self.drop(self.fall(nn.functional.gelu(self.rise(self.between(x)))))

    return Encoder


def _images(size: int) -> Callable[[int], tuple[Any, Any]]:
    import torch

    return lambda count: (
        torch.randn(count, 3, size, size), torch.randint(0, _CLASSES, (count,)),
    )  # fmt: skip


def _residual(shape: DeepNetwork) -> TrainableNetwork:
    from torch import nn

    unit, width = _residual_unit(), shape.width
    parts: list[Any] = [
        nn.Sequential(nn.Conv2d(3, width, 3, 1, 1, bias=False), nn.BatchNorm2d(width), nn.ReLU())
    ]
    before = width
    for stage in range(3):
        after = width << stage
        for number in range(shape.depth):
            parts.append(unit(before, after, 2 if stage and not number else 1))
            before = after
    parts.append(nn.Sequential(nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(before, _CLASSES)))
    return TrainableNetwork(parts=nn.ModuleList(parts), batch=_images(shape.size))


def _dense(shape: DeepNetwork) -> TrainableNetwork:
    from torch import nn

    unit, channels = _dense_unit(), 2 * shape.width
    parts: list[Any] = [nn.Conv2d(3, channels, 3, 1, 1, bias=False)]
    for stage in range(3):
        for _ in range(shape.depth):
            parts.append(unit(channels, shape.width))
            channels += shape.width
        if stage < 2:
            parts.append(nn.Sequential(
                nn.BatchNorm2d(channels), nn.ReLU(),
                nn.Conv2d(channels, channels // 2, 1, bias=False), nn.AvgPool2d(2),
            ))  # fmt: skip
            channels //= 2
    parts.append(nn.Sequential(
        nn.BatchNorm2d(channels), nn.ReLU(), nn.AdaptiveAvgPool2d(1), nn.Flatten(),
        nn.Linear(channels, _CLASSES),
    ))  # fmt: skip
    return TrainableNetwork(parts=nn.ModuleList(parts), batch=_images(shape.size))


def _encoder(shape: DeepNetwork) -> TrainableNetwork:
    import torch
    from torch import nn

    unit, width = _encoder_unit(), shape.width
    # Every word is predicted, so that the last part is small beside the units.
    parts = [
        nn.Embedding(_WORDS, width), *(unit(width) for _ in range(shape.depth)),
        nn.Sequential(nn.LayerNorm(width), nn.Linear(width, _CLASSES), nn.Flatten(0, 1)),
    ]  # fmt: skip

    def batch(count: int) -> tuple[Any, Any]:
        words = torch.randint(0, _WORDS, (count, shape.size))
        return words, torch.randint(0, _CLASSES, (count * shape.size,))

    return TrainableNetwork(parts=nn.ModuleList(parts), batch=batch)


_BUILDERS: dict[str, Callable[[DeepNetwork], TrainableNetwork]] = {
    "residual": _residual, "dense": _dense, "encoder": _encoder,
}  # fmt: skip
