"""The output-stationary systolic design as an `Accelerator`; all its parameters are assumed."""

from __future__ import annotations

from orrery.provenance import Basis, Source

from .. import _parts
from .._fixed import ConvolutionTolerance
from .._formats import number_format
from .._model import ConvolutionCost
from .._record import Accelerator, Tolerance, describe
from ._cost import SystolicArray
from ._function import SystolicFunction

_PAPER = Source(
    basis=Basis.PUBLISHED, where="MARS (DAC 2023), systolic design; Kung, Why systolic "
    "architectures?, IEEE Computer 1982",
    note="the paper's parameters could not be read",
)  # fmt: skip
_ASSUMED = Source(
    basis=Basis.ASSUMED, where="chosen by the caller",
    note="no published value; fits the part's multipliers and a clock common on it",
)  # fmt: skip


def systolic(
    rows: int = 32,
    cols: int = 32,
    vector: int = 4,
    clock_mhz: float = 200.0,
    buffer_kib: int = 8192,
    precision: str = "fixed16",
    part: str = "vu9p",
) -> Accelerator:
    """Return the output-stationary systolic convolution accelerator.

    Parameters
    ----------
    rows : output pixels held at once
    cols : filters held at once
    vector : input channels that one element multiplies a cycle
    clock_mhz : of the array
    buffer_kib : on-chip buffer, half for the image and half for weights
    precision : ``fixed16`` or ``float32``
    part : ``vu9p`` or ``vc707``

    Raises
    ------
    SpecError : a parameter out of range, more multipliers or more buffer than the part has
    """
    parameters = {
        "rows": rows, "cols": cols, "vector": vector, "clock_mhz": float(clock_mhz),
        "buffer_kib": buffer_kib, "precision": precision, "part": part,
    }  # fmt: skip
    name = describe("systolic", parameters)
    _parts.require_positive(name, parameters)
    on, form = _parts.part(part, where=name), number_format(precision, where=name)
    lanes = rows * cols * vector
    _parts.require_dsps(name, lanes * form.dsps_per_mac, on,
                        how=f"{rows}×{cols}×{vector} MACs of {form.dsps_per_mac}")  # fmt: skip
    _parts.require_buffer(name, buffer_kib, on)
    clock_hz = 1e6 * float(clock_mhz)
    device = _parts.board(on, design="a systolic array", macs_per_cycle=lanes, clock_hz=clock_hz,
                          clock=_ASSUMED, array=_ASSUMED, dtype=form.dtype)  # fmt: skip
    array = SystolicArray(rows=rows, cols=cols, vector=vector, buffer_bytes=buffer_kib * 1024,
                          fixed=precision == "fixed16")  # fmt: skip
    return Accelerator(
        name=name, paper=_PAPER, device=device, precision=precision,
        evaluate=SystolicFunction(vector=vector, precision=precision),
        cost=ConvolutionCost(name=name, clock_hz=clock_hz, dataflow=array),
        tolerance=Tolerance(
            bound=ConvolutionTolerance(precision=precision),
            reason="image and weights rounded to 16-bit fixed point; sums are exact"
            if precision == "fixed16" else "float32 additions in the order of the array",
        ),
    )  # fmt: skip
