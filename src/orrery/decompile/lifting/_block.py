"""One basic block carried out on values instead of numbers.

Models:  every statement of VEX that compilers' code for kernels needs; stores are written down as
         steps, loads give back what the same function stored before.
Ignores: atomic operations and helper functions with side effects: their results are unknown and
         whoever uses them is told.
Judge:   native runs of lifted kernels (tests/decompile/lifting).
"""

from __future__ import annotations

import struct
from collections.abc import Callable
from typing import Any, TypeGuard

from orrery.decompile.forms import (
    Call,
    Constant,
    Index,
    Linear,
    Load,
    Operation,
    Store,
    Symbol,
    Unread,
    Value,
)
from orrery.decompile.values import (
    Builder,
    Cells,
    UnknownOperatorError,
    Vector,
    as_value,
    as_vector,
    condition_call,
    inner_of,
    is_named,
    operate,
    walk,
)

from ._flow import Block, Flow, LiftLimitError
from ._source import Code, Machine
from ._state import State, distance_is_safe, forget_overlaps, split_address

STACK = Symbol("stack", "memory")
_BYTES = {"Ity_I1": 1, "Ity_I8": 1, "Ity_I16": 2, "Ity_I32": 4, "Ity_I64": 8, "Ity_F32": 4,
          "Ity_F64": 8, "Ity_V128": 16, "Ity_V256": 32, "Ity_I128": 16, "Ity_F128": 16,
          "Ity_F16": 2}  # fmt: skip
Item = Value | Vector


class Interpreter:
    """Carries out blocks; keeps the steps they write down."""

    def __init__(self, code: Code, machine: Machine, *, statements: int) -> None:
        self.code, self.machine, self.build = code, machine, Builder()
        self.steps: list[Store | Call] = []
        self.unread: list[Unread] = []
        self.reasons: dict[Symbol, Unread] = {}
        self.here = 0
        self.left = statements
        self.names = 0
        self.called: int | None = None
        self.flows: dict[int, Flow | None] = {}
        self.changing: dict[int, int] = {}
        self.signatures: dict[int, tuple[int, int, int] | None] = {}
        self.numbers: dict[int, Symbol] = {}
        self.kept: dict[tuple[int, Linear | None, int], Symbol] = {}
        self.keeping: set[Symbol] = set()
        self.summing: set[Symbol] = set()
        self.made: list[Item | None] = []
        self._reads: dict[Value, tuple[Load, ...]] = {}
        self.describe: Callable[[int], tuple[int, int, int] | None] | None = None

    def signature(self, target: int) -> tuple[int, int, int] | None:
        """Return how many integers, floats and words on the stack a function is given."""
        if target not in self.signatures:
            self.signatures[target] = None
            if self.describe is not None:
                self.signatures[target] = self.describe(target)
        return self.signatures[target]

    # -- names -----------------------------------------------------------------------------------

    def fresh(self, letter: str, kind: str = "unknown") -> Symbol:
        """Return a symbol that nothing else is called."""
        self.names += 1
        return Symbol(f"{letter}{self.names}", kind)  # type: ignore[arg-type]  # one of its literals

    def unknown(self, width: int, reason: str) -> Value:
        """Return a value that is not known, and keep why."""
        symbol = self.fresh("u")
        self.reasons[symbol] = Unread(instruction=self.here, reason=reason)
        return Index(Linear(0, ((symbol, 1),)), width)

    def unknown_item(self, size: int, reason: str) -> Item:
        """Return an unknown value of so many bytes, a vector above eight."""
        if size <= 8:
            return self.unknown(size * 8, reason)
        return tuple(self.unknown(32, reason) for _ in range(size // 4))

    def entry_state(self) -> State:
        """Return registers as a function finds them."""
        word = self.machine.word * 8
        pieces: dict[int, Value] = {}
        for number, offset in enumerate(self.machine.floats):
            pieces[offset] = Index(Linear(0, ((Symbol(f"f{number}", "argument"), 1),)), 32)
        for number, offset in enumerate(self.machine.integers):
            pieces[offset] = Index(Linear(0, ((Symbol(f"a{number}", "argument"), 1),)), word)
        pieces[self.machine.stack] = Index(Linear(0, ((STACK, 1),)), word)
        for offset, size, number in self.machine.fixed:
            pieces[offset] = self.build.number(number, size * 8)
        return State(Cells(pieces))

    # -- registers and memory --------------------------------------------------------------------

    def get(self, state: State, offset: int, size: int) -> Item:
        """Return what registers hold."""

        def fresh(at: int, length: int) -> Value:
            return Index(Linear(0, ((Symbol(f"r{at}", "unknown"), 1),)), length * 8)

        if size > 8:
            found: list[Value] = []
            for at in range(offset, offset + size, 4):
                if at in state.registers.pieces and state.registers.pieces[at].width > 32:
                    found.append(state.registers.pieces[at])
                elif not any(o < at for o, _ in state.registers.overlapping(at, 4)):
                    found.extend(state.registers.get(self.build, at, 4, fresh))
            if sum(p.width for p in found) == size * 8:
                return tuple(found)
            return tuple(state.registers.get(self.build, offset, size, fresh))
        return self.build.concat(state.registers.get(self.build, offset, size, fresh))

    def put(self, state: State, offset: int, item: Item) -> None:
        """Write registers."""
        for piece in as_vector(item):
            value = piece if piece.width >= 8 else self.build.extend(piece, 8, signed=False)
            state.registers.put(self.build, offset, value)
            offset += value.width // 8

    def load(self, state: State, address: Value, size: int) -> Item:
        """Return what memory holds."""
        form = self._place(address)
        if form is None:
            return self.unknown_item(size, "an address that is no sum of known things")
        if size <= 8:
            return self._load_piece(state, form, size)
        return tuple(self._load_piece(state, form + at, 4) for at in range(0, size, 4))

    def _place(self, address: Value) -> Linear | None:
        """Return an address as a linear form.

        A number of 32 bits that is put into 64 without its sign is not below 0 where code uses it
        to address: nothing lies 4 GiB further on. Where it might be, that turn is left out.
        """
        form = self.build.linear(address)
        for term, factor in () if form is None else form.terms:
            inner = inner_of(term) if is_named(term, "uextend") and term.width == 64 else None
            if form is not None and isinstance(inner, Index) and inner.width == 32:
                form = form - Linear(0, ((term, factor),)) + inner.value * factor
        return form

    def _load_piece(self, state: State, form: Linear, size: int) -> Value:
        if form.is_constant:
            if form.constant in self.numbers and size < 8:
                return Index(Linear(0, ((self.numbers[form.constant], 1),)), size * 8)
            data = self.code.constant(form.constant, size)
            if data is not None and len(data) == size:
                return Constant(int.from_bytes(data, "little"), size * 8)
        base, offset = split_address(form)
        self._note_pointer(base)

        def fresh(at: int, length: int) -> Value:
            if base.terms == ((STACK, 1),):
                given = self._stack_argument(at, length)
                if given is not None:
                    return given
            return Load(base + at, length * 8)

        cells = state.memory.get(base)
        if cells is None:
            return fresh(offset, size)
        return self.build.concat(cells.get(self.build, offset, size, fresh))

    def _note_pointer(self, base: Linear) -> None:
        """Remember which symbols code uses as addresses."""
        for term, factor in base.terms:
            if factor == 1 and isinstance(term, Symbol) and term.kind in ("argument", "memory"):
                self.build.pointers.add(term)

    def _stack_argument(self, offset: int, size: int) -> Value | None:
        first = offset - (self.machine.word if self.machine.x86 else 0)
        if first < 0:
            return None
        number, rest = divmod(first, self.machine.word)
        symbol = Symbol(f"s{number}", "argument")
        whole = Index(Linear(0, ((symbol, 1),)), self.machine.word * 8)
        if rest + size > self.machine.word:
            return None
        return self.build.extract(whole, rest * 8, size * 8)

    def store(
        self, state: State, address: Value, item: Item, guards: tuple[Value, ...] = ()
    ) -> None:
        """Write memory, and write the step down."""
        form = self._place(address)
        if form is None:
            self.unread.append(
                Unread(instruction=self.here, reason="a store to an unknown address")
            )
            state.memory.clear()
            state.vague.add(None)
            return
        pieces = [
            part
            for piece in as_vector(item)
            for part in (piece.inputs if _in_pieces(piece) else (piece,))
        ]  # fmt: skip
        size = sum(p.width for p in pieces) // 8
        if self.summing:  # what this block has made is put by as well
            own = Cells({-1 - at: piece for at, piece in enumerate(pieces) if len(pieces) > 1})
            for at, held in enumerate(self.made):
                for part, piece in enumerate(() if held is None else as_vector(held)):
                    own.pieces[-1000 - 8 * at - part] = piece
            self.put_by(state, self.here, self._summed(form, size), own)
            pieces = [own.pieces.get(-1 - at, piece) for at, piece in enumerate(pieces)]
            for at, held in enumerate(self.made):
                if held is not None:
                    vector = tuple(
                        own.pieces[-1000 - 8 * at - part] for part in range(len(as_vector(held)))
                    )
                    self.made[at] = vector if isinstance(held, tuple) else vector[0]
        for piece in pieces:
            value = self.build.as_bits(piece)
            size = value.width // 8
            self.steps.append(
                Store(address=form, value=value, width=value.width,
                      guards=(*state.guards, *guards), instruction=self.here)
            )  # fmt: skip
            if len(self.steps) > 20_000:
                raise LiftLimitError("more than 20000 steps")
            forget_overlaps(self.build, state, form, size)
            base, offset = split_address(form)
            self._note_pointer(base)
            cells = state.memory.setdefault(base, Cells())
            if guards:
                cells.remove(self.build, offset, size)
                state.vague.add(base)
            else:
                cells.put(self.build, offset, piece)
            form = form + size

    # -- what was read before it is overwritten --------------------------------------------------

    def reads(self, value: Value) -> tuple[Load, ...]:
        """Return what memory a value is made of, apart from what was put by."""
        found = self._reads.get(value)
        if found is None:
            loads = (p for p in walk(value) if isinstance(p, Load))
            found = tuple(p for p in loads if p.address.symbols.isdisjoint(self.keeping))
            self._reads[value] = found
        return found

    def put_by(
        self, state: State, where: int, touched: Callable[[Linear, int], bool],
        more: Cells | None = None,
    ) -> bool:  # fmt: skip
        """Store numbers that are made of memory which is about to change, or has; tell if any.

        An expression means what memory holds when a step is reached. What is known is put here
        into memory of its own, from where it is read later on.

        Parameters
        ----------
        where : a loop's head or a call: what is put by there is called the same each time
        touched : whether so many bytes at an address change
        more : what else is put by
        """
        known: dict[Load, bool] = {}
        everything = [(None, state.registers), (None, more or Cells()), *state.memory.items()]
        places: list[tuple[Linear | None, Cells, int]] = []
        for base, cells in everything:
            for at, piece in cells.pieces.items():
                for load in () if self._points(base, at, piece) else self.reads(piece):
                    if load not in known:
                        known[load] = touched(load.address, load.width // 8)
                    if known[load]:
                        places.append((base, cells, at))
                        break
        found: dict[Value, Load] = {}
        for base, cells, at in places:
            piece = cells.pieces[at]
            if piece not in found:
                symbol = self.kept.get((where, base, at))
                live = (v for _, other in everything for v in other.pieces.values())
                if symbol is None or any(symbol in v.symbols for v in live):
                    symbol = self.kept[where, base, at] = self.fresh("m", "memory")
                    self.keeping.add(symbol)
                found[piece] = Load(Linear(0, ((symbol, 1),)), piece.width)
                self.steps.append(
                    Store(address=found[piece].address, value=piece, width=piece.width,
                          guards=state.guards, instruction=self.here)
                )  # fmt: skip
            cells.pieces[at] = found[piece]
        return bool(places)

    def _summed(self, form: Linear, size: int) -> Callable[[Linear, int], bool]:
        """Return whether a load stands for many, some of which are from where is stored now.

        Other loads are looked after when all stores are known, and seldom have to be put by.
        """

        def touched(other: Linear, length: int) -> bool:
            bound = other.symbols & self.summing
            return bool(bound) and not distance_is_safe(self.build, form, size, other, length)

        return touched

    def _points(self, base: Linear | None, at: int, piece: Value) -> bool:
        """Return whether a piece may be a pointer: where it points is to stay known."""
        low, high = self.machine.vectors
        if isinstance(piece, Load) and piece.width == 64 == 8 * self.machine.word:
            return base is not None or not low <= at < high
        return isinstance(piece, Index)

    # -- blocks ----------------------------------------------------------------------------------

    def run(self, state: State, block: Block) -> tuple[list[tuple[int, State, int]], bool]:
        """Carry out a block; return where branches leave it, with what, after how many steps.

        The second part says whether the block's end can be reached: no branch before it is taken
        for sure. ``state`` is changed into that at its end, with the guards of the last way out.
        """
        vex = block.code
        temporaries = self.made = [None] * len(vex.tyenv.types)
        types = vex.tyenv.types
        leaving: list[tuple[int, State, int]] = []
        self.left -= len(vex.statements)
        if self.left < 0:
            raise LiftLimitError("more work than a function is given")
        for statement in vex.statements:
            tag = statement.tag
            if tag == "Ist_IMark":
                self.here = statement.addr
            elif tag == "Ist_WrTmp":
                size = _BYTES[types[statement.tmp]]
                temporaries[statement.tmp] = self._expression(
                    state, statement.data, temporaries, size, types[statement.tmp] == "Ity_I1"
                )
            elif tag == "Ist_Put":
                if statement.offset not in self.machine.ignored:
                    self.put(state, statement.offset, self._simple(statement.data, temporaries))
            elif tag == "Ist_Store":
                address = as_value(self._simple(statement.addr, temporaries))
                self.store(state, address, self._simple(statement.data, temporaries))
            elif tag == "Ist_Exit":
                if statement.jumpkind != "Ijk_Boring":
                    continue
                condition = as_value(self._simple(statement.guard, temporaries))
                known = self.build.constant(condition)
                if known == 0:
                    continue
                taken = state.copy()
                if known is None:
                    taken.guards = (*state.guards, condition)
                leaving.append((statement.dst.value, taken, len(self.steps)))
                if known is not None:
                    return leaving, False
                state.guards = (*state.guards, self.build.negate(condition))
            elif tag in ("Ist_StoreG", "Ist_LoadG"):
                self._guarded(state, statement, temporaries)
            elif tag in ("Ist_Dirty", "Ist_CAS", "Ist_LLSC"):
                self._side_effect(statement, temporaries, types)
        if block.ends == "call" and block.target is None:
            self.called = self.build.constant(as_value(self._simple(vex.next, temporaries)))
        if block.after is not None:
            leaving.append((block.after, state, len(self.steps)))
        return leaving, True

    def _side_effect(
        self, statement: Any, temporaries: list[Item | None], types: list[str]
    ) -> None:
        name = getattr(getattr(statement, "cee", None), "name", statement.tag)
        written = getattr(statement, "tmp", None)
        for number in (
            written,
            getattr(statement, "oldLo", None),
            getattr(statement, "result", None),
        ):
            if isinstance(number, int) and 0 <= number < len(types):
                temporaries[number] = self.unknown_item(_BYTES[types[number]], f"helper {name}")

    def _guarded(self, state: State, statement: Any, temporaries: list[Item | None]) -> None:
        guard = as_value(self._simple(statement.guard, temporaries))
        known = self.build.constant(guard)
        address = as_value(self._simple(statement.addr, temporaries))
        if statement.tag == "Ist_StoreG":
            item = self._simple(statement.data, temporaries)
            if known == 1:
                self.store(state, address, item)
            elif known is None:
                before = self.load(state, address, sum(p.width for p in as_vector(item)) // 8)
                self.store(state, address, item, (guard,))
                chosen = tuple(
                    self.build.select(guard, new, old, new.width)
                    for new, old in zip(as_vector(item), as_vector(before), strict=True)
                )
                form = self.build.linear(address)
                if form is not None and not isinstance(item, tuple):
                    base, offset = split_address(form)
                    state.memory.setdefault(base, Cells()).put(self.build, offset, chosen[0])
            return
        other = self._simple(statement.alt, temporaries)
        kind = statement.cvt
        size, to, sign = _CONVERSIONS.get(kind, (0, 0, False))
        if size == 0:
            size = sum(p.width for p in as_vector(other)) // 8
            to = size * 8
        if known == 0:
            temporaries[statement.dst] = other
            return
        loaded = self.load(state, address, size)
        if isinstance(loaded, tuple):
            temporaries[statement.dst] = loaded
            return
        loaded = self.build.extend(loaded, to, signed=sign)
        temporaries[statement.dst] = (
            loaded if known == 1 else self.build.select(guard, loaded, as_value(other), to)
        )

    # -- expressions -----------------------------------------------------------------------------

    def _simple(self, expression: Any, temporaries: list[Item | None]) -> Item:
        if expression.tag == "Iex_RdTmp":
            found = temporaries[expression.tmp]
            return self.unknown(64, "a value that was never made") if found is None else found
        return self._constant(expression.con)

    def _constant(self, constant: Any) -> Item:
        kind, value = constant.type, constant.value
        if kind in ("Ity_F32", "Ity_F64"):
            width = 32 if kind == "Ity_F32" else 64
            if isinstance(value, float):
                data = struct.pack("<f" if width == 32 else "<d", value)
                return Constant(int.from_bytes(data, "little"), width)
            return Constant(int(value), width)
        if kind in ("Ity_V128", "Ity_V256"):
            count = _BYTES[kind]
            raw = int(value).to_bytes(count, "little")
            return tuple(
                self.build.number(int.from_bytes(raw[i : i + 4], "little"), 32)
                for i in range(0, count, 4)
            )
        width = 1 if kind == "Ity_I1" else _BYTES[kind] * 8
        return self.build.number(int(value), width)

    def _expression(
        self, state: State, expression: Any, temporaries: list[Item | None], size: int, bit: bool
    ) -> Item:
        try:
            found = self._meaning(state, expression, temporaries, size)
        except UnknownOperatorError as error:
            return self.unknown(1, str(error)) if bit else self.unknown_item(size, str(error))
        wanted = 1 if bit else size * 8
        have = sum(p.width for p in as_vector(found))
        if have != wanted:
            reason = f"{have} bits where {wanted} were wanted"
            return self.unknown(1, reason) if bit else self.unknown_item(size, reason)
        return found

    def _meaning(
        self, state: State, expression: Any, temporaries: list[Item | None], size: int
    ) -> Item:
        tag = expression.tag
        if tag == "Iex_Get":
            return self.get(state, expression.offset, size)
        if tag in ("Iex_RdTmp", "Iex_Const"):
            return self._simple(expression, temporaries)
        if tag in ("Iex_Binop", "Iex_Unop", "Iex_Triop", "Iex_Qop"):
            items = [self._simple(a, temporaries) for a in expression.args]
            return operate(self.build, expression.op[4:], items, x86=self.machine.x86)
        if tag == "Iex_Load":
            return self.load(state, as_value(self._simple(expression.addr, temporaries)), size)
        if tag == "Iex_ITE":
            condition = as_value(self._simple(expression.cond, temporaries))
            then = self._simple(expression.iftrue, temporaries)
            other = self._simple(expression.iffalse, temporaries)
            known = self.build.constant(condition)
            if known is not None:
                return then if known & 1 else other
            if isinstance(then, tuple) and isinstance(other, tuple) and len(then) == len(other):
                return tuple(
                    self.build.select(condition, a, b, a.width)
                    for a, b in zip(then, other, strict=True)
                )
            return self.build.select(condition, as_value(then), as_value(other), size * 8)
        if tag == "Iex_CCall":
            values = [as_value(self._simple(a, temporaries)) for a in expression.args]
            return condition_call(self.build, expression.callee.name, values, size * 8)
        raise UnknownOperatorError(f"expression {tag}")


def _in_pieces(value: Value) -> TypeGuard[Operation]:
    """Return whether a value is several side by side."""
    return isinstance(value, Operation) and value.name == "iconcat"


_CONVERSIONS = {
    "ILGop_Ident32": (4, 32, False), "ILGop_Ident64": (8, 64, False),
    "ILGop_16Uto32": (2, 32, False), "ILGop_16Sto32": (2, 32, True),
    "ILGop_8Uto32": (1, 32, False), "ILGop_8Sto32": (1, 32, True),
}  # fmt: skip
