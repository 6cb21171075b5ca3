"""Vector code as compilers of networks write it: what is read of it, run, and itself run here."""

from __future__ import annotations

import ctypes
import subprocess
from pathlib import Path

import numpy as np
import pytest

from orrery.decompile.forms import Memory, Routine, Symbol, evaluate
from orrery.decompile.images import Image, open_image
from orrery.decompile.lifting import lift

pytestmark = pytest.mark.needs("pyvex", "gcc")

SOURCE = r"""
#include <immintrin.h>
#include <math.h>
/* one lane a turn */
void lanes(const float *x, float *y) {
  __m256i order = _mm256_setr_epi32(0, 1, 2, 3, 4, 5, 6, 7);
  __m256 all = _mm256_setzero_ps();
  for (int i = 0; i < 8; i++) {
    __m256i here = _mm256_cmpeq_epi32(_mm256_set1_epi32(i), order);
    all = _mm256_blendv_ps(all, _mm256_set1_ps(x[3 * i]), _mm256_castsi256_ps(here));
  }
  _mm256_storeu_ps(y, all);
}
/* no number if any is none; 0 rather than -0 */
void maximum(const float *x, float *y) {
  __m128 most = _mm_set_ss(-INFINITY), rest = _mm_castsi128_ps(_mm_set1_epi32(0x7fffffff));
  for (int i = 0; i < 24; i++) {
    __m128 one = _mm_load_ss(x + i);
    __m128 larger = _mm_and_ps(_mm_or_ps(one, rest), _mm_max_ss(one, most));
    most = _mm_blendv_ps(larger, one, _mm_cmpunord_ss(one, one));
  }
  _mm_store_ss(y, most);
}
void minimum(const float *x, float *y) {
  __m128 least = _mm_set_ss(INFINITY), sign = _mm_castsi128_ps(_mm_set1_epi32(1 << 31));
  for (int i = 0; i < 24; i++) {
    __m128 one = _mm_load_ss(x + i);
    __m128 smaller = _mm_or_ps(_mm_and_ps(one, sign), _mm_min_ss(one, least));
    least = _mm_blendv_ps(smaller, one, _mm_cmpunord_ss(one, one));
  }
  _mm_store_ss(y, least);
}
/* the largest of those that are numbers */
void number(const float *x, float *y) {
  __m128 most = _mm_set_ss(NAN);
  for (int i = 0; i < 24; i++) {
    __m128 one = _mm_load_ss(x + i);
    most = _mm_blendv_ps(_mm_max_ss(one, most), one, _mm_cmpunord_ss(most, most));
  }
  _mm_store_ss(y, most);
}
/* ten numbers, eight at a time: what lies beyond them is not touched */
void tail(const float *x, float *y) {
  __m256i order = _mm256_setr_epi32(0, 1, 2, 3, 4, 5, 6, 7);
  for (long i = 0; i < 16; i += 8) {
    int left = 10 - i < 8 ? 10 - i : 8;
    __m256i inside = _mm256_cmpgt_epi32(_mm256_set1_epi32(left), order);
    __m256 some = _mm256_maskload_ps(x + i, inside);
    _mm256_maskstore_ps(y + i, inside, _mm256_add_ps(some, some));
  }
}
/* memory that a loop walks through again and again */
void rows(const float *x, const float *w, float *y) {
  float sums[7] = {0};
  for (int k = 0; k < 5; k++)
    for (int j = 0; j < 7; j++) {
      float sum = sums[j];
      for (int l = 0; l < 4; l++) sum += x[k * 10 + j + l] * w[k * 4 + l];
      sums[j] = sum;
    }
  for (int j = 0; j < 7; j++) y[j] = sums[j] * 2;
}
"""
SIZES = {"lanes": (24, 8), "maximum": (24, 1), "minimum": (24, 1), "number": (24, 1),
         "tail": (10, 10), "rows": (50, 20, 7)}  # fmt: skip


@pytest.fixture(scope="module")
def library(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The kernels."""
    folder = tmp_path_factory.mktemp("vectors")
    (folder / "a.c").write_text(SOURCE)
    command = ["gcc", "-O1", "-mavx2", "-shared", "-fPIC", "a.c", "-o"]
    subprocess.run([*command, "a.so"], cwd=folder, check=True, capture_output=True)
    return folder / "a.so"


def _read(image: Image, name: str) -> Routine:
    symbol = image.symbol(name)
    assert symbol is not None
    routine = lift(image, symbol.address)
    assert not routine.unread, f"{name}: {routine.unread}"
    return routine


def _run(image: Image, routine: Routine, arrays: list[np.ndarray]) -> list[np.ndarray]:
    places = [0x7000_0000_0000 + 0x1000 * k for k in range(len(arrays))]
    stack = 0x6000_0000_0000
    buffers = [bytearray(a.tobytes()) for a in arrays]
    regions: dict[int, bytearray | bytes] = dict(zip(places, buffers, strict=True))
    regions[stack - 0x1000] = bytearray(0x2000)
    for segment in image.segments:
        regions[segment.address] = image.read(segment.address, segment.size_bytes)
    known = {Symbol(f"a{k}", "argument"): place for k, place in enumerate(places)}
    known[Symbol("stack", "memory")] = stack
    evaluate(routine, Memory(regions), known)
    return [np.frombuffer(b, np.float32) for b in buffers]


def _supported() -> bool:
    return " avx2 " in Path("/proc/cpuinfo").read_text()


@pytest.mark.parametrize("name", list(SIZES))
def test_memory_equals_native(library: Path, name: str) -> None:
    if not _supported():
        pytest.skip("this processor has no AVX2 to run the kernels by")
    image = open_image(library)
    routine = _read(image, name)
    draw = np.random.default_rng(3)
    for turn in range(8):
        arrays = [draw.normal(size=size).astype(np.float32) for size in SIZES[name]]
        if turn % 2 and SIZES[name] == (24, 1):
            arrays[0] = np.where(arrays[0] > 0, np.float32(0), np.float32(-0.0))
        if turn > 3 and SIZES[name] == (24, 1):
            arrays[0][draw.integers(24)] = np.nan
        wanted = [a.copy() for a in arrays]
        function = getattr(ctypes.CDLL(str(library)), name)
        function(*(a.ctypes.data_as(ctypes.c_void_p) for a in wanted))
        for found, one in zip(_run(image, routine, arrays), wanted, strict=True):
            np.testing.assert_array_equal(found, one)
            if not np.isnan(one).any() and name != "number":  # which of two zeros is not said
                assert found.tobytes() == one.tobytes()
