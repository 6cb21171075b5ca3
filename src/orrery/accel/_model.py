"""The cost model that the convolution designs share: cycles and traffic in, `Cost` out.

Models:  latency = max(array cycles / clock, off-chip bytes / memory bandwidth); the array's cycles
         and the traffic come from the design.
Ignores: reconfiguration, the host's calls, memory refresh and page misses; sparsity (the designs
         are dense, so data statistics change nothing); schedules (a design has one).
Judge:   loop nests that count, in tests/accel.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Protocol

from orrery.cost import Charge, Cost, Refusal
from orrery.graph import Region, Statistics
from orrery.hardware import Device
from orrery.plan import KernelSchedule
from orrery.provenance import Source

from ._convolution import Convolution, read_convolution


@dataclass(frozen=True, slots=True, kw_only=True)
class Work:
    """What one convolution takes on an array.

    Attributes
    ----------
    cycles : of the array, stalls for its own ports included
    macs_performed : multiplier operations issued, idle lanes and padding included
    offchip_bytes : read and written, repeated reads included
    """

    cycles: int
    macs_performed: int
    offchip_bytes: int


class Dataflow(Protocol):
    """A design's arithmetic of cycles."""

    def limits(self, sizes: Convolution) -> str | None:
        """Return why the design cannot run it, or None."""
        ...

    def work(self, sizes: Convolution) -> Work:
        """Count cycles, MACs and bytes."""
        ...


@dataclass(frozen=True, slots=True, kw_only=True)
class Power:
    """Power of a whole board, off-chip memory included, while a design runs."""

    power_w: float
    device: Device
    source: Source


@dataclass(frozen=True, slots=True, kw_only=True)
class ConvolutionCost:
    """Prices single convolutions on an FPGA configured with one design.

    Energy is known only on the very board whose power was published; elsewhere it is None.
    """

    name: str
    clock_hz: float
    dataflow: Dataflow
    power: Power | None = None

    def refuses(self, region: Region, device: Device) -> Refusal | None:
        """Return why the region cannot be priced there, or None."""
        if device.kind != "fpga":
            return Refusal(reason=f"{self.name} configures an fpga; {device.name} is {device.kind}")
        sizes = read_convolution(region)
        reason = sizes if isinstance(sizes, str) else self.dataflow.limits(sizes)
        return None if reason is None else Refusal(reason=f"{self.name}: {reason}")

    def cost(
        self,
        region: Region,
        device: Device,
        schedule: KernelSchedule | None = None,
        statistics: Statistics | None = None,
    ) -> Cost:
        """Price one convolution; `schedule` and `statistics` change nothing (dense, one schedule).

        Raises
        ------
        ValueError : the region is one that `refuses` refuses
        """
        del schedule, statistics
        sizes = read_convolution(region)
        if isinstance(sizes, str):
            raise ValueError(f"{self.name}: {sizes}; ask `refuses` first")
        work = self.dataflow.work(sizes)
        # A stride may skip rows, but the memory port streams whole tensors.
        traffic = max(work.offchip_bytes, sizes.tensor_bytes)
        latency_s = work.cycles / self.clock_hz
        if device.offchip.bandwidth_bytes_per_s is not None:
            latency_s = max(latency_s, traffic / device.offchip.bandwidth_bytes_per_s)
        charges = self._charges(latency_s, device)
        return Cost(
            latency_s=latency_s, offchip_bytes=traffic, charges=charges,
            energy_j=sum(c.energy_j for c in charges) if charges else None,
            peak_bytes={device.offchip.name: sizes.tensor_bytes}, macs_nominal=sizes.macs,
            macs_performed=work.macs_performed,
        )  # fmt: skip

    def _charges(self, latency_s: float, device: Device) -> tuple[Charge, ...]:
        if self.power is None or device != self.power.device:
            return ()
        return (
            Charge(
                resource=device.name, action="clock cycle of the whole board",
                count=math.ceil(latency_s * self.clock_hz),
                energy_j_each=self.power.power_w / self.clock_hz, source=self.power.source,
            ),
        )  # fmt: skip
