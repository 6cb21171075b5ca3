"""The Verilog bench that ships with a circuit: it needs a simulator and nothing of ours.

One process drives inputs while the clock is low, reads outputs before it rises and moves the clock
itself, so that no simulator can order events in another way. Every set of vectors is played as
short runs that a reset cuts off, then without a pause (with the cycle of each item where it is
known), then with pauses from a fixed shift register.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence

import numpy as np

from orrery.errors import SpecError

from .._circuit import Circuit, Port, Stream
from .._given import numbers_of, plain_ports
from ._vectors import (
    PlainVectors,
    StreamVectors,
    Vectors,
    as_vectors,
    count_of,
)

#: After how many cycles resets cut off the short runs: at odd distances, so that they meet
#: different items, some of them in flight. Ascending.
_CUTS = (17, 48, 71, 110)
#: Cycles watched after the last item.
_AFTER = 32
#: A run without a handshake for so many cycles is over, where no cycles are given.
_PATIENCE = 4000
_NO_STAMP = (1 << 32) - 1

#: (name, bits, numbers): writes a vector file and declares its memory.
Keep = Callable[[str, int, Sequence[int]], None]
#: stream -> cycle of each item.
Stamps = dict[str, list[int]]


def bench_name(circuit: Circuit) -> str:
    """Return the name of the bench's module and, with ``.v``, of its file."""
    return f"{circuit.name}_bench"


def bench_files(circuit: Circuit, vectors: Vectors | Sequence[Vectors]) -> dict[str, str]:
    """Return the bench and its vector files: file name -> text.

    Every name begins with the circuit's, so that benches of several may share a folder. A vector
    file ends with a row of ones, without which it is missing or cut and the bench fails.

    The bench runs under ``iverilog -g2012`` and ``verilator --binary --timing`` in the folder of
    its files. It prints ``PASS n vectors``, or the first mismatches with set, cycle, vector,
    signal, expected and got, and ends with ``$fatal``; so does a run in which nothing moves. The
    plus-argument ``+most=N`` sets how many mismatches it prints (10).

    Parameters
    ----------
    vectors : one set or several; each starts from reset

    Raises
    ------
    SpecError : vectors that do not fit the ports, ports named like the bench's own signals
    """
    sets = as_vectors(circuit, vectors)
    for port in circuit.ports:
        if port.name.startswith("tb_"):
            raise SpecError(f"bench of {circuit.name}", found=f"port {port.name}",
                            wanted="no port that starts with tb_", fix="rename it")  # fmt: skip
    files: dict[str, str] = {}
    memories: list[str] = []

    def keep(name: str, width: int, numbers: Sequence[int]) -> None:
        digits, rows, end = -(-width // 4), len(numbers), (1 << width) - 1
        file = f"{circuit.name}_{name}.hex"
        files[file] = "".join(f"{number:0{digits}x}\n" for number in (*numbers, end))
        memories.extend([
            f"  reg [{width - 1}:0] tb_{name} [0:{rows}];",
            "  initial begin",
            f'    $readmemh("{file}", tb_{name}, 0, {rows});',
            f"    if (tb_{name}[{rows}] !== {{{width}{{1'b1}}}}) begin",
            f'      $display("FAIL: {file} is missing or cut");',
            f'      $fatal(1, "{file} is missing or cut");',
            "    end",
            "  end",
        ])  # fmt: skip

    streams = [one for one in sets if isinstance(one, StreamVectors)]
    plains = [one for one in sets if isinstance(one, PlainVectors)]
    parts = _stream_part(circuit, streams, keep) if streams else []
    parts += _plain_part(circuit, plains, keep) if plains else []
    calls, at_stream, at_plain = [], 0, 0
    for number, one in enumerate(sets):
        calls.append(f"    tb_set = {number};")
        if isinstance(one, StreamVectors):
            calls += [f"    tb_play({at_stream}, 0, {cut});" for cut in _CUTS]
            calls += [f"    tb_play({at_stream}, {run}, 0);" for run in (1, 2)]
            at_stream += 1
        else:
            if circuit.clock:
                calls += [f"    tb_rows({at_plain}, {cut});" for cut in _CUTS]
            calls.append(f"    tb_rows({at_plain}, 0);")
            at_plain += 1
    total = sum(count_of(one) for one in sets)
    top = _frame(circuit, memories, parts, calls, total)
    return {f"{bench_name(circuit)}.v": top, **files}


def vector_stamps(circuit: Circuit, vectors: StreamVectors) -> tuple[Stamps, Stamps]:
    """Return stream -> cycle of each item taken, and given, when nothing stalls; where known."""
    taken = {name: [int(c) for c in np.asarray(v)] for name, v in vectors.taken.items()}
    given = {name: [int(c) for c in np.asarray(v)] for name, v in vectors.given.items()}
    timing = circuit.timing
    if len(vectors.items) == len(vectors.expected) == 1 and not given and not taken:
        (source, items), (sink, answers) = *vectors.items.items(), *vectors.expected.items()
        n = len(np.asarray(next(iter(items.values()))))
        m = len(np.asarray(next(iter(answers.values()))))
        if n == m and timing.latency is not None and timing.interval is not None:
            taken[source] = [k * timing.interval for k in range(n)]
            given[sink] = [cycle + timing.latency for cycle in taken[source]]
    return taken, given


def _frame(
    circuit: Circuit, memories: Sequence[str], parts: Sequence[str], calls: Sequence[str],
    total: int,
) -> str:  # fmt: skip
    """Return the whole module around the tasks that play the vectors."""
    ins = [port for port in circuit.ports if port.direction == "in"]
    outs = [port for port in circuit.ports if port.direction == "out"]
    links = [f"    .{port.name}({port.name})" for port in circuit.ports]
    declared = [f"  reg  {_range(p)}{p.name} = {p.width}'d0;" for p in ins]
    declared += [f"  wire {_range(p)}{p.name};" for p in outs]
    clocking: list[str] = []
    if circuit.clock:
        declared = [f"  reg  {circuit.clock} = 1'b0;", f"  reg  {circuit.reset} = 1'b0;", *declared]
        links = [f"    .{name}({name})" for name in (circuit.clock, circuit.reset)] + links
        clocking = [
            "",
            "  // One cycle of reset with every input 0.",
            "  task tb_restart;",
            "    begin",
            *(f"      {p.name} = {p.width}'d0;" for p in ins),
            f"      {circuit.reset} = 1'b1;",
            f"      #5 {circuit.clock} = 1'b1;",
            f"      #5 {circuit.clock} = 1'b0;",
            f"      {circuit.reset} = 1'b0;",
            "      tb_cycle = 0;",
            "    end",
            "  endtask",
        ]
    return "\n".join([
        f"// Bench of {circuit.name}: plays the vectors of the .hex files beside it and compares.",
        f"// Prints PASS {total} vectors, or the first mismatches and ends with $fatal.",
        "// One process drives inputs and clock and reads outputs: no race in any simulator.",
        "",
        "`timescale 1ns / 1ps",
        "`default_nettype none",
        "",
        f"module {bench_name(circuit)};",
        "",
        *declared,
        "",
        f"  {circuit.name} dut (",
        ",\n".join(links),
        "  );",
        "",
        *memories,
        "",
        "  integer tb_set = 0;       // number of the set of vectors",
        "  integer tb_cycle = 0;     // since its reset, or the row",
        "  integer tb_errors = 0;",
        "  integer tb_most = 10;     // mismatches that are printed",
        "  integer tb_vectors = 0;   // compared in runs that were not cut off",
        "",
        "  task tb_fail;",
        "    begin",
        '      $display("FAIL: %0d mismatches", tb_errors);',
        f'      $fatal(1, "{circuit.name} does not do what its vectors say");',
        "    end",
        "  endtask",
        "",
        "  task tb_count;",
        "    begin",
        "      tb_errors = tb_errors + 1;",
        "      if (tb_errors >= tb_most) tb_fail;",
        "    end",
        "  endtask",
        *clocking,
        *parts,
        "",
        "  initial begin",
        '    if (!$value$plusargs("most=%d", tb_most)) tb_most = 10;',
        "    #5;",
        *calls,
        f"    if (tb_errors != 0 || tb_vectors != {total}) tb_fail;",
        '    else $display("PASS %0d vectors", tb_vectors);',
        "    $finish;",
        "  end",
        "",
        "endmodule",
        "",
        "`default_nettype wire",
        "",
    ])  # fmt: skip


def _range(port: Port) -> str:
    sign = "signed " if port.signed else ""
    return f"{sign}[{port.width - 1}:0] " if port.width > 1 or port.signed else ""


def _borders(name: str, lengths: Sequence[int]) -> list[str]:
    """Return an array with the first row of each set and, last, the number of all rows."""
    starts = [sum(lengths[:k]) for k in range(len(lengths) + 1)]
    lines = [f"  integer tb_{name}_from [0:{len(lengths)}];", "  initial begin"]
    lines += [f"    tb_{name}_from[{k}] = {start};" for k, start in enumerate(starts)]
    return [*lines, "  end"]


def _mismatch(what: str, wanted: str, got: str, vector: str) -> str:
    return (
        f'$display("MISMATCH set %0d, cycle %0d, vector %0d: {what}, expected %h, got %h", '
        f"tb_set, tb_cycle, {vector}, {wanted}, {got}); tb_count;"
    )


# -- plain ports ---------------------------------------------------------------------------------


def _plain_part(circuit: Circuit, sets: Sequence[PlainVectors], keep: Keep) -> list[str]:
    """Return the task that plays rows, one a cycle; its memories go through `keep`."""
    where = f"bench of {circuit.name}"
    lengths = [count_of(one) for one in sets]
    lines = [
        "",
        *_borders("rows", lengths),
        "",
        "  // Rows of a set; tb_cut: after so many a reset, 0: all.",
    ]
    drive, check = [], []
    for port in circuit.ports:
        if port.direction == "in":
            numbers = [n for one in sets for n in numbers_of(one.inputs[port.name], port, where)]
            keep(f"{port.name}_rows", port.width, numbers)
            drive.append(f"        {port.name} = tb_{port.name}_rows[tb_row];")
            continue
        wanted: list[int] = []
        care: list[int] = []
        for one, length in zip(sets, lengths):
            if port.name in one.expected:
                wanted += numbers_of(one.expected[port.name], port, where)
                mask = np.asarray(one.care.get(port.name, np.ones(length, bool))).astype(bool)
                care += [int(bit) for bit in mask]
            else:
                wanted, care = wanted + [0] * length, care + [0] * length
        if not any(care):
            continue
        name = f"tb_{port.name}_wanted"
        keep(f"{port.name}_wanted", port.width, wanted)
        masked = ""
        if not all(care):
            keep(f"{port.name}_care", 1, care)
            masked = f"tb_{port.name}_care[tb_row] && "
        told = _mismatch(port.name, f"{name}[tb_row]", port.name, "tb_row - tb_rows_from[tb_at]")
        check.append(f"        if ({masked}{port.name} !== {name}[tb_row]) begin {told} end")
    clock = circuit.clock
    tick = [f"        #1 {clock} = 1'b1;", f"        #5 {clock} = 1'b0;"] if clock else []
    return [
        *lines,
        "  integer tb_row, tb_last;",
        "  task tb_rows(input integer tb_at, input integer tb_cut);",
        "    begin",
        *(["      tb_restart;"] if clock else ["      tb_cycle = 0;"]),
        "      tb_last = tb_rows_from[tb_at + 1];",
        "      if (tb_cut != 0 && tb_last > tb_rows_from[tb_at] + tb_cut)",
        "        tb_last = tb_rows_from[tb_at] + tb_cut;",
        "      for (tb_row = tb_rows_from[tb_at]; tb_row < tb_last; tb_row = tb_row + 1) begin",
        *drive,
        "        #4;",
        *check,
        "        if (tb_cut == 0) tb_vectors = tb_vectors + 1;",
        *tick,
        "        tb_cycle = tb_cycle + 1;",
        "      end",
        "    end",
        "  endtask",
    ]


# -- streams -------------------------------------------------------------------------------------


def _stream_part(circuit: Circuit, sets: Sequence[StreamVectors], keep: Keep) -> list[str]:
    """Return the task that plays items through handshakes; its memories go through `keep`."""
    where = f"bench of {circuit.name}"
    stamps = [vector_stamps(circuit, one) for one in sets]
    sources = [s for s in circuit.streams if s.direction == "in"]
    sinks = [s for s in circuit.streams if any(s.name in one.expected for one in sets)]
    lines: list[str] = [""]
    for stream in (*sources, *sinks):
        tables = [(o.items if stream in sources else o.expected).get(stream.name, {}) for o in sets]
        lengths = [_length(table) for table in tables]
        lines += _borders(stream.name, lengths)
        lines += [f"  integer tb_{stream.name}_at, tb_{stream.name}_end;  // next item"]
        lines += [f"  reg tb_{stream.name}_up;"] + (
            [f"  reg tb_{stream.name}_take, tb_{stream.name}_seen;"] if stream in sinks else []
        )
        for name in stream.payload:
            port = circuit.port(name)
            numbers = [n for t in tables if t for n in numbers_of(t[name], port, where)]
            keep(f"{name}_items", port.width, numbers)
        which = 0 if stream in sources else 1
        cycles = [
            one[which].get(stream.name, [_NO_STAMP] * length)
            for one, length in zip(stamps, lengths)
        ]
        if any(stream.name in one[which] for one in stamps):
            keep(f"{stream.name}_cycles", 32, [c for table in cycles for c in table])
    timed = {name for one in stamps for side in one for name in side}
    lines += [
        f"  reg [31:0] tb_random_{k} = 32'h{(0x9E3779B9 * (k + 1)) & 0xFFFFFFFF | 1:08x};"
        for k in range(len(circuit.streams))
    ]
    patience = _patience(sets, stamps)
    return [
        *lines,
        "  integer tb_idle, tb_left;",
        "  reg tb_feeding, tb_wanting, tb_over, tb_pausing;",
        "",
        _RANDOM,
        *_play(circuit, sets, sources, sinks, timed, patience),
    ]


_RANDOM = """\
  function [31:0] tb_shifted(input [31:0] x);  // xorshift, period 2^32 - 1
    reg [31:0] y;
    begin
      y = x ^ (x << 13);
      y = y ^ (y >> 17);
      tb_shifted = y ^ (y << 5);
    end
  endfunction

  // Whether a side pauses: it changes every 32 cycles how often, so that queues fill and empty.
  function tb_paused(input [31:0] random, input [1:0] mix);
    case (mix)
      2'd0: tb_paused = random[10:8] != 3'd0;
      2'd1: tb_paused = random[8];
      2'd2: tb_paused = 1'b0;
      default: tb_paused = random[10:8] == 3'd0;
    endcase
  endfunction
"""


def _length(table: Mapping[str, object]) -> int:
    return len(np.asarray(next(iter(table.values())))) if table else 0


def _patience(sets: Sequence[StreamVectors], stamps: Sequence[tuple[Stamps, Stamps]]) -> int:
    """Return for how many cycles nothing may move: what the known cycles leave, many times over."""
    gaps = []
    for one, (_, given) in zip(sets, stamps):
        if set(given) != set(one.expected):
            return _PATIENCE
        gaps += [max(b - a for a, b in zip([0, *c], c)) for c in given.values() if c]
    return 16 * max(gaps, default=0) + 200


def _play(
    circuit: Circuit, sets: Sequence[StreamVectors], sources: Sequence[Stream],
    sinks: Sequence[Stream], timed: Iterable[str], patience: int,
) -> list[str]:  # fmt: skip
    timed = set(timed)
    number = {stream.name: k for k, stream in enumerate(circuit.streams)}
    begin = [
        line for s in (*sources, *sinks) for line in (
            f"      tb_{s.name}_at = tb_{s.name}_from[tb_at];",
            f"      tb_{s.name}_end = tb_{s.name}_from[tb_at + 1];",
            f"      tb_{s.name}_up = 1'b0;",
        )
    ]  # fmt: skip
    for port in plain_ports(circuit, "in"):
        where = f"bench of {circuit.name}: held"
        values = [numbers_of(np.array([one.held[port.name]]), port, where)[0] for one in sets]
        begin += [f"      if (tb_at == {k}) {port.name} = {port.width}'h{value:x};"
                  for k, value in enumerate(values)]  # fmt: skip
    drive, probe, check = [], [], []
    for s in sources:
        me, random = f"tb_{s.name}", f"tb_random_{number[s.name]}"
        drive += [
            f"        {random} = tb_shifted({random});",
            f"        tb_pausing = tb_run != 1 && tb_paused({random}, tb_cycle[6:5] + 2'd2);",
            f"        if (!{me}_up && {me}_at < {me}_end && !tb_pausing) {me}_up = 1'b1;",
            f"        {s.valid} = {me}_up;",
            f"        if ({me}_up) begin",
            *(f"          {p} = tb_{p}_items[{me}_at];" for p in s.payload),
            "        end else begin  // noise, for nobody may look",
            *(f"          {p} = {_noise(random, circuit.port(p))};" for p in s.payload),
            "        end",
        ]
        check += [
            f"        if ({s.ready} === 1'bx) begin {_unknown(s.ready)} end",
            f"        if ({me}_up && {s.ready} === 1'b1) begin",
            *(_stamp(s, me) if s.name in timed else []),
            f"          {me}_at = {me}_at + 1; {me}_up = 1'b0; tb_idle = 0;",
            "        end",
        ]
    for s in sinks:
        me, random = f"tb_{s.name}", f"tb_random_{number[s.name]}"
        drive += [
            f"        {random} = tb_shifted({random});",
            f"        {me}_take = !(tb_run != 1 && tb_paused({random}, tb_cycle[6:5]));",
            f"        {s.ready} = !{me}_take;",
        ]
        probe += [f"        {me}_seen = {s.valid};", f"        {s.ready} = {me}_take;"]
        vector = f"{me}_at - {me}_from[tb_at]"
        late = _mismatch(f"{s.valid} depends on {s.ready}", f"{me}_seen", s.valid, vector)
        lost = _mismatch(f"{s.valid} before the item is taken", "1'b1", s.valid, vector)
        more = _mismatch(f"{s.valid} after the last item", "1'b0", s.valid, vector)
        check += [
            f"        if ({s.valid} === 1'bx) begin {_unknown(s.valid)} end",
            f"        if ({me}_seen !== {s.valid}) begin {late} end",
            f"        if ({me}_up && {s.valid} !== 1'b1) begin {lost} end",
            f"        if ({s.valid} === 1'b1 && {me}_at >= {me}_end) begin {more} end",
            f"        if ({s.valid} === 1'b1 && {me}_at < {me}_end) begin",
        ]
        for p in s.payload:
            told = _mismatch(p, f"tb_{p}_items[{me}_at]", p, vector)
            check.append(f"          if ({p} !== tb_{p}_items[{me}_at]) begin {told} end")
        check += [
            f"          if ({me}_take) begin",
            *(f"    {line}" for line in (_stamp(s, me) if s.name in timed else [])),
            "            if (tb_run == 1) tb_vectors = tb_vectors + 1;",
            f"            {me}_at = {me}_at + 1; tb_idle = 0;",
            "          end",
            "        end",
            f"        {me}_up = {s.valid} === 1'b1 && !{me}_take;",
        ]
    feeding = " || ".join(f"tb_{s.name}_at < tb_{s.name}_end" for s in sources) or "1'b0"
    wanting = " || ".join(f"tb_{s.name}_at < tb_{s.name}_end" for s in sinks) or "1'b0"
    done = ", ".join(f"{s.name} %0d of %0d" for s in (*sources, *sinks))
    counts = ", ".join(
        f"tb_{s.name}_at - tb_{s.name}_from[tb_at], tb_{s.name}_end - tb_{s.name}_from[tb_at]"
        for s in (*sources, *sinks)
    )
    return [
        "  // Items of a set. Run 0: with pauses, cut off after tb_cut; 1: without; 2: with.",
        "  task tb_play(input integer tb_at, input integer tb_run, input integer tb_cut);",
        "    begin",
        "      tb_restart;",
        *begin,
        f"      tb_idle = 0; tb_over = 1'b0; tb_left = {_AFTER};",
        "      while (!tb_over) begin",
        *drive,
        "        #1;",
        *probe,
        "        #3;",
        "        tb_idle = tb_idle + 1;",
        *check,
        f"        #1 {circuit.clock} = 1'b1;",
        f"        #5 {circuit.clock} = 1'b0;",
        "        tb_cycle = tb_cycle + 1;",
        f"        tb_feeding = {feeding};",
        f"        tb_wanting = {wanting};",
        "        if (!tb_feeding && !tb_wanting) begin",
        "          tb_left = tb_left - 1;",
        "          tb_over = tb_left == 0;",
        f"        end else if (tb_idle > {patience}) begin",
        f'          $display("MISMATCH set %0d, cycle %0d: nothing moves any more; {done}",',
        f"                   tb_set, tb_cycle, {counts});",
        "          tb_errors = tb_errors + 1;",
        "          tb_fail;",
        "          tb_over = 1'b1;",
        "        end",
        "        if (tb_run == 0 && tb_cycle == tb_cut) tb_over = 1'b1;",
        "      end",
        "    end",
        "  endtask",
    ]


def _noise(random: str, port: Port) -> str:
    if port.width < 32:
        return f"{random}[{port.width - 1}:0]"
    copies, rest = divmod(port.width, 32)
    return f"{{{f'{random}[{rest - 1}:0], ' if rest else ''}{{{copies}{{{random}}}}}}}"


def _unknown(port: str) -> str:
    return _mismatch(f"{port} is unknown", "1'b0", port, "0")


def _stamp(stream: Stream, me: str) -> list[str]:
    """Return the check of an item's cycle in the run without pauses."""
    stamp = f"tb_{stream.name}_cycles[{me}_at]"
    what = f"cycle of {stream.name}"
    return [
        f"          if (tb_run == 1 && {stamp} !== 32'hffffffff && {stamp} !== tb_cycle) begin",
        f'            $display("MISMATCH set %0d, vector %0d: {what}, expected %0d, got %0d",',
        f"                     tb_set, {me}_at - {me}_from[tb_at], {stamp}, tb_cycle); tb_count;",
        "          end",
    ]
