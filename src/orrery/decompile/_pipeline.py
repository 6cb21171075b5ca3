"""From a file to a network: the stages in their order, run in a process of their own.

Models:  the method: open, look for a framework's container, find functions, read them, match.
Judge:   networks compiled by several compilers for several machines (tests/decompile).
"""

from __future__ import annotations

from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path

from orrery.errors import MissingExtraError, OrreryError
from orrery.progress import SILENT, Progress

from ._frame import Stage, StageReport
from ._limits import RecoverLimits
from ._network import (
    Leaks,
    Network,
    Verdict,
    list_leaks,
    make_network,
    pack,
    unpack,
)
from ._opening import Container, Opened, Request, contain, open_binary
from ._reading import AllFunctions, Lifted, list_functions, read_functions
from ._recovery import Recovery
from ._worker import run_in_child

STAGES = (
    Stage(name="binary", summary="the file as it lies in memory", needs=(Request,),
          gives=Opened, run=open_binary),
    Stage(name="container", summary="the network's calls, where a framework wrote them down",
          needs=(Request, Opened), gives=Container, run=contain),
    Stage(name="leaks", summary="what the file gives away unread",
          needs=(Request, Opened, Container), gives=Leaks, run=list_leaks),
    Stage(name="functions", summary="where functions begin, and which compute with floats",
          needs=(Request, Opened, Container), gives=AllFunctions, run=list_functions),
    Stage(name="reading", summary="functions as loops and stores",
          needs=(Request, Opened, Container, AllFunctions), gives=Lifted, run=read_functions),
    Stage(name="matching", summary="loops and stores as operators of a network",
          needs=(Request, Opened, Container, Leaks, AllFunctions, Lifted), gives=Network,
          run=make_network),
)  # fmt: skip


class BinaryError(OrreryError, ValueError):
    """A file that cannot be read as a binary at all; says what it is."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Recovered:
    """What came of a binary.

    Attributes
    ----------
    network : None where nothing was finished that is worth keeping
    stages : how each went, with seconds and memory
    problem : what ended it early; empty where nothing did
    """

    network: Network | None
    stages: tuple[StageReport, ...]
    problem: str = ""

    @property
    def verdict(self) -> Verdict:
        if self.network is None:
            return "none"
        if self.problem and self.network.verdict == "whole":
            return "partial"
        return self.network.verdict

    @property
    def recovery(self) -> Recovery | None:
        return None if self.network is None else self.network.recovery


def recover_binary(
    path: str | Path,
    *,
    companion: str | Path | None = None,
    base: int | None = None,
    architecture: str | None = None,
    entry: int | str | None = None,
    leaks: bool = False,
    limits: RecoverLimits | None = None,
    progress: Progress = SILENT,
) -> Recovered:
    """Return the network inside a binary, which is read and never executed.

    Parameters
    ----------
    companion : a file with the weights, where they are not in the binary
    base, architecture : of bare firmware: address of its first byte, processor
    entry : address or name of the function that computes the network; None to look for it
    leaks : also list what the file gives away unread

    Raises
    ------
    BinaryError : the file is none that can be read, or has no such entry; says what it is and what
        to do
    MissingExtraError : what reads machine code is not installed
    CancelledError : the user asked to stop
    """
    for package in ("pyvex", "capstone"):
        if find_spec(package) is None:
            raise MissingExtraError(package, "decompile", purpose="reading machine code")
    limits = limits or RecoverLimits()
    request = Request(
        path=Path(path), companion=None if companion is None else Path(companion), base=base,
        architecture=architecture, entry=entry, function_s=limits.function_s,
        lifting_s=limits.time_s / 2, leaks=leaks,
    )  # fmt: skip
    ended = run_in_child(STAGES, [request], pack=pack, limits=limits, progress=progress)
    network = None if ended.kept is None else unpack(ended.kept)
    early = [one for one in ended.reports if one.status in ("failed", "stopped")]
    problem = ended.error or (f"stage {early[0].name}: {early[0].detail}" if early else "")
    found = next(one for one in ended.reports if one.name == "functions")
    if ended.error and ended.kept is None and found.status != "done":
        raise BinaryError(ended.error)
    return Recovered(network=network, stages=ended.reports, problem=problem)
