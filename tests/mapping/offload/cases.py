"""Steps for the tests of the planner: whole seconds and bytes, so that sums are exact."""

from __future__ import annotations

from dataclasses import replace
from random import Random

from hypothesis import strategies as st

from orrery.mapping.offload._mend import least_room
from orrery.mapping.offload._problem import columns_of
from orrery.offload_plan import SavedTensor, StepProfile


def tensor(
    n: int, size: int, made: float, needed: float, *, last: float | None = None,
    gone: float | None = None, packed: int | None = None, again: float | None = None,
    movable: bool = True, needs: tuple[int, ...] = (), beside: int = 0,
) -> SavedTensor:  # fmt: skip
    return SavedTensor(
        name=f"t{n}", size_bytes=size, stored_bytes=size, made_s=made,
        last_use_s=made if last is None else last, needed_s=needed, released_s=gone,
        packed_bytes=packed, recompute_s=again, movable=movable,
        recompute_needs=tuple(f"t{n}" for n in needs), recompute_bytes=beside,
    )  # fmt: skip


def step(
    tensors: list[SavedTensor], *, forward: float, backward: float, limit: int, other: int = 0,
    write: float = 1.0, read: float = 1.0, pack: float = 1e6, disk: int | None = None,
    request: float = 0.0, queue: int | None = None, drag: float = 0.0, speed: float = 1.0,
    depth: int | None = None,
) -> StepProfile:  # fmt: skip
    return StepProfile(
        name="case", tensors=tuple(tensors), forward_s=forward, backward_s=backward,
        other_bytes=other, limit_bytes=limit, write_bytes_per_s=write, read_bytes_per_s=read,
        pack_bytes_per_s=pack, unpack_bytes_per_s=pack, disk_bytes=disk, request_s=request,
        queue_bytes=queue, write_drag=drag, read_drag=drag, waiting_speed=speed,
        recompute_depth=depth,
    )  # fmt: skip


def equal(count: int, size: int, *, limit: int, every: float = 1.0, rate: float = 1.0,
          other: int = 0) -> StepProfile:  # fmt: skip
    """A chain of equal layers: made one after the other, needed in reverse."""
    tensors = [tensor(n, size, (n + 1) * every, (count - 1 - n) * every) for n in range(count)]
    return step(tensors, forward=count * every, backward=count * every, limit=limit, other=other,
                write=rate, read=rate)  # fmt: skip


@st.composite
def steps(draw: st.DrawFn, *, most: int = 7, disk: bool = False) -> StepProfile:
    """Any order of needs, any lives, some packable, some that can be made again, some stuck."""
    count = draw(st.integers(1, most))
    whole = st.integers(0, 6)
    tensors, now = [], 0
    needs = draw(st.permutations(range(count))) if draw(st.booleans()) else range(count)[::-1]
    for n in range(count):
        now += draw(whole)
        size = draw(st.integers(1, 12))
        need = 3 * needs[n] + draw(st.integers(0, 2))
        packed = draw(st.none() | st.integers(1, 12))
        tensors.append(
            tensor(
                n,
                size,
                now,
                need,
                last=now + draw(whole),
                gone=need + draw(whole),
                packed=packed,
                again=draw(st.none() | st.integers(0, 4)),
                needs=tuple(draw(st.sets(st.integers(0, n - 1), max_size=2))) if n else (),
                beside=draw(st.sampled_from([0, 0, 3])),
                movable=draw(st.sampled_from([True, True, True, True, False])),
            )
        )
    total = sum(t.size_bytes for t in tensors)
    speed = draw(st.sampled_from([0.5, 1.0, 2.0, 4.0]))
    return step(
        tensors, forward=now + 6 + draw(whole), backward=3 * count + 8 + draw(whole),
        limit=draw(st.integers(total // 3, total + 1)) + 5, other=5, write=speed,
        read=draw(st.sampled_from([0.5, 1.0, 2.0, 4.0])), pack=draw(st.sampled_from([0.25, 4.0])),
        disk=draw(st.none() | st.integers(0, total)) if disk else None,
        request=draw(st.sampled_from([0.0, 1.0])),
        queue=draw(st.none() | st.integers(0, 20)), drag=draw(st.sampled_from([0.0, 0.0, 0.5])),
        speed=draw(st.sampled_from([1.0, 2.0])), depth=draw(st.sampled_from([None, None, 1])),
    )  # fmt: skip


def seeded(seed: int, *, count: int = 5) -> StepProfile:
    """A step whose limit is tight and can be kept; every second one is needed in any order."""
    random, beside = Random(seed), Random(seed)
    order = list(range(count))[::-1]
    if seed % 2:
        random.shuffle(order)
    tensors, now = [], 0
    for n in range(count):
        now += random.randint(0, 6)
        need = 3 * order[n] + random.randint(0, 2)
        tensors.append(
            tensor(
                n,
                random.randint(1, 12),
                now,
                need,
                last=now + random.choice([0, 0, 1, 5]),
                gone=need + random.choice([0, 1, 2, 5]),
                packed=random.choice([None, random.randint(1, 12)]),
                again=random.choice([None, None, random.randint(0, 4)]),
                needs=tuple(random.sample(range(n), min(n, random.choice([0, 1, 1, 2])))),
                beside=beside.choice([0, 0, 3, 6]),
            )
        )
    profile = step(
        tensors, forward=now + 6, backward=3 * count + 10, limit=0,
        write=random.choice([0.5, 1.0, 2.0, 4.0]), read=random.choice([0.5, 1.0, 2.0, 4.0]),
        pack=4.0, queue=random.choice([None, 12]), drag=0.0 if seed % 3 else 0.5,
        speed=1.0 if seed % 3 else 2.0,
    )  # fmt: skip
    least, _, _ = least_room(columns_of(profile))
    most = profile.saved_bytes
    return replace(profile, limit_bytes=least + random.randint(0, max(0, most - least) * 2 // 3))
