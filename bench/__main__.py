"""Run all benches, or those named, and record the figures."""

from __future__ import annotations

import importlib
import sys
from pathlib import Path

from ._record import machine, short, write

NAMES = sorted(p.stem for p in Path(__file__).parent.glob("*.py") if not p.stem.startswith("_"))


def main(names: list[str]) -> int:
    """Measure, print a line per figure, write the file."""
    unknown = [name for name in names if name not in NAMES]
    if unknown:
        print(f"bench: found {unknown[0]!r}, wanted one of {', '.join(NAMES)}", file=sys.stderr)
        return 2
    before, found = machine(), []
    for name in names or NAMES:
        for figure in importlib.import_module(f"bench.{name}").figures():
            found.append(figure)
            verdict = {True: "met", False: "MISSED", None: ""}[figure.met]
            target = f"target {figure.target:g} {figure.unit}" if figure.target else ""
            print(f"{figure.name:<58} {figure.value:>12.4g} {figure.unit:<9} {target} {verdict}",
                  flush=True)  # fmt: skip
            if figure.note:
                print(f"    {figure.note}", flush=True)
    path = write(found, before, "-".join([*(names or ["all"]), *(["short"] if short() else [])]))
    print(f"written: {path}")
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
