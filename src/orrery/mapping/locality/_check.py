"""Is a schedule valid? Read off the definition, sharing nothing with any searcher.

Models:  the rules of `LocalityProblem`, one by one: every layer once, on an accelerator that runs
         it; an accelerator does one thing at a time; no consumer starts before its producers end;
         no layer takes less time than the transfers that remain need; bound weights fit.
Ignores: whether a schedule is good.
Judge:   schedules spoilt on purpose, each with the complaint it must raise.
"""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass

from ._problem import LocalityProblem, LocalitySchedule


@dataclass(frozen=True, slots=True, kw_only=True)
class LocalityFault:
    """One rule broken: ``order``, ``overlap``, ``duration``, ``capacity``, ``placement``, ``time``.

    Attributes
    ----------
    rule : which rule
    what : names and figures
    """

    rule: str
    what: str


def check_locality(
    problem: LocalityProblem, schedule: LocalitySchedule, *, tolerance_s: float = 1e-12
) -> tuple[LocalityFault, ...]:
    """Return every rule that the schedule's own times break; empty for a valid schedule.

    Parameters
    ----------
    tolerance_s : differences up to this are rounding
    """
    faults: list[LocalityFault] = []

    def fault(rule: str, what: str) -> None:
        faults.append(LocalityFault(rule=rule, what=what))

    names = problem.layers
    times = Counter(layer for queue in schedule.queues for layer in queue)
    for index, name in enumerate(names):
        if times[index] != 1:
            fault("placement", f"{name} runs {times[index]} times")
    if faults or len(schedule.start_s) != len(names) or len(schedule.end_s) != len(names):
        return tuple(faults) or (LocalityFault(rule="time", what="a layer has no times"),)
    for index, name in enumerate(names):
        begin, finish = schedule.start_s[index], schedule.end_s[index]
        if not (begin >= -tolerance_s and finish >= begin):
            fault("time", f"{name} from {begin} s to {finish} s")
    for producer, consumer in problem.edges:
        late = schedule.end_s[producer] - schedule.start_s[consumer]
        if late > tolerance_s:
            fault("order", f"{names[consumer]} starts {late:.3g} s before {names[producer]} ends")
    for number, queue in enumerate(schedule.queues):
        device = problem.accelerators[number]
        by_time = sorted(queue, key=lambda layer: (schedule.start_s[layer], schedule.end_s[layer]))
        busy_until, busy_with = 0.0, ""
        for layer in by_time:
            if busy_until - schedule.start_s[layer] > tolerance_s:
                fault("overlap", f"{names[layer]} and {busy_with} at once on {device}")
            if schedule.end_s[layer] > busy_until:
                busy_until, busy_with = schedule.end_s[layer], names[layer]
        words = 0
        for position, layer in enumerate(queue):
            need = float(problem.compute_s[layer, number])
            if need == float("inf"):
                fault("placement", f"{device} does not run {names[layer]}")
                continue
            here = (problem.chain[layer], problem.place[layer])
            previous = queue[position - 1] if position else None
            following = queue[position + 1] if position + 1 < len(queue) else None
            if previous is None or _key(problem, previous) != (here[0], here[1] - 1):
                need += float(problem.input_s[layer, number])
            if following is None or _key(problem, following) != (here[0], here[1] + 1):
                need += float(problem.output_s[layer, number])
            if schedule.bound[layer]:
                words += int(problem.weight_words[layer])
            else:
                need += float(problem.weight_s[layer, number])
            given = schedule.end_s[layer] - schedule.start_s[layer]
            if need - given > tolerance_s:
                fault("duration", f"{names[layer]} has {given:.6g} s, needs {need:.6g} s")
        if words > int(problem.capacity_words[number]):
            have = int(problem.capacity_words[number])
            fault("capacity", f"{device} binds {words} words of {have}")
    return tuple(faults)


def _key(problem: LocalityProblem, layer: int) -> tuple[int, int]:
    return problem.chain[layer], problem.place[layer]
