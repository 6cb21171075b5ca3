"""A cell library as records: what was read from a Liberty file."""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from ._boolean import Expression, names_in, truth_table

_LOADS = {"total_output_net_capacitance", "constrained_pin_transition"}
_SLEWS = {
    "input_net_transition", "input_transition_time", "related_pin_transition",
}  # fmt: skip


@dataclass(frozen=True, slots=True, kw_only=True)
class Table:
    """Values over the slope at the input (rows) and the load at the output (columns).

    Between and beyond the indices the value is linear, as static timing analysers have it.
    """

    slews: tuple[float, ...]
    loads: tuple[float, ...]
    values: tuple[tuple[float, ...], ...]

    @classmethod
    def linear(cls, intrinsic: float, per_load: float) -> Table:
        """Return the table of ``intrinsic + per_load * load``."""
        return cls(slews=(0.0,), loads=(0.0, 1.0), values=((intrinsic, intrinsic + per_load),))

    @classmethod
    def shaped(
        cls, axes: Sequence[tuple[str, tuple[float, ...]]], values: Sequence[float]
    ) -> Table | None:
        """Return the table of these axes, first slowest; None where the counts do not fit."""
        slews = next((index for kind, index in axes if kind in _SLEWS), (0.0,))
        loads = next((index for kind, index in axes if kind in _LOADS), (0.0,))
        used = [kind for kind, _ in axes if kind in _SLEWS | _LOADS]
        rows, columns = len(slews), len(loads)
        if len(axes) != len(used) or rows * columns != len(values):
            return None
        swapped = len(used) == 2 and used[0] in _LOADS
        table = tuple(
            tuple(values[j * rows + i if swapped else i * columns + j] for j in range(columns))
            for i in range(rows)
        )
        return cls(slews=slews, loads=loads, values=table)

    def at(self, slew: float, load: float) -> float:
        """Return the value at this slope and load, in the units of the table."""
        i, u = _place(self.slews, slew)
        j, v = _place(self.loads, load)
        low, high = self.values[i], self.values[min(i + 1, len(self.slews) - 1)]
        k = min(j + 1, len(self.loads) - 1)
        below = low[j] + v * (low[k] - low[j])
        return below + u * (high[j] + v * (high[k] - high[j]) - below)


def _place(index: tuple[float, ...], value: float) -> tuple[int, float]:
    """Return the segment and the place in it, outside 0…1 beyond the ends."""
    if len(index) == 1:
        return 0, 0.0
    at = min(max(bisect_right(index, value) - 1, 0), len(index) - 2)
    return at, (value - index[at]) / (index[at + 1] - index[at])


@dataclass(frozen=True, slots=True, kw_only=True)
class Arc:
    """Delay from a pin to an output; `clocked` from the active edge of a flip-flop."""

    related: str
    clocked: bool
    sense: str
    rise: Table | None
    fall: Table | None
    rise_slew: Table | None
    fall_slew: Table | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Setup:
    """How long before the clock `related` a pin must stand."""

    related: str
    rise: Table | None
    fall: Table | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Pin:
    """A pin; capacitance in the library's unit."""

    name: str
    direction: str
    capacitance: float
    function: Expression | None
    clock: bool = False
    arcs: tuple[Arc, ...] = ()
    setups: tuple[Setup, ...] = ()
    three_state: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class FlipFlop:
    """The ``ff`` group of a cell."""

    state: str
    inverse: str
    clocked_on: Expression
    next_state: Expression
    clear: Expression | None = None
    preset: Expression | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Cell:
    """A cell; `other_state` says that it is a latch or holds state in a way not read here."""

    name: str
    area: float
    pins: Mapping[str, Pin]
    flip_flop: FlipFlop | None = None
    other_state: bool = False
    dont_use: bool = False

    @property
    def inputs(self) -> tuple[str, ...]:
        """Names of the input pins."""
        return tuple(pin.name for pin in self.pins.values() if pin.direction == "input")

    @property
    def outputs(self) -> tuple[str, ...]:
        """Names of the output pins that have a function."""
        return tuple(
            pin.name for pin in self.pins.values()
            if pin.direction == "output" and pin.function is not None
        )  # fmt: skip

    @property
    def combinational(self) -> bool:
        """Whether it holds no state and drives every output always."""
        return (
            self.flip_flop is None and not self.other_state
            and not any(pin.three_state for pin in self.pins.values())
        )  # fmt: skip

    def computes(self, table: tuple[int, ...]) -> bool:
        """Whether it has one output with this truth table over all its inputs, in any order."""
        if not self.combinational or len(self.outputs) != 1:
            return False
        function = self.pins[self.outputs[0]].function
        inputs = self.inputs
        if function is None or 2 ** len(inputs) != len(table):
            return False
        return set(names_in(function)) <= set(inputs) and truth_table(function, inputs) == table


@dataclass(frozen=True, slots=True, kw_only=True)
class Library:
    """A cell library.

    Attributes
    ----------
    time_unit_s, capacitance_unit_f : of the tables and pins
    area_unit : as the file says it; Liberty has no standard place for it
    content : hash of the text
    text : the file
    """

    name: str
    cells: Mapping[str, Cell] = field(repr=False)
    time_unit_s: float
    capacitance_unit_f: float
    area_unit: str
    content: str
    text: str = field(repr=False)

    def smallest(self, table: tuple[int, ...]) -> Cell | None:
        """Return the smallest usable cell of this truth table."""
        found = [c for c in self.cells.values() if not c.dont_use and c.computes(table)]
        return min(found, key=lambda cell: (cell.area, cell.name), default=None)

    @property
    def nand2(self) -> Cell | None:
        """The smallest two-input NAND, the unit in which circuits are compared."""
        return self.smallest((1, 1, 1, 0))

    @property
    def buffer(self) -> Cell | None:
        """The smallest buffer."""
        return self.smallest((0, 1))
