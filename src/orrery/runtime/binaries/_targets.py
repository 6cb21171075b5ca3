"""The machines that test binaries are built for, and the compilers that build them."""

from __future__ import annotations

import platform
import shutil
from dataclasses import dataclass

from orrery.errors import OrreryError, UnknownNameError


class MissingCompilerError(OrreryError):
    """A compiler, linker or emulator that a build needs is not on this machine."""

    def __init__(self, command: str, package: str, *, purpose: str) -> None:
        self.command, self.package = command, package
        super().__init__(
            f"{purpose}: found no command {command!r}, wanted it installed; "
            f"run: sudo apt-get install {package}"
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class Target:
    """One instruction set as compilers name it.

    Attributes
    ----------
    name : ``x86-64``, ``aarch64``, ``armv7``, ``thumb`` (ARMv7-A in Thumb code) or ``cortex-m7``
    prefix : of GNU commands; empty for this machine's own
    flags : of gcc and clang
    triple : of LLVM
    cpu, features : what LLVM-based compilers are told besides
    machine : as ``platform.machine`` says it, of machines that run it natively
    emulator : command that runs it elsewhere, empty where nothing does
    sysroot : where the emulator finds its libraries
    package : Debian package of the GNU compiler
    """

    name: str
    prefix: str
    flags: tuple[str, ...] = ()
    triple: str = ""
    cpu: str = ""
    features: str = ""
    machine: tuple[str, ...] = ()
    emulator: str = ""
    sysroot: str = ""
    package: str = "gcc"

    def tool(self, name: str) -> str:
        """Return the path of a GNU tool (``gcc``, ``objcopy``, ``ar``, …) of this target."""
        native = not self.prefix or platform.machine() in self.machine
        command = name if native else f"{self.prefix}-{name}"
        found = shutil.which(command)
        if found is None:
            package = self.package if native is False else "gcc"
            raise MissingCompilerError(command, package, purpose=f"building for {self.name}")
        return found

    @property
    def runner(self) -> tuple[str, ...]:
        """Words in front of a program to run it here."""
        if platform.machine() in self.machine:
            return ()
        if not self.emulator or shutil.which(self.emulator) is None:
            raise MissingCompilerError(
                self.emulator or "emulator", "qemu-user", purpose=f"running {self.name} programs"
            )
        return (self.emulator, "-L", self.sysroot)


_ARM = ("-march=armv7-a", "-mfpu=neon-vfpv4", "-mfloat-abi=hard")

#: Every target by name.
TARGETS: dict[str, Target] = {
    target.name: target
    for target in (
        Target(
            name="x86-64", prefix="x86_64-linux-gnu", triple="x86_64-linux-gnu",
            machine=("x86_64",), emulator="qemu-x86_64", sysroot="/usr/x86_64-linux-gnu",
            package="gcc-x86-64-linux-gnu",
        ),
        Target(
            name="aarch64", prefix="aarch64-linux-gnu", triple="aarch64-linux-gnu",
            cpu="cortex-a72", machine=("aarch64",), emulator="qemu-aarch64",
            sysroot="/usr/aarch64-linux-gnu", package="gcc-aarch64-linux-gnu",
        ),
        Target(
            name="armv7", prefix="arm-linux-gnueabihf", flags=("-marm", *_ARM),
            triple="armv7-linux-gnueabihf", cpu="cortex-a9", features="+neon,+vfp3",
            emulator="qemu-arm", sysroot="/usr/arm-linux-gnueabihf",
            package="gcc-arm-linux-gnueabihf",
        ),
        Target(
            name="thumb", prefix="arm-linux-gnueabihf", flags=("-mthumb", *_ARM),
            triple="thumbv7-linux-gnueabihf", cpu="cortex-a9", features="+neon,+vfp3,+thumb-mode",
            emulator="qemu-arm", sysroot="/usr/arm-linux-gnueabihf",
            package="gcc-arm-linux-gnueabihf",
        ),
        Target(
            name="cortex-m7", prefix="arm-linux-gnueabihf",
            flags=("-mthumb", "-mcpu=cortex-m7", "-mfpu=fpv5-sp-d16", "-mfloat-abi=hard"),
            triple="thumbv7em-none-eabihf", cpu="cortex-m7", package="gcc-arm-linux-gnueabihf",
        ),
    )
}  # fmt: skip


def find_target(name: str) -> Target:
    """Return a target by name.

    Raises
    ------
    UnknownNameError : no such target; lists them
    """
    if name not in TARGETS:
        raise UnknownNameError("target", name, TARGETS)
    return TARGETS[name]
