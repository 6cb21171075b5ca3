"""Needs: what is read, what is refused, and how a card answers."""

from __future__ import annotations

from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from orrery.errors import SpecError, UnknownNameError
from orrery.provenance import Basis
from orrery.report import FIGURES, Verdict, judge, make_scorecard, parse_need, parse_needs
from orrery.report._needs import limit_text, verdict_text

from .sample import figure

AT = {"batch": "1", "offchip": "counted", "confidence": "95 %"}


def answer(text: str, *figures: object) -> Verdict:
    return judge(make_scorecard("s", figures), [parse_need(text)])[0]  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("text", "name", "relation", "limit", "unit"),
    [
        ("latency<33ms", "latency", "<", 0.033, "s"),
        ("energy<=0.5J", "energy", "<=", 0.5, "J"),
        ("throughput>30/s", "throughput", ">", 30.0, "/s"),
        ("throughput >= 600 token/s", "throughput", ">=", 600.0, "token/s"),
        ("throughput>60/min", "throughput", ">", 1.0, "/s"),
        (" peak memory < 24 GiB ", "peak memory", "<", 24 * 2.0**30, "bytes"),
        ("Top-1 Accuracy≥75%", "top-1 accuracy", ">=", 75.0, "%"),
        ("speed-up>3x", "speed-up", ">", 3.0, "x"),
        ("devices<=8", "devices", "<=", 8.0, ""),
        ("devices<=2 devices", "devices", "<=", 2.0, ""),
        ("devices<2device", "devices", "<", 2.0, ""),
        ("DSP blocks<=4e3 DSPs", "DSP blocks", "<=", 4000.0, ""),
        ("area<100mm2", "area", "<", 100.0, "mm2"),
    ],
)
def test_needs_are_read(text: str, name: str, relation: str, limit: float, unit: str) -> None:
    need = parse_need(text)
    assert (need.figure, need.relation, need.unit) == (name, relation, unit)
    assert need.limit == pytest.approx(limit)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("latency<33", "a time with a unit"),
        ("latency=33ms", "one of < <= > >="),
        ("latency<33ms<40ms", "one of < <= > >="),
        ("latency<", "write e.g. 'latency<33ms'"),
        ("<33ms", "write e.g. 'latency<33ms'"),
        ("latency<33J", "change the unit 'J'"),
        ("latency<-3ms", "above zero"),
        ("throughput>30", "a number above zero with a unit"),
        ("throughput>0/s", "above zero"),
        ("accuracy>0.75", "write e.g. '75%'"),
        ("devices<8GiB", "above zero, in devices, device"),
        ("perplexity<8GiB", "without a unit"),
        ("hardware cost<8", "a figure below it: area, peak memory"),
        ("Energy and Power<8W", "energy, power, off-chip traffic"),
        ("scalability>2x", "scaling efficiency, speed-up"),
        ("speed-up>fast", "write e.g. '3x'"),
    ],
)
def test_needs_that_say_too_little_are_refused(text: str, message: str) -> None:
    with pytest.raises(SpecError) as refusal:
        parse_need(text)
    assert message in str(refusal.value)


def test_one_text_is_one_need_and_what_is_no_text_is_refused() -> None:
    assert parse_needs("latency<1ms") == [parse_need("latency<1ms")]
    assert parse_needs(("latency<1ms", "energy<1J"))[1].figure == "energy"
    for wrong in ([3], 3, [None], [b"latency<1ms"]):
        with pytest.raises(SpecError, match="needs: found"):
            parse_needs(wrong)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("wrong", "right"),
    [("latncy<1s", "latency"), ("memory<1GiB", "peak memory"), ("enrgy<1J", "energy")],
)
def test_an_unknown_figure_offers_the_nearest(wrong: str, right: str) -> None:
    with pytest.raises(UnknownNameError, match=f"did you mean '{right}'"):
        parse_need(wrong)


def test_pass_and_fail_with_their_margin() -> None:
    latency = figure("latency", 0.030, "s", context=AT, subject="s")
    passed = answer("latency<40ms", latency)
    assert passed.status == "pass"
    assert passed.margin_percent == pytest.approx(25.0)
    failed = answer("latency<20ms", latency)
    assert failed.status == "fail"
    assert failed.margin_percent == pytest.approx(-50.0)
    rate = figure("throughput", 45.0, "inference/s", context=AT, subject="s")
    assert answer("throughput>30/s", rate).margin_percent == pytest.approx(50.0)
    assert answer("throughput>90/s", rate).margin_percent == pytest.approx(-50.0)


def test_units_of_a_figure_are_brought_to_those_of_the_need() -> None:
    share = figure("scaling efficiency", 0.8, "fraction", context={"baseline": "1"}, subject="s")
    assert answer("scaling efficiency>=80%", share).status == "pass"
    assert answer("scaling efficiency>80%", share).status == "fail"


def test_not_known_says_why() -> None:
    assert answer("latency<1s").status == "not known"
    assert "how long" in answer("latency<1s").note
    unknown = figure("energy", None, "J", note="the DRAM energy is not published", subject="s")
    verdict = answer("energy<1J", unknown)
    assert (verdict.status, verdict.note) == ("not known", "the DRAM energy is not published")
    rate = figure("throughput", 45.0, "inference/s", context=AT, subject="s")
    assert answer("throughput>30 token/s", rate).status == "not known"


def test_the_strongest_basis_decides_and_then_the_worst_subject() -> None:
    estimated = figure("latency", 0.010, "s", Basis.ESTIMATED, context=AT, subject="a")
    measured = figure("latency", 0.050, "s", Basis.MEASURED, context=AT, subject="a")
    other = figure("latency", 0.020, "s", Basis.ESTIMATED, context=AT, subject="b")
    assert answer("latency<30ms", estimated, other).figure == other
    assert answer("latency<30ms", estimated, measured, other).figure == measured
    assert answer("latency<30ms", estimated, measured, other).status == "fail"


def test_one_unknown_subject_keeps_the_answer_open_unless_another_fails() -> None:
    known = figure("latency", 0.010, "s", context=AT, subject="a")
    unknown = figure("latency", None, "s", note="refused", subject="b")
    assert answer("latency<30ms", known, unknown).status == "not known"
    assert answer("latency<5ms", known, unknown).status == "fail"


def test_doubt_is_said() -> None:
    wide = figure("latency", 0.030, "s", context=AT, interval=(0.020, 0.050), subject="s")
    assert answer("latency<40ms", wide).note == (
        "the interval 20.0 ms to 50.0 ms reaches across the limit"
    )
    rough = figure("latency", 0.030, "s", context=AT, validation_error=0.5, subject="s")
    assert "within the validation error of 50 %" in answer("latency<40ms", rough).note
    assert answer("latency<80ms", rough).note == ""
    skewed = replace(rough, validation_error=0.1, validation_range=(2.0, 5.0))
    assert answer("latency<80ms", skewed).note == (
        "where references lay over such figures it is 60.0 ms to 150 ms, across the limit"
    )
    assert answer("latency<40ms", skewed).note != ""  # all references beyond, ours within
    assert answer("latency<200ms", skewed).note == ""


@given(
    value=st.floats(1e-9, 1e3), limit=st.floats(1e-9, 1e3),
    relation=st.sampled_from(["<", "<=", ">", ">="]),
)  # fmt: skip
def test_status_and_margin_agree_with_the_comparison(
    value: float, limit: float, relation: str
) -> None:
    # judge: Python's own comparison
    latency = figure("latency", value, "s", context=AT, subject="s")
    verdict = answer(f"latency{relation}{limit!r}s", latency)
    holds = {"<": value < limit, "<=": value <= limit, ">": value > limit, ">=": value >= limit}
    assert (verdict.status == "pass") == holds[relation]
    assert verdict.margin_percent is not None
    assert (verdict.margin_percent > 0) == (holds[relation] and value != limit)


@given(st.text(max_size=30))
def test_any_text_is_read_or_refused_kindly(text: str) -> None:
    try:
        need = parse_need(text)
    except (SpecError, UnknownNameError):
        return
    assert need.figure in FIGURES


@pytest.mark.parametrize(
    ("need", "value", "text"),
    [
        ("latency<33ms", 4.818, "4.82 s, 146 times the limit"),  # 4.818 / 0.033
        ("latency<33ms", 0.045, "45.0 ms, 36.4 % short"),
        ("latency<33ms", 0.0155, "15.5 ms, 53 % to spare"),
        ("throughput>1000/s", 5.0, "5 inference/s, 200 times too little"),
        ("throughput>1000/s", 500.0, "500 inference/s, 50 % short"),
        ("throughput>1/s", 146.0, "146 inference/s, 146 times what is needed"),
        ("throughput>1/s", 1.5, "1.5 inference/s, 50 % to spare"),
    ],
)
def test_margins_are_shares_or_factors(need: str, value: float, text: str) -> None:
    name, unit = ("latency", "s") if need.startswith("latency") else ("throughput", "inference/s")
    assert verdict_text(answer(need, figure(name, value, unit, context=AT, subject="s"))) == text


@pytest.mark.parametrize(
    ("need", "text"),
    [
        ("peak memory<10MB", "< 10 MB"),
        ("latency<=33.0 ms", "≤ 33.0 ms"),
        ("throughput>600/min", "> 600 /min"),
        ("throughput >= 5token/s", "≥ 5 token/s"),
        ("speed-up>3x", "> 3×"),
        ("top-1 accuracy≥75%", "≥ 75 %"),
        ("devices<8", "< 8"),
    ],
)
def test_limits_are_told_in_the_unit_they_were_given_in(need: str, text: str) -> None:
    assert limit_text(parse_need(need)) == text


def test_a_rate_counts_in_what_one_inference_is() -> None:
    context = {**AT, "counts_as": "sample, token"}
    rate = figure("throughput", 45.0, "inference/s", context=context, subject="s")
    assert answer("throughput>30 token/s", rate).status == "pass"
    assert answer("throughput>90 sample/s", rate).status == "fail"
    assert answer("throughput>30 image/s", rate).status == "not known"
    steps = figure("throughput", 4.0, "step/s", context=context, subject="s")
    assert answer("throughput>30/s", rate, steps).status == "pass"
    assert answer("throughput>5 step/s", rate, steps).status == "fail"
