"""What hooks take per saved tensor, by what becomes of the tensor; a process of its own.

A chain of products saves one tensor each. Both hooks of each are timed by the session's clock,
which stands still while a transfer or memory is waited for: packing and unpacking together; and by
the processor seconds of the training thread, which leave out that it waits for the interpreter's
lock or for a processor while other threads move bytes. Beside that the whole step with a session,
less its waits, less the same step without one, per tensor: what a session costs where the moving
threads and fresh memory count too. What is offloaded has two sizes, so that what a tensor takes
can be told from what its bytes take. Chains and plain chains run in turn. Prints a JSON document:
class -> bytes of a tensor, and microseconds, one per round: `hooks` by the clock, `own` by the
processor, `longer` for the whole.
"""

from __future__ import annotations

import json
import sys
import tempfile
import time
from collections.abc import Callable
from typing import Any

import torch

from orrery.api.offloading import OffloadOptions, TrainingSession, offload

#: As many as a network of 200 layers saves; what a step takes by itself is shared among them.
TENSORS, SMALL, LARGE = 600, 64, 1 << 16
#: Elements of a tensor, by class.
CLASSES = {"parameter": SMALL, "small": SMALL, "kept": LARGE, "offloaded": LARGE,
           "offloaded, larger": 4 * LARGE}  # fmt: skip


def chain(kind: str) -> Any:
    """Return a function that multiplies by so many tensors, which are saved, and goes back."""
    count, leaves = CLASSES[kind], kind.startswith("offloaded")
    x = torch.randn(count, requires_grad=True)
    factors = [torch.randn(count)] * TENSORS
    if not leaves:
        factors = [torch.randn(count) for _ in range(TENSORS)]
    if kind == "parameter":
        factors = [torch.nn.Parameter(f, requires_grad=False) for f in factors]

    def step() -> None:
        y = x
        for factor in factors:
            # Saves the factor alone: it needs no gradient itself. What the program holds as well
            # does not leave, and so a copy of it is saved.
            y = y * (factor.clone() if leaves else factor)
        y.sum().backward()

    return step


class Timed:
    """The session's hooks with a watch; what comes and goes as one class of tensors counts."""

    def __init__(self, session: TrainingSession, kind: str) -> None:
        self.hooks = session.engine._hooks
        self._pack, self._unpack, self._kind = self.hooks.pack, self.hooks.unpack, kind
        self.hooks.pack, self.hooks.unpack = self.pack, self.unpack  # type: ignore[method-assign]
        self._clear()

    def _clear(self) -> None:
        self.seconds, self.own_s, self.count = 0.0, 0.0, 0

    def pack(self, tensor: Any) -> Any:
        own, begun = time.thread_time(), self.hooks.now()
        held = self._pack(tensor)
        ended = self.hooks.now()
        self._note(held, ended - begun, time.thread_time() - own, 1)
        return held

    def unpack(self, held: Any) -> Any:
        own, begun = time.thread_time(), self.hooks.now()
        tensor = self._unpack(held)
        ended = self.hooks.now()
        self._note(held, ended - begun, time.thread_time() - own, 0)
        return tensor

    def _note(self, held: Any, seconds: float, own_s: float, count: int) -> None:
        record = held.record
        found = "passed over" if record is None else record.action
        wanted = {"kept": "keep", "offloaded": "offload"}
        if found == wanted.get(self._kind.split(",")[0], "passed over"):
            self.seconds, self.count = self.seconds + seconds, self.count + count
            self.own_s += own_s

    def taken(self) -> tuple[float, float]:
        """Return microseconds per tensor since the last time, by the clock and the processor."""
        count = max(1, self.count)
        found = 1e6 * self.seconds / count, 1e6 * self.own_s / count
        self._clear()
        return found


def measure(kind: str, folder: str, rounds: int) -> dict[str, Any]:
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
    if kind.startswith("offloaded"):
        profile = roomy.profiles[0]
        limit = profile.other_bytes + profile.saved_bytes // 2
        session = offload(folder, f"{limit} B", options=options)
        with session:
            whole()
    timed = Timed(session, kind)
    hooks, own, longer = list[float](), list[float](), list[float]()
    for _ in range(rounds + 3):
        plain_s = seconds(whole)

        def within() -> None:
            with session:
                whole()

        took_s = seconds(within)
        report = session.reports[-1]
        moved = max(1, report.offloaded) if kind.startswith("offloaded") else TENSORS
        longer.append(1e6 * (took_s - report.waited_s - plain_s) / moved)
        by_clock, by_processor = timed.taken()
        hooks.append(by_clock)
        own.append(by_processor)
    return {"bytes": 4 * CLASSES[kind], "hooks": hooks[3:], "own": own[3:], "longer": longer[3:]}


def seconds(action: Callable[[], None]) -> float:
    begun = time.perf_counter()
    action()
    return time.perf_counter() - begun


def main() -> None:
    torch.set_num_threads(1)
    with tempfile.TemporaryDirectory(prefix="orrery-hooks-") as folder:
        print(json.dumps({k: measure(k, folder, int(sys.argv[1])) for k in CLASSES}))


if __name__ == "__main__":
    main()
