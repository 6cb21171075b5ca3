"""A circuit as a record: what goes in and out, when, and the text that says how."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Literal

from orrery.errors import check_choice


@dataclass(frozen=True, slots=True, kw_only=True)
class Port:
    """One port of a module; `meaning` is what the header and the README say of it."""

    name: str
    direction: Literal["in", "out"]
    width: int  #: bits
    signed: bool = False
    meaning: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Stream:
    """Ports that move one item in each cycle in which valid and ready are both 1.

    Attributes
    ----------
    name : of the stream; its ports are ``{name}__payload…``, ``{name}__valid``, ``{name}__ready``
    direction : as seen by the circuit: an "in" stream has valid and payload as inputs
    payload : names of the payload's ports, in the order in which a bench packs them
    """

    name: str
    direction: Literal["in", "out"]
    payload: tuple[str, ...]

    @property
    def valid(self) -> str:
        """Name of the port that says that an item is offered."""
        return f"{self.name}__valid"

    @property
    def ready(self) -> str:
        """Name of the port that says that an offered item is taken."""
        return f"{self.name}__ready"


@dataclass(frozen=True, slots=True, kw_only=True)
class Timing:
    """When results come, in clock cycles.

    Attributes
    ----------
    latency : from an item taken to its result offered; None where it depends on the data
    interval : from one item taken to the next, never stalled; None where it depends on the data
    rule : the same in a sentence, with the exact rule where it depends on the data
    """

    latency: int | None
    interval: int | None
    rule: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Finding:
    """What a lint tool complains of: its rule, the line of the Verilog, the sentence."""

    tool: str
    rule: str
    line: int
    message: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Circuit:
    """A synchronous circuit with one clock and one synchronous, active-high reset.

    Attributes
    ----------
    name : the top module
    parameters : what it was generated with, every one written out
    ports : of the top module without clock and reset, in the order of the Verilog
    streams : the ports that form handshakes; the rest are plain
    timing : when results come
    summary : what it does, one paragraph, for the header and the README
    verilog : every module once, small named modules first used last, with a header
    rtlil : the same design for engines and synthesis
    modules : module name -> how often it stands in the design, the top 1
    clock, reset : names of these ports; both empty for a combinational circuit
    """

    name: str
    parameters: Mapping[str, int | str | bool]
    ports: tuple[Port, ...]
    streams: tuple[Stream, ...]
    timing: Timing
    summary: str
    verilog: str = field(repr=False)
    rtlil: str = field(repr=False)
    modules: Mapping[str, int] = field(default_factory=dict)
    clock: str = "clk"
    reset: str = "rst"

    @property
    def combinational(self) -> bool:
        """Whether it has no clock."""
        return not self.clock

    def port(self, name: str) -> Port:
        """Return the port of this name.

        Raises
        ------
        SpecError : it has no such port; the nearest is named
        """
        named = {port.name: port for port in self.ports}
        return named[check_choice(f"circuit {self.name}: port", name, named)]

    def stream(self, name: str) -> Stream:
        """Return the stream of this name.

        Raises
        ------
        SpecError : it has no such stream; the nearest is named
        """
        named = {stream.name: stream for stream in self.streams}
        return named[check_choice(f"circuit {self.name}: stream", name, named)]
