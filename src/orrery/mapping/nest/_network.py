"""Loop nests of whole networks: equal layers once, found nests on disk, cores by an executor."""

from __future__ import annotations

from collections.abc import Mapping
from concurrent.futures import Executor
from dataclasses import dataclass
from functools import partial

import msgspec

from orrery.cost.nest import NestMapping, NestProblem, Zeros, nest_cost
from orrery.hardware import Architecture
from orrery.plan import Infeasible, KernelSchedule
from orrery.progress import SILENT, Progress
from orrery.provenance import PROGRAM_VERSION
from orrery.store import Cache, content_hash, encode

from ._find import NestFound, best_nest
from ._program import worth_of

#: Part of every key: raise it when the space, the search or the price of a nest changes.
_EDITION = 5

#: Nothing is made of zeros.
DENSE = Zeros()


@dataclass(frozen=True, slots=True, kw_only=True)
class _Kept:
    """What is stored of a search: the nest and the proof; its price is computed anew."""

    found: KernelSchedule | None
    infeasible: Infeasible | None
    bound: float = 0.0
    mappings: str = "0"  # may exceed 64 bits
    scored: int = 0
    patterns: int = 0
    settled: bool = False


def nest_key(
    problem: NestProblem, architecture: Architecture, objective: str, *, zeros: Zeros = DENSE,
    most: int = 0, settle: bool = False,
) -> str:  # fmt: skip
    """Return the content hash under which the nest of a layer is kept."""
    parts = [encode(part) for part in (problem, architecture, zeros)]
    how = [objective, most, "settled"] if settle else [objective, most]
    text = msgspec.json.encode([*parts, *how], order="deterministic")
    return content_hash(f"nest {_EDITION} {PROGRAM_VERSION}", text)


def nest_network(
    problems: Mapping[str, NestProblem], architecture: Architecture, objective: str = "latency", *,
    zeros: Zeros = DENSE, most: int = 2_000_000_000, settle: bool = False,
    cache: Cache | None = None, executor: Executor | None = None, progress: Progress = SILENT,
) -> dict[str, NestFound | Infeasible]:  # fmt: skip
    """Return the best nest of each layer of a network.

    Parameters
    ----------
    problems : by the name of the layer; equal ones are searched once
    most, settle : per layer, see `best_nest`
    cache : where found nests are kept and looked up; None: nowhere
    executor : searches layers side by side: threads share what is compiled, processes do not
        wait for each other
    progress : told how many different layers are done; asked whether to stop

    Returns
    -------
    layer -> nest, in the order of `problems`
    """
    keys = {
        name: nest_key(problem, architecture, objective, zeros=zeros, most=most, settle=settle)
        for name, problem in problems.items()
    }
    different = {key: problems[name] for name, key in keys.items()}
    found: dict[str, NestFound | Infeasible] = {}
    for key, problem in different.items():
        stored = cache.get(key) if cache is not None else None
        kept = stored and _read(stored, problem, architecture, objective, zeros)
        if kept:
            found[key] = kept
    missing = {key: problem for key, problem in different.items() if key not in found}
    search = partial(_search, architecture, objective, zeros, most, settle)
    run = executor.map if executor is not None else map
    for key, result in zip(missing, run(search, missing.values()), strict=True):
        found[key] = result
        if cache is not None:
            cache.put(key, _written(result, architecture))
        progress.step("loop nests", len(found), len(different))
    return {name: found[key] for name, key in keys.items()}


def _search(
    architecture: Architecture, objective: str, zeros: Zeros, most: int, settle: bool,
    problem: NestProblem,
) -> NestFound | Infeasible:  # fmt: skip
    return best_nest(problem, architecture, objective, zeros=zeros, most=most, settle=settle)


def _written(result: NestFound | Infeasible, architecture: Architecture) -> bytes:
    if isinstance(result, Infeasible):
        return msgspec.json.encode(_Kept(found=None, infeasible=result))
    return msgspec.json.encode(_Kept(
        found=result.mapping.schedule(architecture), infeasible=None, bound=result.bound,
        mappings=str(result.mappings), scored=result.scored, patterns=result.patterns,
        settled=result.settled,
    ))  # fmt: skip


def _read(
    stored: bytes, problem: NestProblem, architecture: Architecture, objective: str, zeros: Zeros
) -> NestFound | Infeasible | None:
    try:
        kept = msgspec.json.decode(stored, type=_Kept)
    except msgspec.DecodeError:  # of another edition: as good as absent
        return None
    if kept.found is None:
        return kept.infeasible
    mapping = NestMapping.read(kept.found, architecture)
    cost = nest_cost(problem, mapping, architecture, zeros=zeros)
    return NestFound(
        mapping=mapping, objective=objective, cost=cost, value=worth_of(cost, objective),
        bound=kept.bound, mappings=int(kept.mappings), scored=kept.scored, patterns=kept.patterns,
        settled=kept.settled,
    )  # fmt: skip
