"""A kernel that a device starts in many instances, read as a function of its buffers.

Before, as IREE's compiler writes it: three pointers, to the environment, to the dispatch's state
and to the instance's; buffers are found through a table of pointers in the state, the instance's
number stands in memory. After: one argument a buffer, all instances as loops around the code.

Models:  the state as constant memory at addresses of our own choice, so that every buffer has an
         address and every number that was handed over is known while the code is read.
Ignores: memory that instances of one group share; instances are taken one after the other.
Judge:   modules that IREE built, run by IREE (tests/decompile/linking).
Source:  `iree_hal_executable_dispatch_state_v0_t` and `…_workgroup_state_v0_t` of the IREE runtime.
"""

from __future__ import annotations

import struct
from dataclasses import replace

from .._code import ImageCode
from ..containers import COPY, FILL, KernelCall
from ..forms import (
    Call,
    Constant,
    Linear,
    Load,
    Loop,
    Reduction,
    Routine,
    Store,
    Symbol,
    Value,
    linear,
)
from ..lifting import lift
from ..values import Builder
from ..values._build import Rebuilding


class _Layout:
    """Addresses of our own: of the state and its tables, and of each buffer."""

    def __init__(self, pointer_bytes: int) -> None:
        self.wide = pointer_bytes == 8
        top = 1 << (60 if self.wide else 30)
        self.state, self.constants, self.table, self.group = (
            top + 0x10000 * number for number in range(4)
        )  # fmt: skip
        self.first = top + (1 << 24)
        self.step = 1 << (44 if self.wide else 24)
        self.most = 256 if self.wide else 48

    def buffer(self, number: int) -> int:
        return self.first + number * self.step

    def of(self, address: int) -> int | None:
        """Return which buffer an address lies in, or nearly: indices may reach below its start."""
        number = (address - self.first + self.step // 2) // self.step
        return number if 0 <= number < self.most else None


class _StateCode:
    """A binary, and the state of one dispatch beside it."""

    def __init__(self, code: ImageCode, call: KernelCall, layout: _Layout) -> None:
        self._code = code
        self.image = code.image
        x, y, z = call.workgroups or (1, 1, 1)
        pointer = "<Q" if layout.wide else "<I"
        head = struct.pack("<IIHHIIHBB", 1, 1, 1, len(call.constants), x & 0xFFFFFFFF,
                           y & 0xFFFFFFFF, z & 0xFFFF, 1, len(call.arguments) & 0xFF)  # fmt: skip
        pointers = (layout.constants, layout.table)
        self._held = {
            layout.state: head + b"".join(struct.pack(pointer, one) for one in pointers),
            layout.constants: b"".join(struct.pack("<I", one) for one in call.constants),
            layout.table: b"".join(
                struct.pack(pointer, layout.buffer(number))
                for number in range(min(len(call.arguments), layout.most))
            ),
        }  # fmt: skip
        # The only instance along an axis has the number 0.
        if (x, y, z) == (1, 1, 1):
            self._held[layout.group] = bytes(16)
        for axis, count in enumerate((x, y, z)):
            if count == 1:
                self._held.setdefault(layout.group + 4 * axis, bytes(4))

    @property
    def architecture(self) -> str:
        return self._code.architecture

    def read(self, address: int, size: int) -> bytes | None:
        return self._code.read(address, size)

    def constant(self, address: int, size: int) -> bytes | None:
        for begin, data in self._held.items():
            if begin <= address and address + size <= begin + len(data):
                return data[address - begin : address - begin + size]
        return self._code.constant(address, size)

    def import_name(self, address: int) -> str | None:
        return self._code.import_name(address)

    def name(self, address: int) -> str:
        return self._code.name(address)


def lift_dispatched(code: ImageCode, address: int, call: KernelCall, shift: int = 0) -> Routine:
    """Return the routine of a kernel, all its instances one after the other.

    Parameters
    ----------
    address : of its first instruction; odd for Thumb
    shift : how far what lies in the kernel's own file is moved, so that files do not overlap
    """
    layout = _Layout(code.image.pointer_bytes)
    view = _StateCode(code, call, layout)
    counts = call.workgroups or (1, 1, 1)
    numbers = {
        layout.group + 4 * axis: (_AXES[axis], count) for axis, count in enumerate(counts)
        if count > 1
    }  # fmt: skip
    given = {1: layout.state, 2: layout.group}
    routine = lift(view, address, arguments=given, numbers=numbers)
    rewriting = _Rewriting(layout, counts, shift)
    instances = tuple(
        Loop(counter=counter, extent=Linear(count), address=routine.address)
        for counter, count in zip(_AXES[::-1], counts[::-1], strict=True) if count > 1
    )  # fmt: skip
    arguments = tuple(Symbol(f"a{number}", "argument") for number in range(len(call.arguments)))
    steps = tuple(
        replace(step, loops=(*instances, *step.loops)) for step in rewriting.steps(routine.steps)
    )
    return replace(routine, arguments=arguments, steps=steps, result=None)


_AXES = tuple(Symbol(f"g{axis}", "counter") for axis in "xyz")


class _Rewriting(Rebuilding):
    """Addresses of our own become arguments."""

    def __init__(
        self, layout: _Layout, counts: tuple[int, int, int], shift: int, given: str = "given_"
    ) -> None:
        super().__init__(Builder())
        self.layout, self.shift, self.given = layout, shift, given
        self.build.ranges.update((axis, (0, n - 1)) for axis, n in zip(_AXES, counts, strict=True))

    def steps(self, steps: tuple[Store | Call, ...]) -> list[Store | Call]:
        for step in steps:
            for loop in step.loops:
                if loop.extent.is_constant:
                    self.build.ranges[loop.counter] = (0, max(0, loop.extent.constant - 1))
        return [self._step(step) for step in steps]

    def _step(self, step: Store | Call) -> Store | Call:
        guards = tuple(self.value(guard) for guard in step.guards)
        loops = tuple(
            loop if (extent := self.form(loop.extent)) == loop.extent
            else replace(loop, extent=extent) for loop in step.loops
        )  # fmt: skip
        if isinstance(step, Store):
            return replace(step, address=self.address(step.address), value=self.value(step.value),
                           guards=guards, loops=loops)  # fmt: skip
        target = step.target + self.shift if isinstance(step.target, int) else step.target
        return replace(step, target=target, guards=guards, loops=loops,
                       arguments=tuple(self.value(one) for one in step.arguments))  # fmt: skip

    def address(self, form: Linear) -> Linear:
        """Return an address: of a buffer from its start, of the file where the file now lies."""
        made = self._placed(form, address=True)
        based = any(isinstance(term, Symbol) and term.kind in ("argument", "memory")
                    for term, _ in made.terms)  # fmt: skip
        loaded = any(isinstance(term, Load) for term, _ in made.terms)
        return made if based or loaded else made + self.shift

    def form(self, form: Linear) -> Linear:
        return self._placed(form, address=False)

    def _placed(self, form: Linear, *, address: bool) -> Linear:
        # No number of 32 bits is so odd that it could not be meant as a number.
        far = form.constant >= self.layout.first >> 1 and (self.layout.wide or address)
        number = self.layout.of(form.constant) if far else None
        made = super().form(form)
        if number is None:
            return made
        buffer = Linear(-self.layout.buffer(number), ((Symbol(f"a{number}", "argument"), 1),))
        return made + buffer

    def symbol(self, symbol: Symbol) -> Symbol:
        # What the kernel was given besides is no buffer, and must not bear a buffer's name.
        given = symbol.kind == "argument"
        return replace(symbol, name=f"{self.given}{symbol.name}") if given else symbol

    def anew(self, value: Value) -> Value:
        if isinstance(value, Reduction) and value.extent.is_constant:
            self.build.ranges[value.counter] = (0, max(0, value.extent.constant - 1))
        return super().anew(value)


def moved(routine: Routine, shift: int) -> Routine:
    """Return a routine of a file that is moved as a whole."""
    if not shift:
        return routine
    rewriting = _Rewriting(_Layout(8), (1, 1, 1), shift, given="")
    return replace(routine, steps=tuple(rewriting.steps(routine.steps)))


def own_kernel(call: KernelCall) -> Routine | None:
    """Return what a device does itself, as if it were code: filling and copying memory."""
    counter = Symbol("c0", "counter")
    at = linear(0, {Symbol("a0", "argument"): 1, counter: 4})
    if call.kernel.number == FILL and len(call.constants) == 3:
        pattern, wide, size = call.constants
        if wide not in (1, 2, 4) or size % 4 or size <= 0:
            return None
        once = (pattern & (1 << 8 * wide) - 1).to_bytes(wide, "little")
        bits = int.from_bytes(once * (4 // wide), "little")
        store = Store(address=at, value=Constant(bits, 32), width=32,
                      loops=(Loop(counter=counter, extent=Linear(size // 4)),))  # fmt: skip
        return Routine(address=0, name="fill", arguments=(Symbol("a0", "argument"),),
                       steps=(store,))  # fmt: skip
    if call.kernel.number == COPY and len(call.constants) == 1:
        (size,) = call.constants
        if size % 4 or size <= 0:
            return None
        to = linear(0, {Symbol("a1", "argument"): 1, counter: 4})
        store = Store(address=to, value=Load(at, 32), width=32,
                      loops=(Loop(counter=counter, extent=Linear(size // 4)),))  # fmt: skip
        arguments = (Symbol("a0", "argument"), Symbol("a1", "argument"))
        return Routine(address=0, name="copy", arguments=arguments, steps=(store,))
    return None
