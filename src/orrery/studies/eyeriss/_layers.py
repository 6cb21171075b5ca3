"""The layers that the papers measure, as loop nests.

The papers count images with their padding (227, 31 and 15 rows in AlexNet), so that padding
travels as any element does; `padded` false leaves it out, as the engine does by default.
"""

from __future__ import annotations

from dataclasses import dataclass

from orrery.cost.nest import Index, NestProblem, NestTensor


@dataclass(frozen=True, slots=True, kw_only=True)
class Conv:
    """A convolution; a dense layer is one whose result is one place.

    Attributes
    ----------
    made, read : channels made and read, of all groups
    size : rows and columns of the result
    """

    name: str
    made: int
    read: int
    size: int
    kernel: int
    stride: int = 1
    pad: int = 0
    groups: int = 1

    @property
    def macs(self) -> int:
        """Multiplications of one image."""
        return self.made * (self.read // self.groups) * self.size**2 * self.kernel**2


#: as Krizhevsky et al. have it: two groups in the second, fourth and fifth layer
ALEXNET = (
    Conv(name="conv1", made=96, read=3, size=55, kernel=11, stride=4),
    Conv(name="conv2", made=256, read=96, size=27, kernel=5, pad=2, groups=2),
    Conv(name="conv3", made=384, read=256, size=13, kernel=3, pad=1),
    Conv(name="conv4", made=384, read=384, size=13, kernel=3, pad=1, groups=2),
    Conv(name="conv5", made=256, read=384, size=13, kernel=3, pad=1, groups=2),
)
ALEXNET_FC = (
    Conv(name="fc1", made=4096, read=256, size=1, kernel=6),
    Conv(name="fc2", made=4096, read=4096, size=1, kernel=1),
    Conv(name="fc3", made=1000, read=4096, size=1, kernel=1),
)
#: (block, channels, size, layers)
_BLOCKS = ((1, 64, 224, 2), (2, 128, 112, 2), (3, 256, 56, 3), (4, 512, 28, 3), (5, 512, 14, 3))
VGG16 = tuple(
    Conv(name=f"conv{block}-{i}", made=wide, size=size, kernel=3, pad=1,
         read=wide if i > 1 or block == 5 else (3 if block == 1 else wide // 2))
    for block, wide, size, layers in _BLOCKS for i in range(1, layers + 1)
)  # fmt: skip


#: channels after each pair of a depthwise and a pointwise convolution, and the former's stride
_PAIRS = ((32, 1), (64, 2), (64, 1), (128, 2), (128, 1), (256, 2), *((256, 1),) * 5, (512, 2),
          (512, 1))  # fmt: skip


def _mobilenet() -> tuple[Conv, ...]:
    size, wide = 64, 16
    layers = [Conv(name="conv1", made=wide, read=3, size=size, kernel=3, stride=2, pad=1)]
    for place, (made, stride) in enumerate(_PAIRS, 1):
        size //= stride
        layers += [
            Conv(name=f"conv{place} depthwise", made=wide, read=wide, size=size, kernel=3,
                 stride=stride, pad=1, groups=wide),
            Conv(name=f"conv{place} pointwise", made=made, read=wide, size=size, kernel=1),
        ]  # fmt: skip
        wide = made
    return (*layers, Conv(name="fc", made=1000, read=wide, size=1, kernel=1))


#: MobileNet of half the width, images of 128 x 128
MOBILENET = _mobilenet()


def conv_problem(layer: Conv, batch: int, *, padded: bool = True) -> NestProblem:
    """Return the loop nest of a layer for a batch."""
    read, made = layer.read // layer.groups, layer.made // layer.groups
    whole = (layer.size - 1) * layer.stride + layer.kernel
    size, offset = (whole, 0) if padded else (whole - 2 * layer.pad, -layer.pad)
    loops = {"N": batch, "G": layer.groups, "Cout": made, "Cin": read, "H": layer.size,
             "W": layer.size, "Kh": layer.kernel, "Kw": layer.kernel}  # fmt: skip

    def along(*names: str) -> tuple[Index, ...]:
        return tuple(Index(size=loops[name], terms=((name, 1),)) for name in names)

    window = tuple(
        Index(size=size, terms=((place, layer.stride), (tap, 1)), offset=offset)
        for place, tap in (("H", "Kh"), ("W", "Kw"))
    )
    return NestProblem(loops=tuple(loops.items()), tensors=(
        NestTensor(name="image", role="input", axes=(*along("N", "G", "Cin"), *window)),
        NestTensor(name="filters", role="weight", axes=along("G", "Cout", "Cin", "Kh", "Kw")),
        NestTensor(name="sums", role="output", axes=along("N", "G", "Cout", "H", "W")),
    ))  # fmt: skip
