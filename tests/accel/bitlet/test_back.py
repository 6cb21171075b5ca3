"""The packer of fixed point at every reach of its sums, against `Engine.pack_fixed`."""

from __future__ import annotations

from typing import get_args

import numpy as np
import pytest

from orrery.accel.bitlet._engine import MOST_QUANT, PACKED_BITS, Engine
from orrery.accel.bitlet._format import Mode, number_format

from ...rtl.together import together

pytestmark = [pytest.mark.needs("amaranth", "pyosys", "g++"), pytest.mark.rtl]

#: Where no sum is too large, by one bit, up to what the faithful detector looks at, beyond it.
REACHES = (11, PACKED_BITS + 1, PACKED_BITS + 2, 40, 48, 49, 50, 55, 64)


def sums(bits: int, draw: np.random.Generator) -> np.ndarray:
    """Return numbers of all sizes that so many bits hold, both ends among them."""
    least = -(1 << (bits - 1))
    some = draw.integers(least, -least - 1, 500, endpoint=True, dtype=np.int64)
    some >>= draw.integers(0, bits, len(some))
    ends = [sign << k for k in range(bits - 1) for sign in (1, -1)]
    return np.array([least, -least - 1, 0, -1, *ends, *(e - 1 for e in ends), *some], np.int64)


def test_the_packers_result_is_the_engines_whatever_sums_can_reach() -> None:
    from orrery.accel.bitlet.circuit._back import PackFixed
    from orrery.rtl import simulation

    draw = np.random.default_rng(7)
    modes = get_args(Mode)
    parts = {f"{mode}_{bits}": PackFixed(mode, bits=bits) for mode in modes for bits in REACHES}
    totals = {bits: sums(bits, draw) for bits in REACHES}
    rows = max(map(len, totals.values()))
    quant = np.arange(rows) % (MOST_QUANT + 1)
    draw.shuffle(quant)
    inputs = {}
    for name in parts:
        total = totals[int(name.rpartition("_")[2])]
        inputs[f"{name}_total"] = np.resize(total, rows)
        inputs |= {f"{name}_quant": quant, f"{name}_enable": np.ones(rows, np.int64)}
    found = simulation(together(parts), "cxxrtl").cycles(inputs)
    engines = {
        mode: Engine(format=number_format("fixed24"), mode=mode, group=64, enabled=(1 << 24) - 1)
        for mode in modes
    }
    for name in parts:
        engine = engines[name.partition("_")[0]]  # type: ignore[index]
        wanted = [
            int(engine.pack_fixed(np.array([total]), int(q))[0])
            for total, q in zip(inputs[f"{name}_total"], quant)
        ]
        assert found[f"{name}_result"][1:].tolist() == wanted[:-1], name
