"""Compiled kernels lifted and run on memory: what they leave there equals the native functions'."""

from __future__ import annotations

import subprocess
from pathlib import Path

import pytest

from orrery.decompile._code import ImageCode
from orrery.decompile.forms import Reduction, Store
from orrery.decompile.images import open_image
from orrery.decompile.lifting import Lifting, lift

from . import kernels

pytestmark = pytest.mark.needs("pyvex", "gcc")

#: What is compared at every level of optimisation; the larger ones once only.
QUICK = sorted(set(kernels.KERNELS) - {"conv", *kernels.OVERWRITING})
#: What may be said to be unread: what a turn has read and a later one uses, sums of what is
#: overwritten in the same turn under a condition.
UNREAD_AT = {
    *((name, level) for name in ("filtered", "counted") for level in ("-O0", "-O1", "-O2", "-O3")),
    ("normal", "-O0"),
}  # fmt: skip


@pytest.fixture(scope="module")
def libraries(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """The kernels at every level."""
    folder = tmp_path_factory.mktemp("kernels")
    return {level: kernels.compile_kernels(folder, level) for level in ("-O0", "-O1", "-O2", "-O3")}


@pytest.mark.parametrize("level", ["-O0", "-O1", "-O2", "-O3"])
def test_memory_equals_native(libraries: dict[str, Path], level: str) -> None:
    image = open_image(libraries[level])
    for name in QUICK:
        routine, worst = kernels.difference(libraries[level], name, image)
        assert worst == 0.0, f"{name} {level}: {worst}"
        assert not routine.unread, f"{name} {level}: {routine.unread}"


@pytest.mark.parametrize("level", ["-O0", "-O1", "-O2", "-O3"])
def test_what_was_overwritten_is_not_read_anew(libraries: dict[str, Path], level: str) -> None:
    image = open_image(libraries[level])
    for name in kernels.OVERWRITING:
        routine, worst = kernels.difference(libraries[level], name, image)
        assert routine.unread or worst == 0.0, f"{name} {level}: {worst}"
        assert not routine.unread or (name, level) in UNREAD_AT, f"{name} {level}: {routine.unread}"


ARM = ("-march=armv7-a", "-mfpu=neon-vfpv4", "-mfloat-abi=hard")
#: Compiler and flags; products are not fused into sums, so that all machines compute the same.
ELSEWHERE = {
    "aarch64": ("aarch64-linux-gnu-gcc", ("-O2",)),
    "armv7": ("arm-linux-gnueabihf-gcc", ("-O1", "-marm", *ARM)),
    "thumb": ("arm-linux-gnueabihf-gcc", ("-O2", "-mthumb", *ARM)),
    "clang": ("clang", ("-O1",)),
    "avx2": ("clang", ("-O3", "-mavx2", "-mfma")),
}
#: Numbers of eight bits that wrap around, as clang counts where a quotient fits in them.
UNREAD = {("avx2", "flat")}


@pytest.mark.parametrize(
    "machine", [pytest.param(m, marks=pytest.mark.needs(c)) for m, (c, _) in ELSEWHERE.items()]
)
def test_other_machines_and_compilers(
    libraries: dict[str, Path], tmp_path: Path, machine: str
) -> None:
    compiler, flags = ELSEWHERE[machine]
    library = kernels.compile_kernels(tmp_path, *flags, "-ffp-contract=off", compiler=compiler)
    image = open_image(library)
    for name in [*QUICK, "conv", *kernels.OVERWRITING]:
        if (machine, name) in UNREAD:
            symbol = image.symbol(name)
            assert symbol is not None
            assert lift(image, symbol.address).unread  # said, not passed over
            continue
        routine, worst = kernels.difference(library, name, image, judge=libraries["-O1"])
        if name in kernels.OVERWRITING and routine.unread:
            continue
        assert worst <= kernels.ROUNDING if routine.notes else worst == 0.0, f"{name}: {worst}"
        assert not routine.unread, f"{name}: {routine.unread}"


@pytest.mark.parametrize("bound", [False, True])
def test_a_function_that_a_library_has_as_well(tmp_path: Path, bound: bool) -> None:
    """Which ``expf`` it is, the order says in which files are loaded; or the linker has said it."""
    source, target = tmp_path / "own.c", tmp_path / "own.so"
    source.write_text("""
    float expf(float x) { return x * x + 1; }
    void each(float *x) { for (int i = 0; i < 8; i++) x[i] = expf(x[i]); }
    """)
    flags = ["-O1", "-fno-builtin", "-shared", "-fPIC", *(["-Wl,-Bsymbolic"] if bound else [])]
    subprocess.run(["gcc", *flags, str(source), "-o", str(target)], check=True)
    image = open_image(target)
    symbol = image.symbol("each")
    assert symbol is not None
    routine = lift(ImageCode(image), symbol.address)
    assert [("expf" in u.reason) for u in routine.unread] == ([] if bound else [True])


def test_convolution_with_padding(libraries: dict[str, Path]) -> None:
    routine, worst = kernels.difference(libraries["-O1"], "conv")
    assert worst == 0.0
    (step,) = routine.steps
    assert isinstance(step, Store)
    assert [loop.extent.constant for loop in step.loops] == [4, 6, 5]


@pytest.mark.parametrize("name", ["gemm", "matmul", "add", "transpose"])
def test_unrolled_code_is_one_loop_nest(libraries: dict[str, Path], name: str) -> None:
    image = open_image(libraries["-O3"])
    symbol = image.symbol(name)
    assert symbol is not None
    assert len(lift(image, symbol.address).steps) == 1
    flat = lift(image, symbol.address, settings=Lifting(rolled=False))
    assert len(flat.steps) > 4


def test_known_arguments_specialise(libraries: dict[str, Path]) -> None:
    image = open_image(libraries["-O1"])
    symbol = image.symbol("generic")
    assert symbol is not None
    routine = lift(image, symbol.address, arguments={3: 4, 4: 6})
    (step,) = routine.steps
    assert isinstance(step, Store) and isinstance(step.value, Reduction)
    assert step.loops[0].extent.constant == 4 and step.value.extent.constant == 6
    assert not step.guards


def test_wrong_routine_is_seen(libraries: dict[str, Path]) -> None:
    """The judge itself: another function's routine does not pass."""
    image = open_image(libraries["-O1"])
    symbol = image.symbol("transpose")
    assert symbol is not None
    found = kernels.evaluated(image, lift(image, symbol.address), "flat")
    wanted = kernels.native(libraries["-O1"], "flat")
    assert any((a != b).any() for a, b in zip(found, wanted, strict=True))


def test_garbage_is_unread_not_an_error(libraries: dict[str, Path]) -> None:
    image = open_image(libraries["-O1"])
    for address in (0, 1, 0x1003, 1 << 40):
        routine = lift(image, address)
        assert routine.address == address


def test_work_is_bounded(libraries: dict[str, Path]) -> None:
    image = open_image(libraries["-O1"])
    symbol = image.symbol("conv")
    assert symbol is not None
    routine = lift(image, symbol.address, settings=Lifting(statements=300))
    assert any("more work" in u.reason for u in routine.unread)
