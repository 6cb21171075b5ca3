"""A network prepared on workers of this machine, with what is known of it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from numpy.typing import NDArray

from orrery.errors import SpecError
from orrery.evidence import Evidence
from orrery.plan import Plan
from orrery.progress import Progress
from orrery.provenance import Basis, Source
from orrery.report import Page, Section, Text
from orrery.store import Cache

from .._run_result import RunResult, facts, run_context, tolerance
from ..checking import judge_outputs
from ..choosing import patience_s, placing_sections, typical_request
from ..keeping import Placement, as_it_ran, plan_of
from ._choose import PLACED, choose

if TYPE_CHECKING:
    from orrery.graph import Graph
    from orrery.runtime.together import Comparison, Fallback, WorkerPool

Arrays = Mapping[str, NDArray[Any]]


@dataclass(frozen=True, slots=True, kw_only=True)
class Ready:
    """What can serve requests for as long as its pool of workers is open.

    Attributes
    ----------
    served : the ways of running it, the preferred one first
    plan, graph : the preferred way, with its network
    figures : measured latencies, that of the preferred way first
    sections : of the page, after the facts
    """

    graph: Graph
    plan: Plan
    served: Fallback
    figures: tuple[Evidence, ...]
    sections: tuple[Section, ...]

    def answer(self, given: Arrays, *, check: bool, title: str) -> RunResult:
        """Serve one request and say everything that is known."""
        outcome = self.served.run(given, timeout_s=patience(self.figures[0].value))
        way = self.served.current
        ran = self.plan if way is None else as_it_ran(self.plan, self.served.ways[way])
        judgement = None
        if check:
            judgement = judge_outputs(
                outcome.outputs, self.graph.evaluate(given), tolerance(self.graph))  # fmt: skip
        sections = [facts(outcome.outputs, self.figures[:1], judgement)]
        if self.served.notes:
            sections.append(Text(title="What failed", paragraphs=tuple(self.served.notes),
                                 tone="warning"))  # fmt: skip
        return RunResult(
            outputs=outcome.outputs, evidence=self.figures, judgement=judgement,
            page=Page(title=title, sections=(*sections, *self.sections)),
            timeline=None if way is None else self.served.ways[way].timeline(outcome),
            placed=Placement(plan=ran, graph=self.graph),
        )  # fmt: skip


def accepted(graph: Graph, inputs: object, seed: int) -> dict[str, NDArray[Any]]:
    """Return a network's inputs, and refuse what cannot be placed before anything is timed.

    Raises
    ------
    SpecError : a network without nodes, inputs that do not fit, outputs of unknown size
    ModelError : dimensions that are not bound
    """
    from orrery.graph import check_inputs

    from .._inputs import make_inputs

    if not graph.nodes:
        raise SpecError(
            f"{graph.name}: nodes", found="none: its outputs are inputs or constants",
            wanted="one or more to place", fix="run it without --on, or give another network",
        )  # fmt: skip
    given = make_inputs(graph, inputs, seed)  # type: ignore[arg-type]
    check_inputs(graph, given)
    for name in graph.outputs:
        if graph.known_bytes(name) is None:
            raise SpecError(
                f"{graph.name}: output {name!r}", found=f"{graph.type(name)}, "
                + ("texts" if graph.type(name).dtype == "string" else "whose size only running "
                   "tells"), wanted="sizes that are known before it runs",
                fix="run it without --on, or end the network before that",
            )  # fmt: skip
    return given


def patience(seconds: object) -> float:
    """Return how long a request may take that took so many seconds before, until it has hung."""
    usual = float(seconds) if isinstance(seconds, int | float) else 0.0
    return min(patience_s(usual), 1e8)  # beyond, the system's clock ends


def latency(graph: Graph, way: str, found: Comparison, how: str, *, note: str) -> Evidence:
    """Return the measured latency of one way as evidence."""
    from orrery.runtime import describe_machine

    sure = {"interval": f"{found.confidence:.1%} for the median",
            "confidence": f"{found.confidence:.1%}"} if found.confidence > 0 else {}  # fmt: skip
    return Evidence(
        subject=f"{graph.name} here", metric="latency", value=found.median_s(way), unit="s",
        interval=found.interval_s(way) if sure else None,
        context={**sure, **run_context(graph, how)},
        source=Source(basis=Basis.MEASURED, where=describe_machine().summary, note=note),
    )  # fmt: skip


def place_now(
    graph: Graph, given: Arrays, pool: WorkerPool, *, seed: int, repeats: int, fresh: bool,
    progress: Progress, notes: Sequence[str] = (),
) -> Ready:  # fmt: skip
    """Cut, time and place a network, compare with the whole on one worker, keep the quicker."""
    from orrery.runtime.together import Fallback, WorkerFailedError, WorkerHungError

    cache = None if fresh else Cache("profiles")
    choice = choose(graph, given, pool, repeats=repeats, cache=cache, progress=progress)
    best, found = choice.best, choice.comparison
    ways = sorted((name for name in choice.networks if name != PLACED or not choice.deviates),
                  key=lambda name: (name != best, found.median_s(name)))  # fmt: skip
    try:
        watched = typical_request(choice.networks[PLACED], given, found.median_s(PLACED))
    except (WorkerFailedError, WorkerHungError):  # said when it is asked
        watched = None
    how = f"placed on {'several workers' if len(choice.used) > 1 else 'one worker, in subgraphs'}"
    sections = placing_sections(choice, watched)
    if notes:
        sections = [Text(title="Placed anew", paragraphs=tuple(notes)), *sections]
    return Ready(
        graph=graph,
        plan=plan_of(choice, best, seed=seed),
        served=Fallback({name: choice.networks[name] for name in ways}),
        figures=tuple(
            latency(graph, way, found, how if way == PLACED else way,
                    note=f"median of {found.rounds} rounds, all ways in turn") for way in ways),
        sections=tuple(sections),
    )  # fmt: skip
