"""Valid certificates are accepted; each deliberate corruption is refused for its own reason."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from orrery.certificate import (
    WHOLE_LAYERS,
    Certificate,
    Computation,
    Delivery,
    Resident,
    gap_of,
    plan_digest,
)
from orrery.certify import KINDS, Report
from orrery.hardware import Memory
from orrery.mapping.sets import PROOF
from orrery.plan import Transfer
from tests.mapping.random_graphs import MADE_UP

from .cases import Case, split_case, state_case, whole_case

Change = Callable[[Case], Report]


def computation(region: str, device: str, turn: int = 0, /, **changes: Any) -> Change:
    """Change one computation of the certificate; values may be functions of the old one."""

    def judge(case: Case) -> Report:
        def edit(c: Computation) -> Computation:
            if (c.region, c.device, c.round) != (region, device, turn):
                return c
            return replace(c, **{k: v(c) if callable(v) else v for k, v in changes.items()})

        return case.check(replace(
            case.certificate, computations=tuple(map(edit, case.certificate.computations))
        ))  # fmt: skip

    return judge


def delivery(tensor: str, source: str, target: str, /, **changes: Any) -> Change:
    """Change one delivery of the certificate."""

    def edit(d: Delivery) -> Delivery:
        if (d.tensor, d.source, d.target) != (tensor, source, target):
            return d
        return replace(d, **{k: v(d) if callable(v) else v for k, v in changes.items()})

    return lambda case: case.check(replace(
        case.certificate, deliveries=tuple(map(edit, case.certificate.deliveries))
    ))  # fmt: skip


def without(field: str, /, **like: Any) -> Change:
    """Leave out all records of a kind that look like this."""

    def judge(case: Case) -> Report:
        kept = tuple(record for record in getattr(case.certificate, field)
                     if any(getattr(record, k) != v for k, v in like.items()))  # fmt: skip
        return case.check(replace(case.certificate, **{field: kept}))

    return judge


def twice(field: str, /, **like: Any) -> Change:
    def judge(case: Case) -> Report:
        records = getattr(case.certificate, field)
        more = tuple(record for record in records
                     if all(getattr(record, k) == v for k, v in like.items()))  # fmt: skip
        return case.check(replace(case.certificate, **{field: (*records, *more)}))

    return judge


def stated(**changes: Any) -> Change:
    def judge(case: Case) -> Report:
        values = {k: v(case.certificate) if callable(v) else v for k, v in changes.items()}
        return case.check(replace(case.certificate, **values))

    return judge


def planned(region: str, /, **changes: Any) -> Change:
    """Change one assignment of the plan."""

    def judge(case: Case) -> Report:
        return case.check(plan=replace(case.plan, assignments=tuple(
            replace(a, **changes) if a.region == region else a for a in case.plan.assignments
        )))  # fmt: skip

    return judge


def plan(**changes: Any) -> Change:
    def judge(case: Case) -> Report:
        values = {k: v(case.plan) if callable(v) else v for k, v in changes.items()}
        return case.check(plan=replace(case.plan, **values))

    return judge


def resident(**changes: Any) -> Change:
    """Add a resident part."""
    usual = {"device": "d0", "tensor": "w0", "box": ((0, 1), (0, 1), (0, 1), (0, 1)),
             "size_bytes": 4}  # fmt: skip
    more = Resident(**{**usual, **changes})
    return lambda case: case.check(
        replace(case.certificate, residents=(*case.certificate.residents, more))
    )


def on_state(change: Change) -> Change:
    return lambda _: change(state_case())


def on_whole(change: Change) -> Change:
    return lambda _: change(whole_case())


def claimed(**changes: Any) -> Change:
    """Change what the plan says of itself, and the certificate with it, hash and all."""

    def judge(case: Case) -> Report:
        told = replace(case.plan, **changes)
        certificate = replace(case.certificate, plan=plan_digest(told), objective=told.objective)
        if told.lower_bound_s is not None:
            bound = round(told.lower_bound_s * 1e12)
            certificate = replace(certificate, lower_bound_ps=bound, bound=told.bound,
                                  gap=gap_of(certificate.makespan_ps, bound))  # fmt: skip
        return case.check(certificate, plan=told)

    return judge


def rerouted(case: Case) -> Report:
    """Send the input round by another device, in plenty of time: only the plan forbids it."""
    way = case.certificate.deliveries[0]
    detour = next(d.name for d in case.system.devices if d.name != way.target)
    half = replace(way, target=detour, links=(f"{detour}-host",), end_ps=way.end_ps)
    late = way.end_ps + 10**9
    rest = replace(way, source=detour, links=("-".join(sorted((detour, way.target))),),
                   start_ps=way.end_ps, end_ps=late)  # fmt: skip
    return case.check(moved(case, (half, rest), late))


def moved(case: Case, firsts: Sequence[Delivery], by: int) -> Certificate:
    """Begin with other deliveries and do all else later."""

    def edit(record: Any) -> Any:
        return replace(record, start_ps=record.start_ps + by, end_ps=record.end_ps + by)

    c = case.certificate
    makespan = c.makespan_ps + by
    return replace(
        c, deliveries=(*firsts, *map(edit, c.deliveries[1:])), makespan_ps=makespan,
        computations=tuple(map(edit, c.computations)), gap=gap_of(makespan, c.lower_bound_ps),
    )  # fmt: skip


def small_memory(case: Case) -> Report:
    """Look at the same events on machines with less memory."""
    small = case.system.devices[0].offchip
    small = Memory(name=small.name, size_bytes=4000, offchip=True, sources={"size_bytes": MADE_UP})
    devices = (replace(case.system.devices[0], memories=(small,)), *case.system.devices[1:])
    return case.check(system=replace(case.system, devices=devices))


def both_at_once(case: Case) -> Report:
    """Send two parts over one link direction in the time of one."""
    late = replace(next(d for d in case.certificate.deliveries if d.tensor == "r"
                        and d.source == "d0" and d.target == "d1"))  # fmt: skip
    return case.check(
        replace(case.certificate, deliveries=(*case.certificate.deliveries, late, late))
    )


def widened(axis: int, by: int) -> Callable[[Any], Any]:
    """Move the end of the first part that a computation writes, or of a delivery's part."""

    def change(record: Any) -> Any:
        box = record.box if isinstance(record, Delivery) else record.writes[0][1]
        start, stop = box[axis]
        box = (*box[:axis], (start, stop + by), *box[axis + 1 :])
        return box if isinstance(record, Delivery) else ((record.writes[0][0], box),)

    return change


def later(by: int, field: str = "end_ps") -> Callable[[Any], int]:
    return lambda record: getattr(record, field) + by


def narrower_read(c: Computation) -> Any:
    name, box = c.reads[0]
    return ((name, (*box[:-1], (0, box[-1][1] - 1))), *c.reads[1:])


CORRUPTIONS: dict[str, tuple[str, Change]] = {
    "computes before zero": ("time", computation("c0", "d0", start_ps=-1)),
    "ends before it starts": ("time", computation("c0", "d0", end_ps=0)),
    "delivered before zero": ("time", delivery("x", "host", "d0", start_ps=-5)),
    "two regions at once": ("overlap", computation(
        "r", "d0", start_ps=later(-4_000_000, "start_ps"), end_ps=later(-4_000_000))),
    "faster than the model": ("duration", computation("c0", "d0", end_ps=later(-1000))),
    "slower than the model": ("duration", computation("a", "d3", end_ps=later(1000))),
    "read before it is there": ("absent", computation(
        "c0", "d1", start_ps=later(-2000, "start_ps"), end_ps=later(-2000))),
    "region left out": ("region", without("computations", region="r")),
    "result of nobody": ("coverage", without("computations", region="r")),
    "party left out": ("part", without("computations", region="c0", device="d1")),
    "round left out": ("part", without("computations", region="c2", device="d2", round=1)),
    "computed twice": ("coverage", twice("computations", region="c0", device="d0")),
    "round said twice": ("part", twice("computations", region="c0", device="d0")),
    "writes too little": ("coverage", computation("c0", "d1", writes=widened(1, -1))),
    "writes beyond the tensor": ("box", computation("c0", "d1", writes=widened(1, 1))),
    "reads too little": ("reads", computation("c1", "d0", reads=narrower_read)),
    "reads nothing": ("reads", computation("a", "d2", reads=())),
    "reads a strange tensor": ("tensor", computation(
        "r", "d0", reads=(("w0", ((0, 8), (0, 4), (0, 3), (0, 3))),))),
    "writes a strange tensor": ("tensor", computation(
        "r", "d0", writes=(("c0", ((0, 1), (0, 8), (0, 8), (0, 8))),))),
    "box of another rank": ("box", computation("r", "d0", writes=(("r", ((0, 1),)),))),
    "on another device": ("device", computation("r", "d0", device="d1")),
    "on no device": ("device", computation("r", "d0", device="d9")),
    "region unknown": ("region", computation("r", "d0", region="q")),
    "another design": ("design", computation("c0", "d0", design="even")),
    "design not offered": ("design", computation("c2", "d2", design="dense")),
    "two designs on a device": ("design", planned("r", design="even")),
    "addend left out": ("addends", computation("c1", "d1", partial=(("Cin", 4, 7),))),
    "addend twice": ("addends", computation("c1", "d1", partial=(("Cin", 3, 8),))),
    "sum of no loop": ("addends", computation("r", "d0", partial=(("Cin", 0, 4),))),
    "half a sum called whole": ("addends", computation("c1", "d1", partial=())),
    "delivery left out": ("absent", without("deliveries", tensor="c0")),
    "sum not brought together": ("incomplete", without("deliveries", tensor="c1", adds=True)),
    "sum brought together twice": ("addends", twice("deliveries", tensor="c1", adds=True)),
    "added, not copied": ("addends", lambda case: case.check(replace(
        case.certificate, deliveries=tuple(
            replace(d, adds=True) if d.tensor == "r" else d
            for d in case.certificate.deliveries)))),
    "copied, not added": ("incomplete", lambda case: case.check(replace(
        case.certificate, deliveries=tuple(
            replace(d, adds=False) if d.tensor == "c1" else d
            for d in case.certificate.deliveries)))),
    "sent before it is made": ("absent", delivery(
        "c0", "d1", "d0", start_ps=later(-1000, "start_ps"))),
    "sent by who has it not": ("absent", delivery(
        "r", "d1", "d2", source="d3", links=("d2-d3",))),
    "too many bytes": ("size", delivery("c0", "d1", "d0", size_bytes=later(4, "size_bytes"))),
    "too few bytes": ("size", delivery("c0", "d1", "d0", size_bytes=0)),
    "part beyond the tensor": ("box", delivery("c0", "d1", "d0", box=widened(1, 1))),
    "delivery of nothing known": ("tensor", delivery("c0", "d1", "d0", tensor="q")),
    "no such link": ("route", delivery("c0", "d1", "d0", links=("d0-d9",))),
    "links elsewhere": ("route", delivery("c0", "d1", "d0", links=("d2-d3",))),
    "no link at all": ("route", delivery("c0", "d1", "d0", links=())),
    "faster than its link": ("speed", delivery(
        "c0", "d1", "d0", start_ps=later(100_000, "start_ps"))),
    "no time for latency": ("speed", delivery("a", "d3", "host", end_ps=later(-900_000))),
    "link above its rate": ("capacity", both_at_once),
    "from nowhere": ("device", delivery("c0", "d1", "d0", source="moon")),
    "memory too small": ("memory", small_memory),
    "weights not there": ("absent", without("residents", tensor="w1")),
    "what is made lies there before": ("resident", resident(
        tensor="r", box=((0, 1), (0, 8), (0, 8), (0, 8)), size_bytes=2048)),
    "an input lies there before": ("resident", resident(
        tensor="x", box=((0, 1), (0, 4), (0, 8), (0, 8)), size_bytes=1024)),
    "resident of another size": ("size", resident(size_bytes=5)),
    "resident nowhere": ("device", resident(device="host")),
    "result left behind": ("results", without("deliveries", tensor="a", source="d2")),
    "state left behind": ("state", on_state(without("deliveries", tensor="next"))),
    "half a state": ("state", on_state(without("deliveries", tensor="next", target="d1"))),
    "makespan too small": ("makespan", stated(makespan_ps=lambda c: c.makespan_ps - 1)),
    "bound above the makespan": ("bound", stated(lower_bound_ps=lambda c: c.makespan_ps + 1)),
    "bound too good": ("bound", stated(lower_bound_ps=lambda c: c.lower_bound_ps + 1)),
    "another bound than the plan's": ("bound", plan(lower_bound_s=1e-6, bound="all")),
    "gap too good": ("gap", stated(gap=0.0)),
    "no gap": ("gap", stated(gap=None)),
    "another plan": ("plan", plan(seed=7)),
    "another objective": ("plan", stated(objective="energy")),
    "waits for nobody": ("after", planned("c1", after=())),
    "objective of nobody": ("claim", claimed(objective="beauty")),
    "bound of latency beside throughput": ("claim", claimed(
        objective="throughput", lower_bound_s=1e-6, bound=PROOF)),
    "bound of nobody": ("claim", claimed(lower_bound_s=1e-6, bound="any plan whatsoever")),
    "bound without words": ("claim", claimed(lower_bound_s=1e-6, bound="")),
    "bound of whole layers beside shared ones": ("claim", claimed(
        lower_bound_s=1e-6, bound=WHOLE_LAYERS)),
    "bound of sets beside whole layers": ("claim", on_whole(claimed(
        lower_bound_s=1e-6, bound=PROOF))),
    "bound of joules beside latency": ("claim", claimed(lower_bound_j=1.0)),
    "bounds of both": ("claim", claimed(
        objective="energy", lower_bound_j=1.0, lower_bound_s=1e-6, bound=PROOF)),
    "predicted faster than its devices": ("prediction", claimed(predicted_latency_s=1e-9)),
    "sent by another route than planned": ("transfer", on_whole(rerouted)),
    "sent once more than planned": ("transfer", on_whole(lambda case: case.check(replace(
        case.certificate, deliveries=case.certificate.deliveries[:1] * 2 +
        case.certificate.deliveries[1:])))),
    "planned transfer left out": ("transfer", on_whole(lambda case: case.check(replace(
        case.certificate, deliveries=case.certificate.deliveries[1:])))),
    "transfers beside shared layers": ("transfer", plan(transfers=(Transfer(
        tensor="x", size_bytes=1, source="host", targets=("d0",), producer=None, consumers=(),
        links=(("d0-host",),)),))),
    "another network": ("model", stated(models=())),
    "a network of other content": ("model", plan(
        models=lambda p: (replace(p.models[0], digest="0" * 40),))),
    "another system": ("system", stated(system=lambda c: replace(c.system, digest="0" * 40))),
    "a system of other content": ("system", small_memory),
    "node left out of the plan": ("node", plan(assignments=lambda p: p.assignments[:-1])),
    "node twice in the plan": ("node", planned("a", nodes=("a", "r"))),
    "node of no network": ("node", planned("a", nodes=("z",))),
    "another order": ("order", plan(assignments=lambda p: (
        p.assignments[0], p.assignments[2], p.assignments[1], *p.assignments[3:]))),
}  # fmt: skip


def test_what_is_corrupted_holds() -> None:
    for case in (split_case(), split_case(""), state_case(), whole_case()):
        assert case.check().holds, str(case.check())


@pytest.mark.parametrize("name", CORRUPTIONS)
def test_corruption_is_refused_for_its_reason(name: str) -> None:
    kind, change = CORRUPTIONS[name]
    report = change(split_case())
    assert kind in report.kinds, str(report)


def test_another_route_alone_is_what_is_refused() -> None:
    """All else of the detour is in order: it can be carried out, and takes its time."""
    assert rerouted(whole_case()).kinds == {"transfer"}


def test_every_kind_is_shown_and_none_is_unknown() -> None:
    wanted = {kind for kind, _ in CORRUPTIONS.values()}
    assert wanted == set(KINDS)
    assert len(CORRUPTIONS) >= 30


# -- any field of any record ----------------------------------------------------------------------


def changed(draw: st.DrawFn, value: Any) -> Any:
    """Draw another value of the same kind."""
    if isinstance(value, bool):
        return not value
    if isinstance(value, int):
        return value + draw(st.sampled_from([-(10**6), -(10**4), -3, 3, 10**4, 10**6]))
    if isinstance(value, float):
        return value * 1.01 + 1e-6
    if isinstance(value, str) or value is None:
        names = ["c0", "r", "c1", "d0", "d1", "d3", "host", "dense", "even", "x", "w0", "elsewhere"]
        return draw(st.sampled_from([name for name in names if name != value]))
    if not isinstance(value, tuple):
        return replace(value, digest=value.digest[::-1])
    if not value:
        return (("Cin", 0, 4),)
    place = draw(st.integers(0, len(value) - 1))
    alike = all(isinstance(item, tuple) for item in value)
    if alike and len(value) > 1 and draw(st.booleans()):
        return (*value[:place], *value[place + 1 :])
    return (*value[:place], changed(draw, value[place]), *value[place + 1 :])


@st.composite
def edits(draw: st.DrawFn) -> tuple[Case, str, Any, Any, str, Certificate]:
    """Draw a certificate with one field of one record changed."""
    case = draw(st.sampled_from([split_case, whole_case]))()
    certificate = case.certificate
    group = draw(st.sampled_from(["computations", "deliveries", "residents", ""]))
    if not group:
        field = draw(st.sampled_from([f for f in certificate.__slots__ if f not in (
            "computations", "deliveries", "residents")]))  # fmt: skip
        value = changed(draw, getattr(certificate, field))
        edited = replace(certificate, **{field: value})
        return case, group, certificate, edited, field, edited
    records = getattr(certificate, group)
    place = draw(st.integers(0, len(records) - 1))
    record = records[place]
    field = draw(st.sampled_from(record.__slots__))
    edited = replace(record, **{field: changed(draw, getattr(record, field))})
    records = (*records[:place], edited, *records[place + 1 :])
    return case, group, record, edited, field, replace(certificate, **{group: records})


def is_harmless(group: str, old: Any, new: Any, field: str) -> bool:
    """Whether a change may leave a plan that can be carried out just as well."""
    if group == "computations":
        return field == "reads"  # more than needed, or the same said otherwise
    if group == "deliveries":
        slower = new.end_ps - new.start_ps > old.end_ps - old.start_ps
        # What goes home after a ring's last round is read by nobody.
        return slower or (old.tensor == "w2" and old.start_ps > 48_000_000)
    return False


@given(edits())
def test_any_field_changed_is_noticed_unless_harmless(
    edit: tuple[Case, str, Any, Any, str, Certificate],
) -> None:
    case, group, old, new, field, certificate = edit
    report = case.check(certificate)
    assert not report.holds or is_harmless(group, old, new, field), (old, new)
