"""A function carried out region by region: branches joined, loops turned into extents.

Models:  a region (the function, or the body of a loop) as a graph without cycles whose inner loops
         are single nodes; one turn of a loop carried out with symbols for what changes.
Ignores: exits from the middle of a loop at more than one place: such a loop is said to be unread.
Judge:   native runs of lifted kernels (tests/decompile/lifting).
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from functools import partial

from orrery.decompile.forms import Symbol, Unread
from orrery.decompile.values import Cells

from ._block import Interpreter
from ._calls import carry_out_call, changed_by
from ._flow import RETURNED, Flow, NaturalLoop, live_registers, mask
from ._loops import run_loop
from ._state import State, join
from ._turns import LoopMemory


@dataclass(slots=True)
class Outcome:
    """How a region was left.

    Attributes
    ----------
    leaving : (target, state, steps written down by then) of each edge out of the region; a loop
        that returns leaves to `RETURNED`
    back : states that go on to the region's head again
    returned : states in which the function returned
    head_leaves : whether the region's head has an edge out of it
    """

    leaving: list[tuple[int, State, int]] = field(default_factory=list)
    back: list[State] = field(default_factory=list)
    returned: list[State] = field(default_factory=list)
    head_leaves: bool = False


class Walker:
    """Walks one function; inner functions get a walker of their own on the same interpreter."""

    def __init__(self, engine: Interpreter, flow: Flow, *, depth: int = 0) -> None:
        self.engine, self.flow, self.depth = engine, flow, depth
        self.memories: dict[int, LoopMemory] = {}
        self.live = live_registers(engine.machine, flow, partial(changed_by, engine))
        self.lost: set[int] = set()

    def run(self, state: State) -> State | None:
        """Carry out the function; return the state in which it returns, None if it never does."""
        outcome = self.region(None, state)
        return join(self.engine.build, outcome.returned) if outcome.returned else None

    def region(
        self, loop: NaturalLoop | None, state: State, after_head: Callable[[], None] | None = None
    ) -> Outcome:
        """Carry out a region once from its head."""
        flow = self.flow
        head = flow.entry if loop is None else loop.head
        inside = set(flow.blocks) if loop is None else loop.body
        outcome = Outcome()
        begun = state.guards
        waiting: dict[int, list[State]] = {head: [state]}
        for address in flow.order:
            if address not in waiting or address not in inside:
                continue
            arrived = waiting.pop(address)
            for one in arrived[1:] and arrived:
                self._forget_dead(one, address)
            here = join(self.engine.build, arrived)
            self._forget_dead(here, address)
            if len(arrived) > 1 and len(here.guards) > len(begun) and self._always(address, head):
                here.guards = begun
            inner = flow.loops.get(address)
            if inner is not None and inner is not loop:
                edges = [(t, s, len(self.engine.steps)) for t, s in run_loop(self, inner, here)]
            else:
                edges = self._block(address, here)
            for target, after, written in edges:
                if target not in inside:
                    target = flow.forward.get(target, target)
                if target == head and loop is not None:
                    outcome.back.append(after)
                elif target == RETURNED and loop is None:
                    outcome.returned.append(after)
                elif target in inside:
                    waiting.setdefault(target, []).append(after)
                else:
                    outcome.leaving.append((target, after, written))
                    outcome.head_leaves = outcome.head_leaves or address == head
            if address == head and after_head is not None:
                after_head()
        return outcome

    def _forget_dead(self, state: State, address: int) -> None:
        """Forget registers that nothing reads from here on."""
        live = self.live[address]
        pieces = state.registers.pieces
        state.registers = Cells(
            {at: v for at, v in pieces.items() if live & mask(at, v.width // 8)}
        )

    def _always(self, address: int, head: int) -> bool:
        """Return whether no path from a region's head to its end misses a block."""
        loop = self.flow.loops.get(head) if head != self.flow.entry else None
        inside = set(self.flow.blocks) if loop is None else loop.body
        seen, stack = {head}, [head]
        if address == head:
            return True
        while stack:
            block = self.flow.blocks[stack.pop()]
            if block.ends in ("return", "jump"):
                return False
            for target in block.successors:
                if target == address or target in seen:
                    continue
                if target not in inside:
                    if loop is not None:
                        return False
                    continue
                if target == head and loop is not None:
                    return False
                seen.add(target)
                stack.append(target)
        return True

    def _block(self, address: int, state: State) -> list[tuple[int, State, int]]:
        engine, block = self.engine, self.flow.blocks[address]
        if block.code is None:
            if address not in self.lost:
                self.lost.add(address)
                engine.unread.append(
                    Unread(instruction=address, reason="no instruction is known here")
                )
            return []
        edges, goes_on = engine.run(state, block)
        if not goes_on:
            return edges
        if block.ends == "call":
            carry_out_call(self, state, block)
            return [(t, s, len(engine.steps) if s is state else w) for t, s, w in edges]
        if block.ends == "return":
            edges.append((RETURNED, state, len(engine.steps)))
        elif block.ends == "jump":
            carry_out_call(self, state, block)
            self._pop(state)
            edges.append((RETURNED, state, len(engine.steps)))
        elif block.ends == "lost":
            engine.unread.append(
                Unread(instruction=engine.here, reason="a jump whose target only runs can tell")
            )
        return edges

    def _pop(self, state: State) -> None:
        """Undo what a call put on the stack."""
        machine = self.engine.machine
        if machine.x86:
            value = state.registers.pieces[machine.stack]
            state.registers.put(
                self.engine.build, machine.stack,
                self.engine.build.add(value, self.engine.build.number(machine.word, 64), 64),
            )  # fmt: skip

    def counter(self) -> Symbol:
        """Return a new counter."""
        return self.engine.fresh("k", "counter")
