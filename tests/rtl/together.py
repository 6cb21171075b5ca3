"""Several parts side by side in one circuit, so that a test compiles once."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
from amaranth import Module, Value
from amaranth.lib import wiring
from amaranth.lib.wiring import In

from orrery.rtl import Circuit, Timing, build
from orrery.rtl.parts import Part


class Together(wiring.Component):
    """Every port of part p is the port p_port here."""

    def __init__(self, parts: Mapping[str, Part]) -> None:
        self._parts = dict(parts)
        super().__init__(
            wiring.Signature(
                {
                    f"{name}_{port}": member
                    for name, part in parts.items()
                    for port, member in part.signature.members.items()
                }
            )
        )

    def elaborate(self, platform: object) -> Module:
        m = Module()
        for name, part in self._parts.items():
            m.submodules[name] = part
            for port, member in part.signature.members.items():
                outer, inner = getattr(self, f"{name}_{port}"), getattr(part, port)
                if not member.is_port:
                    wiring.connect(m, wiring.flipped(outer), inner)
                elif member.flow == In:
                    m.d.comb += Value.cast(inner).eq(Value.cast(outer))
                else:
                    m.d.comb += Value.cast(outer).eq(Value.cast(inner))
        return m


def together(parts: Mapping[str, Part], name: str = "together") -> Circuit:
    """Return one circuit of all the parts."""
    return build(
        Together(parts), name=name, parameters={}, summary="Parts side by side.",
        timing=Timing(latency=None, interval=None, rule="as each part says"),
    )  # fmt: skip


def delayed(wanted: np.ndarray, enable: np.ndarray, registers: int) -> tuple[slice, np.ndarray]:
    """Return the rows in which a pipeline shows something, and what: `wanted` by input row."""
    if not registers:
        return slice(0, len(wanted)), wanted
    rows = np.flatnonzero(enable)
    passed = np.concatenate([[0], np.cumsum(enable)[:-1]]).astype(np.int64)
    first = int(rows[registers - 1]) + 1
    return slice(first, len(wanted)), wanted[rows[passed[first:] - registers]]
