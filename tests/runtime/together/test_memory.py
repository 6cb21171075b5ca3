"""Arrays come back from memories apart bit for bit; a full one says so; a GPU if there is one."""

from __future__ import annotations

import gc
from typing import Any

import ml_dtypes
import numpy as np
import pytest

from orrery.errors import SpecError
from orrery.runtime.libraries._torch import TorchBackend
from orrery.runtime.together import CudaMemory, Memory, MemoryFullError, TensorMemory

from .test_executor import INPUT, diamond, same

pytestmark = pytest.mark.torch


@pytest.fixture(params=["tensors", pytest.param("cuda:0", marks=pytest.mark.gpu)])
def memory(request: pytest.FixtureRequest) -> Memory:
    return TensorMemory() if request.param == "tensors" else CudaMemory(request.param)


def backend(memory: Memory) -> TorchBackend:
    return TorchBackend(device=memory.name) if "cuda" in memory.name else TorchBackend(threads=1)


ARRAYS = [
    np.arange(24, dtype=np.float32).reshape(2, 3, 4),
    np.arange(24, dtype=np.int64).reshape(4, 6).T,  # not contiguous
    np.array(7, np.int32), np.zeros((0, 3), np.float16), np.array([True, False]),
    np.arange(9).astype(ml_dtypes.bfloat16), np.arange(8, dtype=np.uint8)[::-2],
]  # fmt: skip


@pytest.mark.parametrize("array", ARRAYS, ids=lambda a: f"{a.dtype}{a.shape}")
@pytest.mark.parametrize("lasting", [True, False])
def test_there_and_back_it_is_a_copy(memory: Memory, array: Any, lasting: bool) -> None:
    kept = array.copy()
    held = memory.put(array)
    if array.size and array.flags.writeable:
        array.fill(1)  # whoever gave it may go on with it
    found = memory.take(held, lasting=lasting)
    assert found.dtype == kept.dtype
    np.testing.assert_array_equal(found, kept)
    again = memory.take(held)
    if found.size:
        found.fill(0)
    np.testing.assert_array_equal(again, kept)
    array[...] = kept


def test_a_graph_runs_where_its_tensors_lie(memory: Memory) -> None:
    graph = diamond()
    executable = memory.prepare(backend(memory), graph)
    inputs = {name: memory.put(value) for name, value in INPUT.items()}
    made = memory.launch(executable, inputs)
    memory.wait(made.values())
    same({name: memory.take(made[name]) for name in graph.outputs}, graph, INPUT)
    found = memory.moments(made["yd"])
    assert (found is None) == (memory.name == "tensors")
    assert found is None or found[0] <= found[1]


def test_a_full_memory_says_what_is_short() -> None:
    small = TensorMemory(capacity_bytes=100)
    first = small.put(np.zeros(80, np.uint8))
    assert small.free_bytes() == 20
    with pytest.raises(MemoryFullError, match=r"need 21 B, have 20 B") as told:
        small.put(np.zeros(21, np.uint8))
    assert (told.value.infeasible.need, told.value.infeasible.have) == (21, 20)
    del first
    gc.collect()
    assert small.free_bytes() == 100
    small.put(np.zeros(100, np.uint8))
    assert TensorMemory().free_bytes() is None


def test_weights_take_room_for_as_long_as_they_are_kept() -> None:
    from orrery.graph import ArrayConstant, Graph, Node, TensorType

    graph = Graph(
        name="g", inputs=("x",), outputs=("y",),
        nodes=(Node(name="n", op="Add", inputs=("x", "w"), outputs=("y",)),),
        types={"x": TensorType(dtype="float32", shape=(25,))},
        constants={"w": ArrayConstant(np.ones(25, np.float32))},
    ).infer()  # fmt: skip
    memory = TensorMemory(capacity_bytes=150)
    executable = memory.prepare(TorchBackend(), graph)
    assert memory.free_bytes() == 50
    with pytest.raises(MemoryFullError):
        memory.prepare(TorchBackend(), graph)
    del executable
    gc.collect()
    assert memory.free_bytes() == 150
    with pytest.raises(SpecError, match="device"):
        memory.prepare(TorchBackend(device="cuda:77"), graph)
    assert memory.free_bytes() == 150


def test_memories_that_are_not_here() -> None:
    with pytest.raises(SpecError, match="cuda:99"):
        CudaMemory("cuda:99")
    with pytest.raises(SpecError, match="another name"):
        TensorMemory("host")
    with pytest.raises(SpecError, match="0 bytes or more"):
        TensorMemory(capacity_bytes=-1)


@pytest.mark.gpu
def test_a_gpu_says_what_is_free() -> None:
    memory = CudaMemory()
    before = memory.free_bytes()
    held = memory.put(np.zeros(1 << 24, np.uint8))
    assert before is not None
    assert memory.free_bytes() <= before - (1 << 24)  # type: ignore[operator]
    assert held.made is None
