"""Foreign code for any known processor, in an emulator inside of the sandbox.

Models:  memory as the binary lies in it, a stack, a heap, and library functions as they are called;
         nothing of an operating system: a system call ends the emulation.
Ignores: AVX, which the emulator does not know (such code runs natively where the processor fits).
Judge:   the same functions run natively, and those of other machines against the source they were
         compiled from (tests/runtime/test_emulator.py).
"""

from __future__ import annotations

import struct
from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING, Any

from ._library import library_function
from ._probe import Block, Call, Emulated, Pointer, Watched
from ._registers import convention

if TYPE_CHECKING:
    from ._child import Runner

_PAGE = 1 << 12
_STACK_BYTES, _HEAP_BYTES, _MOST_COPIED = 1 << 20, 256 << 20, 1 << 28
_CODE_CACHE_BYTES = 64 << 20
_READ, _WRITE, _RUN = 1, 2, 4
#: Where memory of ours may begin, the first that the binary leaves free.
_FREE = {
    64: (0x7000_0000_0000, 0x6000_0000_0000),
    32: tuple(range(0x2000_0000, 0xE000_0000, 1 << 28)),
}


class StopError(Exception):
    """The emulated program did what it may not, or what nobody knows."""


class Machine:
    """One emulated processor with a binary in its memory."""

    def __init__(self, probe: Emulated) -> None:
        self._how, self._engine = convention(probe.architecture)
        self._engine.ctl_set_tcg_buffer_size(_CODE_CACHE_BYTES)
        self.pointer_bytes = self._how.bits // 8
        self._mapped: list[tuple[int, int]] = []
        self._why = ""
        self._jumped: int | None = None
        self._map_image(probe)
        blocks = sum(-(-one.size_bytes // _PAGE) * _PAGE + _PAGE for one in probe.blocks)
        self._next = self._room(blocks + _STACK_BYTES + _HEAP_BYTES + 8 * _PAGE)
        self._back = self._take(_PAGE, _READ | _RUN)
        self._top = self._take(_STACK_BYTES) + _STACK_BYTES - _PAGE
        self._local = self._take(_PAGE)
        self._at = {one.name: self._take(one.size_bytes) for one in probe.blocks}
        self._at["image"] = 0
        self._heap = self._heap_start = self._next
        self._engine.mem_map(self._heap, _HEAP_BYTES, _READ | _WRITE)
        self._heap_end = self._heap + _HEAP_BYTES
        self._thumb = probe.architecture == "thumb"
        self._names = dict(probe.imports)
        self._stored: dict[str, dict[int, int]] = {one.name: {} for one in probe.watched}
        arm = probe.architecture in ("armv7", "thumb")
        self._watching = {
            at & ~1 if arm else at: one.name for one in probe.watched for at in one.instructions
        }
        self._hook(probe)

    # -- what library functions see ----------------------------------------------------------------

    def word(self, index: int) -> int:
        """Return an argument that is an integer or a pointer."""
        if index < len(self._how.arguments):
            return int(self._engine.reg_read(self._how.arguments[index]))
        above = index - len(self._how.arguments) + (self._how.link is None)
        at = self._engine.reg_read(self._how.stack) + above * self.pointer_bytes
        return int.from_bytes(self.read(at, self.pointer_bytes), "little")

    def number(self, index: int, width: int) -> float:
        """Return an argument that is a float of so many bits."""
        if self._how.bits == 32 and width == 64:  # a double is a pair of singles
            pair = (self._engine.reg_read(self._how.vectors[2 * index + at]) for at in (0, 1))
            return float(struct.unpack("<d", struct.pack("<II", *pair))[0])
        value = self._engine.reg_read(self._how.vectors[index]) & (1 << width) - 1
        return float(struct.unpack("<f" if width == 32 else "<d",
                                   value.to_bytes(width // 8, "little"))[0])  # fmt: skip

    def give(self, value: int) -> None:
        """Leave an integer as the result."""
        self._engine.reg_write(self._how.result, value % (1 << self._how.bits))

    def give_float(self, value: float, width: int) -> None:
        """Leave a float as the result."""
        data = struct.pack("<f" if width == 32 else "<d", value)
        if self._how.bits == 32 and width == 64:
            for register, word in zip(self._how.vectors, struct.unpack("<II", data)):
                self._engine.reg_write(register, word)
        else:
            self._engine.reg_write(self._how.vectors[0], int.from_bytes(data, "little"))

    def read(self, address: int, size: int) -> bytes:
        return bytes(self._engine.mem_read(address, self.bounded(size)))

    def write(self, address: int, data: bytes) -> None:
        self._engine.mem_write(address, data)

    def write_word(self, address: int, value: int) -> None:
        self.write(address, value.to_bytes(self.pointer_bytes, "little"))

    def bounded(self, size: int) -> int:
        if not 0 <= size <= _MOST_COPIED:
            raise StopError(f"a library function was to touch {size} bytes")
        return size

    def allocate(self, size: int) -> int:
        """Return fresh memory of a heap that is emptied after every round."""
        at = self._heap
        self._heap += -(-self.bounded(size) // 64) * 64 + 64
        if self._heap > self._heap_end:
            raise MemoryError
        return at

    def jump(self, address: int, words: tuple[int, ...]) -> None:
        """Go on in another function, which returns to whoever called this one."""
        for register, word in zip(self._how.arguments, words):
            self._engine.reg_write(register, word)
        self._jumped = address

    # -- rounds ------------------------------------------------------------------------------------

    def fill(self, blocks: tuple[Block, ...], values: Mapping[str, bytes]) -> None:
        """Put every block as a round begins."""
        self._heap = self._heap_start
        for stored in self._stored.values():
            stored.clear()
        for block in blocks:
            data = values.get(block.name, block.data)[: block.size_bytes]
            self.write(self._at[block.name], data.ljust(block.size_bytes, b"\0"))
            for offset, pointer in block.pointers:
                self.write_word(self._at[block.name] + offset, self._address(pointer))

    def call(self, call: Call) -> None:
        """Run one function until it returns.

        Raises
        ------
        StopError : it did not; says why and where
        """
        engine, how = self._engine, self._how
        if not isinstance(call.entry, int):
            raise StopError(f"the emulator calls addresses, not names ({call.entry!r})")
        words = [self._address(one) if isinstance(one, Pointer) else one for one in call.arguments]
        more = words[len(how.arguments) :]
        stack = self._top - -(-len(more) * self.pointer_bytes // 16) * 16
        for at, word in enumerate(more):
            self.write_word(stack + at * self.pointer_bytes, word % (1 << how.bits))
        for register, word in zip(how.arguments, words):
            engine.reg_write(register, word % (1 << how.bits))
        if how.link is None:
            stack -= self.pointer_bytes
            self.write_word(stack, self._back)
            self._set_local()
        else:
            engine.reg_write(how.link, self._back | self._thumb)
        engine.reg_write(how.stack, stack)
        self._run(call.entry | self._thumb)

    def _run(self, entry: int) -> None:
        import unicorn

        self._why = ""
        try:
            self._engine.emu_start(entry, self._back)
        except unicorn.UcError as error:
            at = self._engine.reg_read(self._how.counter)
            raise StopError(self._why or f"{error} at {at:#x}") from None
        if self._why:
            raise StopError(self._why)

    def stored(self, watched: Watched) -> bytes:
        """Return what the watched instructions left in memory, as a probe's answer has it."""
        kept = self._stored[watched.name]
        data = bytes(kept[at] for at in sorted(kept))
        return (struct.pack("<Q", len(kept)) + data)[: watched.answer_bytes].ljust(
            watched.answer_bytes, b"\0"
        )

    def answer(self, block: Block) -> bytes:
        return self.read(self._at[block.name], block.size_bytes)

    def _address(self, pointer: Pointer) -> int:
        return self._at[pointer.block] + pointer.offset

    # -- memory ------------------------------------------------------------------------------------

    def _map_image(self, probe: Emulated) -> None:
        """Map the binary's pages; a page that two pieces share has the rights of both."""
        pages: dict[int, int] = {}
        for piece in probe.pieces:
            rights = _READ | (_WRITE if piece.writable else 0) | (_RUN if piece.executable else 0)
            first, last = piece.address // _PAGE, (piece.address + piece.size_bytes - 1) // _PAGE
            for page in range(first, last + 1):
                pages[page] = pages.get(page, 0) | rights
        for address in probe.imports:
            pages.setdefault(address // _PAGE, _READ | _RUN)
            pages[address // _PAGE] |= _RUN
        run: list[int] = []
        for page in sorted(pages):
            if run and page == run[-1] + 1 and pages[page] == pages[run[-1]]:
                run.append(page)
                continue
            self._map_pages(run, pages)
            run = [page]
        self._map_pages(run, pages)
        for piece in probe.pieces:
            self._engine.mem_write(piece.address, piece.data[: piece.size_bytes])

    def _map_pages(self, run: list[int], pages: Mapping[int, int]) -> None:
        if run:
            begin, size = run[0] * _PAGE, len(run) * _PAGE
            self._engine.mem_map(begin, size, pages[run[0]])
            self._mapped.append((begin, begin + size))

    def _room(self, size: int) -> int:
        for begin in _FREE[self._how.bits]:
            if all(end <= begin or begin + size <= start for start, end in self._mapped):
                return begin
        raise StopError("the binary leaves no room in memory")

    def _take(self, size: int, rights: int = _READ | _WRITE) -> int:
        """Map fresh pages, with one that nobody may touch after them."""
        at, whole = self._next, max(1, -(-size // _PAGE)) * _PAGE
        self._engine.mem_map(at, whole, rights)
        self._next += whole + _PAGE
        return at

    def _set_local(self) -> None:
        from unicorn import x86_const as x

        self._engine.reg_write(x.UC_X86_REG_FS_BASE, self._local)

    # -- calls out of the binary -------------------------------------------------------------------

    def _hook(self, probe: Emulated) -> None:
        import unicorn

        for address in probe.imports:
            self._engine.hook_add(unicorn.UC_HOOK_CODE, self._called, None, address, address)
        if self._watching:
            self._engine.hook_add(unicorn.UC_HOOK_MEM_WRITE, self._wrote)
        self._engine.hook_add(unicorn.UC_HOOK_INTR, self._interrupted)
        if self._how.link is None:  # this processor has an instruction of its own for it
            from unicorn.x86_const import UC_X86_INS_SYSCALL

            self._engine.hook_add(unicorn.UC_HOOK_INSN, self._asked, None, 1, 0, UC_X86_INS_SYSCALL)

    def _called(self, engine: Any, address: int, size: int, _: object) -> None:
        """Do what an imported function would, and go back to its caller."""
        del size
        name, how = self._names[address], self._how
        act = library_function(name)
        if act is None:
            self._stop(f"it called {name}, which the emulator does not have")
            return
        try:
            act(self)
        except (StopError, MemoryError) as error:
            self._stop(str(error) or "it asked for more memory than the emulator has")
            return
        except Exception as error:  # a hook must not raise: the emulator would go on regardless
            self._stop(f"{name} failed: {error}")
            return
        if self._jumped is not None:
            engine.reg_write(how.counter, self._jumped)
            self._jumped = None
        elif how.link is None:
            stack = engine.reg_read(how.stack)
            back = int.from_bytes(engine.mem_read(stack, self.pointer_bytes), "little")
            engine.reg_write(how.stack, stack + self.pointer_bytes)
            engine.reg_write(how.counter, back)
        else:
            engine.reg_write(how.counter, engine.reg_read(how.link))

    def _wrote(
        self, engine: Any, access: int, address: int, size: int, value: int, _: object
    ) -> None:
        """Keep what a watched instruction stores, byte by byte."""
        del access
        name = self._watching.get(engine.reg_read(self._how.counter))
        if name is None:
            return
        kept = self._stored[name]
        if len(kept) > _MOST_COPIED >> 4:
            self._stop("the instructions that are watched store without end")
            return
        for at, byte in enumerate((value & (1 << 8 * size) - 1).to_bytes(size, "little")):
            kept[address + at] = byte

    def _interrupted(self, engine: Any, number: int, _: object) -> None:
        del engine
        self._stop(f"it made a system call or met a trap (interrupt {number})")

    def _asked(self, engine: Any, _: object) -> None:
        self._interrupted(engine, 0x80, None)

    def _stop(self, why: str) -> None:
        self._why = self._why or why
        self._engine.emu_stop()


def emulated(probe: Emulated) -> Runner:
    """Return what makes the calls in an emulator."""
    machine = Machine(probe)
    known = {one.name: one for one in probe.blocks}

    def run(answers: memoryview) -> Iterator[None]:
        at = 0
        for values in probe.rounds:
            machine.fill(probe.blocks, values)
            for call in probe.calls:
                machine.call(call)
            for name in probe.answers:
                data = machine.answer(known[name])
                answers[at : at + len(data)] = data
                at += len(data)
            for watched in probe.watched:
                data = machine.stored(watched)
                answers[at : at + len(data)] = data
                at += len(data)
            yield

    return run
