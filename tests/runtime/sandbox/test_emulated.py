"""Code of four machines in the emulator, against the same code run natively or the source."""

from __future__ import annotations

import subprocess
from pathlib import Path

import numpy as np
import pytest

from orrery.decompile.images import Image, open_image
from orrery.runtime.sandbox import (
    Answer,
    Block,
    Call,
    Emulated,
    Limits,
    Native,
    Piece,
    Pointer,
    Watched,
    run_probe,
)

pytestmark = pytest.mark.needs("unicorn", "gcc")

_SOURCE = """
#include <math.h>
#include <stdlib.h>
#include <string.h>
static const float weight[4] = {1, -2, 3, 0.5f};
double twice(double x) { return 2 * x; }
void act(const float *in, float *out, int n, int a, int b, int c, int d, const float *more) {
    float *kept = malloc(n * sizeof *kept);
    memset(kept, 0, n * sizeof *kept);
    for (int i = 0; i < n; i++) kept[i] += expf(in[i]) * weight[i % 4];
    for (int i = 0; i < n; i++)
        out[i] = tanhf(kept[i]) + powf(2, in[i]) + more[i] + (a + b + c + d) + (float)exp(twice(0));
    memcpy(out + n, kept, n * sizeof *kept);
    free(kept);
}
"""
_COUNT = 8
_BUILDS = {
    "x86-64": ("gcc", "-shared", "-fPIC"),
    "aarch64": ("aarch64-linux-gnu-gcc", "-shared", "-fPIC"),
    "armv7": ("arm-linux-gnueabihf-gcc", "-marm", "-shared", "-fPIC"),
    "thumb": ("arm-linux-gnueabihf-gcc", "-mthumb", "-mcpu=cortex-m7", "-mfpu=fpv5-d16", "-c"),
}


def _built(folder: Path, source: str, machine: str) -> Path:
    (folder / "a.c").write_text(source)
    path = folder / ("a.o" if "-c" in _BUILDS[machine] else "a.so")
    tool, *flags = _BUILDS[machine]
    subprocess.run([tool, "-O2", *flags, "a.c", "-o", path.name, "-lm"], cwd=folder, check=True)
    return path


def _emulated(image: Image, data: bytes, limits: Limits | None = None) -> Answer:
    symbol = image.symbol("act")
    assert symbol is not None
    call = Call(
        entry=symbol.address | symbol.thumb,
        arguments=(Pointer(block="in"), Pointer(block="out"), _COUNT, 1, 2, 3, 4,
                   Pointer(block="more", offset=4)),
    )  # fmt: skip
    probe = Emulated(
        architecture=image.architecture,
        pieces=tuple(
            Piece(address=one.address, data=one.data, size_bytes=one.size_bytes,
                  writable=one.writable, executable=one.executable)
            for one in image.segments if one.size_bytes
        ),
        imports=image.imports, calls=(call,), blocks=_blocks(), rounds=({"in": data}, {}),
        answers=("out",),
    )  # fmt: skip
    return run_probe(probe, limits or Limits(wall_s=60))


def _blocks() -> tuple[Block, ...]:
    more = np.arange(_COUNT + 1, dtype=np.float32).tobytes()
    size = 4 * _COUNT
    return (Block(name="in", size_bytes=size), Block(name="out", size_bytes=2 * size),
            Block(name="more", size_bytes=len(more), data=more))  # fmt: skip


@pytest.mark.needs("aarch64-linux-gnu-gcc", "arm-linux-gnueabihf-gcc")
@pytest.mark.parametrize("machine", _BUILDS)
def test_each_machine_computes_what_the_source_says(machine: str, tmp_path: Path) -> None:
    values = np.linspace(-1, 1, _COUNT, dtype=np.float32)
    found = _emulated(open_image(_built(tmp_path, _SOURCE, machine)), values.tobytes())
    assert found.failure is None
    assert len(found.rounds) == 2
    for got, given in zip(found.rounds, (values, np.zeros_like(values))):
        kept = np.exp(given) * np.resize(np.float32([1, -2, 3, 0.5]), _COUNT)
        more = np.arange(1, _COUNT + 1, dtype=np.float32)
        wanted = np.tanh(kept) + np.power(np.float32(2), given) + more + np.float32(11)
        answer = np.frombuffer(got["out"], np.float32).reshape(2, _COUNT)
        np.testing.assert_allclose(answer[0], wanted, rtol=1e-6)
        np.testing.assert_allclose(answer[1], kept, rtol=1e-6)


def test_the_emulator_answers_as_the_processor_does(tmp_path: Path) -> None:
    path = _built(tmp_path, _SOURCE, "x86-64")
    values = np.random.default_rng(4).standard_normal(_COUNT).astype(np.float32).tobytes()
    probe = Native(
        file=path.read_bytes(),
        calls=(Call(entry="act", arguments=(
            Pointer(block="in"), Pointer(block="out"), _COUNT, 1, 2, 3, 4,
            Pointer(block="more", offset=4),
        )),),
        blocks=_blocks(), rounds=({"in": values}, {}), answers=("out",),
    )  # fmt: skip
    native = run_probe(probe, Limits(wall_s=60))
    assert native.failure is None
    assert native.rounds == _emulated(open_image(path), values).rounds


def test_stores_of_chosen_instructions_are_kept(tmp_path: Path) -> None:
    import capstone

    body = ("for (int i = 0; i < 6; i++) { out[i] = 3 * in[i]; }"
            "for (int i = 5; i >= 0; i--) { out[i + 8] = in[i] - 1; }")  # fmt: skip
    source = '__attribute__((optimize("no-tree-vectorize"))) '
    source += f"void act(const float *in, float *out) {{ {body} }}"
    image = open_image(_built(tmp_path, source, "x86-64"))
    symbol = image.symbol("act")
    assert symbol is not None
    engine = capstone.Cs(capstone.CS_ARCH_X86, capstone.CS_MODE_64)
    code = image.read(symbol.address, symbol.size_bytes)
    stores = [one.address for one in engine.disasm(code, symbol.address)
              if one.mnemonic == "movss" and one.op_str.startswith("dword")]  # fmt: skip
    assert len(stores) == 2
    pieces = tuple(
        Piece(address=one.address, data=one.data, size_bytes=one.size_bytes,
              writable=one.writable, executable=one.executable)
        for one in image.segments if one.size_bytes
    )  # fmt: skip
    values = np.linspace(-1, 1, 6, dtype=np.float32)
    probe = Emulated(
        architecture="x86-64", pieces=pieces, imports=image.imports,
        calls=(Call(entry=symbol.address, arguments=(Pointer(block="in"), Pointer(block="out"))),),
        blocks=(Block(name="in", size_bytes=24), Block(name="out", size_bytes=64)),
        rounds=({"in": values.tobytes()}, {}), answers=("out",),
        watched=(Watched(name="first", instructions=(stores[0],), size_bytes=24),
                 Watched(name="second", instructions=(stores[1],), size_bytes=8),
                 Watched(name="none", instructions=(symbol.address,), size_bytes=8)),
    )  # fmt: skip
    found = run_probe(probe, Limits(wall_s=60))
    assert found.failure is None
    for got, given in zip(found.rounds, (values, np.zeros_like(values)), strict=True):
        count = np.frombuffer(got["first"], "<u8", 1)
        assert count == [24]
        np.testing.assert_array_equal(np.frombuffer(got["first"], np.float32, offset=8), 3 * given)
        # More was stored than there is room for: the lowest addresses are kept, all are counted.
        assert np.frombuffer(got["second"], "<u8", 1) == [24]
        second = np.frombuffer(got["second"], np.float32, offset=8)
        np.testing.assert_array_equal(second, given[:2] - 1)
        assert got["none"] == bytes(16)


@pytest.mark.parametrize(
    ("body", "kind", "text"),
    [
        ("for (;;) ;", "time", "not done after"),
        ("((void (*)(void))8)();", "crash", "at 0x8"),
        ("*(volatile int *)16 = 1;", "crash", "WRITE"),
        ("for (;;) if (!malloc(1 << 24)) return;", "crash", "more memory"),
        ("system(0);", "crash", "called system, which the emulator does not have"),
        ('__asm__ volatile("syscall");', "crash", "system call"),
    ],
)
def test_what_goes_wrong_is_named(body: str, kind: str, text: str, tmp_path: Path) -> None:
    source = f"#include <stdlib.h>\nvoid act(void) {{ {body} }}"
    image = open_image(_built(tmp_path, source, "x86-64"))
    failure = _emulated(image, b"", Limits(wall_s=1 if kind == "time" else 60)).failure
    assert failure is not None
    assert (failure.kind, text in failure.text) == (kind, True), failure
