"""Children that take more and less than the cap, in each kind of cap that is here."""

from __future__ import annotations

import os
import sys
from pathlib import Path

import pytest

from orrery.runtime.training import Cap, CappedProcess, ChildFailedError, cap_here

MIB = 1 << 20
#: Takes as many bytes as it is asked for; limits its own address space where it is told to.
TAKER = """
import json, resource, sys
for line in sys.stdin:
    asked = json.loads(line)
    if "address_space_bytes" in asked:
        resource.setrlimit(resource.RLIMIT_AS, (asked["address_space_bytes"],) * 2)
    if asked["mib"] < 0:
        sys.exit("planted")
    held = b"x" * (asked["mib"] << 20)
    print(json.dumps(len(held) >> 20), flush=True)
"""


def taker(cap: Cap, limit_bytes: int | None = 150 * MIB) -> CappedProcess:
    return CappedProcess([sys.executable, "-c", TAKER], cap=cap, limit_bytes=limit_bytes)


@pytest.mark.parametrize("kind", ["best", "address space"])
def test_more_than_the_cap_ends_the_child_and_less_does_not(kind: str) -> None:
    cap = cap_here() if kind == "best" else Cap(kind="address space")
    with taker(cap) as child:
        assert child.ask({"mib": 20}, most_s=60) == 20
        assert child.ask({"mib": 400}, most_s=60) is None
        assert child.out_of_memory
        if cap.folder is not None:
            assert child.peak_bytes is not None and 20 * MIB < child.peak_bytes <= 150 * MIB
    assert cap.folder is None or not list(cap.folder.glob(f"orrery-cap-{os.getpid()}-*"))


def test_without_a_cap_it_has_what_it_wants() -> None:
    with taker(cap_here(), None) as child:
        assert child.ask({"mib": 200}, most_s=60) == 200
        assert child.peak_bytes is None


def test_another_end_is_no_lack_of_memory() -> None:
    with taker(cap_here()) as child, pytest.raises(ChildFailedError, match="status 1, planted"):
        child.ask({"mib": -1}, most_s=60)


def test_no_answer_in_time_is_said_and_ends_it() -> None:
    with CappedProcess([sys.executable, "-c", "import time; time.sleep(60)"],
                       cap=cap_here(), limit_bytes=None) as child:  # fmt: skip
        assert child.ask({}, most_s=0.1) is None
        assert not child.out_of_memory


def test_a_cap_that_cannot_be_set_is_not_chosen(tmp_path: Path) -> None:
    mounts = f"cgroup2 {tmp_path} cgroup2 rw 0 0\ncgroup {tmp_path}/v1 cgroup rw,memory 0 0\n"
    own = "3:memory:/a\n0::/b\n"
    # Plain folders: no group appears in them, so that neither can be had.
    (tmp_path / "b").mkdir()
    (tmp_path / "v1" / "a").mkdir(parents=True)
    found = cap_here(mounts, own)
    assert found == Cap(kind="address space")
    assert "no memory group can be made" in found.said
    assert not list(tmp_path.rglob("orrery-cap-*"))
