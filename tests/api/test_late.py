"""Why a replay ends late: the work, what is still on its way, and on which link."""

from __future__ import annotations

from dataclasses import replace

from orrery.api.exploring._late import late_line
from orrery.sim import replay
from tests.sim.systems import link, plan, run, send, system

PAIR = system(["a", "b", "c"], [link("ab", "a", "b", bandwidth=1e6),
                                link("bc", "b", "c", bandwidth=4e6)])  # fmt: skip


def test_what_arrives_after_the_work_is_named_with_its_link() -> None:
    """Two results of 1 MB share a link of 1 MB/s: work 1 s, results 2 s more, predicted 1."""
    made = plan(
        [run("p", "a")],
        [send(t, 1_000_000, "a", "c", "ab", "bc", producer="p") for t in ("x", "y")],
    )
    timeline = replay(made, PAIR, lambda _: 1.0)
    expected = replace(made, predicted_latency_s=1.0)
    line = late_line(expected, timeline, PAIR)
    assert "200 % longer" in line and "ends at 1.00 s, as predicted" in line
    assert "2.00 s later the last of 2 tensors" in line and "busiest being ab (1.91 MiB" in line
    assert late_line(replace(made, predicted_latency_s=3.0), timeline, PAIR) == ""
    assert late_line(made, timeline, PAIR) == ""


def test_work_that_waits_is_told_apart() -> None:
    """Both inputs of q cross one link at once: it begins a second later than predicted."""
    made = plan(
        [run("p", "a"), run("q", "b", "p")],
        [send(t, 1_000_000, "a", "b", "ab", producer="p", consumers=["q"]) for t in ("x", "y")],
    )
    timeline = replay(made, PAIR, lambda _: 1.0)
    line = late_line(replace(made, predicted_latency_s=3.0), timeline, PAIR)
    assert "Its work ends at 4.00 s, 33.3 % after the prediction" in line and "ab" in line
    assert "later the last" not in line
