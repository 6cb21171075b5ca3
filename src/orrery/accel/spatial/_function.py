"""What a spatial array computes, bit for bit, in the architecture's number formats.

Models:  both operands rounded to the widths they are stored in, each tensor on one power-of-two
         grid; exact products and sums; sums rounded once to the width of a partial sum, results
         to the width they are stored in, each on a grid that holds the largest.
Ignores: that a narrow partial sum is rounded at every step (the order of which is the nest's):
         wide ones hold every sum exactly, on narrow ones the chip is somewhat less exact than
         this.
Judge:   sums of Python integers (tests); the bound against the NumPy reference is derived.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from orrery.errors import SpecError
from orrery.graph import Node, Region, find_operator
from orrery.hardware import Architecture

from .._formats import UNIT, quantise, quantum, rounding_bound
from .._record import Tensors
from ._cost import product_of, terms_of

Array = NDArray[Any]


@dataclass(frozen=True, slots=True, kw_only=True)
class SpatialFunction:
    """Evaluates one product with operands, sums and results as wide as the architecture's."""

    architecture: Architecture

    def __call__(self, region: Region, inputs: Tensors) -> Tensors:
        node, given = _read(region, inputs, self.architecture)
        bits = self.architecture.bits
        rounded = [_rounded(given[i], bits[role], f"{role} of {region.name}")[0]
                   for i, role in enumerate(("input", "weight"))]  # fmt: skip
        with np.errstate(over="ignore"):  # an overflow is infinite, as in the reference
            sums = _run(node, [*rounded, *(array.astype(np.float64) for array in given[2:])])
            return {node.outputs[0]: self.stored(sums)[0].astype(np.float32)}

    def stored(self, sums: Array) -> tuple[Array, float]:
        """Return results as stored, and how far that is from the sums at most."""
        bits = self.architecture
        wide, first = _rounded(sums, bits.partial_sum_bits, "partial sums")
        narrow, second = _rounded(wide, bits.bits["output"], "results")
        return narrow, first + second


@dataclass(frozen=True, slots=True, kw_only=True)
class SpatialTolerance:
    """The largest error per element.

    Before: x * w. After: (x + e) * (w + d) with |e|, |d| at most half a step each, so that a term
    is off by |x||d| + |e||w| + |e||d| at most; then half a step of sums and of results.
    """

    architecture: Architecture

    def __call__(self, region: Region, inputs: Tensors) -> Tensors:
        node, given = _read(region, inputs, self.architecture)
        bits = self.architecture.bits
        (first, e), (second, d) = (
            _rounded(given[i], bits[role], role) for i, role in enumerate(("input", "weight"))
        )
        sizes = [np.abs(array.astype(np.float64)) for array in given]
        off = np.abs(_run(node, [sizes[0] + e, np.full_like(sizes[1], d)]))
        off += np.abs(_run(node, [np.full_like(sizes[0], e), sizes[1]]))
        exact = _run(node, [first, second, *(a.astype(np.float64) for a in given[2:])])
        off += SpatialFunction(architecture=self.architecture).stored(exact)[1]
        problem = product_of(region, self.architecture)
        terms = 1 if isinstance(problem, str) else terms_of(problem)
        magnitude = np.abs(_run(node, sizes))
        # The reference rounds every product and sum to float32, the array its result once.
        off += 2 * rounding_bound(magnitude, terms + 3) + UNIT * np.abs(exact)
        return {node.outputs[0]: off}


def _read(
    region: Region, inputs: Tensors, architecture: Architecture
) -> tuple[Node, list[Array]]:  # fmt: skip
    problem = product_of(region, architecture)
    if isinstance(problem, str):
        raise SpecError(f"region {region.name!r}", found=problem, wanted="a product",
                        fix="ask the cost model whether it refuses first")  # fmt: skip
    node, constants = region.members[0], region.graph.constants
    given = [np.asarray(inputs[name]) if name in inputs else constants[name].array()
             for name in node.inputs if name]  # fmt: skip
    return node, given


def _run(node: Node, operands: list[Array]) -> Array:
    operator = find_operator(node)
    if operator is None:
        raise SpecError(f"node {node.name!r}", found=node.operator, wanted="a known operator",
                        fix="see `orrery operators`")  # fmt: skip
    return np.asarray(operator.run(node, operands)[0])


def _rounded(values: Array, bits: int, what: str) -> tuple[Array, float]:
    """Return values on a grid of so many bits, and half of its step (0 where all lie on it)."""
    step = quantum(values, bits=bits, what=what).reshape(())
    found = quantise(values, step) * step
    return found, 0.0 if np.array_equal(found, values) else float(step) / 2
