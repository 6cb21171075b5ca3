"""Latency and throughput of a plan's replay: of all networks together, and of each."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from typing import Literal

from orrery.evidence import Evidence
from orrery.graph import Graph
from orrery.plan import Plan
from orrery.provenance import PROGRAM_VERSION, Basis, Source
from orrery.timeline import PS_PER_S, Timeline

from ._context import batch_of, counts_as, is_training

_NOTE = "region durations from the cost models; links shared by transfers"


def times(
    graphs: Sequence[Graph],
    plain: Evidence,
    timeline: Timeline,
    *,
    ends_at_s: float,
    note: str = "",
) -> Iterator[Evidence]:
    """Yield latency and throughput of networks that run once each, side by side.

    One pass of all of them follows the other, so the rate of one network is its batch over the
    time of all.

    Parameters
    ----------
    plain : what the figures have in common
    ends_at_s : when the last of these networks ends
    note : what is to be said of the latency
    """
    whole = timeline.makespan_s
    where = Source(
        basis=Basis.SIMULATED, where=f"orrery {PROGRAM_VERSION} plan replay",
        note="; ".join(part for part in (_NOTE, note) if part),
    )  # fmt: skip
    training = all(is_training(graph) for graph in graphs)
    unit = "sample/s" if training else "inference/s"
    yield replace(plain, metric="latency", value=ends_at_s, unit="s", source=where)
    if not whole:
        why = replace(where, note="the plan takes no time")
        yield replace(plain, metric="throughput", value=None, unit=unit, source=why)
        return
    bound: Literal["", "upper"] = "upper" if plain.bound else ""
    what = "step" if training else "batch"
    side = f"one {what} at a time, none overlapping"
    several: Mapping[str, str] = {}
    if len(graphs) > 1:
        side, several = f"each {side}", {"sum_over": f"{len(graphs)} networks"}
    rate = replace(
        plain, metric="throughput", value=sum(batch_of(graph) for graph in graphs) / whole,
        unit=unit, source=replace(where, note=side), bound=bound,
        context={**plain.context, "counts_as": counts_as(graphs), **several},
    )  # fmt: skip
    yield rate
    if training and not several:
        yield replace(rate, value=1 / whole, unit="step/s")


def ends_s(plan: Plan, timeline: Timeline) -> list[float]:
    """Return when each network of a plan ends: its last work, or its last transfer."""
    ends = [0] * len(plan.models)
    # The longest prefix decides: one may begin with another.
    owners = sorted(enumerate(plan.models), key=lambda pair: -len(pair[1].prefix))
    for span in timeline.spans:
        owner = next((i for i, model in owners if span.name.startswith(model.prefix)), None)
        if owner is not None:
            ends[owner] = max(ends[owner], span.end_ps)
    return [end / PS_PER_S for end in ends]
