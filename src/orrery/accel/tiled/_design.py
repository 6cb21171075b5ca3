"""The tiled design as an `Accelerator`; parameters of its published point have a source."""

from __future__ import annotations

from orrery.provenance import Basis, Source

from .. import _parts
from .._fixed import ConvolutionTolerance
from .._formats import number_format
from .._model import ConvolutionCost, Power
from .._record import Accelerator, Tolerance, describe
from ._cost import TiledLoops
from ._function import TiledFunction

_PAPER = Source(
    basis=Basis.PUBLISHED, where="Zhang et al., Optimizing FPGA-based Accelerator Design for Deep "
    "Convolutional Neural Networks, FPGA 2015",
)  # fmt: skip
_POINT = {"tm": 64, "tn": 7, "tr": 13, "tc": 13, "clock_mhz": 100.0, "port_bits": 512,
          "precision": "float32", "part": "vc707"}  # fmt: skip
_CODED = "H2H (DAC 2022), released code: VC707 accelerator after Zhang et al., FPGA 2015"


def tiled(
    tm: int = 64,
    tn: int = 7,
    tr: int = 13,
    tc: int = 13,
    clock_mhz: float = 100.0,
    port_bits: int = 512,
    overlap: bool = True,
    clip: bool = True,
    precision: str = "float32",
    part: str = "vc707",
) -> Accelerator:
    """Return the tiled convolution accelerator.

    Parameters
    ----------
    tm, tn : output and input channels computed at once
    tr, tc : output rows and columns of a tile
    clock_mhz : of the array
    port_bits : bits a cycle of the memory port (one per stream when `overlap`, else one in all)
    overlap : double buffers: load, compute and store at once; False adds them up
    clip : last tiles take only the rows and columns they hold, which meets the published
        throughput on AlexNet (see the cost model); False charges full tiles, the formula that
        mappers of several accelerators use
    precision : ``float32`` or ``fixed16``
    part : ``vc707`` or ``vu9p``

    Raises
    ------
    SpecError : a parameter out of range, or more multipliers than the part has
    """
    parameters = {
        "tm": tm, "tn": tn, "tr": tr, "tc": tc, "clock_mhz": float(clock_mhz),
        "port_bits": port_bits, "overlap": overlap, "clip": clip, "precision": precision,
        "part": part,
    }  # fmt: skip
    name = describe("tiled", parameters)
    _parts.require_positive(name, parameters)
    on, form = _parts.part(part, where=name), number_format(precision, where=name)
    _parts.require_dsps(name, tm * tn * form.dsps_per_mac, on,
                 how=f"{tm}×{tn} MACs of {form.dsps_per_mac}")  # fmt: skip
    published = all(parameters[key] == value for key, value in _POINT.items())
    if published:
        source = Source(basis=Basis.PUBLISHED, where=_CODED)
    else:
        source = Source(
            basis=Basis.ASSUMED, where="chosen by the caller",
            note=f"differs from the published point ({_CODED}), whose clock need not hold here",
        )  # fmt: skip
    clock_hz = 1e6 * float(clock_mhz)
    device = _parts.board(on, design="a tiled array", macs_per_cycle=tm * tn, clock_hz=clock_hz,
                   clock=source, array=source, dtype=form.dtype)  # fmt: skip
    power = Power(
        power_w=18.61, device=device,
        source=Source(basis=Basis.PUBLISHED, where=_CODED, note="18.61 W of the running board"),
    )  # fmt: skip
    loops = TiledLoops(
        tm=tm, tn=tn, tr=tr, tc=tc, port_bits=port_bits, overlap=overlap, clip=clip,
        buffer_bytes=on.onchip_bytes,
    )  # fmt: skip
    function = TiledFunction(tm=tm, tn=tn, precision=precision)
    return Accelerator(
        name=name, paper=_PAPER, device=device, precision=precision, evaluate=function,
        cost=ConvolutionCost(
            name=name, clock_hz=clock_hz, dataflow=loops, power=power if published else None
        ),
        tolerance=Tolerance(
            bound=ConvolutionTolerance(precision=precision),
            reason="float32 additions in the order of the tiles" if precision == "float32"
            else "image and weights rounded to 16-bit fixed point; sums are exact",
        ),
    )  # fmt: skip
