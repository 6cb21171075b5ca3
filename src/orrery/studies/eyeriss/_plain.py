"""The chip's layers as the engine prices them itself: the catalogue's machine, nests of its search.

Models:  every layer on the description of the chip as it is, under the fastest nest (of equally
         fast ones that of least energy) that the search finds within its budget; nothing stands
         apart, streams, is gated or stored as runs of zeros. So is a user's figure of this chip.
Ignores: the mappings that the chip ran (`_chip` has them, on a machine changed for them).
Judge:   the chip's measurements.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from orrery.cost.nest import NestCost, NestProblem
from orrery.errors import SpecError
from orrery.hardware import Architecture
from orrery.mapping.nest import NestFound, best_nest
from orrery.progress import Progress

from ._layers import ALEXNET, VGG16, Conv, conv_problem
from ._published import ALEXNET_MEASURED, VGG_MEASURED, Measured

#: nests priced per layer at most
BUDGET = 10_000_000
#: network, its layers, what was measured, batch
_RAN: tuple[tuple[str, Sequence[Conv], Mapping[str, Measured], int], ...] = (
    ("AlexNet", ALEXNET, ALEXNET_MEASURED, 4), ("VGG-16", VGG16, VGG_MEASURED, 3),
)  # fmt: skip


@dataclass(frozen=True, slots=True, kw_only=True)
class PlainLayer:
    """A layer's cost, and what was measured; joules are the chip's, without off-chip memory."""

    cost: NestCost
    energy_j: float
    measured: Measured

    @property
    def measured_j(self) -> float:
        """Joules of the chip: its power over all of the layer's time."""
        return self.measured.mw * self.measured.total_ms / 1e6


def plain_layers(scale: float, chip: Architecture, progress: Progress) -> dict[str, PlainLayer]:
    """Return the measured layers of both networks; below scale 1 so large a share of each."""
    found: dict[str, PlainLayer] = {}
    priced: dict[NestProblem, NestCost] = {}
    for net, layers, measured, batch in _RAN:
        kept = layers[: max(1, math.ceil(len(layers) * min(scale, 1.0)))]
        for done, layer in enumerate(kept):
            progress.step(f"nests of {net} on Eyeriss", done, len(kept))
            problem = conv_problem(layer, batch, padded=False)
            if problem not in priced:
                one = best_nest(problem, chip, "latency", most=BUDGET, settle=True)
                if not isinstance(one, NestFound):
                    raise SpecError(f"{layer.name} on {chip.name}", found=str(one),
                                    wanted="a nest that fits", fix="enlarge a memory")  # fmt: skip
                priced[problem] = one.cost
            cost = priced[problem]
            found[f"{net} {layer.name}"] = PlainLayer(
                cost=cost, measured=measured[layer.name],
                energy_j=sum(c.energy_j for c in cost.charges
                             if c.resource != chip.levels[0].name),
            )  # fmt: skip
    return found
