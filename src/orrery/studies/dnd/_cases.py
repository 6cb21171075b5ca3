"""The matrix: which network is compiled by what, for which machine, how, and in which copy.

A small scale takes cases near the centre (LeNet, gcc and TVM, x86-64 and AArch64): each value of
an axis has a rank, and cases are taken by the sum of theirs.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import cache
from typing import Literal

from orrery.graph import Graph, build_model
from orrery.runtime.binaries import OPERATORS, SMALL_NETWORKS, CRecipe, CStyle
from orrery.store import content_hash

__all__ = ["COPIES", "C_OPTIONS", "Asked", "Copy", "chosen", "matrix", "network_of"]

Copy = Literal["as built", "stripped", "renamed"]
COPIES: Mapping[Copy, int] = {"as built": 0, "stripped": 1, "renamed": 2}

_OTHER = CStyle(padding="copy", sums="memory", memory="arena", functions="static")
_PLAIN = ("-fno-tree-vectorize", "-fno-tree-slp-vectorize")

#: what stands in the table -> options of the compiler, style, form, rank
C_OPTIONS: Mapping[str, tuple[CRecipe, int]] = {
    "-O1": (CRecipe(options=("-O1",)), 0),
    "-O2": (CRecipe(options=("-O2",)), 1),
    "-O0": (CRecipe(options=("-O0",)), 2),
    "-O3": (CRecipe(options=("-O3",)), 2),
    "-O3, no SIMD": (CRecipe(options=("-O3", *_PLAIN)), 3),
    "-O3, AVX2": (CRecipe(options=("-O3", "-mavx2", "-mfma")), 3),
    "-O2, other style": (CRecipe(options=("-O2",), style=_OTHER), 3),
    "-O2, object": (CRecipe(options=("-O2",), form="object"), 3),
    "-O2, firmware": (CRecipe(options=("-O2",), form="firmware"), 3),
}
_TVM_OPTIONS = {"fused": 0, "unfused": 1, "fused, compiled": 2}

_TARGETS = {"x86-64": 0, "aarch64": 1, "thumb": 2, "armv7": 2, "cortex-m7": 3}
_COMPILERS = {"gcc": 0, "tvm": 0, "clang": 2, "iree": 1}
_NETWORKS = {"lenet": 0, "gemm": 0, "conv": 1, "small_resnet": 1, "max_pool": 1, "perceptron": 2,
             "small_mobilenet": 2, "softmax": 2, "branches": 3}  # fmt: skip
_RANK_OF_OTHERS = 4

#: Of the model library; compiled in the first way of each compiler only, for time and memory.
_LARGE = {"resnet18": 9}


@dataclass(frozen=True, slots=True, kw_only=True)
class Asked:
    """One case: a network as one compiler builds it, and which copy of the binary is read."""

    network: str
    compiler: str
    target: str
    options: str
    copy: Copy = "as built"

    @property
    def label(self) -> str:
        """One line for people."""
        return f"{self.network}, {self.compiler} {self.options}, {self.target}, {self.copy}"

    @property
    def rank(self) -> int:
        """How far from the centre of the matrix."""
        options = C_OPTIONS[self.options][1] if self.options in C_OPTIONS else (
            _TVM_OPTIONS.get(self.options, 0)
        )  # fmt: skip
        network = {**_NETWORKS, **_LARGE}.get(self.network, _RANK_OF_OTHERS)
        return (network + options + _COMPILERS[self.compiler] + _TARGETS[self.target]
                + COPIES[self.copy])  # fmt: skip


def network_of(name: str) -> Graph:
    """Return a network of the matrix."""
    for known in (SMALL_NETWORKS, OPERATORS):
        if name in known:
            return known[name]()
    return build_model(name)


def _ways() -> Iterator[tuple[str, str, str]]:
    """Return compiler, target and options, where they fit together."""
    for target in _TARGETS:
        for options, (recipe, _) in C_OPTIONS.items():
            if ("AVX2" in options and target != "x86-64") or (
                (recipe.form == "firmware") != (target == "cortex-m7")
            ):
                continue
            yield "gcc", target, options
            if recipe.form in ("shared", "object"):
                yield "clang", target, options
        if target == "cortex-m7":
            yield "tvm", target, "object"
        else:
            yield from (("tvm", target, options) for options in _TVM_OPTIONS)
        if target in ("x86-64", "aarch64"):
            # Of 32-bit ARM it makes objects alone, which the user links with a program of theirs.
            yield "iree", target, "usual"


def _copied(network: str, compiler: str, target: str, options: str, copy: Copy) -> bool:
    """Return whether copies without names are read too."""
    if target == "cortex-m7":
        return False  # its files bear no names, or are two that know each other's
    # C compilers tie nothing to names: of single operators a copy in some ways says as much.
    some = copy == "stripped" and options in ("-O1", "-O3")
    return network in SMALL_NETWORKS or compiler in ("tvm", "iree") or some


@cache
def matrix() -> tuple[Asked, ...]:
    """Return every case, from the centre outwards; ties in an order that no axis decides."""
    cases = [
        Asked(network=network, compiler=compiler, target=target, options=options, copy=copy)
        for network in (*SMALL_NETWORKS, *OPERATORS)
        for compiler, target, options in _ways()
        for copy in COPIES
        if copy == "as built" or _copied(network, compiler, target, options, copy)
    ]
    cases += [
        Asked(network=network, compiler=compiler, target=target, options=options)
        for network in _LARGE
        for compiler, target, options in _ways()
        if target in ("x86-64", "aarch64") and options in ("-O1", "fused", "usual")
    ]
    return tuple(sorted(cases, key=lambda one: (one.rank, content_hash(one.label))))


def chosen(scale: float, *, least: int = 4) -> tuple[Asked, ...]:
    """Return the cases of a scale: from 1 on all, below so large a share, from the centre on."""
    every = matrix()
    return every if scale >= 1 else every[: max(least, round(scale * len(every)))]
