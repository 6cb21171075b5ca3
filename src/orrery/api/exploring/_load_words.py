"""What inputs in a row show, in words: their rhythm, why it is not the searched one, doubts."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from orrery.graph import Graph
from orrery.hardware import System
from orrery.plan import Plan
from orrery.report import format_value
from orrery.sim import Pipeline

from ..figures._context import is_training

#: Below this share two periods are one with rounding.
_SAME = 5e-4


def rhythm(found: Pipeline) -> str:
    """Say how inputs leave."""
    period, latency, alone = (format_value(t, "s") for t in
                              (found.period_s, found.latency_s, found.alone_s))  # fmt: skip
    how = ("" if found.steady else "never in a steady rhythm, ") + (
        "when they come so often" if found.paced else "when a new one comes whenever one leaves"
    )
    return (f"One input leaves every {period} and takes {latency} from entering to leaving (alone "
            f"{alone}), {how}; {found.in_flight:.3g} are on their way at once. {found.inputs} were "
            "replayed, with links shared by all transfers.")  # fmt: skip


def beside(found: Pipeline) -> str:
    """Compare with what the busiest device or link takes, by which plans are compared."""
    searched_s = found.least_period_s
    said = f"Searched period (what one input keeps {found.busiest} busy): "
    said += f"{format_value(searched_s, 's')}; "
    if not searched_s or abs(found.period_s / searched_s - 1) <= _SAME:
        return f"{said}the replay's is the same."
    share = 100 * (found.period_s / searched_s - 1)
    return f"{said}the replay's is {share:+.3g} %: {_cause(found, searched_s)}."


def bounded(plan: Plan, found: Pipeline) -> str:
    """Say what no plan lets inputs follow each other in less than, and how far away that is."""
    least = plan.lower_bound_period_s
    if least is None:
        return ""
    gap = f", gap {100 * max(0.0, found.period_s / least - 1):.3g} %" if least > 0 else ""
    return f" Lower bound of the period: {format_value(least, 's')}{gap} ({plan.bound})."


def _cause(found: Pipeline, searched_s: float) -> str:
    filled = max(found.link_busy_s, key=lambda n: found.link_busy_s[n], default="")
    if filled and found.link_busy_s[filled] > searched_s * (1 + _SAME):
        takes = format_value(found.link_busy_s[filled], "s")
        return f"one input fills {filled} for {takes}, longer than any device works on it"
    worst = max(found.link_slowed_s, key=lambda n: found.link_slowed_s[n], default="")
    if worst and found.link_slowed_s[worst] > _SAME * found.period_s:
        later = format_value(found.link_slowed_s[worst], "s")
        full = 100 * found.link_busy_s.get(worst, 0.0) / found.period_s
        return (f"contention, most of it on {worst}, where the transfers of one input together end "
                f"{later} later than alone (what they carry fills it for {full:.3g} % of the "
                "period)")  # fmt: skip
    idle = 100 * (1 - found.least_period_s / found.period_s)
    return f"devices wait for one another; {found.busiest} rests for {idle:.3g} % of the period"


def doubts_of(found: Pipeline, system: System, graphs: Sequence[Graph]) -> Iterator[str]:
    """Yield what the figures of inputs in a row leave out, where they do."""
    for name, most in found.peak_bytes.items():
        have = system.device(name).offchip.size_bytes
        if most > have:
            yield (f"Memory: what lies on {name} while inputs follow each other needs "
                   f"{format_value(most, 'bytes')}, and there are {format_value(have, 'bytes')}: "
                   "fewer can be on their way than were replayed.")  # fmt: skip
    if any(is_training(graph) for graph in graphs):
        yield ("Steps in a row are replayed as if none needed the weights of the step before; the "
               "throughput above is that of one step at a time.")  # fmt: skip
    elif any(graph.states for graph in graphs):
        yield ("Inputs in a row are taken to be of sequences apart: none waits for the state that "
               "the one before leaves, and the memory of one state is counted; the throughput "
               "above is that of one at a time.")  # fmt: skip
