"""Chakra traces: as Google's decoder reads them, whole, matched, and playing as the replay did."""

from __future__ import annotations

from collections import Counter
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from orrery.certificate import Certificate
from orrery.cost import price
from orrery.errors import SpecError
from orrery.sim import (
    ChakraNode,
    ChakraTrace,
    chakra_traces,
    decode_chakra,
    encode_chakra,
    play_chakra,
    read_chakra,
    replay_certified,
)
from tests.certify.cases import party_seconds
from tests.certify.plans import small_case
from tests.mapping.random_graphs import MODELS

from .chakra_schema import joined, messages, split_messages

TYPES = ("INVALID", "METADATA", "MEM_LOAD", "MEM_STORE", "COMP", "COMM_SEND", "COMM_RECV",
         "COMM_COLL", "STORAGE", "BATCH", "CHECKPOINT")  # fmt: skip

value = st.one_of(
    st.booleans(), st.integers(-(2**63), 2**63 - 1), st.text(max_size=9), st.binary(max_size=9),
    st.floats(allow_nan=False), st.lists(st.integers(-9, 9), min_size=1).map(tuple),
    st.lists(st.booleans(), min_size=1).map(tuple), st.lists(st.text(), min_size=1).map(tuple),
    st.lists(st.floats(allow_nan=False), min_size=1).map(tuple),
)  # fmt: skip
ids = st.integers(0, 2**64 - 1)
node = st.builds(
    ChakraNode, id=ids, name=st.text(), type=st.sampled_from(TYPES),
    ctrl_deps=st.lists(ids).map(tuple), data_deps=st.lists(ids).map(tuple), start_micros=ids,
    duration_micros=ids, inputs=st.tuples(st.text(), st.text(), st.text()),
    attributes=st.dictionaries(st.text(), value, max_size=4),
)  # fmt: skip
trace = st.builds(ChakraTrace, nodes=st.lists(node, max_size=4).map(tuple),
                  attributes=st.dictionaries(st.text(), value, max_size=3))  # fmt: skip


def plain(attribute: Any) -> Any:
    """Return the value of a decoded attribute as ours is."""
    kind = attribute.WhichOneof("value")
    found = getattr(attribute, kind)
    return tuple(found.values) if kind.endswith("_list") else found


@given(trace)
def test_google_reads_what_we_write_and_we_do(given_trace: ChakraTrace) -> None:
    raw = encode_chakra(given_trace)
    assert decode_chakra(raw) == given_trace
    kinds = messages()
    head, *bodies = split_messages(raw)
    read = kinds["GlobalMetadata"].FromString(head)
    assert read.version == given_trace.version
    assert {a.name: plain(a) for a in read.attr} == dict(given_trace.attributes)
    for body, ours in zip(bodies, given_trace.nodes, strict=True):
        theirs = kinds["Node"].FromString(body)
        assert (theirs.id, theirs.name, TYPES[theirs.type]) == (ours.id, ours.name, ours.type)
        assert tuple(theirs.ctrl_deps) == ours.ctrl_deps
        assert tuple(theirs.data_deps) == ours.data_deps
        assert theirs.start_time_micros == ours.start_micros
        assert theirs.duration_micros == ours.duration_micros
        assert (theirs.inputs.values, theirs.inputs.shapes, theirs.inputs.types) == ours.inputs
        assert {a.name: plain(a) for a in theirs.attr} == dict(ours.attributes)


@pytest.mark.parametrize("first", [False, True])
def test_we_read_every_type_of_value_that_google_writes(first: bool) -> None:
    kinds = messages(first=first)
    head, one = kinds["GlobalMetadata"](), kinds["Node"](id=3, name="n", type=4, later="skipped")
    values: dict[str, Any] = {
        "double": 1.5, "float": -2.5, "int32": -3, "int64": -(2**40), "uint32": 7, "uint64": 2**63,
        "sint32": -5, "sint64": -(2**40), "fixed32": 9, "fixed64": 2**40, "sfixed32": -9,
        "sfixed64": -(2**40), "bool": True, "string": "text", "bytes": b"\x00\xff",
    }  # fmt: skip
    for kind, said in values.items():
        one.attr.add(name=kind, **{f"{kind}_val": said})
        one.attr.add(name=f"{kind}s").MergeFrom(kinds["AttributeProto"](
            **{f"{kind}_list": {"values": [said, said]}}))  # fmt: skip
    head.attr.add(name="who", string_val="google")
    if not first:
        head.version = "0.0.4"
    read = decode_chakra(joined([head, one]))
    assert read.attributes == {"who": "google"} and read.version == ("" if first else "0.0.4")
    (ours,) = read.nodes
    assert ours.type == "COMP"
    for kind, said in values.items():
        assert ours.attributes[kind] == said and ours.attributes[f"{kind}s"] == (said, said)


@given(st.binary(max_size=40))
def test_no_bytes_do_harm(raw: bytes) -> None:
    try:
        decode_chakra(raw)
    except SpecError as error:
        assert "Chakra" in str(error)


def test_a_file_cut_short_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "chakra.0.et"
    path.write_bytes(encode_chakra(ChakraTrace(nodes=(comp(1, 5),)))[:-3])
    with pytest.raises(SpecError, match=r"are left.*wanted an execution trace"):
        read_chakra(path)
    with pytest.raises(SpecError, match="readable file"):
        read_chakra(tmp_path / "none.et")


# -- of replays -----------------------------------------------------------------------------------


SEEDS = [seed for seed in range(30) if small_case(seed)[2].is_split]


def exported(seed: int) -> tuple[list[ChakraTrace], Certificate, dict[str, Any]]:
    graph, system, plan = small_case(seed)
    cost = price(plan, [graph], system, MODELS)
    timeline, certificate = replay_certified(
        plan, [graph], system, lambda a, p, r: party_seconds(cost, a, p, r) or 0.0,
        expansion=cost.expansion)  # fmt: skip
    operations = {c.region: 1000 for c in certificate.computations}
    tensors = {name: (t.elements, t.size_bytes) for name, t in graph.types.items()}
    traces, groups = chakra_traces(certificate, timeline, operations=operations, tensors=tensors)
    return list(traces.values()), certificate, dict(groups)


@pytest.mark.parametrize("seed", SEEDS)
def test_traces_say_all_that_was_replayed(seed: int) -> None:
    traces, certificate, groups = exported(seed)
    read = [decode_chakra(encode_chakra(trace)) for trace in traces]
    assert read == traces
    for each in traces:
        for one in each.nodes:  # ids rise along dependencies: no circle
            assert all(before < one.id for before in (*one.data_deps, *one.ctrl_deps))
    nodes = [(rank, n) for rank, each in enumerate(traces) for n in each.nodes]
    comp_ps = sum(n.attributes["duration_ps"] for _, n in nodes if n.type == "COMP")
    assert comp_ps == sum(c.end_ps - c.start_ps for c in certificate.computations)
    micros = sum(n.duration_micros for _, n in nodes if n.type == "COMP")
    assert abs(micros - comp_ps / 1e6) <= len(certificate.computations)
    ends = ("comm_src", "comm_dst", "comm_tag", "comm_size")
    sent, received = (
        Counter(tuple(n.attributes[end] for end in ends) for r, n in nodes
                if n.type == type_ and n.attributes[mine] == r)
        for type_, mine in (("COMM_SEND", "comm_src"), ("COMM_RECV", "comm_dst"))
    )  # fmt: skip
    assert sum(sent.values()) == sum(n.type == "COMM_SEND" for _, n in nodes)
    assert sent == received and set(sent.values()) <= {1}
    for rank, n in nodes:
        if n.type == "COMM_COLL":
            assert rank in groups[n.attributes["pg_name"]] and n.attributes["comm_size"] > 0
    assert 0 < play_chakra(traces).makespan_ps <= certificate.makespan_ps  # sets also meet there


def test_sums_of_sets_are_collectives() -> None:
    kinds: Counter[object] = Counter()
    for seed in SEEDS:
        for each in exported(seed)[0]:
            kinds.update(n.attributes["comm_type"] for n in each.nodes if n.type == "COMM_COLL")
    assert kinds[0] > 0  # all-reduce
    assert set(kinds) <= {0, 2, 7}


def test_operations_of_a_region_add_up_over_its_parts() -> None:
    seen = 0
    for seed in SEEDS:
        traces, certificate, _ = exported(seed)
        per_region: Counter[str] = Counter()
        for each in traces:
            for n in each.nodes:
                if n.type == "COMP":
                    per_region[n.name.partition(" round ")[0]] += n.attributes["num_ops"]
        parts = Counter(c.region for c in certificate.computations)
        for region, total in per_region.items():
            assert total >= 1000 - parts[region]
            seen += parts[region] > 1 and abs(total - 1000) <= parts[region]
    assert seen > 10


# -- played ---------------------------------------------------------------------------------------


def comp(number: int, micros: int, *deps: int) -> ChakraNode:
    return ChakraNode(id=number, name=f"c{number}", type="COMP", duration_micros=micros,
                      data_deps=deps)  # fmt: skip


def message(number: int, type_: str, micros: int, *deps: int, tag: int = 0) -> ChakraNode:
    return ChakraNode(id=number, name=f"m{number}", type=type_, duration_micros=micros,
                      data_deps=deps, attributes={"comm_src": 0, "comm_dst": 1, "comm_tag": tag,
                                                  "comm_size": 8})  # fmt: skip


def test_a_chain_over_two_ranks_takes_the_sum() -> None:
    first = ChakraTrace(nodes=(comp(1, 5), message(2, "COMM_SEND", 3, 1), comp(3, 1, 1)))
    second = ChakraTrace(nodes=(message(1, "COMM_RECV", 99), comp(2, 7, 1)))
    timeline = play_chakra([first, second])
    assert timeline.makespan_ps == (5 + 3 + 7) * 10**6
    assert {s.resource for s in timeline.spans} == {"rank 0", "rank 1"}


def test_collectives_begin_with_the_last_and_computations_take_turns() -> None:
    def coll(*deps: int) -> ChakraNode:
        return ChakraNode(id=9, name="sum", type="COMM_COLL", duration_micros=4, data_deps=deps,
                          attributes={"comm_type": 0, "pg_name": "0"})  # fmt: skip

    first = ChakraTrace(nodes=(comp(1, 5), comp(2, 6), coll(1)))
    second = ChakraTrace(nodes=(comp(1, 8), coll(1)))
    timeline = play_chakra([first, second])
    sums = [s for s in timeline.spans if s.name == "sum"]
    assert [(s.start_ps, s.end_ps) for s in sums] == [(8 * 10**6, 12 * 10**6)] * 2
    assert max(s.end_ps for s in timeline.spans if s.resource == "rank 0") == 12 * 10**6
    assert [s.start_ps for s in timeline.spans if s.name == "c2"] == [5 * 10**6]


@pytest.mark.parametrize(
    ("nodes", "said"),
    [
        ((comp(1, 1, 2), comp(2, 1, 1)), "nodes that wait for each other"),
        ((comp(1, 1, 7),), "a dependency on 7"),
        ((comp(1, 1), comp(1, 2)), "node 1 of rank 0 twice"),
        ((message(1, "COMM_SEND", 1),), "1 sends and 0 receives from 0 to 1 with tag 0"),
        ((comp(1, 2**62),), "the clock can say"),
    ],
)
def test_what_cannot_be_played_is_refused(nodes: tuple[ChakraNode, ...], said: str) -> None:
    with pytest.raises(SpecError, match=said):
        play_chakra([ChakraTrace(nodes=nodes), ChakraTrace(nodes=())])


def call(id_: int, kind: int = 0, **more: Any) -> ChakraNode:
    return ChakraNode(id=id_, name=f"call {id_}", type="COMM_COLL", duration_micros=5,
                      attributes={"pg_name": "g", "comm_type": kind, **more})  # fmt: skip


def test_a_collective_is_called_equally_often_by_all_members() -> None:
    twice, once, never = (ChakraTrace(nodes=tuple(call(i) for i in range(n))) for n in (2, 1, 0))
    with pytest.raises(SpecError, match="2 calls by rank 0, 1 by rank 1"):
        play_chakra([twice, once])
    other = ChakraTrace(nodes=(call(0, kind=2), call(1)))
    with pytest.raises(SpecError, match="calls by rank"):
        play_chakra([twice, other])
    assert play_chakra([once, once, never]).makespan_ps == 5_000_000
    with pytest.raises(SpecError, match="1 calls by rank 0, 0 by rank 2"):
        play_chakra([once, once, never], groups={"g": [0, 1, 2]})
    with pytest.raises(SpecError, match=r"rank 1: found \"ALL_REDUCE of group 'g'"):
        play_chakra([once, once], groups={"g": [0]})
    with pytest.raises(SpecError, match="one of groups h"):
        play_chakra([once, once], groups={"h": [0, 1]})


@pytest.mark.parametrize(
    ("said", "ends"),
    [
        ({"duration_ps": 7e6}, 7_000_000), ({"duration_ps": -5}, None),
        ({"duration_ps": float("nan")}, None), ({"duration_ps": "7"}, None),
        ({"duration_ps": True}, None), ({"duration_micros": 1.5}, 1_500_000),
        ({"duration_micros": -1.5}, None),
    ],
)  # fmt: skip
def test_a_duration_is_obeyed_or_refused(said: dict[str, Any], ends: int | None) -> None:
    alone = ChakraTrace(nodes=(ChakraNode(id=0, name="n", type="COMP", attributes=said),))
    if ends is not None:
        assert play_chakra([alone]).makespan_ps == ends
        return
    with pytest.raises(SpecError, match=r"rank 0: n: found.*wanted a time, 0 or more"):
        play_chakra([alone])


def test_a_negative_duration_and_a_second_device_are_refused() -> None:
    negative = ChakraTrace(nodes=(ChakraNode(id=0, name="n", type="COMP",
                                             duration_micros=2**64 - 5),))  # fmt: skip
    with pytest.raises(SpecError, match="a duration of -5 us"):
        play_chakra([negative])
    same = ChakraTrace(nodes=(comp(0, 3),), attributes={"device": "a"})
    with pytest.raises(SpecError, match="device 'a', as of rank 0"):
        play_chakra([same, same])
