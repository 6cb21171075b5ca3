"""Every accelerator of the registry, with its variants, and the toy against the kit."""

from __future__ import annotations

from collections.abc import Callable

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from orrery.accel import ACCELERATORS, Accelerator, resolve

from . import kit
from .toy import toy

VARIANTS = (
    "tiled(overlap=False, clip=False)",
    "tiled(tm=16, tn=3, tr=5, tc=4, precision='fixed16')",
    "systolic(rows=8, cols=16, vector=8, precision='float32')", "winograd(tile=4, pn=8)",
    "winograd(tile=4, pm=4, pn=8, precision='float32')",
    "winograd(precision='float32', pm=8, pn=8)", "spatial(architecture='tpu-v1')",
    "spatial(architecture='eyeriss-v2')",
    "bitlet(precision='fixed16', group=32, elements=8)", "bitlet(precision='bf16')",
    "bitlet(digits='signed')", "bitlet(precision='bf16', group=32, digits='split')",
    "bitlet(storage='columns')", "bitlet(precision='fp32', digits='signed', storage='columns')",
)  # fmt: skip
EVERYONE: dict[str, Callable[[], Accelerator]] = {
    "toy": toy,
    **{name: (lambda name=name: resolve(name)) for name in (*ACCELERATORS.names(), *VARIANTS)},
}

everyone = pytest.mark.parametrize("name", EVERYONE)


@everyone
def test_the_function_stands_within_its_tolerance(name: str) -> None:
    kit.check_function(EVERYONE[name]())


@everyone
def test_refusals_have_reasons(name: str) -> None:
    kit.check_refusals(EVERYONE[name]())


@everyone
def test_costs_are_physical(name: str) -> None:
    kit.check_costs(EVERYONE[name]())


@everyone
def test_constants_have_sources(name: str) -> None:
    kit.check_sources(EVERYONE[name]())


@everyone
def test_simulation_agrees_with_cost(name: str) -> None:
    accelerator = EVERYONE[name]()
    assert kit.check_simulation(accelerator) == (accelerator.simulate is not None)


@pytest.mark.needs("iverilog")
@everyone
def test_the_circuit_lints(name: str) -> None:
    accelerator = EVERYONE[name]()
    assert kit.check_circuit(accelerator) == (accelerator.generate is not None)


@pytest.mark.parametrize("name", (*ACCELERATORS.names(), *VARIANTS))
def test_the_name_reads_back_as_the_same_value(name: str) -> None:
    accelerator = resolve(name)
    assert resolve(accelerator.name) == accelerator


pairs = st.tuples(st.integers(1, 5), st.integers(1, 5))
small = st.integers(1, 3)


@st.composite
def convolutions(draw: st.DrawFn) -> dict[str, object]:
    groups = draw(small)
    kernel, dilation = draw(pairs), draw(st.tuples(st.integers(1, 2), st.integers(1, 2)))
    pads = draw(st.tuples(*[st.integers(0, 3)] * 4))
    sizes = {}
    for axis, size in enumerate(("height", "width")):
        reach = (kernel[axis] - 1) * dilation[axis] + 1
        least = max(1, reach - pads[axis] - pads[axis + 2])
        sizes[size] = draw(st.integers(least, least + 9))
    return {
        "batch": draw(small), "groups": groups, "channels": groups * draw(small),
        "filters": groups * draw(st.integers(1, 5)), "kernel": kernel, "dilation": dilation,
        "stride": draw(st.tuples(small, small)), "pads": pads, "bias": draw(st.booleans()), **sizes,
    }  # fmt: skip


@everyone
@settings(max_examples=25, deadline=None)
@given(shape=convolutions())
def test_any_convolution_is_refused_or_right(name: str, shape: dict[str, object]) -> None:
    accelerator, region = EVERYONE[name](), kit.conv_region(**shape)  # type: ignore[arg-type]
    if kit.check_refusal(accelerator, region, str(shape)):
        return
    kit.check_cost(accelerator, region, str(shape))
    kit.check_values(accelerator, region, next(kit.images(region))[1], str(shape))
