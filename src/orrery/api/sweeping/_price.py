"""What one point takes: the best nests on an array, or a plan on a system."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from functools import lru_cache
from typing import Any

from orrery.cost.nest import LOOPS
from orrery.errors import CancelledError, OrreryError, SpecError
from orrery.evidence import Evidence
from orrery.hardware import Architecture, Description, System, read_description
from orrery.plan import Infeasible
from orrery.progress import SILENT, Progress
from orrery.store import Cache

from ..figures import batch_of
from ..nests import nest_figures
from ..validating import beside, known_errors, nest_part
from ._rows import Row, figures_of
from ._task import APART, UNREAD, WORKLOAD, Choice, Task, Workload, workload


@lru_cache(maxsize=4)
def _base(text: str, file: str) -> tuple[Description, Architecture | System]:
    described = read_description(text, file)
    return described, read(described)


def read(machine: Description) -> Architecture | System:
    """Read a description as what it is of."""
    from orrery.accel import resolve

    if machine.kind == "array":
        return machine.architecture(loops=tuple(LOOPS))
    return machine.system(check_design=resolve)


def price_point(
    task: Task, choice: Choice, labels: Mapping[str, str], key: str, progress: Progress = SILENT
) -> Row:
    """Return a point's figures, or the reason why it has none.

    Raises
    ------
    CancelledError, SpecError : a stop by the user; a network that changed since the point was asked
    """
    changes = [pair for pair in choice if pair[0] not in WORKLOAD]
    point = Row(key=key, choices=dict(labels),
                workload={path: value for path, value in choice if path in APART})  # fmt: skip
    mine = task.with_workload(choice)
    quiet = Progress(cancelled=progress.cancelled)
    if not (unread := key.startswith(UNREAD)):
        taken = _unchanged(task, mine, choice, key)
    try:
        described, base = _base(task.text, task.file)
        for path, value in changes:
            described = described.changed(path, value)
        machine = read(described)
        taken = workload(mine.model, mine.options) if unread else taken
        evidence, lacking = _evidence(mine, taken, machine, quiet)
    except CancelledError:
        raise
    except OrreryError as error:
        return replace(point, reason=str(error))
    if not evidence:
        whys = "; ".join(dict.fromkeys(lacking.values()))
        return replace(point, reason=f"no layer fits: {whys}")
    figures = figures_of(evidence, changed=machine != base, paths=[path for path, _ in changes])
    return replace(point, figures=figures, batch=batch_of(taken.graph), lacking=lacking)


def _unchanged(task: Task, mine: Task, choice: Choice, key: str) -> Workload:
    """Return the network that a point was asked for."""
    found = ""
    try:
        if task.key(choice) == key:
            return workload(mine.model, mine.options)
    except OrreryError as error:
        found = f": {error}"
    raise SpecError(f"sweep of {mine.model}", found=f"another network than at the beginning{found}",
                    wanted="files that stay as they are",
                    fix="run it again; what was finished is kept")  # fmt: skip


def _evidence(
    task: Task, taken: Workload, machine: Architecture | System, progress: Progress
) -> tuple[Sequence[Evidence], dict[str, str]]:
    """Return the figures of a plan or of the best nests, and why layers have none."""
    from orrery.mapping.nest import nest_network

    from .._map import map as map_

    if not isinstance(machine, Architecture):
        found = map_(taken.graph, on=machine, search=task.search, jobs=1, progress=progress)
        return found.evidence, {}
    budget: dict[str, Any] = {} if task.budget is None else {"most": task.budget}
    nests = nest_network(taken.problems, machine, task.objective, settle=True,
                         cache=Cache("nests"), progress=progress, **budget)  # fmt: skip
    failed = {name: str(one) for name, one in nests.items() if isinstance(one, Infeasible)}
    mapped = {name: one for name, one in nests.items() if not isinstance(one, Infeasible)}
    if failed and not mapped:
        return (), failed
    figures = nest_figures(taken.graph, machine, task.objective, mapped,
                           [*failed, *taken.left_out])  # fmt: skip
    parts = [
        nest_part(taken.operator(name), taken.problems[name], one.cost, machine)
        for name, one in mapped.items()
    ]
    known = known_errors(parts)
    share = sum(one.bound for one in mapped.values()) / sum(one.value for one in mapped.values())
    # sums of bounds may lie above sums of values by rounding alone
    unproved = replace(
        figures[0], metric="gap", unit="%", value=100 * max(0.0, 1 - share), bound=""
    )
    return [*(beside(figure, known) for figure in figures), unproved], failed
