"""Kernels in C, compiled, run natively, and what a lifted routine makes of the same memory."""

from __future__ import annotations

import ctypes
import math
import subprocess
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from orrery.decompile.forms import Call, Memory, Routine, Store, Symbol, evaluate
from orrery.decompile.images import Image, open_image
from orrery.decompile.lifting import lift

__all__ = [
    "KERNELS",
    "OVERWRITING",
    "ROUNDING",
    "SOURCE",
    "Kernel",
    "compile_kernels",
    "difference",
    "evaluated",
    "native",
]

SOURCE = r"""
#include <math.h>
#include <string.h>
void relu(float *x, int n) { for (int i = 0; i < n; i++) x[i] = x[i] > 0 ? x[i] : 0; }
void add(const float *a, const float *b, float *y) {
  for (int i = 0; i < 37; i++) y[i] = a[i] + b[i];
}
void gemm(const float *a, const float *w, const float *bias, float *y) {
  for (int i = 0; i < 3; i++)
    for (int j = 0; j < 5; j++) {
      float s = bias[j];
      for (int k = 0; k < 7; k++) s += a[i * 7 + k] * w[j * 7 + k];
      y[i * 5 + j] = s;
    }
}
void matmul(const float *restrict a, const float *restrict b, float *restrict y) {
  for (int i = 0; i < 3; i++) {
    for (int j = 0; j < 8; j++) y[i * 8 + j] = 0;
    for (int k = 0; k < 5; k++)
      for (int j = 0; j < 8; j++) y[i * 8 + j] += a[i * 5 + k] * b[k * 8 + j];
  }
}
void conv(const float *in, const float *w, const float *b, float *out) {
  for (int o = 0; o < 4; o++)
    for (int y = 0; y < 6; y++)
      for (int x = 0; x < 5; x++) {
        float acc = b[o];
        for (int c = 0; c < 3; c++)
          for (int ky = 0; ky < 3; ky++)
            for (int kx = 0; kx < 3; kx++) {
              int iy = y * 2 + ky - 1, ix = x + kx - 1;
              if (iy < 0 || iy >= 11 || ix < 0 || ix >= 5) continue;
              acc += in[(c * 11 + iy) * 5 + ix] * w[((o * 3 + c) * 3 + ky) * 3 + kx];
            }
        out[(o * 6 + y) * 5 + x] = acc > 0 ? acc : 0;
      }
}
void depthwise(const float *in, const float *w, float *out) {
  for (int c = 0; c < 3; c++)
    for (int y = 0; y < 4; y++)
      for (int x = 0; x < 8; x++) {
        float acc = 0;
        for (int ky = 0; ky < 3; ky++)
          for (int kx = 0; kx < 3; kx++)
            acc += in[(c * 6 + y + ky) * 10 + x + kx] * w[(c * 3 + ky) * 3 + kx];
        out[(c * 4 + y) * 8 + x] = acc;
      }
}
void pool(const float *in, float *out) {
  for (int c = 0; c < 2; c++)
    for (int y = 0; y < 3; y++)
      for (int x = 0; x < 3; x++) {
        float m = -INFINITY;
        for (int ky = 0; ky < 2; ky++)
          for (int kx = 0; kx < 2; kx++) {
            float v = in[(c * 6 + y * 2 + ky) * 6 + x * 2 + kx];
            if (v > m) m = v;
          }
        out[(c * 3 + y) * 3 + x] = m;
      }
}
void softmax(const float *x, float *y) {
  float m = x[0];
  for (int i = 1; i < 10; i++) m = x[i] > m ? x[i] : m;
  float s = 0;
  for (int i = 0; i < 10; i++) { y[i] = expf(x[i] - m); s += y[i]; }
  for (int i = 0; i < 10; i++) y[i] /= s;
}
void copy(const float *x, float *y) {
  memset(y, 0, 8 * 8 * 4);
  for (int i = 0; i < 6; i++) memcpy(y + (i + 1) * 8 + 1, x + i * 6, 24);
}
void accumulate(const float *a, const float *w, float *y) {
  for (int j = 0; j < 8; j++) y[j] = 0;
  for (int j = 0; j < 8; j++)
    for (int k = 0; k < 9; k++) y[j] += a[k] * w[j * 9 + k];
}
void average(const float *x, float *y) {
  for (int c = 0; c < 4; c++) {
    float s = 0;
    for (int i = 0; i < 36; i++) s += x[c * 36 + i];
    y[c] = s / 36;
  }
}
void generic(const float *a, const float *w, float *y, int m, int n) {
  for (int j = 0; j < m; j++) {
    float s = 0;
    for (int k = 0; k < n; k++) s += a[k] * w[j * n + k];
    y[j] = s;
  }
}
static float act(float x) { return x < 0 ? 0.1f * x : x > 6 ? 6 : x; }
void leaky(float *x, float *y) { for (int i = 0; i < 13; i++) y[i] = act(x[i]); }
void norm(const float *x, const float *s, const float *b, const float *m, const float *v,
          float *y) {
  for (int c = 0; c < 3; c++)
    for (int i = 0; i < 20; i++)
      y[c * 20 + i] = (x[c * 20 + i] - m[c]) / sqrtf(v[c] + 1e-5f) * s[c] + b[c];
}
void transpose(const float *x, float *y) {
  for (int i = 0; i < 6; i++) for (int j = 0; j < 7; j++) y[j * 6 + i] = x[i * 7 + j];
}
void flat(const float *x, float *y) {
  for (int i = 0; i < 60; i++) y[i] = x[(i % 10) * 6 + i / 10];
}
static const float table[12] = {1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12.5f};
void weights(const float *x, float *y) {
  for (int j = 0; j < 3; j++) {
    float s = 0.25f;
    for (int k = 0; k < 4; k++) s += x[k] * table[j * 4 + k];
    y[j] = s;
  }
}
void clipped(const float *x, float *y) {
  for (int i = 0; i < 9; i++) {
    int from = i < 2 ? 2 - i : 0, to = i > 6 ? 11 - i : 5;
    float s = 0;
    for (int k = from; k < to; k++) s += x[i + k - 2];
    y[i] = s;
  }
}
void moments(const float *x, float *y) {
  for (int r = 0; r < 3; r++) {
    float mean = 0, square = 0;
    for (int i = 0; i < 16; i++) mean += x[r * 16 + i];
    mean /= 16;
    for (int i = 0; i < 16; i++) {
      float d = x[r * 16 + i] - mean;
      square += d * d;
    }
    float scale = 1 / sqrtf(square / 16 + 1e-5f);
    for (int i = 0; i < 16; i++) y[r * 16 + i] = (x[r * 16 + i] - mean) * scale;
  }
}
void sigmoid(const float *x, float *y) {
  for (int i = 0; i < 11; i++) y[i] = 1 / (1 + expf(-x[i]));
}
void doubles(const double *x, double *y) {
  double s = 0;
  for (int i = 0; i < 10; i++) s += x[i] * x[i];
  y[0] = s;
}
void inplace(float *s, const float *b, float *out) {
  for (int i = 0; i < 6; i++) { float v = b[i] + s[i]; s[i] = v; out[i] = v > 0 ? v : 0; }
}
void exchange(float *s, const float *b, float *out) {
  for (int i = 0; i < 7; i++) { float v = s[i]; s[i] = b[i]; out[i] = v * 2 + b[i]; }
}
void local(const float *x, float *y) {
  float padded[10 * 10];
  memset(padded, 0, sizeof padded);
  for (int i = 0; i < 8; i++)
    for (int j = 0; j < 8; j++) padded[(i + 1) * 10 + j + 1] = x[i * 8 + j];
  for (int i = 0; i < 8; i++)
    for (int j = 0; j < 8; j++) y[i * 8 + j] = padded[i * 10 + j] + padded[(i + 2) * 10 + j + 2];
}
void bordered(const float *x, const float *w, float *y) {
  for (int i = 0; i < 4; i++)
    for (int j = 0; j < 5; j++) {
      float sum = w[9];
      for (int k = 0; k < 3; k++)
        for (int l = 0; l < 3; l++) {
          int a = i + k - 1, b = j + l - 1;
          if (a >= 0 && a < 4 && b >= 0 && b < 5) sum += x[a * 5 + b] * w[k * 3 + l];
        }
      y[i * 5 + j] = sum;
    }
}
void scattered(const float *x, float *y) {
  for (int i = 1, n = 0; n < 6; n++, i = i * 3 % 7) y[n] = x[i];
}
void parted(const float *x, float *y) {
  for (unsigned long i = 0; i < 12; i++) y[i] = x[i / 3 * 5 + i % 3];
}
void halved(float *a, float *c) {
  float t = a[0];
  for (int i = 0; i < 8; i++) a[i] *= 0.5f;
  c[0] = t;
}
void normal(float *x) {
  float m = x[0], s = 0;
  for (int i = 1; i < 7; i++) m = x[i] > m ? x[i] : m;
  for (int i = 0; i < 7; i++) { x[i] = expf(x[i] - m); s += x[i]; }
  for (int i = 0; i < 7; i++) x[i] /= s;
}
void replaced(float *a, const float *b, float *c) {
  float t = a[0];
  a[0] = 5;
  for (int i = 0; i < 6; i++) c[i] = t * b[i];
}
void clamped(float *x, float *y) {
  for (int i = 0; i < 9; i++) {
    if (x[i] < 0) x[i] = 0;
    y[i] = x[i] * 2;
  }
}
void filtered(float *x) {
  float before = x[0];
  for (int i = 1; i < 9; i++) { float now = x[i]; x[i] = now + before; before = now; }
}
static __attribute__((noinline)) void act_on(float *h) {
  for (int i = 0; i < 6; i++) h[i] *= 3;
}
void called(float *h, float *y) { float t = h[0]; act_on(h); y[0] = t; y[1] = h[0]; }
void again(float *y, float *z, const float *b) {
  y[0] = 1;
  for (int i = 0; i < 6; i++) z[i] = b[i];
  y[1] = y[0] * 2;
}
void counted(float *x) {
  for (int i = 0; i < 5; i++) if (x[i] < 0) { x[i] = 0; x[5] += 1; }
}
"""


@dataclass(frozen=True, slots=True, kw_only=True)
class Kernel:
    """A function and what it is given: sizes of arrays in floats, numbers as themselves."""

    arrays: tuple[int, ...]
    numbers: tuple[int, ...] = ()


KERNELS = {
    "relu": Kernel(arrays=(11,), numbers=(11,)), "add": Kernel(arrays=(37, 37, 37)),
    "gemm": Kernel(arrays=(21, 35, 5, 15)), "matmul": Kernel(arrays=(15, 40, 24)),
    "conv": Kernel(arrays=(165, 108, 4, 120)), "depthwise": Kernel(arrays=(180, 27, 96)),
    "pool": Kernel(arrays=(72, 18)), "softmax": Kernel(arrays=(10, 10)),
    "copy": Kernel(arrays=(36, 64)), "accumulate": Kernel(arrays=(9, 72, 8)),
    "average": Kernel(arrays=(144, 4)), "generic": Kernel(arrays=(6, 24, 4), numbers=(4, 6)),
    "leaky": Kernel(arrays=(13, 13)), "norm": Kernel(arrays=(60, 3, 3, 3, 3, 60)),
    "transpose": Kernel(arrays=(42, 42)), "flat": Kernel(arrays=(60, 60)),
    "weights": Kernel(arrays=(4, 3)), "clipped": Kernel(arrays=(13, 9)),
    "moments": Kernel(arrays=(48, 48)), "sigmoid": Kernel(arrays=(11, 11)),
    "doubles": Kernel(arrays=(20, 2)), "local": Kernel(arrays=(64, 64)),
    "inplace": Kernel(arrays=(6, 6, 6)), "exchange": Kernel(arrays=(7, 7, 7)),
    "bordered": Kernel(arrays=(20, 10, 20)), "scattered": Kernel(arrays=(7, 6)),
    "parted": Kernel(arrays=(18, 12)),
    "halved": Kernel(arrays=(8, 1)), "normal": Kernel(arrays=(7,)),
    "replaced": Kernel(arrays=(1, 6, 6)), "clamped": Kernel(arrays=(9, 9)),
    "filtered": Kernel(arrays=(9,)), "called": Kernel(arrays=(6, 2)),
    "again": Kernel(arrays=(2, 6, 6)), "counted": Kernel(arrays=(6,)),
}  # fmt: skip
#: They go on with numbers that they have overwritten in memory.
OVERWRITING = (
    "halved", "normal", "replaced", "clamped", "filtered", "called", "again", "counted"
)  # fmt: skip
_BASE = 0x7000_0000_0000

#: How far a sum of a few dozen numbers of this size moves when its order changes.
ROUNDING = 2e-5


def compile_kernels(folder: Path, *flags: str, compiler: str = "gcc") -> Path:
    """Return the kernels as a shared object."""
    label = "".join(c for c in f"{compiler}{''.join(flags)}" if c.isalnum())
    source, target = folder / "kernels.c", folder / f"{label}.so"
    source.write_text(SOURCE)
    command = [compiler, *flags, "-shared", "-fPIC", str(source), "-o", str(target), "-lm"]
    subprocess.run(command, check=True, capture_output=True)
    return target


def _arrays(kernel: Kernel, seed: int) -> list[np.ndarray]:
    generator = np.random.default_rng(seed)
    return [np.abs(generator.normal(size=n)).astype(np.float32) + 0.1 if i == 4
            else generator.normal(size=n).astype(np.float32)
            for i, n in enumerate(kernel.arrays)]  # fmt: skip


def native(library: Path, name: str, seed: int = 0) -> list[np.ndarray]:
    """Return the arrays after the compiled function has run on them."""
    kernel = KERNELS[name]
    arrays = _arrays(kernel, seed)
    function = getattr(ctypes.CDLL(str(library)), name)
    pointers = [a.ctypes.data_as(ctypes.c_void_p) for a in arrays]
    function(*pointers, *kernel.numbers)
    return arrays


def evaluated(image: Image, routine: Routine, name: str, seed: int = 0) -> list[np.ndarray]:
    """Return the arrays after a routine has run on them."""
    kernel = KERNELS[name]
    arrays = _arrays(kernel, seed)
    narrow = image.architecture in ("armv7", "thumb")
    base, registers = (0x7000_0000, 4) if narrow else (_BASE, 6)
    places = [base + 0x10000 * i for i in range(len(arrays))]
    buffers = [bytearray(a.tobytes()) for a in arrays]
    regions: dict[int, bytearray | bytes] = dict(zip(places, buffers, strict=True))
    stack = base - 0x100000
    regions[stack - 0x4000] = bytearray(0x5000)
    for segment in image.segments:
        regions[segment.address] = image.read(segment.address, segment.size_bytes)
    given = [*places, *kernel.numbers]
    names = [f"a{i}" if i < registers else f"s{i - registers}" for i in range(len(given))]
    known = {Symbol(n, "argument"): v for n, v in zip(names, given, strict=True)}
    known[Symbol("stack", "memory")] = stack
    own = {s for step in routine.steps if isinstance(step, Store) for s in step.address.symbols}
    for number, symbol in enumerate(sorted(own - set(known), key=lambda s: s.order)):
        if symbol.kind == "memory":  # memory that the function asks for, or what was put by
            known[symbol] = base - 0x1000_0000 + 0x10000 * number
            regions[known[symbol]] = bytearray(0x8000)
    targets = [s.target for s in routine.steps if isinstance(s, Call)]
    routines = {t: lift(image, t) for t in targets if isinstance(t, int)}
    evaluate(routine, Memory(regions), known, functions=_library(), routines=routines)
    return [np.frombuffer(b, np.float32) for b in buffers]


def _library() -> dict[str, Callable[..., float]]:
    library = ctypes.CDLL("libm.so.6")
    found: dict[str, Callable[..., float]] = {}
    for name in ("expf", "tanhf", "erff"):
        function = getattr(library, name)
        function.restype, function.argtypes = ctypes.c_float, [ctypes.c_float]
        found[name] = function
    return found


def difference(
    library: Path, name: str, image: Image | None = None, *, judge: Path | None = None
) -> tuple[Routine, float]:
    """Return (routine, greatest difference of its memory from the native function's).

    Where it is not read as a whole, that is infinite. The native function is that of ``judge``, the
    same text compiled for this machine, where the library is for another.
    """
    image = image or open_image(library)
    symbol = image.symbol(name)
    assert symbol is not None
    routine = lift(image, symbol.address)
    if routine.unread:
        return routine, math.inf
    wanted, found = native(judge or library, name), evaluated(image, routine, name)
    worst = 0.0
    for a, b in zip(wanted, found, strict=True):
        if name == "doubles":
            a, b = a.view(np.float64), b.view(np.float64)
        worst = max(
            worst, float(np.max(np.abs(a - b), initial=0.0)) if not np.array_equal(a, b) else 0.0
        )
    return routine, worst
