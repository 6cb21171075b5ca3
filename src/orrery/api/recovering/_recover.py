"""From a binary to a network, with what it rests on."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from orrery.progress import SILENT, Progress
from orrery.units import read_quantity

from ._check import Checked, check_against
from ._harden import Hardened, check_hardenable, harden_copy
from ._page import recovery_page
from ._result import RecoverResult

if TYPE_CHECKING:
    from orrery.decompile import Recovered


def recover(
    binary: str | Path,
    *,
    companion: str | Path | None = None,
    architecture: str | None = None,
    base: int | None = None,
    entry: int | str | None = None,
    check: int = 0,
    seed: int = 0,
    leaks: bool = False,
    harden: str | Path | None = None,
    time: str = "15 min",
    memory: str = "6 GiB",
    progress: Progress = SILENT,
) -> RecoverResult:
    """Return the network that was compiled into a binary.

    The binary is read and never executed, unless `check` asks for it.

    Parameters
    ----------
    binary : an ELF file, a static archive, an IREE module, or bare firmware
    companion : a file with the weights, where they are not in the binary
    architecture, base : of bare firmware: its processor, the address of its first byte
    entry : address or name of the function that computes the network; None to look for it
    check : on how many drawn inputs the binary is run, confined, and compared; 0 never runs it
    seed : of these inputs
    leaks : also list what the binary gives away without anybody reading its code
    harden : where to write a copy without names and strings, which is then recovered as well, with
        as little said of it as of the file; of an ELF file or an IREE module
    time, memory : of the whole, as text with a unit

    Raises
    ------
    OrreryError : the file cannot be read as a binary at all: says what it is and what to do
    SpecError : a time or a memory without a unit; a file that cannot be hardened
    """
    from orrery.decompile import RecoverLimits, recover_binary

    limits = RecoverLimits(
        time_s=read_quantity(time, "time", where="limit-time"),
        memory_bytes=int(read_quantity(memory, "size", where="limit-memory")),
    )
    path = Path(binary)
    if harden is not None:
        check_hardenable(path, Path(harden))

    def read(file: Path, where: int | str | None) -> Recovered:
        return recover_binary(
            file, companion=companion, base=base, architecture=architecture, entry=where,
            leaks=leaks or harden is not None, limits=limits, progress=progress,
        )  # fmt: skip

    found = read(path, entry)
    checked: Checked | None = None
    if check and found.recovery is not None and found.recovery.graph is not None:
        checked = check_against(path, found, rounds=check, seed=seed, base=base,
                                architecture=architecture, progress=progress,
                                companion=Path(companion) if companion else None)  # fmt: skip
    hardened: Hardened | None = None
    if harden is not None:
        # The copy has no names: an entry that was named is the same address there.
        address = None if entry is None or found.network is None else found.network.entry
        hardened = harden_copy(path, Path(harden), found, lambda copy: read(copy, address))
    page = recovery_page(path, found, checked, hardened, leaks=leaks or harden is not None)
    graph = None if found.recovery is None else found.recovery.graph
    return RecoverResult(verdict=found.verdict, graph=graph, recovered=found, check=checked,
                         hardened=hardened, page=page)  # fmt: skip
