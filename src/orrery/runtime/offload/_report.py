"""What a step moved, and what that cost it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from orrery.units import counted, format_quantity

from ..moving import TransferCounts


@dataclass(frozen=True, slots=True, kw_only=True)
class StepReport:
    """One step of a session.

    Attributes
    ----------
    step : counted from 1
    measured : whether it was a step that is measured, with everything offloaded
    step_s : as long as it took
    waited_s : of that, during which the training thread waited for transfers
    moved : what was moved
    offloaded, kept, forwarded : storages that were written; that stayed by plan; that were needed
        again before they had been written, and never left
    recomputed, recompute_s : storages that were made again, and the seconds that took
    halved, off : storages written with half the bits; the largest difference of an element, as a
        share of the largest element of its tensor
    passed_over : saved tensors that were not looked at further, by the reason
    peak_bytes : the most memory of the process during the step
    remarks : what went otherwise than planned, one sentence each
    """

    step: int
    measured: bool
    step_s: float
    waited_s: float
    moved: TransferCounts
    offloaded: int
    kept: int
    forwarded: int
    recomputed: int = 0
    recompute_s: float = 0.0
    halved: int = 0
    off: float = 0.0
    passed_over: Mapping[str, int] = field(default_factory=dict)
    peak_bytes: int = 0
    remarks: tuple[str, ...] = ()

    @property
    def hidden_share(self) -> float | None:
        """Share of the time of transfers during which the step went on; None without transfers."""
        if not self.moved.busy_s:
            return None
        return max(0.0, 1 - self.waited_s / self.moved.busy_s)

    @property
    def cpu_s_per_gib(self) -> float | None:
        """Processor seconds of the moving threads per GiB moved, either way."""
        moved = self.moved.written_bytes + self.moved.read_bytes
        return self.moved.cpu_s / (moved / 2**30) if moved else None

    @property
    def summary(self) -> str:
        """One line, e.g. ``step 3: 41 tensors, 2.9 GiB written, 2.9 GiB read, 97 % hidden``."""
        parts = [counted(self.offloaded, "tensor")]
        parts += [f"{format_quantity(self.moved.written_bytes, 'bytes')} written"]
        parts += [f"{format_quantity(self.moved.read_bytes, 'bytes')} read"]
        if self.hidden_share is not None:
            parts.append(f"{100 * self.hidden_share:.0f} % hidden")
        if self.recomputed:
            parts.append(
                f"{self.recomputed} made again in {format_quantity(self.recompute_s, 's')}"
            )
        if self.forwarded:
            parts.append(f"{self.forwarded} never left")
        if self.measured:
            parts.append("measured, not planned")
        return f"step {self.step}: " + ", ".join(parts)
