"""Figures of two sides, paired, and limits on their change."""

from __future__ import annotations

from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from orrery.errors import SpecError, UnknownNameError
from orrery.evidence import Evidence
from orrery.provenance import Basis, Source
from orrery.report import changed_figures, over_limit, parse_change_limit

WHERE = Source(basis=Basis.SIMULATED, where="test")
LATENCY = Evidence(subject="a", metric="latency", value=0.01, unit="s", source=WHERE,
                   context={"batch": "1"})  # fmt: skip


def _judge(text: str, before: Evidence | None, after: Evidence | None) -> tuple[bool, str]:
    sides = [[side] if side else [] for side in (before, after)]
    return over_limit(parse_change_limit(text), changed_figures(*sides))


@given(before=st.floats(1e-6, 1e6), share=st.floats(-0.9, 9), limit=st.floats(-80, 500))
def test_a_relative_limit_holds_exactly_when_the_change_is_within(
    before: float, share: float, limit: float
) -> None:
    after = before * (1 + share)
    one, other = (replace(LATENCY, value=value) for value in (before, after))
    over, why = _judge(f"latency>{limit:+.6f}%", one, other)
    assert over == ((after - before) / before > float(f"{limit:+.6f}") / 100), why


def test_absolute_limits_have_the_unit_of_the_figure() -> None:
    slower = replace(LATENCY, value=0.0112)
    assert _judge("latency>+1ms", LATENCY, slower)[0]
    assert not _judge("latency>+2 ms", LATENCY, slower)[0]
    top = replace(LATENCY, metric="top-1 accuracy", value=0.81, unit="1",
                  context={"dataset": "d", "samples": "2000", "precision": "int8"})  # fmt: skip
    lower = replace(top, value=0.80)
    assert _judge("top-1 accuracy<-0.5points", top, lower)[0]
    assert not _judge("top-1 accuracy<-2points", top, lower)[0]
    with pytest.raises(SpecError, match="5"):
        parse_change_limit("latency>+5")
    with pytest.raises(UnknownNameError, match="latency"):
        parse_change_limit("latensy>+5%")
    with pytest.raises(SpecError, match="wanted"):
        parse_change_limit("latency +5%")


def test_what_cannot_be_told_is_too_much() -> None:
    assert _judge("energy>+5%", LATENCY, LATENCY)[0]
    assert _judge("latency>+5%", LATENCY, None)[0]
    unknown = replace(LATENCY, value=None, source=replace(WHERE, note="no clock"))
    over, why = _judge("latency>+5%", LATENCY, unknown)
    assert over
    assert "no clock" in why
    assert _judge("latency>+5%", LATENCY, replace(LATENCY, bound="lower"))[0]


def test_figures_of_several_subjects_are_paired_by_subject() -> None:
    b = replace(LATENCY, subject="b", value=0.02)
    changes = changed_figures([LATENCY, b], [replace(b, value=0.03), LATENCY])
    assert {(c.before.subject, c.after.subject) for c in changes if c.before and c.after} == {
        ("a", "a"), ("b", "b")}  # fmt: skip
    assert [c.verdict for c in changes if c.before and c.before.subject == "b"] == ["worse"]


def test_what_differs_besides_the_value_is_said() -> None:
    (change,) = changed_figures(
        [replace(LATENCY, interval=(0.009, 0.012), context={"batch": "1", "confidence": "95 %"})],
        [replace(LATENCY, value=0.011, interval=(0.01, 0.013),
                 context={"batch": "4", "confidence": "95 %"},
                 source=replace(WHERE, basis=Basis.MEASURED))],
    )  # fmt: skip
    said = "; ".join(change.doubts)
    assert "batch: 1 before, 4 after" in said
    assert "simulated before, measured after" in said
    assert "intervals overlap" in said
