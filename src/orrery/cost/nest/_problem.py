"""A layer as what a loop nest computes: loops, and tensors whose axes are sums of loop indices.

Models:  an axis of a tensor is indexed by offset + sum of stride · loop; what lies outside of
         [0, size) is padding, which no memory holds and no link carries.
Ignores: in which order loops run (a `NestMapping` says it).
Judge:   the number of distinct elements touched equals enumeration (tests).
"""

from __future__ import annotations

import math
from dataclasses import dataclass

from orrery.errors import SpecError, UnknownNameError

#: The one vocabulary of loops, so that an axis of an array can name what may run along it. A
#: product A[M, K] B[K, L] has its rows in ``N``, L in ``Cout`` and K in ``Cin``; what is neither
#: shared nor summed (groups, heads, batched products, channels of pooling) is ``G``.
LOOPS = {
    "N": "images, or rows of a product", "G": "groups, heads, separate products",
    "Cout": "output channels", "Cin": "input channels, or the summed axis of a product",
    "D": "output depth", "H": "output rows", "W": "output columns",
    "Kd": "kernel depth", "Kh": "kernel rows", "Kw": "kernel columns",
}  # fmt: skip


@dataclass(frozen=True, slots=True, kw_only=True)
class Index:
    """How one axis of a tensor follows loops.

    Attributes
    ----------
    size : elements along the axis
    terms : (loop, stride), at most two; none: the axis is touched whole
    offset : what the sum of terms starts from; minus the padding at the beginning
    """

    size: int
    terms: tuple[tuple[str, int], ...] = ()
    offset: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class NestTensor:
    """A tensor of the layer.

    Attributes
    ----------
    role : ``input``, ``weight`` or ``output``: which memories hold it
    """

    name: str
    role: str
    axes: tuple[Index, ...]

    @property
    def loops(self) -> frozenset[str]:
        """Loops that decide which elements are touched."""
        return frozenset(loop for axis in self.axes for loop, _ in axis.terms)


@dataclass(frozen=True, slots=True, kw_only=True)
class NestProblem:
    """A layer.

    Attributes
    ----------
    loops : (name, extent); every combination of indices is one operation of the array
    tensors : exactly one has the role ``output``
    times : how often the whole nest is run (equal sub-problems that share nothing)
    macs : whether an operation is a multiply-accumulate (else a step of a pass over data)
    """

    loops: tuple[tuple[str, int], ...]
    tensors: tuple[NestTensor, ...]
    times: int = 1
    macs: bool = True

    def __post_init__(self) -> None:
        extents = dict(self.loops)
        if len(extents) < len(self.loops) or any(extent < 1 for extent in extents.values()):
            raise SpecError("loop nest: loops", found=self.loops,
                            wanted="loops of different names, of 1 pass or more",
                            fix="correct the loops")  # fmt: skip
        if [tensor.role for tensor in self.tensors].count("output") != 1:
            raise SpecError("loop nest: tensors", found=", ".join(t.role for t in self.tensors),
                            wanted="one output", fix="make a nest for every result")  # fmt: skip
        for tensor in self.tensors:
            used = [loop for axis in tensor.axes for loop, _ in axis.terms]
            for loop in used:
                if loop not in extents:
                    raise UnknownNameError(f"loop that tensor {tensor.name} follows", loop, extents)
            if len(set(used)) < len(used):
                raise SpecError(f"loop nest: tensor {tensor.name}", found=", ".join(used),
                                wanted="every loop in one axis and term",
                                fix="a diagonal is an operand of its own: copy it out")  # fmt: skip
            for axis in tensor.axes:
                if len(axis.terms) > 2 or any(stride < 1 for _, stride in axis.terms):
                    raise SpecError(f"loop nest: tensor {tensor.name}", found=axis.terms,
                                    wanted="at most two loops an axis, with strides above 0",
                                    fix="turn the loop around, or split the axis")  # fmt: skip

    @property
    def operations(self) -> int:
        """Operations of one run, padding included."""
        return math.prod(extent for _, extent in self.loops)
