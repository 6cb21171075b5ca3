"""A routine run on memory: what its expressions mean, number by number.

Models:  every operator in single and double precision, rounded to nearest, in the order written;
         a reduction whose body is again one of the same kind and starts at the number that changes
         nothing runs on in the same accumulator. A choice reads only what it takes.
Ignores: speed: a few million operations a second at most, for small sizes only.
Judge:   native functions on the same memory (tests/decompile/lifting).
"""

from __future__ import annotations

import math
import struct
from bisect import bisect_right
from collections.abc import Callable, Mapping, Sequence

import numpy as np

from orrery.errors import SpecError

from ._expressions import Constant, Index, Linear, Load, Operation, Reduction, Symbol, Value
from ._routine import Call, Loop, Routine, Store

_FLOATS = {"fadd": "+", "fsub": "-", "fmul": "*", "fdiv": "/"}
_COMPARED = {"flt": "<", "fle": "<=", "feq": "=="}
_EXTREMES = {
    "max_x86": "({0} if {0} > {1} else {1})", "min_x86": "({0} if {0} < {1} else {1})",
    "fmax": "fmax({0}, {1})", "fmin": "fmin({0}, {1})",
    "fmaximum": "fmaximum({0}, {1})", "fminimum": "-fmaximum(-{0}, -{1})",
}  # fmt: skip
_NEUTRAL = {("fadd", 32): 1 << 31, ("fadd", 64): 1 << 63}


class Memory:
    """Bytes at addresses."""

    def __init__(self, regions: Mapping[int, bytearray | bytes]) -> None:
        self.starts = sorted(regions)
        self.regions = [regions[s] for s in self.starts]

    def place(self, address: int, size: int) -> tuple[bytearray | bytes, int]:
        """Return (region, offset) of an address.

        Raises
        ------
        IndexError
            If no region holds it.
        """
        number = bisect_right(self.starts, address) - 1
        if number >= 0:
            offset = address - self.starts[number]
            if offset + size <= len(self.regions[number]):
                return self.regions[number], offset
        raise IndexError(f"no memory of {size} bytes at 0x{address:x}")

    def integer(self, address: int, size: int) -> int:
        """Return bytes as a number without sign."""
        region, offset = self.place(address, size)
        return int.from_bytes(region[offset : offset + size], "little")

    def single(self, address: int) -> np.float32:
        """Return four bytes as a float."""
        region, offset = self.place(address, 4)
        return np.float32(_SINGLE.unpack_from(region, offset)[0])

    def double(self, address: int) -> np.float64:
        """Return eight bytes as a float."""
        region, offset = self.place(address, 8)
        return np.float64(_DOUBLE.unpack_from(region, offset)[0])

    def write(self, address: int, bits: int, size: int) -> None:
        """Write a number."""
        region, offset = self.place(address, size)
        if isinstance(region, bytes):
            raise IndexError(f"constant memory written at 0x{address:x}")
        region[offset : offset + size] = bits.to_bytes(size, "little")


_SINGLE, _DOUBLE = struct.Struct("<f"), struct.Struct("<d")


def evaluate(
    routine: Routine,
    memory: Memory,
    arguments: Mapping[Symbol, int],
    *,
    functions: Mapping[str, Callable[..., float]] | None = None,
    routines: Mapping[int, Routine] | None = None,
) -> None:
    """Run a routine's steps on memory, which they change.

    Parameters
    ----------
    arguments : what each symbol of the routine is: an address, a number, or a float's bits
    functions : mathematical functions by name (``expf``); Python's own where not given
    routines : the functions that it calls, by address

    Raises
    ------
    SpecError
        If a step uses something that nothing defines.
    """
    writer = _Writer(functions or {}, routines or {})
    source = writer.routine(routine)
    names = {name: arguments.get(symbol) for symbol, name in writer.names.items()}
    for symbol, name in writer.names.items():
        if names[name] is None and symbol not in writer.bound:
            raise SpecError(
                f"routine {routine.name or hex(routine.address)}",
                found=f"no value of {symbol.name}", wanted="one for each of its symbols",
                fix="give it in arguments",
            )  # fmt: skip
    space = writer.space
    space.update({n: v for n, v in names.items() if v is not None})
    space["memory"] = memory
    with np.errstate(all="ignore"):
        exec(compile(source, "<routine>", "exec"), space)  # our own text, from a routine's numbers


def _bits32(number: float) -> int:
    return int(np.float32(number).view(np.uint32))


def _bits64(number: float) -> int:
    return int(np.float64(number).view(np.uint64))


def _single(bits: int) -> np.float32:
    return np.float32(np.uint32(bits & 0xFFFFFFFF).view(np.float32))


def _double(bits: int) -> np.float64:
    return np.float64(np.uint64(bits).view(np.float64))


def _fma32(a: float, b: float, c: float) -> np.float32:
    """Return a·b + c rounded once: the sum in double precision, rounded to odd, is enough."""
    product, addend = float(a) * float(b), float(c)
    total = product + addend
    if not math.isfinite(total):
        return np.float32(total)
    part = total - product
    left = (product - (total - part)) + (addend - part)
    if left and not _bits64(total) & 1:
        total = math.nextafter(total, math.inf if left > 0 else -math.inf)
    return np.float32(total)


def _maximum(a: np.float32, b: np.float32) -> np.float32:
    """Return the larger; what is no number if either is none; of two zeros, 0 rather than -0."""
    if a == b:
        return b if np.signbit(a) else a
    return a if a > b or a != a else b


def _round_even(number: np.float32) -> np.float32:
    return np.float32(np.rint(number))


class _Writer:
    """Writes a routine down as Python."""

    def __init__(
        self, functions: Mapping[str, Callable[..., float]], routines: Mapping[int, Routine]
    ) -> None:
        self.functions, self.routines = functions, routines
        self.names: dict[Symbol, str] = {}
        self.bound: set[Symbol] = set()
        self.lines: list[str] = []
        self.count = 0
        self.space: dict[str, object] = {
            "bits32": _bits32, "bits64": _bits64, "single": _single, "double": _double,
            "f32": np.float32, "f64": np.float64, "fma32": _fma32, "np": np, "rint": _round_even,
            "fmax": np.fmax, "fmin": np.fmin, "fmaximum": _maximum, "signed": _signed,
            "quotient": _quotient, "isnan": np.isnan, "whole": _whole, "run": self._run,
        }  # fmt: skip

    def name(self, symbol: Symbol) -> str:
        """Return the variable that stands for a symbol."""
        return self.names.setdefault(symbol, f"v{len(self.names)}")

    def line(self, depth: int, text: str) -> None:
        self.lines.append("    " * depth + text)

    # -- steps -----------------------------------------------------------------------------------

    def routine(self, routine: Routine) -> str:
        self.nest(list(routine.steps), 0, 0)
        return "\n".join(self.lines) + "\n"

    def nest(self, steps: Sequence[Store | Call], level: int, depth: int) -> None:
        """Write steps that share their first ``level`` loops."""
        number = 0
        while number < len(steps):
            step = steps[number]
            if len(step.loops) <= level:
                self.step(step, depth)
                number += 1
                continue
            loop = step.loops[level]
            end = number
            while end < len(steps) and steps[end].loops[level : level + 1] == (loop,):
                end += 1
            self.head(loop, depth)
            self.nest(steps[number:end], level + 1, depth + 1)
            number = end

    def head(self, loop: Loop, depth: int) -> None:
        self.bound.add(loop.counter)
        self.line(
            depth, f"for {self.name(loop.counter)} in range({self.linear(loop.extent, depth)}):"
        )

    def step(self, step: Store | Call, depth: int) -> None:
        guards = [self.integer(g, depth) for g in step.guards]
        if guards:
            self.line(depth, f"if {' and '.join(f'({g})' for g in guards)}:")
            depth += 1
        if isinstance(step, Store):
            value = self.integer(step.value, depth)
            address = self.linear(step.address, depth)
            self.line(depth, f"memory.write({address}, {value}, {step.width // 8})")
            return
        arguments = ", ".join(self.integer(a, depth) for a in step.arguments)
        self.line(depth, f"run({step.target!r}, memory, [{arguments}])")

    def _run(self, target: int | str, memory: Memory, arguments: list[int]) -> None:
        called = self.routines.get(target) if isinstance(target, int) else None
        if called is None:
            raise SpecError(
                "a call", found=target, wanted="a routine that is given", fix="add it to routines"
            )
        known = dict(zip(called.arguments, arguments, strict=False))
        evaluate(called, memory, known, functions=self.functions, routines=self.routines)

    # -- values ----------------------------------------------------------------------------------

    def linear(self, form: Linear, depth: int) -> str:
        """Return a linear form, exact."""
        parts = [str(form.constant)] if form.constant or not form.terms else []
        for term, factor in form.terms:
            if isinstance(term, Symbol):
                text = self.name(term)
            else:
                text = self.integer(term, depth)
                if not (isinstance(term, Operation) and term.name in ("uextend", "umod", "udiv")):
                    text = f"signed({text}, {term.width})"
            parts.append(text if factor == 1 else f"{factor} * {text}")
        return f"({' + '.join(parts)})"

    def integer(self, value: Value, depth: int) -> str:
        """Return a value's bits as a number without sign."""
        ones = (1 << value.width) - 1
        if isinstance(value, Constant):
            return str(value.bits)
        if isinstance(value, Index):
            return f"({self.linear(value.value, depth)} & {ones})"
        if isinstance(value, Load):
            return f"memory.integer({self.linear(value.address, depth)}, {value.width // 8})"
        if isinstance(value, Reduction):
            if value.operation[0] == "i":
                return f"({self.reduction(value, depth)} & {ones})"
            return f"bits{value.width}({self.reduction(value, depth)})"
        if value.name == "select":
            condition, then, other = (self.integer(v, depth) for v in value.inputs)
            return f"({then} if {condition} else {other})"
        if _is_float(value):
            return f"bits{value.width}({self.floating(value, depth)})"
        return self.integer_operation(value, depth, ones)

    def integer_operation(self, value: Operation, depth: int, ones: int) -> str:
        name, inputs = value.name, value.inputs
        if name in _COMPARED:
            a, b = (self.floating(v, depth) for v in inputs)
            return f"int({a} {_COMPARED[name]} {b})"
        if name == "funordered":
            a, b = (self.floating(v, depth) for v in inputs)
            return f"int(isnan({a}) or isnan({b}))"
        if name in ("ftoi", "ftou"):
            return f"(whole({self.floating(inputs[0], depth)}) & {ones})"
        texts = [self.integer(v, depth) for v in inputs]
        width = inputs[0].width
        minus = [f"signed({t}, {v.width})" for t, v in zip(texts, inputs, strict=True)]
        if value.width == 1 and name in ("iand", "ior"):
            return "(" + (" and " if name == "iand" else " or ").join(texts) + ")"
        signs = {"iadd": "+", "isub": "-", "imul": "*", "iand": "&", "ior": "|", "ixor": "^",
                 "ishl": "<<", "ishr": ">>", "udiv": "//", "umod": "%"}  # fmt: skip
        if name in signs:
            return f"(({f' {signs[name]} '.join(texts)}) & {ones})"
        if name == "inot":
            return f"(~{texts[0]} & {ones})"
        if name == "iclz":
            return f"({width} - {texts[0]}.bit_length())"
        if name == "isar":
            return f"(({minus[0]} >> {texts[1]}) & {ones})"
        if name in ("idiv", "imod"):
            whole = f"quotient({minus[0]}, {minus[1]})"
            return (
                f"({whole} & {ones})"
                if name == "idiv"
                else f"(({minus[0]} - {whole} * {minus[1]}) & {ones})"
            )
        if name in ("ieq", "ult", "ule"):
            sign = {"ieq": "==", "ult": "<", "ule": "<="}[name]
            return f"int({texts[0]} {sign} {texts[1]})"
        if name in ("ilt", "ile"):
            return f"int({minus[0]} {'<' if name == 'ilt' else '<='} {minus[1]})"
        if name in ("uextend", "itruncate"):
            return f"({texts[0]} & {ones})"
        if name == "iextend":
            return f"({minus[0]} & {ones})"
        if name == "iconcat":
            at, parts = 0, []
            for text, piece in zip(texts, inputs, strict=True):
                parts.append(f"({text} << {at})")
                at += piece.width
            return f"({' | '.join(parts)})"
        if name in ("uhigh", "ihigh"):
            first = texts if name == "uhigh" else minus
            return f"((({first[0]} * {first[1]}) >> {width}) & {ones})"
        raise SpecError("an expression", found=f"operation {name}", wanted="one with a meaning",
                        fix="see Operation")  # fmt: skip

    def floating(self, value: Value, depth: int) -> str:
        """Return a value as a float of its width."""
        if isinstance(value, Load):
            kind = "single" if value.width == 32 else "double"
            return f"memory.{kind}({self.linear(value.address, depth)})"
        if isinstance(value, Reduction) and value.operation[0] != "i":
            return self.reduction(value, depth)
        if isinstance(value, Operation):
            if value.name == "select":
                condition = self.integer(value.inputs[0], depth)
                then, other = (self.floating(v, depth) for v in value.inputs[1:])
                return f"({then} if {condition} else {other})"
            if _is_float(value):
                return self.float_operation(value, depth)
        return f"{'single' if value.width == 32 else 'double'}({self.integer(value, depth)})"

    def float_operation(self, value: Operation, depth: int) -> str:
        name, kind = value.name, f"f{value.width}"
        if name in ("itof", "utof"):
            text, given = self.integer(value.inputs[0], depth), value.inputs[0].width
            return f"{kind}({text if name == 'utof' else f'signed({text}, {given})'})"
        inputs = [self.floating(v, depth) for v in value.inputs]
        if name in _FLOATS:
            return f"({inputs[0]} {_FLOATS[name]} {inputs[1]})"
        if name in _EXTREMES:
            return _EXTREMES[name].format(*inputs)
        if name == "fma":
            if value.width == 32:
                return f"fma32({', '.join(inputs)})"
            return f"({inputs[0]} * {inputs[1]} + {inputs[2]})"
        if name in ("fwiden", "fnarrow"):
            return f"{kind}({inputs[0]})"
        if name.startswith("call:"):
            function = f"function{len(self.space)}"
            self.space[function] = self._function(name[5:])
            return f"{kind}({function}({', '.join(inputs)}))"
        simple = {
            "fneg": "(-{})", "fabs": "abs({})", "fsqrt": "np.sqrt({})", "fround": "rint({})",
            "ffloor": "np.floor({})", "fceil": "np.ceil({})", "ftrunc": "np.trunc({})",
        }  # fmt: skip
        if name in simple:
            return simple[name].format(inputs[0])
        raise SpecError("an expression", found=f"operation {name}", wanted="one with a meaning",
                        fix="see Operation")  # fmt: skip

    def _function(self, name: str) -> Callable[..., float]:
        given = self.functions.get(name)
        if given is not None:
            return given
        found: Callable[..., float] = getattr(math, name, None) or getattr(math, name.rstrip("f"))
        return lambda *inputs: found(*(float(v) for v in inputs))

    def reduction(self, value: Reduction, depth: int) -> str:
        """Write a function that carries a reduction out; return its call."""
        self.count += 1
        name = f"reduction{self.count}"
        self.line(depth, f"def {name}():")
        total = f"total{self.count}"
        start = (
            self.integer(value.start, depth + 1) if value.operation[0] == "i"
            else self.floating(value.start, depth + 1)
        )  # fmt: skip
        self.line(depth + 1, f"{total} = {start}")
        self.turns(value, total, depth + 1)
        self.line(depth + 1, f"return {total}")
        return f"{name}()"

    def turns(self, value: Reduction, total: str, depth: int) -> None:
        self.head(Loop(counter=value.counter, extent=value.extent), depth)
        body = value.body
        if (
            isinstance(body, Reduction)
            and body.operation == value.operation
            and isinstance(body.start, Constant)
            and body.start.bits == _NEUTRAL.get((body.operation, body.width))
        ):
            self.turns(body, total, depth + 1)
            return
        guard = _skipped(body, value.operation)
        if guard is not None:
            condition = self.integer(guard[0], depth + 1)
            self.line(depth + 1, f"if {condition}:" if guard[2] else f"if not ({condition}):")
            self.once(value, guard[1], total, depth + 2)
            return
        self.once(value, body, total, depth + 1)

    def once(self, value: Reduction, body: Value, total: str, depth: int) -> None:
        name = value.operation
        if value.fused and isinstance(body, Operation) and body.name in ("fmul", "fneg"):
            sign = ""
            if body.name == "fneg" and isinstance(body.inputs[0], Operation):
                body, sign = body.inputs[0], "-"
            assert isinstance(body, Operation)
            a, b = (self.floating(v, depth) for v in body.inputs)
            if value.width == 32:
                self.line(depth, f"{total} = fma32({sign}{a}, {b}, {total})")
            else:
                self.line(depth, f"{total} = {total} + {sign}{a} * {b}")
            return
        if name[0] == "i":
            sign = {"iadd": "+", "imul": "*"}[name]
            self.line(depth, f"{total} = {total} {sign} {self.integer(body, depth)}")
            return
        text = self.floating(body, depth)
        if name in _EXTREMES:
            self.line(depth, f"new = {text}")
            self.line(depth, f"{total} = {_EXTREMES[name].format(total, 'new')}")
            return
        self.line(depth, f"{total} = {total} {_FLOATS[name]} {text}")


def _skipped(body: Value, operation: str) -> tuple[Value, Value, bool] | None:
    """Return (condition, addend, when it counts) of a body that is skipped in some turns."""
    if not (isinstance(body, Operation) and body.name == "select"):
        return None
    condition, then, other = body.inputs
    nothing = _NEUTRAL.get((operation, body.width))
    if isinstance(other, Constant) and other.bits == nothing:
        return condition, then, True
    if isinstance(then, Constant) and then.bits == nothing:
        return condition, other, False
    return None


def _is_float(value: Operation) -> bool:
    name = value.name
    return (
        name in _FLOATS or name in _EXTREMES or name.startswith("call:")
        or name in ("fma", "fneg", "fabs", "fsqrt", "fround", "ffloor", "fceil", "ftrunc",
                    "fwiden", "fnarrow", "itof", "utof")
    )  # fmt: skip


def _signed(bits: int, width: int) -> int:
    return bits - (1 << width) if bits >> (width - 1) & 1 else bits


def _quotient(a: int, b: int) -> int:
    whole = abs(a) // abs(b)
    return whole if (a < 0) == (b < 0) else -whole


def _whole(number: float) -> int:
    return int(number) if math.isfinite(number) else -(1 << 63)
