"""What is asked of a binary and what came of it, as plain data: the sandbox's two letters."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Literal

from orrery.errors import SpecError

Architecture = Literal["x86-64", "aarch64", "armv7", "thumb"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Limits:
    """What a foreign program may take before it is ended.

    Attributes
    ----------
    wall_s, processor_s : time from its start, and of all its threads together
    memory_bytes : address space beyond what the child had before the program was loaded
    files : how many it may have open
    """

    wall_s: float = 60.0
    processor_s: int = 60
    memory_bytes: int = 1 << 30
    files: int = 32

    def __post_init__(self) -> None:
        for name in ("wall_s", "processor_s", "memory_bytes", "files"):
            if not getattr(self, name) > 0:
                raise SpecError(f"sandbox: {name}", found=getattr(self, name),
                                wanted="a number above 0", fix="give one")  # fmt: skip


@dataclass(frozen=True, slots=True, kw_only=True)
class Pointer:
    """An address in a block; the block ``image`` is the binary, at its own addresses."""

    block: str
    offset: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class Block:
    """Memory that a probe brings along.

    Attributes
    ----------
    data : what it begins with; zeros after that
    pointers : (offset, where it points) of addresses that stand in it
    """

    name: str
    size_bytes: int
    data: bytes = field(default=b"", repr=False)
    pointers: tuple[tuple[int, Pointer], ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Call:
    """A function of the binary, by address or by linked name, with integers and pointers."""

    entry: int | str
    arguments: tuple[int | Pointer, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Piece:
    """A stretch of the binary as it lies in memory."""

    address: int
    data: bytes = field(repr=False)
    size_bytes: int
    writable: bool = False
    executable: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Native:
    """Load a shared object (or an executable that can move) and call functions of it.

    Attributes
    ----------
    file : the binary's bytes
    rounds : what blocks hold before the calls, one mapping each time the calls are made
    answers : blocks that are read after the calls
    """

    file: bytes = field(repr=False)
    calls: tuple[Call, ...]
    blocks: tuple[Block, ...]
    rounds: tuple[Mapping[str, bytes], ...] = field(repr=False)
    answers: tuple[str, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Watched:
    """Instructions whose stores are kept: what stands in memory after the last of each round.

    The answer of that name begins with how many bytes were stored to different addresses (64 bits),
    then come the bytes in order of their addresses, `size_bytes` of them at most.

    Attributes
    ----------
    instructions : their addresses
    """

    name: str
    instructions: tuple[int, ...]
    size_bytes: int

    @property
    def answer_bytes(self) -> int:
        return 8 + self.size_bytes


@dataclass(frozen=True, slots=True, kw_only=True)
class Emulated:
    """Call functions of any binary, of any known architecture, in an emulator.

    Attributes
    ----------
    pieces : the binary as it lies in memory, relocated
    imports : address that is called -> name of the library function that it stands for
    watched : stores that are answered as well, after `answers`; their names are none of these
    """

    architecture: Architecture
    pieces: tuple[Piece, ...]
    imports: Mapping[int, str]
    calls: tuple[Call, ...]
    blocks: tuple[Block, ...]
    rounds: tuple[Mapping[str, bytes], ...] = field(repr=False)
    answers: tuple[str, ...]
    watched: tuple[Watched, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class VirtualMachine:
    """Run a whole network through the runtime that its binary was made for.

    Attributes
    ----------
    runtime : ``tvm`` (a shared object) or ``iree`` (a module file)
    function : what is run, e.g. ``main``
    inputs : name, NumPy dtype and shape of each, in order
    rounds : one mapping input name -> bytes a round
    outputs_bytes : of each output, in order
    """

    runtime: Literal["tvm", "iree"]
    file: bytes = field(repr=False)
    function: str
    inputs: tuple[tuple[str, str, tuple[int, ...]], ...]
    rounds: tuple[Mapping[str, bytes], ...] = field(repr=False)
    outputs_bytes: tuple[int, ...]


Probe = Native | Emulated | VirtualMachine


@dataclass(frozen=True, slots=True, kw_only=True)
class Failure:
    """Why a probe did not come to its end.

    Attributes
    ----------
    kind : what it was: ``time`` ran out, ``memory`` did, a ``crash``, an act that is ``forbidden``,
        it could not be ``load``-ed, it ended itself (``exit``), or the ``sandbox`` could not start
    text : one sentence for people
    """

    kind: Literal["time", "memory", "crash", "forbidden", "load", "exit", "sandbox"]
    text: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Answer:
    """What a probe found.

    Attributes
    ----------
    rounds : answers by block, of the rounds that came to their end
    failure : why there are no more; None when all are here
    held_by : what confined it, and what this system refused, for people
    seconds, peak_bytes : what it took
    """

    rounds: tuple[Mapping[str, bytes], ...] = field(repr=False)
    failure: Failure | None
    held_by: tuple[str, ...]
    seconds: float
    peak_bytes: int
