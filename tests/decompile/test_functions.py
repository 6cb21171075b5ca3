"""Functions are found in a stripped file where the symbol table of the whole one has them."""

from __future__ import annotations

import subprocess
from pathlib import Path

import pytest

from orrery.decompile._functions import Functions, find_functions
from orrery.decompile.images import open_image

_SOURCE = """
__attribute__((noinline, noclone)) static void scale(const float *in, float *out, int n) {
    for (int i = 0; i < n; i++) out[i] = 1.5f * in[i] + 2;
}
__attribute__((noinline, noclone)) static int count(const int *in, int n) {
    int found = 0;
    for (int i = 0; i < n; i++) found += in[i] > 3;
    return found;
}
__attribute__((noinline, noclone)) static int by_pointer(int x) { return x + 1; }
int (*table[2])(int) = {by_pointer, 0};
int nobody_calls(int x) { return 3 * x; }
int infer(const float *in, float *out) {
    scale(in, out, 100);
    scale(out, out, 50);
    return count((const int *)out, 7);
}
"""


def _found(path: Path) -> tuple[Functions, dict[str, int]]:
    table = subprocess.run(["nm", path], capture_output=True, text=True, check=True).stdout
    rows = (line.split() for line in table.splitlines() if len(line.split()) == 3)
    addresses = {name: int(address, 16) for address, _, name in rows}
    subprocess.run(["strip", "--strip-all", path], check=True)
    return find_functions(open_image(path)), addresses


@pytest.mark.needs("gcc")
@pytest.mark.parametrize("level", ["-O0", "-O2", "-O3"])
def test_functions_of_a_stripped_file(level: str, tmp_path: Path) -> None:
    (tmp_path / "a.c").write_text(_SOURCE)
    (tmp_path / "a.map").write_text("{ global: infer; local: *; };")
    path = tmp_path / "a.so"
    flags = [level, "-shared", "-fPIC", "-Wl,--version-script=a.map"]
    subprocess.run(["gcc", *flags, "-o", path, "a.c"], cwd=tmp_path, check=True)
    functions, addresses = _found(path)
    by_address = {one.address: one for one in functions.each}
    wanted = ("scale", "count", "by_pointer", "infer", "nobody_calls")
    assert {addresses[one] for one in wanted} <= set(by_address)
    infer, scale = by_address[addresses["infer"]], by_address[addresses["scale"]]
    assert infer.name == "infer"
    assert infer.exported
    assert scale.name == ""
    assert set(infer.calls) >= {addresses["scale"], addresses["count"]}
    assert scale.floats
    assert scale.loops
    assert not by_address[addresses["count"]].floats
    assert functions.reached(infer.address)[0] == infer
    assert functions.at(scale.address + 1) == scale


_LATE = """
static float w[8] = {1, 2, 3, 4, 5, 6, 7, 8};
static float gain = 1.0f;
float shared[8] = {1, 2};
void set_up(void) { for (int i = 0; i < 8; i++) w[i] *= 2; }
void set_gain(float x) { gain = x; }
void set_shared(void) { for (int i = 0; i < 8; i++) shared[i] *= 2; }
void net(const float *x, float *y) {
    for (int i = 0; i < 8; i++) y[i] = x[i] * w[i] * gain + shared[i];
}
"""


@pytest.mark.needs("gcc")
def test_who_has_the_address_of_writable_memory(tmp_path: Path) -> None:
    (tmp_path / "a.c").write_text(_LATE)
    path = tmp_path / "a.so"
    subprocess.run(["gcc", "-O1", "-shared", "-fPIC", "-o", path, "a.c"], cwd=tmp_path, check=True)
    functions, addresses = _found(path)

    def who(name: str) -> set[int]:
        return {one.address for at, to in functions.data if to == addresses[name]
                and (one := functions.at(at)) is not None}  # fmt: skip

    assert addresses["set_up"] in who("w")
    assert who("gain") == {addresses["set_gain"]}  # who only reads it does not change it
    assert addresses["set_shared"] in who("shared")
    assert addresses["set_gain"] not in who("w") | who("shared")
