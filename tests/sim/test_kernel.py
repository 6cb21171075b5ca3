"""The event kernel against sorting and closed forms of queues."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from orrery.errors import SpecError
from orrery.sim import Kernel, Server, to_ps


@settings(max_examples=50, deadline=None)
@given(st.lists(st.integers(0, 20), max_size=30))
def test_actions_run_by_time_and_ties_by_insertion(times: list[int]) -> None:
    kernel, seen = Kernel(), []
    for number, time_ps in enumerate(times):
        kernel.at(time_ps, lambda number=number: seen.append((kernel.now_ps, number)))
    kernel.run()
    assert seen == sorted((time_ps, number) for number, time_ps in enumerate(times))
    assert (kernel.events, kernel.waiting) == (len(times), 0)


def test_run_stops_at_an_instant_and_goes_on() -> None:
    kernel, seen = Kernel(), []
    kernel.at(5, lambda: kernel.after(5, lambda: seen.append(kernel.now_ps)))
    kernel.run(until_ps=7)
    assert (kernel.now_ps, seen, kernel.waiting) == (7, [], 1)
    kernel.run()
    assert seen == [10]


def test_the_past_is_refused() -> None:
    kernel = Kernel()
    kernel.at(3, lambda: kernel.at(2, lambda: None))
    with pytest.raises(SpecError, match=r"found '?2 ps'?, wanted 3 ps or later"):
        kernel.run()


@settings(max_examples=50, deadline=None)
@given(st.lists(st.tuples(st.integers(0, 50), st.integers(0, 20)), min_size=1, max_size=20))
def test_one_server_obeys_lindley(requests: list[tuple[int, int]]) -> None:
    """Judge: Lindley's recursion, end = max(arrival, previous end) + service."""
    requests.sort(key=lambda request: request[0])
    kernel = Kernel()
    server = Server(kernel, "disk")
    for number, (arrival, service) in enumerate(requests):
        kernel.at(
            arrival,
            lambda n=number, service=service: server.request(service, name=str(n)),
        )
    kernel.run()
    end, expected = 0, []
    for arrival, service in requests:
        start = max(arrival, end)
        end = start + service
        expected.append((start, end))
    assert [(span.start_ps, span.end_ps) for span in server.spans] == expected


def test_capacity_serves_side_by_side_and_done_runs_at_the_end() -> None:
    kernel, done = Kernel(), []
    server = Server(kernel, "ways", capacity=2)
    for name in "abc":
        server.request(10, name=name, done=lambda name=name: done.append((name, kernel.now_ps)))
    assert server.queued == 1
    kernel.run()
    assert done == [("a", 10), ("b", 10), ("c", 20)]


def test_bad_servers_and_times_are_refused() -> None:
    with pytest.raises(SpecError, match="capacity"):
        Server(Kernel(), "none", capacity=0)
    with pytest.raises(SpecError, match="zero or more"):
        Server(Kernel(), "disk").request(-1, name="r")
    for seconds in (-1.0, float("nan"), float("inf")):
        with pytest.raises(SpecError, match="finite time"):
            to_ps(seconds)
    assert to_ps(1.5e-12) == 2
