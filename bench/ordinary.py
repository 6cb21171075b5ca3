"""Programs that hold no network: none may be found in them.

Commands of this system, and programs that compute with numbers: linear algebra, Fourier
transforms, codecs, filters. They are found by search, what a machine has not is left out, and each
is bounded in time and memory. A program whose time was over has shown nothing wrong, but not all of
it was read: the notes say how many these are.

What was looked into is kept under the sources that did it, so that a run that was stopped goes on.
``BENCH_PARTS=commands,numeric`` measures these alone; ``BENCH_SECONDS=1200`` begins no program of a
part after so long, and the notes name those that are left; ``BENCH_SHORT=1`` takes every tenth and
less time.
"""

from __future__ import annotations

import os
import sys
import time
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from functools import partial
from itertools import zip_longest
from pathlib import Path

from orrery.decompile import RecoverLimits
from orrery.store import Cache, content_hash
from orrery.studies.dnd import Ordinary, commands, look_into, numeric_programs, recalled

from ._record import Figure, short, wanted

COMMANDS, LEAST_NUMERIC = 50, 10
_COMMAND_LIMITS = RecoverLimits(time_s=60, memory_bytes=3 << 30, function_s=10)
_NUMERIC_LIMITS = RecoverLimits(time_s=150, memory_bytes=4 << 30, function_s=15)
_SHORT_LIMITS = RecoverLimits(time_s=20, memory_bytes=2 << 30, function_s=5)


class _TimeOverError(Exception):
    """No program is begun any more."""


def _look(path: Path, kind: str, limits: RecoverLimits, deadline: float) -> Ordinary:
    if time.monotonic() > deadline:
        raise _TimeOverError
    return look_into(path, kind, limits)


def _figures(
    label: str, files: Sequence[tuple[Path, str]], limits: RecoverLimits, deadline: float,
    least: int,
) -> Iterator[Figure]:  # fmt: skip
    found: list[Ordinary] = []
    left: list[str] = []
    earlier = 0
    for path, kind in files:
        decided_by = (path.name, kind, content_hash(path.read_bytes()), repr(limits))
        look = partial(_look, path, kind, limits, deadline)
        try:
            one, kept = recalled(Cache("dnd"), decided_by, Ordinary, look)
        except _TimeOverError:
            left.append(path.name)
            continue
        found.append(one)
        earlier += kept
        whole = "all read" if one.whole else "in part"
        print(f"    {one.name:<40} {one.state:<8} {one.seconds:6.1f} s, {whole}, {one.loops} loops "
              f"named; {one.reason[:110]}", flush=True)  # fmt: skip
    read = [one for one in found if one.state != "refused"]
    taken = [one.name for one in read if one.state == "taken"]
    loops = Counter(name for one in read for name in one.named)
    listed = ", ".join(f"{count} {name}" for name, count in sorted(loops.items()))
    note = f"of {len(files)}, loops named as operators: {listed or 'none'}"
    note += f"; {earlier} from an earlier run of the same sources" if earlier else ""
    note += f"; taken for a network: {', '.join(taken)}" if taken else ""
    refused = [f"{one.name} ({one.reason})" for one in found if one.state == "refused"]
    note += f"; refused: {', '.join(refused)}" if refused else ""
    note += f"; NOT LOOKED INTO, time was over: {', '.join(left)}" if left else ""
    yield Figure(name=f"{label} taken for a network", value=float(len(taken)), unit="programs",
                 runs=(float(len(taken)),), target=0.0, note=note)  # fmt: skip
    yield Figure(name=f"{label} looked into", value=float(len(read)), unit="programs",
                 runs=(float(len(files)),), target=float(least), better="higher")  # fmt: skip
    parts = [one.name for one in read if not one.whole]
    yield Figure(name=f"{label} read to the end", value=float(len(read) - len(parts)),
                 unit="programs", runs=(float(len(read)),), better="higher",
                 note=f"in part: {', '.join(parts) or 'none'}")  # fmt: skip


def by_turns(programs: Mapping[Path, str]) -> list[tuple[Path, str]]:
    """Return programs so that one of every kind comes before the second of any."""
    kinds: dict[str, list[tuple[Path, str]]] = {}
    for path, kind in programs.items():
        kinds.setdefault(kind, []).append((path, kind))
    return [one for row in zip_longest(*kinds.values()) for one in row if one is not None]


def figures() -> Iterator[Figure]:
    """Look for networks where there are none."""
    some, least = (10, 1) if short() else (1, COMMANDS)
    seconds = float(os.environ.get("BENCH_SECONDS", "inf"))
    if wanted("commands"):
        files = [(path, "command") for path in commands(COMMANDS)[::some]]
        yield from _figures("ordinary commands", files, _SHORT_LIMITS if short() else
                            _COMMAND_LIMITS, time.monotonic() + seconds, least)  # fmt: skip
    if wanted("numeric"):
        numeric = by_turns(numeric_programs())
        if not numeric:
            print("    no numeric program was found on this machine", file=sys.stderr)
        yield from _figures("numeric programs", numeric[::some], _SHORT_LIMITS if short() else
                            _NUMERIC_LIMITS, time.monotonic() + seconds,
                            min(least, LEAST_NUMERIC))  # fmt: skip
