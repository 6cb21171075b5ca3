"""Reading a serialised program that nobody has vouched for: lengths are held against the end."""

from __future__ import annotations

import struct

from orrery.errors import OrreryError


class ContainerError(OrreryError, ValueError):
    """A serialised program that contradicts itself or ends early."""

    def __init__(self, where: str, *, found: object, wanted: str, fix: str) -> None:
        self.where, self.found, self.wanted, self.fix = where, found, wanted, fix
        super().__init__(f"{where}: found {found}, wanted {wanted}; {fix}")


class Stream:
    """Little-endian fields one after the other.

    Parameters
    ----------
    data : all bytes
    at : where the first field stands
    where : what is read, for errors
    """

    def __init__(self, data: bytes, at: int, where: str) -> None:
        self.data, self.at, self.where = data, at, where

    def error(self, found: object, wanted: str = "a sound program") -> ContainerError:
        return ContainerError(f"{self.where} at {self.at:#x}", found=found, wanted=wanted,
                              fix="give the whole file")  # fmt: skip

    def take(self, size: int) -> bytes:
        """Return the next bytes.

        Raises
        ------
        ContainerError : there are not so many
        """
        if size < 0 or self.at + size > len(self.data):
            raise self.error(f"{size} more bytes, beyond the end")
        found = self.data[self.at : self.at + size]
        self.at += size
        return found

    def _number(self, layout: str) -> int:
        value: int = struct.unpack(layout, self.take(struct.calcsize(layout)))[0]
        return value

    def u8(self) -> int:
        return self._number("<B")

    def u16(self) -> int:
        return self._number("<H")

    def u32(self) -> int:
        return self._number("<I")

    def i32(self) -> int:
        return self._number("<i")

    def u64(self) -> int:
        return self._number("<Q")

    def i64(self) -> int:
        return self._number("<q")

    def count(self, size: int) -> int:
        """Return how many rows of at least `size` bytes follow; more than fit is an error."""
        found = self.u64()
        if found * size > len(self.data) - self.at:
            raise self.error(f"a list of {found}, beyond the end")
        return found

    def text(self) -> str:
        return self.take(self.count(1)).decode("utf-8", "replace")

    def numbers(self) -> tuple[int, ...]:
        """Return a list of 64-bit numbers."""
        return struct.unpack(f"<{(n := self.count(8))}q", self.take(8 * n))
