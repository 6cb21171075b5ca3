"""Plans against their networks: a searcher's plans pass, and no edit of what they say does."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import replace

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from orrery.accel import resolve
from orrery.cost import check_flow, price, roofline
from orrery.errors import OrreryError, SpecError, UnknownNameError
from orrery.graph import Graph, Node, TensorType, build_model
from orrery.hardware import System, load_system
from orrery.mapping import GreedySearch, greedy
from orrery.plan import Plan

from .small import chain, device, full, link, ring

MODELS = {"": roofline}


def planned(graphs: Sequence[Graph], system: System) -> Plan:
    designs = {design for d in system.devices for design in d.designs}
    models = MODELS | {design: resolve(design).cost for design in designs}
    plan = greedy(graphs, system, models, GreedySearch(configurations=1))
    assert isinstance(plan, Plan), plan
    return plan


def hosted(count: int = 3) -> System:
    """Slow memories and quick links: work is spread."""
    names = [f"d{i}" for i in range(count)]
    return System(
        name="hosted", host="host",
        devices=tuple(device(name, bandwidth=1e7, operators=None) for name in names),
        links=tuple(link("host", name, bandwidth=1e10) for name in names)
        + tuple(link(a, b, bandwidth=1e10) for i, a in enumerate(names) for b in names[i + 1 :]),
    )  # fmt: skip


def branches(width: int = 3, states: bool = True) -> Graph:
    """Several ways that meet, with two caches whose next values are made in one of them."""
    nodes = [Node(name="first", op="Relu", inputs=("x",), outputs=("f",))]
    made = []
    for i in range(width):
        source = f"k{i}" if states and i < 2 else "f"
        nodes.append(Node(name=f"left{i}", op="Add", inputs=("f", source), outputs=(f"l{i}",)))
        nodes.append(Node(name=f"right{i}", op="Mul", inputs=(f"l{i}", "w"), outputs=(f"r{i}",)))
        made.append(f"r{i}")
    nodes.append(Node(name="sum", op="Sum", inputs=tuple(made), outputs=("y",)))
    types = {name: TensorType(dtype="float32", shape=(64, 64)) for name in ("x", "k0", "k1")}
    kept = {"k0": "l0", "k1": "l1"} if states else {}
    weight = chain(1).constants["w0"]
    return Graph(
        name="branches", nodes=tuple(nodes), inputs=("x", *kept), outputs=("y", *kept.values()),
        types=types | {"w": weight.type}, constants={"w": weight}, states=kept,
    ).infer()  # fmt: skip


def spread(graphs: Sequence[Graph], system: System) -> Plan:
    plan = planned(graphs, system)
    assert len({a.device for a in plan.assignments}) > 1, "a plan on one device tests little"
    return plan


@pytest.mark.parametrize("name", ["resnet18", "googlenet", "wide-deep", "mocap", "memn2n"])
def test_a_searchers_plan_of_a_network_passes(name: str) -> None:
    system = load_system("aws-f1")
    graph = build_model(name)
    check_flow(planned([graph], system), [graph], system)


@pytest.mark.parametrize("system", [hosted(), full(3), ring(4)], ids=lambda s: s.name)
def test_several_networks_with_states_pass(system: System) -> None:
    decode = build_model("gpt2-124m", phase="decode", context=16)
    graphs = [branches(), chain(), branches(), decode]
    assert decode.states
    check_flow(planned(graphs, replace(system, name="any")), graphs, system)


@pytest.mark.parametrize("optimizer", ["sgd", "momentum", "adam"])
def test_a_training_step_passes(optimizer: str) -> None:
    graph = build_model("squeezenet1_1").training(optimizer)
    system = load_system("h200")
    check_flow(planned([graph], system), [graph], system)


def edits(plan: Plan) -> Iterator[tuple[str, Plan]]:
    """Every plan that says one thing less, more, or otherwise."""
    for i, a in enumerate(plan.assignments):
        before, rest = plan.assignments[:i], plan.assignments[i + 1 :]
        other = next(b.device for b in plan.assignments if b.device != a.device)
        for what, now in {
            "region left out": (), "region twice": (a, a),
            "region renamed": (replace(a, region="zz"),),
            "node twice": (replace(a, nodes=a.nodes * 2),),
            "another's node": (replace(a, nodes=plan.assignments[i - 1].nodes),),
            "moved": (replace(a, device=other),), "no device": (replace(a, device="zz"),),
            "after itself": (replace(a, after=(*a.after, a.region)),),
            "after nobody": (replace(a, after=(*a.after, "zz")),),
            "no design": (replace(a, design="zz"),),
        }.items():  # fmt: skip
            yield f"{a.region}: {what}", replace(plan, assignments=(*before, *now, *rest))
        local = plan.device_of()
        for name in a.after:
            if local[name] == a.device:
                fewer = replace(a, after=tuple(b for b in a.after if b != name))
                yield f"{a.region}: not after {name}", replace(
                    plan, assignments=(*before, fewer, *rest))  # fmt: skip
    for i, t in enumerate(plan.transfers):
        before_, rest_ = plan.transfers[:i], plan.transfers[i + 1 :]
        changes = {
            "unknown tensor": replace(t, tensor="zz"), "no bytes": replace(t, size_bytes=0),
            "more bytes": replace(t, size_bytes=t.size_bytes + 1),
            "huge": replace(t, size_bytes=10**30), "no targets": replace(t, targets=(), links=()),
            "a producer": replace(t, producer=plan.assignments[0].region if t.producer is None
                                  else None),
            "unknown consumer": replace(t, consumers=(*t.consumers, "zz")),
            "unknown end": replace(t, source="zz"),
            "to itself": replace(t, targets=(t.source,), links=((),)),
        }  # fmt: skip
        yield f"{t.tensor}: left out", replace(plan, transfers=(*before_, *rest_))
        if t.consumers:
            changes["no consumers"] = replace(t, consumers=())
        for what, changed in changes.items():
            yield f"{t.tensor}: {what}", replace(plan, transfers=(*before_, changed, *rest_))
    for name, size in plan.resident_bytes.items():
        for wrong in (size + 1, -size - 1, 10**15):
            yield f"{name}: {wrong} resident", replace(
                plan, resident_bytes={**plan.resident_bytes, name: wrong})  # fmt: skip
    yield "nothing resident", replace(plan, resident_bytes={})
    yield "an unknown memory", replace(plan, resident_bytes={**plan.resident_bytes, "zz": 1})
    yield "empty", replace(plan, assignments=(), transfers=())
    yield "no transfers", replace(plan, transfers=())
    alone = tuple(replace(a, after=()) for a in plan.assignments)
    yield "no order", replace(plan, assignments=alone, transfers=())


@pytest.mark.parametrize("system", [hosted(), full(3, bandwidth=1e12)], ids=lambda s: s.name)
@pytest.mark.parametrize("copies", [1, 2])
def test_every_single_edit_is_refused(system: System, copies: int) -> None:
    graphs = [branches()] * copies
    plan = spread(graphs, system)
    check_flow(plan, graphs, system)
    count = 0
    for what, edited in edits(plan):
        with pytest.raises(OrreryError, match=r"^(plan|no (device|node|link|region))"):
            price(edited, graphs, system, MODELS)
            pytest.fail(f"believed: {what}")
        count += 1
    assert count > 60


@settings(max_examples=40, deadline=None)
@given(st.data())
def test_dealt_out_without_transfers_is_refused(data: st.DataObject) -> None:
    """What the plan file of the worst kind does: all at once, everywhere, nothing brought."""
    graph, system = branches(states=False), hosted()
    plan = planned([graph], system)
    names = [d.name for d in system.devices]
    dealt = tuple(
        replace(a, device=data.draw(st.sampled_from(names)), after=()) for a in plan.assignments
    )
    with pytest.raises(SpecError, match=r"^plan: "):
        price(replace(plan, assignments=dealt, transfers=()), [graph], system, MODELS)


def test_refusals_say_what_is_wrong_and_what_to_change() -> None:
    graph, system = branches(), hosted()
    plan = planned([graph], system)

    def refused(edited: Plan, match: str, kind: type[OrreryError] = SpecError) -> None:
        with pytest.raises(kind, match=match):
            check_flow(edited, [graph], system)

    refused(replace(plan, assignments=()), "plan: assignments: found 'none'")
    refused(replace(plan, assignments=plan.assignments[:-1]),
            "network 'branches': found '1 of 8 nodes in no region: ")  # fmt: skip
    first, *others = plan.assignments
    assert first.region == "first"
    refused(replace(plan, assignments=(replace(first, region="zz"), *others)),
            "'zz': found 'nodes first', wanted those, in a region named 'first'")  # fmt: skip
    refused(replace(plan, assignments=(replace(first, nodes=("first", "sum")), *others)),
            "region 'sum': found \"node 'sum', which region 'first' has too\"")  # fmt: skip
    refused(replace(plan, assignments=(replace(first, device="d9"), *others)), "no device",
            UnknownNameError)  # fmt: skip
    image, *rest = plan.transfers
    assert image.tensor == "x"
    refused(replace(plan, transfers=(replace(image, size_bytes=0), *rest)),
            "transfer of 'x': size_bytes: found 0, wanted 16384, as the network says")  # fmt: skip
    refused(replace(plan, transfers=(*rest,)), "no transfer of 'x', which is on 'host', to it")
    refused(replace(plan, transfers=(*plan.transfers, replace(image, tensor="w"))),
            "transfer of 'w': found 'a weight'")  # fmt: skip
    refused(replace(plan, transfers=(*plan.transfers, replace(image, tensor="xx"))),
            "transfer of 'xx': found 'no tensor of this name'")  # fmt: skip
    back = tuple(t for t in plan.transfers if t.tensor != "y")
    refused(replace(plan, transfers=back), "result 'y' of 'branches': .* to the host")
    refused(replace(plan, resident_bytes={**plan.resident_bytes, first.device: -1}),
            "resident_bytes of 'd.': found -1, wanted the [0-9]+ of its weights")  # fmt: skip


def test_a_next_value_comes_back_to_every_state_that_takes_it() -> None:
    # One value for two states, which lie on devices of their own.
    graph = replace(branches(), outputs=("y",), states={"k0": "y", "k1": "y"})
    system = hosted()
    plan = planned([graph], system)
    check_flow(plan, [graph], system)
    device_of = plan.device_of()
    homes = {device_of["left0"], device_of["left1"]}
    assert len(homes) == 2
    (back,) = [t for t in plan.transfers if t.tensor == "y"]
    assert set(back.targets) | {device_of["sum"]} >= homes
    rest = tuple(t for t in plan.transfers if t is not back)
    with pytest.raises(SpecError, match="no transfer of its next value 'y'"):
        check_flow(replace(plan, transfers=rest), [graph], system)


def test_an_input_is_not_passed_on_before_it_has_come() -> None:
    graph, system = branches(states=False), hosted()
    plan = planned([graph], system)
    image = next(t for t in plan.transfers if t.tensor == "x")
    where = image.targets[0]
    other = next(d.name for d in system.devices if d.name not in image.targets)
    onward = replace(image, source=where, targets=(other,), consumers=(),
                     links=(tuple(x.name for x in system.route(where, other) or ()),))  # fmt: skip
    with pytest.raises(SpecError, match="wanted 'host', where it starts; correct the source"):
        check_flow(replace(plan, transfers=(*plan.transfers, onward)), [graph], system)


def test_names_of_networks_are_kept_apart() -> None:
    graph, system = branches(), hosted()
    plan = planned([graph, graph], system)
    same = tuple(replace(model, prefix="branches/") for model in plan.models)
    with pytest.raises(OrreryError):
        check_flow(replace(plan, models=same), [graph, graph], system)


def test_a_device_holds_one_design_of_its_own() -> None:
    graph, system = build_model("resnet18"), load_system("aws-f1")
    plan = planned([graph], system)
    designs = system.devices[0].designs
    used = next(a for a in plan.assignments if a.design)
    other = next(design for design in designs if design != used.design)
    late = next(a for a in plan.assignments if a.device == used.device and a is not used)
    two = replace(plan, assignments=tuple(
        replace(a, design=other) if a is late else a for a in plan.assignments))  # fmt: skip
    with pytest.raises(SpecError, match="wanted one design per device"):
        check_flow(two, [graph], system)
    near = replace(plan, assignments=tuple(
        replace(a, design=a.design.replace("=", "= ")) if a.design else a
        for a in plan.assignments))  # fmt: skip
    with pytest.raises(SpecError, match=r"a design of 'fpga\d', or null: .*did you mean"):
        check_flow(near, [graph], system)
