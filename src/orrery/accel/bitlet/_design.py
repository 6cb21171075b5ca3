"""The bit-interleaving array as an `Accelerator`: function, cost, cycles and circuit in one."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from orrery.errors import MissingExtraError, SpecError
from orrery.hardware import Compute, Device, Memory
from orrery.progress import SILENT, Progress
from orrery.provenance import Basis, Source

from .. import _parts
from .._gradients import GRAD_INPUT, GRAD_WEIGHT
from .._record import Accelerator, describe
from ._cost import (
    PUBLISHED_CLOCK_HZ,
    PUBLISHED_ELEMENTS,
    PUBLISHED_LANES,
    BitletCost,
    check_precision,
)
from ._cycles import BEAT, BitletArray, BitletSimulator
from ._digits import Digits
from ._engine import Engine
from ._format import FixedFormat, Mode, NumberFormat, number_format
from ._function import BitletFunction, bitlet_tolerance
from ._pipeline import Pipeline, shipped

_PAPER = Source(
    basis=Basis.PUBLISHED, where="Lu et al., Distilling Bit-level Sparsity Parallelism for General "
    "Purpose Deep Learning Acceleration, MICRO 2021",
)  # fmt: skip
_CHOSEN = Source(basis=Basis.ASSUMED, where="chosen by the caller", note="no published value")
_DDR3 = Source(basis=Basis.PUBLISHED, where="Accelergy CACTI plug-in: DDR3 70 pJ/bit, read = write",
               note="the paper traces DRAMSys, whose figures are not given")  # fmt: skip
_TABLE = f"{_PAPER.where}, table 3 and §5.1"
_AREA_MM2 = 1.54
_GROUP, _WINDOW, _ALIGN = 64, 8, 8
#: Weights that a circuit takes in side by side at most, where no usual number divides the group.
_WIDEST = 64


def bitlet(
    precision: str = "fixed8",
    group: int = 64,
    lanes: int = 24,
    window: int = 8,
    elements: int = 32,
    mode: str = "correct",
    clock_mhz: float = 1000.0,
    digits: str = "plain",
    storage: str = "plain",
) -> Accelerator:
    """Return the bit-interleaving array of 32 elements at 1 GHz, or a variant.

    Parameters
    ----------
    precision : ``fp32``, ``fp16``, ``bf16`` or ``fixed1`` to ``fixed24``
    group : weights that an element works through at a time
    lanes : lanes built; a format with more bits leaves out its lowest ones, as Bitlet-X does with
        8 lanes and fp32, one with fewer leaves lanes at rest
    window : bits that a lane looks at in a cycle
    elements : of the array
    mode : ``correct``, or ``faithful`` to the released circuit's bits on odd operands
    clock_mhz : of the array
    digits : ``plain`` bits as published; ``signed``: weights recoded in non-adjacent form, a lane
        more than bits; ``split``: signed, and two lanes for the lowest place. Same values, fewer
        cycles
    storage : ``plain``, or constant weights off chip as bit ``columns``: fewer bytes

    Raises
    ------
    SpecError : a parameter out of range
    """
    parameters = {
        "precision": precision, "group": group, "lanes": lanes, "window": window,
        "elements": elements, "mode": mode, "clock_mhz": float(clock_mhz), "digits": digits,
        "storage": storage,
    }  # fmt: skip
    name = describe("bitlet", parameters)
    _parts.require_positive(name, parameters)
    form = check_precision(precision, lanes, where=name)
    kept = min(lanes, form.lanes)
    running = ((1 << kept) - 1) << (form.lanes - kept)
    engine = Engine(format=form, mode=mode, group=group, enabled=running, digits=digits)  # type: ignore[arg-type]  # checked there
    array = BitletArray(engine=engine, elements=elements, window=window,
                        clock_hz=1e6 * float(clock_mhz),
                        storage=storage)  # type: ignore[arg-type]  # fmt: skip  # checked there
    return Accelerator(
        name=name, paper=_PAPER, device=_device(array, form, lanes), precision=precision,
        cost=BitletCost(name=name, array=array), evaluate=BitletFunction(engine=engine),
        tolerance=bitlet_tolerance(engine), simulate=BitletSimulator(array=array),
        generate=BitletCircuit(precision=precision, mode=engine.mode, group=group, lanes=kept,
                               window=window, digits=engine.digits, resting=lanes - kept),
    )  # fmt: skip


def _device(array: BitletArray, form: NumberFormat, lanes: int) -> Device:
    """Return the array with its memory; what the caller changed is no longer published."""
    group, window, elements = array.engine.group, array.window, array.elements
    published = Source(basis=Basis.PUBLISHED, where=_TABLE)
    clock = published if array.clock_hz == PUBLISHED_CLOCK_HZ else _CHOSEN
    usual = (group, window, elements) == (_GROUP, _WINDOW, PUBLISHED_ELEMENTS)
    # No lane passes more than a window's bits in a cycle: the published 5.5 cycles for 64 weights
    # of 8 bits, a "peak" of 744.7 GOPs, are below the released engine's least, 8.
    rate = elements * group / -(-group // window) * array.clock_hz
    peak = Source(
        basis=Basis.ESTIMATED if usual and clock is published else Basis.ASSUMED,
        where="elements × group / least cycles of a group × clock",
        note=f"a window of {window} bits passes a group of {group} in {-(-group // window)} cycles "
        f"at least; clock ({clock}); published peaks stand for mean cycles instead: 20, 11 and "
        "5.5 a group for fp32, 16 and 8 bits",
    )  # fmt: skip
    sources: dict[str, Source] = {"process_nm": published}
    area = None
    published_lanes = lanes == PUBLISHED_LANES and array.engine.digits == "plain"
    if (group, window) == (_GROUP, _WINDOW) and published_lanes:
        area = _AREA_MM2 * elements / PUBLISHED_ELEMENTS
        sources["area_mm2"] = published if elements == PUBLISHED_ELEMENTS else Source(
            basis=Basis.ESTIMATED, where=_TABLE,
            note=f"{_AREA_MM2} mm2 × elements / {PUBLISHED_ELEMENTS}, buffers not included",
        )  # fmt: skip
    room = Source(basis=Basis.ASSUMED, where="not published", note="holds the networks compared")
    buffer = Source(basis=Basis.ASSUMED, where="not published",
                    note="256 KiB of activations, which are then read once")  # fmt: skip
    return Device(
        name=f"bitlet array, {form.name}", kind="asic",
        compute=Compute(macs_per_s={_dtype(form): rate}, clock_hz=array.clock_hz,
                        sources={"macs_per_s": peak, "clock_hz": clock}),
        memories=(
            Memory(name="buffer", size_bytes=array.buffer_bytes, sources={"size_bytes": buffer}),
            Memory(name="dram", size_bytes=4 * 2**30, offchip=True,
                   bandwidth_bytes_per_s=2 * array.channel_bytes_per_s,
                   energy_j_per_byte=8 * 70e-12,
                   sources={"size_bytes": room, "bandwidth_bytes_per_s": published,
                            "energy_j_per_byte": _DDR3}),
        ),
        operators=("Conv", "Gemm", "MatMul", GRAD_INPUT, GRAD_WEIGHT), area_mm2=area,
        process_nm=28.0, sources=sources,
    )  # fmt: skip


def _dtype(form: NumberFormat) -> str:
    if isinstance(form, FixedFormat):
        return "int8" if form.bits <= 8 else "int16" if form.bits <= 16 else "int32"
    return {"fp32": "float32", "fp16": "float16", "bf16": "bfloat16"}[form.name]


@dataclass(frozen=True, slots=True, kw_only=True)
class BitletCircuit:
    """Writes the files of one processing element's circuit.

    Attributes
    ----------
    resting : further lanes of the array, which this precision never uses; they are not built
    """

    precision: str
    mode: Mode
    group: int
    lanes: int
    window: int
    digits: Digits = "plain"
    resting: int = 0

    @property
    def stages(self) -> Pipeline:
        """The circuit's sizes; a group is loaded and aligned in parts that divide it.

        Raises
        ------
        SpecError : sizes that make no circuit
        """
        return Pipeline(
            format=number_format(self.precision), lanes=self.lanes, group=self.group,
            window=self.window, beat=self._divisor(BEAT, BEAT // 2),
            align=self._divisor(max(_ALIGN, self.window), self.window), digits=self.digits,
        )  # fmt: skip

    def __call__(
        self, *, area: bool = False, mutate: int = 0, progress: Progress = SILENT
    ) -> Mapping[str, str]:
        """Return file name -> text.

        Parameters
        ----------
        area : synthesise first, to cells and for an FPGA, and check both netlists
        mutate : designs with one operator changed that the bench is tried on first; 0: none
        progress : told of the steps of `area`

        Raises
        ------
        SpecError : parameters that make no circuit, e.g. a window of a single bit; a number of
            mutants below 0
        MissingExtraError : Amaranth is not installed
        """
        from orrery.rtl import resources, synthesise
        from orrery.rtl.bench import StreamVectors, circuit_files, mutants, mutation_score

        try:
            from .circuit import circuit
        except ModuleNotFoundError as error:
            if (error.name or "").partition(".")[0] != "amaranth":
                raise
            raise MissingExtraError("amaranth", "rtl", purpose="building a circuit") from None

        stages = self.stages
        made = circuit(
            precision=self.precision, mode=self.mode, group=self.group, lanes=self.lanes,
            window=self.window, beat=stages.beat, align=stages.align, digits=self.digits,
        )  # fmt: skip
        sets = [StreamVectors(**one) for one in shipped(stages, self.mode)]
        idle = _unused(stages, self.mode)
        lanes = (
            f"Of the array's {self.lanes + self.resting} lanes {self.resting} would rest with "
            f"{self.precision}: the circuit has the other {self.lanes}."
        )
        return circuit_files(
            made, sets,
            synthesis=synthesise(made, unused=idle, progress=progress) if area else None,
            resources=resources(made, unused=idle, progress=progress) if area else None,
            mutation=mutation_score(made, sets, mutants(made, mutate)) if mutate else None,
            checked=(lanes,) if self.resting else (),
        )  # fmt: skip

    def _divisor(self, most: int, least: int) -> int:
        """Return a divisor of the group: the largest from `least` to `most`, or the next above.

        Raises
        ------
        SpecError : a window wider than the group, a group whose next divisor is no width to build
        """
        if self.group < 2:
            raise SpecError(
                "bitlet: group", found=self.group, wanted="2 weights or more",
                fix="a lane that sees one weight has nothing to choose from: model it, or take 64",
            )  # fmt: skip
        if self.window > self.group:
            raise SpecError(
                "bitlet: window", found=self.window,
                wanted=f"2 to {self.group} bits, the weights of a group",
                fix="look at fewer bits, or take a larger group",
            )  # fmt: skip
        fitting = [n for n in range(1, self.group + 1) if self.group % n == 0]
        down = [n for n in fitting if min(least, self.group) <= n <= most]
        found = max(down) if down else min(n for n in fitting if n >= least)
        if found > max(most, _WIDEST):
            raise SpecError(
                "bitlet: group", found=self.group,
                wanted=f"a group with a divisor from {least} to {_WIDEST}, to be loaded in parts",
                fix=f"take {-(-self.group // 8) * 8}",
            )  # fmt: skip
        return found


def _unused(stages: Pipeline, mode: Mode) -> dict[str, str]:
    """Return the bits of weights that have no lane, as synthesis wants them declared.

    Mode ``correct`` of a floating-point format reads them all the same: to tell zeros and NaN.
    """
    form, without = stages.format, stages.format.lanes - stages.lanes
    if not without or (mode == "correct" and not isinstance(form, FixedFormat)):
        return {}
    return {
        f"i__w_magnitude[{k * form.lanes + without - 1}:{k * form.lanes}]": "no lane was built"
        for k in range(stages.beat)
    }
