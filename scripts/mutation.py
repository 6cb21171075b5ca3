"""How good are the benches: designs with one operator changed, for parts and processing elements.

``mutation.py [--proof SECONDS] [parts | elements | NAME …]``: parts by name, elements as
``precision:mode:group:window:beat:align``, with ``:digits`` where they are not plain, and
``@seed`` where other mutants than the usual are asked for. Results go to ``bench/results/`` with
machine and date after every circuit, so that a run that is stopped leaves what it found. A part
takes seconds, an element a minute. What passes and is not proved equal in the time given counts
as not caught.
"""

from __future__ import annotations

import sys
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any, cast

sys.path.insert(0, str(Path(__file__).parent.parent))

from bench._record import machine, write_document
from tests.rtl.part_benches import BENCHES

from orrery.accel.bitlet._format import Mode, number_format
from orrery.accel.bitlet._pipeline import Pipeline, shipped
from orrery.rtl import Circuit
from orrery.rtl.bench import StreamVectors, Vectors, mutants, mutation_score

MUTANTS, SEED = 60, 1
#: In small the proportions of the default element: beats wider than what is aligned in a cycle.
SMALL = "8:2:4:2"
ELEMENTS = (
    *(f"{kind}:{SMALL}"
      for kind in ("fixed8:correct", "fixed12:correct", "fp16:correct", "bf16:correct",
                   "fp32:correct", "fp16:faithful", "fixed12:faithful")),
    *(f"{kind}:correct:{SMALL}@2" for kind in ("fixed8", "fixed12", "fp16")),
    f"fixed8:correct:{SMALL}:signed",
)  # fmt: skip


def element(name: str) -> tuple[Circuit, Sequence[Vectors]]:
    """Return a processing element and the vectors that `orrery generate` ships with it."""
    from orrery.accel.bitlet.circuit import circuit

    precision, mode, *rest = name.split(":")
    group, window, beat, align = map(int, rest[:4])
    form, how = number_format(precision), cast(Mode, mode)
    sizes: dict[str, Any] = {"group": group, "window": window, "beat": beat, "align": align}
    if rest[4:]:
        sizes["digits"] = rest[4]
    made = circuit(precision=precision, mode=how, lanes=form.lanes, **sizes)
    stages = Pipeline(format=form, lanes=form.lanes, **sizes)
    return made, [StreamVectors(**one) for one in shipped(stages, how)]


def row(name: str, proof_s: float) -> dict[str, Any]:
    """Try one bench on its mutants."""
    start = time.perf_counter()
    circuit, _, other = name.partition("@")
    seed = int(other or SEED)
    made, vectors = BENCHES[circuit]() if circuit in BENCHES else element(circuit)
    among = mutants(made, MUTANTS, seed)
    report = mutation_score(made, vectors, among, proof_s=proof_s)
    return {
        "name": name, "circuit": made.name, "mutants": len(among), "caught": len(report.caught),
        "equivalent": len(report.equivalent), "score": report.score, "share": report.share,
        "survivors": [mutant.said for mutant in report.survivors], "tool": report.tool,
        "seed": seed, "proof_s": proof_s, "seconds": round(time.perf_counter() - start, 1),
    }  # fmt: skip


def main(arguments: list[str]) -> int:
    """Try what is named, or everything; 2 where a name is none."""
    proof_s = 20.0
    if arguments[:1] == ["--proof"]:
        proof_s, arguments = float(arguments[1]), arguments[2:]
    label = "-".join(["mutation", *(a for a in arguments if a in ("parts", "elements"))])
    groups: dict[str, Sequence[str]] = {"parts": tuple(BENCHES), "elements": ELEMENTS}
    names = [n for a in arguments or tuple(groups) for n in groups.get(a, (a,))]
    for name in names:
        circuit = name.partition("@")[0]
        if circuit not in BENCHES and circuit.count(":") not in (5, 6):
            print(f"mutation: {name!r} is no part and no element", file=sys.stderr)
            return 2
    before, rows, path = machine(), [], None
    for name in names:
        found = row(name, proof_s)
        rows.append(found)
        amounts = f"{found['caught']:>3} of {found['mutants']:>3} caught"
        equal = f"{found['equivalent']:>2} proved equal"
        shares = f"score {100 * found['score']:.1f} %, of all {100 * found['share']:.1f} %"
        print(f"{name:<26} {amounts}, {equal}: {shares} ({found['seconds']} s)", flush=True)
        for said in found["survivors"]:
            print(f"    not caught: {said}", flush=True)
        path = write_document(label, before, {"circuits": rows})
    print(f"written: {path}")
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
