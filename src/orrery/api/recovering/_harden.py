"""A copy without names and strings: what that stops, and what it does not."""

from __future__ import annotations

import struct
from collections import Counter
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from orrery.errors import CancelledError, OrreryError, SpecError

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
    recovered : from the copy; None where it could not be made or read, which `text` says
    """

    path: Path
    before: Mapping[str, int]
    after: Mapping[str, int]
    same: bool
    text: str
    recovered: Recovered | None


def check_hardenable(binary: Path, copy: Path) -> None:
    """Refuse at once what would end a recovery that took minutes.

    Raises
    ------
    SpecError : the file is none that is stripped, or the copy would take its place
    """
    if not binary.is_file():
        return  # whoever reads it says what it is
    from orrery.decompile.containers import is_vmfb

    with binary.open("rb") as handle:
        head = handle.read(1 << 17)
    machine = int.from_bytes(head[18:20], "little")
    found = "a static archive" if head[:8] == b"!<arch>\n" else "bare bytes"
    if not is_vmfb(head) and not (head[:4] == b"\x7fELF" and machine in _TARGETS):
        raise SpecError("harden", found=found, wanted="an ELF file or an IREE module",
                        fix="harden the program that it is linked into")  # fmt: skip
    if copy.exists() and copy.samefile(binary):
        raise SpecError("harden", found=f"{copy}, which is the file itself", wanted="a new file",
                        fix="give another name")  # fmt: skip


def harden_copy(
    binary: Path, copy: Path, found: Recovered, read: Callable[[Path], Recovered]
) -> Hardened:
    """Write a copy without symbols and strings and recover that as well.

    Parameters
    ----------
    read : recovers a file as the original was

    Raises
    ------
    CancelledError : the user asked to stop
    """
    from orrery.decompile.topology import differences

    try:
        _strip(binary, copy, found)
        again = read(copy)
    except CancelledError:
        raise
    except (OrreryError, OSError, ValueError, LookupError, struct.error) as error:
        return Hardened(path=copy, before=_counts(found), after={}, same=False, recovered=None,
                        text=f"it could not be made or read: {error}")  # fmt: skip
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


def _strip(binary: Path, copy: Path, found: Recovered) -> None:
    from orrery.decompile.containers import is_vmfb
    from orrery.runtime.binaries import blind_module, strip

    copy.parent.mkdir(parents=True, exist_ok=True)
    data = binary.read_bytes()
    if is_vmfb(data):
        blind_module(binary, copy, zeroed=True)
        return
    graph = None if found.recovery is None else found.recovery.graph
    # Numbers that look like text are no strings.
    keep = [] if graph is None else [one.array().tobytes() for one in graph.constants.values()]
    strip(binary, copy, target=_TARGETS[int.from_bytes(data[18:20], "little")], keep=keep)


def _counts(found: Recovered) -> dict[str, int]:
    leaks = () if found.network is None else found.network.leaks
    return dict(Counter(one.kind for one in leaks))
