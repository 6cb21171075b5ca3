"""The assumed constants that a figure rests on: nothing assumed may pass as known."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from orrery.provenance import Basis

if TYPE_CHECKING:
    from orrery.hardware import Device, System
    from orrery.plan import Plan

__all__ = ["doubts"]


def doubts(used: Sequence[Device], system: System, plan: Plan) -> str:
    """Return a sentence that names them, or an empty one."""
    assumed: dict[str, None] = {}
    links = {name for transfer in plan.transfers for route in transfer.links for name in route}
    records: list[tuple[str, object]] = []
    for device in used:
        records += [(device.kind, device), (f"{device.kind} arithmetic", device.compute)]
        records += [(memory.name, memory) for memory in device.memories]
    records += [("links", link) for link in system.links if link.name in links]
    for label, record in records:
        for field, origin in record.sources.items():  # type: ignore[attr-defined]
            if origin.basis is Basis.ASSUMED or "unconfirmed" in str(origin):
                mark = "unconfirmed" if "unconfirmed" in str(origin) else "assumed"
                assumed[f"{label} {field} ({mark})"] = None
    if not assumed:
        return ""
    listed = list(assumed)
    more = f" and {len(listed) - 6} more" if len(listed) > 6 else ""
    return f"rests on {', '.join(listed[:6])}{more}"
