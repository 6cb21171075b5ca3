"""The processing element as a circuit: groups of weights and activations in, results out.

Models:  the released engine's function and its window rule, in small modules of our own. Beats of
         a group are taken while the group before is in the lanes; alignment runs one batch ahead
         of the lanes; indices, activations, tree, accumulator and packer are a pipeline.
Ignores: the exact stages of the released Verilog, which are not published as a specification.
Judge:   `Engine.run` bit for bit and `Pipeline` cycle for cycle, on two simulation engines, and
         the netlist after synthesis (tests/accel/bitlet/test_circuit.py).
Source:  Bitlet, MICRO 2021, §4; the released Verilog (github.com/Zhu-Zixuan/Bitlet-PE), facts only.
"""

from __future__ import annotations

from typing import Any

from amaranth import C, Cat, Module, Mux, Signal, Value, signed
from amaranth.lib import data, stream
from amaranth.lib.wiring import In, Out

from orrery.errors import check_choice
from orrery.rtl import Circuit, Timing
from orrery.rtl.parts import (
    ComparatorTree,
    CompressorTree,
    Part,
    Shared,
    part_circuit,
)

from .._digits import Digits
from .._engine import MOST_QUANT, PACKED_BITS
from .._format import MODES, FixedFormat, FloatFormat, Mode, number_format
from .._pipeline import Pipeline
from ._back import PackFixed, PackFloat
from ._front import Align, FixedPair, FloatPair, fixed_activation_bits
from ._lane import Lane
from ._recode import Recode

_SPECIAL = ("nan", "plus", "minus")


def _meanings(stages: Pipeline, mode: Mode) -> dict[str, str]:
    """Return port or stream -> what it means with operands of this format."""
    form, rest = stages.format, stages.format.lanes - stages.lanes
    unread = ""
    if rest:
        which = "bit" if rest == 1 else f"{rest} bits"
        told = mode == "correct" and isinstance(form, FloatFormat)
        unread = (f"; no lane is built for the lowest {which} of each: they are "
                  f"{'read to tell zeros and NaN only' if told else 'ignored'}")  # fmt: skip
    found = {
        "i": "a beat of weights and activations",
        "i__w_sign": "signs of the weights, 1: negative, a bit each, weight 0 lowest",
        "i__last": "number of the group's last weight; read with its last beat",
        "o": "the sum of one group",
        "o__result": "the sum, packed",
        "o__accumulator": "the sum before packing",
    }
    if isinstance(form, FloatFormat):
        return found | {
            "i__w_exponent": f"stored exponents of the weights, {form.exponent_bits} bits each, "
            "weight 0 lowest; 1 for a subnormal",
            "i__w_magnitude": f"magnitudes of the weights, {form.lanes} bits each, weight 0 "
            f"lowest: fraction, and the hidden one above it{unread}",
            "i__a": f"activations, words of {form.storage_bits} bits each, activation 0 lowest",
            "o__largest": "the group's largest sum of stored exponents",
        }
    return found | {
        "i__w_magnitude": f"magnitudes of the weights, {form.lanes} bits each, weight 0 lowest"
        f"{unread}",
        "i__a": f"activations, {form.bits + 1} bits of two's complement each, activation 0 lowest",
        "quant": f"0 to {MOST_QUANT}: the accumulator bit that becomes the result's lowest; above, "
        "results are undefined. Hold it from a group's first beat until its result is offered",
    }


def circuit(
    *, precision: str = "fp32", mode: Mode = "faithful", group: int = 64, lanes: int | None = None,
    window: int = 8, beat: int = 16, align: int = 8, digits: Digits = "plain",
) -> Circuit:  # fmt: skip
    """Return the circuit of one processing element.

    Parameters
    ----------
    precision : ``fp32``, ``fp16``, ``bf16`` or ``fixed1`` to ``fixed24``
    mode : ``faithful`` to the released circuit's bits, or ``correct``
    group : weights of a group
    lanes : the highest so many of the format's are built; None: all
    window : bits that a lane looks at in a cycle, at most `align`
    beat, align : weights that arrive, and that are aligned, in a cycle
    digits : ``plain`` bits, ``signed`` digits (a lane more) or ``split`` ones (two more)

    Raises
    ------
    SpecError : parameters that make no circuit
    """
    form = number_format(precision, where="bitlet circuit")
    check_choice("bitlet circuit: mode", mode, MODES)
    stages = Pipeline(
        format=form, lanes=form.lanes if lanes is None else lanes, group=group, window=window,
        beat=beat, align=align, digits=digits,
    )  # fmt: skip
    return part_circuit(ProcessingElement(stages, mode))


class ProcessingElement(Part):
    """Sums of products by popping the ones of weights, lane by lane.

    Ports
    -----
    i : stream of beats, each with `beat` weights and activations, element 0 in the lowest bits:
        `w_sign`, `w_magnitude` (with the hidden one of floating point), `a`; floating point:
        `w_exponent`. `last` is
        the number of the group's last weight, read with the group's last beat; weights beyond it
        must be zero
    quant : fixed point, 0 to 24: the accumulator bit that becomes the result's lowest one; held
        while groups are in flight, for it is read when a sum is packed. Results of 25 and more
        are undefined
    o : stream of results, one a group: `result`, the `accumulator` it was packed from, and in
        floating point the group's `largest` exponent sum

    Timing
    ------
    As `Pipeline` counts.
    """

    def __init__(self, stages: Pipeline, mode: Mode) -> None:
        self._stages, self._form, self.mode = stages, stages.format, mode
        form, beat = stages.format, stages.beat
        self._sum_bits = 64 if isinstance(form, FixedFormat) else form.accumulator_bits
        payload: dict[str, Any] = {"w_sign": beat}
        results: dict[str, Any] = {}
        if isinstance(form, FloatFormat):
            payload["w_exponent"] = data.ArrayLayout(form.exponent_bits, beat)
            self._operand = form.storage_bits
            self._activation = form.activation_bits
            results["result"] = form.storage_bits
            results["largest"] = form.exponent_sum_bits
        else:
            self._operand = form.bits + 1
            self._activation = fixed_activation_bits(form)
            results["result"] = signed(PACKED_BITS + 1)
        # 25 bits do not hold the negative of the least activation of the widest format.
        whole = self._activation <= form.lanes + 1 and isinstance(form, FixedFormat)
        signed_digits = stages.digits != "plain"
        self._chosen = self._activation + (whole and signed_digits)
        self._popped = "ones" if not signed_digits else f"{stages.digits} digits"
        payload["w_magnitude"] = data.ArrayLayout(form.lanes, beat)
        payload["a"] = data.ArrayLayout(self._operand, beat)
        payload["last"] = range(stages.group)
        results["accumulator"] = signed(self._sum_bits)
        members = {
            "i": In(stream.Signature(data.StructLayout(payload))),
            "o": Out(stream.Signature(data.StructLayout(results))),
        }
        if isinstance(form, FixedFormat):
            members["quant"] = In(range(MOST_QUANT + 1))
        super().__init__(
            members,
            title=f"bitlet_{form.name}_{mode}_g{stages.group}_l{stages.lanes}_w{stages.window}"
            + (f"_b{stages.beat}" if stages.beat != 16 else "")
            + (f"_a{stages.align}" if stages.align != 8 else "")
            + (f"_{stages.digits}" if stages.digits != "plain" else ""),
            parameters={
                "precision": form.name, "mode": mode, "group": stages.group,
                "lanes": stages.lanes, "window": stages.window, "beat": beat,
                "align": stages.align,
                **({"digits": stages.digits} if stages.digits != "plain" else {}),
            },
            timing=Timing(
                latency=None, interval=None,
                rule=f"a group takes as many cycles as its slowest lane has windows; its result is "
                f"offered {stages.drain} cycles after the last of them. A lane looks at "
                f"{stages.window} bits a cycle: no one, or one: on by {stages.window}; more: on to "
                "the second one. The next group's beats are taken meanwhile",
            ),
            summary=f"Bit-interleaving processing element: sums of {stages.group} products, "
            f"{form.name}, by popping the {self._popped} of the weights in {stages.popping} lanes.",
            meanings=_meanings(stages, mode),
        )  # fmt: skip

    def elaborate(self, platform: object) -> Module:
        """Loader, lanes, and the pipeline behind them; one enable stops all of it."""
        m = Module()
        move = Signal()
        loader = self._load(m, move)
        passes = self._lanes(m, move, loader)
        self._finish(m, move, passes)
        return m

    # -- beats into buffers ------------------------------------------------------------------

    def _load(self, m: Module, move: Signal) -> dict[str, Any]:
        """Take beats; hold raw magnitudes, exponents and activations until they are aligned."""
        stages, form = self._stages, self._form
        floating = isinstance(form, FloatFormat)
        group, beat, beats = stages.group, stages.beat, stages.beats
        magnitudes = Signal(data.ArrayLayout(form.lanes, group), reset_less=True)
        activations = Signal(data.ArrayLayout(signed(self._activation), group), reset_less=True)
        exponents = None
        last = Signal(range(group), reset_less=True)
        loaded = Signal(range(beats + 1))  # beats of the group that is coming
        take = Signal()
        start = Signal()
        aligning = Signal()
        at = Signal(range(max(group // stages.align, 2)))
        batch = Signal.like(at)
        # This beat replaces weights that are aligned by now.
        done = [-(-(k + 1) * beat // stages.align) - 1 for k in range(beats)]
        room = [Mux(aligning, at >= batches, 1) if batches else C(1) for batches in done]
        m.d.comb += [
            # No bit of `room` is that of a whole group.
            self.i.ready.eq(move & Cat(*room, C(0, 1)).bit_select(loaded, 1)),
            take.eq(self.i.valid & self.i.ready),
            batch.eq(Mux(start, 0, at)),
        ]
        pairs = []
        for k in range(beat):
            if isinstance(form, FloatFormat):
                pair: Any = FloatPair(form, self.mode)
            else:
                pair = FixedPair(form)
            m.submodules[f"pair_{k}"] = pair = Shared(pair, pair.title)
            m.d.comb += [pair.w_sign.eq(self.i.p.w_sign[k]), pair.a.eq(self.i.p.a[k])]
            if floating:
                m.d.comb += [
                    pair.w_exponent.eq(self.i.p.w_exponent[k]),
                    pair.w_magnitude.eq(self.i.p.w_magnitude[k]),
                ]
            pairs.append(pair)

        with m.If(take):
            m.d.sync += loaded.eq(loaded + 1)
            for b in range(beats):
                with m.If(loaded == b):
                    for k, pair in enumerate(pairs):
                        raw = pair.magnitude if floating else self.i.p.w_magnitude[k]
                        m.d.sync += [
                            magnitudes[b * beat + k].eq(raw),
                            activations[b * beat + k].eq(pair.activation),
                        ]
            with m.If(loaded == beats - 1):
                m.d.sync += last.eq(self.i.p.last)
        found: dict[str, Any] = {}
        complete = Signal()
        if isinstance(form, FloatFormat):
            exponents = Signal(data.ArrayLayout(form.exponent_sum_bits, group), reset_less=True)
            with m.If(take):
                for b in range(beats):
                    with m.If(loaded == b):
                        for k, pair in enumerate(pairs):
                            m.d.sync += exponents[b * beat + k].eq(pair.exponent)
            found = self._largest(m, form, pairs, take, start, loaded, complete)
        else:
            m.d.comb += complete.eq(loaded == beats)
        with m.If(move):
            with m.If(start):
                m.d.sync += loaded.eq(0)
            steps = group // stages.align
            with m.If(start | aligning):
                m.d.sync += [at.eq(batch + 1), aligning.eq(batch != steps - 1)]
            if steps == 1:
                m.d.sync += aligning.eq(0)
        return {
            "magnitudes": magnitudes, "activations": activations, "exponents": exponents,
            "last": last, "complete": complete, "start": start, "aligning": aligning,
            "batch": batch, **found,
        }  # fmt: skip

    def _largest(
        self, m: Module, form: FloatFormat, pairs: list[Any], take: Signal, start: Signal,
        loaded: Signal, complete: Signal,
    ) -> dict[str, Any]:  # fmt: skip
        """Follow the largest exponent sum of the group that comes, and its special products."""
        stages = self._stages
        coming = Signal(form.exponent_sum_bits)
        if len(pairs) == 1:
            best: Value = pairs[0].exponent
        else:
            tree = ComparatorTree(
                form.exponent_sum_bits, inputs=len(pairs), registers=stages.search
            )
            m.submodules.search = search = Shared(tree, tree.title)
            m.d.comb += [
                port.eq(pair.exponent)
                for port, pair in zip(
                    (getattr(search, f"value{k}") for k in range(len(pairs))), pairs
                )
            ]
            if stages.search:
                m.d.comb += search.enable.eq(1)
            best = search.best
        special = (
            [Cat(getattr(pair, name) for pair in pairs).any() for name in _SPECIAL]
            if self.mode == "correct"
            else []
        )
        arrived: Value = take
        flags: Value = Cat(special)
        ending: Value = take & (loaded == stages.beats - 1)
        for stage in range(stages.search):
            now = Signal(2 + len(special), name=f"arrived_{stage + 1}")
            m.d.sync += now.eq(Cat(arrived, ending, flags))
            arrived, ending, flags = now[0], now[1], now[2:]
        seen = Signal(max(len(special), 1))
        with m.If(start):
            m.d.sync += [coming.eq(0), complete.eq(0), seen.eq(0)]
        with m.Elif(arrived):
            m.d.sync += coming.eq(Mux(best > coming, best, coming))
            if special:
                m.d.sync += seen.eq(seen | flags)
            with m.If(ending):
                m.d.sync += complete.eq(1)
        return {"coming": coming, "seen": seen}

    # -- lanes -------------------------------------------------------------------------------

    def _lanes(self, m: Module, move: Signal, loader: dict[str, Any]) -> dict[str, Any]:
        """Align a batch a cycle, run the lanes, and turn indices into activations."""
        stages, form = self._stages, self._form
        start, batch = loader["start"], loader["batch"]
        magnitudes = loader["magnitudes"]
        last = Signal(range(stages.group), reset_less=True)
        current: Value = C(0)
        seen: Value = C(0)
        if isinstance(form, FloatFormat):
            held = Signal(form.exponent_sum_bits, name="largest", reset_less=True)
            current = Signal(form.exponent_sum_bits, name="current")
            m.d.comb += current.eq(Mux(start, loader["coming"], held))
            special = Signal(len(loader["seen"]), name="special", reset_less=True)
            with m.If(move & start):
                m.d.sync += [held.eq(loader["coming"]), special.eq(loader["seen"])]
            current_held, seen = held, special
        signs = stages.digits != "plain"
        columns = [Signal(stages.align, name=f"column_{k}") for k in range(stages.popping)]
        minus = [
            Signal(stages.align, name=f"minus_{k}") for k in range(stages.popping if signs else 0)
        ]
        # Linters leave alone what is named so: where lanes are left out, its lower bits.
        cut = not isinstance(form, FloatFormat) and stages.lanes < form.lanes
        row = Signal(
            data.ArrayLayout(form.lanes, stages.align), name="row_unused_below" if cut else "row"
        )
        exponents = Signal(data.ArrayLayout(0, stages.align))
        m.d.comb += row.eq(Value.cast(magnitudes).word_select(batch, len(Value.cast(row))))
        if isinstance(form, FloatFormat):
            exponents = Signal(
                data.ArrayLayout(form.exponent_sum_bits, stages.align), name="row_exponents"
            )
            wide = Value.cast(loader["exponents"])
            m.d.comb += exponents.eq(wide.word_select(batch, len(Value.cast(exponents))))
        for j in range(stages.align):
            raw = Value.cast(row[j])
            if isinstance(form, FloatFormat):
                shifter = Align(form, stages.lanes)
                m.submodules[f"align_{j}"] = shift = Shared(shifter, shifter.title)
                m.d.comb += [
                    shift.magnitude.eq(raw), shift.largest.eq(current),
                    shift.exponent.eq(exponents[j]),
                ]  # fmt: skip
                bits: Value = shift.aligned
            else:
                bits = raw[form.lanes - stages.lanes :]
            if not signs:
                m.d.comb += [columns[k][j].eq(bits[k]) for k in range(stages.lanes)]
                continue
            chain = Recode(stages.lanes)
            m.submodules[f"recode_{j}"] = chain = Shared(chain, chain.title)
            m.d.comb += chain.value.eq(bits)
            some = [chain.some[k] for k in range(stages.lanes + 1)]
            negative = [chain.minus[k] for k in range(stages.lanes + 1)]
            if stages.digits == "split":
                odd: Value = batch[0] ^ (j & 1) if stages.align % 2 else C(j & 1, 1)
                some = [some[0] & ~odd, *some[1:], some[0] & odd]
                negative.append(negative[0])
            m.d.comb += [columns[k][j].eq(some[k]) for k in range(stages.popping)]
            m.d.comb += [minus[k][j].eq(negative[k]) for k in range(stages.popping)]
        write = Signal()
        m.d.comb += write.eq(start | loader["aligning"])
        lanes = []
        for k in range(stages.popping):
            rule = Lane(group=stages.group, batch=stages.align, window=stages.window, digits=signs)
            m.submodules[f"lane_{k}"] = lane = Shared(rule, rule.title)
            m.d.comb += [
                lane.enable.eq(move), lane.batch.eq(columns[k]), lane.batch_at.eq(batch),
                lane.write.eq(write), lane.start.eq(start), lane.last.eq(last),
            ]  # fmt: skip
            if signs:
                m.d.comb += lane.batch_minus.eq(minus[k])
            lanes.append(lane)
        busy, ending = Signal(), Signal()
        m.d.comb += [
            busy.eq(Cat(lane.busy for lane in lanes).any()),
            ending.eq(Cat(lane.ending for lane in lanes).all()),
            start.eq(loader["complete"] & ending & move),
        ]
        # The lanes of the group before still read in the cycle after their last: copy after it.
        copy = Signal()
        held_activations = Signal(loader["activations"].shape(), reset_less=True)
        popped = Signal()
        popped_last = Signal()
        with m.If(move):
            m.d.sync += [copy.eq(start), popped.eq(busy), popped_last.eq(busy & ending)]
            with m.If(start):
                m.d.sync += last.eq(loader["last"])
            with m.If(copy):
                m.d.sync += held_activations.eq(loader["activations"])
        chosen = []
        for k, lane in enumerate(lanes):
            index = Signal(range(stages.group), name=f"index_{k}", reset_less=True)
            some = Signal(name=f"some_{k}", reset_less=True)
            value = Signal(signed(self._chosen), name=f"chosen_{k}", reset_less=True)
            picked: Value = held_activations[index]
            if signs:
                down = Signal(name=f"down_{k}", reset_less=True)
                with m.If(move):
                    m.d.sync += down.eq(lane.minus)
                held_one = Signal(signed(self._activation), name=f"picked_{k}")
                m.d.comb += held_one.eq(picked)
                picked = Mux(down, -held_one, held_one)
            with m.If(move):
                m.d.sync += [
                    index.eq(lane.index), some.eq(lane.some), value.eq(Mux(some, picked, 0)),
                ]  # fmt: skip
            chosen.append(value)
        group_values = {}
        if isinstance(form, FloatFormat):
            # The next group may start while this one is still in the pipeline.
            popped_largest = Signal(form.exponent_sum_bits, reset_less=True)
            popped_special = Signal(len(seen), reset_less=True)
            with m.If(move):
                m.d.sync += [popped_largest.eq(current_held), popped_special.eq(seen)]
            group_values = {"largest": popped_largest, "special": popped_special}
        return {"chosen": chosen, "valid": popped, "last": popped_last, **group_values}

    # -- tree, accumulator, packer -----------------------------------------------------------

    def _finish(self, m: Module, move: Signal, passes: dict[str, Any]) -> None:
        """Add the lanes, add the passes, pack."""
        stages, form = self._stages, self._form
        lowest = form.lanes - stages.lanes

        def along(value: Value, name: str, count: int, *, reset: bool = False) -> Value:
            for stage in range(count):
                register = Signal(
                    Value.cast(value).shape(), name=f"{name}_{stage + 1}", reset_less=not reset
                )
                with m.If(move):
                    m.d.sync += register.eq(value)
                value = register
            return value

        if stages.popping == 1:
            total: Value = passes["chosen"][0] << lowest
        else:
            tree = CompressorTree(
                [signed(self._chosen)] * stages.popping,
                shifts=list(stages.places), compressor="4:2",
                registers=stages.compress,
            )  # fmt: skip
            m.submodules.tree = adder = Shared(tree, tree.title)
            m.d.comb += [
                getattr(adder, f"term{k}").eq(value) for k, value in enumerate(passes["chosen"])
            ]
            m.d.comb += adder.enable.eq(move)
            total = adder.total
        valid = along(passes["valid"], "added", 1 + stages.compress, reset=True)
        last = along(passes["last"], "added_last", 1 + stages.compress, reset=True)
        running = Signal(signed(self._sum_bits))
        accumulator = Signal(signed(self._sum_bits), reset_less=True)
        whole = Signal(signed(self._sum_bits))
        m.d.comb += whole.eq(running + Mux(valid, total, 0))
        with m.If(move):
            m.d.sync += [running.eq(Mux(last, 0, whole)), accumulator.eq(whole)]
        packing = along(last, "packing", 1 + stages.pack, reset=True)
        if isinstance(form, FloatFormat):
            pack: Any = PackFloat(form, self.mode, bits=self._sum_bits)
            m.submodules.pack = pack = Shared(pack, pack.title)
            largest = along(passes["largest"], "largest", 2 + stages.compress)
            m.d.comb += [pack.total.eq(accumulator), pack.largest.eq(largest)]
            if self.mode == "correct":
                special = along(passes["special"], "special", 2 + stages.compress)
                m.d.comb += [getattr(pack, n).eq(special[k]) for k, n in enumerate(_SPECIAL)]
            m.d.comb += self.o.p.largest.eq(along(largest, "out_largest", stages.pack))
        else:
            # No sum is beyond the largest weights times the largest activations.
            reach = (stages.group << (form.lanes + form.bits)).bit_length() + 1
            pack = PackFixed(self.mode, bits=min(reach, self._sum_bits))
            m.submodules.pack = pack = Shared(pack, pack.title)
            m.d.comb += [pack.total.eq(accumulator), pack.quant.eq(self.quant)]
        m.d.comb += [
            pack.enable.eq(move),
            move.eq(~self.o.valid | self.o.ready),
            self.o.valid.eq(packing),
            self.o.p.result.eq(pack.result),
            self.o.p.accumulator.eq(along(accumulator, "out_accumulator", stages.pack)),
        ]
