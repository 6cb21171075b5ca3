"""Plans made by a rule of three lines, for sessions that are judged without the real planner."""

from __future__ import annotations

from collections.abc import Callable

from orrery.offload_plan import (
    OffloadPlan,
    OffloadPlanner,
    PlannedRead,
    PlannedTensor,
    SavedTensor,
    StepProfile,
    step_digest,
)


def by_rule(
    chosen: Callable[[SavedTensor], bool],
    *,
    packed: bool = False,
    ahead: int = 4,
    waiting_bytes: int = 1 << 60,
) -> OffloadPlanner:
    """Return a planner that offloads what a rule chooses; its predictions mean nothing."""

    def plan(profile: StepProfile) -> OffloadPlan:
        tensors = tuple(
            PlannedTensor(
                name=tensor.name,
                size_bytes=tensor.size_bytes,
                action="offload" if chosen(tensor) else "keep",
                waiting_bytes=waiting_bytes,
                packed=packed and tensor.packed_bytes is not None,
                moved_bytes=tensor.stored_bytes if chosen(tensor) else 0,
            )
            for tensor in profile.tensors
        )
        gone = sorted(
            (tensor for tensor in profile.tensors if chosen(tensor)), key=lambda t: t.needed_s
        )
        plain_s = profile.forward_s + profile.backward_s
        return OffloadPlan(
            step=step_digest(profile), name=profile.name, tensors=tensors,
            reads=tuple(
                PlannedRead(
                    name=tensor.name, after=gone[i - ahead].name if i >= ahead else None
                ) for i, tensor in enumerate(gone)
            ), ahead_bytes=0, ahead_tensors=ahead, limit_bytes=profile.limit_bytes, peak_bytes=0,
            moved_bytes=sum(t.moved_bytes for t in tensors), plain_s=plain_s, step_s=plain_s,
            write_end_s=0.0, forward_stall_s=0.0, drain_s=0.0, backward_stall_s=0.0,
            recompute_s=0.0, io_s=0.0, hidden_share=None, method="a rule of a test",
        )  # fmt: skip

    return plan


def everything(**options: int | bool) -> OffloadPlanner:
    """Return a planner that offloads every tensor."""
    return by_rule(lambda tensor: True, **options)  # type: ignore[arg-type]
