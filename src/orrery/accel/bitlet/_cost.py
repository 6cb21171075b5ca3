"""What a layer takes on an array of bit-interleaving engines, foretold from counts of its bits.

Models:  the array and memory of `_cycles`, its cycles not counted but expected: the weights' zeros
         per place through the exact window rule (`expected_cycles`), in floating point after
         alignment to normally distributed activations (`expected_aligned_cycles`); weights and
         activations in the engine's precision off chip. Energy: published power of the array at
         the precision, for every cycle it works or waits, and the memory's energy per byte.
         So few weights that no mean stands for them (4096 and less, fixed point) are counted.
         Weights that the region does not hold are taken as published networks on average: 72.8 %
         of bits are zero up to 8 bits, 72.3 % beyond; in floating point normal numbers.
Ignores: that bits of real weights, and exponents of neighbours, are not independent; zeros of
         activations other than padding, unless statistics tell their density (fixed point gains
         nothing from them); mode ``faithful``, in which a group of
         nothing but zero activations takes what its weights alone do; gating of elements that
         wait.
Error:   trained ResNet-20 on an image, cycles over counted ones, whole network and its layers:
         16, 8 and 4 bits 1.00, 1.01, 1.00 (0.98-1.02, 0.99-1.04, 0.91-1.02); fp32, fp16, bf16 with
         the measured density of activations 0.96, 0.93, 0.90 (0.80-1.05); *without* statistics
         1.72, 1.66, 1.58 (0.84-2.97), because zeros after a rectifier are not known then.
Judge:   `count_layer` on the same weights (tests/accel/bitlet/test_cost.py and the conformance
         kit, within 10 %).
Source:  Bitlet, MICRO 2021, tables 2, 3 and 9; TCAD 43(5), 2024, table X for 4 bits.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, replace
from functools import lru_cache
from typing import Any

import numpy as np

from orrery.cost import Charge, Cost, Refusal
from orrery.errors import SpecError
from orrery.graph import Constant, Region, Statistics
from orrery.hardware import Device
from orrery.plan import KernelSchedule
from orrery.provenance import Basis, Source

from .._gradients import GRAD_INPUT
from .._products import Layer, filled_share, read_layer
from ._cycles import (
    BitletArray,
    LayerCycles,
    count_fixed,
    schedule,
    stored_weights,
    tile_beats,
    tile_traffic,
)
from ._digits import Digits, digit_shares
from ._format import FixedFormat, Mode, NumberFormat, number_format
from ._function import check_terms
from ._statistics import (
    BitStatistics,
    bit_statistics,
    expected_aligned_cycles,
    expected_cycles,
    shared_lanes,
)
from .columns import Coded, constant_rows

#: Mean weight-bit sparsity of the published networks: up to 8 bits, and up to 16.
PUBLISHED_ZEROS = {8: (0.7015 + 0.7685 + 0.7778 + 0.6633) / 4,
                   16: (0.7431 + 0.75 + 0.6892 + 0.7083) / 4}  # fmt: skip

#: Elements of a tensor that are looked at; of larger ones every so many filters.
_MOST_COUNTED = 1 << 22
#: Fixed point: up to so many weights are counted group by group.
_FEW = 1 << 12
#: Tensors whose counts are kept.
_MOST_KNOWN = 2048

#: Cells of an element that pops digits over those of the plain one: our own synthesis of fixed8,
#: group 16, window 4, beats and batches of 4 (14,196, 17,207 and 18,137 NAND2 equivalents).
AREA_OF_PLAIN: Mapping[str, float] = {"signed": 17206.7 / 14195.7, "split": 18136.7 / 14195.7}

PUBLISHED_ELEMENTS, PUBLISHED_CLOCK_HZ, PUBLISHED_LANES = 32, 1e9, 24


@dataclass(frozen=True, slots=True, kw_only=True)
class _Power:
    """Milliwatts of 32 elements at 1 GHz, published by block.

    Attributes
    ----------
    fixed, floating : pre- and postprocessing, whatever the lanes
    lanes : lanes -> orchestrator, registers with windows, and adder tree together
    totals : published totals by precision
    """

    fixed: float
    floating: float
    lanes: Mapping[int, float]
    totals: Mapping[str, float]


#: process in nm -> power
_POWER = {
    28: _Power(
        fixed=296.6 + 2.304, floating=356.8 + 14.88,
        lanes={0: 0.0, 8: 20.65 + 10.13 + 35.8, 16: 40.28 + 20.28 + 71.6,
               24: 63.86 + 27.37 + 107.4},
        totals={"fixed4": 332.2, "fixed8": 365.49, "fixed16": 432.08, "fp32": 570.15},
    ),
    65: _Power(
        fixed=1000.8 + 7.4, floating=1208.5 + 48.5,
        lanes={0: 0.0, 8: 55.7 + 37.4 + 97.8, 16: 111.4 + 74.8 + 195.5,
               24: 164.1 + 112.1 + 293.3},
        totals={"fixed8": 1199.1, "fixed16": 1390.0, "fp32": 1829.6},
    ),
}  # fmt: skip
_POWER_TABLE = "Bitlet, MICRO 2021, table 9; TCAD 43(5), 2024, table X"


def array_power(
    form: NumberFormat,
    lanes: int,
    *,
    elements: int,
    process_nm: float | None,
    digits: Digits = "plain",
) -> tuple[float, Source] | None:
    """Return watts of an array at 1 GHz and where they come from; None for other processes.

    Parameters
    ----------
    lanes : bits that are kept, a running lane each
    digits : other than plain, the plain power scaled by area, assumed
    """
    if process_nm is None or process_nm not in _POWER:
        return None
    if digits != "plain":
        plain = array_power(form, lanes, elements=elements, process_nm=process_nm)
        if plain is None:
            return None
        ratio = AREA_OF_PLAIN[digits]
        source = Source(
            basis=Basis.ASSUMED, where=_POWER_TABLE,
            note=f"plain power ({plain[1].note}) x {ratio:.3f}, the area of {digits} digits over "
            "plain in our synthesis of a small fixed8 element, taken for all formats and sizes",
        )  # fmt: skip
        return ratio * plain[0], source
    table = _POWER[int(process_nm)]
    whole = lanes == form.lanes and elements == PUBLISHED_ELEMENTS
    if whole and form.name in table.totals:
        source = Source(basis=Basis.PUBLISHED, where=_POWER_TABLE,
                        note=f"32 elements, {process_nm:g} nm, 1 GHz, {form.name}")  # fmt: skip
        return 1e-3 * table.totals[form.name], source
    known = sorted(table.lanes)
    running = float(np.interp(lanes, known, [table.lanes[n] for n in known]))
    rest = table.fixed if isinstance(form, FixedFormat) else table.floating
    source = Source(
        basis=Basis.ESTIMATED, where=_POWER_TABLE,
        note=f"blocks at {process_nm:g} nm, those of lanes taken between 8, 16 and 24 lanes by "
        f"straight lines and all by elements / {PUBLISHED_ELEMENTS}",
    )  # fmt: skip
    return 1e-3 * (rest + running) * elements / PUBLISHED_ELEMENTS, source


@dataclass(frozen=True, slots=True, kw_only=True)
class BitletCost:
    """Prices `Conv`, `Gemm`, `MatMul` and gradients of convolutions on an array, in lockstep.

    Constant weights are read once and their counts kept by content.

    Attributes
    ----------
    array : its memory's rate is replaced by half the device's, one channel each for weights and
        for what else moves
    zeros : fixed point: the share of zero bits of all weights, whatever the region holds; None:
        its own weights, and the published average where it holds none
    """

    name: str
    array: BitletArray
    zeros: float | None = None

    @property
    def reads_values(self) -> bool:
        """Whether layers of one shape may cost differently.

        They may unless all zeros are given, which decide fixed point stored as it is: exponents
        and columns come from the weights themselves.
        """
        plain = self.array.storage == "plain"
        return self.zeros is None or not (
            plain and isinstance(self.array.engine.format, FixedFormat)
        )

    @property
    def storage_bits(self) -> int:
        """Bits of a number off chip."""
        return self.array.engine.format.storage_bits

    def refuses(self, region: Region, device: Device) -> Refusal | None:
        """Return why the region cannot be priced there, or None; reads constant weights once."""
        if device.kind not in ("asic", "fpga"):
            kinds = f"{self.name} is an asic or configures an fpga; {device.name} is {device.kind}"
            return Refusal(reason=kinds)
        layer = read_layer(region)
        if isinstance(layer, str):
            return Refusal(reason=f"{self.name}: {layer}")
        try:
            form, mode = self.array.engine.format, self.array.engine.mode
            if isinstance(form, FixedFormat):
                check_terms(layer.terms, form)
            weight_statistics(region, layer, form, mode=mode)
        except SpecError as error:
            return Refusal(reason=f"{self.name}: {error.where}: {error.found}; {error.fix}")
        return None

    def cost(
        self,
        region: Region,
        device: Device,
        schedule: KernelSchedule | None = None,
        statistics: Statistics | None = None,
    ) -> Cost:
        """Price one product.

        Parameters
        ----------
        schedule : changes nothing, the array has one
        statistics : the density of activations counts in floating point, where zeros cost nothing

        Raises
        ------
        ValueError : the region is one that `refuses` refuses
        """
        del schedule
        layer = read_layer(region)
        if isinstance(layer, str):
            raise ValueError(f"{self.name}: {layer}; ask `refuses` first")
        rate = device.offchip.bandwidth_bytes_per_s
        array = self.array
        if rate is not None:
            array = replace(array, channel_bytes_per_s=rate / 2)
        found = self.expected(region, statistics)
        *_, last = _play(found, array)
        moved = math.ceil(found.weight_bytes.sum() + found.activation_bytes.sum())
        charges = self._charges(float(last.end), moved, device)
        held = layer.activation_elements + layer.output_elements
        coded = self.stored(region, layer)
        weights = layer.weight_elements * self.storage_bits / 8
        if coded is not None:
            weights = coded.size_bytes
        return Cost(
            latency_s=float(last.end), offchip_bytes=moved, charges=charges,
            energy_j=math.fsum(c.energy_j for c in charges) if charges else None,
            peak_bytes={device.offchip.name: math.ceil(held * self.storage_bits / 8 + weights)
                        + 4 * layer.bias_elements},
            macs_nominal=region.operations.macs, macs_performed=layer.macs,
        )  # fmt: skip

    def stored(self, region: Region, layer: Layer) -> Coded | None:
        """Return the sizes of constant weights stored as columns; None where they lie plain."""
        constant = region.graph.constants.get(region.members[0].inputs[layer.weights])
        if constant is None or self.array.storage == "plain":
            return None
        engine, elements = self.array.engine, self.array.elements
        key = (*_way(constant, layer, region, engine.format), engine.group, elements)
        if key not in _coded:
            found = stored_weights(region, layer, self.array)
            while len(_coded) >= _MOST_KNOWN:
                _coded.pop(next(iter(_coded)))
            _coded[key] = None if found is None else replace(found, data=b"")
        return _coded[key]

    def expected(self, region: Region, statistics: Statistics | None = None) -> LayerCycles:
        """Return what a layer takes as `count_layer` would, its cycles expected.

        Raises
        ------
        ValueError : the region is one that `refuses` refuses
        """
        layer = read_layer(region)
        if isinstance(layer, str):
            raise ValueError(f"{self.name}: {layer}; ask `refuses` first")
        engine, elements = self.array.engine, self.array.elements
        rows = layer.batches * layer.filters
        few = layer.weight_elements <= _FEW and layer.weight_elements == rows * layer.terms
        if few and self.zeros is None and isinstance(engine.format, FixedFormat):
            held = constant_rows(region, layer)
            if held is not None:
                held = held.reshape(layer.batches, -1, layer.terms)
                return count_fixed(held, layer, self.array, stored=self.stored(region, layer))
        tiles = -(-rows // elements)
        group = min(engine.group, layer.terms)
        groups = -(-layer.terms // group)
        sizes = (group, layer.terms - (groups - 1) * group)
        mean = self._cycles(region, layer, statistics)
        beats = tile_beats(layer, self.array, tiles)
        sides = np.full(tiles, elements)
        sides[-1] = rows - (tiles - 1) * elements
        steps = np.zeros(tiles)
        alone = 0.0
        for size, count, least in zip(sizes, (groups - 1, 1), beats):
            if count:
                waiting = {int(side): mean(size, int(side)) for side in np.unique(sides)}
                steps += count * np.maximum([waiting[int(side)] for side in sides], least)
                alone += count * mean(size, 1)
        return LayerCycles(
            macs=layer.macs, groups=rows * layer.positions * groups,
            element_cycles=alone * rows * layer.positions, steps=steps * layer.positions,
            half_width=0.0, positions=layer.positions, sampled=layer.positions,
            **tile_traffic(layer, self.array, tiles, self.stored(region, layer)),
        )  # fmt: skip

    def _cycles(self, region: Region, layer: Layer, statistics: Statistics | None) -> Any:
        """Return a function of a group's size and the elements that wait for one another."""
        engine, window = self.array.engine, self.array.window
        form = engine.format
        counted = None
        if self.zeros is None or not isinstance(form, FixedFormat):
            counted = weight_statistics(region, layer, form, digits=engine.digits != "plain",
                                        mode=engine.mode)  # fmt: skip
        running = bin(engine.mask).count("1")
        if not self.array.distil:
            return lambda size, elements: float(size)
        if isinstance(form, FixedFormat):
            shares = _shares(form) if counted is None else counted.shares
            if self.zeros is not None:
                shares = (self.zeros,) * form.lanes
            shares = shares[:running]
            if engine.digits != "plain":
                exact = counted is not None and self.zeros is None and running == form.lanes
                places, halved = shared_lanes(
                    np.array(counted.digit_shares[::-1]) if exact and counted is not None
                    else 1 - digit_shares(1 - np.array(shares[::-1])), engine.digits,
                )  # fmt: skip
                return lambda size, elements: expected_cycles(places, size, window, elements,
                                                              halved)  # fmt: skip
            return lambda size, elements: expected_cycles(shares, size, window, elements)
        weights = normal_numbers(form.name) if counted is None else counted
        density = 1.0
        if statistics is not None:
            name = region.members[0].inputs[layer.activations]
            density = statistics.density.get(name, 1.0)
        activations = thinned(normal_numbers(form.name), density * filled_share(region))
        return lambda size, elements: expected_aligned_cycles(
            weights, activations, size, window, elements, running, engine.digits
        )

    def _charges(self, latency_s: float, moved: int, device: Device) -> tuple[Charge, ...]:
        """Return the bill; empty where the process or the memory's energy is not known."""
        engine, memory = self.array.engine, device.offchip
        plain = engine.group == 64 and self.array.window == 8
        found = array_power(engine.format, bin(engine.mask).count("1"),
                            elements=self.array.elements, process_nm=device.process_nm,
                            digits=engine.digits)  # fmt: skip
        if found is None or not plain or memory.energy_j_per_byte is None or device.kind != "asic":
            return ()
        watts, source = found
        return (
            Charge(
                resource="array", action="clock cycle of all elements",
                count=math.ceil(latency_s * self.array.clock_hz),
                energy_j_each=watts / PUBLISHED_CLOCK_HZ, source=source,
            ),
            Charge(
                resource=memory.name, action="byte moved", count=moved,
                energy_j_each=memory.energy_j_per_byte, source=memory.sources["energy_j_per_byte"],
            ),
        )  # fmt: skip


_play = schedule  # `cost` has a parameter of that name


# -- what is known of the operands ----------------------------------------------------------------


def _shares(form: FixedFormat) -> tuple[float, ...]:
    """Return the share of zeros per place of weights that nobody has seen."""
    return (PUBLISHED_ZEROS[8 if form.bits <= 8 else 16],) * form.lanes


@lru_cache(maxsize=8)
def normal_numbers(precision: str) -> BitStatistics:
    """Return counts of normally distributed numbers, drawn with a fixed seed."""
    draw = np.random.default_rng(0).standard_normal(1 << 14).astype(np.float32)
    return bit_statistics(draw, precision)


def thinned(found: BitStatistics, share: float) -> BitStatistics:
    """Return counts after so many zeros were put among the values that only `share` is left."""
    values = round(found.values / max(share, 1e-6))
    return replace(found, values=values, zero_values=found.zero_values + values - found.values)


_known: dict[tuple[str, str, str, int, bool, Mode], BitStatistics] = {}
_coded: dict[tuple[str, str, str, int, int, int], Coded | None] = {}


def _way(
    constant: Constant, layer: Layer, region: Region, form: NumberFormat
) -> tuple[str, str, str, int]:
    """Return what tells constants, and how a layer reads them, apart."""
    attributes = region.members[0].attributes
    way = f"{layer.operator}{attributes.get('transB', 0)}"
    if layer.operator == GRAD_INPUT:  # its rows depend on the geometry
        way = f"{layer}{sorted(attributes.items())}"
    return constant.digest(), form.name, way, layer.weights


def weight_statistics(
    region: Region, layer: Layer, form: NumberFormat, *, digits: bool = False,
    mode: Mode = "correct",
) -> BitStatistics | None:  # fmt: skip
    """Return the counts of a layer's constant weights; None where they are computed on the way.

    Parameters
    ----------
    digits : count signed digits as well
    mode : of the engine; ``faithful`` knows no infinities and no NaN in floating point

    Raises
    ------
    SpecError : weights that are not finite
    """
    node = region.members[0]
    name = node.inputs[layer.weights]
    constant = region.graph.constants.get(name)
    if constant is None:
        return None
    key = (*_way(constant, layer, region, form), digits, mode)
    if key not in _known:
        rows = constant_rows(region, layer)
        if rows is None:
            return None
        step = -(-rows.size // _MOST_COUNTED)
        found = bit_statistics(rows[::step], form.name, axis=0, where=f"weights {name!r}",
                               digits=digits, mode=mode)  # fmt: skip
        while len(_known) >= _MOST_KNOWN:
            _known.pop(next(iter(_known)))
        _known[key] = found
    return _known[key]


def check_precision(precision: str, lanes: int, *, where: str) -> NumberFormat:
    """Return the format, lanes checked.

    Raises
    ------
    SpecError : no such precision, lanes that the released engine has not
    """
    form = number_format(precision, where=where)
    if not 1 <= lanes <= PUBLISHED_LANES:
        raise SpecError(f"{where}: lanes", found=lanes, wanted=f"1 to {PUBLISHED_LANES}",
                        fix="the released engine has 24")  # fmt: skip
    return form
