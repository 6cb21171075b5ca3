"""Whole layers: groups one by one through the slow engine, integers, and the derived bound."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest

from orrery.accel._products import matrices, read_layer, require_layer
from orrery.accel.bitlet import bitlet, count_layer
from orrery.accel.bitlet._engine import Engine
from orrery.accel.bitlet._format import FLOATS, Mode, from_bits, number_format, to_bits
from orrery.accel.bitlet._function import BitletFunction, bitlet_tolerance
from orrery.errors import SpecError
from orrery.graph import (
    ArrayConstant,
    Graph,
    Node,
    Region,
    TensorType,
    evaluate_node,
    numpy_dtype,
)
from tests.conformance.kit import cases, conv_region, images, strangers

from . import slow

F = np.float32


def product_region(
    op: str, a: tuple[int, ...], b: tuple[int, ...], *, constant: str = "b",
    c: tuple[int, ...] | None = None, dtype: str = "float32", **attributes: Any,
) -> Region:  # fmt: skip
    """One matrix product; `constant` names the factors that are weights."""
    draw = np.random.default_rng(5)
    shapes = {"a": a, "b": b} | ({"c": c} if c is not None else {})
    held = {n: draw.standard_normal(s).astype(numpy_dtype(dtype)) for n, s in shapes.items()
            if n in constant or n == "c"}  # fmt: skip
    types = {n: TensorType(dtype=dtype, shape=s) for n, s in shapes.items() if n not in held}
    node = Node(name="product", op=op, inputs=tuple(shapes), outputs=("y",), attributes=attributes)
    constants = {n: ArrayConstant(v) for n, v in held.items()}
    return Graph(name="one", nodes=(node,), inputs=tuple(types), outputs=("y",), types=types,
                 constants=constants).infer().regions()[0]  # fmt: skip


def conv_of_rank(rank: int, groups: int = 1) -> Region:
    draw = np.random.default_rng(rank)
    weights = draw.standard_normal((4, 6 // groups, *(3, 2, 2)[:rank])).astype(F)
    node = Node(name="conv", op="Conv", inputs=("x", "w"), outputs=("y",), attributes={
        "group": groups, "strides": (2, 1, 1)[:rank], "dilations": (1, 2, 1)[:rank],
        "pads": (1, 0, 2)[:rank] + (0, 1, 1)[:rank],
    })  # fmt: skip
    types = {"x": TensorType(dtype="float32", shape=(2, 6, *(7, 6, 5)[:rank]))}
    return Graph(name="one", nodes=(node,), inputs=("x",), outputs=("y",), types=types,
                 constants={"w": ArrayConstant(weights)}).infer().regions()[0]  # fmt: skip


@pytest.mark.parametrize("rank", [1, 2, 3])
@pytest.mark.parametrize("wide", [1, 40])
def test_neighbouring_positions_are_the_same_as_picked_ones(rank: int, wide: int) -> None:
    """Copied by lines where lines are long enough, picked one by one where they are not."""
    shape = (2, 4, *(9 * wide, 7, 6)[:rank][::-1])
    node = Node(name="conv", op="Conv", inputs=("x", "w"), outputs=("y",))
    weights = np.ones((3, 4, *(2,) * rank), F)
    graph = Graph(name="one", nodes=(node,), inputs=("x",), outputs=("y",),
                  types={"x": TensorType(dtype="float32", shape=shape)},
                  constants={"w": ArrayConstant(weights)}).infer()  # fmt: skip
    region = graph.regions()[0]
    layer = require_layer(region)
    x = np.arange(np.prod(shape), dtype=F).reshape(shape)
    given = matrices(region, {"x": x}, layer)
    every = np.concatenate([given.take(0, np.array([p])) for p in range(layer.positions)])
    for first, beyond in ((0, layer.positions), (1, layer.positions - 1), (5, 9)):
        taken = given.take(0, np.arange(first, beyond))
        assert np.array_equal(taken, every[first:beyond])
    mixed = np.random.default_rng(0).permutation(layer.positions)
    assert np.array_equal(given.take(0, mixed), every[mixed])


def layers() -> Iterator[tuple[str, Region]]:
    yield from cases()
    for rank in (1, 3):
        yield f"conv {rank}-D", conv_of_rank(rank)
    yield "conv 3-D groups", conv_of_rank(3, groups=2)
    yield "gemm", product_region("Gemm", (3, 70), (70, 5), c=(5,))
    yield (
        "gemm turned",
        product_region("Gemm", (70, 3), (5, 70), c=(3, 1), transA=1, transB=1, alpha=0.5, beta=2.0),
    )
    yield "gemm no bias", product_region("Gemm", (3, 70), (70, 5))
    yield "matmul", product_region("MatMul", (3, 70), (70, 5))
    yield "matmul batch", product_region("MatMul", (2, 4, 3, 9), (9, 5))
    yield "matmul left weights", product_region("MatMul", (5, 9), (2, 9, 3), constant="a")
    yield "matmul both data", product_region("MatMul", (2, 4, 3, 9), (2, 4, 9, 5), constant="")
    yield "matmul broadcast", product_region("MatMul", (2, 1, 3, 9), (4, 9, 5), constant="")
    yield "matmul broadcast left", product_region("MatMul", (4, 5, 9), (2, 1, 9, 3), constant="a")
    yield "matmul row", product_region("MatMul", (9,), (2, 9, 5), constant="")
    yield "matmul column", product_region("MatMul", (2, 3, 9), (9,))
    yield "matmul dot", product_region("MatMul", (9,), (9,))


LAYERS = dict(layers())


def draw_inputs(region: Region, seed: int = 1) -> dict[str, np.ndarray]:
    draw = np.random.default_rng(seed)
    types = {n: region.graph.type(n) for n in region.inputs}
    return {n: draw.standard_normal(t.sizes).astype(numpy_dtype(t.dtype)) for n, t in types.items()}


def reference(region: Region, inputs: dict[str, np.ndarray]) -> np.ndarray:
    found: np.ndarray = evaluate_node(region.graph, region.members[0], inputs)["y"]
    return found


def inside(region: Region, inputs: dict[str, np.ndarray], engine: Engine) -> float:
    """Check the bound; returns the largest share of it that is used."""
    got = BitletFunction(engine=engine)(region, inputs)["y"]
    want = reference(region, inputs)
    assert (got.shape, got.dtype) == (want.shape, want.dtype)
    bound = bitlet_tolerance(engine).bound
    assert bound is not None
    allowed = np.atleast_1d(bound(region, inputs)["y"])
    error = np.atleast_1d(np.abs(got.astype(float) - want.astype(float)))
    error[np.isnan(error)] = np.inf  # beyond the format's range: nothing is promised
    assert np.all(error <= allowed), np.max(error - allowed)
    finite = np.isfinite(allowed) & (allowed > 0)
    return float(np.max(error[finite] / allowed[finite], initial=0.0))


@pytest.mark.parametrize("name", LAYERS)
def test_every_layer_stays_in_the_bound(name: str) -> None:
    region = LAYERS[name]
    for precision in ("fp32", "fp16", "bf16", "fixed8", "fixed24"):
        inside(region, draw_inputs(region), Engine(format=number_format(precision)))


@pytest.mark.parametrize("precision", ["fp32", "fp16", "bf16", "fixed1", "fixed4", "fixed16"])
@pytest.mark.parametrize("mode", ["correct", "faithful"])
def test_adversarial_images_stay_in_the_bound(precision: str, mode: Mode) -> None:
    engine = Engine(format=number_format(precision), mode=mode)
    for name in ("plain", "uneven", "groups"):
        for _, image in images(LAYERS[name]):
            inside(LAYERS[name], {"x": image}, engine)


def test_resting_lanes_are_in_the_bound() -> None:
    """The eight highest lanes of 24, as the journal version has it."""
    for mask, precision in ((0xFF0000, "fp32"), (0xF0, "fixed8"), (0x0F, "fixed8")):
        engine = Engine(format=number_format(precision), enabled=mask)
        assert inside(LAYERS["plain"], draw_inputs(LAYERS["plain"]), engine) > 0


@pytest.mark.parametrize("dtype", ["float16", "bfloat16"])
def test_networks_in_narrow_types_keep_their_type(dtype: str) -> None:
    for precision in ("fp32", "fp16", "bf16", "fixed8"):
        for shapes, c in ((((3, 70), (70, 5)), (5,)), (((2, 9), (9, 4)), None)):
            region = product_region("Gemm", *shapes, c=c, dtype=dtype)
            inside(region, draw_inputs(region), Engine(format=number_format(precision)))
            inside(region, {"a": draw_inputs(region)["a"] * 400}, Engine(format=FLOATS["fp32"]))


def test_the_bound_of_binary32_is_small_beside_the_sum() -> None:
    region = conv_region(channels=64, filters=2, height=4, width=4)
    inputs = draw_inputs(region)
    bound = bitlet_tolerance(Engine(format=FLOATS["fp32"])).bound
    assert bound is not None
    weights = np.abs(region.graph.constants["w"].array())
    positive = conv_region(channels=64, filters=2, height=4, width=4, weights=weights)
    terms = reference(positive, {"x": np.abs(inputs["x"])})
    assert np.all(bound(region, inputs)["y"] < 1e-4 * terms)


@pytest.mark.parametrize("kind", ["fp32", "fp16", "bf16"])
@pytest.mark.parametrize("mode", ["correct", "faithful"])
def test_float_layers_equal_the_slow_engine_group_by_group(kind: str, mode: Mode) -> None:
    region = product_region("MatMul", (2, 11), (11, 3))
    inputs = draw_inputs(region)
    inputs["a"][0, :4] = [0, -0.0, 1e-40, 3e-5]
    engine = Engine(format=FLOATS[kind], group=4, mode=mode)
    got = BitletFunction(engine=engine)(region, inputs)["y"]
    a = to_bits(inputs["a"], FLOATS[kind])
    b = to_bits(region.graph.constants["b"].array(), FLOATS[kind])
    for r, c in np.ndindex(2, 3):
        total = None
        for first in range(0, 11, 4):
            span = slice(first, first + 4)
            words = [int(v) for v in b[span, c]], [int(v) for v in a[r, span]]
            found = slow.float_group(*words, kind, faithful=mode == "faithful")
            word = slow.pack(*found, kind, "fp32", faithful=mode == "faithful")
            part = from_bits(np.array([word], np.uint32), FLOATS["fp32"])[0]
            total = part if total is None else F(total + part)
        assert got[r, c].tobytes() == np.asarray(total, F).tobytes()


def test_fixed_layers_equal_python_integers() -> None:
    region = conv_region(channels=5, filters=3, height=4, width=4)
    image = draw_inputs(region)["x"]
    weights, bias = (region.graph.constants[n].array() for n in "wb")
    for bits in (1, 2, 4, 8, 12):
        limit = max(1, 2 ** (bits - 1) - 1)
        engine = Engine(format=number_format(f"fixed{bits}"))
        got = BitletFunction(engine=engine)(region, {"x": image})["y"]
        step = float(np.abs(image).max()) / limit
        data = np.pad(image, ((0, 0), (0, 0), (1, 1), (1, 1)))
        for m, y, x in np.ndindex(3, 4, 4):
            own = float(np.abs(weights[m]).max()) / limit
            total = sum(
                round(float(weights[m, n, r, c]) / own)
                * round(float(data[0, n, y + r, x + c]) / step)
                for n, r, c in np.ndindex(5, 3, 3)
            )
            assert got[0, m, y, x] == F(total * (own * step)) + bias[m]


@pytest.mark.parametrize("group", [1, 7, 64, 100])
def test_fixed_point_does_not_depend_on_the_group(group: int) -> None:
    region = LAYERS["tile edges"]
    engines = [Engine(format=number_format("fixed8"), group=n) for n in (group, 45)]
    one, other = (BitletFunction(engine=e)(region, draw_inputs(region))["y"] for e in engines)
    assert one.tobytes() == other.tobytes()


def test_infinite_and_nan_activations_follow_ieee() -> None:
    region = product_region("MatMul", (3, 130), (130, 4))
    inputs = draw_inputs(region)
    inputs["a"][0, 3], inputs["a"][1, 70], inputs["a"][2, 5] = np.inf, np.nan, -np.inf
    inputs["a"][2, 129] = np.inf
    got = BitletFunction(engine=Engine(format=FLOATS["fp32"]))(region, inputs)["y"]
    with np.errstate(invalid="ignore"):
        want = reference(region, inputs)
    assert np.array_equal(got, want, equal_nan=True)


@pytest.mark.parametrize("bad", [np.nan, np.inf])
def test_weights_that_are_not_finite_are_refused(bad: float) -> None:
    weights = np.ones((2, 1, 1, 1), F)
    weights[1] = bad
    region = conv_region(channels=1, filters=2, kernel=(1, 1), pads=(0,) * 4, weights=weights)
    with pytest.raises(SpecError, match="weights 'w': found '1 values that are not finite"):
        BitletFunction(engine=Engine(format=FLOATS["fp32"]))(region, draw_inputs(region))
    faithful = BitletFunction(engine=Engine(format=FLOATS["fp32"], mode="faithful"))
    assert np.isfinite(faithful(region, draw_inputs(region))["y"][:, 0]).all()


@pytest.mark.parametrize("bad", [np.nan, np.inf])
def test_fixed_point_refuses_images_that_are_not_finite(bad: float) -> None:
    region = conv_region()
    with pytest.raises(SpecError, match="not finite"):
        BitletFunction(engine=Engine(format=number_format("fixed8")))(
            region, {"x": np.full((1, 4, 8, 8), bad, F)}
        )


def test_strangers_are_refused_with_a_reason_or_run() -> None:
    refused = 0
    for name, region in strangers():
        answer = read_layer(region)
        if isinstance(answer, str):
            refused += 1
            assert len(answer) > 15
            with pytest.raises(SpecError, match="wanted a supported product"):
                BitletFunction(engine=Engine(format=FLOATS["fp32"]))(region, {})
        else:
            assert "dimensions" in name
    assert refused >= 5


def test_sums_that_might_overflow_the_accumulator_are_refused() -> None:
    """131,072 terms of full scale in 24 bits come out exactly; one more is one too many."""
    engine = Engine(format=number_format("fixed24"))
    for terms, fits in ((131072, True), (131073, False)):
        region = product_region("MatMul", (1, terms), (terms, 1), constant="")
        inputs = {"a": np.ones((1, terms), F), "b": np.ones((terms, 1), F)}
        if fits:
            assert BitletFunction(engine=engine)(region, inputs)["y"][0, 0] == terms
            continue
        design = bitlet(precision="fixed24")
        with pytest.raises(SpecError, match=r"131073 terms.*up to 131072 terms; take fixed23"):
            BitletFunction(engine=engine)(region, inputs)
        with pytest.raises(SpecError, match="overflow the 64-bit accumulator"):
            count_layer(region, inputs, design.cost.array)  # type: ignore[attr-defined]
        refusal = design.cost.refuses(region, design.device)
        assert refusal is not None
        assert "131073 terms" in refusal.reason
        assert "take fixed23" in refusal.reason
        fewer = bitlet(precision="fixed23")
        assert fewer.cost.refuses(region, fewer.device) is None


@pytest.mark.parametrize("bad", [np.nan, np.inf])
def test_function_cycles_and_price_agree_on_weights_that_are_not_finite(bad: float) -> None:
    """``faithful`` takes them for numbers, everywhere; fixed point and ``correct`` refuse."""
    weights = np.ones((8, 4, 3, 3), F)
    weights[0, 0, 0, 0] = bad
    region = conv_region(weights=weights)
    for precision, mode in (("fp32", "correct"), ("fp32", "faithful"), ("fixed8", "faithful")):
        design = bitlet(precision=precision, mode=mode)
        refusal = design.cost.refuses(region, design.device)
        if (precision, mode) == ("fp32", "faithful"):
            assert refusal is None
            assert design.cost.cost(region, design.device).latency_s > 0
            assert design.evaluate(region, draw_inputs(region))
            count_layer(region, draw_inputs(region), design.cost.array)  # type: ignore[attr-defined]
            continue
        assert refusal is not None
        assert "not finite" in refusal.reason
        for run in (design.evaluate, design.simulate):
            with pytest.raises(SpecError, match="not finite"):
                run(region, draw_inputs(region))
