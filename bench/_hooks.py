"""What a hook costs per saved tensor, by what becomes of the tensor; a process of its own.

A chain of products saves one tensor each; the step with a session, less its waits, less the same
step without one, per tensor: packing and unpacking together. Chains and plain chains run in turn.
Prints a JSON document: class -> microseconds one per round, by the clock and of the training
thread's processor time, in which other programs and the moving threads have no part.
"""

from __future__ import annotations

import json
import sys
import tempfile
import time
from collections.abc import Callable
from typing import Any

import torch

from orrery.api.offloading import OffloadOptions, offload

#: As many as a network of 200 layers saves; what a step takes by itself is shared among them.
TENSORS, SMALL, LARGE = 600, 64, 1 << 16
CLASSES = ("parameter", "small", "kept", "offloaded")


def chain(kind: str) -> Any:
    """Return a function that multiplies by so many tensors, which are saved, and goes back."""
    count = SMALL if kind in ("parameter", "small") else LARGE
    x = torch.randn(count, requires_grad=True)
    factors = [torch.randn(count) for _ in range(TENSORS)]
    if kind == "parameter":
        factors = [torch.nn.Parameter(f, requires_grad=False) for f in factors]

    def step() -> None:
        y = x
        for factor in factors:
            y = y * factor  # saves the factor alone: it needs no gradient itself
        y.sum().backward()

    return step


def measure(kind: str, folder: str, rounds: int) -> tuple[list[float], list[float]]:
    step = chain(kind)
    options = OffloadOptions(least="4 KiB", packing=False)
    anchor = torch.randn(1 << 18, requires_grad=True)

    def whole() -> None:
        step()
        if kind in ("parameter", "small"):
            (anchor * anchor.detach()).sum().backward()  # a step without any tensor has no plan

    roomy = offload(folder, "8 GiB", options=options)
    with roomy:
        whole()
    session = roomy
    if kind == "offloaded":
        profile = roomy.profiles[0]
        limit = profile.other_bytes + profile.saved_bytes // 2
        session = offload(folder, f"{limit} B", options=options)
        with session:
            whole()
    wall: list[float] = []
    busy: list[float] = []
    for _ in range(rounds + 3):
        plain_s, plain_cpu_s = timed(whole)

        def within() -> None:
            with session:
                whole()

        took_s, took_cpu_s = timed(within)
        report = session.reports[-1]
        moved = max(1, report.offloaded) if kind == "offloaded" else TENSORS
        wall.append(1e6 * (took_s - report.waited_s - plain_s) / moved)
        busy.append(1e6 * (took_cpu_s - plain_cpu_s) / moved)
    return wall[3:], busy[3:]


def timed(action: Callable[[], None]) -> tuple[float, float]:
    """Return seconds by the clock and of this thread's processor time."""
    begun, busy = time.perf_counter(), time.thread_time()
    action()
    return time.perf_counter() - begun, time.thread_time() - busy


def main() -> None:
    torch.set_num_threads(1)
    with tempfile.TemporaryDirectory(prefix="orrery-hooks-") as folder:
        print(json.dumps({k: measure(k, folder, int(sys.argv[1])) for k in CLASSES}))


if __name__ == "__main__":
    main()
