"""The kit catches what it should: one toy broken per rule."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from orrery.accel import Accelerator, Tensors, Tolerance
from orrery.cost import Cost, Refusal
from orrery.graph import Region
from orrery.provenance import Basis, Source
from orrery.timeline import Timeline

from . import kit
from .toy import ToyCost, evaluate, toy


def _last_element_off(region: Region, inputs: Tensors) -> Tensors:
    value = evaluate(region, inputs)["y"].copy()
    value.flat[-1] = np.nextafter(value.flat[-1], np.float32(np.inf))
    return {"y": value}


def _wrong_name(region: Region, inputs: Tensors) -> Tensors:
    return {"z": evaluate(region, inputs)["y"]}


def _double(region: Region, inputs: Tensors) -> Tensors:
    return {"y": evaluate(region, inputs)["y"].astype(np.float64)}


def _eats_its_input(region: Region, inputs: Tensors) -> Tensors:
    result = evaluate(region, inputs)
    inputs["x"][:] = 0
    return result


def _raises(region: Region, inputs: Tensors) -> Tensors:
    raise ValueError("surprise")


_RANDOM = np.random.default_rng(0)


def _moody(region: Region, inputs: Tensors) -> Tensors:
    value = evaluate(region, inputs)["y"]
    return {"y": value + _RANDOM.random(value.shape).astype(np.float32)}


def _any_bound(region: Region, inputs: Tensors) -> Tensors:
    return {"y": np.full(region.graph.type("y").sizes, 1e30)}


ANYTHING = Tolerance(reason="anything is allowed here", bound=_any_bound)


class _Cost(ToyCost):
    """The toy's cost with one change."""

    def __init__(self, change: Callable[[Cost, Region], Cost]) -> None:
        self.change = change

    def cost(
        self, region: Region, device: Any, schedule: Any = None, statistics: Any = None
    ) -> Cost:
        return self.change(super().cost(region, device), region)


class _Mute(ToyCost):
    def refuses(self, region: Region, device: Any) -> Refusal | None:
        return None if super().refuses(region, device) is None else Refusal(reason="")


class _Agreeable(ToyCost):
    def refuses(self, region: Region, device: Any) -> Refusal | None:
        return None


class _Lazy(ToyCost):
    def refuses(self, region: Region, device: Any) -> Refusal | None:
        return Refusal(reason="the toy does not feel like it")


def _priced(change: Callable[[Cost, Region], Cost]) -> Accelerator:
    return replace(toy(), cost=_Cost(change))


def _with(**changes: Any) -> Accelerator:
    return _priced(lambda cost, region: replace(cost, **changes))


def _falling(field: str) -> Accelerator:
    """Cheaper by the square of the batch: falls when the batch doubles."""
    return _priced(
        lambda cost, region: replace(
            cost, **{field: getattr(cost, field) / region.graph.type("x").sizes[0] ** 2 * 4}
        )
    )


def _sourced(field: str, source: Source) -> Accelerator:
    good = toy()
    compute = replace(good.device.compute, sources={**good.device.compute.sources, field: source})
    return replace(good, device=replace(good.device, compute=compute))


def _instant(region: Region, inputs: Tensors) -> Timeline:
    return Timeline(name="instant", spans=())


BROKEN: dict[str, tuple[Callable[[Accelerator], object], Callable[[], Accelerator], str]] = {
    "one bit off": (kit.check_function, lambda: replace(toy(), evaluate=_last_element_off), "bit"),
    "wrong output": (kit.check_function, lambda: replace(toy(), evaluate=_wrong_name), "wanted"),
    "wrong type": (kit.check_function, lambda: replace(toy(), evaluate=_double), "float64"),
    "input changed": (kit.check_function, lambda: replace(toy(), evaluate=_eats_its_input),
                      "changes its input"),
    "moody": (kit.check_function, lambda: replace(toy(), evaluate=_moody), "differ"),
    "beyond the bound": (kit.check_function, lambda: replace(
        toy(), evaluate=_last_element_off, tolerance=Tolerance(
            reason="claims more than it keeps",
            bound=lambda r, i: {"y": np.zeros(r.graph.type("y").sizes)})), "beyond"),
    "worthless bound": (kit.check_function, lambda: replace(toy(), tolerance=ANYTHING), "a bound"),
    "no reason": (kit.check_function, lambda: replace(toy(), tolerance=Tolerance(reason="")),
                  "reason"),
    "raises": (kit.check_refusals, lambda: replace(toy(), evaluate=_raises), "raises"),
    "mute": (kit.check_refusals, lambda: replace(toy(), cost=_Mute()), "without a reason"),
    "agreeable": (kit.check_refusals, lambda: replace(toy(), cost=_Agreeable()), "yet raises"),
    "supports nothing": (kit.check_costs, lambda: replace(toy(), cost=_Lazy()), "none"),
    "zero": (kit.check_costs, lambda: _with(latency_s=0.0), "latency"),
    "not a number": (kit.check_costs, lambda: _with(latency_s=float("nan")), "latency"),
    "above peak": (kit.check_costs, lambda: _with(macs_performed=10**15), "above the peak"),
    "above bandwidth": (kit.check_costs, lambda: _with(offchip_bytes=10**12), "bandwidth"),
    "below compulsory": (kit.check_costs, lambda: _with(offchip_bytes=1), "compulsory"),
    "traffic unknown": (kit.check_costs, lambda: _with(offchip_bytes=None), "compulsory"),
    "over the ceiling": (kit.check_costs, lambda: _with(latency_s=3600.0), "ceiling"),
    "too hot": (kit.check_costs, lambda: _with(energy_j=1e6), "energy"),
    "bill does not add up": (kit.check_costs, lambda: _with(charges=()), "add up"),
    "wrong nominal": (kit.check_costs, lambda: _with(macs_nominal=1), "nominal"),
    "falling time": (kit.check_costs, lambda: _falling("latency_s"), "batch"),
    "falling energy": (lambda a: kit.check_growth(a, {}), lambda: _falling("energy_j"), "energy_j"),
    "simulates another": (kit.check_simulation, lambda: replace(toy(), simulate=_instant),
                          "priced"),
    "no source": (kit.check_sources, lambda: _sourced("clock_hz", Source(
        basis=Basis.PUBLISHED, where=" ")), "says nothing"),
    "assumed without why": (kit.check_sources, lambda: _sourced("clock_hz", Source(
        basis=Basis.ASSUMED, where="somewhere")), "not why"),
    "assumed called published": (kit.check_sources, lambda: _sourced("macs_per_s", Source(
        basis=Basis.PUBLISHED, where="a data sheet")), "called published"),
    "unpublished paper": (kit.check_sources, lambda: replace(toy(), paper=Source(
        basis=Basis.ASSUMED, where="a dream", note="slept well")), "not published"),
}  # fmt: skip


@pytest.mark.parametrize("name", BROKEN)
def test_a_broken_toy_is_caught(name: str) -> None:
    check, build, message = BROKEN[name]
    with pytest.raises(kit.KitError, match=message):
        check(build())


@pytest.mark.needs("iverilog")
@pytest.mark.parametrize(
    "text", ["module toy(input wire a; endmodule\n", "module toy(); q x(); endmodule\n"]
)
def test_a_broken_circuit_is_caught(text: str) -> None:
    with pytest.raises(kit.KitError, match="lint"):
        kit.check_circuit(replace(toy(), generate=lambda: {"toy.v": text}))


def test_a_circuit_of_no_files_is_caught() -> None:
    with pytest.raises(kit.KitError, match="no files"):
        kit.check_circuit(replace(toy(), generate=dict))
