"""The C++ around a compiled circuit: whole arrays in, whole arrays out, the cycle loop inside.

One text for every engine. An engine names its header, its class and how a port is read and
written; the rest is the same, so that two engines differ in nothing but the circuit.

The inputs of a clocked circuit pass through registers of the harness. What the driver puts for a
cycle goes in by the clock edge that begins it, so that one evaluation does the whole cycle: the
circuit's registers take what the old inputs made, then the new inputs settle. Every input stream's
payload has a load of its own: logic behind it runs only in cycles in which it changes.
"""

from __future__ import annotations

from collections.abc import Iterable

from ._circuit import Circuit, Port
from ._given import plain_ports
from ._words import words_of

#: How each engine holds its model and moves the words of a port.
_ENGINES = {
    "cxxrtl": """\
#define CXXRTL_NDEBUG  // a row that a memory does not have reads 0 and does not stop the process
#include "model.cc"
struct Engine {
  cxxrtl_design::p_harness top;
  void settle() { top.step(); }
};
template <size_t B> static inline void put(cxxrtl::value<B> &to, const uint64_t *from) {
  std::memcpy(to.data, from, sizeof to.data);
}
template <size_t B> static inline void put(cxxrtl::wire<B> &to, const uint64_t *from) {
  put(to.next, from);
}
template <size_t B> static inline void get(const cxxrtl::value<B> &from, uint64_t *to) {
  to[(B - 1) / 64] = 0;
  std::memcpy(to, from.data, sizeof from.data);
}
template <size_t B> static inline void get(const cxxrtl::wire<B> &from, uint64_t *to) {
  get(from.curr, to);
}
#define PORT(name) top.p_##name
""",
    "verilator": """\
#include "Vmodel.h"
struct Engine {
  VerilatedContext context;
  Vmodel top{&context};
  void settle() { top.eval(); }
};
template <class T> static inline void put(T &to, const uint64_t *from) { to = (T)*from; }
template <std::size_t N> static inline void put(VlWide<N> &to, const uint64_t *from) {
  std::memcpy(to.data(), from, N * sizeof(EData));
}
template <class T> static inline void get(const T &from, uint64_t *to) { *to = from; }
template <std::size_t N> static inline void get(const VlWide<N> &from, uint64_t *to) {
  to[(N - 1) / 2] = 0;
  std::memcpy(to, from.data(), N * sizeof(EData));
}
#define PORT(name) top.name
""",
}

_BODY = """
struct Random {  // xorshift64*, one for each stream
  uint64_t state;
  explicit Random(uint64_t seed) {
    uint64_t z = seed + 0x9E3779B97F4A7C15ull;  // splitmix64, so that no state is 0 or alike
    z = (z ^ (z >> 30)) * 0xBF58476D1CE4E5B9ull;
    z = (z ^ (z >> 27)) * 0x94D049BB133111EBull;
    state = (z ^ (z >> 31)) | 1;
  }
  uint64_t next() {
    state ^= state >> 12; state ^= state << 25; state ^= state >> 27;
    return state * 0x2545F4914F6CDD1Dull;
  }
};

struct Side {  // one stream while it runs
  uint64_t done = 0;       // items taken or given
  bool offered = false;    // in: valid is up; out: an item was offered and not taken
  Random random{0};
};

// What Python sees of a stream: its items, its cycles, its chance of a pause.
struct Arrays {
  uint64_t items;          // in: how many there are; out: how many are wanted
  uint64_t pause;          // pauses where a random 64-bit number is below
  int64_t *cycles;         // of each item taken or given
};

struct Report { uint64_t cycle; int64_t broken; int64_t rule; };

struct Harness {
  Engine engine;
  uint64_t cycle = 0;
  bool ticking = false;  // an edge is due; it comes with the inputs of the cycle after it
  bool fresh[@LOADS@];   // which inputs were put since they were loaded
  std::vector<Side> sides;
  std::vector<uint64_t> before, now;  // words of all outputs, of the cycle before and of this one
};

static const uint64_t ZERO[@MOST_WORDS@] = {};

// Everything put is there, and outputs have followed.
static inline void settle(Harness &h) {
@SETTLE@}

static inline void edge(Harness &h) { h.ticking = true; }

static void idle(Harness &h) {
  auto &top = h.engine.top;
@IDLE@}

extern "C" void *orrery_new(uint64_t seed) {
  auto *h = new Harness;
  h->sides.resize(@STREAMS@);
  for (size_t k = 0; k < h->sides.size(); ++k) h->sides[k].random = Random(seed * 1000003 + k);
  h->before.resize(@OUT_WORDS@ + 1);
  h->now.resize(@OUT_WORDS@ + 1);
  for (bool &fresh : h->fresh) fresh = true;
  idle(*h);
@RESET@  return h;
}

extern "C" void orrery_delete(void *handle) { delete static_cast<Harness *>(handle); }

// One row a cycle: inputs applied before the edge, outputs sampled before it.
extern "C" void orrery_cycles(void *handle, uint64_t from, uint64_t to,
                              const uint64_t *const *in, uint64_t *const *out) {
  auto &h = *static_cast<Harness *>(handle);
  auto &top = h.engine.top;
  for (uint64_t row = from; row < to; ++row) {
@APPLY_ROW@    for (bool &fresh : h.fresh) fresh = true;
    settle(h);
@SAMPLE_ROW@    edge(h);
  }
}

@STREAMING@"""

_STREAMING = """\
static inline void sample(Harness &h, uint64_t *words) {
  auto &top = h.engine.top;
@SAMPLE@}

// Runs until every wanted item came, a rule is broken, or `last` is reached; 1 when it is over.
extern "C" int orrery_stream(void *handle, uint64_t last, const uint64_t *const *in,
                             uint64_t *const *out, const uint64_t *const *held, Arrays *arrays,
                             Report *report) {
  auto &h = *static_cast<Harness *>(handle);
  auto &top = h.engine.top;
@HOLD@  const bool any_wanted = @ANY_WANTED@;  // else it is over when every item is taken
  for (; h.cycle < last; ++h.cycle) {
    bool wanting = false, feeding = false;
@OVER@    if (any_wanted ? !wanting : !feeding) { report->cycle = h.cycle; return 1; }
@DRIVE@    h.fresh[0] = true;
    settle(h);
    sample(h, h.now.data());
    uint64_t *now = h.now.data(), *before = h.before.data();
    (void)before;
@PROBE@@CHECK@@MOVE@    edge(h);
    std::swap(h.now, h.before);
  }
  report->cycle = h.cycle;
  return 0;
}
"""

#: Cycles of a run in which every ready is flipped to see whether a valid follows it.
_PROBED = 256


def _loads(circuit: Circuit) -> dict[str, int]:
    """Return input port -> the load it goes in by: 0, or one for the payload of each in stream."""
    found = {port.name: 0 for port in circuit.ports if port.direction == "in"}
    payloads = [stream.payload for stream in circuit.streams if stream.direction == "in"]
    for number, names in enumerate((names for names in payloads if names), start=1):
        found |= dict.fromkeys(names, number)
    return found


def harness_text(circuit: Circuit) -> str:
    """Return a Verilog module ``harness`` that holds the circuit; its ports are ``p0``, ``p1``, …

    Engines rewrite names with underscores, each in its own way; these names they leave alone.
    Inputs of a clocked circuit pass registers ``h0``, …, each group with its own ``load0``, ….
    """
    heads, links, held = [], [], []
    loads = _loads(circuit)
    if circuit.clock:
        heads += ["input clk", "input rst"]
        heads += [f"input load{k}" for k in sorted({0, *loads.values()})]
        links += [f".{circuit.clock}(clk)", f".{circuit.reset}(rst)"]
    for index, port in enumerate(circuit.ports):
        way = "input" if port.direction == "in" else "output"
        heads.append(f"{way} [{port.width - 1}:0] p{index}")
        registered = circuit.clock and port.direction == "in"
        links.append(f".{port.name}({'h' if registered else 'p'}{index})")
        if registered:
            held += [
                f"  reg [{port.width - 1}:0] h{index} = 0;",
                f"  always @(posedge load{loads[port.name]}) h{index} <= p{index};",
            ]
    lines = ["module harness(", ",\n".join(f"  {head}" for head in heads), ");", *held]
    lines += [f"  {circuit.name} dut(", ",\n".join(f"    {link}" for link in links), "  );"]
    return "\n".join([*lines, "endmodule", ""])


def driver_text(circuit: Circuit, engine: str) -> str:
    """Return the C++ that runs the circuit's harness in the engine; it includes the model."""
    numbered = list(enumerate(circuit.ports))
    ins = [(index, port) for index, port in numbered if port.direction == "in"]
    outs = [(index, port) for index, port in numbered if port.direction == "out"]
    most = max([words_of(port.width) for port in circuit.ports], default=1)
    loads = sorted({0, *_loads(circuit).values()})
    put_one = "  {{ const uint64_t bit = {}; put(PORT({}), &bit); }}\n".format
    clocks = [("clk", "h.ticking"), *((f"load{k}", f"h.fresh[{k}]") for k in loads)]
    settle = (
        "  auto &top = h.engine.top;\n"
        + "".join(put_one(up, pin) for pin, up in clocks) + "  h.engine.settle();\n"
        + "".join(put_one(0, pin) for pin, _ in clocks) + "  h.engine.settle();\n"
        + "  h.ticking = false;\n  for (bool &fresh : h.fresh) fresh = false;\n"
        if circuit.clock
        else "  h.engine.settle();\n"
    )  # fmt: skip
    reset = (
        "  auto &top = h->engine.top;\n" + put_one(1, "rst") + "  settle(*h);\n  edge(*h);\n"
        + "  settle(*h);\n" + put_one(0, "rst") + "  settle(*h);\n"
        if circuit.clock
        else ""
    )  # fmt: skip
    body = _BODY.replace("@MOST_WORDS@", str(most)).replace("@SETTLE@", settle)
    body = body.replace("@LOADS@", str(len(loads)))
    body = body.replace("@IDLE@", _lines(f"  put(PORT(p{i}), ZERO);" for i, _ in ins))
    body = body.replace("@RESET@", reset).replace("@STREAMS@", str(len(circuit.streams)))
    body = body.replace("@OUT_WORDS@", str(sum(words_of(port.width) for _, port in outs)))
    body = body.replace(
        "@APPLY_ROW@",
        _lines(
            f"    put(PORT(p{i}), in[{k}] + row * {words_of(port.width)});"
            for k, (i, port) in enumerate(ins)
        ),
    )
    body = body.replace(
        "@SAMPLE_ROW@",
        _lines(
            f"    get(PORT(p{i}), out[{k}] + row * {words_of(port.width)});"
            for k, (i, port) in enumerate(outs)
        ),
    )
    body = body.replace("@STREAMING@", _streaming(circuit, outs) if circuit.streams else "")
    includes = "#include <cstdint>\n#include <cstring>\n#include <utility>\n#include <vector>\n"
    return includes + _ENGINES[engine] + body


def _lines(lines: Iterable[str]) -> str:
    return "".join(f"{line}\n" for line in lines)


def _streaming(circuit: Circuit, outs: list[tuple[int, Port]]) -> str:
    """Return the part that plays items into and out of handshakes."""
    index = {port.name: number for number, port in enumerate(circuit.ports)}
    width = {port.name: port.width for port in circuit.ports}
    loads = _loads(circuit)
    where, at = {}, 0
    for _, port in outs:
        where[port.name] = at
        at += words_of(port.width)
    hold, over, drive, probe, check, move = [], [], [], [], [], []
    flip, back = [], []
    array_in = array_out = 0
    for k, port in enumerate(plain_ports(circuit, "in")):
        hold.append(f"  put(PORT(p{index[port.name]}), held[{k}]);")
    for k, stream in enumerate(circuit.streams):
        side, array = f"h.sides[{k}]", f"arrays[{k}]"
        valid, ready = f"PORT(p{index[stream.valid]})", f"PORT(p{index[stream.ready]})"
        if stream.direction == "in":
            over.append(f"    if ({side}.done < {array}.items) feeding = true;")
            drive += [
                f"    const bool waits{k} = {side}.offered;  // its payload is there already",
                f"    if (!{side}.offered && {side}.done < {array}.items &&",
                f"        !({array}.pause && {side}.random.next() < {array}.pause))",
                f"      {side}.offered = true;",
                f"    {{ const uint64_t bit = {side}.offered; put({valid}, &bit); }}",
                f"    if ({side}.offered && !waits{k}) {{",
            ]
            noise = []
            for name in stream.payload:
                words = words_of(width[name])
                pin = f"PORT(p{index[name]})"
                drive.append(f"      put({pin}, in[{array_in}] + {side}.done * {words});")
                noise += _noise(pin, width[name], side)
                array_in += 1
            drive += [f"    }} else if (!waits{k}) {{", *noise, "    }"]
            if stream.payload:
                drive.append(f"    h.fresh[{loads[stream.payload[0]]}] |= !waits{k};")
            at = where[stream.ready]
            move += [
                f"    if ({side}.offered && now[{at}]) {{",
                f"      {array}.cycles[{side}.done++] = (int64_t)h.cycle;",
                f"      {side}.offered = false;", "    }",
            ]  # fmt: skip
            continue
        over.append(f"    if ({side}.done < {array}.items) wanting = true;")
        drive += [
            f"    const uint64_t take{k} = {side}.done < {array}.items &&",
            f"        !({array}.pause && {side}.random.next() < {array}.pause);",
            f"    put({ready}, &take{k});",
        ]
        flip.append(f"      {{ const uint64_t bit = !take{k}; put({ready}, &bit); }}")
        back.append(f"      put({ready}, &take{k});")
        at = where[stream.valid]
        spans = [(where[name], words_of(width[name])) for name in stream.payload]
        fail = "report->cycle = h.cycle; report->broken = {}; report->rule = {}; return 1;"
        probe.append(f"      if (other[{at}] != now[{at}]) {{ {fail.format(k, 2)} }}")
        for first, words in spans:
            probe.append(
                f"      if (now[{at}] && std::memcmp(other + {first}, now + {first}, {words * 8}))"
                f" {{ {fail.format(k, 3)} }}"
            )
        check += [f"    if ({side}.offered) {{", f"      if (!now[{at}]) {{ {fail.format(k, 0)} }}"]
        check += [
            f"      if (std::memcmp(before + {first}, now + {first}, {words * 8}))"
            f" {{ {fail.format(k, 1)} }}"
            for first, words in spans
        ]
        check.append("    }")
        move.append(f"    if (now[{at}] && take{k}) {{")
        for first, words in spans:
            move.append(
                f"      std::memcpy(out[{array_out}] + {side}.done * {words}, now + {first}, "
                f"{words * 8});"
            )
            array_out += 1
        move += [
            f"      {array}.cycles[{side}.done++] = (int64_t)h.cycle;",
            "    }",
            f"    {side}.offered = now[{at}] && !take{k};",
        ]
    sinks = not any(stream.direction == "out" for stream in circuit.streams)
    text = _STREAMING.replace("@HOLD@", _lines(hold)).replace("@OVER@", _lines(over))
    text = text.replace("@DRIVE@", _lines(drive)).replace("@CHECK@", _lines(check))
    text = text.replace("@MOVE@", _lines(move))
    probing = [
        f"    if (h.cycle < {_PROBED}) {{  // valid and payload may not follow ready",
        *flip,
        "      h.fresh[0] = true;",
        "      settle(h);",
        "      std::vector<uint64_t> store(h.now.size());",
        "      uint64_t *other = store.data();",
        "      sample(h, other);",
        *probe,
        *back,
        "      h.fresh[0] = true;",
        "      settle(h);",
        "    }",
    ]
    text = text.replace("@PROBE@", "" if sinks else _lines(probing))
    text = text.replace(
        "@SAMPLE@",
        _lines(f"  get(PORT(p{i}), words + {where[port.name]});" for i, port in outs),
    )
    wants = [f"arrays[{k}].items" for k, s in enumerate(circuit.streams) if s.direction == "out"]
    return text.replace("@ANY_WANTED@", " || ".join(wants) or "false")


def _noise(port: str, width: int, side: str) -> list[str]:
    """Return lines that drive a payload nobody may look at, so that who looks is caught."""
    words = words_of(width)
    lines = [f"      {{ uint64_t noise[{words}];"]
    lines.append(f"        for (auto &word : noise) word = {side}.random.next();")
    if width % 64:
        lines.append(f"        noise[{words - 1}] >>= {64 - width % 64};")
    return [*lines, f"        put({port}, noise); }}"]
