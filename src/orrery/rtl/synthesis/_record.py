"""What synthesis found, as records."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from .._circuit import Circuit


@dataclass(frozen=True, slots=True, kw_only=True)
class Macro:
    """A module that is a block of known area, e.g. an SRAM: not synthesised into the sum.

    Attributes
    ----------
    area : of one instance, in the unit of the library
    source : where the number comes from; it stands in the notes of the result
    """

    area: float
    source: str


@dataclass(frozen=True, slots=True, kw_only=True)
class ModuleArea:
    """Area of one module of the hierarchy.

    Attributes
    ----------
    name : of the module
    instances : how often it stands in the design
    area : of one instance without the modules in it
    total : of one instance with the modules in it
    sequential : of the flip-flops of one instance, without the modules in it
    cells : cell -> how often, in one instance without the modules in it
    macro : whether `area` was declared
    """

    name: str
    instances: int
    area: float
    total: float
    sequential: float
    cells: Mapping[str, int] = field(repr=False)
    macro: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Step:
    """One cell of a path: from `pin` to `output`, its delay and the time since the start."""

    instance: str
    cell: str
    pin: str
    output: str
    rising: bool
    fanout: int
    delay_s: float
    arrival_s: float


@dataclass(frozen=True, slots=True, kw_only=True)
class TimingPath:
    """The longest path of one kind, e.g. from a flip-flop to a flip-flop.

    Attributes
    ----------
    kind : "register to register", "input to register", "register to output", "input to output"
    start, end : port[bit], or register[bit], at the end with the pin of its flip-flop
    delay_s : the whole, the flip-flop's own delay and setup included
    setup_s : within it, 0 where the path ends at an output
    steps : the cells, in order
    buffered : nets on it that are taken to have a tree of buffers
    """

    kind: str
    start: str
    end: str
    delay_s: float
    setup_s: float
    steps: tuple[Step, ...] = field(repr=False)
    buffered: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class MemoryUse:
    """A memory that became flip-flops, or logic where nothing writes it."""

    name: str
    words: int
    width: int
    written: bool
    first_values: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class Verified:
    """What a netlist was compared on.

    Attributes
    ----------
    stimuli : their names
    compared : rows in all
    exhaustive : whether every input there is was among them
    unreset : outputs that still depend on what flip-flops held before the reset: on first values
        that an FPGA has and a chip has not; payloads count only where their stream offers an item
    """

    stimuli: tuple[str, ...]
    compared: int
    exhaustive: bool
    unreset: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Synthesis:
    """A circuit as cells of a library.

    Attributes
    ----------
    circuit : name of what was synthesised
    area : of all cells and macros, in `area_unit`; no wires, no unused space
    nand2_equivalents : `area` in units of the library's smallest two-input NAND
    sequential : area of the flip-flops
    cells : cell -> how often in the whole design
    modules : area by module of the hierarchy, the top first; their boundaries were kept, so that
        their sum, the top's `total`, differs from `area` where that is of the flattened circuit
    paths : the longest path of each kind, slowest first; empty where the library has no delays
    memories : what became flip-flops
    flattened, booth : the setting
    tool, script, library : what made it: version, hash of the passes, name and hash of the Liberty
    netlist : runs in the same engines as the circuit
    verified : what the netlist was compared on
    notes : what to know before comparing the numbers
    """

    circuit: str
    area: float
    area_unit: str
    nand2_equivalents: float
    sequential: float
    cells: Mapping[str, int] = field(repr=False)
    modules: tuple[ModuleArea, ...] = field(repr=False)
    paths: tuple[TimingPath, ...] = field(repr=False)
    memories: tuple[MemoryUse, ...]
    flattened: bool
    booth: bool
    tool: str
    script: str
    library: str
    netlist: Circuit = field(repr=False)
    verified: Verified
    notes: tuple[str, ...] = field(repr=False)

    @property
    def sequential_share(self) -> float:
        """Share of the area that is flip-flops; 0 for a circuit without area."""
        return self.sequential / self.area if self.area else 0.0

    @property
    def longest(self) -> TimingPath | None:
        """The slowest path, or None where the library has no delays or there is no path."""
        return self.paths[0] if self.paths else None

    @property
    def clock_hz(self) -> float | None:
        """The clock that the path from flip-flop to flip-flop would bear, wires left out."""
        found = [p.delay_s for p in self.paths if p.kind == "register to register"]
        return 1 / max(found) if found and max(found) > 0 else None

    def module(self, name: str) -> ModuleArea:
        """Return a module's area.

        Raises
        ------
        KeyError : the hierarchy has no such module
        """
        return next(m for m in self.modules if m.name == name)


@dataclass(frozen=True, slots=True, kw_only=True)
class Resources:
    """What a circuit takes of an FPGA.

    Attributes
    ----------
    family : as Yosys names it
    lut : look-up tables that compute; those of different sizes count alike
    lut_memory : look-up tables that store (distributed memory, shift registers)
    flip_flop, dsp, carry : cells of these kinds
    bram : block memories, of the size the notes say
    cells : primitive -> how often
    tool, script : what made it
    verified : what the netlist was simulated on; None where a primitive has no model to simulate
    notes : what was checked and what was not
    """

    family: str
    lut: int
    lut_memory: int
    flip_flop: int
    dsp: int
    bram: float
    carry: int
    cells: Mapping[str, int] = field(repr=False)
    tool: str
    script: str
    verified: Verified | None
    notes: tuple[str, ...] = field(repr=False)
