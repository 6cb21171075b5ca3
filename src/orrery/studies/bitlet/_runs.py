"""The parts of the study that need networks: arrays of several sizes, trained weights, accuracy."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from orrery.accel.bitlet import (
    BitletArray,
    BitletCost,
    Engine,
    bit_statistics,
    bitlet,
    count_layer,
    merge_statistics,
    number_format,
)
from orrery.api import ModelOptions, TaskOptions, score
from orrery.errors import SpecError
from orrery.graph import Graph, build_model, read_safetensors, with_weights
from orrery.progress import Progress
from orrery.provenance import Basis
from orrery.report import Column, Table, format_value

from .._frame import Record, compared, shared_data
from ._published import CASES, PAPER, SCALING

_PRODUCTS = ("Conv", "Gemm", "MatMul")
_FORMATS = ("fp32", "fp16", "fixed16", "fixed8", "fixed4")


def scaling_records(scale: float, progress: Progress) -> list[Record]:
    """Return speed-ups of 16 and 32 elements over 8, memory included."""
    records: list[Record] = []
    networks = dict(list(SCALING.items())[: 1 if scale < 1 else None])
    for done, (name, (title, *published)) in enumerate(networks.items()):
        progress.step("sizes of the array", done, len(networks))
        case = next(case for case in CASES if case.name == title)
        graph, seconds = build_model(name), []
        for elements in (8, 16, 32):
            design = bitlet(precision=f"fixed{case.bits}", elements=elements)
            if not isinstance(design.cost, BitletCost):
                raise TypeError("bitlet without its cost model")
            cost = replace(design.cost, zeros=case.zeros)
            seconds.append(sum(
                cost.cost(region, design.device).latency_s for region in graph.regions()
                if region.members[0].operator in _PRODUCTS
            ))  # fmt: skip
        records += [
            compared(
                f"{title}: {elements} elements over 8", "x", published=print_,
                ours=seconds[0] / took, basis=Basis.ESTIMATED, source=f"{PAPER}, figure 11",
                tolerance=0.15, note="products one after another in lockstep, batch 1, memory of "
                "25.6 GB/s included, bits with the published sparsity",
            )
            for elements, print_, took in zip((16, 32), published, seconds[1:])
        ]  # fmt: skip
    return records


@dataclass(frozen=True, slots=True, kw_only=True)
class Trained:
    """Files of a trained network.

    Attributes
    ----------
    weights : of ResNet-20
    data : images of 32 x 32 with labels; None: nothing that needs them
    """

    weights: Path
    data: Path | None = None

    def graph(self) -> Graph:
        """Return ResNet-20 with the weights."""
        held = read_safetensors(self.weights)
        return with_weights(build_model("resnet20"), held, where=self.weights.name)


def trained_files(weights: Path | None, data: Path | None) -> Trained | None:
    """Return the files given, else those beside the checkout, else None.

    Raises
    ------
    SpecError : data without weights
    """
    if weights is not None:
        return Trained(weights=weights, data=data)
    if data is not None:
        raise SpecError("study bitlet: --data", found=f"{data} alone", wanted="--weights as well",
                        fix="give the weights that the data are for")  # fmt: skip
    folder = shared_data("cifar10")
    if folder is None:
        return None
    return Trained(weights=folder / "resnet20.safetensors", data=folder / "test2000.npz")


def trained_records(files: Trained | None, progress: Progress) -> list[Record]:
    """Return figures of a trained network's weights; none where there is none."""
    if files is None:
        return []
    graph = files.graph()
    regions = [r for r in graph.regions() if r.members[0].operator in _PRODUCTS]
    held = [graph.constants[r.members[0].inputs[1]].array() for r in regions]
    share = merge_statistics(bit_statistics(w, "fp32") for w in held).lane_sparsity
    records = [compared(
        "trained ResNet-20, fp32: zeros of the mantissa, hidden one counted", "%", published=48.6,
        ours=100 * share, basis=Basis.MEASURED, source="authors' slides, ChinaSys",
        tolerance=0.1 / 48.6, note="without the hidden one it is 50.7 %",
    )]  # fmt: skip
    for done, bits in enumerate((16, 8, 4)):
        progress.step("trained weights", done, 3)
        form = number_format(f"fixed{bits}")
        array = BitletArray(engine=Engine(format=form))
        cost = BitletCost(name="bitlet", array=array)
        counted = expected = macs = 0.0
        for region in regions:
            zeros = {n: np.zeros(graph.type(n).sizes, np.float32) for n in region.inputs}
            found = count_layer(region, zeros, array)
            counted += found.element_cycles
            expected += cost.expected(region).element_cycles
            macs += found.macs
        records.append(compared(
            f"trained ResNet-20, {bits} bits: cycles of 64 MACs", "", ours=64 * counted / macs,
            basis=Basis.SIMULATED, source="weights trained on CIFAR-10, not of the paper",
            judge="closed form on the weights' zeros per place", judge_value=64 * expected / macs,
            tolerance=0.05,
        ))  # fmt: skip
    return records


def accuracy_tables(files: Trained | None, scale: float, progress: Progress) -> list[Table]:
    """Return how often a trained network is right in each format; from scale 1 on."""
    if files is None or files.data is None or scale < 1:
        return []
    images = min(2000, round(100 * scale))
    rows = accuracy_rows(files, images, _FORMATS, progress)
    return [Table(
        title=f"ResNet-20 on up to {images} images of {files.data.name}", rows=rows,
        columns=(Column(name="computed"), Column(name="right")),
        caption="Trained weights, every product on the engine in its function bit for bit. The "
        "paper's accuracies are of other networks and data.",
    )]  # fmt: skip


def accuracy_rows(
    files: Trained, images: int, formats: Sequence[str], progress: Progress
) -> tuple[tuple[str, str | None], ...]:
    """Return per format the share of images that the trained network recognises."""
    page = score(
        "resnet20",
        options=ModelOptions(batch=min(100, images), weights=str(files.weights)),
        progress=progress,
        task=TaskOptions(
            data=str(files.data), samples=images, mean="0.485,0.456,0.406",
            std="0.229,0.224,0.225",
            numerics=tuple(f"bitlet(precision={name!r})" for name in formats),
        ),
    )  # fmt: skip
    metrics = () if page.scorecard is None else page.scorecard.metrics
    return tuple(
        (f.subject, None if f.value is None else format_value(f.value, f.unit))
        for metric in metrics for f in metric.figures if f.metric == "top-1 accuracy"
    )  # fmt: skip
