"""A compiled program of the virtual machine gives the calls that its bytecode would state.

The code is written in C as TVM's compiler writes it, against the same functions of the runtime.
"""

from __future__ import annotations

import subprocess
from pathlib import Path

import pytest

from orrery.decompile._code import ImageCode
from orrery.decompile._functions import find_functions
from orrery.decompile.containers import ContainerError, VmCall, VmFunction, VmOperand, VmProgram
from orrery.decompile.images import open_image
from orrery.decompile.linking import traced_program
from orrery.runtime.binaries import find_target

pytestmark = pytest.mark.needs("gcc", "pyvex", "capstone")

_SOURCE = """
#include <stdint.h>
typedef struct { int32_t kind, more; int64_t number; } Any;
typedef int (*Packed)(void *, Any *, int, Any *);
int (*__TVMFFIFunctionCall)(void *, Any *, int, Any *);
int (*__TVMFFIHandleInitOnce)(void **, int (*)(void **));
int TVMBackendAnyListSetPackedArg(void *list, int index, Any *args, int at);
int TVMBackendAnyListMoveFromPackedReturn(void *list, int index, Any *args, int at);
static void *alloc_handle, *lay_handle;
__attribute__((noinline)) static int init_alloc(void **h) { *h = (void *)1; return 0; }
__attribute__((noinline)) static int init_lay(void **h) { *h = (void *)2; return 0; }
float sink;
__attribute__((noinline)) int kernel(void *self, Any *args, int count, Any *result) {
    if (count != 3) return -1;
    const float *x = (const float *)(intptr_t)args[0].number;
    for (int i = 0; i < 8; i++) sink += x[i];
    return 0;
}
#define CALL(handle, init, count, result) \\
    if (__TVMFFIHandleInitOnce(&handle, init)) return -1; \\
    if (__TVMFFIFunctionCall(handle, args, count, args + result)) return -1
__attribute__((noinline)) static int compute(void *r, Any *args, void *c, void *context) {
    for (int turn = 0; turn < TURNS; turn++) {
        args[0].kind = context ? 4 : 0; args[0].more = 0;
        args[0].number = (int64_t)(intptr_t)context;
        TVMBackendAnyListSetPackedArg(c, 2, args, 1);
        args[2].kind = 1; args[2].more = 0; args[2].number = -3;
        args[5].kind = 0; args[5].more = 0; args[5].number = 0;
        CALL(alloc_handle, init_alloc, 3, 5);
        TVMBackendAnyListMoveFromPackedReturn(r, 2, args, 5);
        TVMBackendAnyListSetPackedArg(r, 2, args, 0);
        args[1].kind = 1; args[1].more = 0; args[1].number = 64;
        CALL(lay_handle, init_lay, 2, 4);
        TVMBackendAnyListMoveFromPackedReturn(r, 3, args, 4);
    }
    TVMBackendAnyListSetPackedArg(r, 0, args, 0);
    TVMBackendAnyListSetPackedArg(c, 1, args, 1);
    TVMBackendAnyListSetPackedArg(r, 3, args, 2);
    if (kernel(0, args, 3, args + 3)) return -1;
    BRANCH
    return 0;
}
int main_wrapper(void *self, Any *args, int count, Any *result) {
    Any row[8];
    if (count != 4) return -1;
    return compute((void *)(intptr_t)args[1].number, row, (void *)(intptr_t)args[2].number,
                   (void *)(intptr_t)args[0].number);
}
"""
_PROGRAM = VmProgram(
    functions=(VmFunction(name="main", kind="compiled", parameters=("x",)),), constants=()
)


def _traced(folder: Path, target: str, *flags: str) -> tuple[VmProgram, int]:
    (folder / "a.c").write_text(_SOURCE)
    tool = find_target(target).tool("gcc")
    words = [tool, "-O2", "-shared", "-fPIC", "-fno-toplevel-reorder", *flags, "a.c", "-o", "a.so"]
    subprocess.run(words, cwd=folder, check=True)
    image = open_image(folder / "a.so")
    symbol = image.symbol("kernel")
    assert symbol is not None
    return traced_program(_PROGRAM, ImageCode(image), find_functions(image)), symbol.address


def _operands(*said: str | int) -> tuple[VmOperand, ...]:
    kinds = {"r": "register", "c": "constant"}
    return tuple(
        VmOperand(kind="immediate", value=one) if isinstance(one, int)
        else VmOperand(kind="machine") if one == "machine"
        else VmOperand(kind=kinds[one[0]], value=int(one[1:])) for one in said
    )  # fmt: skip


@pytest.mark.parametrize("target", [
    "x86-64",
    pytest.param("aarch64", marks=pytest.mark.needs("aarch64-linux-gnu-gcc")),
    pytest.param("thumb", marks=pytest.mark.needs("arm-linux-gnueabihf-gcc")),
])  # fmt: skip
def test_calls_of_machine_code(target: str, tmp_path: Path) -> None:
    program, kernel = _traced(tmp_path, target, "-DTURNS=2", "-DBRANCH=")
    main = program.functions[0]
    assert main.kind == "bytecode"
    made = (
        VmCall(kind="call", function=1, operands=_operands("machine", "c2", -3), result=2),
        VmCall(kind="call", function=2, operands=_operands("r2", 64), result=3),
    )
    last = VmCall(kind="call", function=3, operands=_operands("r0", "c1", "r3"))
    assert main.code == (*made, *made, last, VmCall(kind="return", result=1))
    assert [one.address for one in program.functions[1:]] == [None, None, kernel]


def test_a_branch_on_what_is_not_known_is_said(tmp_path: Path) -> None:
    with pytest.raises(ContainerError, match="not known"):
        _traced(tmp_path, "x86-64", "-DTURNS=1", "-DBRANCH=if (args[3].number > 7) sink = 1;")
