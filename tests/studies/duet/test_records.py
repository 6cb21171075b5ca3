"""Statuses follow from the numbers: each record is made to match and to differ."""

from __future__ import annotations

from dataclasses import replace

import pytest

from orrery.report import Page, Series, Table, Text, render_html, render_text
from orrery.runtime.together import Comparison
from orrery.studies import Record
from orrery.studies.duet._case import ALONE, PLACED, SERVED, Case, Effort, Point
from orrery.studies.duet._published import CLAIMS, NETWORKS
from orrery.studies.duet._records import claim_records, network_records, why
from orrery.studies.duet._sections import sections_of

from .cases import ROUNDS, block, case, sweep


def named(records: list[Record], ending: str) -> Record:
    (found,) = [r for r in records if r.name.endswith(ending)]
    return found


def of(made: Case, ending: str) -> Record:
    return named(network_records(made), ending)


GAIN = ": gain over the best alone"
SERVING = ": as the command runs it"
PREDICTED = ": predicted makespan"
ERROR = ": error of prediction"
SEARCH = ": greedy-correction, predicted"
BEST = ": greedy-correction, measured"
OUTPUTS = ": error of outputs"


def test_everything_matches_in_the_planted_case() -> None:
    records = network_records(case())
    assert [r.status for r in records] == ["match"] * 7
    assert {r.name.removeprefix("made-up") for r in records} == {
        GAIN, SERVING, PREDICTED, ERROR, SEARCH, BEST, OUTPUTS
    }  # fmt: skip
    assert all(r.published is None and r.judge for r in records)


def test_the_best_alone_is_what_is_gained_least_over() -> None:
    record = of(case(), GAIN)
    assert record.ours == pytest.approx(1.4)
    assert record.judge_value == pytest.approx(1.3)
    assert "cpu0-1 ort" in record.note and "More than 1.75 is not possible" in record.note
    # Half of the cores counts too where that is quicker, as it is of small networks.
    quick_half = case(blocks=(block(ort=1.4, ov=1.5, half=1.1),))
    assert of(quick_half, GAIN).ours == pytest.approx(1.1)
    assert "cpu0 ort" in of(quick_half, SERVING).note


def test_a_way_of_another_block_may_be_the_best() -> None:
    torch = Comparison(times_s={PLACED: (2.0,) * ROUNDS, "torch": (2.2,) * ROUNDS})
    made = case(blocks=(block(ort=1.4, ov=1.5), torch))
    made = replace(made, kinds={**made.kinds, "torch": "cpu"})
    assert made.best(*ALONE) == "torch"
    assert of(made, GAIN).ours == pytest.approx(1.1)  # by ratios within its own rounds
    record = of(made, SERVING)
    # Both as in the table of ways; judged by 1.01 of the placement there, which takes 2 of 2.2.
    assert (record.ours, record.judge_value) == (pytest.approx(1.01), pytest.approx(2.2))
    assert "-8.2 %" in record.note and "rounds of its own" in record.note
    slow = replace(made, blocks=(block(served=1.2, ort=1.4, ov=1.5), torch))
    assert of(slow, SERVING).status == "differs"  # 1.2 * 2 of 2.2


@pytest.mark.parametrize(("gain", "bound_s", "single_path", "status", "judge"), [
    (0.5, 0.17, False, "differs", "1.3 of a network of branches"),  # twice as long
    (1.29, 0.5, False, "differs", "1.3 of a network of branches"),
    (1.3, 0.5, False, "match", "1.3 of a network of branches"),
    (1.15, 0.96, False, "match", "bound, which forbids 1.3"),  # of 1.20
    (0.6, 0.55, False, "differs", "bound, which forbids 1.3"),  # no reason to be quick, nor so slow
    (0.99, 0.5, True, "match", "on a single path"),
    (0.9, 0.5, True, "differs", "on a single path"),
])  # fmt: skip
def test_a_gain_can_fail(
    gain: float, bound_s: float, single_path: bool, status: str, judge: str
) -> None:
    made = case(blocks=(block(ort=gain, ov=9),), bound_s=bound_s, single_path=single_path)
    record = of(made, GAIN)
    assert record.status == status
    assert judge in record.judge


def test_what_company_forbids_is_wanted_no_more() -> None:
    """By times alone 1.75 could be gained; 1.25 s in company leave 1.12."""
    points = tuple(replace(p, measured_s=p.measured_s + 0.3) for p in sweep().points)
    made = case(blocks=(block(placed=1.3, served=1.31, ort=1.4, ov=1.5, half=2.0),),
                sweep=sweep(points=points), limit_s=1.25)  # fmt: skip
    record = of(made, GAIN)
    assert record.status == "match"
    assert record.judge == "limit with company as measured, which forbids 1.3; 10 % less at most"
    assert record.judge_value == made.reach == pytest.approx(1.12)
    assert "takes less than 1.25 s, a gain of 1.12 (by their times alone, 800 ms)" in why(made)
    short = sections_of([made], Effort.at(0.1), "a machine")[1]
    assert isinstance(short, Table) and short.rows[0][5:7] == pytest.approx((1.75, 1.12))
    # A placement that takes less says that company was not as bad as that.
    quicker = case(limit_s=1.25)
    assert quicker.reach is None
    assert "in company" not in named(claim_records([quicker]), "least gain over the CPU alone").note
    assert of(quicker, GAIN).judge == "1.3 of a network of branches, as the bound allows it"


def test_a_bound_that_any_placement_undercuts_proves_nothing() -> None:
    points = (*sweep().points, Point(what="x", placement=(1, 1), predicted_s=1.4, measured_s=0.7))
    made = case(blocks=(block(ort=0.9, ov=1.5),), sweep=sweep(points=points))
    record = of(made, GAIN)
    assert record.status == "differs" and "proves nothing" in record.judge
    assert "one took 700 ms" in why(made) and "forbids a gain" not in why(made)
    assert (
        "its bound was undercut"
        in named(claim_records([made]), "least gain over the CPU alone").note
    )
    short = sections_of([made], Effort.at(0.1), "a machine")[1]
    assert isinstance(short, Table) and short.rows[0][5] is None


def test_what_was_quick_because_the_machine_was_proves_nothing_either() -> None:
    """All placements take half of what they did: so do our subgraphs one at a time."""
    points = tuple(replace(p, measured_s=p.measured_s / 2) for p in sweep().points)
    halved = sweep(points=points)
    assert case(sweep=halved).undercut == pytest.approx((0.5, 0.8))
    assert case(sweep=replace(halved, pace=0.5)).undercut is None
    slow = case(sweep=halved, pace=1.25)  # 0.5 is as measured, and the bound as it was then
    assert slow.undercut == pytest.approx((0.5, 0.64))
    assert "less than 640 ms, at the pace of the rounds in which one took 500 ms" in why(slow)


def test_what_only_requests_cost_hides_no_bound_and_makes_none() -> None:
    """Requests cost 15 % beside their subgraphs, which take what they took: nothing is undercut."""

    def point(placement: tuple[int, ...], predicted_s: float, measured_s: float) -> Point:
        return Point(what="", placement=placement, predicted_s=predicted_s, measured_s=measured_s)

    dear = sweep(points=(point((0, 1), 0.9, 1.0), point((0, 0), 1.4, 1.61)))
    assert case(bound_s=0.93, sweep=dear).undercut is None
    true = sweep(points=(point((0, 1), 0.9, 1.0), point((1, 0), 0.9, 0.8)))
    assert case(bound_s=0.93, sweep=true).undercut == pytest.approx((0.8, 0.93))


def test_a_page_is_at_one_pace() -> None:
    """All are 1.3 times as long as they were timed: the bound stays below what is exact."""
    made = case(pace=1.3, bound_s=1.3 * 0.95, predicted_s=1.3 * 0.98,
                sweep=sweep(rank=1, exact_s=0.98, corrected_s=0.98, pace=1.3))  # fmt: skip
    table = next(s for s in sections_of([made], Effort.at(0.1), "a machine")
                 if s.title == "The placement among all there are")  # fmt: skip
    assert isinstance(table, Table)
    assert table.rows[0][3:7] == pytest.approx([1.235, 1.274, 1.274, 1.274])
    record = of(made, SEARCH)
    assert (record.ours, record.judge_value) == pytest.approx((1.274, 1.274))
    assert "times 1.30, the machine's pace in these rounds: no proof" in of(made, GAIN).note
    assert "no proof" not in of(case(), GAIN).note
    assert "nothing tells the pace" in of(case(pace=None), PREDICTED).note


def test_a_little_less_than_the_bound_is_said_and_forbids_no_more_than_it_gains() -> None:
    made = case(bound_s=1.02)  # 1.37 at the most, and 1.40 gained
    assert made.undercut is None and made.below == pytest.approx((1.0, 1.02))
    assert why(made).startswith("It gains all that the bound allows, 1.37")
    assert "(one took 2.0% less, within what times are good for)" in why(made)


def test_one_measured_placement_proves_nothing() -> None:
    ours = sweep().points[:1]
    record = of(case(sweep=sweep(total=100_000, points=ours, gap=0.0, interval=(0, 0))), BEST)
    assert (record.status, record.ours) == ("not reproducible", None)
    assert "ours alone was measured" in record.note
    only = of(case(sweep=sweep(total=1, points=ours, gap=0.0, interval=(0, 0))), BEST)
    assert (only.status, only.note) == ("match", "there is no other placement")


def test_where_a_placement_runs_is_said_as_it_is() -> None:
    made = case(steps=(("p0a", 3, "cpu1 ort"), ("p0b", 4, "cpu1 ort")), notes=("Busy.", "lost"))
    found = sections_of([made, case()], Effort.at(0.1), "a machine")
    ways = next(s for s in found if s.title == "Every way to run them")
    assert isinstance(ways, Table)
    assert [row[2] for row in ways.rows if row[1] == PLACED] == [
        "in subgraphs, all on cpu1 ort", "on several workers"]  # fmt: skip
    text = found[0]
    assert isinstance(text, Text)
    assert {"made-up: Busy.", "made-up: lost."} <= set(text.paragraphs)


def test_quicker_than_the_bound_is_no_match() -> None:
    assert of(case(bound_s=1.04), GAIN).status == "match"  # within what times are good for
    record = of(case(bound_s=1.2), GAIN)
    assert record.status == "differs"
    assert "quicker than the bound" in record.note


@pytest.mark.parametrize(("served", "status"), [(1.0, "match"), (1.427, "match"),
                                                (1.43, "differs")])  # fmt: skip
def test_serving_may_lose_two_hundredths(served: float, status: str) -> None:
    made = case(blocks=(block(served=served, ort=1.4, ov=1.5),))
    assert of(made, SERVING).status == status


def test_what_was_chosen_is_said() -> None:
    assert "run placed" in of(case(), SERVING).note
    assert "run whole on cpu0-1 ov" in of(case(chosen="cpu0-1 ov"), SERVING).note


@pytest.mark.parametrize(("predicted", "status"), [(0.91, "match"), (1.09, "match"),
                                                   (0.89, "differs")])  # fmt: skip
def test_a_prediction_is_held_against_the_measured(predicted: float, status: str) -> None:
    record = of(case(predicted_s=predicted), PREDICTED)
    assert (record.status, record.judge_value) == (status, 1.0)


def test_sums_of_operators_are_the_judge_of_whole_subgraphs() -> None:
    record = of(case(), ERROR)
    assert record.ours == pytest.approx(100 * 0.02)  # of 2, 8.3 and 0 %
    assert record.judge_value == pytest.approx(100 * 0.30)  # of 30, 25 and 40 %
    worse = case(sweep=sweep(points=tuple(
        replace(p, summed_s=p.measured_s) for p in sweep().points
    )))  # fmt: skip
    assert of(worse, ERROR).status == "differs"
    unknown = case(sweep=sweep(points=(Point(what="ours", placement=(0, 1), predicted_s=1.0,
                                             measured_s=1.0),)))  # fmt: skip
    assert not [r for r in network_records(unknown) if r.name.endswith(ERROR)]


def test_the_search_is_held_against_the_exact_or_the_bound() -> None:
    record = of(case(sweep=sweep(corrected_s=1.0, exact_s=0.97)), SEARCH)
    assert (record.status, record.judge) == ("differs", "exact")
    assert "9 placements; the one that runs has rank 2" in record.note
    record = of(case(sweep=sweep(exact_s=None, rank=None)), SEARCH)
    assert (record.status, record.judge_value) == ("differs", 0.8)
    assert "bound" in record.judge and "rank" not in record.note


@pytest.mark.parametrize(("gap", "status"), [(-0.1, "match"), (0.019, "match"),
                                             (0.05, "differs")])  # fmt: skip
def test_the_measured_gap_decides(gap: float, status: str) -> None:
    record = of(case(sweep=sweep(gap=gap, interval=(gap - 0.01, gap + 0.01))), BEST)
    assert record.status == status
    assert (record.ours, record.judge_value) == (pytest.approx(100 * gap), 2.0)
    assert "measured 3 of 9, rank 1" in record.note
    assert "speed changed" not in record.note


def test_one_placement_of_two_times_is_explained() -> None:
    points = tuple(replace(p, measured_s=p.measured_s / 3) for p in sweep().points)
    note = of(case(bound_s=0.3, sweep=sweep(points=points)), BEST).note
    assert "Among placements ours took 333 ms, among all ways 1.00 s" in note


def test_outputs_beyond_the_tolerance_differ() -> None:
    record = of(case(errors={PLACED: 1e-6, "cpu0-1 ov": 2e-4}), OUTPUTS)
    assert (record.status, record.ours) == ("differs", 2e-4)
    assert record.note.endswith("beyond it: cpu0-1 ov")
    record = of(case(errors={PLACED: float("inf")}), OUTPUTS)
    assert (record.status, record.ours) == ("differs", None)


def test_published_ranges_are_held_against_networks_with_paths() -> None:
    cases = [
        case(), case(name="second", blocks=(block(ort=6.3, ov=7),)),
        case(name="control", single_path=True, blocks=(block(ort=1.0, ov=1.1),)),
    ]  # fmt: skip
    records = claim_records(cases)
    least, most = (named(records, f"{word} gain over the CPU alone") for word in ("least", "most"))
    assert (least.published, least.status) == (1.3, "match")  # 1.4, the control left out
    assert (most.published, most.ours, most.status) == (6.4, pytest.approx(6.3), "match")
    assert "sets of cores" in least.note and "made-up 1.40 of at most 1.75" in least.note
    for word in ("least", "most"):
        record = named(records, f"{word} gain over the GPU alone")
        assert (record.status, record.ours) == ("not reproducible", None)


def test_a_gpu_alone_is_compared_where_there_is_one() -> None:
    made = case(blocks=(block(ort=1.4, ov=1.5, cuda=1.6),))
    made = replace(made, kinds={**made.kinds, "cuda": "gpu"})
    records = claim_records([made])
    record = named(records, "least gain over the GPU alone")
    assert (record.ours, record.published) == (pytest.approx(1.6), 1.5)
    assert "sets of cores" not in record.note


def test_the_control_is_no_network_of_branches_though_its_shortcuts_are_cut_out() -> None:
    assert not case(name="resnet50", single_path=False).branched
    assert case(name="mt-dnn", single_path=True).branched  # as published; here its heads are light
    assert case().branched and not case(single_path=True).branched


def test_only_the_control_reproduces_no_range() -> None:
    records = claim_records([case(single_path=True)])
    assert [r.status for r in records[:4]] == ["not reproducible"] * 4
    assert all("no network of branches" in r.note for r in records[:4])


def test_the_median_error_over_networks() -> None:
    far = [case(), case(name="b", predicted_s=0.5), case(name="c", predicted_s=0.85)]
    record = named(claim_records(far), "predicted makespans, median over networks")
    assert (record.ours, record.status) == (pytest.approx(15.0), "differs")
    assert (
        named(claim_records(far[:1]), "predicted makespans, median over networks").status == "match"
    )


@pytest.mark.parametrize(("changes", "said"), [
    ({"single_path": True}, "A single path: nothing runs side by side"),
    ({}, "More than 1.75 is not possible"),
    ({"blocks": (block(ort=1.1, ov=1.5),), "bound_s": 0.9}, "forbids a gain of 1.3"),
    ({"blocks": (block(ort=1.1, ov=1.5),), "bound_s": 0.5, "predicted_s": 0.55},
     "would allow 2.20"),
    ({"cut_s": 2.0}, "Cut, its parts take 2"),
])  # fmt: skip
def test_why_not_more(changes: dict[str, object], said: str) -> None:
    assert said in why(case(**changes))


def test_sections_show_every_way_and_render() -> None:
    tails = Comparison(times_s={PLACED: tuple(float(k) for k in range(1, 1001)),
                                SERVED: (1.0,) * 1000})  # fmt: skip
    made = [case(tails=tails), case(name="resnet50", single_path=True, operators=None)]
    found = sections_of(made, Effort.at(0.1), "a machine")
    ways = next(s for s in found if s.title == "Every way to run them")
    assert isinstance(ways, Table)
    assert [row[1] for row in ways.rows if row[0] == "made-up"] == [
        PLACED, SERVED, "cpu0-1 ort", "cpu0-1 ov", "cpu0 ort"
    ]  # fmt: skip
    slow = next(s for s in found if s.title == "Slow tails")
    assert isinstance(slow, Table)
    assert slow.rows[0][2:] == (1000, 500.0, 900.0, 990.0, 999.0)
    text = next(s for s in found if s.title == "How to read this")
    assert isinstance(text, Text)
    left = next(p for p in text.paragraphs if p.startswith("Left out"))
    assert "inception_v3" in left and "slow tails" in left and "compiled" in left
    assert any(isinstance(s, Series) for s in found)
    page = Page(title="duet", subtitle="", sections=tuple(found), provenance={})
    assert "15.9" in render_text(page)
    assert "not confirmed" in render_html(page)


def test_efforts_grow_with_the_scale() -> None:
    whole = Effort.at(1.0)
    assert whole.networks == tuple(n.name for n in NETWORKS)
    assert whole.tail_runs >= 1000 and whole.tail_s >= 600 and whole.torch == "compiled"
    small = Effort.at(0.01)
    assert small.networks == whole.networks[:1]
    assert (small.tail_runs, small.torch) == (0, "nodes")
    assert small.rounds_s + small.sweep_s < 10
    assert "resnet50" in Effort.at(0.45).networks  # the control is not left to the last
    assert {c.over for c in CLAIMS} == {"cpu", "gpu"}
