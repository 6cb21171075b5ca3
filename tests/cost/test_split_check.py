"""Split plans that are right pass; every single edit that changes what one says is refused."""

from __future__ import annotations

import math
import re
from collections.abc import Callable
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from orrery.cost import Shared, Strategy, check_flow, expand, strategies
from orrery.errors import OrreryError, SpecError, UnknownNameError
from orrery.graph import ArrayConstant, Graph, Node, Region, TensorType
from orrery.hardware import System
from orrery.plan import Assignment, Plan, Split, Transfer

from ..mapping.random_graphs import random_system, residual_graph
from .small import device, link
from .splits import random_split_plan, split, split_plan, with_residents

_CHOICES = {
    "conv0": (["d0", "d1"], Strategy(exclusive=(("Cout", 2),))),
    "relu0": (["d0", "d1"], Strategy(exclusive=(("axis1", 2),))),
    "conv1": (["d0", "d1", "d2", "d3"],
              Strategy(exclusive=(("H", 4),), shared=Shared(loop="Cout", operand=1))),
    "add": (["d1", "d0"], Strategy(exclusive=(("axis2", 2),))),
}  # fmt: skip


def _graph() -> Graph:
    conv = {"kernel_shape": [3, 3], "pads": [1, 1, 1, 1]}
    nodes = (
        Node(name="conv0", op="Conv", inputs=("x", "w0"), outputs=("a",), attributes=conv),
        Node(name="relu0", op="Relu", inputs=("a",), outputs=("b",)),
        Node(name="conv1", op="Conv", inputs=("b", "w1"), outputs=("c",), attributes=conv),
        Node(name="add", op="Add", inputs=("c", "b"), outputs=("y",)),
        Node(name="last", op="Sigmoid", inputs=("y",), outputs=("z",)),
    )
    weights = {n: ArrayConstant(np.ones((8, 8, 3, 3), np.float32)) for n in ("w0", "w1")}
    types = {"x": TensorType(dtype="float32", shape=(1, 8, 8, 8))}
    return Graph(name="residual", nodes=nodes, inputs=("x",), outputs=("z",),
                 types=types | {n: c.type for n, c in weights.items()},
                 constants=weights).infer()  # fmt: skip


def _system() -> System:
    names = [f"d{i}" for i in range(4)]
    return System(
        name="four", host="host", devices=tuple(device(n, designs=("p", "q")) for n in names),
        links=tuple(link("host", n) for n in names),
    )  # fmt: skip


def _choose(region: Region) -> tuple[Split | None, str]:
    found = _CHOICES.get(region.name)
    return (None, "d2") if found is None else (split(*found), found[0][0])


GRAPH, SYSTEM = _graph(), _system()
PLAN = split_plan([GRAPH], SYSTEM, _choose, design="p")


def _edit(of: str, /, **changes: object) -> Callable[[Plan], Plan]:
    """Return an edit of one assignment; keys that a split has change that."""
    fields = set(Split.__dataclass_fields__)

    def apply(plan: Plan) -> Plan:
        edited = []
        for assignment in plan.assignments:
            if assignment.region == of:
                inner = {k: v for k, v in changes.items() if k in fields}
                outer = {k: v for k, v in changes.items() if k not in fields}
                if inner and assignment.split is not None:
                    outer["split"] = replace(assignment.split, **inner)  # type: ignore[arg-type]
                assignment = replace(assignment, **outer)  # type: ignore[arg-type]
            edited.append(assignment)
        return replace(plan, assignments=tuple(edited))

    return apply


def _swap(plan: Plan) -> Plan:
    a, b, *rest = plan.assignments
    return replace(plan, assignments=(b, a, *rest))


def _send(plan: Plan) -> Plan:
    return replace(plan, transfers=(Transfer(
        tensor="a", size_bytes=2048, source="d0", targets=("d1",), producer="conv0",
        consumers=("relu0",), links=(("host--d0", "host--d1"),)),))  # fmt: skip


def _resident(name: str, more: int) -> Callable[[Plan], Plan]:
    return lambda plan: replace(plan, resident_bytes={
        **plan.resident_bytes, name: plan.resident_bytes.get(name, 0) + more})  # fmt: skip


EDITS: dict[str, tuple[Callable[[Plan], Plan], str]] = {
    "transfer": (_send, "plan: transfers: found 1 of them in a plan with split regions"),
    "device": (_edit("conv0", devices=("d0", "d9")), "device.*d9"),
    "same device": (_edit("conv0", devices=("d0", "d0")), "split: devices: found d0, d0"),
    "no device": (_edit("conv0", devices=(), weights=()), "split: devices: found none"),
    "other first": (_edit("conv0", devices=("d1", "d0")), "found d1 first, wanted d0"),
    "assignment's device": (_edit("conv0", device="d1"), "found d0 first, wanted d1"),
    "weights": (_edit("conv0", weights=(1.0,)), "weights: found 1 of them, wanted 2"),
    "zero weight": (_edit("conv0", weights=(1.0, 0.0)), "found 0.0 for d1"),
    "negative weight": (_edit("conv0", weights=(1.0, -2.0)), "found -2.0 for d1"),
    "infinite weight": (_edit("conv0", weights=(math.inf, 1.0)), "found inf for d0"),
    "no number": (_edit("conv0", weights=(math.nan, 1.0)), "found nan for d0"),
    "factor": (_edit("conv0", exclusive=(("Cout", 4),)), "found 4, wanted factors .* the 2 dev"),
    "factor of one": (_edit("conv0", exclusive=(("Cout", 2), ("H", 1))), "factors of 2 or more"),
    "loop": (_edit("conv0", exclusive=(("Cuot", 2),)), "no loop Cuot, did you mean Cout"),
    "loop twice": (_edit("conv1", exclusive=(("H", 2), ("H", 2))), "each loop once"),
    "short loop": (_edit("conv0", exclusive=(("N", 2),)), "N has an extent of 1, too short"),
    "combine": (_edit("conv0", combine="all_reduced"), "did you mean all_reduce"),
    "combine none": (_edit("conv0", exclusive=(("Cin", 2),), combine="none"), "combine: found no"),
    "nothing to sum": (_edit("conv0", combine="reduce_scatter"), "nothing is partial"),
    "ring loop": (_edit("conv1", shared=("Cuot", 1)), "shared: found Cuot.*did you mean Cout"),
    "ring operand": (_edit("conv1", shared=("Cout", 7)), "found operand 7, wanted one of 0, 1"),
    "ring and exclusive": (_edit("conv1", shared=("H", 0)), "H is both exclusive and shared"),
    "ring of nothing": (_edit("conv1", exclusive=()), "ring without exclusive loops"),
    "ring of own parts": (_edit("conv1", shared=("Cin", 0)), "leave nobody with the same part"),
    "design": (_edit("conv0", design="r"), "found r, wanted a design of d0"),
    "another design": (_edit("conv0", design="q"), "one design per device"),
    "another's design": (_edit("last", design="q"), "one design per device"),
    "order": (_swap, "before conv0, whose output a|producers before consumers"),
    "after left out": (_edit("add", after=("conv1",)), "relu0 as well, whose output b"),
    "after invented": (_edit("add", after=("conv1", "relu0", "conv0")), "after: found conv0"),
    "after unknown": (_edit("conv0", after=("nobody",)), "after: found nobody"),
    "nodes": (_edit("conv0", nodes=("conv0", "relu0")), "relu0"),
    "no node": (_edit("last", nodes=()), "no nodes"),
    "unknown node": (_edit("last", nodes=("lost",)), "lost"),
    "name": (_edit("last", region="end"), "in a region named last"),
    "region left out": (lambda plan: replace(plan, assignments=plan.assignments[:-1]),
                        "1 of 5 nodes in no region"),
    "region twice": (lambda plan: replace(plan, assignments=plan.assignments * 2),
                     "two assignments of it"),
    "residents": (_resident("d0", 4), "resident_bytes of d0"),
    "residents of none": (_resident("d9", 0), "d9"),
    "whole instead": (_edit("conv0", split=None), "resident_bytes of d0"),
    "replicated instead": (_edit("conv0", exclusive=()), "resident_bytes of d0"),
    "other speeds": (_edit("conv0", weights=(3.0, 1.0)), "resident_bytes of d0"),
    "ring left out": (_edit("conv1", shared=None), "resident_bytes of d0"),
}  # fmt: skip


def test_the_plan_itself_is_right() -> None:
    check_flow(PLAN, [GRAPH], SYSTEM)
    assert PLAN.is_split and any(a.split is None for a in PLAN.assignments)


@pytest.mark.parametrize("name", EDITS)
def test_single_edits_are_refused(name: str) -> None:
    edit, message = EDITS[name]
    with pytest.raises((SpecError, UnknownNameError)) as caught:
        check_flow(edit(PLAN), [GRAPH], SYSTEM)
    text = re.sub(r"[\"'\\\\]", "", str(caught.value))
    assert re.search(message, text), text


def test_two_errors_name_what_to_do() -> None:
    for name in ("transfer", "weights", "factor", "after left out", "residents"):
        with pytest.raises(SpecError) as caught:
            check_flow(EDITS[name][0](PLAN), [GRAPH], SYSTEM)
        assert "; " in str(caught.value)


@given(seed=st.integers(0, 10**6), data=st.data())
@settings(max_examples=60, deadline=None)
def test_random_plans_pass_and_lose_nothing_unnoticed(seed: int, data: st.DataObject) -> None:
    graph = residual_graph(seed, least=2, most=6)
    system = random_system(seed, least=2, most=3, designs=False)
    plan = random_split_plan(seed, graph, system)
    check_flow(plan, [graph], system)
    at = data.draw(st.integers(0, len(plan.assignments) - 1))
    rest = tuple(a for i, a in enumerate(plan.assignments) if i != at)
    if any(a.split is not None for a in rest):
        with pytest.raises(OrreryError):
            check_flow(replace(plan, assignments=rest), [graph], system)
    victim: Assignment = plan.assignments[at]
    for name in victim.after:
        shorter = replace(victim, after=tuple(a for a in victim.after if a != name))
        changed = tuple(shorter if a is victim else a for a in plan.assignments)
        with pytest.raises(SpecError, match="as well, whose output"):
            check_flow(replace(plan, assignments=changed), [graph], system)


@given(seed=st.integers(0, 10**6))
@settings(max_examples=40, deadline=None)
def test_every_listed_strategy_is_accepted(seed: int) -> None:
    graph = residual_graph(seed, most=1)
    system = random_system(seed, least=3, most=3, designs=False, topology="full")
    (node,) = graph.nodes
    region = Region(graph=graph, nodes=(node.name,))
    names = [d.name for d in system.devices if not d.operators or node.op in d.operators]
    found = strategies(region, len(names))
    for strategy in found if isinstance(found, tuple) else ():
        plan = split_plan([graph], system, lambda _, s=strategy: (split(names, s), names[0]))
        check_flow(plan, [graph], system)
        held = expand(plan, [graph], system).residents
        assert with_residents(plan, [graph], system) == plan
        weights = sum(graph.known_bytes(t) or 0 for t in region.weights)
        assert sum(sum(kept.values()) for kept in held) >= weights
