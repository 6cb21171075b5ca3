"""Replay against closed forms, a naive replay written from the definition, and identities."""

from __future__ import annotations

from fractions import Fraction

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from orrery.errors import SpecError, UnknownNameError
from orrery.hardware import System
from orrery.plan import Assignment, Plan, Transfer
from orrery.sim import Channels, Replayer, replay
from orrery.timeline import MOST_PS, PS_PER_S, Timeline

from .systems import link, plan, run, send, system

PAIR = system(["a", "b"], [link("ab", "a", "b", bandwidth=1e6)])
US = 1_000_000  # picoseconds


def ends(timeline: Timeline) -> dict[str, int]:
    return {span.name: span.end_ps for span in timeline.spans}


def test_two_transfers_that_share_a_link_take_twice_as_long() -> None:
    both = plan(
        [run("p", "a"), run("q", "b", "p")],
        [
            send("x", 100, "a", "b", "ab", producer="p", consumers=["q"]),
            send("y", 100, "a", "b", "ab", producer="p", consumers=["q"]),
        ],
    )
    timeline = replay(both, PAIR, lambda _: 1e-6)
    assert ends(timeline) == {"p": US, "x": 201 * US, "y": 201 * US, "q": 202 * US}


def test_both_ways_are_apart_on_a_duplex_link_and_share_a_bus() -> None:
    crossing = plan(
        [run("p", "a"), run("q", "b")],
        [
            send("x", 100, "a", "b", "ab", producer="p"),
            send("y", 100, "b", "a", "ab", producer="q"),
        ],
    )
    assert replay(crossing, PAIR, lambda _: 0.0).makespan_ps == 100 * US
    bus = system(["a", "b"], [link("ab", "a", "b", bandwidth=1e6, duplex=False)])
    assert replay(crossing, bus, lambda _: 0.0).makespan_ps == 200 * US


def test_a_short_transfer_gives_its_share_back() -> None:
    """x 300 B and y 100 B share 1 B/us: y ends at 200, x has 200 left and ends at 400."""
    shared = plan(
        [run("p", "a")],
        [
            send("x", 300, "a", "b", "ab", producer="p"),
            send("y", 100, "a", "b", "ab", producer="p"),
        ],
    )
    assert ends(replay(shared, PAIR, lambda _: 0.0)) == {"p": 0, "x": 400 * US, "y": 200 * US}


def test_a_route_is_cut_through_at_the_narrowest_link() -> None:
    chain = system(
        ["a", "b", "c"],
        [link("ab", "a", "b", bandwidth=4e6, latency=3e-6),
         link("bc", "b", "c", bandwidth=1e6, latency=2e-6)],
    )  # fmt: skip
    far = plan([run("p", "a")], [send("x", 100, "a", "c", "ab", "bc", producer="p")])
    timeline = replay(far, chain, lambda _: 0.0)
    assert ends(timeline)["x"] == 105 * US
    assert [s.resource for s in timeline.spans if s.kind == "transfer"] == ["ab", "bc"]


def test_a_pipeline_fills_once_and_then_runs_at_its_slowest_stage() -> None:
    """n items over three stages of 2, 5 and 3: 2 + 5 n + 3 (transfers take no time)."""
    stages, n = {"a": 2e-6, "b": 5e-6, "c": 3e-6}, 7
    chain = system(["a", "b", "c"], [link("ab", "a", "b"), link("bc", "b", "c")])
    assignments, transfers = [], []
    for i in range(n):
        assignments += [
            run(f"a{i}", "a"), run(f"b{i}", "b", f"a{i}"), run(f"c{i}", "c", f"b{i}")
        ]  # fmt: skip
        transfers += [
            send(f"x{i}", 0, "a", "b", "ab", producer=f"a{i}", consumers=[f"b{i}"]),
            send(f"y{i}", 0, "b", "c", "bc", producer=f"b{i}", consumers=[f"c{i}"]),
        ]
    timeline = replay(plan(assignments, transfers), chain, lambda a: stages[a.device])
    assert timeline.makespan_ps == (2 + 5 * n + 3) * US


def test_a_ring_all_gather_takes_n_minus_one_steps() -> None:
    """Every device passes on what it received: (n-1) (latency + bytes / bandwidth)."""
    n, size, latency = 4, 1000, 2e-6
    names = [f"d{i}" for i in range(n)]
    links = [
        link(f"l{i}", names[i], names[(i + 1) % n], bandwidth=1e9, latency=latency)
        for i in range(n)
    ]
    ring = system(names, links)
    assignments = [run(f"make{i}", names[i]) for i in range(n)]
    transfers = [
        send(
            f"part{i}", size, names[(i + step) % n], names[(i + step + 1) % n],
            f"l{(i + step) % n}", producer=f"make{i}",
        )
        for step in range(n - 1)
        for i in range(n)
    ]  # fmt: skip
    timeline = replay(plan(assignments, transfers), ring, lambda _: 0.0)
    assert timeline.makespan_ps == (n - 1) * 3 * US


def test_a_fan_out_reaches_each_target_when_its_own_flow_ends() -> None:
    star = system(
        ["a", "b", "c"],
        [link("ab", "a", "b", bandwidth=1e6), link("ac", "a", "c", bandwidth=5e5)],
    )
    fan = Transfer(
        tensor="x", size_bytes=100, source="a", targets=("b", "c"), producer="p",
        consumers=("q", "r"), links=(("ab",), ("ac",)),
    )  # fmt: skip
    work = plan([run("p", "a"), run("q", "b", "p"), run("r", "c", "p")], [fan])
    found = ends(replay(work, star, lambda _: 0.0))
    assert (found["q"], found["r"]) == (100 * US, 200 * US)


def test_network_inputs_start_at_zero_and_devices_keep_their_order() -> None:
    host = system(["a"], [link("pcie", "host", "a", bandwidth=1e6)], host="host")
    work = plan(
        [run("late", "a"), run("early", "a")],
        [send("in", 50, "host", "a", "pcie", consumers=["late"])],
    )
    assert ends(replay(work, host, lambda _: 1e-6)) == {
        "in": 50 * US, "late": 51 * US, "early": 52 * US
    }  # fmt: skip


# -- a naive replay, exact fractions, written from the definition ------------------------------


def naive(work: Plan, machines: System, seconds: dict[str, Fraction]) -> dict[str, Fraction]:
    """Return the end of every region and transfer; each transfer has one target and one tensor."""
    channels = Channels(machines)
    routes = [
        channels.route(t.source, t.targets[0], t.links[0], where="")[0] for t in work.transfers
    ]
    capacity = [Fraction(c) for c in channels.capacity_bytes_per_s]
    left = {i: Fraction(t.size_bytes) for i, t in enumerate(work.transfers)}
    done: dict[str, Fraction] = {}
    running: dict[str, tuple[str, Fraction]] = {}
    queues = {d.name: [a for a in work.assignments if a.device == d.name] for d in machines.devices}
    now = Fraction(0)
    while True:
        moved = True
        while moved:  # everything that happens at this instant
            moved = False
            for where, (region, finish) in list(running.items()):
                if finish == now:
                    done[region] = now
                    del running[where]
                    moved = True
            for i, t in enumerate(work.transfers):
                issued = t.producer is None or t.producer in done
                if t.tensor not in done and issued and left[i] == 0:
                    done[t.tensor] = now
                    moved = True
            for where, queue in queues.items():
                if queue and where not in running:
                    needs = [t.tensor for t in work.transfers if queue[0].region in t.consumers]
                    local = [p for p in queue[0].after if work.device_of()[p] == where]
                    if all(name in done for name in needs + local):
                        first = queue.pop(0)
                        running[where] = (first.region, now + seconds[first.region])
                        moved = True
        flowing = [
            i for i, t in enumerate(work.transfers)
            if t.tensor not in done and (t.producer is None or t.producer in done)
        ]  # fmt: skip
        # Raise all rates together; a channel that is full stops those on it.
        rate = dict.fromkeys(flowing, Fraction(0))
        rising = set(flowing)
        while rising:
            steps = []
            for c, full in enumerate(capacity):
                users = [i for i in rising if c in routes[i]]
                if users:
                    used = sum(rate[i] for i in flowing if c in routes[i])
                    steps.append((full - used) / len(users))
            step = min(steps)
            for i in rising:
                rate[i] += step
            rising = {
                i for i in rising
                if all(
                    sum(rate[j] for j in flowing if c in routes[j]) < capacity[c] for c in routes[i]
                )
            }  # fmt: skip
        times = [finish for _, finish in running.values()]
        times += [now + left[i] / rate[i] for i in flowing]
        if not times:
            return done
        then = min(times)
        for i in flowing:
            left[i] -= rate[i] * (then - now)
        now = then


@st.composite
def cases(draw: st.DrawFn) -> tuple[Plan, System, dict[str, int]]:
    """Random layered work on a random connected system, latencies zero."""
    count = draw(st.integers(2, 4))
    names = [f"d{i}" for i in range(count)]
    links = [
        link(
            f"l{i}", names[draw(st.integers(0, i - 1))], names[i], duplex=draw(st.booleans()),
            bandwidth=draw(st.sampled_from([1e6, 2e6, 3e6])),
        )
        for i in range(1, count)
    ]  # fmt: skip
    machines = system(names, links)
    assignments, transfers, micros = [], [], {}
    for i in range(draw(st.integers(1, 9))):
        where = names[draw(st.integers(0, count - 1))]
        before = draw(st.lists(st.integers(0, i - 1), unique=True, max_size=3)) if i else []
        assignments.append(run(f"r{i}", where, *(f"r{j}" for j in before)))
        micros[f"r{i}"] = draw(st.integers(0, 5))
        for j in before:
            source = assignments[j].device
            if source != where:
                route = machines.route(source, where) or ()
                transfers.append(
                    send(
                        f"t{j}.{i}", draw(st.integers(0, 9)), source, where,
                        *(x.name for x in route), producer=f"r{j}", consumers=[f"r{i}"],
                    )
                )  # fmt: skip
    return plan(assignments, transfers), machines, micros


@settings(max_examples=150, deadline=None)
@given(cases())
def test_replay_equals_the_naive_one(case: tuple[Plan, System, dict[str, int]]) -> None:
    work, machines, micros = case
    timeline = replay(work, machines, lambda a: micros[a.region] * 1e-6)
    found = ends(timeline)
    expected = naive(work, machines, {name: Fraction(m, 10**6) for name, m in micros.items()})
    for name, end_ps in found.items():
        # Ends are rounded up to whole picoseconds, which also shifts the share of those beside.
        assert abs(end_ps - expected[name] * PS_PER_S) <= 64


@settings(max_examples=60, deadline=None)
@given(cases())
def test_identities_of_replay(case: tuple[Plan, System, dict[str, int]]) -> None:
    work, machines, micros = case
    replayer = Replayer(work, machines)
    timeline = replayer.run(lambda a: micros[a.region] * 1e-6)
    again = replay(work, machines, lambda a: micros[a.region] * 1e-6)
    assert timeline == again
    assert replayer.events == 2 * (len(work.assignments) + len(work.transfers))
    starts = [span.start_ps for span in timeline.spans]
    assert starts == sorted(starts)
    busy, spent = timeline.busy_s(), dict.fromkeys((d.name for d in machines.devices), 0)
    for assignment in work.assignments:
        spent[assignment.device] += micros[assignment.region]
    for name, total in spent.items():  # one at a time: covered time is the sum of durations
        assert busy.get(name, 0.0) == pytest.approx(total * 1e-6, abs=1e-12)
    for transfer in work.transfers:
        mine = [s for s in timeline.spans if s.name == transfer.tensor]
        assert [s.resource for s in mine] == list(transfer.links[0])
        width = min(machines.link(name).bandwidth_bytes_per_s for name in transfer.links[0])
        for span in mine:  # never faster than alone, and all bytes accounted for
            assert span.details["bytes"] == transfer.size_bytes
            assert span.end_ps - span.start_ps >= transfer.size_bytes / width * PS_PER_S - 1
    for one in machines.links:  # no link carries more than its bandwidth allows
        for way in (0, 1) if one.duplex else (None,):
            mine = [
                s for s in timeline.spans
                if s.resource == one.name and s.kind == "transfer" and (
                    way is None or _direction(machines, one.name, s.details) == way)
            ]  # fmt: skip
            if mine:
                window = max(s.end_ps for s in mine) - min(s.start_ps for s in mine)
                carried = sum(int(s.details["bytes"]) for s in mine)
                assert carried * PS_PER_S <= one.bandwidth_bytes_per_s * window + PS_PER_S * 1e-5


def _direction(machines: System, name: str, details: object) -> int:
    channels = Channels(machines)
    source, target = str(details["from"]), str(details["to"])  # type: ignore[index]
    route = machines.route(source, target) or ()
    taken, _ = channels.route(source, target, [x.name for x in route], where="")
    first = min(c for c, link_name in enumerate(channels.link_of) if link_name == name)
    return taken[[x.name for x in route].index(name)] - first


@pytest.mark.needs("numba")
@settings(max_examples=100, deadline=None)
@given(cases())
def test_compiled_and_plain_agree(case: tuple[Plan, System, dict[str, int]]) -> None:
    work, machines, micros = case
    replayer = Replayer(work, machines)

    def seconds(assignment: Assignment) -> float:
        return micros[assignment.region] * 1e-6

    assert replayer.run(seconds, compile_from=0) == replayer.run(seconds, compile_from=10**9)


@pytest.mark.needs("numba")
def test_the_compiled_loop_gives_the_same_timeline() -> None:
    names = [f"d{i}" for i in range(4)]
    ring = system(
        names,
        [link(f"l{i}", names[i], names[(i + 1) % 4], bandwidth=1e6, latency=1e-6)
         for i in range(4)],
    )  # fmt: skip
    assignments, transfers = [], []
    for step in range(50):
        for d in range(4):
            left = f"r{step - 1}.{(d - 1) % 4}"
            assignments.append(run(f"r{step}.{d}", names[d], *([left] if step else [])))
            if step:
                transfers.append(
                    send(f"t{step}.{d}", 7 * d + step, names[(d - 1) % 4], names[d],
                         f"l{(d - 1) % 4}", producer=left, consumers=[f"r{step}.{d}"])
                )  # fmt: skip
                transfers.append(
                    send(f"u{step}.{d}", 11, names[(d - 1) % 4], names[d],
                         f"l{(d - 1) % 4}", producer=left)
                )  # fmt: skip
    replayer = Replayer(plan(assignments, transfers), ring)

    def seconds(assignment: object) -> float:
        return len(str(assignment)) % 5 * 1e-6

    assert replayer.run(seconds, compile_from=0) == replayer.run(seconds, compile_from=10**9)


def test_memory_samples_follow_outputs_and_copies() -> None:
    work = plan(
        [run("p", "a"), run("q", "a", "p"), run("r", "b", "p")],
        [send("x", 100, "a", "b", "ab", producer="p", consumers=["r"])],
    )
    sizes = {"p": 100, "q": 7, "r": 3}
    timeline = replay(work, PAIR, lambda _: 1e-6, output_bytes=lambda a: sizes[a.region])
    by_memory: dict[str, list[tuple[int, int]]] = {}
    for sample in timeline.memory:
        by_memory.setdefault(sample.memory, []).append((sample.time_ps // US, sample.used_bytes))
    # p's output leaves a when x has arrived (101 us); r's copy leaves b when r ends (102 us).
    assert by_memory == {
        "a": [(0, 100), (1, 107), (101, 7)],
        "b": [(1, 100), (101, 103), (102, 3)],
    }


@pytest.mark.parametrize(
    ("work", "error", "message"),
    [
        (plan([run("p", "aa")]), UnknownNameError, "no device of test named 'aa'"),
        (plan([run("p", "a"), run("p", "b")]), SpecError, "two assignments"),
        (plan([run("p", "a", "o")]), UnknownNameError, "no region of the plan named 'o'"),
        (plan([run("p", "a"), run("q", "b", "p")]), SpecError, "no transfer of what 'p' on 'a'"),
        (plan([run("q", "a", "p"), run("p", "a")]), SpecError, "'q' before 'p'"),
        (
            plan([run("p", "a")], [send("x", 1, "b", "a", "ab", producer="p")]),
            SpecError,
            "wanted 'a', where 'p' runs",
        ),
        (
            plan([run("p", "a")], [send("x", 1, "a", "b", "ab", consumers=["p"])]),
            SpecError,
            "consumer 'p' on 'a'",
        ),
        (plan([run("p", "a")], [send("x", -1, "a", "b", "ab")]), SpecError, "-1 bytes"),
        (plan([run("p", "a")], [send("x", 1, "a", "b")]), SpecError, "a route of 0 links"),
        (
            plan([run("p", "a")], [send("x", 1, "a", "b", "ac")]),
            UnknownNameError,
            "no link of test named 'ac'",
        ),
    ],
)
def test_plans_that_do_not_fit_are_refused(
    work: Plan, error: type[Exception], message: str
) -> None:
    with pytest.raises(error, match=message):
        replay(work, PAIR, lambda _: 0.0)


def test_tensors_only_passed_on_in_a_circle_never_arrive() -> None:
    names = ["a", "b", "c"]
    ring = system(names, [link("ab", "a", "b"), link("bc", "b", "c"), link("ca", "c", "a")])
    work = plan(
        [run("p", "a")],
        [
            send("x", 1, "b", "c", "bc", producer="p"),
            send("x", 1, "c", "b", "bc", producer="p"),
        ],
    )
    with pytest.raises(SpecError, match="'x', 'x' only passed on among ends without it"):
        replay(work, ring, lambda _: 0.0)


def test_a_deadlock_names_who_waits_for_whom() -> None:
    work = plan(
        [run("p", "a", "s"), run("q", "a"), run("r", "b", "q"), run("s", "b")],
        [
            send("x", 1, "a", "b", "ab", producer="q", consumers=["r"]),
            send("y", 1, "b", "a", "ab", producer="s", consumers=["p"]),
        ],
    )
    with pytest.raises(SpecError, match=r"'a' waits at 'p' for 's'; 'b' waits at 'r' for 'q'"):
        replay(work, PAIR, lambda _: 0.0)


@pytest.mark.parametrize("seconds", [-1.0, float("nan"), float("inf")])
def test_durations_must_be_times(seconds: float) -> None:
    with pytest.raises(SpecError, match="duration of region 'p'"):
        replay(plan([run("p", "a")]), PAIR, lambda _: seconds)


def test_an_empty_plan_takes_no_time() -> None:
    assert replay(plan([]), PAIR, lambda _: 1.0).makespan_ps == 0


@pytest.mark.parametrize("compile_from", [0, 10**9], ids=["compiled", "plain"])
@pytest.mark.parametrize("bandwidth", [1e-7, 1e-200, 5e-324])
def test_what_ends_after_the_clock_is_refused(bandwidth: float, compile_from: int) -> None:
    slow = system(["a", "b"], [link("ab", "a", "b", bandwidth=bandwidth)])
    work = plan(
        [run("p", "a"), run("q", "b", "p")],
        [send("x", 100, "a", "b", "ab", producer="p", consumers=["q"])],
    )
    with pytest.raises(SpecError, match=r"more than 4\.61e\+06 s to the end"):
        Replayer(work, slow).run(lambda _: 1e-6, compile_from=compile_from)


@pytest.mark.parametrize("compile_from", [0, 10**9], ids=["compiled", "plain"])
def test_the_clock_reaches_its_last_instant_and_no_further(compile_from: int) -> None:
    seconds = MOST_PS / PS_PER_S
    row = plan([run("p", "a"), run("q", "a", "p"), run("r", "a", "q")])

    def end(half: float, last: float) -> int:
        lasting = {"p": half, "q": half, "r": last}
        timeline = Replayer(row, PAIR).run(lambda a: lasting[a.region], compile_from=compile_from)
        return timeline.makespan_ps

    almost = 0.4999 * seconds
    assert end(almost, 0.0) == pytest.approx(0.9998 * MOST_PS)
    for late in (0.001 * seconds, almost, seconds):
        with pytest.raises(SpecError, match="to the end"):
            end(almost, late)
    with pytest.raises(SpecError, match="duration of region 'r'"):
        end(0.0, 1.01 * seconds)


EXTREME = st.one_of(
    st.floats(5e-324, 1e308), st.sampled_from([5e-324, 1e-300, 1e-12, 1.0, 1e12, 1e300, 1.7e308])
)


@settings(max_examples=150, deadline=None)
@given(st.data())
def test_extreme_systems_replay_or_are_refused(data: st.DataObject) -> None:
    draw = data.draw
    links = [
        link(f"{a}{b}", a, b, bandwidth=draw(EXTREME), latency=draw(st.just(0.0) | EXTREME),
             duplex=draw(st.booleans()))
        for a, b in (("a", "b"), ("b", "c"), ("c", "a"))
    ]  # fmt: skip
    sizes = st.integers(0, 10) | st.sampled_from([2**31, 2**62, 2**63 - 1, 2**63, 10**30])
    work = plan(
        [run("p", "a"), run("q", "b", "p"), run("r", "c", "p")],
        [
            send("x", draw(sizes), "a", "b", "ab", producer="p", consumers=["q"]),
            send("y", draw(sizes), "a", "c", "ab", "bc", producer="p", consumers=["r"]),
            send("z", draw(sizes), "b", "c", "bc", producer="q"),
        ],
    )
    durations = {name: draw(st.just(0.0) | EXTREME) for name in "pqr"}
    try:
        timeline = replay(work, system(["a", "b", "c"], links), lambda a: durations[a.region])
    except SpecError as error:
        assert "wanted" in str(error)
    else:
        assert 0 <= timeline.makespan_ps <= MOST_PS
        assert timeline.makespan_s >= max(durations.values()) * (1 - 1e-9) - 1e-12
