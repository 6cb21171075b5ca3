"""Two dense networks on Eyeriss v2, every layer under the best nest that is found.

Models:  layers one after the other, one image; multipliers, memories and energies as described.
Ignores: zeros of images, which the chip skips; the chip's own mappings, which are not published.
Judge:   the published rates, energies and traffic of the whole networks and of three layers.
"""

from __future__ import annotations

from orrery.cost.nest import LOOPS, NestCost, NestProblem
from orrery.errors import SpecError
from orrery.hardware import Architecture, load_architecture
from orrery.mapping.nest import NestFound, best_nest
from orrery.progress import Progress
from orrery.provenance import Basis

from .._frame import Record, compared
from ._layers import ALEXNET, ALEXNET_FC, MOBILENET, Conv, conv_problem
from ._published import V2_MEMORY, V2_NETWORKS, V2_TABLE

#: nests priced per layer at most
BUDGET = 1_000_000
#: least joules times cycles: of nests that are equally fast, joules differ severalfold
OBJECTIVE = "edp"
MESH_NETWORKS: dict[str, tuple[Conv, ...]] = {
    "AlexNet": (*ALEXNET, *ALEXNET_FC), "MobileNet": MOBILENET,
}  # fmt: skip
_NESTS = "our nests of least joules times seconds, not the chip's"
_TABLES = (
    "without off-chip memory; energies of other chips, most taken over from v1, and in no table "
    "the clock network and control"
)
_LIMITED = {
    "AlexNet": "dense layers wait for the off-chip memory of the limited case here; the chip also "
    "skips zeros of images",
}


def mesh_records(progress: Progress) -> tuple[Record, ...]:
    """Return both networks beside what is published of them."""
    chip = load_architecture("eyeriss-v2", loops=tuple(LOOPS))
    found: dict[NestProblem, NestCost] = {}
    records: list[Record] = []
    for name, layers in MESH_NETWORKS.items():
        costs = {}
        for done, layer in enumerate(layers):
            progress.step(f"nests of {name} on Eyeriss v2", done, len(layers))
            problem = conv_problem(layer, 1)
            if problem not in found:
                found[problem] = _best(problem, layer, chip)
            costs[layer.name] = found[problem]
        records += _records(name, layers, costs)
    records.append(Record(
        name="Eyeriss v2: sparse AlexNet and sparse MobileNet", unit="", published=None, ours=None,
        basis=Basis.ESTIMATED, source=V2_TABLE, status="not reproducible",
        note="which weights and images are zero, layer by layer, is not published",
    ))  # fmt: skip
    return tuple(records)


def _best(problem: NestProblem, layer: Conv, chip: Architecture) -> NestCost:
    found = best_nest(problem, chip, OBJECTIVE, most=BUDGET)
    if not isinstance(found, NestFound):
        raise SpecError(f"{layer.name} on {chip.name}", found=str(found), wanted="a nest that fits",
                        fix="enlarge a memory")  # fmt: skip
    return found.cost


def _records(name: str, layers: tuple[Conv, ...], costs: dict[str, NestCost]) -> list[Record]:
    paper = V2_NETWORKS[name]
    inside_j = {layer: sum(c.energy_j for c in cost.charges if c.resource != "dram")
                for layer, cost in costs.items()}  # fmt: skip
    moved = {layer: float(cost.cost.offchip_bytes or 0) for layer, cost in costs.items()}
    said = [
        ("inferences per second", "", paper.per_s, 1 / sum(c.latency_s for c in costs.values()),
         V2_MEMORY, _LIMITED.get(name, "")),
        ("inferences per joule", "", paper.per_j, 1 / sum(inside_j.values()), V2_MEMORY, _TABLES),
        ("off-chip traffic", "bytes", paper.dram_mb * 1e6, sum(moved.values()), V2_MEMORY, ""),
    ]  # fmt: skip
    if paper.conv_mb is not None:
        said.append((
            "off-chip traffic of convolutions", "bytes", paper.conv_mb * 1e6,
            sum(moved[layer.name] for layer in layers if not layer.name.startswith("fc")),
            V2_TABLE, "tensors cross little more than once, where the chip fetches some again",
        ))  # fmt: skip
    said += [
        (f"{layer.name}: 10^9 operations/J", "", paper.per_layer[layer.name],
         2 * layer.macs / inside_j[layer.name] / 1e9, V2_TABLE, _TABLES)
        for layer in layers if layer.name in paper.per_layer
    ]  # fmt: skip
    return [
        compared(f"Eyeriss v2, {name}: {what}", unit, published=published, ours=ours,
                 basis=Basis.ESTIMATED, source=source, tolerance=0.2,
                 note="; ".join(part for part in (_NESTS, why) if part))
        for what, unit, published, ours, source, why in said
    ]  # fmt: skip
