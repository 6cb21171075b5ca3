"""From a network or a kept plan to something that answers requests on this machine."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

from numpy.typing import NDArray

from orrery.errors import SpecError
from orrery.plan import Plan, check_plan, read_plan
from orrery.progress import Progress

from .._options import ModelOptions
from .._resolve import load_model
from ..keeping import check_parts, check_placement, is_placement, refuse_elsewhere, worker_of
from ..planned import planned_networks
from ._choose import local_workers
from ._ready import Ready, accepted, place_now
from ._replay import planned_workers, replay


@contextmanager
def opened(
    model: object,
    *,
    backends: Sequence[str],
    inputs: object,
    seed: int,
    repeats: int,
    options: ModelOptions | None,
    fresh: bool,
    plan_models: Sequence[object],
    progress: Progress,
) -> Iterator[tuple[Ready, dict[str, NDArray[Any]]]]:
    """Yield a network that is placed, or placed again, with inputs that fit it.

    Workers live as long as the block.
    """
    from orrery.runtime.together import WorkerPool

    if isinstance(backends, str) or isinstance(repeats, bool) or not isinstance(repeats, int):
        raise SpecError("run: backends" if isinstance(backends, str) else "run: repeats",
                        found=backends if isinstance(backends, str) else repeats,
                        wanted="a list of names, and a whole number of repeats",
                        fix="correct it")  # fmt: skip
    if repeats < 1:
        raise SpecError("run: repeats", found=repeats, wanted="1 or more",
                        fix="correct the number")  # fmt: skip
    path = Path(model) if isinstance(model, str | Path) and str(model).endswith(".json") else None
    kept: Plan | None = None
    if path is None:
        graph = load_model(model, options)
    else:
        kept = _kept(path)
        if not fresh:
            check_placement(path, kept)
        graphs, origins = planned_networks(kept, path, plan_models)
        check_plan(kept, graphs, kept.system)  # the networks; the machine is compared apart
        graph = graphs[0]
        if not fresh:
            check_parts(path, kept, graph)
        kept = replace(kept, models=tuple(
            replace(m, origin=str(o)) if isinstance(o, str | Path) else m
            for m, o in zip(kept.models, origins, strict=True)
        ))  # fmt: skip
    notes: list[str] = []
    if kept is not None and path is not None and not fresh:
        workers_of = [worker_of(assignment) for assignment in kept.assignments]
        notes = refuse_elsewhere(path, kept, [(w["backend"], w["version"]) for w in workers_of])
    given = accepted(graph, inputs, seed)
    if kept is not None and not fresh:
        workers, missing = planned_workers(kept)
        with WorkerPool(workers) as pool:
            yield replay(graph, kept, given, pool, notes=[*notes, *missing], repeats=repeats,
                         progress=progress), given  # fmt: skip
        return
    if kept is not None:
        notes = [f"{path} was placed anew: its own placement is not used."]
    with WorkerPool(local_workers(backends)) as pool:
        ready = place_now(graph, given, pool, seed=seed, repeats=repeats, fresh=fresh,
                          progress=progress, notes=notes)  # fmt: skip
        yield replace(ready, plan=_with_origin(ready.plan, kept, model, options)), given


def _kept(path: Path) -> Plan:
    plan = read_plan(path)
    if not plan.models:
        raise SpecError(f"{path}: models", found="none", wanted="one network",
                        fix="make the plan again from the network")  # fmt: skip
    if not is_placement(plan):
        raise SpecError(
            f"{path} with --on this-machine", found=f"a plan for the devices of {plan.system.name}",
            wanted="a network, or a plan that was made with --on this-machine",
            fix="leave out --on: this machine then plays those devices",
        )  # fmt: skip
    return plan


def _with_origin(
    plan: Plan, kept: Plan | None, model: object, options: ModelOptions | None
) -> Plan:
    """Return a plan that knows where its network came from."""
    if kept is not None:
        return replace(plan, models=kept.models)
    from .._map import remember

    return remember(plan, [model], "this-machine", options)
