"""A dispatched kernel is a function of its buffers, all instances as loops; it computes the same.

The kernels are written in C with IREE's conventions and run natively, instance by instance.
"""

from __future__ import annotations

import ctypes
import subprocess
from pathlib import Path

import numpy as np
import pytest

from orrery.decompile import recover_binary, recover_program
from orrery.decompile._code import ImageCode
from orrery.decompile.containers import COPY, FILL, Kernel, KernelCall, Place, Sequence
from orrery.decompile.forms import Buffer
from orrery.decompile.images import open_image
from orrery.decompile.linking import lift_dispatched, own_kernel
from orrery.decompile.topology import differences, program_of_calls
from orrery.runtime.binaries import OPERATORS

pytestmark = pytest.mark.needs("gcc", "pyvex")

_SOURCE = """
#include <stdint.h>
typedef struct { uint32_t size_x, size_y; uint16_t size_z, constants; uint32_t count_x, count_y;
                 uint16_t count_z; uint8_t most, bindings; const uint32_t *numbers;
                 void *const *buffers; const uint64_t *lengths; } State;
typedef struct { uint32_t x, y; uint16_t z, more; uint32_t processor; } Group;
int product(const void *environment, const State *state, const Group *group) {
    const float *x = state->buffers[0], *w = state->buffers[1];
    float *y = state->buffers[2];
    uint32_t wide = state->numbers[0];
    for (uint32_t j = 0; j < 5; j++) {
        float sum = 0;
        for (uint32_t k = 0; k < wide; k++)
            sum += x[(group->y * 3 + group->x) * wide + k] * w[j * wide + k];
        y[(group->y * 3 + group->x) * 5 + j] = sum > 0 ? sum : 0;
    }
    return 0;
}
"""


class _State(ctypes.Structure):
    _fields_ = [("size_x", ctypes.c_uint32), ("size_y", ctypes.c_uint32),
                ("size_z", ctypes.c_uint16), ("constants", ctypes.c_uint16),
                ("count_x", ctypes.c_uint32), ("count_y", ctypes.c_uint32),
                ("count_z", ctypes.c_uint16), ("most", ctypes.c_uint8),
                ("bindings", ctypes.c_uint8), ("numbers", ctypes.c_void_p),
                ("buffers", ctypes.c_void_p), ("lengths", ctypes.c_void_p)]  # fmt: skip


class _Group(ctypes.Structure):
    _fields_ = [("x", ctypes.c_uint32), ("y", ctypes.c_uint32), ("z", ctypes.c_uint16),
                ("more", ctypes.c_uint16), ("processor", ctypes.c_uint32)]  # fmt: skip


def _native(path: Path, x: np.ndarray, w: np.ndarray) -> np.ndarray:
    function = ctypes.CDLL(str(path)).product
    y = np.zeros((6, 5), np.float32)
    pointers = (ctypes.c_void_p * 3)(*(one.ctypes.data for one in (x, w, y)))
    numbers = (ctypes.c_uint32 * 1)(x.shape[1])
    state = _State(
        constants=1, count_x=3, count_y=2, count_z=1, bindings=3,
        numbers=ctypes.addressof(numbers), buffers=ctypes.addressof(pointers),
    )  # fmt: skip
    for row in range(2):
        for column in range(3):
            group = _Group(x=column, y=row)
            assert function(None, ctypes.byref(state), ctypes.byref(group)) == 0
    return y


@pytest.mark.parametrize("shift", [0, 1 << 44])
def test_instances_are_loops_and_buffers_arguments(shift: int, tmp_path: Path) -> None:
    (tmp_path / "a.c").write_text(_SOURCE)
    subprocess.run(["gcc", "-O1", "-shared", "-fPIC", "a.c", "-o", "a.so"], cwd=tmp_path,
                   check=True)  # fmt: skip
    draw = np.random.default_rng(4)
    x, w = (draw.standard_normal(shape).astype(np.float32) for shape in ((6, 8), (5, 8)))
    image = open_image(tmp_path / "a.so")
    symbol = image.symbol("product")
    assert symbol is not None
    call = KernelCall(kernel=Kernel(name="", number=0), constants=(8,), workgroups=(3, 2, 1),
                      arguments=tuple(Place(buffer=name) for name in ("x", "w", "y")))  # fmt: skip
    routine = lift_dispatched(ImageCode(image), symbol.address, call, shift)
    assert not routine.unread
    assert [one.name for one in routine.arguments] == ["a0", "a1", "a2"]
    buffers = {
        "x": Buffer(name="x", role="input", shape=(6, 8), size_bytes=192),
        "w": Buffer(name="w", role="constant", data=w.tobytes(), shape=(5, 8), size_bytes=160),
        "y": Buffer(name="y", role="output", shape=(6, 5), size_bytes=120),
    }
    sequence = Sequence(entry="main", buffers=buffers, calls=(call,), inputs=("x",), outputs=("y",))
    recovery = recover_program(program_of_calls(sequence, {call.key: routine}))
    assert recovery.unmatched == ()
    assert recovery.graph is not None
    assert {one.op for one in recovery.graph.nodes} >= {"Gemm", "Relu"}
    shape = recovery.graph.type(recovery.graph.inputs[0]).sizes
    found = recovery.graph.evaluate({recovery.graph.inputs[0]: x.reshape(shape)})
    got = found[recovery.graph.outputs[0]].reshape(6, 5)
    np.testing.assert_allclose(got, _native(tmp_path / "a.so", x, w), rtol=1e-6, atol=1e-6)


def test_what_a_device_does_itself() -> None:
    x, y = Place(buffer="x"), Place(buffer="y")
    fill = KernelCall(kernel=Kernel(name="fill", number=FILL), arguments=(x,),
                      constants=(0xAB, 1, 16))  # fmt: skip
    copy = KernelCall(kernel=Kernel(name="copy", number=COPY), arguments=(x, y), constants=(16,))
    filled, copied = own_kernel(fill), own_kernel(copy)
    assert filled is not None
    assert copied is not None
    (store,) = filled.steps
    assert getattr(store.value, "bits", 0) == 0xABABABAB  # type: ignore[union-attr]
    assert store.loops[0].extent.constant == 4
    (store,) = copied.steps
    assert store.address.factor(copied.arguments[1]) == 1  # type: ignore[union-attr]
    # What is no whole number of words is not guessed.
    for constants in ((0, 1, 15), (0, 3, 16), (0, 4, -4)):
        call = KernelCall(kernel=fill.kernel, arguments=(x,), constants=constants)
        assert own_kernel(call) is None


def test_a_convolution_that_iree_built_comes_back() -> None:
    """Lanes filled turn by turn, instances by number: the same graph, the same weights."""
    data = Path(__file__).parents[1] / "containers" / "data" / "conv.vmfb"
    found = recover_binary(data)
    assert found.network is not None and found.recovery is not None
    assert (found.verdict, found.network.reason) == ("whole", "")
    graph = found.recovery.graph
    assert graph is not None
    assert differences(graph, OPERATORS["conv"]()) == ()
