"""A plan computed as its designs would, judged region by region by what each design states.

A design in fixed point is not the reference and does not claim to be: it states how far a region
may stand from it. So each region is judged alone, on what it was really given, and the outputs of
the execution against the same designs evaluated one after another.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from orrery.accel import Evaluator
from orrery.cost import plan_regions
from orrery.graph import Graph, Region
from orrery.plan import Plan
from orrery.runtime import reference_evaluator

from .._inputs import agreement
from ._outputs import Judgement, empty_outputs

Tensors = Mapping[str, NDArray[Any]]


def judge_designs(
    plan: Plan,
    graphs: Sequence[Graph],
    given: Tensors,
    outputs: Tensors,
    *,
    otherwise: Evaluator,
    rounding: float,
) -> Judgement:
    """Judge an execution in which every region was computed as its design would.

    Parameters
    ----------
    given, outputs : of the execution, by the plan's names
    otherwise : evaluates regions without a design, as in the execution
    rounding : error that another order of summation explains
    """
    alone: dict[str, NDArray[Any]] = {}
    reference: dict[str, NDArray[Any]] = {}
    shares: dict[str, float] = {}
    planned = plan_regions(plan, graphs)
    for number, (model, graph) in enumerate(zip(plan.models, graphs, strict=True)):
        mine = {name: p.region for name, p in planned.items() if p.network == number}
        values = {name: given[model.prefix + name] for name in graph.inputs}
        wanted = graph.evaluate(values)
        made = _one_after_another(plan, mine, values, otherwise, shares)
        for name in graph.outputs:
            # An output may also be a constant, which no region makes.
            alone[model.prefix + name] = made.get(name, wanted[name])
            reference[model.prefix + name] = wanted[name]
    error, drift = agreement(outputs, alone), agreement(alone, reference)
    # Parts of a split region find steps of their own, so the whole may stand as far from each.
    allowed = rounding + (2 * drift if plan.is_split else 0.0)
    return _verdict(error, allowed, drift, shares, empty_outputs(outputs))


def _verdict(
    error: float, allowed: float, drift: float, shares: Mapping[str, float], empty: tuple[str, ...]
) -> Judgement:
    beyond = [name for name, share in shares.items() if not share <= 1]
    lines = [f"largest difference from the NumPy reference, |a - b| / (1 + |b|): {drift:.2e}"]
    if shares:
        worst = max(shares, key=lambda name: shares[name])
        lines.append(
            f"regions on designs: {len(shares)}; the largest error is {100 * shares[worst]:.3g} % "
            f"of the tolerance that its design states ({worst})"
        )
    lines.append(
        f"largest difference from the same designs one after another: {error:.2e}, "
        f"allowed {allowed:.1e}"
    )
    failures = (*empty, *(f"{name} is beyond the tolerance of its design" for name in beyond))
    if failures:
        lines.append(f"verdict: differs: {'; '.join(failures)}")
    elif error <= allowed:
        lines.append("verdict: agrees, every design within its own stated tolerance")
    else:
        lines.append("verdict: differs from what the designs compute")
    return Judgement(error=error, tolerance=allowed, lines=tuple(lines), failures=failures)


def _one_after_another(
    plan: Plan, regions: Mapping[str, Region], inputs: Tensors, otherwise: Evaluator,
    shares: dict[str, float],
) -> dict[str, NDArray[Any]]:  # fmt: skip
    """Evaluate one network's regions in an order that fits; fill `shares` for those on designs."""
    from orrery.accel import resolve

    designs = {a.region: a.design for a in plan.assignments}
    values: dict[str, NDArray[Any]] = dict(inputs)
    left = dict(regions)
    while left:
        ready = [name for name, region in left.items() if all(t in values for t in region.inputs)]
        for name in ready:
            region = left.pop(name)
            taken = {tensor: values[tensor] for tensor in region.inputs}
            design = designs[name]
            if design is None:
                values.update(otherwise(region, taken))
                continue
            accelerator = resolve(design)
            made = accelerator.evaluate(region, taken)
            bound = accelerator.tolerance.bound
            limits = None if bound is None else bound(region, taken)
            shares[name] = _share(region, taken, made, limits)
            values.update(made)
        if not ready:
            break  # the execution has refused such a plan
    return values


def _share(region: Region, taken: Tensors, made: Tensors, limits: Tensors | None) -> float:
    """Return the largest error as a share of what is allowed there; infinite beyond a zero."""
    worst = 0.0
    for name, want in reference_evaluator(region, taken).items():
        got, right = np.asarray(made[name], np.float64), np.asarray(want, np.float64)
        allowed = np.zeros(()) if limits is None else np.asarray(limits[name], np.float64)
        same = (got == right) | (np.isnan(got) & np.isnan(right))
        with np.errstate(divide="ignore", invalid="ignore"):
            share = np.where(same, 0.0, np.abs(got - right) / allowed)
        worst = max(worst, float(np.max(np.nan_to_num(share, nan=np.inf), initial=0.0)))
    return worst
