"""What every accelerator must satisfy, as plain functions that raise `KitError`.

The functions know nothing of any accelerator; `test_accelerators.py` runs them over the registry
and the toy, `test_kit.py` runs them over toys that are broken on purpose.
"""

from __future__ import annotations

import math
import shutil
import subprocess
import tempfile
from collections.abc import Iterator, Mapping
from dataclasses import fields, is_dataclass, replace
from itertools import product
from pathlib import Path
from typing import Any

import numpy as np

from orrery.accel import Accelerator
from orrery.accel._products import require_layer
from orrery.accel.bitlet import BitletCost
from orrery.accel.spatial._cost import SpatialCost
from orrery.cost import Cost
from orrery.cost.nest import NestMapping, nest_problem
from orrery.graph import ArrayConstant, Graph, Node, Region, TensorType, find_operator
from orrery.hardware import Compute, Device, Memory
from orrery.provenance import Basis, Source

#: Physical ceilings: a fixed part for one call and a part per scalar operation. A few tiles of an
#: idle array take microseconds; no machine of interest needs 0.1 µs or 10 µJ for an operation.
CALL_S, OPERATION_S = 1e-3, 1e-7
CALL_J, OPERATION_J = 1e-1, 1e-5

#: `simulate` may stand this far from `cost`, as a share.
SIMULATION_BAND = 0.10

#: A bound above this share of Σ|terms| says nothing.
WORTHLESS_BOUND = 0.25

SIZE = ("batch", "channels", "filters", "height", "width")


class KitError(AssertionError):
    """An accelerator breaks a rule of the kit."""


def must(condition: bool, accelerator: Accelerator, what: str) -> None:
    if not condition:
        raise KitError(f"{accelerator.name}: {what}")


# -- regions ------------------------------------------------------------------------------------


def conv_region(
    batch: int = 1, channels: int = 4, filters: int = 8, height: int = 8, width: int = 8,
    kernel: tuple[int, int] = (3, 3), stride: tuple[int, int] = (1, 1),
    dilation: tuple[int, int] = (1, 1), pads: tuple[int, int, int, int] = (1, 1, 1, 1),
    groups: int = 1, bias: bool = True, auto_pad: str = "NOTSET", weights: Any = None,
) -> Region:  # fmt: skip
    """Return a convolution as a region of its own; weights are seeded by their shape."""
    shape = (filters, channels // groups, *kernel)
    random = np.random.default_rng(math.prod(shape))
    value = random.standard_normal(shape).astype(np.float32) if weights is None else weights
    constants = {"w": ArrayConstant(value)}
    if bias:
        constants["b"] = ArrayConstant(random.standard_normal(filters).astype(np.float32))
    attributes: dict[str, Any] = {"group": groups, "strides": stride, "dilations": dilation}
    if auto_pad == "NOTSET":
        attributes["pads"] = pads
    else:
        attributes["auto_pad"] = auto_pad
    node = Node(name="conv", op="Conv", inputs=("x", "w", "b") if bias else ("x", "w"),
                outputs=("y",), attributes=attributes)  # fmt: skip
    image = TensorType(dtype="float32", shape=(batch, channels, height, width))
    return Graph(name="one", nodes=(node,), inputs=("x",), outputs=("y",), types={"x": image},
                 constants=constants).infer().regions()[0]  # fmt: skip


def unary_region(op: str, dtype: str = "float32", shape: tuple[int | str, ...] = (2, 8)) -> Region:
    node = Node(name="unary", op=op, inputs=("x",), outputs=("y",))
    types = {"x": TensorType(dtype=dtype, shape=shape)}
    graph = Graph(name="one", nodes=(node,), inputs=("x",), outputs=("y",), types=types)
    return graph.infer().regions()[0]


def cases() -> Iterator[tuple[str, Region]]:
    """Yield convolutions: plain, edges of every size, every attribute."""
    yield "plain", conv_region()
    yield "one pixel", conv_region(height=1, width=1)
    yield (
        "one of all",
        conv_region(
            channels=1, filters=1, height=1, width=1, kernel=(1, 1), pads=(0, 0, 0, 0), bias=False
        ),
    )
    yield "batch", conv_region(batch=3, height=5)
    yield "many weights", conv_region(channels=24, filters=70, height=3, width=4)
    yield "tile edges", conv_region(channels=9, filters=17, height=15, width=14)
    yield "pointwise", conv_region(kernel=(1, 1), pads=(0, 0, 0, 0), channels=33)
    yield "pointwise stride", conv_region(kernel=(1, 1), pads=(0, 0, 0, 0), stride=(2, 2))
    yield "stride", conv_region(stride=(2, 2), height=9)
    yield "stride above kernel", conv_region(kernel=(2, 2), stride=(3, 3), pads=(0, 0, 0, 0))
    yield "uneven", conv_region(kernel=(3, 5), stride=(2, 1), pads=(0, 2, 1, 3), height=7)
    yield "large kernel", conv_region(channels=3, kernel=(11, 11), stride=(4, 4), pads=(2,) * 4,
                                      height=23, width=23)  # fmt: skip
    yield "whole image", conv_region(kernel=(8, 8), pads=(0, 0, 0, 0))
    yield "groups", conv_region(channels=6, filters=9, groups=3)
    yield "depthwise", conv_region(channels=8, filters=8, groups=8)
    yield "dilation", conv_region(dilation=(2, 2), pads=(2, 2, 2, 2))
    yield "same upper", conv_region(auto_pad="SAME_UPPER", stride=(2, 2), kernel=(2, 3))
    yield "same lower", conv_region(auto_pad="SAME_LOWER", stride=(2, 2), kernel=(2, 3))
    yield "valid", conv_region(auto_pad="VALID", bias=False)
    yield "padding only", conv_region(height=1, width=1, pads=(3, 3, 3, 3))


def strangers() -> Iterator[tuple[str, Region]]:
    """Yield regions that a convolution design may refuse: they test that it says so."""
    yield "other operator", unary_region("Relu")
    yield "other type", unary_region("Relu", "float64")
    yield "unbound", unary_region("Relu", shape=("batch", 8))
    plain = conv_region()
    graph = plain.graph
    types = dict(graph.types)
    unbound = {n: replace(t, shape=("batch", *t.shape[1:])) for n, t in types.items() if n in "xy"}
    yield "unbound convolution", Region(graph=graph.with_types({**types, **unbound}),
                                        nodes=("conv",))  # fmt: skip
    untyped = {n: t for n, t in types.items() if n != "y"}
    yield "untyped convolution", Region(graph=graph.with_types(untyped), nodes=("conv",))
    for rank in (1, 3):
        node = Node(name="conv", op="Conv", inputs=("x", "w"), outputs=("y",))
        kinds = {"x": TensorType(dtype="float32", shape=(1, 2, *[6] * rank)),
                 "w": TensorType(dtype="float32", shape=(3, 2, *[3] * rank))}  # fmt: skip
        other = Graph(name="one", nodes=(node,), inputs=("x", "w"), outputs=("y",), types=kinds)
        yield f"{rank} dimensions", other.infer().regions()[0]
    relu = Node(name="relu", op="Relu", inputs=("y",), outputs=("z",))
    two = replace(graph, nodes=(*graph.nodes, relu), outputs=("z",)).infer()
    yield "two operators", Region(graph=two, nodes=("conv", "relu"))


def images(region: Region) -> Iterator[tuple[str, np.ndarray]]:
    """Yield input images: random, edge values, and values chosen to hurt."""
    shape = region.graph.type("x").sizes
    random = np.random.default_rng(7)
    plain = random.standard_normal(shape).astype(np.float32)
    yield "random", plain
    yield "zeros", np.zeros(shape, np.float32)
    yield "ones", np.ones(shape, np.float32)
    yield "negative zeros", -np.zeros(shape, np.float32)
    yield "tiny", plain * np.float32(1e-38)
    yield "large", plain * np.float32(1e12)
    outlier = plain.copy()
    outlier.flat[0] = 1e6
    yield "one outlier", outlier
    signs = np.indices(shape).sum(0) % 2 * 2 - 1
    yield "cancelling", (signs * 1e4 + plain).astype(np.float32)
    yield "grid border", np.full(shape, 1 - 2.0**-17, np.float32)


def supported(accelerator: Accelerator) -> list[tuple[str, Region]]:
    found = [
        (name, region) for name, region in cases()
        if accelerator.cost.refuses(region, accelerator.device) is None
    ]  # fmt: skip
    must(bool(found), accelerator, "supports none of the kit's regions")
    return found


# -- (1) function -------------------------------------------------------------------------------


def check_function(accelerator: Accelerator) -> None:
    """`evaluate` equals the NumPy reference within `tolerance`, and that tolerance is not vain."""
    must(len(accelerator.tolerance.reason) > 15, accelerator, "a tolerance without a reason")
    for name, region in supported(accelerator):
        for kind, image in images(region):
            check_values(accelerator, region, image, f"{name}, {kind}")


def check_values(accelerator: Accelerator, region: Region, image: Any, label: str) -> None:
    node = region.members[0]
    operator = find_operator(node)
    must(operator is not None, accelerator, f"{label}: the reference does not know {node.op}")
    weights = [region.graph.constants[t].array() for t in node.inputs[1:]]
    want = operator.run(node, [image, *weights])[0] if operator else image
    given = {"x": image.copy()}
    got = accelerator.evaluate(region, given)
    must(set(got) == {"y"}, accelerator, f"{label}: returns {sorted(got)}, wanted the output y")
    must(np.array_equal(given["x"], image), accelerator, f"{label}: changes its input")
    value = np.asarray(got["y"])
    fits = value.dtype == want.dtype and value.shape == want.shape
    must(fits, accelerator, f"{label}: {value.dtype}{value.shape}, not {want.dtype}{want.shape}")
    again = np.asarray(accelerator.evaluate(region, given)["y"])
    must(again.tobytes() == value.tobytes(), accelerator, f"{label}: two runs differ")
    if accelerator.tolerance.exact:
        must(value.tobytes() == want.tobytes(), accelerator, f"{label}: not bit for bit")
        return
    bound = np.broadcast_to(accelerator.tolerance.bound(region, given)["y"], want.shape)
    error = np.abs(value.astype(np.float64) - want)
    wrong = ~(error <= bound)
    must(not wrong.any(), accelerator, f"{label}: {wrong.sum()} elements beyond the tolerance, "
         f"the worst by {np.max(error[wrong] - bound[wrong], initial=0):.3g}")  # fmt: skip
    if "random" in label:
        scale = operator.run(node, [abs(image), *map(np.abs, weights)])[0] if operator else want
        share = float(np.max(bound) / np.max(scale))
        must(share <= WORTHLESS_BOUND, accelerator, f"{label}: a bound of {share:.0%} of Σ|terms|")


# -- (2) refusals -------------------------------------------------------------------------------


def check_refusals(accelerator: Accelerator) -> None:
    """What is unsupported is refused with a reason; what is not refused never raises."""
    refused = 0
    for name, region in (*cases(), *strangers()):
        refused += check_refusal(accelerator, region, name)
    must(refused > 0, accelerator, "refuses nothing at all")


def check_refusal(accelerator: Accelerator, region: Region, label: str) -> bool:
    """Return whether the region is refused."""
    answer = accelerator.cost.refuses(region, accelerator.device)
    if answer is not None:
        must(len(answer.reason.strip()) > 10, accelerator, f"{label}: refused without a reason")
        return True
    try:
        draw = np.random.default_rng(1)
        given = {name: draw.standard_normal(region.graph.type(name).sizes).astype(np.float32)
                 for name in region.inputs}  # fmt: skip
        price_region(accelerator, region)
        accelerator.evaluate(region, given)
    except Exception as error:
        raise KitError(f"{accelerator.name}: {label}: supported, yet raises {error!r}") from error
    return False


# -- (3) cost -----------------------------------------------------------------------------------


def price_region(accelerator: Accelerator, region: Region) -> Cost:
    """Price a region; where a loop nest is needed, with every loop as far out as it may stand."""
    model, schedule = accelerator.cost, None
    if isinstance(model, SpatialCost):
        found = nest_problem(region)
        must(isinstance(found, tuple) and len(found) == 1, accelerator, f"no nest: {found}")
        loops = found[0].loops if isinstance(found, tuple) else ()
        left, temporal = loops, []
        for level in model.architecture.levels:
            here = tuple(one for one in left if level.loops is None or one[0] in level.loops)
            left = tuple(one for one in left if one not in here)
            temporal.append(here)
        mapping = NestMapping(temporal=tuple(temporal))
        schedule = mapping.schedule(model.architecture)
    return model.cost(region, accelerator.device, schedule)


def touched_bytes(model: SpatialCost, region: Region) -> int:
    """Return what a nest must move at least: elements touched, at the widths they are stored in.

    A bias rides along with results, pixels that a stride skips and padding are not moved.
    """
    found = nest_problem(region)
    (problem,) = found if isinstance(found, tuple) else ()
    extents, bits = dict(problem.loops), 0
    for tensor in problem.tensors:
        elements = 1
        for axis in tensor.axes:
            ranges = [range(0, stride * extents[loop], stride) for loop, stride in axis.terms]
            places = {axis.offset + sum(at) for at in product(*ranges)}
            elements *= len(places & set(range(axis.size)))
        bits += elements * model.architecture.bits[tensor.role]
    return bits // 8


def check_costs(accelerator: Accelerator) -> None:
    """Cost is positive, finite, physical, and does not fall when a dimension doubles."""
    for name, region in supported(accelerator):
        check_cost(accelerator, region, name)
    for base in (
        {}, {"channels": 7, "filters": 65, "height": 13, "width": 13},
        {"kernel": (1, 1), "pads": (0, 0, 0, 0), "height": 28, "width": 3},
        {"stride": (2, 2), "channels": 64, "filters": 64, "height": 30, "width": 30},
        {"channels": 512, "filters": 512, "height": 7, "width": 7},
    ):  # fmt: skip
        check_growth(accelerator, base)


def check_cost(accelerator: Accelerator, region: Region, label: str) -> None:
    device, cost = accelerator.device, price_region(accelerator, region)
    nominal = region.operations
    must(math.isfinite(cost.latency_s) and cost.latency_s > 0, accelerator,
         f"{label}: latency {cost.latency_s}")  # fmt: skip
    must(cost.macs_nominal == nominal.macs, accelerator,
         f"{label}: {cost.macs_nominal} nominal MACs, counted {nominal.macs}")  # fmt: skip
    must(cost.macs_performed > 0, accelerator, f"{label}: performs nothing")
    peak = max(device.compute.macs_per_s.values())
    must(cost.macs_performed <= peak * cost.latency_s * (1 + 1e-9), accelerator,
         f"{label}: {cost.macs_performed} MACs, above the peak of {peak:.3g} a second")  # fmt: skip
    tensors = region.size_bytes((*region.inputs, *region.weights, *region.outputs))
    if isinstance(accelerator.cost, SpatialCost):
        tensors = touched_bytes(accelerator.cost, region)
    if isinstance(accelerator.cost, BitletCost):  # kept in the engine's own width
        tensors = tensors * accelerator.cost.storage_bits // 32
        coded = accelerator.cost.stored(region, require_layer(region))
        if coded is not None:  # the weights' own code, smaller or not
            held = region.size_bytes(region.weights[:1]) * accelerator.cost.storage_bits // 32
            tensors += coded.size_bytes - held
    must(cost.offchip_bytes is not None and cost.offchip_bytes >= tensors, accelerator,
         f"{label}: {cost.offchip_bytes} bytes, below the compulsory {tensors}")  # fmt: skip
    bandwidth = device.offchip.bandwidth_bytes_per_s
    if bandwidth is not None and cost.offchip_bytes is not None:
        must(cost.offchip_bytes <= bandwidth * cost.latency_s * (1 + 1e-9), accelerator,
             f"{label}: traffic above the memory's bandwidth")  # fmt: skip
    limit = CALL_S + OPERATION_S * nominal.total
    must(cost.latency_s <= limit, accelerator, f"{label}: {cost.latency_s:.3g} s, over the ceiling")
    if cost.energy_j is not None:
        energy = CALL_J + OPERATION_J * nominal.total
        must(0 < cost.energy_j <= energy, accelerator, f"{label}: energy {cost.energy_j} J")
        items = sum(charge.energy_j for charge in cost.charges)
        must(math.isclose(items, cost.energy_j, rel_tol=1e-9), accelerator,
             f"{label}: the charges add up to {items}, not {cost.energy_j}")  # fmt: skip
        for charge in cost.charges:
            check_source(accelerator, charge.source, f"charge {charge.action!r}")


def check_growth(accelerator: Accelerator, base: Mapping[str, Any]) -> None:
    """Doubling a dimension costs no less of anything (a refusal of the larger is no fault)."""

    def price(sizes: Mapping[str, Any]) -> Cost | None:
        region = conv_region(**sizes)
        if accelerator.cost.refuses(region, accelerator.device) is not None:
            return None
        return price_region(accelerator, region)

    small = price(base)
    for size in SIZE:
        default = {"batch": 1, "channels": 4, "filters": 8, "height": 8, "width": 8}[size]
        large = price({**base, size: 2 * base.get(size, default)})
        if small is None or large is None:
            continue
        for name in ("latency_s", "offchip_bytes", "energy_j", "macs_performed", "macs_nominal"):
            before, after = getattr(small, name), getattr(large, name)
            must((before is None) == (after is None), accelerator, f"{name} known and not known")
            fell = before is not None and after < before * (1 - 1e-12)
            must(not fell, accelerator, f"{dict(base)}: twice the {size}, {name} {before}→{after}")


# -- (4), (5) simulation and circuit --------------------------------------------------------------


def check_simulation(accelerator: Accelerator) -> bool:
    """Where there is a simulator, its time agrees with the cost; returns whether there is one."""
    if accelerator.simulate is None:
        return False
    for name, region in supported(accelerator):
        _, image = next(images(region))
        seconds = accelerator.simulate(region, {"x": image}).makespan_s
        expected = accelerator.cost.cost(region, accelerator.device).latency_s
        must(abs(seconds - expected) <= SIMULATION_BAND * expected, accelerator,
             f"{name}: simulated {seconds:.3g} s, priced {expected:.3g} s")  # fmt: skip
    return True


def check_circuit(accelerator: Accelerator) -> bool:
    """Where there is a circuit, it lints; returns whether there is one."""
    if accelerator.generate is None:
        return False
    files = accelerator.generate()
    must(any(name.endswith((".v", ".sv")) for name in files), accelerator, "a circuit of no files")
    iverilog = shutil.which("iverilog")
    if iverilog is None:
        raise RuntimeError("the kit's lint needs iverilog")
    with tempfile.TemporaryDirectory() as folder:
        paths = []
        for name, text in files.items():
            path = Path(folder) / name
            path.write_text(text)
            paths += [str(path)] if path.suffix in (".v", ".sv") else []
        lint = [iverilog, "-g2012", "-Wall", "-Wno-timescale", "-t", "null", *paths]
        result = subprocess.run(lint, capture_output=True, text=True, check=False)
    clean = result.returncode == 0 and not result.stderr.strip()
    must(clean, accelerator, f"the circuit does not lint: {result.stderr[:300]}")
    return True


# -- (6) sources --------------------------------------------------------------------------------


def check_sources(accelerator: Accelerator) -> None:
    """Every constant has a source, and nothing derived from an assumption hides it."""
    check_source(accelerator, accelerator.paper, "paper")
    must(accelerator.paper.basis is Basis.PUBLISHED, accelerator, "a paper that is not published")
    for where, record in _records(accelerator.device, "device"):
        for f in fields(record):
            value = getattr(record, f.name)
            numbers = list(value.values()) if isinstance(value, Mapping) else [value]
            if f.name == "sources" or not any(
                isinstance(n, int | float) and not isinstance(n, bool) for n in numbers
            ):
                continue
            must(f.name in record.sources, accelerator, f"{where}.{f.name} has no source")
            check_source(accelerator, record.sources[f.name], f"{where}.{f.name}")
    check_derived(accelerator)


def check_source(accelerator: Accelerator, source: Source, what: str) -> None:
    must(bool(source.where.strip()), accelerator, f"{what}: a source that says nothing")
    if source.basis in (Basis.ASSUMED, Basis.ESTIMATED):
        must(bool(source.note.strip()), accelerator, f"{what}: {source.basis.value}, but not why")


def check_derived(accelerator: Accelerator) -> None:
    """A peak rate is MACs × clock: if the clock is assumed, the rate is too."""
    sources = accelerator.device.compute.sources
    clock, peak = sources.get("clock_hz"), sources.get("macs_per_s")
    if clock is not None and peak is not None and clock.basis is Basis.ASSUMED:
        must(peak.basis is Basis.ASSUMED, accelerator,
             f"an assumed clock, but a peak rate called {peak.basis.value}")  # fmt: skip


def _records(device: Device, where: str) -> Iterator[tuple[str, Device | Compute | Memory]]:
    yield where, device
    for f in fields(device):
        value = getattr(device, f.name)
        for item in value if isinstance(value, tuple) else (value,):
            if is_dataclass(item) and not isinstance(item, type) and hasattr(item, "sources"):
                yield f"{where}.{f.name}", item  # type: ignore[misc]
