"""Inputs in a row: closed forms of short pipelines, Little's law, conservation, one input alone."""

from __future__ import annotations

from itertools import pairwise

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from orrery.cost import price
from orrery.errors import SpecError
from orrery.hardware import System
from orrery.mapping import greedy
from orrery.plan import Plan
from orrery.sim import Pipeline, replay, replay_pipeline, replay_split
from tests.certify.cases import party_seconds, split_case
from tests.certify.plans import small_case
from tests.mapping.random_graphs import MODELS

from .systems import link, plan, run, send, system

ENDS = ["a", "b", "c"]


def chain(seconds: list[float], size: int = 0, **how) -> tuple[Plan, System]:
    """Return a stage per device, one after the other, with links of 1 MB/s between."""
    names = [chr(ord("a") + i) for i in range(len(seconds))]
    pairs = list(pairwise(names))
    whole = plan(
        [run(f"s{n}", n, *([f"s{names[i - 1]}"] if i else [])) for i, n in enumerate(names)],
        [send(f"t{a}", size, a, b, f"{a}{b}", producer=f"s{a}", consumers=[f"s{b}"])
         for a, b in pairs],
    )  # fmt: skip
    return whole, system(names, [link(f"{a}{b}", a, b, bandwidth=1e6, **how) for a, b in pairs])


def load(seconds: list[float], size: int = 0, **how) -> Pipeline:
    made, machines = chain(seconds, size, **how)
    took = dict(zip([a.region for a in made.assignments], seconds))
    return replay_pipeline(made, machines, lambda a, _p, _r: took[a.region])


@pytest.mark.parametrize("seconds", [[3.0, 5.0], [5.0, 3.0], [2.0, 5.0, 3.0], [2.0, 2.0, 2.0]])
def test_the_period_is_the_slowest_stage_and_the_latency_the_sum(seconds: list[float]) -> None:
    found = load(seconds)
    assert found.steady and found.paced
    assert found.period_s == max(seconds) == found.least_period_s
    assert found.latency_s == sum(seconds) == found.alone_s
    assert found.in_flight == pytest.approx(sum(seconds) / max(seconds))


def test_a_link_sets_the_period_where_it_is_the_slowest() -> None:
    found = load([1.0, 2.0, 1.0], size=7_000_000)
    assert found.period_s == 7.0 and found.busiest in ("ab", "bc")
    assert found.latency_s == 1 + 7 + 2 + 7 + 1
    assert found.link_busy_s == {"ab": 7.0, "bc": 7.0}
    assert not any(found.link_slowed_s.values())


def test_stages_that_share_a_bus_wait_for_it() -> None:
    """Both hops cross one bus of 1 MB/s: two times 2 s per input, more than any stage."""
    made, _ = chain([1.0, 1.0, 1.0], size=2_000_000)
    over = [send(t.tensor, t.size_bytes, t.source, t.targets[0], "bus", producer=t.producer,
                 consumers=t.consumers) for t in made.transfers]  # fmt: skip
    bus = system(ENDS, [link("bus", *ENDS, bandwidth=1e6, duplex=False)])
    found = replay_pipeline(plan(made.assignments, over), bus, lambda a, _p, _r: 1.0)
    assert (found.busiest, found.least_period_s) == ("bus", 4.0)
    assert found.period_s == pytest.approx(4.0, rel=1e-5)
    assert found.alone_s == 7.0 and found.latency_s >= 7.0


def test_a_device_with_two_layers_does_one_at_a_time() -> None:
    """a, b, a: the first device works 2 + 2 s on each input, and inputs interleave on it."""
    two = plan(
        [run("s1", "a"), run("s2", "b", "s1"), run("s3", "a", "s2")],
        [send("x", 0, "a", "b", "ab", producer="s1", consumers=["s2"]),
         send("y", 0, "b", "a", "ab", producer="s2", consumers=["s3"])],
    )  # fmt: skip
    found = replay_pipeline(two, system(["a", "b"], [link("ab", "a", "b")]),
                            lambda a, _p, _r: 3.0 if a.region == "s2" else 2.0)  # fmt: skip
    assert found.steady and found.period_s == 4.0
    assert found.latency_s >= found.alone_s == 7.0


def test_memory_holds_what_is_on_its_way() -> None:
    made, machines = chain([1.0, 4.0], size=0)
    found = replay_pipeline(made, machines, lambda a, _p, _r: 1.0 if a.region == "sa" else 4.0,
                            output_bytes=lambda a: 10)  # fmt: skip
    assert found.peak_bytes == {"a": 10, "b": 10}


@settings(max_examples=25, deadline=None)
@given(
    st.lists(st.integers(1, 9), min_size=1, max_size=4), st.integers(0, 9), st.booleans(),
)  # fmt: skip
def test_little_and_bounds(stages: list[int], size: int, duplex: bool) -> None:
    found = load([float(s) for s in stages], size=1_000_000 * size, duplex=duplex)
    slowest = max([*stages, size if len(stages) > 1 else 0])
    assert found.steady and found.period_s == pytest.approx(slowest)
    assert found.in_flight == pytest.approx(found.latency_s / found.period_s, rel=1e-5)
    assert sum(found.device_busy_s.values()) == pytest.approx(sum(stages))
    assert sum(found.link_busy_s.values()) == pytest.approx(size * (len(stages) - 1))


def test_one_input_alone_takes_what_its_replay_takes() -> None:
    """And under load no input is faster, nor do they follow faster than the busiest allows."""
    splits = 0
    for seed in range(24):
        graph, machines, made = small_case(seed)
        if not made.is_split:
            made = greedy([graph], machines, MODELS)
        cost = price(made, [graph], machines, MODELS)

        def seconds(a, p, r, cost=cost):
            return party_seconds(cost, a, p, r) or 0.0

        found = replay_pipeline(made, machines, seconds, expansion=cost.expansion, most=16)
        if cost.expansion is None:
            alone = replay(made, machines, lambda a: seconds(a, 0, 0)).makespan_s
        else:
            alone = replay_split(made, machines, cost.expansion, seconds).timeline.makespan_s
            splits += 1
        assert found.alone_s == pytest.approx(alone, rel=1e-9, abs=1e-11), seed
        assert found.period_s >= found.least_period_s * (1 - 1e-6) - 1e-11, seed
        assert found.in_flight == pytest.approx(found.latency_s / found.period_s, rel=0.5), seed
        if found.steady:
            assert found.in_flight == pytest.approx(found.latency_s / found.period_s, rel=1e-3)
    assert splits > 5


def test_two_sets_in_a_row_follow_each_other() -> None:
    """Inputs follow after what the busier set holds them; each set fetches before it computes."""
    case = split_case()
    made, machines, cost = case.plan, case.system, case.cost
    found = replay_pipeline(made, machines, lambda a, p, r: party_seconds(cost, a, p, r) or 0.0,
                            expansion=cost.expansion)  # fmt: skip
    assert found.steady
    assert found.period_s >= max(cost.busy_s.values()) * (1 - 1e-6)
    assert found.period_s < found.alone_s


def test_too_few_inputs_are_refused() -> None:
    made, machines = chain([1.0, 1.0])
    with pytest.raises(SpecError, match="4 or more"):
        replay_pipeline(made, machines, lambda a, _p, _r: 1.0, most=3)
