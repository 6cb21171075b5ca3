"""What a user may decide about a search for what leaves memory."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from orrery.settings import require, setting


@dataclass(frozen=True, slots=True, kw_only=True)
class OffloadSearch:
    """Settings of the planner of saved tensors."""

    method: Literal["two_phases", "improved", "exact"] = setting(
        "improved", "two_phases: the published selection alone. improved: several selections, "
        "then each tensor kept, written, packed or made again as is cheapest. exact: then a proof "
        "of how far from the best that may be, and better plans if there are any (needs OR-Tools)."
    )  # fmt: skip
    least_bytes: int = setting(
        2**20, "Smaller tensors stay in memory as long as there is a plan without them."
    )
    usable_share: float = setting(
        1.0, "Share of the room left for saved tensors that the selection fills; the published "
        "program has 0.6."
    )  # fmt: skip
    pack_at_once: bool = setting(
        False, "The first phase already counts what packs as packed, as in the published program."
    )
    pack: bool = setting(True, "Tensors may travel packed, where that was measured.")
    recompute: bool = setting(True, "Tensors may be made again, where that was measured.")
    effort: int = setting(
        160_000, "What the improvement may spend at the most: plans timed, times tensors."
    )
    slack: float = setting(
        2.0, "Bytes read ahead, as a multiple of the least with which the step is as short."
    )
    work: float = setting(
        10.0, "exact: deterministic work units (about seconds of one core) of the solver."
    )
    limit_s: float = setting(
        30.0, "exact: wall-clock seconds; 0: never. Where it strikes, the result depends on the "
        "machine."
    )  # fmt: skip
    seed: int = setting(0, "exact: seed of the solver's random choices.")

    def __post_init__(self) -> None:
        require(
            "offload planner", self,
            method=("two_phases, improved or exact",
                    self.method in {"two_phases", "improved", "exact"}),
            least_bytes=("0 or more", self.least_bytes >= 0),
            usable_share=("above 0, at most 1", 0.0 < self.usable_share <= 1.0),
            effort=("0 or more", self.effort >= 0), slack=("1 or more", self.slack >= 1.0),
            work=("above 0", self.work > 0), limit_s=("0 or more", self.limit_s >= 0),
            seed=("0 or more, below 2^31", 0 <= self.seed < 2**31),
        )  # fmt: skip
