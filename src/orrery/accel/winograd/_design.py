"""The Winograd design as an `Accelerator`; all its parameters are assumed."""

from __future__ import annotations

from orrery.errors import SpecError
from orrery.provenance import Basis, Source

from .. import _parts
from .._formats import number_format
from .._model import ConvolutionCost
from .._record import Accelerator, Tolerance, describe
from ._cost import WinogradArray
from ._function import WinogradFunction, WinogradTolerance
from ._transform import TRANSFORMS

_PAPER = Source(
    basis=Basis.PUBLISHED, where="MARS (DAC 2023), Winograd design; Lavin and Gray, CVPR 2016",
    note="the first paper's parameters could not be read; the algorithm is the second's",
)  # fmt: skip
_ASSUMED = Source(
    basis=Basis.ASSUMED, where="chosen by the caller",
    note="no published value; fits the part's multipliers and a clock common on it",
)  # fmt: skip


def winograd(
    tile: int = 2,
    pm: int = 16,
    pn: int = 16,
    clock_mhz: float = 200.0,
    buffer_kib: int = 8192,
    precision: str = "fixed16",
    part: str = "vu9p",
) -> Accelerator:
    """Return the Winograd convolution accelerator.

    Parameters
    ----------
    tile : m of F(m×m, 3×3), 2 or 4; a tile has n = m + 2 rows
    pm, pn : filters and input channels at once; the array has n² · pm · pn multipliers
    clock_mhz : of the array
    buffer_kib : on-chip buffer, half for the image and half for transformed weights
    precision : ``fixed16`` or ``float32``
    part : ``vu9p`` or ``vc707``

    Raises
    ------
    SpecError : a parameter out of range, more multipliers or more buffer than the part has
    """
    parameters = {
        "tile": tile, "pm": pm, "pn": pn, "clock_mhz": float(clock_mhz), "buffer_kib": buffer_kib,
        "precision": precision, "part": part,
    }  # fmt: skip
    name = describe("winograd", parameters)
    _parts.require_positive(name, parameters)
    if tile not in TRANSFORMS:
        raise SpecError(f"{name}: tile", found=tile, wanted="2 or 4", fix="choose one of them")
    on, form = _parts.part(part, where=name), number_format(precision, where=name)
    n = TRANSFORMS[tile].n
    lanes = n * n * pm * pn
    _parts.require_dsps(name, lanes * form.dsps_per_mac, on,
                        how=f"{n}²×{pm}×{pn} MACs of {form.dsps_per_mac}")  # fmt: skip
    _parts.require_buffer(name, buffer_kib, on)
    clock_hz = 1e6 * float(clock_mhz)
    device = _parts.board(on, design="a Winograd array", macs_per_cycle=lanes, clock_hz=clock_hz,
                          clock=_ASSUMED, array=_ASSUMED, dtype=form.dtype)  # fmt: skip
    array = WinogradArray(tile=tile, pm=pm, pn=pn, buffer_bytes=buffer_kib * 1024,
                          fixed=precision == "fixed16")  # fmt: skip
    return Accelerator(
        name=name, paper=_PAPER, device=device, precision=precision,
        evaluate=WinogradFunction(tile=tile, pm=pm, pn=pn, precision=precision),
        cost=ConvolutionCost(name=name, clock_hz=clock_hz, dataflow=array),
        tolerance=Tolerance(
            bound=WinogradTolerance(tile=tile, precision=precision),
            reason="transforms add and amplify rounding errors"
            + (" of 16-bit tiles and weights" if precision == "fixed16" else ""),
        ),
    )  # fmt: skip
