"""From C to a binary: gcc or clang, four forms, five targets; and running what came out.

Models:  a generated network compiled as its users would: options, SIMD on or off, position
         independent or not, linked into a program, an archive or a bare image of a memory.
Ignores: link-time optimisation.
Judge:   each binary that can run here is run and compared with ONNX Runtime.
"""

from __future__ import annotations

import shutil
import subprocess
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from orrery.errors import OrreryError, SpecError
from orrery.graph import Graph

from ._c_network import CSource, c_source
from ._style import CStyle
from ._targets import MissingCompilerError, find_target

Form = Literal["shared", "executable", "object", "archive", "firmware"]
_SUFFIX = {"shared": ".so", "executable": "", "object": ".o", "archive": ".a", "firmware": ".bin"}

#: Where the memories of a bare image lie: constants and code, and what is written.
_FLASH, _RAM = 0x0800_0000, 0x2000_0000

_LIMIT_S = 600.0


class BuildError(OrreryError):
    """A compiler that was found does not compile; its last words follow."""

    def __init__(self, command: Sequence[str], output: str) -> None:
        last = " ".join(output.split())[-600:]
        super().__init__(
            f"{Path(command[0]).name}: found {last!r}, wanted a binary; "
            "check the options, or give this network to another compiler"
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class CRecipe:
    """How a network becomes a binary by way of C.

    Attributes
    ----------
    compiler : ``gcc`` or ``clang``
    target : a key of `TARGETS`
    options : of the compiler, e.g. ``("-O3", "-fno-tree-vectorize")``
    form : ``shared`` object, ``executable``, relocatable ``object``, static ``archive`` or
        ``firmware``: bytes of a memory from an address on, no headers
    """

    compiler: Literal["gcc", "clang"] = "gcc"
    target: str = "x86-64"
    options: tuple[str, ...] = ("-O2",)
    form: Form = "shared"
    style: CStyle = field(default_factory=CStyle)

    @property
    def label(self) -> str:
        """One word for file names."""
        words = [self.compiler, self.target, self.form, *(o.strip("-") for o in self.options)]
        style = self.style
        words += [style.padding, style.sums, style.memory, style.weights, style.functions]
        return "_".join((*words, "folded" if style.fold else "")).strip("_").replace("=", "-")


@dataclass(frozen=True, slots=True, kw_only=True)
class CBinary:
    """What was built.

    Attributes
    ----------
    path : of the binary
    companion : file with the weights, where the binary has none
    base : address of the first byte of a ``firmware``
    entry : linkage name of the network's function
    """

    path: Path
    recipe: CRecipe
    source: CSource
    entry: str
    companion: Path | None = None
    base: int | None = None


def build_c(
    graph: Graph, folder: Path, recipe: CRecipe | None = None, *, name: str = ""
) -> CBinary:
    """Write a network as C and compile it into `folder`.

    Raises
    ------
    MissingCompilerError : the compiler is not installed; names the package
    BuildError : it does not compile
    """
    recipe = recipe or CRecipe()
    target = find_target(recipe.target)
    if recipe.form == "firmware" and recipe.target not in ("thumb", "armv7", "cortex-m7"):
        raise SpecError("firmware", found=recipe.target, wanted="thumb, armv7 or cortex-m7",
                        fix="choose such a target or another form")  # fmt: skip
    source = c_source(graph, recipe.style)
    name = name or f"{graph.name}_{recipe.label}"
    work = folder / f"{name}.build"
    work.mkdir(parents=True, exist_ok=True)
    (work / "network.c").write_text(source.text)
    (work / "weights.bin").write_bytes(source.blob)
    compiler = _compiler(recipe)
    # clang finds no linker for other machines; objects are alike, whoever made them.
    linker = _compiler(replace(recipe, compiler="gcc"))
    flags = [*recipe.options, f"-Wa,-I{work}"] if recipe.compiler == "gcc" else [*recipe.options]
    flags += ["-I", str(work)]
    path = folder / f"{name}{_SUFFIX[recipe.form]}"
    network, made = str(work / "network.c"), str(work / "network.o")
    shared = recipe.form == "shared"
    _run([*compiler, *flags, *(["-fPIC"] if shared else []), "-c", network, "-o", made], cwd=work)
    if recipe.form == "object":
        shutil.copy(made, path)
    elif recipe.form == "archive":
        path.unlink(missing_ok=True)
        _run([target.tool("ar"), "rcs", str(path), made])
    elif shared:
        _run([*linker, "-shared", made, "-o", str(path), "-lm"])
    elif recipe.form == "executable":
        (work / "main.c").write_text(_main(source, source.entry))
        _run([*compiler, *flags, "-c", str(work / "main.c"), "-o", str(work / "main.o")])
        _run([*linker, str(work / "main.o"), made, "-o", str(path), "-lm"])
    else:
        _firmware(linker, target.tool("objcopy"), work, path)
    companion = None
    if recipe.style.weights == "given":
        companion = folder / f"{name}.weights"
        companion.write_bytes(source.blob)
    return CBinary(
        path=path, recipe=recipe, source=source, entry=source.entry, companion=companion,
        base=_FLASH if recipe.form == "firmware" else None,
    )  # fmt: skip


def _compiler(recipe: CRecipe) -> list[str]:
    target = find_target(recipe.target)
    if recipe.compiler == "gcc":
        return [target.tool("gcc"), *target.flags]
    found = shutil.which("clang")
    if found is None:
        raise MissingCompilerError("clang", "clang", purpose="building with clang")
    triple = "arm-linux-gnueabihf" if recipe.target == "cortex-m7" else target.triple
    return [found, f"--target={triple}", *target.flags]


def _firmware(compiler: list[str], objcopy: str, work: Path, path: Path) -> None:
    """Link against no operating system and keep the bytes only."""
    (work / "start.c").write_text(_START)
    (work / "memory.ld").write_text(_MEMORY)
    linked = str(work / "linked.elf")
    _run([*compiler, "-Os", "-ffreestanding", "-c", str(work / "start.c"),
          "-o", str(work / "start.o")])  # fmt: skip
    objects = [str(work / name) for name in ("start.o", "network.o")]
    # The C library at hand is for application processors; its code is what matters here.
    words = ["-nostdlib", "-static", "-Wl,--no-warn-mismatch,--build-id=none"]
    words += ["-T", str(work / "memory.ld"), *objects, "-lm", "-lc", "-lgcc", "-o", linked]
    _run([*compiler, *words])
    _run([objcopy, "-O", "binary", linked, str(path)])


#: A vector table, and a reset handler that runs the network for ever on fixed memory.
_START = """
extern void infer(const float *, float *);
extern char stack_top[];
static float in[65536], out[65536];
void reset(void) { for (;;) infer(in, out); }
__attribute__((section(".vectors"), used))
const void *const vectors[2] = { stack_top, (const void *)reset };
"""
_MEMORY = f"""
MEMORY {{ flash (rx) : ORIGIN = {_FLASH:#x}, LENGTH = 64M
         ram (rw) : ORIGIN = {_RAM:#x}, LENGTH = 64M }}
ENTRY(reset)
SECTIONS {{
  .text : {{ KEEP(*(.vectors)) *(.text*) *(.rodata*) }} > flash
  .data : {{ *(.data*) }} > ram AT > flash
  .bss (NOLOAD) : {{ *(.bss*) *(COMMON) . = ALIGN(16); . += 65536; stack_top = .; }} > ram
  /DISCARD/ : {{ *(.ARM.exidx*) *(.ARM.extab*) *(.comment) *(.note*) }}
}}
"""


def _main(source: CSource, entry: str, *, loads: bool = False) -> str:
    """Return a program: inputs (and weights before them) from stdin, outputs to stdout."""
    given = "weights" if f"{source.entry}(const float *weights" in source.text else ""
    sizes = [int(np.prod(shape)) for _, shape in source.inputs]
    names = [f"in{i}" for i in range(len(sizes))]
    reads = [(given, len(source.blob) // 4)] if given else []
    reads += list(zip(names, sizes, strict=True))
    writes = [(f"out{i}", int(np.prod(s))) for i, (_, s) in enumerate(source.outputs)]
    kinds = ", ".join(["const float *"] * len(reads) + ["float *"] * len(writes))
    lines = ["#include <stdio.h>", "#include <stdlib.h>"]
    lines += ["#include <dlfcn.h>"] if loads else [f"extern void {entry}({kinds});"]
    lines += [f"static float {name}[{max(size, 1)}];" for name, size in (*reads, *writes)]
    lines += ["int main(int count, char **words) {"]
    if loads:
        lines += [
            "    void *library = dlopen(words[1], RTLD_NOW);",
            "    if (!library) { fputs(dlerror(), stderr); return 3; }",
            f"    void (*function)({kinds}) = dlsym(library, words[2]);",
            '    if (!function) { fputs("no such symbol", stderr); return 4; }',
        ]
    for name, size in reads:
        lines.append(f"    if (fread({name}, 4, {size}, stdin) != {size}) return 2;")
    call = "function" if loads else entry
    lines.append(f"    {call}({', '.join(name for name, _ in (*reads, *writes))});")
    lines += [f"    fwrite({name}, 4, {size}, stdout);" for name, size in writes]
    return "\n".join((*lines, "    return 0;", "}", ""))


def run_c(
    binary: CBinary, inputs: Mapping[str, NDArray[Any]], *, limit_s: float = 60.0
) -> dict[str, NDArray[np.float32]]:
    """Run a binary that this workplace built, here or under an emulator, in a process of its own.

    Raises
    ------
    MissingCompilerError : the target's emulator is not installed
    BuildError : the program ended badly or wrote too little
    SpecError : a form that cannot run
    """
    target, form = find_target(binary.recipe.target), binary.recipe.form
    if form == "firmware" or binary.recipe.target == "cortex-m7":
        raise SpecError(f"running {binary.path.name}", found=f"{form} for {target.name}",
                        wanted="a program for Linux", fix="read it only")  # fmt: skip
    work = binary.path.with_name(binary.path.name + ".run")
    work.mkdir(exist_ok=True)
    words = [str(binary.path)]
    if form != "executable":
        shared = form == "shared"
        (work / "main.c").write_text(_main(binary.source, binary.entry, loads=shared))
        linked = [] if shared else [str(binary.path)]
        command = [*_compiler(replace(binary.recipe, compiler="gcc")), str(work / "main.c")]
        command += [*linked, "-o", str(work / "main"), "-ldl", "-lm"]
        _run(command)
        words = [str(work / "main")]
        words += [str(binary.path.resolve()), binary.entry] if shared else []
    data = binary.source.blob if binary.companion is not None else b""
    for name, shape in binary.source.inputs:
        value = np.ascontiguousarray(inputs[name], np.float32)
        if value.shape != shape:
            raise SpecError(f"input {name!r}", found=value.shape, wanted=str(shape),
                            fix="reshape the array")  # fmt: skip
        data += value.tobytes()
    command = [*target.runner, *words]
    done = subprocess.run(command, input=data, capture_output=True, timeout=limit_s, check=False)
    if done.returncode:
        raise BuildError(command, done.stderr.decode(errors="replace") or str(done.returncode))
    results, begin = {}, 0
    flat = np.frombuffer(done.stdout, "<f4")
    for name, shape in binary.source.outputs:
        size = int(np.prod(shape))
        results[name] = flat[begin : begin + size].reshape(shape).copy()
        begin += size
    return results


def _run(command: Sequence[str], *, cwd: Path | None = None) -> None:
    done = subprocess.run(
        command, cwd=cwd, capture_output=True, text=True, timeout=_LIMIT_S, check=False
    )
    if done.returncode:
        raise BuildError(command, done.stderr or done.stdout)
