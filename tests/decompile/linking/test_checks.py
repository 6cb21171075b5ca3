"""Code is linked to calls by the shapes that it checks, whatever it is called.

The wrappers are written in C as TVM's compiler writes them: packed arguments of 16 bytes, each a
tensor's header or an object with the header behind its own.
"""

from __future__ import annotations

import subprocess
from pathlib import Path

import numpy as np
import pytest

from orrery.decompile._code import ImageCode
from orrery.decompile._functions import find_functions
from orrery.decompile.containers import Kernel, KernelCall, Place, Sequence
from orrery.decompile.forms import Buffer
from orrery.decompile.images import open_image
from orrery.decompile.linking import find_kernels, runtime_pointers
from orrery.decompile.linking._checks import read_checks
from orrery.decompile.linking._wrapper import arguments_handed_on
from orrery.runtime.binaries import find_target

pytestmark = pytest.mark.needs("gcc", "pyvex", "capstone")

_HEAD = """
#include <stdint.h>
typedef struct { void *data; int32_t device[2]; int32_t rank; uint8_t code, bits; uint16_t lanes;
                 int64_t *shape; int64_t *strides; uint64_t offset; } Tensor;
typedef struct { int32_t kind, more; union { int64_t number; void *pointer; } is; } Any;
extern int raised(const char *what, int code);
static Tensor *header(Any *one) {
    char *at = one->is.pointer;
    return (Tensor *)(one->kind == 70 ? at + 24 : at);
}
"""
_SCALE = """
__attribute__((noinline)) static int scale%(n)d(const float *x, const float *w, float *y) {
    for (int i = 0; i < %(size)d; i++) y[i] = x[i] * w[i %% %(n)d];
    return 0;
}
int wrapper%(n)d(void *self, Any *args, int count, Any *result) {
    if (count != 3) return raised("count", 1);
    Tensor *x = header(args), *w = header(args + 1), *y = header(args + 2);
    if (!x || !w || !y) return raised("null", 2);
    if (x->rank != 2 || w->rank != 1 || y->rank != 2) return raised("rank", 3);
    if (x->shape[0] != %(rows)d || x->shape[1] != %(n)d) return raised("x", 4);
    if (w->shape[0] != %(n)d) return raised("w", 5);
    if (y->shape[0] != %(rows)d || y->shape[1] != %(n)d) return raised("y", 6);
    return scale%(n)d(x->data, w->data, y->data);
}
"""


def _built(folder: Path, target: str, *flags: str) -> Path:
    source = _HEAD + "".join(
        _SCALE % {"n": n, "rows": rows, "size": n * rows} for n, rows in ((5, 3), (7, 3), (9, 2))
    )
    (folder / "a.c").write_text(source)
    tool = find_target(target).tool("gcc")
    subprocess.run([tool, "-O2", "-shared", "-fPIC", *flags, "a.c", "-o", "a.so"], cwd=folder,
                   check=True)  # fmt: skip
    return folder / "a.so"


def _sequence(*calls: tuple[int, str, tuple[tuple[int, ...], ...]]) -> Sequence:
    made = tuple(
        KernelCall(kernel=Kernel(name=name, number=number),
                   arguments=tuple(Place(buffer="b", shape=shape) for shape in shapes))
        for number, name, shapes in calls
    )  # fmt: skip
    return Sequence(entry="main", buffers={"b": Buffer(name="b", role="temporary")}, calls=made,
                    inputs=(), outputs=())  # fmt: skip


_SHAPES = {n: ((rows, n), (n,), (rows, n)) for n, rows in ((5, 3), (7, 3), (9, 2))}


@pytest.mark.parametrize("target", [
    "x86-64",
    pytest.param("aarch64", marks=pytest.mark.needs("aarch64-linux-gnu-gcc")),
    pytest.param("thumb", marks=pytest.mark.needs("arm-linux-gnueabihf-gcc")),
])  # fmt: skip
def test_the_shapes_that_code_checks(target: str, tmp_path: Path) -> None:
    image = open_image(_built(tmp_path, target))
    functions, code = find_functions(image), ImageCode(image)
    for n, shapes in _SHAPES.items():
        symbol = image.symbol(f"wrapper{n}")
        assert symbol is not None
        one = functions.at(symbol.address)
        assert one is not None
        checks = read_checks(code, one.address | image.is_thumb(one.address), one.end)
        assert checks is not None
        assert checks.count == 3
        assert checks.shapes == dict(enumerate(shapes))
        assert checks.fit(shapes)
        assert not checks.fit((shapes[1], shapes[0], shapes[2]))
        assert not checks.fit((*shapes, (1,)))
        assert checks.inner is not None
        entry = one.address | image.is_thumb(one.address)
        assert arguments_handed_on(code, entry, checks.inner, 3) == (0, 1, 2)


def test_calls_are_linked_without_names(tmp_path: Path) -> None:
    whole = open_image(_built(tmp_path, "x86-64"))
    wanted = {n: whole.symbol(f"wrapper{n}") for n in _SHAPES}
    subprocess.run(["strip", "--strip-all", tmp_path / "a.so"], check=True)
    image = open_image(tmp_path / "a.so")
    functions, code = find_functions(image), ImageCode(image)
    sequence = _sequence(*((n, "", shapes) for n, shapes in _SHAPES.items()))
    places, notes = find_kernels(sequence, [functions], [code], dispatched=False)
    for n, symbol in wanted.items():
        assert symbol is not None
        place = places[0, n]
        assert place.wrapper == symbol.address
        inner = functions.at(place.address)
        assert inner is not None
        assert inner.products and place.address != place.wrapper
    assert any("3 of 3 kernels" in note and "shapes" in note for note in notes)


def test_names_decide_between_equals_alone(tmp_path: Path) -> None:
    image = open_image(_built(tmp_path, "x86-64"))
    functions, code = find_functions(image), ImageCode(image)
    # A name that lies loses against what the code checks; two calls with the same shapes are told
    # apart by nothing else, and without names by nothing.
    lying = _sequence((1, "wrapper7", _SHAPES[5]), (2, "", _SHAPES[7]), (3, "", _SHAPES[9]))
    places, _ = find_kernels(lying, [functions], [code], dispatched=False)
    wanted = image.symbol("wrapper5")
    assert wanted is not None
    assert places[0, 1].wrapper == wanted.address
    twice = _sequence((1, "", _SHAPES[5]), (2, "", _SHAPES[5]))
    places, notes = find_kernels(twice, [functions], [code], dispatched=False)
    assert len(places) < 2
    assert any("no code was found" in note for note in notes)


_WORKSPACE = """
#include <stdint.h>
void *(*__TVMBackendAllocWorkspace)(int, int, uint64_t, int, int);
int (*__TVMBackendFreeWorkspace)(int, int, void *);
int convolve(int device, const float *x, float *y) {
    float *pad = __TVMBackendAllocWorkspace(1, device, 4 * 100, 2, 32);
    if (!pad) return -1;
    for (int i = 0; i < 100; i++) pad[i] = i % 10 ? x[i] : 0;
    for (int i = 0; i < 99; i++) y[i] = pad[i] + pad[i + 1];
    return __TVMBackendFreeWorkspace(1, device, pad);
}
"""


@pytest.mark.parametrize("target", [
    "x86-64",
    pytest.param("aarch64", marks=pytest.mark.needs("aarch64-linux-gnu-gcc")),
    pytest.param("thumb", marks=pytest.mark.needs("arm-linux-gnueabihf-gcc")),
])  # fmt: skip
def test_a_runtimes_pointers_are_told_by_their_use(target: str, tmp_path: Path) -> None:
    (tmp_path / "a.c").write_text(_WORKSPACE)
    tool = find_target(target).tool("gcc")
    subprocess.run([tool, "-O2", "-shared", "-fPIC", "a.c", "-o", "a.so"], cwd=tmp_path, check=True)
    named = open_image(tmp_path / "a.so")
    symbols = {s.name.removeprefix("__"): s.address for s in named.symbols if "Workspace" in s.name}
    data = (tmp_path / "a.so").read_bytes()
    for name in symbols:  # the loader's table must go on naming something
        data = data.replace(f"__{name}".encode(), b"\0" * (len(name) + 2))
    image = open_image(data, name="a.so")
    assert not any("Workspace" in symbol.name for symbol in image.symbols)
    code, functions = ImageCode(image), find_functions(image)
    found = runtime_pointers(code, functions)
    assert found == {address: name for name, address in symbols.items()}


def test_damaged_code_is_looked_at_without_harm(tmp_path: Path) -> None:
    data = _built(tmp_path, "x86-64").read_bytes()
    image = open_image(data, name="a.so")
    text = next(one for one in image.sections if one.name == ".text")
    draw = np.random.default_rng(6)
    looked = 0
    for _ in range(12):
        damaged = bytearray(data)  # in such a file memory begins where the file does
        places = draw.integers(text.address, text.address + text.size_bytes, 40)
        for place, byte in zip(places, draw.integers(0, 256, 40), strict=True):
            damaged[place] = byte
        other = open_image(bytes(damaged), name="a.so")
        functions, code = find_functions(other), ImageCode(other)
        runtime_pointers(code, functions)
        sequence = _sequence(*((n, "", shapes) for n, shapes in _SHAPES.items()))
        places_found, _ = find_kernels(sequence, [functions], [code], dispatched=False)
        assert all(other.is_code(place.wrapper) for place in places_found.values())
        looked += len(functions.each)
    assert looked > 12
