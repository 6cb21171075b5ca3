"""Zeros per significance position of a network's weights."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from statistics import fmean

from orrery.accel.bitlet import BitStatistics, bit_statistics, expected_cycles, merge_statistics
from orrery.errors import SpecError, did_you_mean
from orrery.graph import Constant, Graph
from orrery.progress import SILENT, Progress
from orrery.report import Column, Section, Table, Text

#: what a user writes -> the format that bits are counted in
FORMATS = {"fp32": "fp32", "fp16": "fp16", "bf16": "bf16", "int16": "fixed16", "int8": "fixed8",
           "int4": "fixed4"}  # fmt: skip
_PUBLISHED = 48.6  #: per cent of mantissa bits of trained fp32 networks, authors' slides


def bit_sections(
    graph: Graph, formats: Sequence[str], *, progress: Progress = SILENT
) -> tuple[Section, ...]:
    """Return tables of zero bits of all weights of products, biases left out.

    Parameters
    ----------
    formats : names of `FORMATS`; whole numbers are taken on one symmetric grid a filter

    Raises
    ------
    SpecError : an unknown or no format, weights that are not finite
    """
    for name in formats or ("",):
        if name not in FORMATS:
            raise SpecError(
                "show: formats", found=name or "none", wanted=f"some of {', '.join(FORMATS)}",
                fix=f"correct the name{did_you_mean(name, FORMATS)}",
            )  # fmt: skip
    weights = list(_weights(graph))
    if not weights:
        reason = "The network holds no weights of convolutions or matrix products."
        return (Text(title="Bits", paragraphs=(reason,), tone="warning"),)
    found: dict[str, BitStatistics] = {}
    for done, name in enumerate(formats):
        counts = []
        for number, (tensor, constant, axis) in enumerate(weights):
            progress.step(f"bits in {name}", number + done * len(weights),
                          len(weights) * len(formats))  # fmt: skip
            values = constant.array()
            if constant.type.dtype.startswith("float"):
                values = values.astype("float32", copy=False)
            counts.append(
                bit_statistics(
                    values, FORMATS[name], axis=axis, where=f"weights {tensor!r}", digits=True
                )
            )
        found[name] = merge_statistics(counts)
    return _places(found), _sparsity(found)


def _weights(graph: Graph) -> Iterator[tuple[str, Constant, int]]:
    """Yield constant factors of products, each once: name, value, axis of filters."""
    seen: set[str] = set()
    for node in graph.nodes:
        for index, tensor in enumerate(node.inputs[:3]):
            constant = graph.constants.get(tensor)
            axis = _FILTERS.get((node.operator, index))
            if constant is None or axis is None or tensor in seen:
                continue
            rank = len(constant.type.shape)
            if rank < 2 or constant.type.dtype not in ("float32", "float16", "bfloat16"):
                continue
            seen.add(tensor)
            if node.operator == "Gemm" and node.attributes.get("transB", 0):
                axis = 0
            yield tensor, constant, axis % rank


#: operator, place among its inputs -> axis along which filters lie
_FILTERS = {("Conv", 1): 0, ("ConvTranspose", 1): 1, ("Gemm", 1): 1, ("MatMul", 0): -2,
            ("MatMul", 1): -1, ("LSTM", 1): 1, ("LSTM", 2): 1, ("GRU", 1): 1, ("GRU", 2): 1,
            ("RNN", 1): 1, ("RNN", 2): 1}  # fmt: skip


def _places(found: dict[str, BitStatistics]) -> Table:
    longest = max(len(one.zeros) for one in found.values())
    rows = tuple(
        (place + 1, *(100 * one.shares[place] if place < len(one.zeros) else None
                      for one in found.values()))
        for place in range(longest)
    )  # fmt: skip
    return Table(
        title="Zero bits per significance position",
        columns=(Column.number("position", help="of the magnitude, highest first"),
                 *(Column.number(name, "%") for name in found)),
        rows=rows,
        caption="Position 1 of a floating format is the hidden one, zero only in zeros and "
        "subnormal numbers. Whole numbers: magnitudes on one symmetric grid a filter, -127 to 127 "
        "in int8, which never uses position 1.",
    )  # fmt: skip


def _sparsity(found: dict[str, BitStatistics]) -> Table:
    rows = tuple(
        (
            name, one.values, 100 * fmean(one.shares[1:] or one.shares), 100 * one.lane_sparsity,
            _PUBLISHED if name == "fp32" else None, 100 * one.zero_values / one.values,
            100 * one.small_values / one.values,
            None if one.exponents else expected_cycles(one.shares),
            sum(1 - share for share in one.shares), sum(1 - share for share in one.digit_shares),
            None if one.exponents else expected_cycles(one.digit_shares),
        )
        for name, one in found.items()
    )  # fmt: skip
    return Table(
        title="Bit sparsity of the weights",
        columns=(
            Column(name="format"),
            Column.number("weights"),
            Column.number("zeros of stored bits", "%",
                help="floating: of the fraction alone, 23 bits in fp32; whole numbers: of the "
                "places that a symmetric grid uses, 7 in int8"),
            Column.number("zeros of all lanes", "%",
                help="floating: the hidden one too, 24 bits in fp32; whole numbers: the highest "
                "place too, which a symmetric grid never uses, 8 in int8"),
            Column.number("published", "%",
                help="mantissa sparsity of trained fp32 networks; it counts the hidden one"),
            Column.number("zero values", "%"),
            Column.number("below 1e-5", "%"),
            Column.number("cycles of 64",
                help="expected of a bit-interleaving engine whose bits were independent"),
            Column.number("ones a weight", help="of all bits of the magnitude"),
            Column.number("signed digits a weight",
                          help="digits +1 and -1 of the magnitude in non-adjacent form"),
            Column.number("cycles of 64, signed",
                          help="the same with a lane more, popping signed digits"),
        ),
        rows=rows,
        caption="Published: 48.6 % (authors' slides of Bitlet). Cycles in floating point depend "
        "on activations too and are left out.",
    )  # fmt: skip
