"""Cells of a library as Verilog modules, so that a netlist runs in any simulator."""

from __future__ import annotations

from collections.abc import Iterable

from orrery.errors import SpecError

from ._boolean import Expression, names_in, verilog
from ._library import Cell, Library


def cell_models(library: Library, names: Iterable[str]) -> str:
    """Return one Verilog module for each cell, written from its Liberty functions.

    Raises
    ------
    SpecError : a cell whose function or state this program does not read (a latch, a tri-state)
    """
    return "\n".join(_model(library.cells[name], library.name) for name in names)


def _model(cell: Cell, library: str) -> str:
    where = f"{library}: {cell.name}"
    if cell.other_state or any(pin.three_state for pin in cell.pins.values()):
        raise SpecError(
            where, found="a latch, a tri-state or a state table", wanted="a gate or a flip-flop",
            fix="mark the cell dont_use : true; circuits here have one clock and no latches",
        )  # fmt: skip
    flip_flop = cell.flip_flop
    state = set() if flip_flop is None else {flip_flop.state, flip_flop.inverse} - {""}
    ports = ", ".join(
        f"{'output' if pin.direction == 'output' else 'input'} {pin.name}"
        for pin in cell.pins.values()
        if pin.direction in {"input", "output"}
    )
    lines = [f"module {cell.name}({ports});"]
    known = set(cell.inputs) | state
    for name in cell.outputs:
        function = cell.pins[name].function
        if function is not None:
            _checked(function, known, where)
            lines.append(f"  assign {name} = {verilog(function)};")
    if flip_flop is not None:
        lines.append(f"  reg {flip_flop.state};")
        if flip_flop.inverse:
            lines.append(f"  wire {flip_flop.inverse} = ~{flip_flop.state};")
        edge = flip_flop.clocked_on
        inverted = edge[0] == "!"
        clock = edge[1] if inverted else edge
        if clock[0] != "name":
            raise SpecError(
                where, found=verilog(edge), wanted="a clock pin or its inverse",
                fix="mark the cell dont_use : true",
            )  # fmt: skip
        events = [f"{'negedge' if inverted else 'posedge'} {clock[1]}"]
        branches = ""
        for key, value in (("clear", "0"), ("preset", "1")):
            expression = getattr(flip_flop, key)
            if expression is not None:
                _checked(expression, known, where)
                # A pin or its inverse stays one, so that one tied off is seen to be so.
                falls = expression[0] == "!"
                pin = expression[1] if falls else expression
                if pin[0] != "name":
                    falls, pin = False, ("name", key)
                    lines.append(f"  wire {key} = {verilog(expression)};")
                events.append(f"{'negedge' if falls else 'posedge'} {pin[1]}")
                active = f"!{pin[1]}" if falls else pin[1]
                branches += f"if ({active}) {flip_flop.state} <= 1'b{value}; else "
        _checked(flip_flop.next_state, known, where)
        assign = f"{branches}{flip_flop.state} <= {verilog(flip_flop.next_state)};"
        lines.append(f"  always @({', '.join(events)}) {assign}")
    return "\n".join([*lines, "endmodule", ""])


def _checked(expression: Expression, known: set[str], where: str) -> None:
    unknown = [name for name in names_in(expression) if name not in known]
    if unknown:
        raise SpecError(
            where, found=f"a function of {unknown[0]!r}", wanted=f"one of {sorted(known)}",
            fix="correct the function in the Liberty file",
        )  # fmt: skip
