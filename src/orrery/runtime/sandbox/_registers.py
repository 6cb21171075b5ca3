"""How functions are called on each architecture, as far as integers, pointers and floats go.

Models:  the C calling conventions of System V x86-64, AArch64 and ARM with hardware floats.
Judge:   functions compiled for each and run in the emulator (tests/runtime/test_emulator.py).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True, slots=True, kw_only=True)
class Convention:
    """Registers by their number in the emulator.

    Attributes
    ----------
    arguments : of integers and pointers, in order; what is more goes to the stack
    result : where an integer comes back
    vectors : whose low lanes carry floats, in order; the first is also the result
    link : where the way back stands, None where it stands on the stack
    """

    bits: int
    arguments: tuple[int, ...]
    result: int
    vectors: tuple[int, ...]
    stack: int
    counter: int
    link: int | None


def convention(architecture: str) -> tuple[Convention, Any]:
    """Return how an architecture calls, and an emulator of it in which floats are switched on."""
    import unicorn

    if architecture == "x86-64":
        return _x86(unicorn)
    if architecture == "aarch64":
        return _aarch64(unicorn)
    return _arm(unicorn, thumb=architecture == "thumb")


def _x86(unicorn: Any) -> tuple[Convention, Any]:
    from unicorn import x86_const as x

    engine = unicorn.Uc(unicorn.UC_ARCH_X86, unicorn.UC_MODE_64)
    integers = ("RDI", "RSI", "RDX", "RCX", "R8", "R9")
    return Convention(
        bits=64, arguments=tuple(getattr(x, f"UC_X86_REG_{one}") for one in integers),
        result=x.UC_X86_REG_RAX,
        vectors=tuple(getattr(x, f"UC_X86_REG_XMM{at}") for at in range(8)),
        stack=x.UC_X86_REG_RSP, counter=x.UC_X86_REG_RIP, link=None,
    ), engine  # fmt: skip


def _aarch64(unicorn: Any) -> tuple[Convention, Any]:
    from unicorn import arm64_const as a

    engine = unicorn.Uc(unicorn.UC_ARCH_ARM64, unicorn.UC_MODE_ARM)
    engine.ctl_set_cpu_model(a.UC_CPU_ARM64_MAX)
    engine.reg_write(a.UC_ARM64_REG_CPACR_EL1, 3 << 20)  # floats for everybody
    return Convention(
        bits=64, arguments=tuple(getattr(a, f"UC_ARM64_REG_X{at}") for at in range(8)),
        result=a.UC_ARM64_REG_X0,
        vectors=tuple(getattr(a, f"UC_ARM64_REG_Q{at}") for at in range(8)),
        stack=a.UC_ARM64_REG_SP, counter=a.UC_ARM64_REG_PC, link=a.UC_ARM64_REG_LR,
    ), engine  # fmt: skip


def _arm(unicorn: Any, *, thumb: bool) -> tuple[Convention, Any]:
    from unicorn import arm_const as a

    engine = unicorn.Uc(
        unicorn.UC_ARCH_ARM, unicorn.UC_MODE_THUMB if thumb else unicorn.UC_MODE_ARM
    )
    engine.ctl_set_cpu_model(a.UC_CPU_ARM_MAX)
    # Coprocessors 10 and 11 for everybody, then the floating-point unit on.
    engine.reg_write(a.UC_ARM_REG_C1_C0_2, engine.reg_read(a.UC_ARM_REG_C1_C0_2) | 0xF << 20)
    engine.reg_write(a.UC_ARM_REG_FPEXC, 1 << 30)
    return Convention(
        bits=32, arguments=tuple(getattr(a, f"UC_ARM_REG_R{at}") for at in range(4)),
        result=a.UC_ARM_REG_R0, vectors=tuple(getattr(a, f"UC_ARM_REG_S{at}") for at in range(16)),
        stack=a.UC_ARM_REG_SP, counter=a.UC_ARM_REG_PC, link=a.UC_ARM_REG_LR,
    ), engine  # fmt: skip
