"""Placements of one network made into something that runs, raced, and watched at work."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from functools import partial
from typing import TYPE_CHECKING, Any, TypeVar

from numpy.typing import NDArray

from orrery.errors import CancelledError, OrreryError

from ._requests import answered, hang_s, patience_s

if TYPE_CHECKING:
    from orrery.mapping.phases import PlacementProblem, Raced, Timing
    from orrery.runtime.together import Ask, PlacedNetwork, Step, WorkerPool

T = TypeVar("T")


class Ways:
    """What turns placements of a problem into networks on a pool of workers."""

    def __init__(
        self, problem: PlacementProblem, pool: WorkerPool, inputs: Mapping[str, NDArray[Any]], *,
        processes: bool = False, may_part: bool = True,
    ) -> None:  # fmt: skip
        self.problem, self.pool, self.inputs = problem, pool, inputs
        self.graph = problem.partition.graph
        #: whether workers are processes, save the last step's, or may be; what is to be said of it
        self.processes, self.may_part, self.notes = processes, may_part, list[str]()
        #: outputs of what was made ready last, to its first request
        self.answer: dict[str, NDArray[Any]] = {}
        self._broken: list[OrreryError] = []

    def steps(self, placement: Sequence[int], *, processes: bool) -> list[Step]:
        """Return a placement's steps in the problem's order."""
        from orrery.runtime.together import PROCESS, Step

        p = self.problem
        last = placement[p.order[-1]]
        return [
            Step(
                region=p.partition.subgraphs[k].region, worker=p.workers[placement[k]].name
                + (PROCESS if processes and placement[k] != last else ""),
            )
            for k in p.order
        ]  # fmt: skip

    def placed(
        self, placement: Sequence[int], *, processes: bool | None = None
    ) -> PlacedNetwork:  # fmt: skip
        """Return a placement ready to run; its steps stand in the problem's order.

        Parameters
        ----------
        processes : None as the others here

        Raises
        ------
        WorkerFailedError, WorkerHungError : the first request was not answered
        """
        from orrery.runtime.processes import placed_network

        apart = self.processes if processes is None else processes
        made = placed_network(self.graph, self.steps(placement, processes=apart), self.pool)
        # The first request alone is watched: to be watched costs a hand-over.
        makespan_s = self.problem.timing(placement).makespan_s
        found = made.run(self.inputs, timeout_s=patience_s(makespan_s))
        self.answer = answered(found)
        return made

    def whole(self, worker: str) -> PlacedNetwork:
        """Return the network in one piece on a worker."""
        from orrery.graph import Region
        from orrery.runtime.together import PlacedNetwork, Step

        region = Region(graph=self.graph, nodes=tuple(n.name for n in self.graph.nodes),
                        label="whole")  # fmt: skip
        return PlacedNetwork(self.graph, [Step(region=region, worker=worker)], self.pool)

    def race(self, placements: Sequence[Sequence[int]], *, most_s: float) -> Raced:
        """Race placements; the first stays the best until another is surely quicker.

        Raises
        ------
        WorkerFailedError, WorkerHungError : why the first cannot run, if none can; a process ended
        """
        from orrery.mapping.phases import Raced, Ran
        from orrery.runtime.processes import ended_process
        from orrery.runtime.together import race

        self._broken.clear()
        runners = [self._runner(one) for one in placements]
        found = self.watched(lambda ask: race([partial(one, ask) for one in runners],
                                              most_s=most_s))  # fmt: skip
        if self.processes and any(found.failures) and (ended := ended_process(self.pool)):
            raise ended
        if found.winner is None and self._broken:
            raise self._broken[0]
        runs = tuple(
            Ran(
                seconds=None if found.failures[k] else found.median_s(k),
                quicker=None if k == 0 else found.quicker(k), rounds=len(found.times_s[k]),
                note=found.failures[k],
            )
            for k in range(len(placements))
        )  # fmt: skip
        return Raced(runs=runs, winner=found.winner)

    def _runner(self, placement: Sequence[int]) -> Callable[[Ask], object]:
        from orrery.runtime.together import WorkerFailedError, WorkerHungError

        try:
            made = self.placed(placement)
            return lambda ask: ask(made, self.inputs)
        except CancelledError:
            raise
        except OrreryError as error:
            failed = error
            if isinstance(error, WorkerFailedError | WorkerHungError):
                self._broken.append(error)

        def fail(_: Ask) -> object:
            raise failed

        return fail

    def watched(self, action: Callable[[Ask], T]) -> T:
        """Have requests made; whoever hangs at one ends that, as a `WorkerHungError`."""
        from orrery.runtime.together import watched

        return watched(self.pool, action, limit_s=hang_s(self.problem.seconds))

    def observed(
        self, placement: Sequence[int], network: PlacedNetwork, *, most_s: float
    ) -> tuple[Timing, tuple[float, ...]]:
        """Return the median times of a placement's requests, and of its subgraphs alone."""
        from orrery.runtime.together import observe

        found = self.watched(lambda ask: observe(network, self.inputs, most_s=most_s, ask=ask))
        order = self.problem.order
        place = {number: turn for turn, number in enumerate(order)}
        numbers = range(len(order))
        timing = self.problem.observed(
            placement, [found.began_s[place[k]] for k in numbers],
            [found.ended_s[place[k]] for k in numbers], found.latency_s,
        )  # fmt: skip
        return timing, tuple(found.alone_s[place[k]] for k in numbers)
