"""What a netlist must keep to become a `Circuit`, and what a read beside a memory's rows gives.

The Verilog knows one clock edge and one kind of reset; a register of another kind would be written
as if it were of that one, so it is refused here, on the netlist itself.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence

from orrery.errors import SpecError

from ._netlist import Bit, Cell, Module, Switch, read_modules

#: Attribute of a memory whose author vouches that no address names a row it does not have.
INSIDE = "addresses_inside"
_CLOCK: Bit = ("\\clk", 0)
_CLOCKED = {"$dff": "Q", "$memrd_v2": "DATA", "$memwr_v2": "DATA"}
_TESTS = {"$print": "a print", "$check": "an assertion, an assumption or a cover point"}

_MEMORY = re.compile(
    r"(?P<said>(?:^  attribute .*\n)*)^  memory width \d+ size (?P<rows>\d+) \\(?P<name>\S+)$",
    re.MULTILINE,
)
_READ = re.compile(r"^  cell \$memrd_v2 \S+\n(?:    .*\n)+  end$", re.MULTILINE)
_LINE = re.compile(r"^    (?:parameter|connect) (?:signed )?\\(\S+) (.*)$", re.MULTILINE)


def check_rules(rtlil: str, top: str) -> None:
    """Refuse what has no form with one clock and one synchronous reset.

    Parameters
    ----------
    rtlil : of all modules
    top : name of the one that the circuit's clock enters

    Raises
    ------
    SpecError : a register of another clock, of the falling edge or with an asynchronous reset; the
        clock read as a value or gated; a print or an assertion
    """
    modules = {module.name: module for module in read_modules(rtlil)}
    clocks: dict[str, set[str]] = {name: set() for name in modules}
    if "\\clk" in modules[top].wires:
        clocks[top].add("\\clk")
    order = list(_outer_first(modules, top))
    needs = set[str]()
    for name in reversed(order):
        if any(_clock_of(cell, needs) is not None for cell in modules[name].cells):
            needs.add(name)
    for name in order:
        module = modules[name]
        for cell in module.cells:
            _check_cell(module, cell, needs)
            inner = cell.kind.removeprefix("\\")
            for port, bits in cell.ports.items():
                if any(isinstance(bit, tuple) and bit[0] in clocks[name] for bit in bits):
                    if cell.kind.startswith("\\"):
                        clocks[inner].add(f"\\{port}")
                    elif cell.kind not in _CLOCKED or port != "CLK":
                        raise _read_clock(name)
        for process in module.processes:
            if _reads_any(process.body, clocks[name]):
                raise _read_clock(name)
        outputs = {wire.name for wire in module.wires.values() if wire.direction == "output"}
        for left, bits in module.connects:
            if left in outputs and any(bit[0] in clocks[name] for bit in bits):
                raise _read_clock(name)


def _outer_first(modules: Mapping[str, Module], top: str) -> Sequence[str]:
    """Return every module of the design, each before those that stand in it."""
    order: dict[str, None] = {}

    def add(name: str) -> None:
        if name in order:
            return
        for cell in modules[name].instances:
            add(cell.kind.removeprefix("\\"))
        order[name] = None

    add(top)
    return list(reversed(order))


def _clock_of(cell: Cell, needs: set[str]) -> list[Bit] | None:
    """Return what drives the clock of a register, a memory port or an instance with such."""
    if cell.kind.startswith("\\"):
        return cell.ports.get("clk", []) if cell.kind.removeprefix("\\") in needs else None
    if cell.kind.startswith("$mem") and cell.parameters.get("CLK_ENABLE", "0") == "0":
        return None
    return cell.ports.get("CLK")


def _check_cell(module: Module, cell: Cell, needs: set[str]) -> None:
    if cell.kind in _TESTS:
        raise SpecError(
            f"module {module.name}", found=_TESTS[cell.kind],
            wanted="only what becomes hardware",
            fix="leave Print, Assert, Assume and Cover out; compare in a bench",
        )  # fmt: skip
    clock = _clock_of(cell, needs)
    where = _where(module, cell)
    stores = clock is not None or "latch" in cell.kind or cell.kind in {"$ff", "$sr"}
    if stores and cell.kind.startswith("$") and cell.kind not in _CLOCKED:
        reset = "ARST" in cell.ports
        raise SpecError(
            where,
            found="an asynchronous reset" if reset else f"a {cell.kind.removeprefix('$')}",
            wanted="registers with a synchronous reset or none",
            fix="leave async_reset out of the clock domain",
        )
    if clock is None:
        return
    entered = module.wires.get("\\clk")
    if clock != [_CLOCK] or entered is None or entered.direction != "input":
        raise SpecError(
            where, found="a clock of its own", wanted="clk, the clock of the circuit, ungated",
            fix="drive every register from m.d.sync, and give it an enable in place of a gate",
        )  # fmt: skip
    if cell.parameters.get("CLK_POLARITY", "1") != "1":
        raise SpecError(
            where, found="the falling edge of the clock", wanted="the rising edge",
            fix='leave clk_edge="neg" out of the clock domain',
        )  # fmt: skip


def _where(module: Module, cell: Cell) -> str:
    if cell.kind.startswith("\\"):
        return f"module {module.name}: instance {cell.name.removeprefix(chr(92))}"
    bits = cell.ports.get(_CLOCKED.get(cell.kind, "Q"), [])
    name = str(bits[0][0]).removeprefix("\\") if bits and isinstance(bits[0], tuple) else ""
    if cell.kind.startswith("$mem"):
        memory = cell.parameters["MEMID"].removeprefix("\\").partition("$")[0]
        return f"module {module.name}: memory {memory}"
    return f"module {module.name}: register {name}".rstrip()


def _reads_any(body: Sequence[object], names: set[str]) -> bool:
    for item in body:
        bits: list[Bit] = item.on if isinstance(item, Switch) else getattr(item, "right", [])
        if any(isinstance(bit, tuple) and bit[0] in names for bit in bits):
            return True
        if isinstance(item, Switch) and any(_reads_any(inner, names) for _, inner in item.cases):
            return True
    return False


def _read_clock(module: str) -> SpecError:
    return SpecError(
        f"module {module}", found="the clock read as a value",
        wanted="a clock that goes to registers alone",
        fix="use an enable, or a register that toggles",
    )  # fmt: skip


def guard_memories(rtlil: str) -> str:
    """Return RTLIL in which a read of a row that a memory does not have gives 0.

    Else engines differ there: one stops the process, one gives 0, a netlist any row. A write there
    does nothing on all of them. A memory whose rows fill its addresses is left as it is, and one
    with the attribute `INSIDE`.
    """
    parts = re.split(r"(?m)^(?=module )", rtlil)
    return "".join(_guarded(part) for part in parts)


def _guarded(module: str) -> str:
    depths = {
        found["name"]: int(found["rows"])
        for found in _MEMORY.finditer(module)
        if f"attribute \\{INSIDE} " not in found["said"]
    }
    if not depths:
        return module
    number = 0

    def guard(found: re.Match[str]) -> str:
        nonlocal number
        text = found[0]
        said = dict(_LINE.findall(text))
        memory = said["MEMID"].strip('"').replace("\\\\", "\\").removeprefix("\\")
        rows, bits, width = depths.get(memory, 0), int(said["ABITS"]), int(said["WIDTH"])
        if not rows or rows >= 1 << bits:
            return text
        number += 1
        word, there = f"$word_read_{number}", f"\\{memory.partition('$')[0]}_has_row${number}"
        made = [
            f"  wire width {width} {word}", "",
            f"  wire width 1 {there}", "",
            text.replace(f"connect \\DATA {said['DATA']}\n", f"connect \\DATA {word}\n"), "",
            f"  cell $lt $has_row_{number}", *_signs(bits, bits, 1),
            f"    connect \\A {said['ADDR']}", f"    connect \\B {bits}'{rows:0{bits}b}",
            f"    connect \\Y {there}", "  end", "",
        ]  # fmt: skip
        if said["CLK_ENABLE"] == "1":
            held = f"\\{memory.partition('$')[0]}_had_row${number}"
            after = f"$had_row_next_{number}"
            made = [
                "  attribute \\init 1'1", f"  wire width 1 {held}", "",
                f"  wire width 1 {after}", "", *made,
                *_mux(f"$had_row_choice_{number}", 1, held, there, said["EN"], after),
                f"  cell $dff $had_row_{number}", "    parameter \\WIDTH 1",
                "    parameter \\CLK_POLARITY 1", f"    connect \\D {after}",
                f"    connect \\CLK {said['CLK']}", f"    connect \\Q {held}", "  end", "",
            ]  # fmt: skip
            there = held
        zero = f"{width}'{'0' * width}"
        made += _mux(f"$read_choice_{number}", width, zero, word, there, said["DATA"])
        return "\n".join(made).rstrip("\n")

    return _READ.sub(guard, module)


def _signs(a: int, b: int, y: int) -> list[str]:
    return [
        "    parameter \\A_SIGNED 0", "    parameter \\B_SIGNED 0", f"    parameter \\A_WIDTH {a}",
        f"    parameter \\B_WIDTH {b}", f"    parameter \\Y_WIDTH {y}",
    ]  # fmt: skip


def _mux(name: str, width: int, no: str, yes: str, on: str, to: str) -> list[str]:
    return [
        f"  cell $mux {name}", f"    parameter \\WIDTH {width}", f"    connect \\A {no}",
        f"    connect \\B {yes}", f"    connect \\S {on}", f"    connect \\Y {to}", "  end", "",
    ]  # fmt: skip
