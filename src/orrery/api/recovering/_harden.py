"""A copy without names and strings: what that stops, and what it does not."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from orrery.decompile import Recovered

#: ELF machine -> the tools' name of what made it
_TARGETS = {62: "x86-64", 183: "aarch64", 40: "armv7"}


@dataclass(frozen=True, slots=True, kw_only=True)
class Hardened:
    """What recovery makes of the copy.

    Attributes
    ----------
    before, after : kind of leak -> how many, of the file and of the copy
    same : whether the copy gives the same network, to the bit
    text : one sentence
    """

    path: Path
    before: Mapping[str, int]
    after: Mapping[str, int]
    same: bool
    text: str
    recovered: Recovered


def harden_copy(
    binary: Path, copy: Path, found: Recovered, read: Callable[[Path, int | str | None], Recovered]
) -> Hardened:
    """Write a copy without symbols and strings and recover that as well.

    Raises
    ------
    OrreryError : the tool that strips such files is not here
    """
    from orrery.decompile.topology import differences
    from orrery.runtime.binaries import strip

    machine = int.from_bytes(binary.read_bytes()[18:20], "little")
    strip(binary, copy, target=_TARGETS.get(machine, "x86-64"))
    # The copy has no names: an entry that was named is the same address there.
    again = read(copy, None if found.network is None else found.network.entry)
    one, other = (None if r.recovery is None else r.recovery.graph for r in (found, again))
    found_other = () if one is None or other is None else differences(other, one)
    same = one is not None and other is not None and not found_other
    if one is None:
        text = "there is no network to hide"
    elif other is None:
        text = "the copy no longer gives a network to this recovery"
    elif same:
        text = "the copy gives the same network: names and strings protect nothing of it"
    else:
        text = f"the copy gives another network: {found_other[0]}"
    return Hardened(path=copy, before=_counts(found), after=_counts(again), same=same, text=text,
                    recovered=again)  # fmt: skip


def _counts(found: Recovered) -> dict[str, int]:
    leaks = () if found.network is None else found.network.leaks
    return dict(Counter(one.kind for one in leaks))
