"""A placement compared with the whole on one worker: by outputs first, then by time."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
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

if TYPE_CHECKING:
    from orrery.runtime.together import PlacedNetwork, Profile, WorkerPool

#: Who is quicker runs twice in a row: OpenVINO's threads turn on for 1.2 ms, a twentieth of this.
_TWICE_S = 0.025

#: Ways within this share of each other are equally good; so near they race.
_EVEN, _NEAR = 0.02, 0.1

#: Rounds after which is asked who is out; a median is then known to 2 % on a machine that is quiet.
_LOOKS = (22, 34, 53, 83, 130, 200, 310)


def compared(
    ways: Ways, out: Out, profile: Profile, repeats: int, effort: Effort, progress: Progress
) -> Choice | None:
    """Place, compare with the whole on one worker; None where a worker was taken out meanwhile.

    Raises
    ------
    WorkerFailedError, WorkerHungError : one fails
    SpecError : no worker runs the whole network
    """
    from orrery.runtime.together import compare

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
    runs = {made: partial(made.run, inputs) for made in networks.values()}
    comparison = compare({name: runs[made] for name, made in networks.items()}, rounds=repeats,
                         short_s=_TWICE_S, progress=progress)  # fmt: skip
    unsure = right if not wrong and right not in answers else ""
    choice = Choice(
        problem=ways.problem, processes=ways.processes, profile=profile, placed=placed,
        networks=networks, alone=tuple(name for name in networks if name != PLACED),
        comparison=comparison, notes=(*ways.notes, *failed, unsure),
        deviates=wrong.get(PLACED, ""),
    )  # fmt: skip
    if choice.best != PLACED:
        choice = _told_apart(choice, runs, effort)
    return replace(choice, found=explained(choice, ways, greedy, kept, effort))


def _told_apart(
    choice: Choice, runs: Mapping[PlacedNetwork, Callable[[], object]], effort: Effort
) -> Choice:
    """Race the quickest way in one piece on against those near it: few rounds tell too little."""
    from orrery.runtime.together import race

    found, best = choice.comparison, choice.single
    near = []
    for one in choice.alone:
        ratio, (low, _) = found.speedup(best, one)
        sure = found.confidence >= 0.95 and low > 1 / (1 + _EVEN) and ratio > 1 + _NEAR
        near += [one] if one != best and not sure else []
    if not near:
        return choice
    field = [best, *sorted(near, key=found.median_s)]
    raced = race([runs[choice.networks[one]] for one in field], looks=_LOOKS, least_gain=_EVEN,
                 most_s=effort.alone_s, short_s=math.inf)  # fmt: skip
    rounds = max(map(len, raced.times_s))
    if raced.winner is None or rounds == 0:  # whoever is asked next says why
        return choice
    # Of those who stayed to the end nobody may be surely the quickest.
    over = {k: raced.quicker(k, raced.winner) for k, times in enumerate(raced.times_s)
            if len(times) == rounds}  # fmt: skip
    first = max(over, key=lambda k: over[k] or (0.0,))
    said, even = [], False
    for k, one in enumerate(field):
        if k != first and (by := raced.quicker(first, k)) is not None:
            ratio, low, high = by
            said.append(f"{ratio:.3f} times ({low:.3f} to {high:.3f}, 95 %) as quick as on {one}")
            even |= low < 1 / (1 + _EVEN)
    note = (f"Ways in one piece that were near each other raced on for {rounds} rounds: on "
            f"{field[first]} it was {', '.join(said)}"
            + ("; that does not tell them apart, and the quicker one then is taken." if even else
               "."))  # fmt: skip
    return replace(choice, told=field[first], notes=(*choice.notes, note))


def _others_than(right: str, network: PlacedNetwork, pool: WorkerPool) -> list[str]:
    """Return the workers of a network that have another back end than a given one."""
    used = {thread_name(step.worker) for step in network.steps}
    own = pool.workers[right].backend.name if right in pool.workers else ""
    return sorted(name for name in used if pool.workers[name].backend.name != own)
