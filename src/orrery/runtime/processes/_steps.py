"""Which steps of a network whoever asks does itself, and what each step waits for."""

from __future__ import annotations

from collections.abc import Sequence

from orrery.errors import SpecError
from orrery.graph import Graph

from ..together._executor import Step
from ..together._pool import WorkerPool


def asker_of(steps: Sequence[Step], pool: WorkerPool) -> str:
    """Return the one worker that is a thread, whose steps whoever asks does.

    Raises
    ------
    SpecError : it is not the last step's, or there are two
    """
    threads = list(dict.fromkeys(s.worker for s in steps if pool.worker(s.worker).kind == "thread"))
    if threads != [steps[-1].worker]:
        raise SpecError("network in processes", found=f"threads {', '.join(threads) or 'none'}",
                        wanted=f"one, that of the last step ({steps[-1].worker})",
                        fix="have processes do the steps of the others")  # fmt: skip
    return threads[0]


def needs_of(
    graph: Graph, steps: Sequence[Step], owner: dict[str, int], pool: WorkerPool, *,
    one_after_another: bool,
) -> list[frozenset[int]]:  # fmt: skip
    """Return what each step waits for: who makes its tensors, and has its processors before it."""
    last: dict[int, int] = {}
    found = []
    for number, step in enumerate(steps):
        makers = (graph.producer(tensor) for tensor in step.region.inputs)
        need = {owner[maker.name] for maker in makers if maker is not None}
        for processor in pool.worker(step.worker).processors:
            need.update([last[processor]] if processor in last else [])
            last[processor] = number
        if one_after_another and number:
            need.add(number - 1)
        found.append(frozenset(need))
    return found
