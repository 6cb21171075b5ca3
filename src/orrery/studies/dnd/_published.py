"""What was published on recovering networks from binaries, and what of it is not confirmed."""

from __future__ import annotations

from dataclasses import dataclass

__all__ = ["BTD", "BTD_SAME", "CLAIMED_TARGETS", "DND", "DND_SAME", "OTHERS", "Claim"]

DND = "Wu et al., DnD, USENIX Security 2022, abstract"
BTD = "Liu et al., BTD, USENIX Security 2023, repository's README"

#: Perfect recovery: two compilers, three instruction sets; in %.
DND_SAME = 100.0
#: 63 of 63 executables rebuilt, after TVM's ResNet-18 was mended by hand; in %.
BTD_SAME = 100.0

#: compiler -> our targets for which the abstract claims it; Glow has no package any more
CLAIMED_TARGETS = {"tvm": ("x86-64", "aarch64", "thumb")}


@dataclass(frozen=True, slots=True, kw_only=True)
class Claim:
    """A published claim that our figures are read beside, but that is not repeated one to one."""

    system: str
    says: str
    state: str


OTHERS = (
    Claim(system="DnD", says="different networks from 2 compilers (Glow, TVM) × 3 instruction sets "
          "(Thumb, AArch64, x86-64), all perfect", state="abstract; no table was at hand"),
    Claim(system="DnD", says="networks of the MNIST-CNN, ResNet and MobileNet class",
          state="unconfirmed"),
    Claim(system="DnD", says="networks from firmware of real micro-controllers, then attacked with "
          "white-box adversarial examples", state="abstract"),
    Claim(system="DnD's artefact", says="two Glow binaries for Thumb; x86-64 fails (its issue 7)",
          state="read in the repository"),
    Claim(system="BTD", says="63 of 63 executables (7 networks × 9 options of Glow and TVM, "
          "x86-64) rebuilt; it runs them, and TVM's ResNet-18 was mended by hand",
          state="README; its tables are images"),
    Claim(system="NeuroDeX", says="96 executables of 12 networks nearly identical; quantised ones "
          "72 % right on average", state="abstract; figures of single networks unconfirmed"),
    Claim(system="LibSteal", says="an approximate architecture from TVM libraries",
          state="unconfirmed"),
)  # fmt: skip
