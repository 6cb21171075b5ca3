"""The time of a region on a device whose constants were fitted to measurements.

Models:  overhead + max(MACs / (share of the peak), other operations / (share), off-chip bytes /
         (share)), each class of operators with a share of its own for MACs; classes that no
         measurement was of run at the peak. A region that only looks at memory otherwise takes
         nothing.
Ignores: shapes within a class (edges of tiles, small batches) but for the overhead; what regions
         leave in caches for each other; overlap of regions.
Judge:   never below the roofline, as no share is above 1 (tests); cross validation by network on
         the user's measurements.
"""

from __future__ import annotations

from collections.abc import Mapping

from orrery.graph import Node, Region
from orrery.hardware import Calibration, Device

from .._work import Work, macs_by_type

#: word in the name of an operator -> its class; the first that fits counts
_WORDS = {
    "Conv": "convolution", "MatMul": "matrix-product", "Gemm": "matrix-product",
    "Einsum": "matrix-product", "Attention": "attention", "LSTM": "recurrent", "GRU": "recurrent",
    "RNN": "recurrent",
}  # fmt: skip


def operator_class(node: Node) -> str:
    """Return the class of operators that a node's MACs count under."""
    for word, name in _WORDS.items():
        if word in node.op:
            grouped = name == "convolution" and int(node.attributes.get("group", 1)) > 1
            return "grouped-convolution" if grouped else name
    return "others"


def macs_by_class(region: Region) -> dict[tuple[str, str], int]:
    """Return the MACs of a region by class of operators and element type."""
    found: dict[tuple[str, str], int] = {}
    for node in region.members:
        operations = region.graph.operations(node)
        for dtype, count in macs_by_type(region.graph, node, operations.macs).items():
            key = (operator_class(node), dtype)
            found[key] = found.get(key, 0) + count
    return found


def calibrated_s(
    macs: Mapping[tuple[str, str], int], work: Work, device: Device, calibration: Calibration
) -> float:
    """Return the seconds of a region; every rate it needs must be known."""
    if not (macs or work.others or work.traffic_bytes):
        return 0.0
    compute, bandwidth = device.compute, device.offchip.bandwidth_bytes_per_s
    macs_s = sum(
        count / (compute.macs_per_s[dtype] * calibration.mac_share.get(name, 1.0))
        for (name, dtype), count in macs.items()
    )
    others_s = work.others / compute.others_per_s if compute.others_per_s else 0.0
    traffic_s = work.traffic_bytes / bandwidth if bandwidth else 0.0
    return (calibration.overhead_s or 0.0) + max(
        macs_s,
        others_s / (calibration.others_share or 1.0),
        traffic_s / (calibration.bandwidth_share or 1.0),
    )
