"""Compiling a program with PyTorch's compiler, and keeping it only where it pays."""

from __future__ import annotations

import math
import statistics
import time
from collections.abc import Sequence
from typing import Any

from ._torch_program import Program, Runner

#: Compiled code must take less than this share of the time to be kept.
_WORTH = 0.97
_ROUNDS, _MOST_ROUNDS, _LONG_S = 5, 100, 0.5

#: Allowed |a − b| / (1 + |b|) between two orders of the same sums, by element type.
_TOLERANCES = {"torch.float16": 2**-7, "torch.bfloat16": 2**-5, "torch.float64": 1e-9}
_TOLERANCE = 1e-4

#: What a compiler with a C++ compiler, a linker and caches behind it raises when it fails.
_FAILURES = (
    RuntimeError, OSError, ImportError, TypeError, ValueError, LookupError, AttributeError,
    AssertionError,
)  # fmt: skip


def settled(
    t: Any, program: Program, tensors: Sequence[Any], *, always: bool
) -> tuple[Runner | None, str]:
    """Return a compiled runner to keep, or None, and why in a sentence.

    Kept only if its outputs equal those of the nodes one by one up to rounding and, unless
    `always`, it is measured to be faster on these tensors.
    """
    if program.waits:
        return None, "not compiled: sizes depend on values that only running can tell"
    if not program.steps:
        return None, "not compiled: everything is known before running"

    def eager(given: Sequence[Any]) -> tuple[Any, ...]:
        return program.run(t, given)

    try:
        compiled = _compiled(t, program, tensors)
        with t.no_grad():
            theirs = compiled(tensors)
    except _FAILURES as error:
        text = " ".join(str(error).split())
        return None, f"not compiled: the compiler failed ({type(error).__name__}: {text[:200]})"
    with t.no_grad():
        far = _distance(t, theirs, eager(tensors))
        if far > 1:
            return None, f"not compiled: compiled code differs, {far:.3g} of what rounding explains"
        slow, fast = _times(t, (eager, compiled), tensors)
    said = f"compiled code takes {fast / slow:.2f} of the time of single nodes"
    if always or fast < _WORTH * slow:
        return compiled, f"compiled: {said}"
    return None, f"not compiled: {said}"


def recorded(t: Any, program: Program, tensors: Sequence[Any]) -> Any:
    """Run a program once and return what it did, as a module of elementary operations.

    Constants are held by the module, so that the compiler can lay weights out anew.
    """
    from torch.fx.experimental.proxy_tensor import make_fx

    def run(*given: Any) -> tuple[Any, ...]:
        return program.run(t, given)

    with t.no_grad():
        return make_fx(run, tracing_mode="real")(*tensors)


def _compiled(t: Any, program: Program, tensors: Sequence[Any]) -> Runner:
    record = recorded(t, program, tensors)
    options = {"freezing": True} if tensors and tensors[0].device.type == "cpu" else {}
    function = t.compile(record, dynamic=False, fullgraph=True, options=options)

    def compiled(given: Sequence[Any]) -> tuple[Any, ...]:
        return tuple(function(*given))

    return compiled


def _distance(t: Any, found: Sequence[Any], wanted: Sequence[Any]) -> float:
    """Return the largest difference as a share of what is allowed; whole numbers must be equal."""
    worst = 0.0
    for a, b in zip(found, wanted, strict=True):
        if a.shape != b.shape or a.dtype != b.dtype:
            return math.inf
        if not a.is_floating_point():
            worst = max(worst, 0.0 if t.equal(a, b) else math.inf)
            continue
        wide, other = a.double(), b.double()
        same = (wide == other) | (t.isnan(wide) & t.isnan(other))
        share = t.where(same, 0.0, (wide - other).abs() / (1 + other.abs()))
        allowed = _TOLERANCES.get(str(a.dtype), _TOLERANCE)
        largest = float(t.nan_to_num(share, nan=math.inf).max()) if share.numel() else 0.0
        worst = max(worst, largest / allowed)
    return worst


def _times(t: Any, runners: Sequence[Runner], tensors: Sequence[Any]) -> list[float]:
    """Return the median seconds of each, measured in turn."""
    on_gpu = bool(tensors) and tensors[0].device.type == "cuda"

    def once(runner: Runner) -> float:
        start = time.perf_counter()
        runner(tensors)
        if on_gpu:
            t.cuda.synchronize(tensors[0].device)
        return time.perf_counter() - start

    for runner in runners:
        once(runner)
    rounds: list[list[float]] = []
    # Short runs are repeated until pauses that others cause lie off the median.
    while len(rounds) < _ROUNDS or (len(rounds) < _MOST_ROUNDS and sum(map(sum, rounds)) < _LONG_S):
        rounds.append([once(runner) for runner in runners])
    return [statistics.median(times) for times in zip(*rounds)]
