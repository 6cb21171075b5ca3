"""What the engine computes for a whole layer, bit for bit.

Models:  a layer's sums cut into groups along their terms, the last one filled up with zeros.
         Floating point: the operands rounded to the format; each group packed into binary32 by
         truncation; the packed groups added in binary32 to nearest even, first to last; then the
         scale and the bias in binary32. Fixed point of b bits: image (one step) and filters (one
         step each) rounded to two's complement grids of b bits; exact sums in the 64-bit
         accumulator over all groups; a float32 output stage that applies the steps and adds
         the bias. Sums so long that the accumulator might overflow are refused.
Ambiguity: neither paper nor circuit says how groups become a sum. The released engine must be
         flushed between groups, which clears its accumulator and its largest exponent, so a group
         leaves it packed, and something outside adds. We take an IEEE adder for that, and binary32
         also for 16-bit operands, whose own packing would lose more than the engine does. In
         fixed point there is nothing to align: the 64-bit accumulator, which is 10 bits and more
         wider than any group needs, simply goes on, and the 24-bit packer is left out, because
         where it starts (`quant`) is the network's business; `Engine.run` has it.
Ignores: who finds the image's step (its producer must track the largest magnitude).
Judge:   groups one by one through the slow engine and NumPy's float32 additions; Python integers;
         the derived bound against float64 (tests/accel/bitlet/test_function.py).
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import ml_dtypes
import numpy as np

from orrery.errors import SpecError
from orrery.graph import Region

from .._formats import rounding_bound
from .._products import Layer, Matrices, blocks, matrices, require_layer
from .._record import Tensors, Tolerance
from ._engine import Array, Engine, kernel, powers
from ._format import FLOATS, Fields, FixedFormat, FloatFormat, split, to_bits

#: Magnitudes above this may overflow on the way; nothing is promised about them.
_LARGEST = float(np.finfo(np.float32).max) / 4


def grid_limit(form: FixedFormat) -> int:
    """Return the largest magnitude on a layer's grid: that of `bits`-bit two's complement, or 1."""
    return max(1, (1 << (form.bits - 1)) - 1)


def check_terms(terms: int, form: FixedFormat) -> None:
    """Refuse sums that might not fit the 64-bit accumulator.

    A filter's and an image's largest magnitudes are both the grid's limit, so 2^63 / limit² terms
    may overflow: 131,073 in 24 bits, half a million and more in fewer.

    Raises
    ------
    SpecError : too many terms
    """
    most = (2**63 - 1) // grid_limit(form) ** 2
    if terms > most:
        fewer = next(b for b in range(form.bits, 0, -1)
                     if terms <= (2**63 - 1) // grid_limit(FixedFormat(bits=b)) ** 2)  # fmt: skip
        raise SpecError(
            f"{form.name}: sums", found=f"{terms} terms, which may overflow the 64-bit accumulator",
            wanted=f"up to {most} terms", fix=f"take fixed{fewer}, or cut the sum in parts",
        )  # fmt: skip


def grid_step(
    values: Array, form: FixedFormat, axes: tuple[int, ...] | None, *, what: str
) -> Array:
    """Return the step of a symmetric grid that holds every magnitude (kept axes).

    Raises
    ------
    SpecError : a value is NaN or infinite; fixed point cannot hold it
    """
    held = values if values.dtype.kind == "f" else values.astype(np.float64)
    ends = held.max(axes, keepdims=True, initial=0), held.min(axes, keepdims=True, initial=0)
    largest = np.maximum(ends[0], -ends[1]).astype(np.float64)
    if not np.all(np.isfinite(largest)):
        raise SpecError(what, found="a value that is not finite", wanted="finite numbers",
                        fix="use precision='fp32' for such data")  # fmt: skip
    step: Array = np.where(largest > 0, largest / grid_limit(form), 1.0)
    return step


def on_grid(values: Array, step: Array, form: FixedFormat) -> Array:
    """Round to the nearest multiple of the step (ties to even), as int32 multiples."""
    limit = grid_limit(form)
    found: Array = values.astype(np.float64)
    found /= step
    np.rint(found, out=found)
    np.clip(found, -limit, limit, out=found)
    return np.ascontiguousarray(found.astype(np.int32))


@dataclass(frozen=True, slots=True, kw_only=True)
class BitletFunction:
    """Evaluates `Conv`, `Gemm`, `MatMul` and the gradients of a convolution on an engine.

    The engine packs groups into binary32 whatever its own `result` says.

    Attributes
    ----------
    weights : the input whose bits are distilled, 0 or 1; None: the usual one
    """

    engine: Engine
    weights: int | None = None

    def __call__(self, region: Region, inputs: Tensors) -> Tensors:
        layer = require_layer(region, self.weights)
        given = matrices(region, inputs, layer)
        check_weights(region, layer, given, self.engine)
        return {region.members[0].outputs[0]: self.multiply(layer, given)}

    def multiply(self, layer: Layer, given: Matrices) -> Array:
        """Return the output tensor of a layer whose values are at hand."""
        if isinstance(self.engine.format, FixedFormat):
            sums = self._fixed(layer, given, self.engine.format)
        else:
            sums = self._float(layer, given, replace(self.engine, result=FLOATS["fp32"]))
        dtype = given.source.dtype
        with np.errstate(over="ignore", invalid="ignore"):  # as silent as the hardware
            if given.scale != 1.0:
                sums = np.float32(given.scale) * sums
            if given.bias is not None:
                sums = sums + given.bias.astype(np.float32)
            return given.tensor(sums).astype(dtype, copy=False)

    def _float(self, layer: Layer, given: Matrices, engine: Engine) -> Array:
        form = engine.format
        if not isinstance(form, FloatFormat):
            raise TypeError("not a floating-point engine")
        multiply = kernel("float_product")
        sums = np.empty((layer.batches, layer.filters, layer.positions), np.float32)
        for batch in range(layer.batches):
            left = engine.fields(to_bits(given.weights[batch], form))
            for places in blocks(layer):
                right = engine.fields(to_bits(given.take(batch, places), form))
                out = np.empty((layer.filters, len(places)), np.float32)
                multiply(
                    left.exponent, left.magnitude, left.sign, right.exponent, right.signed,
                    *engine.specials(left, right), engine.mask, engine.packing(),
                    powers(), engine.group, out,
                )  # fmt: skip
                sums[batch, :, places[0] : places[-1] + 1] = out
        return sums

    def _fixed(self, layer: Layer, given: Matrices, form: FixedFormat) -> Array:
        check_terms(layer.terms, form)
        multiply = kernel("fixed_product")
        image = grid_step(given.source, form, None, what="activations of a fixed-point layer")
        filters = grid_step(given.weights, form, (2,), what="weights of a fixed-point layer")
        sums = np.empty((layer.batches, layer.filters, layer.positions), np.float32)
        for batch in range(layer.batches):
            left = on_grid(given.weights[batch], filters[batch], form)
            for places in blocks(layer):
                right = on_grid(given.take(batch, places), image.reshape(1, 1), form)
                out = np.empty((layer.filters, len(places)), np.int64)
                # The grid's least value is far from the one whose negative wraps round.
                multiply(left, right, self.engine.mask, 1 << 30, out)
                with np.errstate(over="ignore"):
                    scaled = (out * (filters[batch] * image.reshape(1, 1))).astype(np.float32)
                sums[batch, :, places[0] : places[-1] + 1] = scaled
        return sums


def check_weights(region: Region, layer: Layer, given: Matrices, engine: Engine) -> None:
    """Refuse constant weights that are not finite; values computed on the way follow IEEE 754.

    Raises
    ------
    SpecError : names the tensor and the value (mode ``correct`` only)
    """
    name = region.members[0].inputs[layer.weights]
    if engine.mode == "faithful" or name not in region.graph.constants:
        return
    finite = np.isfinite(given.weights)
    if not finite.all():
        raise SpecError(
            f"weights {name!r}", found=f"{np.count_nonzero(~finite)} values that are not finite, "
            f"the first {given.weights[~finite].flat[0]}", wanted="finite weights",
            fix="repair the model; mode='faithful' computes what the circuit would",
        )  # fmt: skip


# -- how far off ----------------------------------------------------------------------------------


def taken_for(fields: Fields, form: FloatFormat) -> Array:
    """Return the float64 values that the engine takes its operands for."""
    scale = np.maximum(fields.exponent.astype(np.int64), 0) - form.bias - form.fraction_bits
    seen: Array = np.ldexp(fields.signed.astype(np.float64), scale)
    if fields.special is not None:
        seen = np.where(fields.special != 0, fields.special.astype(np.float64), seen)
    return seen


@dataclass(frozen=True, slots=True, kw_only=True)
class BitletBound:
    """The largest distance of each output element from a float32 reference, derived.

    Before: Σ w·a. After: Σ ŵ·â, where ŵ and â are what the engine takes its operands for (rounded
    to the format or the grid), so that term differs by at most |ŵ|·|â − a| + |ŵ − w|·|a|. Then,
    per group of n terms, alignment takes up to n·(1 + L)·2^(E − 2·bias − f + 1) (see `_engine`;
    L is the weight of resting lanes). The packer's cut is less than two roundings of binary32,
    adding G groups, scaling and the bias are G + 2 roundings, and the reference's own sum of K
    terms is K + 3 on its side. A narrower output type rounds both once more.
    """

    engine: Engine
    weights: int | None = None

    def __call__(self, region: Region, inputs: Tensors) -> Tensors:
        layer = require_layer(region, self.weights)
        given = matrices(region, inputs, layer)
        bound = np.empty((layer.batches, layer.filters, layer.positions))
        groups = -(-layer.terms // self.engine.group)
        dtype = given.source.dtype
        narrow = None if dtype == np.float32 else ml_dtypes.finfo(dtype)
        largest = _LARGEST if narrow is None else float(narrow.max) / 4
        with np.errstate(over="ignore", invalid="ignore"):
            for batch in range(layer.batches):
                for places in blocks(layer):
                    error, magnitude = self._block(batch, places, layer, given)
                    magnitude = magnitude * max(1.0, abs(given.scale))
                    error = error * max(1.0, abs(given.scale))
                    if given.bias is not None:
                        bias = np.abs(given.bias.astype(np.float64))
                        magnitude = magnitude + (
                            bias[batch][:, places] if bias.shape[2] > 1 else bias[batch]
                        )
                    error = error + rounding_bound(magnitude, layer.terms + groups + 11)
                    if narrow is not None:
                        step = float(narrow.smallest_subnormal)
                        error = error + (magnitude + error) * float(narrow.eps) + step
                    error[~(magnitude <= largest) | np.isnan(error)] = np.inf
                    bound[batch, :, places] = error.T
        return {region.members[0].outputs[0]: given.tensor(bound)}

    def _block(
        self, batch: int, places: Array, layer: Layer, given: Matrices
    ) -> tuple[Array, Array]:
        form = self.engine.format
        w = given.weights[batch].astype(np.float64)
        raw = given.take(batch, places)
        a = raw.astype(np.float64)
        lost = (1 << form.lanes) - 1 - self.engine.mask
        if isinstance(form, FixedFormat):
            image = grid_step(given.source, form, None, what="activations of a fixed-point layer")
            step = grid_step(
                given.weights[batch], form, (1,), what="weights of a fixed-point layer"
            )
            at, wt = image.reshape(1, 1), step
            seen_a, seen_w = on_grid(a, at, form) * at, on_grid(w, wt, form) * wt
            cut = lost * step * np.abs(seen_a).sum(1)
        else:
            right = split(to_bits(raw, form), form, self.engine.mode)
            left = split(to_bits(given.weights[batch], form), form, self.engine.mode)
            seen_a, seen_w = taken_for(right, form), taken_for(left, form)
            cut = np.empty((layer.filters, len(places)))
            kernel("truncation")(
                left.exponent, right.exponent, 2 * form.bias + form.fraction_bits - 1,
                self.engine.group, powers(), cut,
            )  # fmt: skip
            cut *= 1 + lost
        magnitude = np.abs(seen_w) @ np.abs(seen_a).T
        error = np.abs(seen_w) @ np.abs(seen_a - a).T + np.abs(seen_w - w) @ np.abs(a).T
        # The last factor covers the rounding of these very sums, all of positive terms.
        return (error + cut) * (1 + layer.terms * 2.0**-50), np.maximum(
            magnitude, np.abs(w) @ np.abs(a).T
        )


def bitlet_tolerance(engine: Engine, weights: int | None = None) -> Tolerance:
    """Return how far an engine's layers may stand from the NumPy reference, and why.

    `weights` as for `BitletFunction`.
    """
    if isinstance(engine.format, FixedFormat):
        reason = f"image and weights rounded to {engine.format.bits}-bit grids; sums are exact"
    else:
        reason = (
            f"operands rounded to {engine.format.name}, weights aligned to the group's largest "
            "product by truncation, groups packed by truncation and added in float32"
        )
    return Tolerance(reason=reason, bound=BitletBound(engine=engine, weights=weights))
