"""Freed memory stays with the process until the limit is near, and goes then."""

from __future__ import annotations

import json
import subprocess
import sys
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from orrery.runtime.moving import Arena
from orrery.runtime.offload._watch import MemoryWatch

MIB = 1 << 20


@dataclass
class Process:
    """Memory in use, and freed but still held; most is since it was forgotten."""

    used: int = 100 * MIB
    held: int = 0
    highest: int = 100 * MIB
    incoming_bytes: int = 0
    asked_bytes: int = 0
    left_bytes: int = 0
    trims: list[int] = field(default_factory=list)

    def take(self, size: int) -> None:
        self.held -= min(size, self.held)
        self.used += size
        self.highest = max(self.highest, self.read())

    def drop(self, size: int) -> None:
        self.used -= size
        self.held += size

    def trim(self) -> None:
        self.trims.append(self.held)
        self.held = 0

    def read(self) -> int:
        return self.used + self.held

    def most(self) -> int:
        return self.highest

    def forget(self) -> None:
        self.highest = self.read()

    def free(self) -> int:
        return 1 << 40

    def close(self) -> None: ...


def step(process: Process, watch: MemoryWatch, limit: int, *, measuring: bool) -> None:
    """Two looks; 20 MiB are taken and dropped after the first, 50 after the second."""
    watch.begin()
    watch.begin_pass("begin", limit, measuring=measuring)
    for key, size in (("one", 20 * MIB), ("two", 50 * MIB)):
        if measuring:
            watch.look(key)
        else:
            watch.make_room(key, limit)
        process.take(size)
        process.drop(size)
        assert process.read() <= limit
    watch.end(limit, measured=measuring)


def test_memory_goes_back_where_the_next_growth_could_pass_the_limit() -> None:
    process = Process()
    watch = MemoryWatch(process, Arena(0), process.trim, process)
    step(process, watch, 150 * MIB, measuring=True)
    assert process.held == 0 and watch.peak_bytes == 150 * MIB
    for _ in range(2):
        process.trims.clear()
        step(process, watch, 150 * MIB, measuring=False)
        assert process.trims and watch.peak_bytes <= 150 * MIB
    process.trims.clear()
    for _ in range(3):
        step(process, watch, 1000 * MIB, measuring=False)
    assert not process.trims and process.held == 50 * MIB


def test_what_comes_between_steps_and_what_is_read_need_room_too() -> None:
    process = Process()
    watch = MemoryWatch(process, Arena(0), process.trim, process)
    step(process, watch, 200 * MIB, measuring=True)
    process.take(90 * MIB)  # an optimiser
    process.drop(90 * MIB)
    for _ in range(2):
        process.trims.clear()
        step(process, watch, 220 * MIB, measuring=False)
        assert process.read() <= (220 - 90) * MIB and process.trims
        process.take(90 * MIB)
        process.drop(90 * MIB)
    watch.begin()
    watch.begin_pass("begin", 1000 * MIB, measuring=False)
    process.trims.clear()
    watch.make_room("two", 1000 * MIB)
    assert not process.trims
    process.incoming_bytes = process.asked_bytes = 900 * MIB
    watch.make_room("two", 1000 * MIB)
    assert process.trims


def test_what_is_left_out_counts_for_nothing() -> None:
    process = Process()
    watch = MemoryWatch(process, Arena(0), process.trim, process)
    watch.begin()
    watch.begin_pass("begin", None, measuring=True)
    watch.look("one")
    process.take(10 * MIB)
    over = watch.aside()
    process.take(1000 * MIB)
    process.drop(1000 * MIB)
    over()
    assert watch.look("two") == watch.peak_bytes == 110 * MIB


def test_little_that_is_free_is_let_be_however_near_the_limit() -> None:
    process = Process()
    watch = MemoryWatch(process, Arena(0), process.trim, process)
    step(process, watch, 150 * MIB, measuring=True)
    watch.begin()
    watch.begin_pass("begin", 101 * MIB, measuring=False)
    process.trims.clear()
    watch._growth["small"] = MIB // 2
    for _ in range(16):
        watch.make_room("small", 101 * MIB, freed_bytes=MIB // 2)
    assert 6 <= len(process.trims) <= 8


def test_what_left_meanwhile_is_not_counted_on() -> None:
    """Its room may have been used again in the step that was measured, and not be there later."""
    process = Process()
    watch = MemoryWatch(process, Arena(0), process.trim, process)
    watch.begin()
    watch.begin_pass("begin", None, measuring=True)
    watch.look("one")
    process.drop(30 * MIB)
    process.left_bytes += 30 * MIB
    process.take(40 * MIB)
    watch.look("two")
    assert watch._growth["one"] == 40 * MIB


TRAINED = """
import json, resource, sys
import torch
from torch import nn
from orrery.runtime.offload import OffloadSession, OffloadSettings
from orrery.runtime.offload._watch import MemoryWatch
from tests.runtime.offload.planners import by_rule
from pathlib import Path

torch.manual_seed(0)
torch.set_num_threads(1)
net = nn.Sequential(*(part for _ in range(8) for part in (nn.Linear(512, 512), nn.Tanh())))
optimiser = torch.optim.SGD(net.parameters(), lr=0.01, momentum=0.9)
x = torch.randn(2048, 512)
planner = by_rule(lambda t: int(t.name.split()[0]) % 2 == 0, ahead=2)

def train(limit, steps):
    settings = OffloadSettings(folders=[Path(sys.argv[1])], limit_bytes=limit, recompute=False,
                               packing=False, queue_bytes=8 << 20)
    session = OffloadSession(settings, planner)
    faults = []
    for _ in range(steps):
        optimiser.zero_grad()
        before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
        with session:
            net(x).square().mean().backward()
        optimiser.step()
        faults.append(resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before)
    session.close()
    (profile,) = session.profiles
    peaks = [report.peak_bytes for report in session.reports[1:]]
    # The first planned step grows as far as it may.
    return {"faults": sum(faults[2:]), "peak": max(peaks, default=0), "other": profile.other_bytes,
            "saved": profile.saved_bytes}

roomy = 1 << 40
train(roomy, 1)
before = train(roomy, 1)
# Half of what is saved leaves; some waits to be written or is there early, and some is free.
limit = before["other"] + before["saved"] // 2 + (40 << 20)
found = {"limit": limit, "near": train(limit, 4), "roomy": train(roomy, 4)}
junk = [torch.ones(1 << 18) for _ in range(200)]
last = torch.ones(1 << 18)  # behind it: nothing goes back by itself
del junk
found["after other work"] = train(roomy, 1)
MemoryWatch.make_room = lambda self, *given, **named: self.give_back()
found["all"] = train(limit, 4)
print(json.dumps(found | {"before": before}))
"""


@pytest.mark.torch
@pytest.mark.needs("torch")
def test_planned_steps_stay_below_the_limit_with_few_fresh_pages(tmp_path: Path) -> None:
    """In a process of its own: what the C library holds depends on all that was before."""
    done = subprocess.run([sys.executable, "-c", TRAINED, str(tmp_path)], capture_output=True,
                          text=True, check=True)  # fmt: skip
    found = json.loads(done.stdout)
    near, each, roomy = found["near"], found["all"], found["roomy"]
    # Beside two busy programs it was 1 MiB more once: what threads hold in hand is not foreseen.
    assert near["peak"] <= 1.01 * found["limit"]
    # 0.58 to 0.69 on a quiet machine, 0.91 was seen on a busy one.
    assert near["faults"] < each["faults"]
    # 0.17 was seen on a busy machine; how much waits to be written at once is the machine's.
    assert roomy["faults"] < 0.4 * each["faults"]
    # What was freed before a session, 200 MiB here, is not asked for.
    assert found["after other work"]["other"] < found["before"]["other"] + 20 * MIB
