"""One function at a time: what takes too long or crashes is lost alone."""

from __future__ import annotations

import faulthandler
import os
import signal
import time

import pytest

from orrery.decompile._limits import Lost, RecoverLimits, each
from orrery.errors import SpecError


def _act(what: str) -> str:
    if what == "loops":
        while True:
            pass
    if what == "crashes":
        faulthandler.disable()  # the crash is meant
        os.kill(os.getpid(), signal.SIGSEGV)
    if what == "leaves":
        os._exit(3)
    if what == "breaks":
        raise KeyError(what)
    if what == "is deep":
        raise RecursionError
    if what == "is large":
        return "x" * (3 << 20)
    return what.upper()


def test_the_rest_is_done() -> None:
    what = ["b", "crashes", "c", "leaves", "d", "breaks", "is deep", "is large", "e"]
    found = {unit.item: unit.result for unit in each(what, _act, limit_s=120)}
    assert list(found) == what
    assert [found[name] for name in "bcde"] == list("BCDE")
    assert found["is large"] == "x" * (3 << 20)
    assert found["crashes"] == Lost("the process that read it crashed (SIGSEGV)")
    assert found["leaves"] == Lost("the process that read it ended")
    assert found["breaks"] == Lost("KeyError: 'breaks'")
    assert found["is deep"] == Lost("nested too deeply")


def test_what_takes_too_long_is_lost_alone() -> None:
    found = [(unit.item, unit.result) for unit in each(["a", "loops", "b"], _act, limit_s=2.0)]
    assert found == [("a", "A"), ("loops", Lost("out of time")), ("b", "B")]


def test_no_time_is_left() -> None:
    units = each(["a", "b"], _act, limit_s=1.0, deadline_s=time.monotonic() - 1)
    assert all(isinstance(unit.result, Lost) for unit in units)


def test_limits_are_above_zero() -> None:
    with pytest.raises(SpecError, match="recover: time_s"):
        RecoverLimits(time_s=0)
