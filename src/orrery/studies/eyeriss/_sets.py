"""What the study's records say of the engine's error: reference sets of the chip and the figure."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from orrery.cost.validation import ValidationRow, ValidationSet, measured_set

from .._frame import Record
from ._layers import ALEXNET, ALEXNET_FC, VGG16
from ._mesh import MESH_NETWORKS
from ._others import JOUPPI, WIDTH
from ._plain import BUDGET, PlainLayer
from ._published import FIGURE_10, TABLE_5, TPU, TPU_CNN, V2_MEMORY, V2_NETWORKS, V2_TABLE

#: layers of the chip -> multiplications of the batch that was measured
_CHIP = {f"AlexNet {layer.name}": 4 * layer.macs for layer in ALEXNET} | {
    f"VGG-16 {layer.name}": 3 * layer.macs for layer in VGG16
}
#: layers of the figure, 16 images
_FIGURE = {layer.name: 16 * layer.macs for layer in (*ALEXNET, *ALEXNET_FC)}

_MAPPINGS = "AlexNet's mappings from the paper's table, VGG-16's inferred; batches of 4 and 3"
_OWN = "our nests, not the chip's"
_NESTS = (
    "convolutions of AlexNet and VGG-16, batches of 4 and 3; the catalogue's chip as it is, "
    f"fastest nests, of equally fast ones those of least energy, {BUDGET:,} priced a layer at most"
)
_NO_MEMORY = "without off-chip memory"
_GIVEN = "mappings given by hand"
_OVERLAPPED = f"{_GIVEN}; all off-chip data in time, as the published column has it"
_RUNS = "images and results stored as runs, with the zeros that are published; no padding"
#: what else the sets under the chip's mappings rest on
_DOUBTED = (
    "; AlexNet's mappings from memory, unconfirmed, and three figures of VGG-16 unsure in the "
    "transcription"
)
#: column of the records -> name, quantity, unit, what is changed, covers, explained
_CHIP_SETS = {
    "processing": (
        "processing", "latency", "s", _OVERLAPPED, _MAPPINGS,
        "ours lacks what begins and ends a pass beside its filters: first images and last sums on "
        "their way through queues and pipelines, and 5 ms of AlexNet CONV2's 39; not published"),
    "in all": (
        "total", "latency", "s", f"{_GIVEN}; {_RUNS}", _MAPPINGS,
        "that of processing; VGG-16's last blocks also wait longer than their images and results "
        "take on the link as runs, AlexNet's CONV1 shorter: which transfers still overlap is not "
        "published"),
    "power": (
        "power", "power", "W", _OVERLAPPED + "; multipliers gated on published zeros", _MAPPINGS,
        "every layer lacks 40 to 160 mW. Clock network and control have 30 mW here; the paper's "
        "breakdown leaves them 45 % of the chip's power or more (arithmetic below 10 %, data up to "
        "45 %), and prints no watts. They weigh most where much time goes by without work"),
    "DRAM": (
        "run-length-traffic", "off-chip traffic", "bytes",
        f"{_GIVEN}; {_RUNS}", _MAPPINGS,
        "results whose zeros are not published count whole; one inferred tile (VGG-16 CONV1-2) "
        "fetches images more often than the chip did"),
    "buffer": (
        "on-chip-traffic", "on-chip traffic", "bytes", _GIVEN, "AlexNet's mappings from the "
        "paper's table, 4 images; VGG-16's were inferred from this column and are no check",
        "CONV3: the table's channels per pass do not make the published traffic"),
}  # fmt: skip
_V2_RESTS = (
    "the catalogue's energies are other chips', most taken over from v1, and the clock network and "
    "control are in no table; the chip also skips zeros of images, which are not published"
)


def eyeriss_sets(
    records: Sequence[Record],
    given: Mapping[str, tuple[float, float]],
    plain: Mapping[str, PlainLayer],
) -> tuple[ValidationSet, ...]:
    """Return the sets that these records make up; none of a kind that has no records.

    Parameters
    ----------
    given : layer of the chip -> published seconds in all, and the engine's under the chip's
        mapping on the catalogue's chip as it is
    plain : layer of the chip as the engine prices it on the catalogue's chip
    """
    known = {record.name: record for record in records if record.status != "not reproducible"}
    found = [
        *_plain_sets(plain),
        _chip_set(
            "own-mappings", "latency", "s", _GIVEN, _MAPPINGS,
            "images and results cross the link whole, where the chip stores runs of zeros (AlexNet "
            "CONV5 most); what begins and ends a pass beside its filters is not published",
            [ValidationRow(name=name, reference=paper, ours=ours, operations=_CHIP[name])
             for name, (paper, ours) in given.items()],
        ),
    ]  # fmt: skip
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
                covers="AlexNet, 16 images, least energy; of the figure's bars that of DRAM: those "
                "of multipliers and registers follow from the number of multiplications",
                adapted="energies relative to a multiplication's, an array made for the figure; "
                "no joules of a chip",
                explained="nests of less energy in all move other shares off chip",
            ))  # fmt: skip
    return (*found, *_tpu_sets(known), *_mesh_sets(known))


def _plain_sets(plain: Mapping[str, PlainLayer]) -> list[ValidationSet]:
    """Return time, energy and off-chip traffic of the catalogue's chip under our own nests."""
    said = (
        ("latency", "s", _OWN, lambda one: (one.measured.total_ms / 1e3, one.cost.latency_s),
         "the chip's mappings were chosen for energy, by a search of its authors; ours for time: "
         "VGG-16's first three blocks keep more channels to a pass here, so that fewer sums go to "
         "the buffer and back (see eyeriss-silicon-own-mappings for the same description under "
         "the chip's own mappings). Images and results cross the link whole, where the chip "
         "stores runs of zeros"),
        ("energy", "J", f"{_OWN}, {_NO_MEMORY}", lambda one: (one.measured_j, one.energy_j),
         "measured power times measured time, of the chip alone. Ours lacks the clock network, "
         "which is in no table and takes energy all the time: most where the chip's own nests "
         "take longer than ours. It counts multiplications by zeros, which the chip gates, and is "
         "of the fastest nests, where the chip's mappings were chosen for energy"),
        ("off-chip traffic", "bytes", _OWN,
         lambda one: (one.measured.dram_mb * 1e6, float(one.cost.cost.offchip_bytes or 0)),
         "the chip stores images and results as runs of zeros, ours as words. Ours are the fastest "
         "nests: filters, which come while others are used, are fetched again rather than waited "
         "for, where the chip's mappings were chosen for energy"),
    )  # fmt: skip
    return [
        measured_set(
            f"eyeriss-silicon-{quantity.replace(' ', '-')}",
            [ValidationRow(name=name, reference=value(one)[0], ours=value(one)[1],
                           operations=_CHIP[name]) for name, one in plain.items()],
            study="eyeriss", quantity=quantity, unit=unit, against="silicon",
            architecture="eyeriss-v1", dataflow="row-stationary", operators=("Conv",), bits=(16,),
            covers=_NESTS, reserve=reserve, explained=explained, source=TABLE_5,
        )
        for quantity, unit, reserve, value, explained in said
    ]  # fmt: skip


def _tpu_sets(known: Mapping[str, Record]) -> list[ValidationSet]:
    """Return the points of the TPU's roofline; none of them is of a network's layers."""
    found = []
    for name, points, operators, adapted, covers, explained in (
        ("tpu-silicon-latency", TPU, ("MatMul", "Gemm"),
         "one product made up for each network; none of its layers",
         "perceptrons and LSTMs, each as one wide product with the network's batch",
         "a bound by the bandwidth of weights; what vector operations, small layers and the host "
         "take is not published by layer (LSTM1 most)"),
        ("tpu-silicon-convolution", TPU_CNN, ("Conv",),
         "ours is the roofline of peak and bandwidth, no nest; none of a network's layers",
         "convolutional networks by their intensity",
         "CNN1 is far below its roofline: shallow convolutions fill half of the array, dense "
         "layers wait for weights; neither is published by layer"),
    ):  # fmt: skip
        rows = [
            ValidationRow(name=network, reference=1 / tops.published, ours=1 / tops.ours,
                          operations=intensity * WIDTH**2)
            for network, (intensity, _) in points.items()
            if (tops := known.get(f"TPU v1 {network}: 10^12 operations/s"))
            and tops.published
            and tops.ours
        ]  # fmt: skip
        if rows:
            found.append(measured_set(
                name, rows, study="eyeriss", quantity="latency", unit="s per 10^12 operations",
                against="silicon", architecture="tpu-v1", dataflow="weight-stationary",
                operators=operators, bits=(8,), adapted=adapted, covers=covers,
                explained=explained, source=f"{JOUPPI}, from memory, unconfirmed",
            ))  # fmt: skip
    return found


def _mesh_sets(known: Mapping[str, Record]) -> list[ValidationSet]:
    """Return time and energy of Eyeriss v2: whole networks, and the layers that are published."""
    found = []
    sizes = [layer.macs for layers in MESH_NETWORKS.values() for layer in layers]
    for kind, unit, column, reserve, explained in (
        ("latency", "s", "inferences per second", f"{_OWN}, whole networks",
         "AlexNet's dense layers wait for the off-chip memory of the limited case, which the "
         "catalogue has; zeros of images, which the chip skips, are not published"),
        ("energy", "J", "inferences per joule", f"{_OWN}, whole networks, {_NO_MEMORY}",
         _V2_RESTS),
    ):  # fmt: skip
        rows = [
            ValidationRow(name=name, reference=1 / rate.published, ours=1 / rate.ours,
                          operations=sum(layer.macs for layer in layers))
            for name, layers in MESH_NETWORKS.items()
            if (rate := known.get(f"Eyeriss v2, {name}: {column}")) and rate.published and rate.ours
        ]  # fmt: skip
        if rows:
            found.append(_mesh_set(
                kind, rows, kind, unit, reserve, explained, V2_MEMORY,
                ("Conv", "depthwise Conv", "MatMul", "Gemm"),
                "two dense networks as a whole, one image, our nests of least joules times seconds",
                layers=(min(sizes), max(sizes)),
            ))  # fmt: skip
    for kind, operator, depthwise in (("convolution", "Conv", False),
                                      ("depthwise", "depthwise Conv", True)):  # fmt: skip
        rows = [
            ValidationRow(name=f"{net} {layer.name}", operations=layer.macs,
                          reference=2e-9 * layer.macs / rate.published,
                          ours=2e-9 * layer.macs / rate.ours)
            for net, layers in MESH_NETWORKS.items() for layer in layers
            if layer.name in V2_NETWORKS[net].per_layer
            and (layer.groups == layer.read) is depthwise
            and (rate := known.get(f"Eyeriss v2, {net}: {layer.name}: 10^9 operations/J"))
            and rate.published and rate.ours
        ]  # fmt: skip
        if rows:
            found.append(_mesh_set(
                f"{kind}-energy", rows, "energy", "J", f"{_OWN}, {_NO_MEMORY}", _V2_RESTS, V2_TABLE,
                (operator,), "layers whose operations per joule are published, one image, our "
                "nests of least joules times seconds",
            ))  # fmt: skip
    return found


def _mesh_set(
    name: str, rows: Sequence[ValidationRow], quantity: str, unit: str, reserve: str,
    explained: str, source: str, operators: Sequence[str], covers: str, *,
    layers: tuple[int, int] | None = None,
) -> ValidationSet:  # fmt: skip
    return measured_set(
        f"eyeriss-v2-layout-{name}", rows, study="eyeriss", quantity=quantity, unit=unit,
        against="simulation after layout", architecture="eyeriss-v2", dataflow="row-stationary",
        operators=operators, bits=(8,), covers=covers, reserve=reserve, explained=explained,
        source=source, layers=layers,
    )  # fmt: skip


def _chip_set(
    name: str, quantity: str, unit: str, adapted: str, covers: str, explained: str,
    rows: Sequence[ValidationRow],
) -> ValidationSet:  # fmt: skip
    return measured_set(
        f"eyeriss-silicon-{name}", rows, study="eyeriss", quantity=quantity, unit=unit,
        against="silicon", architecture="eyeriss-v1", dataflow="row-stationary",
        operators=("Conv",), bits=(16,), adapted=adapted, covers=covers, explained=explained,
        source=TABLE_5 + _DOUBTED,
    )  # fmt: skip


def _row(name: str, parts: Sequence[Record], macs: int) -> ValidationRow:
    return ValidationRow(
        name=name, operations=macs, reference=sum(part.published or 0.0 for part in parts),
        ours=sum(part.ours or 0.0 for part in parts),
        note=parts[0].note if len(parts) == 1 and parts[0].status == "differs" else "",
    )  # fmt: skip


def _bars(known: Mapping[str, Record], dense: bool) -> list[ValidationRow]:
    """Return the energy of DRAM of the layers that were priced."""
    return [
        _row(name, [record], macs) for name, macs in _FIGURE.items()
        if name.startswith("fc") is dense
        and (record := known.get(f"{name}: DRAM energy (10^9 MACs)"))
    ]  # fmt: skip
