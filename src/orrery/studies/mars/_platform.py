"""What the study maps onto what: networks, designs, settings, and what is published about them.

The paper's bandwidths, design parameters and per-network results are not public; the catalogue's
``aws-f1`` says where each of its numbers is from. Nothing here was chosen to meet a figure.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

from orrery.accel import resolve
from orrery.cost import CostModel, roofline
from orrery.hardware import System, load_system

#: library name -> as the paper calls it
NETWORKS = {
    "alexnet": "AlexNet", "vgg16": "VGG-16", "resnet34": "ResNet-34", "resnet101": "ResNet-101",
    "wide_resnet50_2": "WRN-50-2",
}  # fmt: skip

#: Latency reductions in per cent. The mean is from the abstract (arXiv 2307.12234), least and most
#: from a summary of the paper.
CLAIMS = {"mean": 32.2, "least": 10.1, "most": 46.6}

#: Convolutions (projections included) and 10⁶ parameters of the public architectures.
ARCHITECTURES: Mapping[str, tuple[int, float]] = {
    "alexnet": (5, 61.1), "vgg16": (13, 138.4), "resnet34": (36, 21.8), "resnet101": (104, 44.5),
    "wide_resnet50_2": (53, 68.9),
}  # fmt: skip

#: Numbers of FPGAs that a set may have.
SIZES = (1, 2, 4, 8)

#: kind -> the design that the platform offers of it
DESIGNS = {
    "tiled": "tiled(tm=64, tn=7, tr=13, tc=13)",
    "systolic": "systolic(rows=32, cols=32)",
    "winograd": "winograd(tile=2)",
}

#: What takes the place of the platform's design of the same kind, one at a time.
DESIGN_SWEEP: tuple[tuple[str, str], ...] = (
    ("systolic", "systolic(rows=16, cols=16)"),
    ("systolic", "systolic(rows=16, cols=64)"),
    ("systolic", "systolic(rows=64, cols=16)"),
    ("systolic", "systolic(rows=64, cols=64, vector=1)"),
    ("tiled", "tiled(tm=32, tn=7, tr=13, tc=13)"),
    ("tiled", "tiled(tm=64, tn=7, tr=7, tc=7)"),
    ("tiled", "tiled(tm=64, tn=7, tr=26, tc=26)"),
    ("winograd", "winograd(tile=4, pm=8, pn=8)"),
    ("winograd", "winograd(tile=2, pm=8, pn=8)"),
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Effort:
    """How much of the study is done.

    Attributes
    ----------
    factors : of link bandwidths, for the sweep over all links
    apart : factors for the sweeps over the host's links and over the others
    swept : how many designs of the sweep
    """

    networks: tuple[str, ...]
    factors: tuple[float, ...]
    apart: tuple[float, ...]
    swept: int

    @classmethod
    def at(cls, scale: float) -> Effort:
        """Return what a scale means; 1 is everything."""
        names = tuple(NETWORKS)
        if scale >= 1:
            factors = (0.125, 0.25, 0.5, 1.0, 2.0, 4.0, 8.0)
            return cls(networks=names, factors=factors, apart=(0.25, 1.0, 4.0),
                       swept=len(DESIGN_SWEEP))  # fmt: skip
        return cls(
            networks=names[: max(1, round(len(names) * scale))], factors=(0.25, 1.0, 4.0),
            apart=(), swept=max(1, round(len(DESIGN_SWEEP) * scale)),
        )  # fmt: skip


def platform() -> System:
    """Return the eight FPGAs, each configurable with one of three designs."""
    return with_designs(load_system("aws-f1", check_design=resolve), tuple(DESIGNS.values()))


def with_designs(system: System, designs: Sequence[str]) -> System:
    """Return a system whose devices can be configured with other designs."""
    devices = tuple(replace(device, designs=tuple(designs)) for device in system.devices)
    return replace(system, devices=devices)


def models_of(designs: Sequence[str]) -> dict[str, CostModel]:
    """Return the cost models of designs, and of what devices do themselves."""
    return {"": roofline, **{design: resolve(design).cost for design in designs}}
