"""What the study's records say of the engine's error: reference sets of the chip and the figure."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from orrery.cost.validation import ValidationRow, ValidationSet, measured_set

from .._frame import Record
from ._layers import ALEXNET, ALEXNET_FC, VGG16
from ._mesh import MESH_NETWORKS
from ._others import JOUPPI, WIDTH
from ._published import FIGURE_10, TABLE_5, TPU, V2_MEMORY

__all__ = ["eyeriss_sets"]

#: layers of the chip -> multiplications of the batch that was measured
_CHIP = {f"AlexNet {layer.name}": 4 * layer.macs for layer in ALEXNET} | {
    f"VGG-16 {layer.name}": 3 * layer.macs for layer in VGG16
}
#: layers of the figure, 16 images
_FIGURE = {layer.name: 16 * layer.macs for layer in (*ALEXNET, *ALEXNET_FC)}

_MAPPINGS = "AlexNet's mappings from the paper's table, VGG-16's inferred; batches of 4 and 3"
_STREAM = "tiles stream while they are used, off-chip data in time"
#: column of the records -> name, quantity, unit, what is changed, covers, explained
_CHIP_SETS = {
    "processing": (
        "processing", "latency", "s", _STREAM, _MAPPINGS,
        "waits that are not published (AlexNet CONV2: 5 ms of 39) and, in VGG-16's last block, "
        "transfers that ours hides behind multiplications"),
    "in all": (
        "total", "latency", "s", _STREAM + " but waited for after processing", _MAPPINGS,
        "an upper end: the chip hides transfers behind processing, most of all AlexNet's; which "
        "is not published"),
    "power": (
        "power", "power", "W", _STREAM + "; multipliers gated on published zeros", _MAPPINGS,
        "every layer lacks 60 to 180 mW: the clock network and control beyond 30 mW are in no "
        "table of energies, and weigh most where much time goes by without work"),
    "DRAM": (
        "off-chip-traffic", "off-chip traffic", "bytes", "", "images and results stored as runs, "
        "with the zeros that are published; " + _MAPPINGS,
        "results whose zeros are not published count whole; one inferred tile (VGG-16 CONV1-2) "
        "fetches images more often than the chip did"),
    "buffer": (
        "on-chip-traffic", "on-chip traffic", "bytes", "", "AlexNet's mappings from the paper's "
        "table, 4 images; VGG-16's were inferred from this column and are no check",
        "CONV3: the table's channels per pass do not make the published traffic"),
}  # fmt: skip


def eyeriss_sets(
    records: Sequence[Record], plain: Mapping[str, tuple[float, float]]
) -> tuple[ValidationSet, ...]:
    """Return the sets that these records make up; none of a kind that has no records.

    Parameters
    ----------
    plain : layer of the chip -> published seconds in all, and the engine's on the catalogue's chip
    """
    known = {record.name: record for record in records if record.status != "not reproducible"}
    found = [_chip_set(
        "latency", "latency", "s", "", _MAPPINGS,
        "the catalogue's chip holds one tile of each operand and waits for the next, where the "
        "chip streams; see the adapted sets for what is left with that",
        [ValidationRow(name=name, reference=paper, ours=ours, operations=_CHIP[name])
         for name, (paper, ours) in plain.items()],
    )]  # fmt: skip
    for column, said in _CHIP_SETS.items():
        rows = [
            _row(name, [known[f"{name}: {column}"]], macs) for name, macs in _CHIP.items()
            if f"{name}: {column}" in known
        ]  # fmt: skip
        if rows:
            found.append(_chip_set(*said, rows))
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
    rows = [
        ValidationRow(name=name, reference=1 / tops.published, ours=1 / tops.ours,
                      operations=intensity * WIDTH**2)
        for name, (intensity, _) in TPU.items()
        if (tops := known.get(f"TPU v1 {name}: 10^12 operations/s"))
        and tops.published
        and tops.ours
    ]  # fmt: skip
    if rows:
        found.append(measured_set(
            "tpu-silicon-latency", rows, study="eyeriss", quantity="latency",
            unit="s per 10^12 operations", against="silicon", architecture="tpu-v1",
            dataflow="weight-stationary", operators=("MatMul", "Gemm"), bits=(8,), source=JOUPPI,
            covers="perceptrons and LSTMs, each as one wide product with the network's batch",
            explained="a bound by the bandwidth of weights; what vector operations, small layers "
            "and the host take is not published by layer (LSTM1 most)",
        ))  # fmt: skip
    rows = [
        ValidationRow(name=name, reference=1 / rate.published, ours=1 / rate.ours,
                      operations=sum(layer.macs for layer in layers))
        for name, layers in MESH_NETWORKS.items()
        if (rate := known.get(f"Eyeriss v2, {name}: inferences per second"))
        and rate.published
        and rate.ours
    ]  # fmt: skip
    if rows:
        found.append(measured_set(
            "eyeriss-v2-layout-latency", rows, study="eyeriss", quantity="latency",
            unit="s", against="simulation after layout", architecture="eyeriss-v2",
            dataflow="row-stationary", operators=("Conv", "depthwise Conv", "MatMul", "Gemm"),
            bits=(8,), source=V2_MEMORY,
            covers="two dense networks as a whole, one image, our nests of least "
            "joules times seconds",
            explained="AlexNet's dense layers wait for the off-chip memory of the limited case, "
            "which the catalogue has; zeros of images, which the chip skips, are not published",
        ))  # fmt: skip
    return tuple(found)


def _chip_set(
    name: str, quantity: str, unit: str, adapted: str, covers: str, explained: str,
    rows: Sequence[ValidationRow],
) -> ValidationSet:  # fmt: skip
    return measured_set(
        f"eyeriss-silicon-{name}", rows, study="eyeriss", quantity=quantity, unit=unit,
        against="silicon", architecture="eyeriss-v1", dataflow="row-stationary",
        operators=("Conv",), bits=(16,), adapted=adapted, covers=covers, explained=explained,
        source=TABLE_5,
    )  # fmt: skip


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
