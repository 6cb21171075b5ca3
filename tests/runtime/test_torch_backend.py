"""The PyTorch back end: ONNX's node tests and the NumPy reference judge it, and its promises."""

from __future__ import annotations

import subprocess
import sys
import threading
from dataclasses import replace
from typing import Any

import ml_dtypes
import numpy as np
import pytest

from orrery.errors import MissingExtraError, ModelError, SpecError
from orrery.graph import (
    MODELS,
    ArrayConstant,
    Graph,
    Node,
    TensorType,
    build_model,
    example_inputs,
    in_precision,
)
from orrery.runtime import BACKENDS
from orrery.runtime.libraries import _torch_compile
from orrery.runtime.libraries._torch import TorchBackend, TorchExecutable

from .graphs import diamond, image
from .node_judge import chosen_cases, judge

pytestmark = pytest.mark.torch

NETWORKS = (
    "resnet20", "vgg16", "densenet121", "squeezenet1_0", "googlenet", "inception_v3",
    "mobilenet_v2", "c3d", "minilm-l6", "mt-dnn", "vit-b16", "gpt2-124m", "llama-7b",
    "siamese-lstm", "wide-deep", "memn2n", "casia-surf", "vfs", "facebagnet", "cnn-lstm", "mocap",
)  # fmt: skip


def backend(**options: Any) -> TorchBackend:
    return TorchBackend(threads=1, **options)


def one_node(
    op: str, inputs: dict[str, Any], outputs: tuple[str, ...] = ("y",), **attributes: Any
) -> Graph:
    types = {n: TensorType(dtype=str(v.dtype), shape=v.shape) for n, v in inputs.items()}
    node = Node(
        name="the node", op=op, inputs=tuple(inputs), outputs=outputs, attributes=attributes
    )
    return Graph(name="one", nodes=(node,), inputs=tuple(inputs), outputs=outputs,
                 types=types).infer()  # fmt: skip


def test_node_cases_that_are_not_refused() -> None:
    wrong = judge(backend(), chosen_cases(2), {})
    assert wrong.pop("") > 230
    assert wrong == {}


@pytest.mark.parametrize("name", NETWORKS)
def test_networks_equal_the_reference(name: str) -> None:
    graph = build_model(name, **MODELS[name].small)
    inputs = example_inputs(graph)
    found = backend().prepare(graph).run(inputs)
    for tensor, want in graph.evaluate(inputs).items():
        assert (found[tensor].dtype, found[tensor].shape) == (want.dtype, want.shape)
        np.testing.assert_allclose(found[tensor], want, rtol=5e-5, atol=5e-5)


def test_decoding_equals_the_reference() -> None:
    """One step with a key/value cache."""
    graph = build_model("gpt2-124m", **{**MODELS["gpt2-124m"].small, "phase": "decode"})
    inputs = example_inputs(graph)
    found = backend().prepare(graph).run(inputs)
    assert graph.states
    for tensor, want in graph.evaluate(inputs).items():
        np.testing.assert_allclose(found[tensor], want, rtol=2e-5, atol=2e-5)


@pytest.mark.parametrize("precision", ["float16", "bfloat16"])
def test_narrow_floats_stay_narrow(precision: str) -> None:
    graph = in_precision(build_model("minilm-l6", **MODELS["minilm-l6"].small), precision)
    inputs = example_inputs(graph)
    found = backend().prepare(graph).run(inputs)
    for tensor, want in graph.evaluate(inputs).items():
        assert found[tensor].dtype == want.dtype
        np.testing.assert_allclose(
            found[tensor].astype(np.float32), want.astype(np.float32), atol=0.1, rtol=0.05
        )


@pytest.mark.parametrize("layout", [0, 1])
@pytest.mark.parametrize("direction", ["forward", "reverse", "bidirectional"])
@pytest.mark.parametrize("op", ["LSTM", "GRU", "RNN"])
def test_recurrent_layers_in_every_direction(op: str, direction: str, layout: int) -> None:
    """The library's own layers, with constant and with given weights, and initial states."""
    random = np.random.default_rng(3)
    ways, gates = 2 if direction == "bidirectional" else 1, {"LSTM": 4, "GRU": 3, "RNN": 1}[op]
    shape = (2, 5, 4) if layout else (5, 2, 4)
    state = (2, ways, 3) if layout else (ways, 2, 3)
    inputs = {
        name: random.standard_normal(sizes).astype(np.float32)
        for name, sizes in (
            ("x", shape), ("w", (ways, gates * 3, 4)), ("r", (ways, gates * 3, 3)),
            ("b", (ways, 2 * gates * 3)), ("h", state),
        )
    }  # fmt: skip
    outputs = ("y", "last", "cell")[: 3 if op == "LSTM" else 2]
    names = ("x", "w", "r", "b", "", "h")
    extra = {"linear_before_reset": 1} if op == "GRU" else {}
    node = Node(name="n", op=op, inputs=names, outputs=outputs,
                attributes={"direction": direction, "hidden_size": 3, "layout": layout,
                            **extra})  # fmt: skip
    types = {n: TensorType(dtype="float32", shape=v.shape) for n, v in inputs.items()}
    given = Graph(name="g", nodes=(node,), inputs=tuple(inputs), outputs=outputs,
                  types=types).infer()  # fmt: skip
    fixed = replace(
        given, inputs=("x", "h"), constants={n: ArrayConstant(inputs[n]) for n in ("w", "r", "b")}
    )
    for graph in (given, fixed):
        mine = {n: inputs[n] for n in graph.inputs}
        found = backend().prepare(graph).run(mine)
        for tensor, want in graph.evaluate(mine).items():
            np.testing.assert_allclose(found[tensor], want, rtol=1e-5, atol=1e-5)


def test_every_refused_operator_is_named() -> None:
    nodes = (
        Node(name="a", op="NonZero", inputs=("x",), outputs=("i",)),
        Node(name="b", op="Unique", inputs=("x",), outputs=("u",)),
        Node(name="c", op="Resize", inputs=("x", "", "s"), outputs=("z",),
             attributes={"mode": "cubic"}),
        Node(name="d", op="Bernoulli", inputs=("x",), outputs=("r",)),
    )  # fmt: skip
    graph = Graph(
        name="g", nodes=nodes, inputs=("x",), outputs=("i", "u", "z", "r"),
        types={"x": TensorType(dtype="float32", shape=(1, 1, 4, 4))},
        constants={"s": ArrayConstant(np.array([1, 1, 2, 2], np.float32))},
    ).infer()  # fmt: skip
    reason = TorchBackend().refuses(graph)
    assert reason is not None and "Bernoulli, Resize (mode 'cubic'), Unique" in reason
    with pytest.raises(ModelError, match="Bernoulli, Resize"):
        TorchBackend().prepare(graph)


def test_refusing_loads_no_library() -> None:
    code = (
        "import sys; from orrery.graph import build_model; from orrery.runtime import BACKENDS\n"
        "assert BACKENDS['torch']().refuses(build_model('resnet20')) is None\n"
        "assert 'torch' not in sys.modules"
    )
    subprocess.run([sys.executable, "-c", code], check=True)


def test_element_types_are_refused_by_tensor() -> None:
    reason = TorchBackend().refuses(one_node("Identity", {"x": np.zeros(2, np.uint16)}))
    assert reason == "tensor 'x' is uint16, which PyTorch does not compute in"


def test_shapes_are_worked_out_before_running() -> None:
    """Shape → Gather → Concat → Reshape leaves one step, and no wait for the device."""
    nodes = (
        Node(name="shape", op="Shape", inputs=("x",), outputs=("s",)),
        Node(name="first", op="Gather", inputs=("s", "zero"), outputs=("n",)),
        Node(name="join", op="Concat", inputs=("n", "rest"), outputs=("t",),
             attributes={"axis": 0}),
        Node(name="reshape", op="Reshape", inputs=("x", "t"), outputs=("y",)),
    )  # fmt: skip
    graph = Graph(
        name="g", nodes=nodes, inputs=("x",), outputs=("y",),
        types={"x": TensorType(dtype="float32", shape=("batch", 2, 3))},
        constants={"zero": ArrayConstant(np.array([0])), "rest": ArrayConstant(np.array([-1]))},
    ).infer()  # fmt: skip
    executable = backend().prepare(graph)
    for batch in (2, 5):
        x = np.arange(batch * 6, dtype=np.float32).reshape(batch, 2, 3)
        assert np.array_equal(executable.run({"x": x})["y"], x.reshape(batch, 6))
        program = executable.program_for({"x": x.shape}).program
        assert [step.node.name for step in program.steps] == ["reshape"] and not program.waits


def test_shapes_that_data_tell_are_read_back() -> None:
    x, shape = np.arange(6, dtype=np.float32), np.array([2, 3])
    graph = one_node("Reshape", {"x": x, "s": shape})
    executable = backend(compile=True).prepare(graph)
    assert executable.run({"x": x, "s": shape})["y"].shape == (2, 3)
    assert executable.run({"x": x, "s": np.array([3, 2])})["y"].shape == (3, 2)
    assert (
        executable.notes == ["not compiled: sizes depend on values that only running can tell"]
        and not executable.compiled
    )


def test_sizes_that_contradict_each_other_are_refused() -> None:
    graph = Graph(
        name="g", nodes=(Node(name="n", op="Add", inputs=("a", "b"), outputs=("y",)),),
        inputs=("a", "b"), outputs=("y",),
        types={n: TensorType(dtype="float32", shape=("n",)) for n in ("a", "b")},
    ).infer()  # fmt: skip
    executable = backend().prepare(graph)
    with pytest.raises(SpecError, match="size 'n': found 3, wanted 2"):
        executable.run({"a": np.zeros(2, np.float32), "b": np.zeros(3, np.float32)})


def test_nobody_can_write_to_a_constant_or_an_input() -> None:
    values = np.arange(3, dtype=np.float32)
    graph = Graph(
        name="g", nodes=(Node(name="n", op="Identity", inputs=("x",), outputs=("y",)),
                         Node(name="m", op="Identity", inputs=("c",), outputs=("z",))),
        inputs=("x",), outputs=("y", "z", "c"), constants={"c": ArrayConstant(values)},
        types={"x": TensorType(dtype="float32", shape=(3,))},
    ).infer()  # fmt: skip
    executable = backend().prepare(graph)
    x = np.ones(3, np.float32)
    x.flags.writeable = False
    for value in executable.run({"x": x}).values():
        value[:] = -1
    again = executable.run({"x": x})
    assert np.array_equal(again["y"], x) and x[0] == 1
    assert np.array_equal(again["z"], values) and np.array_equal(again["c"], values)


def test_tensors_in_tensors_out() -> None:
    import torch

    graph = diamond()
    inputs = image(graph)
    executable = backend().prepare(graph)
    found = executable.run_tensors({"x": torch.from_numpy(inputs["x"])})
    assert all(isinstance(value, torch.Tensor) for value in found.values())
    for name, want in graph.evaluate(inputs).items():
        np.testing.assert_allclose(found[name].numpy(), want, rtol=1e-5, atol=1e-6)


def test_bfloat16_crosses_the_border() -> None:
    x = np.array([1.5, -2], ml_dtypes.bfloat16)
    graph = Graph(
        name="g", nodes=(Node(name="n", op="Neg", inputs=("x",), outputs=("y",)),),
        inputs=("x",), outputs=("y",), types={"x": TensorType(dtype="bfloat16", shape=(2,))},
    ).infer()  # fmt: skip
    y = backend().prepare(graph).run({"x": x})["y"]
    assert y.dtype == x.dtype and y.tolist() == [-1.5, 2]


def test_threads_may_share_an_executable() -> None:
    graph = diamond(size=32)
    executable = backend().prepare(graph)
    random = np.random.default_rng(0)
    given = [{"x": random.standard_normal((3, 32)).astype(np.float32)} for _ in range(6)]
    found: list[dict[str, np.ndarray]] = [{} for _ in given]

    def work(index: int) -> None:
        for _ in range(10):
            found[index] = executable.run(given[index])

    threads = [threading.Thread(target=work, args=(i,)) for i in range(len(given))]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    for inputs, made in zip(given, found):
        for name, want in graph.evaluate(inputs).items():
            np.testing.assert_allclose(made[name], want, rtol=1e-5, atol=1e-5)


def test_an_error_while_running_names_the_node() -> None:
    x, i = np.zeros(4, np.float32), np.array([9])
    executable = backend().prepare(one_node("Gather", {"x": x, "i": i}))
    with pytest.raises(ModelError, match=r"one: node 'the node' \(Gather\): found 'PyTorch: "):
        executable.run({"x": x, "i": i})


def test_a_lack_of_memory_says_the_sizes(monkeypatch: pytest.MonkeyPatch) -> None:
    import torch

    def full(*_: Any) -> Any:
        raise torch.cuda.OutOfMemoryError("CUDA out of memory. Tried to allocate 9 GiB")

    graph = diamond()
    executable = backend().prepare(graph)
    monkeypatch.setattr(torch, "matmul", full)
    with pytest.raises(
        ModelError, match=r"'matmul'.*too little memory .*144 B for weights and 288 B for"
    ):
        executable.run(image(graph))


def test_devices_that_are_not_here_are_refused() -> None:
    with pytest.raises(SpecError, match=r"torch: device: found 'cuda:99', wanted one of cpu"):
        TorchBackend(device="cuda:99").prepare(diamond())


def test_a_missing_package_names_the_extra(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "torch", None)
    with pytest.raises(MissingExtraError, match=r"pip install 'orrery\[torch\]'"):
        BACKENDS["torch"]().prepare(diamond())


@pytest.mark.gpu
@pytest.mark.parametrize("name", ["resnet20", "minilm-l6", "siamese-lstm", "gpt2-124m"])
def test_a_gpu_equals_the_reference(name: str) -> None:
    graph = build_model(name, **MODELS[name].small)
    inputs = example_inputs(graph)
    executable = backend(device="cuda:0").prepare(graph)
    found = executable.run(inputs)
    for tensor, want in graph.evaluate(inputs).items():
        assert found[tensor].dtype == want.dtype
        np.testing.assert_allclose(found[tensor], want, rtol=1e-4, atol=1e-4)


@pytest.mark.gpu
def test_tensors_stay_on_the_gpu() -> None:
    import torch

    graph = diamond()
    inputs = image(graph)
    executable = backend(device="cuda:0").prepare(graph)
    found = executable.run_tensors({"x": torch.from_numpy(inputs["x"]).cuda()})
    assert all(value.device.type == "cuda" for value in found.values())


# -- compiling -----------------------------------------------------------------------------------


class Compiler:
    """Stands for the library's compiler: gives code that is as wanted, in turns slow and quick."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch, *, ratio: float, offset: float = 0) -> None:
        def compiled(t: Any, program: Any, tensors: Any) -> Any:
            return lambda given: tuple(y + offset for y in program.run(t, given))

        monkeypatch.setattr(_torch_compile, "_compiled", compiled)
        monkeypatch.setattr(_torch_compile, "_times", lambda *_: [1.0, ratio])


def run_compiled(compile: bool | None) -> TorchExecutable:
    graph = diamond()
    executable = backend(compile=compile).prepare(graph)
    found = executable.run(image(graph))
    for name, want in graph.evaluate(image(graph)).items():
        np.testing.assert_allclose(found[name], want, rtol=1e-5, atol=1e-5)
    return executable


@pytest.mark.parametrize(
    ("compile", "ratio", "kept"),
    [(None, 0.5, True), (None, 1.2, False), (True, 1.2, True), (False, 0.5, False)],
)
def test_compiled_code_is_kept_where_it_pays(
    monkeypatch: pytest.MonkeyPatch, compile: bool | None, ratio: float, kept: bool
) -> None:
    Compiler(monkeypatch, ratio=ratio)
    executable = run_compiled(compile)
    assert executable.compiled is kept
    assert all(f"takes {ratio:.2f} of the time" in note for note in executable.notes)
    assert len(executable.notes) == (compile is not False)


def test_compiling_is_over_when_a_graph_of_known_sizes_is_prepared(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """A worker's limit is of a run: what takes minutes must not count there."""
    Compiler(monkeypatch, ratio=0.5)
    x = np.ones((2, 3), np.float32)
    executable = backend(compile=None).prepare(one_node("Relu", {"x": x}))
    assert executable.compiled and len(executable.notes) == 1
    monkeypatch.setattr(_torch_compile, "_compiled", None)  # nobody asks again
    assert np.array_equal(executable.run({"x": x})["y"], x)


def test_compiled_code_that_differs_is_thrown_away(monkeypatch: pytest.MonkeyPatch) -> None:
    Compiler(monkeypatch, ratio=0.1, offset=0.01)
    executable = run_compiled(True)
    assert not executable.compiled and "compiled code differs" in executable.notes[0]


def test_without_a_compiler_nodes_run_one_by_one(monkeypatch: pytest.MonkeyPatch) -> None:
    def failing(*_: Any) -> Any:
        raise RuntimeError("no working C++ compiler found")

    monkeypatch.setattr(_torch_compile, "_compiled", failing)
    executable = run_compiled(None)
    assert executable.notes == [
        "not compiled: the compiler failed (RuntimeError: no working C++ compiler found)"
    ]


def test_a_program_is_recorded_with_its_constants() -> None:
    """What the compiler is given computes the same; only what depends on inputs is in it."""
    import torch

    graph = diamond()
    executable = backend().prepare(graph)
    program = executable.program_for({"x": (3, 6)}).program
    x = torch.from_numpy(image(graph)["x"])
    with torch.no_grad():
        record = _torch_compile.recorded(torch, program, [x])
        found, wanted = record(x), program.run(torch, [x])
    assert all(torch.equal(a, b) for a, b in zip(found, wanted))
    assert sum(node.op == "call_function" for node in record.graph.nodes) == 5
