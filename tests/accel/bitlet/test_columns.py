"""Bit columns: any words come back, altered files do not, sizes and traffic are the true ones."""

from __future__ import annotations

import struct
import zlib
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from orrery.accel import resolve
from orrery.accel._products import require_layer
from orrery.accel.bitlet import (
    BitletArray,
    BitletCost,
    BitletSimulator,
    BitletTrainer,
    count_layer,
    number_format,
)
from orrery.accel.bitlet._cycles import schedule, tile_traffic
from orrery.accel.bitlet._engine import Engine
from orrery.accel.bitlet._format import FLOATS, to_bits
from orrery.accel.bitlet._function import grid_step, on_grid
from orrery.accel.bitlet.columns import (
    Storage,
    constant_rows,
    decode,
    encode,
    entropy_bytes,
    header_bytes,
    store_weights,
    weight_words,
    word_columns,
)
from orrery.errors import SpecError
from orrery.graph import TRAINING_DOMAIN, ArrayConstant, Graph, Node, Region, TensorType

from .digits import conv_net, perceptron
from .test_function import product_region


def drawn(rng: np.random.Generator, kind: int, shape: tuple[int, int], columns: int) -> Any:
    """Words of several kinds: any, few ones, small numbers with signs, all alike."""
    words = rng.integers(0, 1 << columns, shape)
    if kind == 1:
        for _ in range(3):
            words &= rng.integers(0, 1 << columns, shape)
    elif kind == 2:
        size = np.abs(rng.normal(0, 2.0 ** (columns / 2 - 1), shape)).astype(np.int64)
        size = np.minimum(size, (1 << (columns - 1)) - 1)
        words = size | (rng.integers(0, 2, shape) * (size > 0)) << (columns - 1)
    elif kind == 3:
        words[:] = words[0, 0]
    elif kind == 4:
        words[::2] = (1 << columns) - 1
    return words


@given(st.data())
@settings(max_examples=150, deadline=None)
def test_any_words_come_back_and_cost_no_more_than_plain_and_headers(data: st.DataObject) -> None:
    columns = data.draw(st.integers(1, 32))
    shape = data.draw(st.tuples(st.integers(1, 20), st.integers(1, 150)))
    group, block = data.draw(st.sampled_from([1, 7, 64, 100])), data.draw(st.integers(1, 9))
    bits = data.draw(st.integers(0, min(8, columns - 1)))
    exponent = (data.draw(st.integers(0, columns - 1 - bits)), bits)
    rng = np.random.default_rng(data.draw(st.integers(0, 2**20)))
    words = drawn(rng, data.draw(st.integers(0, 4)), shape, columns)
    coded = encode(words, columns, group=group, block=block, exponent=exponent)
    back = decode(coded.data)
    assert back.dtype == np.uint32 and (back == words).all()
    blocks = -(-shape[0] // block)
    assert len(coded.data) == coded.size_bytes == coded.header_bytes + coded.block_bytes.sum()
    assert coded.header_bytes == header_bytes(columns)
    plain = words.size * columns / 8
    assert coded.size_bytes <= plain + header_bytes(columns) + 9 * blocks


def second_count(words: Any, columns: int, group: int) -> int:
    """Bits of the columns by the rules in words, slowly; no exponent, no block."""
    rows = [[int(x) for x in row] for row in words]
    flat = [x for row in rows for x in row]
    low = (1 << (columns - 1)) - 1
    total = 0
    for c in range(columns):
        ones = sum(x >> c & 1 for x in flat)
        if ones in (0, len(flat)):
            continue
        zeros = [x for x in flat if x & low == 0]
        if c == columns - 1 and zeros and not any(x >> c & 1 for x in zeros):
            signs = len(flat) - len(zeros)
        else:
            signs = None
        flip = int(ones > len(flat) // 2)
        mixed = 0
        for row in rows:
            for g in range(0, len(row), group):
                bits = [x >> c & 1 ^ flip for x in row[g : g + group]]
                n, best = len(bits), len(bits)
                if not any(bits):
                    best = 0
                else:
                    sought = int(2 * sum(bits) <= n)
                    places = [i for i, b in enumerate(bits) if b == sought]
                    if 3 * len(places) <= n:
                        gaps = [b - a - 1 for a, b in zip([-1, *places], [*places, n])]
                        for r in range(8):
                            size = 3 + sum((gap >> r) + 1 + r for gap in gaps)
                            if size <= n - (n + 7) // 8:
                                best = min(best, size)
                mixed += 2 + best
        total += signs if signs is not None else min(mixed, len(flat))
    return total


@pytest.mark.parametrize("kind", range(5))
def test_sizes_are_those_of_a_second_count(kind: int) -> None:
    rng = np.random.default_rng(kind)
    for columns, group in ((4, 64), (9, 16), (17, 33)):
        words = drawn(rng, kind, (6, 100), columns)
        coded = encode(words, columns, group=group, block=6)
        bits = second_count(words, columns, group)
        assert coded.block_bytes[0] == 8 + -(-bits // 8)


def test_every_altered_bit_and_every_cut_is_refused() -> None:
    rng = np.random.default_rng(1)
    coded = encode(drawn(rng, 2, (9, 30), 6), 6, group=16, block=4)
    for place in range(len(coded.data)):
        for bit in range(8):
            wrong = bytearray(coded.data)
            wrong[place] ^= 1 << bit
            with pytest.raises(SpecError, match="weight columns"):
                decode(bytes(wrong))
        with pytest.raises(SpecError, match="weight columns"):
            decode(coded.data[:place])
    with pytest.raises(SpecError, match="weight columns"):
        decode(coded.data + b"\0")


def test_errors_name_rows_byte_and_group() -> None:
    words = drawn(np.random.default_rng(2), 1, (8, 64), 5)
    coded = encode(words, 5, group=16, block=4)
    second = coded.header_bytes + int(coded.block_bytes[0])
    wrong = bytearray(coded.data)
    wrong[second + 20] ^= 16
    with pytest.raises(SpecError, match=rf"rows 4 to 7, byte {second}.*altered bytes"):
        decode(bytes(wrong))
    # A checksum that was forged over cut bits: the group where they end is named.
    body = coded.data[second + 8 :]
    cut = body[: len(body) // 2]
    head = bytearray(coded.data[: header_bytes(5) - 4])
    start = coded.header_bytes
    forged = coded.data[start:second] + struct.pack("<II", len(cut), zlib.crc32(cut)) + cut
    head[20:28] = struct.pack("<Q", len(forged))
    whole = bytes(head) + struct.pack("<I", zlib.crc32(bytes(head))) + forged
    with pytest.raises(SpecError, match=r"rows 4 to 7, byte \d+, row [5-7], group \d, bit \d+ of"):
        decode(whole)


@pytest.mark.parametrize(
    ("words", "columns", "sizes", "text"),
    [
        (np.zeros((0, 4), int), 4, {}, "one at least"),
        (np.zeros(4, int), 4, {}, r"\(rows, terms\)"),
        (np.zeros((2, 2)), 4, {}, "whole numbers"),
        (np.full((2, 2), 16), 4, {}, "4 bits"),
        (np.full((2, 2), -1), 4, {}, "4 bits"),
        (np.zeros((2, 2), int), 33, {}, "1 to 32"),
        (np.zeros((2, 2), int), 4, {"group": 0}, "1 to 4096"),
        (np.zeros((2, 2), int), 4, {"block": 0}, "1 to 65535"),
        (np.zeros((2, 2), int), 4, {"exponent": (2, 2)}, "below the sign"),
    ],
)
def test_what_is_no_tensor_of_words_is_refused(
    words: Any, columns: int, sizes: dict[str, Any], text: str
) -> None:
    with pytest.raises(SpecError, match=text):
        encode(words, columns, **sizes)


@pytest.mark.parametrize("data", [b"", b"BCL", b"BCL2" + bytes(60), b"BCL1" + bytes(60)])
def test_what_is_no_file_is_refused(data: bytes) -> None:
    with pytest.raises(SpecError, match="header, byte 0"):
        decode(data)


def test_bell_shaped_weights_come_near_the_entropy_and_noise_costs_its_header() -> None:
    rng = np.random.default_rng(3)
    values = rng.standard_normal((64, 576)).astype(np.float32)
    for name, most in (("fixed4", 1.13), ("fixed8", 1.06), ("bf16", 1.08), ("fp32", 1.04)):
        form = number_format(name)
        exponent = (0, 0)
        if name.startswith("fixed"):
            words = weight_words(
                on_grid(values, grid_step(values, form, (1,), what=""), form), form
            )  # type: ignore[arg-type]
        else:
            words = weight_words(values, form)
            exponent = (form.fraction_bits, form.exponent_bits)  # type: ignore[union-attr]
        columns = word_columns(form)
        coded = encode(words, columns, exponent=exponent)
        bound = entropy_bytes(words, columns, exponent=exponent)
        assert bound < coded.size_bytes < most * bound
        assert coded.size_bytes < values.size * form.storage_bits / 8
    noise = rng.integers(0, 1 << 32, (64, 576))
    assert encode(noise, 32).size_bytes == 4 * noise.size + header_bytes(32) + 8 * 8


def test_floats_keep_every_bit() -> None:
    odd = np.array([[0.0, -0.0, np.inf, -np.inf, np.nan, 1e-45, -1e-45, 3.0]], np.float32)
    for form in FLOATS.values():
        words = to_bits(odd, form)
        coded = encode(words, form.storage_bits, exponent=(form.fraction_bits, form.exponent_bits))
        assert (decode(coded.data) == words).all()


# -- in the array ---------------------------------------------------------------------------------


def design(text: str) -> tuple[BitletCost, BitletSimulator]:
    made = resolve(text)
    assert isinstance(made.cost, BitletCost) and isinstance(made.simulate, BitletSimulator)
    return made.cost, made.simulate


@pytest.mark.parametrize("op", ["MatMul", "Gemm"])
@pytest.mark.parametrize("precision", ["fixed4", "fixed8", "bf16"])
def test_traffic_is_what_the_files_take(precision: str, op: str) -> None:
    plain, _ = design(f"bitlet(precision={precision!r}, elements=16)")
    cost, simulate = design(f"bitlet(precision={precision!r}, elements=16, storage='columns')")
    region = product_region(op, (3, 300), (300, 70))
    values = {"a": np.random.default_rng(3).standard_normal((3, 300)).astype(np.float32)}
    found, expected = count_layer(region, values, simulate.array), cost.expected(region)
    assert np.array_equal(found.weight_bytes, expected.weight_bytes)
    assert np.array_equal(found.decode_cycles, expected.decode_cycles)
    before = count_layer(region, values, plain.array)
    assert np.array_equal(found.steps, before.steps)
    assert np.array_equal(found.activation_bytes, before.activation_bytes)
    form, layer = number_format(precision), require_layer(region)
    w = np.ascontiguousarray(region.graph.constants[region.members[0].inputs[1]].array().T)
    exponent = (0, 0)
    if precision.startswith("fixed"):
        words = weight_words(on_grid(w, grid_step(w, form, (1,), what=""), form), form)  # type: ignore[arg-type]
    else:
        words = weight_words(w, form)
        exponent = (form.fraction_bits, form.exponent_bits)  # type: ignore[union-attr]
    coded = encode(words, word_columns(form), block=4, exponent=exponent)
    assert found.weight_bytes.sum() == coded.size_bytes + 4 * layer.bias_elements
    assert found.weight_bytes.sum() < before.weight_bytes.sum()
    device = resolve("bitlet").device
    cheaper, dearer = cost.cost(region, device), plain.cost(region, device)
    assert cheaper.offchip_bytes < dearer.offchip_bytes  # type: ignore[operator]
    assert cheaper.energy_j < dearer.energy_j  # type: ignore[operator]
    assert cheaper.peak_bytes["dram"] < dearer.peak_bytes["dram"]


def test_weights_that_are_computed_on_the_way_come_plain() -> None:
    cost, simulate = design("bitlet(storage='columns')")
    region = product_region("MatMul", (3, 64), (64, 40), constant="")
    random = np.random.default_rng(0)
    values = {"a": random.standard_normal((3, 64)).astype(np.float32),
              "b": random.standard_normal((64, 40)).astype(np.float32)}  # fmt: skip
    found = count_layer(region, values, simulate.array)
    assert found.decode_cycles is None and cost.expected(region).decode_cycles is None
    assert found.weight_bytes.sum() == 64 * 40


def test_slow_decoders_hold_up_the_weights() -> None:
    cost, simulate = design("bitlet(storage='columns')")
    region = product_region("MatMul", (1, 640), (640, 64))
    found = cost.expected(region)
    assert found.decode_cycles is not None
    rate, clock = simulate.array.channel_bytes_per_s, simulate.array.clock_hz
    for stage, size, cycles in zip(schedule(found, simulate.array), found.weight_bytes,
                                   found.decode_cycles):  # fmt: skip
        took = stage.load_end - stage.load_start
        assert took == pytest.approx(max(size / rate, cycles / clock))
    fast = replace(simulate.array, channel_bytes_per_s=1e15)
    first = next(iter(schedule(found, fast)))
    assert first.load_end == pytest.approx(found.decode_cycles[0] / clock)


@pytest.mark.parametrize("precision", ["fixed4", "fixed8", "fixed16", "fp16", "bf16", "fp32"])
def test_decoders_keep_up_with_the_channel_on_bell_shaped_weights(precision: str) -> None:
    """Two gaps or 64 raw bits a cycle, four decoders a tile, 12.8 bytes a cycle: no slower."""
    cost, simulate = design(f"bitlet(precision={precision!r}, storage='columns')")
    region = product_region("MatMul", (1, 1280), (1280, 64))
    found = cost.expected(region)
    needed = found.weight_bytes / (simulate.array.channel_bytes_per_s / simulate.array.clock_hz)
    assert found.decode_cycles is not None and (found.decode_cycles <= needed).all()


def test_batches_that_share_weights_read_their_part() -> None:
    cost, _ = design("bitlet(elements=4, storage='columns')")
    region = product_region("MatMul", (2, 3, 64), (64, 10))
    layer = require_layer(region)
    coded = cost.stored(region, layer)
    assert coded is not None
    shared = replace(layer, batches=2)
    found = tile_traffic(shared, cost.array, 5, coded)
    assert found["weight_bytes"].sum() == pytest.approx(coded.size_bytes)


def one(op: str, a: tuple[int, ...], w: Any, domain: str = "", **attributes: Any) -> Region:
    """One product of a drawn tensor with constant weights."""
    names, constants = ["a", "w"], {"w": ArrayConstant(w)}
    if "size" in attributes:
        names.append("size")
        constants["size"] = ArrayConstant(np.array(attributes.pop("size"), np.int64))
    node = Node(name="product", op=op, domain=domain, inputs=tuple(names), outputs=("y",),
                attributes=attributes)  # fmt: skip
    types = {"a": TensorType(dtype="float32", shape=a)}
    graph = Graph(name="one", nodes=(node,), inputs=("a",), outputs=("y",), constants=constants,
                  types=types)  # fmt: skip
    return graph.infer().regions()[0]


def both_bytes(region: Region, precision: str, storage: str) -> tuple[float, float]:
    """Bytes of the weights: counted, and in the price."""
    cost, simulate = design(f"bitlet(precision={precision!r}, storage={storage!r})")
    values = np.zeros(region.graph.type("a").sizes, np.float32)
    found = count_layer(region, {"a": values}, simulate.array)
    expected = cost.expected(region)
    assert (found.decode_cycles is None) == (expected.decode_cycles is None)
    return float(found.weight_bytes.sum()), float(expected.weight_bytes.sum())


@pytest.mark.parametrize("precision", ["fixed8", "fp32"])
@pytest.mark.parametrize(("kernel", "stride"), [(3, 1), (3, 2), (5, 2), (2, 2), (1, 2)])
def test_gradients_of_images_count_every_weight(precision: str, kernel: int, stride: int) -> None:
    """Under a stride a row may hold taps that are filled up: such weights come plain."""
    w = np.random.default_rng(4).standard_normal((64, 16, kernel, kernel)).astype(np.float32)
    pad, size = kernel // 2, 8
    seen = (size + 2 * pad - kernel) // stride + 1
    region = one("ConvGradInput", (1, 64, seen, seen), w, TRAINING_DOMAIN, size=(1, 16, size, size),
                 strides=(stride,) * 2, pads=(pad,) * 4, kernel_shape=(kernel,) * 2)  # fmt: skip
    form, layer = number_format(precision), require_layer(region)
    found, expected = both_bytes(region, precision, "columns")
    assert found == pytest.approx(expected)
    rows = constant_rows(region, layer)
    assert rows is not None
    coded = store_weights(rows, layer, Engine(format=form), 32)
    if kernel % stride and kernel > 1:
        assert coded is None and found == w.size * form.storage_bits / 8
        return
    assert coded is not None and found == pytest.approx(coded.size_bytes)
    words = decode(coded.data)
    assert words.size == w.size
    if precision == "fp32":  # every weight is there, once
        assert (np.sort(words.ravel()) == np.sort(weight_words(w.reshape(1, -1), form)[0])).all()


@pytest.mark.parametrize("precision", ["fixed8", "bf16"])
def test_weights_that_batches_share_are_stored_once_in_any_order(precision: str) -> None:
    full = np.random.default_rng(5).standard_normal((128, 64)).astype(np.float32)
    none = np.zeros_like(full)
    form = number_format(precision)
    sizes = []
    for held in ([full, none], [none, full]):
        w = np.stack(held)[:, None]
        region = one("MatMul", (2, 3, 8, 128), w)
        found, expected = both_bytes(region, precision, "columns")
        assert found == pytest.approx(expected)
        assert both_bytes(region, precision, "plain")[0] == w.size * form.storage_bits / 8
        rows = constant_rows(region, require_layer(region))
        assert rows is not None and np.array_equal(rows, w.swapaxes(2, 3).reshape(-1, 128))
        coded = store_weights(rows, require_layer(region), Engine(format=form), 32)
        assert coded is not None and found == pytest.approx(coded.size_bytes)
        sizes.append(found)
    assert sizes[0] == sizes[1]


def test_constants_that_play_the_weights_by_choice_are_stored_as_held() -> None:
    region = product_region("Gemm", (40, 64), (64, 5), constant="a")
    _, simulate = design("bitlet(storage='columns')")
    values = {"b": np.ones((64, 5), np.float32)}
    found = count_layer(region, values, simulate.array, weights=0)
    layer = require_layer(region, 0)
    rows = constant_rows(region, layer)
    assert rows is not None and np.array_equal(rows, region.graph.constants["a"].array())
    coded = store_weights(rows, layer, simulate.array.engine, simulate.array.elements)
    assert coded is not None and found.weight_bytes.sum() == coded.size_bytes


@pytest.mark.parametrize("net", [conv_net, perceptron])
def test_training_reads_frozen_weights_as_columns_and_learned_ones_plain(net: Any) -> None:
    draw = np.random.default_rng(0)
    batch = {"x": draw.random((4, 1, 8, 8), dtype=np.float32), "labels": np.arange(4)}

    def moved(storage: Storage, frozen: tuple[str, ...]) -> dict[str, int]:
        array = BitletArray(engine=Engine(format=number_format("fp32")), storage=storage)
        trainer = BitletTrainer(graph=net(4), array=array, frozen=frozen)
        phases = next(iter(trainer.steps([batch]))).phases
        return {name: found.offchip_bytes for name, found in phases.items()}

    assert moved("columns", ()) == moved("plain", ())
    plain, columns = moved("plain", ("w2",)), moved("columns", ("w2",))
    assert columns["forward"] < plain["forward"]
    assert columns["weight gradient"] == plain["weight gradient"]
    # The convolution has a stride: some of its taps are filled up on the way back.
    strided = net is conv_net
    assert (columns["input gradient"] == plain["input gradient"]) is strided


def test_plain_is_the_usual_and_what_is_unknown_is_refused() -> None:
    assert resolve("bitlet(storage='plain')") == resolve("bitlet")
    with pytest.raises(SpecError, match="did you mean 'columns'"):
        resolve("bitlet(storage='colums')")
