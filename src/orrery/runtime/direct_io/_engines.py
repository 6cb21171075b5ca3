"""Which way requests are made: what was asked for or an error, else the best there is."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal, TypeAlias

from orrery.errors import SpecError

from ._calls import CallChannel
from ._request import Channel
from ._rings import RingChannel, why_no_ring

EngineName: TypeAlias = Literal["io_uring", "threads"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Engine:
    """A way to make requests.

    Attributes
    ----------
    name : of the way
    channels : how many there are, each used by a thread of its own
    depth : of each channel, how many requests it has under way at most
    make : returns a channel
    remark : why it is not the one that was hoped for
    """

    name: EngineName
    channels: int
    depth: int
    make: Callable[[], Channel]
    remark: str | None = None

    @property
    def label(self) -> str:
        """For people, e.g. ``io_uring, 8 requests at once``."""
        if self.name == "io_uring":
            return f"io_uring, {self.channels * self.depth} requests at once"
        return f"{self.channels} threads, pwritev and preadv"


def open_engine(name: EngineName | None, threads: int) -> Engine:
    """Return the engine of this name; None: io_uring where this process may use it, else threads.

    Parameters
    ----------
    threads : that plain calls come from; io_uring has twice as many requests under way

    Raises
    ------
    SpecError : io_uring was asked for, and this process may not use it; an unknown name
    """
    if name not in (None, "io_uring", "threads"):
        raise SpecError("offload settings: engine", found=repr(name),
                        wanted="'io_uring', 'threads' or None", fix="choose one")  # fmt: skip
    remark = None
    if name != "threads":
        why = why_no_ring()
        if why is None:
            depth = 2 * threads
            return Engine(name="io_uring", channels=1, depth=depth,
                          make=lambda: RingChannel(depth))  # fmt: skip
        if name == "io_uring":
            raise SpecError("offload settings: engine", found=f"no io_uring here: {why}",
                            wanted="a system that allows it",
                            fix="allow it, or let engine be None or 'threads'")  # fmt: skip
        remark = f"requests come from threads: no io_uring here ({why})"
    return Engine(name="threads", channels=threads, depth=1, make=CallChannel, remark=remark)
