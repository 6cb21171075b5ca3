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
    from orrery.mapping.phases import PlacementProblem
    from orrery.runtime.processes import ProcessNetwork

    from ._ways import Ways

#: Processes are tried where hand-overs between threads would take such a share of a request.
_SHARE = 0.01

#: What hand-overs between processes may take before they were ever seen.
_SUPPOSED_S = 1e-5

#: Requests that are looked at to see what a hand-over between processes takes.
_LOOKS = 15


def race_kinds(ways: Ways, placement: tuple[int, ...], *, most_s: float) -> bool:
    """Run a placement on threads and on processes in turn; take these where they surely gain.

    What was found is said in the notes of `ways`; with processes its problem has their hand-overs.
    """
    from orrery.runtime.processes import refuses_processes
    from orrery.runtime.together import PROCESS, WorkerHungError, race

    problem = ways.problem
    if not ways.may_part:
        return False
    crossing = sum(
        any(flow.producer >= 0 and placement[flow.producer] != placement[k] for k in flow.consumers)
        for flow in problem.flows
    )
    predicted_s = problem.timing(placement).makespan_s
    if len(set(placement)) == 1 or (crossing + 2) * _hand_over_s(ways) < _SHARE * predicted_s:
        return False
    reason = refuses_processes(ways.graph, ways.steps(placement, processes=True), ways.pool)
    if reason is not None:
        ways.notes.append(f"Workers are threads; as processes they cannot run it: {reason}.")
        return False
    try:
        both = [ways.placed(placement, processes=processes) for processes in (False, True)]
        found = ways.watched(lambda ask: race([partial(ask, one, ways.inputs) for one in both],
                                              most_s=most_s))  # fmt: skip
    except CancelledError:
        raise
    except OrreryError as error:
        if isinstance(error, WorkerHungError) and not error.worker.endswith(PROCESS):
            raise  # what hung is there without processes too
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
    took_s = made.hand_over_s(
        ways.watched(lambda ask: [ask(made, ways.inputs) for _ in range(_LOOKS)]))  # fmt: skip
    if took_s is not None:
        ways.problem = _handing_over(ways, max(0.0, took_s))
    return True


def if_processes(ways: Ways) -> PlacementProblem | None:
    """Return the problem with hand-overs as processes may have; None where that decides nothing."""
    longest_s, quickest_s = _hand_over_s(ways), float(ways.problem.seconds.min(axis=1).sum())
    if not ways.may_part or longest_s <= _SUPPOSED_S or _SHARE * quickest_s > 4 * longest_s:
        return None
    return _handing_over(ways, _SUPPOSED_S)


def _hand_over_s(ways: Ways) -> float:
    """Return the longest hand-over between two threads, as it was measured here."""
    workers = ways.pool.workers
    return max((p.fixed_s for (a, b), p in ways.problem.passages.items()
                if a in workers and b in workers), default=0.0)  # fmt: skip


def _handing_over(ways: Ways, fixed_s: float) -> PlacementProblem:
    """Return the problem with hand-overs between workers of one memory that take so long."""
    workers = ways.pool.workers
    return replace(ways.problem, passages={
        (a, b): replace(p, fixed_s=fixed_s) if a in workers and b in workers else p
        for (a, b), p in ways.problem.passages.items()
    })  # fmt: skip
