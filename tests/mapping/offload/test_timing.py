"""Times and peaks of a step against a second replay and closed forms."""

from __future__ import annotations

import math
from dataclasses import replace
from itertools import pairwise
from random import Random

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from orrery.mapping.offload import write_delays
from orrery.mapping.offload._problem import DROP, KEEP, PACK, WRITE, Columns, columns_of
from orrery.mapping.offload._timing import Move, Shortage, Timing, time_step
from orrery.offload_plan import StepProfile

from .cases import equal, seeded, step, steps, tensor
from .witness import DeadlockError, watch

NAMES = {KEEP: "keep", WRITE: "write", PACK: "pack", DROP: "drop"}


def chosen(draw: st.DataObject, columns: Columns) -> tuple[int, ...]:
    return tuple(draw.draw(st.sampled_from(allowed)) for allowed in columns.allowed)


@settings(max_examples=150, deadline=None)
@given(steps(), st.data())
def test_the_second_witness_sees_the_same(profile: StepProfile, data: st.DataObject) -> None:
    columns = columns_of(profile)
    choices = chosen(data, columns)
    ahead = data.draw(st.sampled_from([math.inf, 0, 5, 13]))
    timing = time_step(columns, choices, ahead_bytes=ahead)
    actions = [NAMES[choice] for choice in choices]
    if isinstance(timing, Shortage):
        # Each tensor fetched at its own need is the least that the backward can hold.
        latest = [(n, n) for n in columns.needs if choices[n] in (WRITE, PACK)]
        try:
            seen = watch(profile, actions, latest)
        except DeadlockError:
            assert timing.phase == "forward"
        else:
            assert timing.phase == "backward"
            assert seen.peak >= timing.need > profile.room_bytes
        return
    seen = watch(profile, actions, timing.reads)
    assert seen.step_s == timing.step_s
    assert seen.peak == timing.peak_bytes <= profile.room_bytes
    assert seen.written_s == timing.write_end_s
    begin = profile.forward_s + timing.forward_stall_s + timing.drain_s
    assert begin <= seen.begin_s <= begin + timing.slowed_s
    waits = timing.forward_stall_s + timing.drain_s + timing.backward_stall_s + timing.recompute_s
    waits += timing.slowed_s
    assert timing.step_s == columns.plain_s + waits
    assert [n for n, _ in timing.reads] == [n for n in columns.needs if choices[n] in (WRITE, PACK)]


@settings(max_examples=60, deadline=None)
@given(steps(), st.data())
def test_more_of_anything_never_makes_the_same_plan_slower(
    profile: StepProfile, data: st.DataObject
) -> None:
    columns = columns_of(profile)
    choices = chosen(data, columns)
    timing = time_step(columns, choices)
    ahead = data.draw(st.integers(0, 40))
    near = time_step(columns, choices, ahead_bytes=ahead)
    far = time_step(columns, choices, ahead_bytes=ahead + data.draw(st.integers(0, 40)))
    if isinstance(timing, Shortage):
        assert isinstance(near, Shortage)
        assert isinstance(far, Shortage)
        return
    assert isinstance(near, Timing)
    assert isinstance(far, Timing)
    assert timing.step_s <= far.step_s <= near.step_s
    for change in (
        {"write_bytes_per_s": 2 * profile.write_bytes_per_s},
        {"read_bytes_per_s": 2 * profile.read_bytes_per_s},
        {"limit_bytes": profile.limit_bytes + 3},
        {"request_s": 0.0},
        {"queue_bytes": None},
        {"write_drag": 0.0, "read_drag": 0.0},
    ):
        quicker = time_step(columns_of(replace(profile, **change)), choices)
        assert isinstance(quicker, Timing)
        assert quicker.step_s <= timing.step_s


@given(st.lists(st.tuples(st.integers(0, 20), st.integers(0, 9)), max_size=12))
def test_delays_follow_the_published_recursion(rows: list[tuple[int, int]]) -> None:
    made = sorted(at for at, _ in rows)
    lasts = [seconds for _, seconds in rows]
    delays, end = write_delays(made, lasts)
    assert all(delay >= 0 for delay in delays)
    for i in range(1, len(rows)):
        assert delays[i] == max(0, made[i - 1] + lasts[i - 1] + delays[i - 1] - made[i])
    # The end of a queue is the largest sum of a making and all writes from there on.
    assert end == max((made[i] + sum(lasts[i:]) for i in range(len(rows))), default=0)
    if rows:
        assert delays[0] == 0


@pytest.mark.parametrize("rate", [0.5, 1.0, 2.0, 4.0, 8.0])
def test_equal_tensors_have_a_closed_form(rate: float) -> None:
    """All of n equal tensors leave; memory for all, so only the queues delay."""
    count, size = 8, 4
    profile = equal(count, size, limit=count * size, rate=rate)
    timing = time_step(columns_of(profile), (WRITE,) * count)
    assert isinstance(timing, Timing)
    move = size / rate
    written = 1 + count * move if move >= 1 else count + move
    assert timing.write_end_s == written
    assert timing.drain_s == written - count
    # In the backward the first is waited for whole, the k-th until k reads have ended.
    waited = max((k + 1) * move - k for k in range(count))
    assert timing.backward_stall_s == waited
    assert timing.hidden_share == 1 - (written - count + waited) / (2 * count * move)


def test_one_tensor_stalls_by_what_idleness_does_not_cover() -> None:
    for idle in (2, 5, 9):
        profile = step([tensor(0, 6, 0, idle)], forward=idle, backward=10, limit=6)
        timing = time_step(columns_of(profile), (WRITE,))
        assert isinstance(timing, Timing)
        assert timing.step_s - profile.forward_s - profile.backward_s == max(0, 2 * (6 - idle))


def test_the_forward_waits_for_memory_that_a_write_frees() -> None:
    profile = step([tensor(0, 6, 1, 8), tensor(1, 5, 2, 1)], forward=4, backward=9, limit=10)
    timing = time_step(columns_of(profile), (WRITE, KEEP))
    assert isinstance(timing, Timing)
    assert (timing.forward_stall_s, timing.drain_s, timing.peak_bytes) == (6, 0, 6)
    # In use until the second is made, the first cannot leave in time, however fast it is written.
    busy = step([tensor(0, 6, 1, 8, last=2), tensor(1, 5, 2, 1)], forward=4, backward=9, limit=10)
    short = time_step(columns_of(busy), (WRITE, KEEP))
    assert short == Shortage(tensor=1, need=11, phase="forward", held=(1,))


def test_the_forward_waits_while_too_much_is_unwritten() -> None:
    profile = equal(4, 4, limit=16)  # 4 s of writing every second
    for queue, stall, end in ((None, 0, 17), (16, 0, 17), (8, 5, 17), (4, 9, 17), (0, 9, 17)):
        columns = columns_of(replace(profile, queue_bytes=queue))
        timing = time_step(columns, (WRITE,) * 4)
        assert isinstance(timing, Timing)
        assert (timing.forward_stall_s, timing.write_end_s) == (stall, end), queue
        assert timing.drain_s == 17 - 4 - stall


def test_computing_is_slower_beside_transfers_and_they_are_faster_while_it_waits() -> None:
    """One tensor of 8 s beside computing at half its speed, 4 s while the step waits."""
    for after, forward in ((2, 8.0), (4, 10.0), (10, 16.0)):  # of computing, once it is made
        profile = step([tensor(0, 8, 2, 0)], forward=2 + after, backward=2, limit=8, drag=0.5,
                       speed=2.0)  # fmt: skip
        timing = time_step(columns_of(profile), (WRITE,))
        assert isinstance(timing, Timing)
        # What is computed beside it takes twice as long; half of what is left is waited for.
        beside = min(8.0, 2.0 * after)
        drained = (8.0 - beside) / 2
        assert timing.drain_s == drained
        assert timing.write_end_s == 2 + beside + drained
        assert timing.backward_stall_s == 4.0  # needed at once: nothing is computed meanwhile
        assert timing.slowed_s == beside / 2
        assert timing.step_s == forward + 4.0 + 2.0


def test_a_read_begins_at_the_need_that_leaves_room() -> None:
    """Two kept tensors make room one after the other for two that left."""
    profile = step(
        [tensor(0, 4, 1, 9), tensor(1, 4, 2, 6), tensor(2, 4, 3, 3, gone=4), tensor(3, 4, 4, 0,
                gone=1)], forward=12, backward=12, limit=8,
    )  # fmt: skip
    timing = time_step(columns_of(profile), (WRITE, WRITE, KEEP, KEEP))
    assert isinstance(timing, Timing)
    assert timing.reads == ((1, 2), (0, 1))
    # Read from 3 to 7 and so needed at 6 + 1; the other from its need on, 6 + 0 to 11: 9 + 2.
    assert timing.backward_stall_s == 2
    assert timing.ahead_bytes == 4 and timing.ahead_tensors == 1


def test_what_others_are_made_again_from_stays_as_long_as_those() -> None:
    """The first is let go at 2, but what is made again from it, one from the other, at 6."""
    tensors = [tensor(0, 4, 1, 1, gone=2), tensor(1, 4, 2, 1, gone=3, again=1, needs=(0,)),
               tensor(2, 4, 3, 1, gone=6, again=1, needs=(1,)),
               tensor(3, 4, 4, 4, gone=5)]  # fmt: skip
    profile = step(tensors, forward=10, backward=10, limit=12)
    choices = (KEEP, DROP, DROP, WRITE)
    timing = time_step(columns_of(profile), choices)
    assert isinstance(timing, Timing)
    assert timing.peak_bytes == 12  # at 1 the three, at 4 the first and the two last
    assert watch(profile, [NAMES[c] for c in choices], timing.reads).peak == 12
    # Without the first, there would be no more than 8 at 4.
    late = [replace(tensors[1], size_bytes=1), replace(tensors[2], size_bytes=1), tensors[3]]
    profile = step([tensors[0], *late], forward=10, backward=10, limit=8)
    short = time_step(columns_of(profile), choices)
    assert short == Shortage(tensor=3, need=9, phase="backward", held=(0,))
    alone = [replace(late[0], recompute_needs=()), *late[1:]]
    free = time_step(columns_of(step([tensors[0], *alone], forward=10, backward=10, limit=8)),
                     choices)  # fmt: skip
    assert isinstance(free, Timing)


def test_one_tensor_is_read_ahead_whatever_the_limit() -> None:
    profile = equal(4, 4, limit=16, every=8)
    none, two = (time_step(columns_of(profile), (WRITE,) * 4, ahead_bytes=b) for b in (0, 8))
    assert isinstance(none, Timing)
    assert isinstance(two, Timing)
    assert (none.ahead_bytes, two.ahead_bytes) == (4, 8)
    assert none.reads == ((3, -1), (2, 3), (1, 2), (0, 1))
    assert two.reads == ((3, -1), (2, -1), (1, 3), (0, 2))
    assert none.backward_stall_s == two.backward_stall_s == 4


def test_each_queue_does_one_transfer_after_the_other() -> None:
    looked = 0
    for seed in range(80):
        columns = columns_of(seeded(seed))
        choices = tuple(Random(seed).choice(allowed) for allowed in columns.allowed)
        moves: list[Move] = []
        timing = time_step(columns, choices, moves=moves)
        if isinstance(timing, Shortage):
            continue
        looked += bool(moves)
        for write in (True, False):
            queue = [(begin, end) for _, way, begin, end in moves if way == write]
            assert all(a[1] <= b[0] for a, b in pairwise(queue))
        assert [n for n, write, _, _ in moves if not write] == [n for n, _ in timing.reads]
        assert sum(end - begin for _, _, begin, end in moves) == pytest.approx(timing.io_s)
        assert max((end for _, w, _, end in moves if w), default=0) == timing.write_end_s
    assert looked > 30
