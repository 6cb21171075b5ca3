"""What `nests.json` holds."""

from __future__ import annotations

from dataclasses import dataclass, field

from orrery.plan import KernelSchedule


@dataclass(frozen=True, slots=True, kw_only=True)
class LayerNest:
    """One layer with the nest that was found for it.

    Attributes
    ----------
    schedule : the nest; None where nothing fits, as `reason` says
    operations : multiply-accumulates (of other operators: steps) of the layer
    energy_j : None where a price is not known
    gap : share by which a better nest could be less; 0 where none is
    held_up_by : the link or unit that most cycles go to
    fused : element-wise operators that its results pass on their way out
    kept_roles : of its operands that live on chip while it runs
    kept_tensors : what its tail reads besides that lives on chip
    rows : of a tile of its results; 0: all at once
    stage : of nests that were sought together, the layer that it belongs to
    """

    layer: str
    operator: str
    schedule: KernelSchedule | None
    reason: str = ""
    operations: int | None = None
    cycles: int | None = None
    latency_s: float | None = None
    energy_j: float | None = None
    offchip_bytes: int | None = None
    utilisation: float | None = None
    gap: float | None = None
    held_up_by: str = ""
    fused: tuple[str, ...] = ()
    kept_roles: tuple[str, ...] = ()
    kept_tensors: tuple[str, ...] = ()
    rows: int = 0
    stage: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class KeptTensor:
    """A tensor that stays on chip from the layer that makes it to one that reads it.

    Attributes
    ----------
    written : whether it goes off chip as well
    """

    tensor: str
    maker: str
    until: str
    size_bytes: int
    written: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class NestFile:
    """What `nests.json` holds.

    Attributes
    ----------
    structure : digest of the network's structure
    left_out : layer -> why it has no loop nest; it is in no total
    fuse : what was joined: nothing, ``tails``, or ``on-chip``
    kept : tensors that stay on chip
    kept_in : the level where they and tiles on their way through a chain do
    """

    model: str
    structure: str
    architecture: str
    objective: str
    layers: tuple[LayerNest, ...]
    left_out: dict[str, str] = field(default_factory=dict)
    fuse: str = "none"
    kept: tuple[KeptTensor, ...] = ()
    kept_in: str = ""
