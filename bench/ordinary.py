"""Programs that hold no network: none may be found in them.

Commands of this system, and programs that compute with numbers: linear algebra, Fourier
transforms, codecs, filters. They are found by search, what a machine has not is left out, and each
is bounded in time and memory. A program whose time was over has shown nothing wrong, but not all of
it was read: the notes say how many these are. ``BENCH_PARTS=commands,numeric`` measures these
alone; ``BENCH_SHORT=1`` takes every tenth and less time.
"""

from __future__ import annotations

import sys
from collections import Counter
from collections.abc import Iterator, Sequence
from pathlib import Path

from orrery.decompile import Recovered, RecoverLimits, recover_binary
from orrery.errors import OrreryError
from orrery.studies.dnd import commands, numeric_programs

from ._record import Figure, short, wanted

COMMANDS = 50
_COMMAND_LIMITS = RecoverLimits(time_s=60, memory_bytes=3 << 30, function_s=10)
_NUMERIC_LIMITS = RecoverLimits(time_s=150, memory_bytes=4 << 30, function_s=15)


def _recovered(path: Path, limits: RecoverLimits) -> Recovered | str:
    try:
        return recover_binary(path, limits=limits)
    except OrreryError as error:
        return str(error)


def _figures(label: str, files: Sequence[Path], limits: RecoverLimits) -> Iterator[Figure]:
    states: Counter[str] = Counter()
    taken: list[str] = []
    named: Counter[str] = Counter()
    for path in files:
        found = _recovered(path, limits)
        if isinstance(found, str):
            states["refused"] += 1
            print(f"    {path.name:<40} refused: {found}", flush=True)
            continue
        network = found.network
        if found.verdict != "none":
            taken.append(str(path))
        tried = 0 if network is None else len(network.tried)
        results = [one.result for one in network.tried] if network else []
        results += [stage.detail for stage in found.stages if stage.name == "reading"]
        late = bool(found.problem) or any(
            word in one for one in results for word in ("out of time", "not begun", " lost")
        )
        states["read in part" if late else "read to the end"] += 1
        loose = () if network is None else network.loose
        named.update(node.operator for node in loose)
        why = found.problem or (network.reason if network else "")
        seconds = sum(stage.seconds for stage in found.stages)
        print(f"    {path.name:<40} {found.verdict:<8} {seconds:6.1f} s, {tried} entries tried, "
              f"{len(loose)} loops named; {why[:110]}", flush=True)  # fmt: skip
    said = ", ".join(f"{count} {state}" for state, count in sorted(states.items()))
    loops = ", ".join(f"{count} {name}" for name, count in sorted(named.items()))
    note = f"of {len(files)}: {said}; loops named as operators: {loops or 'none'}"
    if taken:
        note += f"; taken for a network: {', '.join(taken)}"
    yield Figure(name=f"{label} taken for a network", value=float(len(taken)), unit="programs",
                 runs=(float(len(taken)),), target=0.0, note=note)  # fmt: skip
    yield Figure(name=f"{label} looked into", value=float(len(files) - states["refused"]),
                 unit="programs", runs=(float(len(files)),), better="higher")  # fmt: skip


def figures() -> Iterator[Figure]:
    """Look for networks where there are none."""
    some = 10 if short() else 1
    if wanted("commands"):
        limits = RecoverLimits(time_s=20, memory_bytes=2 << 30, function_s=5) if short() else (
            _COMMAND_LIMITS
        )  # fmt: skip
        yield from _figures("ordinary commands", commands(COMMANDS)[::some], limits)
    if wanted("numeric"):
        files = list(numeric_programs())
        if not files:
            print("    no numeric program was found on this machine", file=sys.stderr)
        yield from _figures("numeric programs", files[::some], _NUMERIC_LIMITS)
