"""What the scorecard lets in, what it refuses, and what it says when it does not know."""

from __future__ import annotations

import pytest

from orrery.errors import SpecError, UnknownNameError
from orrery.evidence import Evidence
from orrery.provenance import Basis, Source
from orrery.report import FIGURES, METRICS, make_scorecard, render_card

from .sample import SUBJECT, evidence, figure

FULL = {
    "batch": "1", "offchip": "counted", "dataset": "ImageNet validation", "samples": "50000",
    "precision": "int8", "process": "28 nm", "baseline": "one device", "of": "peak MAC/s",
    "networks": "resnet18, bert-base", "confidence": "95 %", "over": "31 layers",
}  # fmt: skip


def test_there_are_seven_metrics_and_each_has_a_figure() -> None:
    # judge: the list in the cited paper
    assert list(METRICS) == [
        "accuracy", "throughput", "latency", "energy and power", "hardware cost", "flexibility",
        "scalability",
    ]  # fmt: skip
    assert {rule.metric for rule in FIGURES.values()} == set(METRICS)


def test_an_empty_card_says_seven_times_that_it_does_not_know_and_why() -> None:
    card = make_scorecard("nothing", [])
    assert [metric.name for metric in card.metrics] == list(METRICS)
    assert all(metric.headline is None and metric.why_unknown for metric in card.metrics)
    assert render_card(card).count("not known: ") == 7


@pytest.mark.parametrize("metric", FIGURES)
def test_every_figure_is_taken_when_it_states_everything(metric: str) -> None:
    for unit in FIGURES[metric].units:
        card = make_scorecard("s", [figure(metric, 3.0, unit, context=FULL, subject="s")])
        stands = card.metric(FIGURES[metric].metric).headline is not None
        assert stands != FIGURES[metric].supporting
        assert len(card.figures(metric)) == 1


@pytest.mark.parametrize(
    ("metric", "missing"), [(name, key) for name, rule in FIGURES.items() for key in rule.requires]
)
def test_a_figure_without_what_it_must_state_is_refused(metric: str, missing: str) -> None:
    unit = next(iter(FIGURES[metric].units))
    context = {key: text for key, text in FULL.items() if key != missing}
    with pytest.raises(SpecError, match=f"no '{missing}'.*add context\\['{missing}'\\]"):
        make_scorecard("s", [figure(metric, 3.0, unit, context=context)])
    with pytest.raises(SpecError):
        make_scorecard("s", [figure(metric, 3.0, unit, context={**context, missing: " "})])


@pytest.mark.parametrize("said", ["no", "not counted", "chip only"])
def test_energy_that_leaves_out_offchip_traffic_is_refused(said: str) -> None:
    with pytest.raises(SpecError) as refusal:
        make_scorecard("s", [figure("energy", 1.0, "J", context={**FULL, "offchip": said})])
    assert str(refusal.value) == (
        f"evidence: energy of {SUBJECT}: context['offchip']: found '{said}', wanted 'counted', "
        "because without off-chip traffic a figure leaves out most of the energy; add the energy "
        "of off-chip traffic, or give None and say why"
    )


def test_what_is_not_known_must_say_why_but_nothing_else() -> None:
    card = make_scorecard("s", [figure("energy", None, "J", note="no energy per byte is known")])
    assert card.metric("energy and power").why_unknown == "no energy per byte is known"
    with pytest.raises(SpecError, match=r"source\.note: found 'nothing', wanted why"):
        make_scorecard("s", [figure("energy", None, "J")])


def test_a_reason_that_fits_the_run_replaces_the_general_one() -> None:
    card = make_scorecard("s", [], reasons={"accuracy": "no --data was given"})
    assert card.metric("accuracy").why_unknown == "no --data was given"
    with pytest.raises(UnknownNameError, match="did you mean 'accuracy'"):
        make_scorecard("s", [], reasons={"acuracy": "x"})


def test_unknown_figures_and_wrong_units_are_refused_with_the_nearest() -> None:
    with pytest.raises(UnknownNameError, match="did you mean 'peak memory'"):
        make_scorecard("s", [figure("peak memry", 1.0, "bytes")])
    with pytest.raises(SpecError, match="found 'ms', wanted one of s; convert"):
        make_scorecard("s", [figure("latency", 1.0, "ms", context=FULL)])


def test_an_interval_needs_its_confidence() -> None:
    bare = figure("latency", 1.0, "s", context={"batch": "1"}, interval=(0.9, 1.1))
    with pytest.raises(SpecError, match="'confidence'"):
        make_scorecard("s", [bare])


def test_the_strongest_basis_is_the_headline_and_unconfirmed_stays_marked() -> None:
    weak = figure("latency", 1.0, "s", Basis.ASSUMED, context=FULL, note="said to be unconfirmed")
    strong = figure("latency", 2.0, "s", Basis.MEASURED, context=FULL)
    card = make_scorecard("s", [weak, strong])
    assert card.metric("latency").figures == (strong, weak)
    lines = render_card(card).splitlines()
    assert "unconfirmed" in " ".join(lines)
    assert "unconfirmed" not in next(line for line in lines if "2.00 s" in line)


@pytest.mark.parametrize("value", [float("nan"), float("inf")])
def test_evidence_refuses_numbers_that_are_none(value: float) -> None:
    with pytest.raises(SpecError, match=r"found (nan|inf), wanted a finite number"):
        Evidence(subject="s", metric="latency", value=value, unit="s",
                 source=Source(basis=Basis.ASSUMED, where="x"))  # fmt: skip
    with pytest.raises(SpecError, match="the lower bound first"):
        figure("latency", 1.0, "s", interval=(2.0, 1.0))


def test_the_sample_card_reads_well() -> None:
    text = render_card(make_scorecard(SUBJECT, evidence()), width=88)
    assert all(len(line) <= 88 for line in text.splitlines())
    assert "Latency           15.6 ms          simulated (plan replay); median" in text
    assert "Accuracy          not known: no labelled data set was run" in text
    assert "area not known: the vendor does not publish the die area" in text


def test_traffic_does_not_stand_for_energy() -> None:
    unknown = figure("energy", None, "J", note="no energy per byte is known", subject="s")
    traffic = figure("off-chip traffic", 2**20, "bytes", context=FULL, subject="s", note="a sum")
    card = make_scorecard("s", [traffic, unknown])
    assert card.metric("energy and power").headline is None
    text = render_card(card)
    assert "Energy and power  not known: no energy per byte is known" in text
    assert "1 MiB            off-chip traffic" in text
