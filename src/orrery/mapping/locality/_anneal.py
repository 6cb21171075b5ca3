"""Search by simulated annealing over accelerators, order and bound weights.

Models:  the problem of `LocalityProblem`. Starts from the safe published steps and from one
         accelerator per kind, walks a given number of moves in several rounds, keeps the best.
         Every state it visits is valid.
Ignores: what the problem ignores.
Judge:   brute force on small problems; `check_locality`; the bound.

Simulated annealing: Kirkpatrick, Gelatt and Vecchi, Science 220 (1983).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from orrery.errors import SpecError
from orrery.plan import Infeasible
from orrery.progress import SILENT, Progress, Step
from orrery.settings import require, setting

from ._baselines import one_per_kind, safe_four_steps
from ._kernel import compiled
from ._problem import LocalityProblem, LocalitySchedule, retime, sequence_of

#: Slices between two looks at progress; a constant, because it decides where a round may stop.
_SLICE = 20_000

#: A makespan this close to the bound counts as proven; bounds are rounded down by less.
_PROVEN = 1e-8


@dataclass(frozen=True, slots=True, kw_only=True)
class LocalitySearch:
    """Settings of the annealing search."""

    steps: int = setting(1_600_000, "Moves to try in all; they, not seconds, end the search.")
    rounds: int = setting(4, "How often the temperature falls; each round sets out from the best.")
    hot: float = setting(0.03, "Temperature at which a round starts, as a share of the makespan.")
    cold: float = setting(0.0001, "Temperature at which a round ends, as a share of the makespan.")
    seed: int = setting(0, "Seed of the random moves.")

    def __post_init__(self) -> None:
        require("locality search", self, steps=("0 or more", self.steps >= 0),
                rounds=("1 or more", self.rounds >= 1),
                cold=(f"0 < cold ≤ hot, {self.hot:g}", 0 < self.cold <= self.hot))  # fmt: skip


def anneal_locality(
    problem: LocalityProblem,
    settings: LocalitySearch = LocalitySearch(),
    *,
    bound_s: float | None = None,
    start: LocalitySchedule | None = None,
    progress: Progress = SILENT,
) -> LocalitySchedule | Infeasible:
    """Map the layers so that all are done as early as possible.

    Parameters
    ----------
    bound_s : a proven lower bound: reported with progress, and the search ends when it is reached
    start : queues and bound weights to set out from, if they are better than the baselines, e.g.
        those found at another bandwidth; times in it are ignored
    progress : told of every slice; when cancelled, the best mapping found so far is returned

    Returns
    -------
    LocalitySchedule or Infeasible
        Valid by construction; the same settings give the same one.
    """
    for layer, devices in enumerate(problem.runs_on):
        if not devices:
            return Infeasible(
                what=f"no accelerator runs layer {problem.layers[layer]}", need=1, have=0,
                unit="accelerators", remedies=("add an accelerator of its kind",),
            )  # fmt: skip
    candidates = [*safe_four_steps(problem), one_per_kind(problem)]
    if start is not None:
        given = retime(problem, start.queues, start.bound)
        if given is None:
            raise SpecError("locality search: start", found="queues that wait for each other",
                            wanted="a schedule of this problem", fix="correct it")  # fmt: skip
        candidates.append(given)
    state = _State(problem, min(candidates, key=lambda found: found.makespan_s), settings.seed)
    rounds = settings.rounds
    for number in range(rounds):
        steps = settings.steps * (number + 1) // rounds - settings.steps * number // rounds
        done = 0
        fall = settings.cold / settings.hot
        while done < steps:
            if bound_s is not None and state.best <= bound_s * (1 + _PROVEN):
                return state.schedule()
            if progress.cancelled():
                return state.schedule()
            progress.report(
                Step(task="annealing", done=settings.steps * number // rounds + done,
                     total=settings.steps, best=state.best, bound=bound_s)
            )  # fmt: skip
            count = min(_SLICE, steps - done)
            hot = state.first * settings.hot * fall ** (done / steps)
            cold = state.first * settings.hot * fall ** ((done + count) / steps)
            state.walk(count, hot, cold)
            done += count
        state.restart()
    return state.schedule()


class _State:
    """The arrays the compiled walk works on."""

    def __init__(self, problem: LocalityProblem, start: LocalitySchedule, seed: int) -> None:
        self.problem = problem
        self.first = self.best = start.makespan_s
        self.order = np.array(sequence_of(start, problem), np.int64)
        self.device = np.array(start.assigned, np.int64)
        self.bound = np.array(start.bound, np.int8)
        self.kept = (self.order.copy(), self.device.copy(), self.bound.copy())
        # splitmix's increment keeps small seeds from starting with small numbers
        mixed = (seed * 0x9E3779B97F4A7C15 + 0xD1B54A32D192ED03) % 2**64
        self.random = np.array([mixed or 1], np.uint64)
        self.words = problem.weight_words.astype(np.int64)
        self.starts, self.producers = _rows(problem.producers())
        self.out_starts, self.consumers = _rows(problem.consumers())
        self.choice_starts, self.choices = _rows(problem.runs_on)
        self.before = np.array(problem.before, np.int64)
        self.after = np.array(problem.after, np.int64)
        per_device = [
            int(self.words[np.isfinite(problem.compute_s[:, a])].sum())
            for a in range(len(problem.accelerators))
        ]
        self.tight = bool((np.array(per_device) > problem.capacity_words).any())
        self.room = self._room()

    def _room(self) -> NDArray[np.int64]:
        room: NDArray[np.int64] = self.problem.capacity_words.astype(np.int64).copy()
        for layer in np.flatnonzero(self.bound):
            room[self.device[layer]] -= self.words[layer]
        for a in np.flatnonzero(room < 0):  # the knapsack's rounding may overfill by a grain
            self.bound[self.device == a] = 0
            room[a] = self.problem.capacity_words[a]
        return room

    def walk(self, steps: int, hot: float, cold: float) -> None:
        """Try `steps` moves."""
        p = self.problem
        _, anneal = compiled()
        self.best = float(
            anneal(
                self.order, self.device, self.bound, self.room, *self.kept, self.best,
                self.random, p.compute_s, p.weight_s, p.input_s, p.output_s, self.before,
                self.after, self.starts, self.producers, self.out_starts, self.consumers,
                self.words, self.choice_starts, self.choices, steps, hot, cold, self.tight,
            )
        )  # fmt: skip

    def restart(self) -> None:
        """Go back to the best state found."""
        self.order[:], self.device[:], self.bound[:] = self.kept
        self.room = self._room()

    def schedule(self) -> LocalitySchedule:
        """Return the best state as a schedule."""
        order, device, bound = self.kept
        queues = [
            [int(layer) for layer in order if device[layer] == a]
            for a in range(len(self.problem.accelerators))
        ]
        found = retime(self.problem, queues, [bool(flag) for flag in bound])
        if found is None:
            raise RuntimeError("an order of all layers closes no cycle")
        return found


def _rows(lists: tuple[tuple[int, ...], ...]) -> tuple[NDArray[Any], NDArray[Any]]:
    """Return lists of indices as row starts and one flat array."""
    starts = np.cumsum([0, *map(len, lists)]).astype(np.int64)
    return starts, np.array([item for row in lists for item in row], np.int64)
