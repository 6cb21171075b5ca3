"""What a container says of a network: buffers, and kernels called on them in order.

Models:  straight-line execution: one pass of the network with every pointer known.
Ignores: what a kernel does; only its place is given here.
Judge:   the frameworks' own listings; outputs of networks that are recovered through it.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from ..forms import Buffer

#: Numbers of kernels that a device has itself: fill (of one place; constants: the pattern, its
#: bytes and the place's) and copy (from the first place to the second; constants: how many bytes).
FILL, COPY = -1, -2

#: Part and number of a kernel, numbers handed over besides, workgroups.
CallKey = tuple[int, int, tuple[int, ...], tuple[int, int, int] | None]


@dataclass(frozen=True, slots=True, kw_only=True)
class Kernel:
    """Machine code that is called.

    Attributes
    ----------
    name : as linked, or empty; a hint
    number : in the container's own table, which stays when names are gone
    part : which of the container's executables holds it
    address : of its first instruction, where the calls themselves were machine code; else None
    """

    name: str
    number: int
    part: int = 0
    address: int | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Place:
    """Part of a buffer that a kernel is given.

    Attributes
    ----------
    size_bytes : None where nothing says it
    shape, dtype : as declared, where they are
    """

    buffer: str
    offset: int = 0
    size_bytes: int | None = None
    shape: tuple[int, ...] | None = None
    dtype: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class KernelCall:
    """One call.

    Attributes
    ----------
    arguments : in order; numbers as numbers
    constants : numbers handed over besides (push constants)
    workgroups : how many instances run, along x, y and z; None where a call is just a call
    """

    kernel: Kernel
    arguments: tuple[Place | int, ...]
    constants: tuple[int, ...] = ()
    workgroups: tuple[int, int, int] | None = None

    @property
    def key(self) -> CallKey:
        """What two calls have in common that mean the same code with the same numbers in it."""
        return self.kernel.part, self.kernel.number, self.constants, self.workgroups


@dataclass(frozen=True, slots=True, kw_only=True)
class Sequence:
    """One pass of a network.

    Attributes
    ----------
    entry : name of the function that was followed
    doubts : what of the pass is not sure to be so: branches that values decide, unknown calls
    """

    entry: str
    buffers: Mapping[str, Buffer]
    calls: tuple[KernelCall, ...]
    inputs: tuple[str, ...]
    outputs: tuple[str, ...]
    notes: tuple[str, ...] = ()
    doubts: tuple[str, ...] = ()
    kernels: Mapping[int, Kernel] = field(default_factory=dict)
