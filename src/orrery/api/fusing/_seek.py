"""The search over a network's layers together; what cannot be kept within, as near as it comes."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from functools import partial

from orrery.cost.nest import Stages, Zeros
from orrery.errors import SpecError
from orrery.hardware import Architecture
from orrery.mapping.nest import StagedNests
from orrery.plan import Infeasible
from orrery.progress import Progress
from orrery.store import Cache

from .._result import InfeasibleError
from ._ceilings import ceilings, shortfall
from ._sections import nothing


def seek_together(
    name: str, stages: Stages, architecture: Architecture, objective: str, *, keep: bool,
    need: Sequence[str], zeros: Mapping[str, Zeros], progress: Progress,
) -> tuple[StagedNests, str]:  # fmt: skip
    """Return the nests that are best together, and what is not within the ceilings.

    Parameters
    ----------
    name : of the network
    keep : whether tensors may stay on chip
    """
    from orrery.mapping.nest import StagedNests, nest_stages

    most_cycles, most_energy_j = ceilings(need, architecture)
    with ThreadPoolExecutor(os.cpu_count()) as threads:
        seek = partial(nest_stages, stages, architecture, keep=keep, zeros=zeros,
                       cache=Cache("nests"), executor=threads, progress=progress)  # fmt: skip
        found = seek(objective, most_cycles=most_cycles, most_energy_j=most_energy_j)
        short = ""
        if isinstance(found, Infeasible):
            missed, alone = found, "latency" if found.unit == "cycles" else "energy"
            found = seek(alone)
            enough = isinstance(found, StagedNests) and found.value <= (most_energy_j or 0.0)
            if alone == "energy" and enough:
                nearer = seek(alone, most_cycles=most_cycles)
                if isinstance(nearer, StagedNests):
                    found, missed = nearer, replace(missed, need=nearer.value)
            short = shortfall(missed, need, architecture) if missed.need > missed.have else ""
    where = f"{name} on {architecture.name}"
    if isinstance(found, Infeasible):
        raise InfeasibleError(where, found)
    if not found.parts:
        raise SpecError(where, found=nothing(found), wanted="one layer that fits at least",
                        fix="try another network or array")  # fmt: skip
    return found, short
