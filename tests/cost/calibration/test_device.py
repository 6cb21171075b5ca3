"""Judges: devices made up with known constants; the roofline below every calibrated price."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from orrery.cost import check_cost, roofline, work_of
from orrery.cost.calibration import (
    CalibratedDevice,
    Sample,
    calibrate_device,
    macs_by_class,
    sample_of,
)
from orrery.errors import CancelledError, SpecError
from orrery.graph import Graph, Node, Region, TensorType, build_model
from orrery.hardware import Calibration, Device
from orrery.progress import Progress

from ..small import HAND, device

CONSTANTS = {"others_share": 0.3, "bandwidth_share": 0.6, "overhead_s": 2e-6}
SHARES = {"convolution": 0.4, "matrix-product": 0.7}


def calibrated(base: Device | None = None) -> Device:
    names = ("mac_share", *CONSTANTS)
    return replace(base or device(), calibration=Calibration(
        mac_share=SHARES, **CONSTANTS, sources=dict.fromkeys(names, HAND)))  # fmt: skip


def made_up(
    true: Device, networks: int = 5, rows: int = 30, noise: float = 0.1, seed: int = 0
) -> list[Sample]:
    """Layers of random sizes, timed and billed as the true device would, with noise."""
    random = np.random.default_rng(seed)
    samples = []
    for network in range(networks):
        for number in range(rows):
            kind = random.choice(["convolution", "matrix-product", ""])
            macs = {(str(kind), "float32"): int(10 ** random.uniform(5, 9))} if kind else {}
            others, moved = int(10 ** random.uniform(3, 7.5)), int(10 ** random.uniform(3, 7))
            time = _seconds(true, macs, others, moved)
            factor = np.exp(noise * random.standard_normal(2))
            joules = (sum(macs.values()) * 3e-12 + others * 5e-12 + moved * 40e-12
                      + 2.0 * time * factor[0])  # fmt: skip
            samples.append(Sample(
                network=f"net{network}", layer=str(number), macs=macs, others=others,
                traffic_bytes=moved, latency_s=time * factor[0], energy_j=joules * factor[1],
            ))  # fmt: skip
    return samples


def _seconds(true: Device, macs: dict[tuple[str, str], int], others: int, moved: int) -> float:
    compute = sum(n / (1e12 * SHARES[kind]) for (kind, _), n in macs.items())
    return CONSTANTS["overhead_s"] + max(compute, others / (5e11 * 0.3), moved / (1e11 * 0.6))


def fitted(base: Device | None = None, **changes: object) -> CalibratedDevice:
    samples = made_up(calibrated(), **changes)  # type: ignore[arg-type]
    return calibrate_device(base or device(), samples, where="m.csv")


def test_constants_come_back() -> None:
    found = fitted().device.calibration
    assert found is not None
    assert dict(found.mac_share) == pytest.approx(SHARES, rel=0.12)
    for name, value in CONSTANTS.items():
        assert getattr(found, name) == pytest.approx(value, rel=0.12)
    assert found.sources["overhead_s"].basis.value == "measured"
    assert "150 rows of 5 networks: m.csv" in found.sources["overhead_s"].where
    assert "standard error" in found.sources["mac_share"].note
    assert found.low_ratio == pytest.approx(np.exp(-0.1 * 1.28), rel=0.06)
    assert found.high_ratio == pytest.approx(np.exp(0.1 * 1.28), rel=0.06)


def test_prices_of_energy_come_back() -> None:
    found = fitted(replace(device(), idle_power_w=None), rows=60, noise=0.05)
    compute = found.device.compute
    assert compute.mac_energy_j["float32"] == pytest.approx(3e-12, rel=0.1)
    assert found.device.idle_power_w == pytest.approx(2.0, rel=0.15)
    assert found.device.offchip.energy_j_per_byte == pytest.approx(40e-12, rel=0.3)
    assert found.energy is not None
    assert 0.7 <= found.energy.coverage <= 0.9


def test_an_energy_that_is_foretold_has_not_seen_its_own_time() -> None:
    """Layers of a network that all took four times as long are foretold as they were."""
    rows = made_up(calibrated(), networks=3, rows=20)
    later = [replace(one, latency_s=4 * one.latency_s) if one.network == "net0" else one
             for one in rows]  # fmt: skip
    mine = np.array([one.network == "net0" for one in rows])
    first, second = (calibrate_device(device(), some, where="m.csv").energy
                     for some in (rows, later))  # fmt: skip
    assert first is not None and second is not None
    assert second.priced[mine] == pytest.approx(first.priced[mine], rel=1e-5)
    assert (abs(second.priced[~mine] / first.priced[~mine] - 1) > 1e-3).any()
    assert second.unfitted == pytest.approx(first.unfitted, rel=1e-12)


def test_energies_above_the_stated_maximum_are_refused() -> None:
    with pytest.raises(SpecError, match=r"net0: found '3.39 W on average', wanted at most 500 mW"):
        fitted(replace(device(), max_power_w=0.5, sources={"max_power_w": HAND}))


def _scaled(time: float = 1.0, energy: float = 1.0) -> CalibratedDevice:
    """The same rows with a unit that is so many times off."""
    return calibrate_device(device(), [
        replace(one, latency_s=time * one.latency_s, energy_j=energy * (one.energy_j or 0.0))
        for one in made_up(calibrated())
    ], where="m.csv")  # fmt: skip


def test_a_unit_a_thousand_times_off_is_seen() -> None:
    with pytest.raises(SpecError, match="times faster than the stated peaks allow"):
        _scaled(time=1e-3)
    assert any("of the stated peak, and net" in said for said in _scaled(time=1e4).warnings)
    with pytest.raises(SpecError, match=r"m.csv: net\d: \d+: found .* wanted at most 100 kW"):
        _scaled(energy=1e6)
    with pytest.raises(SpecError, match="an operation or more"):
        _scaled(energy=1e-5)
    assert any("energy of a MAC, float32: 2.93 fJ" in said and "of the shipped tables; net" in said
               for said in _scaled(energy=1e-3).warnings)  # fmt: skip
    assert not any("unit" in said for said in _scaled().warnings)


def test_a_price_that_the_rows_do_not_tell_stays_not_known() -> None:
    samples = [
        replace(one, energy_j=sum(one.macs.values()) * 3e-12 + one.traffic_bytes * 4e-11
                + 2.0 * one.latency_s)
        for one in made_up(calibrated())
    ]  # fmt: skip
    base = device()
    base = replace(base, compute=replace(base.compute, other_energy_j=None))
    found = calibrate_device(base, samples, where="m.csv")
    constant = next(c for c in found.constants if c.name == "energy of another operation")
    assert (constant.status, constant.value) == ("kept", None)
    assert found.device.compute.other_energy_j is None


def test_classes_without_rows_are_named() -> None:
    assert any("no row has MACs of grouped-convolution" in text for text in fitted().warnings)


def test_every_fit_is_told_and_may_be_stopped() -> None:
    steps: list[tuple[int, int | None]] = []
    told = Progress(report=lambda step: steps.append((step.done, step.total)))
    calibrate_device(device(), made_up(calibrated(), networks=3), where="m", progress=told)
    assert steps == [(number, 6) for number in range(1, 7)] * 2  # times, energies
    stopped = Progress(cancelled=lambda: True)
    with pytest.raises(CancelledError):
        calibrate_device(device(), made_up(calibrated(), networks=3), where="m", progress=stopped)


def test_errors_fall_and_coverage_is_as_told() -> None:
    validation = fitted(noise=0.2).latency
    assert 0.7 <= validation.coverage <= 0.9
    for one in validation.held:
        assert one.after[0] < one.before[0]
        assert one.total == pytest.approx(1.0, abs=0.3)


def test_a_class_that_was_not_measured_keeps_the_peak() -> None:
    samples = [s for s in made_up(calibrated()) if ("convolution", "float32") not in s.macs]
    found = calibrate_device(device(), samples, where="m.csv").device.calibration
    assert found is not None
    assert set(found.mac_share) == {"matrix-product"}


def test_what_rows_do_not_tell_is_said_and_kept() -> None:
    samples = [replace(s, others=0) for s in made_up(calibrated())]
    found = calibrate_device(device(), samples, where="m.csv")
    others = next(c for c in found.constants if c.name == "other operations")
    assert others.status == "kept"
    assert others.value == 100.0
    assert found.device.calibration is not None
    assert found.device.calibration.others_share is None


def test_layers_faster_than_a_stated_peak_raise_it() -> None:
    slow = device(macs_per_s={"float32": 1e11})  # a tenth of the truth
    found = fitted(slow)
    assert any("faster than the stated peak of MACs" in text for text in found.warnings)
    made = found.device
    assert made.calibration is not None
    for name, share in SHARES.items():
        rate = made.compute.macs_per_s["float32"] * made.calibration.mac_share[name]
        assert rate == pytest.approx(1e12 * share, rel=0.12)
    assert "times the figure before" in made.compute.sources["macs_per_s"].note


def test_too_little_to_judge_is_refused_with_what_is_needed() -> None:
    with pytest.raises(SpecError, match=r"2 networks', wanted 3 or more"):
        fitted(networks=2)
    with pytest.raises(SpecError, match=r"9 usable rows', wanted 15 or more for 5 constants"):
        fitted(networks=3, rows=3)


def test_views_are_left_out_and_take_nothing() -> None:
    nothing = Sample(network="net0", layer="view", macs={}, others=0, traffic_bytes=0,
                     latency_s=1e-6)  # fmt: skip
    found = calibrate_device(device(), [*made_up(calibrated()), nothing], where="m.csv")
    assert any("1 rows of layers that only look at memory" in text for text in found.warnings)
    graph = Graph(name="v", nodes=(Node(name="n", op="Identity", inputs=("x",), outputs=("y",)),),
                  inputs=("x",), outputs=("y",),
                  types={"x": TensorType(dtype="float32", shape=(4,))})  # fmt: skip
    assert roofline.cost(graph.infer().regions()[0], calibrated()).latency_s == 0.0


@pytest.mark.parametrize("name", ["squeezenet1_1", "minilm-l6"])
def test_no_price_falls_below_the_roofline(name: str) -> None:
    graph, plain, slow = build_model(name), device(), calibrated()
    for region in graph.regions():
        before, after = roofline.cost(region, plain), roofline.cost(region, slow)
        assert after.latency_s >= before.latency_s
        check_cost(after, work_of(region), row=region.name, device=slow)


@settings(max_examples=40)
@given(st.integers(1, 64), st.integers(1, 64), st.integers(1, 64), st.sampled_from("nkm"))
def test_prices_never_fall_when_a_layer_grows(n: int, k: int, m: int, grows: str) -> None:
    small, large = {"n": n, "k": k, "m": m}, {"n": n, "k": k, "m": m}
    large[grows] *= 2
    first, second = (roofline.cost(_product(**s), calibrated()).latency_s for s in (small, large))
    assert second >= first


def _product(n: int, k: int, m: int) -> Region:
    graph = Graph(
        name="p", nodes=(Node(name="n", op="MatMul", inputs=("a", "b"), outputs=("y",)),),
        inputs=("a", "b"), outputs=("y",),
        types={"a": TensorType(dtype="float32", shape=(n, k)),
               "b": TensorType(dtype="float32", shape=(k, m))},
    )  # fmt: skip
    return graph.infer().regions()[0]


def test_classes_of_operators_cover_all_macs() -> None:
    graph = build_model("mobilenet_v2")
    classes: dict[str, int] = {}
    for region in graph.regions():
        for (name, _), count in macs_by_class(region).items():
            classes[name] = classes.get(name, 0) + count
    assert set(classes) == {"convolution", "grouped-convolution", "matrix-product"}
    assert sum(classes.values()) == sum(work_of(r).total_macs for r in graph.regions())


def test_a_sample_holds_the_work_of_its_region() -> None:
    region = _product(8, 16, 4)
    sample = sample_of(region, "net", 1e-3)
    assert sample.macs == {("matrix-product", "float32"): 8 * 16 * 4}
    assert sample.traffic_bytes == 4 * (8 * 16 + 16 * 4 + 8 * 4)
