"""One saved storage on its way: in memory, being written, in a file, being read, here again."""

from __future__ import annotations

import weakref
from typing import NamedTuple, Protocol

from ._blocks import BlockLabel, Bytes
from ._folders import Slot


class Journey(NamedTuple):
    """One tensor's way to the files or back: seconds at which it began and ended."""

    name: str
    write: bool
    begin_s: float
    end_s: float


class Source(Protocol):
    """Memory that a saved tensor still lives in."""

    def data(self) -> Bytes:
        """Return its bytes, not a copy."""
        ...

    def let_go(self) -> None:
        """Hold the bytes no more."""
        ...


class Parcel:
    """One storage at one version; every token that autograd holds for it holds this object.

    When the last token is gone nothing holds the parcel, and so nothing its slots and memory.

    Attributes
    ----------
    number : never used twice in a session
    name : for messages
    size_bytes : of the storage
    element_bytes : of what may be packed; 0 where it may not
    source : where its bytes are while they are still, or for good, in memory
    blocks : where each block lies, once it was written
    stays : it will not be written (any more) and is used from `source`
    here, root : its bytes as read back, and the tensor over them
    target, trip : where a read under way puts them, and how far it is
    phase : of its address, past a multiple of `EDGE_BYTES`, when blocks were written from where it
        lay; 0 where none was. Memory that they are read to begins with the same
    there : on a device, what tells when `root` may be used
    generation : how often it has been read back
    write_error, read_error : what ended the last transfer
    """

    __slots__ = (
        "__weakref__", "blocks", "element_bytes", "generation", "here", "name", "number", "phase",
        "read_error", "root", "size_bytes", "source", "stays", "target", "there", "tokens", "trip",
        "write_error",
    )  # fmt: skip

    def __init__(
        self, number: int, name: str, size_bytes: int, element_bytes: int, source: Source
    ) -> None:
        self.number, self.name, self.size_bytes = number, name, size_bytes
        self.element_bytes = element_bytes
        self.source: Source | None = source
        self.blocks: list[tuple[Slot, BlockLabel] | None] = []
        self.stays = False
        self.here: Bytes | None = None
        self.target: Bytes | None = None
        self.trip: object = None
        self.root: object = None
        self.there: object = None
        self.generation = self.phase = 0
        self.write_error: BaseException | None = None
        self.read_error: BaseException | None = None
        self.tokens: list[weakref.ref[object]] = []

    @property
    def travelled_bytes(self) -> int:
        """Bytes written for it, headers and padding counted."""
        found = (block[1] for block in self.blocks if block is not None)
        return sum(label.file_bytes for label in found)

    @property
    def is_packed(self) -> bool:
        """Whether any of its blocks was packed."""
        return any(block is not None and block[1].element_bytes for block in self.blocks)
