"""Parts that move and keep items, against deques and lists, cycle by cycle."""

from __future__ import annotations

from collections import deque
from functools import cache
from typing import Any

import numpy as np
import pytest
from amaranth import signed
from amaranth.lib import data

from orrery.errors import SpecError
from orrery.rtl import Simulation, StreamRun, simulation
from orrery.rtl.parts import (
    Arbiter,
    BarrelShifter,
    Fifo,
    LeadingOne,
    LookUpUnit,
    MemoryWrapper,
    Part,
    RegisterSlice,
    SkidBuffer,
    Streamed,
)

from .together import together

pytestmark = [pytest.mark.needs("amaranth", "pyosys", "g++"), pytest.mark.rtl]

ROWS = 6000
PAIR = data.StructLayout({"value": signed(5), "last": 1})

#: One input, one output, items unchanged and in order.
CARRIERS: dict[str, Part] = {
    "fifo1": Fifo(8, depth=1),
    "fifo4": Fifo(8, depth=4),
    "fifo5": Fifo(PAIR, depth=5),
    "block1": Fifo(8, depth=1, buffered=True),
    "block2": Fifo(8, depth=2, buffered=True),
    "block3": Fifo(8, depth=3, buffered=True),
    "block6": Fifo(8, depth=6, buffered=True),
    "slice": RegisterSlice(8),
    "skid": SkidBuffer(8),
    "skidreg": SkidBuffer(PAIR, registered=True),
    "streamed": Streamed(LeadingOne(8)),
    "pipeline": Streamed(BarrelShifter(8, registers=3)),
}
ARBITERS = {"merge2": Arbiter(8, inputs=2), "merge5": Arbiter(8, inputs=5)}
MEMORIES: dict[str, dict[str, Any]] = {
    "plain": {"width": 8, "depth": 8},
    "forward": {"width": 6, "depth": 4, "forward": True, "initial": [3, 1, 4]},
    "odd": {"width": 12, "depth": 5, "granularity": 4, "initial": range(5)},
    "oddnew": {"width": 4, "depth": 3, "granularity": 1, "forward": True},
}


def capacity(name: str) -> int:
    """Return how many items a carrier holds when nobody takes any."""
    if name.startswith(("fifo", "block")):
        return int(CARRIERS[name].parameters["depth"])
    return {"slice": 1, "skid": 1, "skidreg": 2}[name]


@cache
def compiled() -> Simulation:
    """All parts in one circuit, compiled once."""
    memories = {name: MemoryWrapper(**given) for name, given in MEMORIES.items()}
    return simulation(together(CARRIERS | ARBITERS | memories), "cxxrtl")


@cache
def played() -> tuple[dict[str, np.ndarray], dict[str, np.ndarray]]:
    """All parts in one circuit under random stalls, once: inputs and outputs by port."""
    rng = np.random.default_rng(11)
    circuit = compiled().circuit
    inputs: dict[str, np.ndarray] = {}
    for port in circuit.ports:
        if port.direction == "in":
            low = -(1 << (port.width - 1)) if port.signed else 0
            inputs[port.name] = rng.integers(low, low + (1 << port.width), ROWS)
    for name, stream in ((s.name, s) for s in circuit.streams):
        ours = stream.valid if stream.direction == "in" else stream.ready
        for start in range(0, ROWS, 500):  # from nearly always to nearly never
            often = rng.choice([0.05, 0.5, 0.95, 1.0])
            inputs[ours][start : start + 500] = rng.random(min(500, ROWS - start)) < often
        if name.startswith("merge") and stream.direction == "in":
            inputs[ours][:1000] = 1  # everybody asks: who is served is a matter of fairness
    return inputs, compiled().cycles(inputs)


def column(name: str) -> list[int]:
    inputs, outputs = played()
    return [int(x) for x in (inputs[name] if name in inputs else outputs[name])]


def payload(stream: str) -> list[tuple[int, ...]]:
    """Return the payload of every cycle, all its ports."""
    inputs, outputs = played()
    names = [
        name
        for name in (*inputs, *outputs)
        if name.startswith(f"{stream}__") and not name.endswith(("__valid", "__ready"))
    ]
    return list(zip(*(column(name) for name in sorted(names))))


@pytest.mark.parametrize("name", [n for n in CARRIERS if n not in ("streamed", "pipeline")])
def test_items_come_out_unchanged_in_order_and_none_is_lost(name: str) -> None:
    held: deque[tuple[int, ...]] = deque()
    level = column(f"{name}_level") if name.startswith(("fifo", "block")) else None
    offered = False
    most = 0
    ports = ("i__valid", "i__ready", "o__valid", "o__ready")
    rows = zip(*(column(f"{name}_{p}") for p in ports), payload(f"{name}_i"), payload(f"{name}_o"))
    for cycle, (i_valid, i_ready, o_valid, o_ready, came, went) in enumerate(rows):
        assert not offered or o_valid, (cycle, "an offer was withdrawn")
        if level is not None:
            assert level[cycle] == len(held), cycle
        if i_valid and i_ready:
            held.append(came)
        if o_valid:
            assert held and went == held[0], cycle
        if o_valid and o_ready:
            held.popleft()
        offered = bool(o_valid and not o_ready)
        assert len(held) <= capacity(name), cycle
        most = max(most, len(held))
    assert most == capacity(name)


@pytest.mark.parametrize("depth", [1, 4, 5])
def test_a_queue_behaves_as_a_deque_in_every_cycle(depth: int) -> None:
    name = f"fifo{depth}"
    held: deque[tuple[int, ...]] = deque()
    ports = ("i__valid", "o__ready", "i__ready", "o__valid")
    rows = zip(*(column(f"{name}_{p}") for p in ports), payload(f"{name}_i"), payload(f"{name}_o"))
    for cycle, (i_valid, o_ready, i_ready, o_valid, came, went) in enumerate(rows):
        assert (i_ready, o_valid) == (len(held) < depth, bool(held)), cycle
        assert not held or went == held[0]
        room = i_ready
        if o_ready and held:
            held.popleft()
        if i_valid and room:
            held.append(came)


def test_a_pipeline_stands_still_only_where_a_result_waits() -> None:
    """Three registers: items move up through gaps as long as the last one is empty or taken."""
    slots: list[int | None] = [None, None, None]
    ports = ("i__valid", "i__ready", "o__valid", "o__ready")
    rows = zip(*(column(f"pipeline_{p}") for p in ports), *(
        column(f"pipeline_{p}") for p in ("i__value", "i__amount", "o__result")
    ))  # fmt: skip
    for cycle, (i_valid, i_ready, o_valid, o_ready, value, amount, result) in enumerate(rows):
        assert o_valid == (slots[-1] is not None), cycle
        assert not o_valid or result == slots[-1], cycle
        assert i_ready == (not o_valid or o_ready), cycle
        if i_ready:
            slots = [(value << amount) & 255 if i_valid else None, *slots[:-1]]


def test_what_cuts_a_path_does_not_let_it_through() -> None:
    """A skid buffer's ready is a register, a slice's valid is one: both follow the cycle before."""
    ready, taken = column("skid_i__ready"), column("skid_o__ready")
    valid = column("skid_i__valid")
    keeps = 0
    for cycle in range(ROWS):
        assert ready[cycle] == (not keeps)
        keeps = int((keeps or valid[cycle]) and not taken[cycle])
    came, taken = column("slice_i__valid"), column("slice_o__ready")
    full = 0
    for valid_now, came_now, taken_now in zip(column("slice_o__valid"), came, taken):
        assert valid_now == full
        full = came_now if not full or taken_now else full


@cache
def unstalled() -> StreamRun:
    """Forty items through every carrier as fast as it takes them."""
    circuit = compiled().circuit
    rng = np.random.default_rng(1)
    streams = {stream.name: stream for stream in circuit.streams}
    counts = {name: 0 if name.startswith("merge") else 40 for name in streams}
    inside = {port for s in circuit.streams for port in (*s.payload, s.valid, s.ready)}
    return compiled().stream(
        {
            name: {p: rng.integers(0, 2, counts[name]) for p in stream.payload}
            for name, stream in streams.items()
            if stream.direction == "in"
        },
        outputs={name: counts[name] for name, s in streams.items() if s.direction == "out"},
        held={p.name: 0 for p in circuit.ports if p.direction == "in" and p.name not in inside},
    )


@pytest.mark.parametrize("name", CARRIERS)
def test_latency_and_interval_are_what_timing_says(name: str) -> None:
    """Measured where no stream ever stalls."""
    found = unstalled()
    timing = CARRIERS[name].timing
    taken, given = found.taken[f"{name}_i"], found.given[f"{name}_o"]
    assert (np.diff(taken)[-20:] == timing.interval).all()
    assert (given - taken)[-20:].min() == timing.latency


@pytest.mark.parametrize("name", ARBITERS)
def test_an_arbiter_serves_by_turns(name: str) -> None:
    """The rule in plain Python; an offer that waits is not changed."""
    count = int(ARBITERS[name].parameters["inputs"])
    valid = [column(f"{name}_i{k}__valid") for k in range(count)]
    ready = [column(f"{name}_i{k}__ready") for k in range(count)]
    came = [column(f"{name}_i{k}__payload") for k in range(count)]
    o_valid, o_ready = column(f"{name}_o__valid"), column(f"{name}_o__ready")
    item, source = column(f"{name}_o__item"), column(f"{name}_o__source")
    turn, served = 0, [0] * count
    for cycle in range(ROWS):
        asking = [k for k in range(count) if valid[k][cycle]]
        assert o_valid[cycle] == bool(asking)
        if asking:
            chosen = min(asking, key=lambda k: (k - turn) % count)
            assert (source[cycle], item[cycle]) == (chosen, came[chosen][cycle]), cycle
            turn = (chosen + 1) % count if o_ready[cycle] else chosen
        for k in range(count):
            assert ready[k][cycle] == (bool(asking) and k == chosen and bool(o_ready[cycle])) or (
                not asking
            )
            served[k] += ready[k][cycle] and valid[k][cycle] and cycle < 1000
    assert max(served) - min(served) <= 1 and min(served) > 0


@pytest.mark.parametrize("name", MEMORIES)
def test_a_memory_keeps_what_is_written(name: str) -> None:
    given = MEMORIES[name]
    width, depth = given["width"], given["depth"]
    part = given.get("granularity", width)
    rows = (list(given.get("initial", [])) + [0] * depth)[:depth]
    shown = 0
    columns = [
        column(f"{name}_{port}")
        for port in ("write_enable", "write_address", "write_data", "read_enable", "read_address")
    ]
    found = column(f"{name}_read_data")
    for cycle, (writes, where, what, reads, place) in enumerate(zip(*columns)):
        assert cycle == 0 or found[cycle] == shown, cycle
        before = rows[place] if place < depth else 0
        mask = sum(((1 << part) - 1) << part * k for k in range(width // part) if writes >> k & 1)
        if where < depth:
            rows[where] = rows[where] & ~mask | what & mask
        after = rows[place] if place < depth else 0
        if reads:
            shown = after if given.get("forward") else before


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: Fifo(8, depth=0), r"Fifo: depth: found 0, wanted a whole number from 1 upwards"),
        (lambda: Fifo(0, depth=2), r"Fifo: shape: found '0 bits'"),
        (lambda: RegisterSlice("byte"), r"RegisterSlice: shape: found 'byte', wanted a shape"),
        (lambda: Arbiter(8, inputs=1), r"Arbiter: inputs: found 1, wanted .* from 2"),
        (lambda: Streamed(Fifo(8, depth=2)), r"found 'the stream i', wanted plain ports"),
        (lambda: MemoryWrapper(8, depth=1), r"MemoryWrapper: depth: found 1"),
        (lambda: MemoryWrapper(8, depth=4, granularity=3), r"wanted a number that divides .* 8"),
        (lambda: MemoryWrapper(8, depth=4, initial=[256]), r"initial\[0\]: found 256"),
        (lambda: MemoryWrapper(8, depth=2, initial=[1, 2, 3]), r"found '3 rows', wanted 2 or"),
        (lambda: LookUpUnit([1, 2, 3], input=4, output=4), r"found '3 samples', wanted 2\*\*k, k"),
    ],
)
def test_what_makes_no_circuit_is_refused(make: Any, message: str) -> None:
    with pytest.raises(SpecError, match=message):
        make()
