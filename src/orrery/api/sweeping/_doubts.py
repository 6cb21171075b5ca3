"""What stays as it was while something that it hangs on is varied."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from orrery.hardware import Description
from orrery.mapping.space import Parameter

#: what an access, a millimetre and a second of a memory cost hangs on its size
_OF_A_MEMORY = ("read", "write", "static_power", "area")


def doubts_of(parameters: Sequence[Parameter], machine: Description) -> tuple[str, ...]:
    """Return a sentence for everything that did not move along; nothing moves unasked."""
    if machine.kind != "array":
        return ()
    moved = {_in_full(path, machine) for p in parameters for path in p.paths}
    return tuple(dict.fromkeys(_doubts(moved, machine)))


def wiring(choice: Sequence[tuple[str, str]], machine: Description) -> str:
    """Return what to do about an axis that its fixed wiring did not follow; empty for none."""
    moved = {_in_full(path, machine) for path, _ in choice}
    for path in sorted(moved):
        holder = path.removesuffix(".size")
        loops = _fixed(holder, machine) if holder.startswith("array.") else []
        if loops and path != holder and not any(p.startswith(f"{holder}.fixed") for p in moved):
            return f"; fixed wiring moves only if told to: --vary '{path}&{loops[0]}=…'"
    return ""


def _fixed(holder: str, machine: Description) -> list[str]:
    """Return the paths of an axis' fixed wiring."""
    found = machine.value(f"{holder}.fixed") or ""
    return [f"{holder}.fixed.{part.partition(':')[0].strip()}"
            for part in found.strip("{}").split(",") if ":" in part]  # fmt: skip


def _in_full(path: str, machine: Description) -> str:
    """Return the path of the value itself, where a path ends at a table with a size."""
    if "." not in path:
        return path
    holder = path if path.count(".") == 1 else ""
    return f"{path}.size" if holder and machine.value(f"{path}.size") is not None else path


def _doubts(moved: set[str], machine: Description) -> Iterator[str]:
    for path in sorted(moved):
        holder, _, key = path.rpartition(".")
        if holder.startswith("levels.") and key == "size":
            stay = [k for k in _OF_A_MEMORY if f"{holder}.{k}" not in moved
                    and not _nothing(machine.value(f"{holder}.{k}"))]  # fmt: skip
            if stay:
                yield (
                    f"{path} is varied while {', '.join(stay)} of {holder.partition('.')[2]} stay "
                    "as described: what an access to a larger memory costs is not in these "
                    f"figures. To move them along: '{path}&{holder}.{stay[0]}=1MiB:300pJ,…'."
                )
        if holder.startswith("array.") and key == "size":
            loops = _fixed(holder, machine)
            if loops and not any(other.startswith(f"{holder}.fixed") for other in moved):
                yield (
                    f"{path} is varied while its fixed wiring {machine.value(f'{holder}.fixed')} "
                    "stays: positions beyond it stay idle, and too few for it are refused. To move "
                    f"both: '{path}&{loops[0]}=16,32,64'."
                )
        if path == "clock":
            yield (
                "clock is varied while energies and static power stay as described: voltage is "
                "not modelled."
            )
    power = machine.value("static_power")
    larger = any(path.startswith(("array.", "levels.")) for path in moved)
    if larger and "static_power" not in moved and not _nothing(power):
        yield f"static_power of the chip stays {power}, however large the variant is."


def _nothing(value: str | None) -> bool:
    """Return whether a quantity is absent or zero."""
    return value is None or value.strip().startswith("0 ")
