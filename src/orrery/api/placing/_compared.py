"""A placement compared with the whole on one worker: by outputs first, then by time."""

from __future__ import annotations

from dataclasses import replace
from functools import partial
from typing import TYPE_CHECKING

from orrery.errors import CancelledError, OrreryError, SpecError
from orrery.progress import Progress

from ..choosing import (
    PLACED,
    Choice,
    Effort,
    Out,
    Ways,
    answered,
    deviating,
    explained,
    in_one_piece,
    patience_s,
    search,
)
from ..keeping import thread_name
from ._even import told_apart

if TYPE_CHECKING:
    from orrery.runtime.together import Ask, Comparison, PlacedNetwork, Profile, WorkerPool


def compared(
    ways: Ways, out: Out, profile: Profile, repeats: int, effort: Effort, progress: Progress
) -> Choice | None:
    """Place, compare with the whole on one worker; None where a worker was taken out meanwhile.

    Raises
    ------
    WorkerFailedError, WorkerHungError : one fails
    SpecError : no worker runs the whole network
    """
    from orrery.runtime.together import SETTLED_S, compare

    problem, pool, inputs = ways.problem, ways.pool, ways.inputs
    placed, greedy, kept = search(ways, effort, progress)
    networks = {PLACED: ways.placed(placed.placement)}
    answers = {PLACED: ways.answer}
    pool.forget()  # weights of subgraphs that only other placements use
    failed = []
    parts_s = dict(zip(profile.workers, profile.median_s.sum(axis=0).tolist(), strict=True))
    for name in in_one_piece(problem, pool, profile):
        try:
            made = networks[PLACED]
            if name in out.whole:
                continue
            if [step.worker for step in made.steps] != [name]:  # else: it is the same
                made = ways.whole(name)
            longest_s = patience_s(min(parts_s[name], 100 * placed.predicted_s))
            answers[name] = answered(made.run(inputs, timeout_s=longest_s))
            networks[name] = made
        except CancelledError:
            raise
        except OrreryError as error:
            failed.append(f"The whole on {name} was left out: {error}")
    wrong, right = deviating(ways.graph, answers, {
        name: pool.workers[name].backend.name for name in networks if name != PLACED})  # fmt: skip
    for name, why in wrong.items():
        if name != PLACED:
            failed.append(f"The whole on {name} was left out: its {why}, beside the whole on "
                          f"{right}.")  # fmt: skip
            del networks[name]
    if PLACED in wrong and out.take(
        _others_than(right, networks[PLACED], pool),
        f"Went on without workers whose back end is another one than that of {right}, which is "
        f"believed: placed, {wrong[PLACED]}.",
    ):
        out.notes += failed
        return None
    if len(networks) == 1:
        raise SpecError(f"{ways.graph.name} here", found="no back end that runs the whole network",
                        wanted="one to compare with", fix="add the reference back end")  # fmt: skip

    def timed(ask: Ask) -> Comparison:  # what stands there under two names is one way
        runs = {made: partial(ask, made, inputs) for made in networks.values()}
        return compare({name: runs[made] for name, made in networks.items()}, rounds=repeats,
                       short_s=SETTLED_S, progress=progress)  # fmt: skip

    comparison = ways.watched(timed)
    unsure = right if not wrong and right not in answers else ""
    choice = Choice(
        problem=ways.problem, processes=ways.processes, profile=profile, placed=placed,
        networks=networks, alone=tuple(name for name in networks if name != PLACED),
        comparison=comparison, notes=(*ways.notes, *failed, unsure),
        deviates=wrong.get(PLACED, ""),
    )  # fmt: skip
    if choice.best != PLACED:
        choice = told_apart(choice, ways, effort)
    return replace(choice, found=explained(choice, ways, greedy, kept, effort))


def _others_than(right: str, network: PlacedNetwork, pool: WorkerPool) -> list[str]:
    """Return the workers of a network that have another back end than a given one."""
    used = {thread_name(step.worker) for step in network.steps}
    own = pool.workers[right].backend.name if right in pool.workers else ""
    return sorted(name for name in used if pool.workers[name].backend.name != own)
