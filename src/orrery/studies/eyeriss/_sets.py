"""What the study's records say of the engine's error: reference sets of the chip and the figure."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from orrery.cost.validation import ValidationRow, ValidationSet, measured_set

from .._frame import Record
from ._layers import ALEXNET, ALEXNET_FC, VGG16
from ._published import FIGURE_10, TABLE_5

__all__ = ["eyeriss_sets"]

#: layers of the chip -> multiplications of the batch that was measured
_CHIP = {f"AlexNet {layer.name}": 4 * layer.macs for layer in ALEXNET} | {
    f"VGG-16 {layer.name}": 3 * layer.macs for layer in VGG16
}
#: layers of the figure, 16 images
_FIGURE = {layer.name: 16 * layer.macs for layer in (*ALEXNET, *ALEXNET_FC)}

_MAPPINGS = "AlexNet's mappings from the paper's table, VGG-16's inferred; batches of 4 and 3"
_CHIP_SETS = {
    "processing": (
        "latency", "s", "data in time and tiles that stream, as the chip has it, not the "
        "catalogue's double buffers; " + _MAPPINGS,
        "waits that are not published (AlexNet CONV2: 5 ms of 39) and, in VGG-16's last block, "
        "transfers that ours hides behind multiplications"),
    "DRAM": (
        "off-chip traffic", "bytes", "runs of zeros as published; " + _MAPPINGS,
        "results whose zeros are not published count whole; one inferred tile (VGG-16 CONV1-2) "
        "fetches images more often than the chip did"),
    "buffer": (
        "on-chip traffic", "bytes", "AlexNet's mappings from the paper's table, 4 images; "
        "VGG-16's were inferred from this column and are no check",
        "CONV3: the table's channels per pass do not make the published traffic"),
}  # fmt: skip


def eyeriss_sets(records: Sequence[Record]) -> tuple[ValidationSet, ...]:
    """Return the sets that these records make up; none of a kind that has no records."""
    known = {record.name: record for record in records if record.status != "not reproducible"}
    found = []
    for column, (quantity, unit, covers, explained) in _CHIP_SETS.items():
        rows = [
            _row(name, [known[f"{name}: {column}"]], macs) for name, macs in _CHIP.items()
            if f"{name}: {column}" in known
        ]  # fmt: skip
        if rows:
            found.append(measured_set(
                f"eyeriss-silicon-{quantity.replace(' ', '-')}", rows, study="eyeriss",
                quantity=quantity, unit=unit, against="silicon", architecture="eyeriss-v1",
                dataflow="row-stationary", operators=("Conv",), bits=(16,), covers=covers,
                explained=explained, source=TABLE_5,
            ))  # fmt: skip
    for kind, operators in (("convolution", ("Conv",)), ("dense", ("Gemm", "MatMul"))):
        rows = _bars(known, kind == "dense")
        if rows:
            found.append(measured_set(
                f"row-stationary-energy-{kind}", rows, study="eyeriss", quantity="energy",
                unit="10^9 MACs", against="a published model", architecture="row-stationary-256",
                dataflow="row-stationary", operators=operators, bits=(16,), source=FIGURE_10,
                covers="AlexNet, 16 images, least energy; multipliers, registers and DRAM, which "
                "the figure shows, not the buffer",
                explained="nests of less energy in all move other shares off chip",
            ))  # fmt: skip
    return tuple(found)


def _row(name: str, parts: Sequence[Record], macs: int) -> ValidationRow:
    return ValidationRow(
        name=name, operations=macs, reference=sum(part.published or 0.0 for part in parts),
        ours=sum(part.ours or 0.0 for part in parts),
        note=parts[0].note if len(parts) == 1 and parts[0].status == "differs" else "",
    )  # fmt: skip


def _bars(known: Mapping[str, Record], dense: bool) -> list[ValidationRow]:
    """Return DRAM, registers and all three parts of the layers that were priced.

    Multipliers alone are no row: their share is the number of multiplications, and exact.
    """
    rows = []
    for name, macs in _FIGURE.items():
        parts = {part: known.get(f"{name}: {part} energy (10^9 MACs)")
                 for part in ("ALU", "DRAM", "RF")}  # fmt: skip
        given = [part for part in parts.values() if part is not None]
        if name.startswith("fc") is dense and len(given) == len(parts):
            rows += [_row(f"{name}: {part}", [record], macs) for part, record in parts.items()
                     if record is not None and part != "ALU"]  # fmt: skip
            rows.append(_row(f"{name}: together", given, macs))
    return rows
