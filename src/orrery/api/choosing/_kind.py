"""Whether workers are threads of this process or processes of their own: raced where it can matter.

Threads share the interpreter's lock, which costs each hand-over tens of µs; processes take seconds
to start, and memory for weights of their own. So threads stay unless processes are surely quicker.
"""

from __future__ import annotations

from dataclasses import replace
from functools import partial
from typing import TYPE_CHECKING, cast

from orrery.errors import CancelledError, OrreryError
from orrery.units import format_quantity

if TYPE_CHECKING:
    from orrery.runtime.processes import ProcessNetwork

    from ._ways import Ways

__all__ = ["race_kinds"]

#: Processes are tried where hand-overs of so many seconds would take such a share of a request.
_HAND_OVER_S, _SHARE = 1e-4, 0.01

#: Requests that are looked at to see what a hand-over between processes takes.
_LOOKS = 15


def race_kinds(ways: Ways, placement: tuple[int, ...], *, most_s: float) -> bool:
    """Run a placement on threads and on processes in turn; take these where they surely gain.

    What was found is said in the notes of `ways`; with processes its problem has their hand-overs.
    """
    from orrery.runtime.processes import refuses_processes
    from orrery.runtime.together import race

    problem = ways.problem
    crossing = sum(
        any(flow.producer >= 0 and placement[flow.producer] != placement[k] for k in flow.consumers)
        for flow in problem.flows
    )
    predicted_s = problem.timing(placement).makespan_s
    if len(set(placement)) == 1 or (crossing + 2) * _HAND_OVER_S < _SHARE * predicted_s:
        return False
    reason = refuses_processes(ways.graph, ways.steps(placement, processes=True), ways.pool)
    if reason is not None:
        ways.notes.append(f"Workers are threads; as processes they cannot run it: {reason}.")
        return False
    try:
        both = [ways.placed(placement, processes=processes) for processes in (False, True)]
        found = race([partial(one.run, ways.inputs) for one in both], most_s=most_s)
    except CancelledError:
        raise
    except OrreryError as error:
        ways.notes.append(f"Workers are threads; as processes they failed: {error}")
        return False
    quicker = found.quicker(1)
    if found.failures[1] or quicker is None:
        ways.notes.append(f"Workers are threads; as processes they failed: {found.failures[1]}")
        return False
    ratio, low, high = quicker
    said = f"{ratio:.2f} times ({low:.2f} to {high:.2f}, 95 %) as quick"
    if found.winner != 1:
        ways.notes.append(
            f"Workers are threads: as processes, the placement predicted best was {said}."
        )
        return False
    made = cast("ProcessNetwork", both[1])
    held = ", ".join(f"{format_quantity(size, 'bytes')} in {name}"
                     for name, size in made.resident_bytes.items())  # fmt: skip
    ways.notes.append(
        f"Workers are processes, save the last subgraph's, whose steps whoever asks does: the "
        f"placement predicted best was then {said} as on threads, which share the interpreter's "
        f"lock. Each is a program with weights of its own ({held} of memory)."
    )
    ways.processes = True
    took_s = made.hand_over_s([made.run(ways.inputs) for _ in range(_LOOKS)])
    if took_s is not None:
        passages = {
            (a, b): replace(passage, fixed_s=max(0.0, took_s)) if a in ways.pool.workers
            and b in ways.pool.workers else passage
            for (a, b), passage in problem.passages.items()
        }  # fmt: skip
        ways.problem = replace(problem, passages=passages)
    return True
