"""Training steps of whole networks: gradients by central differences, states, phases, errors."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from orrery.errors import ModelError, SpecError, UnknownNameError, UnsupportedOperatorsError
from orrery.graph import (
    MODELS,
    ArrayConstant,
    Graph,
    Node,
    TensorType,
    build_model,
    count_macs,
    count_parameters,
    example_inputs,
    graph_from_bytes,
    initial_states,
    learned_tensors,
    onnx_bytes,
    phase_nodes,
    read_onnx,
    saved_tensors,
    write_onnx,
)


def mlp(dtype: str = "float32") -> Graph:
    """Two layers, ten inputs, four classes, five samples."""
    rng = np.random.default_rng(3)

    def array(*shape: int) -> np.ndarray:
        return rng.standard_normal(shape).astype(dtype) * 0.5

    constants = {"w1": array(8, 10), "b1": array(8), "w2": array(8, 4), "b2": array(4)}
    return Graph(
        name="mlp", inputs=("x",), outputs=("logits",),
        types={"x": TensorType(dtype=dtype, shape=(5, 10))},
        constants={name: ArrayConstant(value) for name, value in constants.items()},
        nodes=(
            Node(name="fc1", op="Gemm", inputs=("x", "w1", "b1"), outputs=("h",),
                 attributes={"transB": 1}),
            Node(name="act", op="Tanh", inputs=("h",), outputs=("a",)),
            Node(name="fc2", op="MatMul", inputs=("a", "w2"), outputs=("m",)),
            Node(name="add", op="Add", inputs=("m", "b2"), outputs=("logits",)),
        ),
    ).infer()  # fmt: skip


def feed(graph: Graph, step: Graph, seed: int = 0) -> dict[str, np.ndarray]:
    """Everything a step takes: seeded data and the network's own weights."""
    return {**example_inputs(step, seed=seed), **initial_states(step, graph)}


def advance(step: Graph, values: dict[str, np.ndarray]) -> float:
    """Run a step, carry its states, return the loss."""
    found = step.evaluate(values)
    for old, new in step.states.items():
        values[old] = found[new]
    return float(found[step.outputs[0]])


# -- gradients of whole networks --------------------------------------------------------------


@pytest.mark.parametrize(
    ("name", "options"),
    [
        ("resnet18", {"batch": 2}),
        ("mobilenet_v2", {"batch": 2}),
        ("densenet121", {"image": 32, "batch": 2}),
        ("bert-base", {"batch": 2}),
        ("gpt2-124m", {}),
        ("llama-7b", {}),
        ("vit-b16", {"batch": 2}),
        ("memn2n", {"batch": 3}),
        ("siamese-lstm", {"batch": 2}),
        ("vfs", {}),
    ],
)
def test_gradients_equal_central_differences(name: str, options: dict[str, Any]) -> None:
    """Along a random direction in the space of all weights, and in that of single tensors."""
    graph = build_model(name, **{**MODELS[name].small, **options, "dtype": "float64"})
    step = graph.training("sgd", learning_rate=1.0)
    values = feed(graph, step)
    found = step.evaluate(values)
    weights = [w for w in learned_tensors(graph) if w in step.states]
    slopes = {w: values[w] - found[step.states[w]] for w in weights}
    rng = np.random.default_rng(1)
    directions = {w: rng.standard_normal(values[w].shape) * abs(values[w]).max() for w in weights}
    single = [weights[i] for i in {0, len(weights) // 2, len(weights) - 1}]
    forward = Graph(
        name="forward", nodes=phase_nodes(step, "forward"), inputs=step.inputs,
        outputs=step.outputs[:1], types=step.types, constants=step.constants,
    )  # fmt: skip
    for chosen in (weights, *([w] for w in single)):
        ends = []
        for sign in (2e-8, -2e-8):
            moved = {w: values[w] + sign * directions[w] for w in chosen}
            ends.append(forward.evaluate({**values, **moved})[step.outputs[0]])
        want = (ends[0] - ends[1]) / 4e-8
        ours = sum((slopes[w] * directions[w]).sum() for w in chosen)
        np.testing.assert_allclose(ours, want, rtol=2e-4, atol=1e-6)


@pytest.mark.parametrize("name", ["resnet18", "bert-base", "gpt2-124m", "mobilenet_v2"])
def test_the_loss_falls(name: str) -> None:
    graph = build_model(name, **MODELS[name].small, batch=2)
    step = graph.training("adam", learning_rate=0.003)
    values = feed(graph, step)
    losses = [advance(step, values) for _ in range(4)]
    assert losses[-1] < 0.9 * losses[0], losses


@pytest.mark.parametrize("name", MODELS.names())
def test_every_library_network_has_a_training_step(name: str) -> None:
    graph = build_model(name, **MODELS[name].small)
    step = graph.training("momentum")
    learned = learned_tensors(graph)
    assert sum(graph.type(w).elements for w in learned) == count_parameters(graph)
    reached = [w for w in learned if w in step.states]
    assert len(reached) > 0.5 * len(learned)
    assert {w: step.type(step.states[w]) for w in reached} == {w: graph.type(w) for w in reached}
    assert all(step.types[o].is_bound for node in step.nodes for o in node.outputs if o)
    recurrent = sum(graph.operations(n).macs for n in graph.nodes if n.op == "LSTM")
    most = 3 * count_macs(graph) + recurrent  # its states are computed twice
    assert 2 * count_macs(graph) < count_macs(step) <= most
    sizes = [len(phase_nodes(step, phase)) for phase in ("forward", "backward", "update")]
    assert sum(sizes) == len(step.nodes) and min(sizes) > 0


@pytest.mark.parametrize("optimizer", ["sgd", "momentum", "adam"])
def test_optimisers_follow_their_definition(optimizer: str) -> None:
    """A linear fit in float64, five steps, the gradient in closed form."""
    rng = np.random.default_rng(2)
    x, target = rng.standard_normal((6, 3)), rng.standard_normal((6, 1))
    w = rng.standard_normal((3, 1))
    graph = Graph(
        name="fit", inputs=("x",), outputs=("y",),
        types={"x": TensorType(dtype="float64", shape=(6, 3))},
        constants={"w": ArrayConstant(w)},
        nodes=(Node(name="y", op="MatMul", inputs=("x", "w"), outputs=("y",)),),
    )  # fmt: skip
    step = graph.training(optimizer, learning_rate=0.1, weight_decay=0.02)
    values = {"x": x, "target": target, **initial_states(step, graph)}
    v = m = s = np.zeros_like(w)
    for t in range(1, 6):
        loss = advance(step, values)
        assert loss == pytest.approx(((x @ w - target) ** 2).mean(), rel=1e-6)
        g = 2 * x.T @ (x @ w - target) / 6 + 0.02 * w
        if optimizer == "adam":
            m, s = 0.9 * m + 0.1 * g, 0.999 * s + 0.001 * g * g
            g = m / (1 - 0.9**t) / (np.sqrt(s / (1 - 0.999**t)) + 1e-8)
        elif optimizer == "momentum":
            v = 0.9 * v + g
            g = v
        w = w - 0.1 * g
        np.testing.assert_allclose(values["w"], w, rtol=1e-12)


# -- what a step looks like -------------------------------------------------------------------


def test_macs_triple_but_for_the_gradient_of_the_data() -> None:
    graph = mlp()
    first = graph.operations(graph.node("fc1")).macs
    assert count_macs(graph.training()) == 3 * count_macs(graph) - first


def test_saved_tensors_are_what_backward_reads() -> None:
    step = mlp().training()
    # tanh needs its value, not its argument h; the loss needs its log-probabilities.
    assert saved_tensors(step) == ("x", "labels", "a", "loss.SoftmaxCrossEntropyLoss.1")


def test_states_keep_names_and_start_from_the_network() -> None:
    graph = mlp()
    step = graph.training("adam")
    assert {"w1", "w1.first_moment", "w1.second_moment", "optimizer.step"} <= set(step.states)
    start = initial_states(step, graph)
    np.testing.assert_array_equal(start["w1"], graph.constants["w1"].array())
    assert not start["w1.first_moment"].any() and start["optimizer.step"] == 0
    assert step.outputs[0] == "loss" and set(step.outputs[1:]) == set(step.states.values())


def test_frozen_weights_stay_constants() -> None:
    step = mlp().training(frozen=("w1", "b1"))
    assert set(step.states) == {"w2", "b2"} and {"w1", "b1"} <= set(step.constants)
    assert not any("fc1" in node.name for node in phase_nodes(step, "backward"))


def test_losses_follow_the_outputs() -> None:
    bert = build_model("bert-base", **MODELS["bert-base"].small)
    step = bert.training()
    assert {"target.last_hidden_state", "labels.pooler_output"} <= set(step.inputs)
    one = bert.training(loss="mean_square", outputs=("pooler_output",))
    assert one.type("target") == bert.type("pooler_output")
    gpt = build_model("gpt2-124m", **MODELS["gpt2-124m"].small).training()
    assert [i for i in gpt.inputs if i.startswith(("labels", "target"))] == ["labels"]
    assert gpt.metadata["below.labels"] == "50"


def test_a_scalar_output_is_the_loss() -> None:
    graph = mlp()
    step = graph.training(loss="mean_square")
    loss = Graph(
        name="own", inputs=("x",), outputs=("cost",), types=graph.types, constants=graph.constants,
        nodes=(*graph.nodes, Node(name="cost", op="ReduceSumSquare", inputs=("logits",),
                                  outputs=("cost",), attributes={"keepdims": 0})),
    ).training(learning_rate=0.002)  # fmt: skip
    assert loss.outputs[0] == "cost" and "target" in step.inputs and "target" not in loss.inputs
    values = {"x": np.ones((5, 10), np.float32), **initial_states(loss, graph)}
    losses = [advance(loss, values) for _ in range(5)]
    assert losses == sorted(losses, reverse=True)


def test_dropout_is_active_and_seeded() -> None:
    graph = mlp()
    dropped = Graph(
        name="dropped", inputs=("x",), outputs=("y",), types=graph.types,
        constants={**graph.constants, "share": ArrayConstant(np.float32(0.4))},
        nodes=(*graph.nodes, Node(name="drop", op="Dropout", inputs=("logits", "share"),
                                  outputs=("y",))),
    )  # fmt: skip
    first, again, other = (dropped.training(seed=seed) for seed in (0, 0, 100))
    values = feed(dropped, first)
    masks = []
    for step in (first, again, other):
        found = step.evaluate(values)
        masks.append(values["b2"] - found[step.states["b2"]])
    np.testing.assert_array_equal(masks[0], masks[1])
    assert not np.array_equal(masks[0], masks[2])


def test_batch_normalisation_carries_its_statistics() -> None:
    graph = build_model("resnet18", **MODELS["resnet18"].small, batch=3)
    step = graph.training()
    mean = next(n for n in graph.constants if n.endswith("bn1.running_mean"))
    assert mean in step.states and mean not in learned_tensors(graph)
    values = feed(graph, step)
    before = values[mean].copy()
    advance(step, values)
    assert not np.array_equal(before, values[mean])


def test_shared_statistics_move_one_after_the_other() -> None:
    """Two nodes with momentum 0.5: mean -> (mean / 2 + first / 2) / 2 + second / 2."""
    one, zero = np.ones(2, np.float32), np.zeros(2, np.float32)
    names = ("g", "b", "mean", "var")
    graph = Graph(
        name="twins", inputs=("x", "z"), outputs=("y",),
        types={n: TensorType(dtype="float32", shape=(4, 2)) for n in ("x", "z")},
        constants={n: ArrayConstant(v) for n, v in zip(names, (one, zero, zero, one), strict=True)},
        nodes=(
            *(Node(name=f"bn{t}", op="BatchNormalization", inputs=(t, *names), outputs=(f"n{t}",),
                   attributes={"momentum": 0.5}) for t in ("x", "z")),
            Node(name="add", op="Mul", inputs=("nx", "nz"), outputs=("y",)),
        ),
    )  # fmt: skip
    step = graph.training(loss="mean_square")
    values = feed(graph, step)
    advance(step, values)
    want = values["x"].mean(0) / 4 + values["z"].mean(0) / 2
    np.testing.assert_allclose(values["mean"], want, rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("optimizer", ["sgd", "momentum", "adam"])
def test_a_step_of_onnx_operators_survives_the_file(optimizer: str) -> None:
    step = mlp().training(optimizer)
    again = graph_from_bytes(onnx_bytes(step), step.name)
    assert again == step
    assert saved_tensors(again) == saved_tensors(step)


@pytest.mark.needs("onnxruntime")
@pytest.mark.parametrize("optimizer", ["sgd", "momentum", "adam"])
def test_onnx_runtime_makes_the_same_step(optimizer: str) -> None:
    import onnxruntime

    graph = mlp()
    step = graph.training(optimizer)
    values = feed(graph, step)
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = 1
    session = onnxruntime.InferenceSession(
        onnx_bytes(step), options, providers=["CPUExecutionProvider"]
    )
    theirs = session.run(list(step.outputs), values)
    ours = step.evaluate(values)
    for name, want in zip(step.outputs, theirs, strict=True):
        np.testing.assert_allclose(ours[name], want, rtol=1e-5, atol=1e-6)


def test_a_convolutional_step_survives_the_file(tmp_path: Path) -> None:
    step = build_model("resnet18", **MODELS["resnet18"].small).training("momentum")
    write_onnx(step, tmp_path / "step.onnx")
    assert read_onnx(tmp_path / "step.onnx") == step


# -- what a user can get wrong ----------------------------------------------------------------


def test_operators_without_a_derivative_are_all_listed() -> None:
    def node(name: str, op: str, *inputs: str) -> Node:
        return Node(name=name, op=op, inputs=inputs, outputs=(f"{name}.y",))

    graph = Graph(
        name="odd", inputs=("x",), outputs=("c.y", "d.y"),
        types={"x": TensorType(dtype="float32", shape=(3, 3))},
        constants={"w": ArrayConstant(np.eye(3, dtype=np.float32)),
                   "axis": ArrayConstant(np.array(0))},
        nodes=(node("a", "MatMul", "x", "w"), node("b", "CumProd", "a.y", "axis"),
               node("c", "Det", "b.y"), node("d", "CumProd", "a.y", "axis")),
    )  # fmt: skip
    with pytest.raises(UnsupportedOperatorsError) as caught:
        graph.training(loss="mean_square")
    text = str(caught.value)
    assert "2 operators without a derivative: CumProd (2×: b, d); Det (1×: c)" in text


def test_wrong_words_offer_the_nearest() -> None:
    graph = mlp()
    with pytest.raises(UnknownNameError, match="did you mean 'adam'"):
        graph.training("adan")
    with pytest.raises(SpecError, match="did you mean 'learning_rate'"):
        graph.training(learn_rate=0.1)
    with pytest.raises(SpecError, match="0 to below 1"):
        graph.training("momentum", momentum=1.0)
    with pytest.raises(SpecError, match="finite"):
        graph.training(learning_rate=float("nan"))
    with pytest.raises(UnknownNameError, match="mean_square"):
        graph.training(loss="mean_squares")
    with pytest.raises(UnknownNameError, match="did you mean 'logits'"):
        graph.training(outputs=("logit",))
    with pytest.raises(UnknownNameError, match="learned tensor"):
        graph.training(frozen=("w9",))


def test_an_epsilon_that_vanishes_is_refused() -> None:
    with pytest.raises(SpecError, match="not zero in float16"):
        mlp("float16").training("adam")
    assert mlp("float16").training("adam", epsilon=1e-4).states


@pytest.mark.parametrize("dtype", ["float16", "bfloat16"])
def test_narrow_networks_have_steps_of_their_type(dtype: str) -> None:
    for name in ("resnet18", "bert-base", "llama-7b", "siamese-lstm"):
        graph = build_model(name, **MODELS[name].small, dtype=dtype)
        step = graph.training("momentum")
        assert all(step.type(old) == step.type(new) for old, new in step.states.items())


def test_graphs_that_cannot_be_trained() -> None:
    graph = mlp()
    bare = Graph(name="bare", inputs=("x",), outputs=("y",), types=graph.types,
                 nodes=(Node(name="r", op="Relu", inputs=("x",), outputs=("y",)),))  # fmt: skip
    with pytest.raises(ModelError, match="no learned tensors"):
        bare.training()
    with pytest.raises(ModelError, match="that is no training step"):
        saved_tensors(graph)
    open_ = build_model("resnet18", **MODELS["resnet18"].small, batch="batch")
    with pytest.raises(ModelError, match=re.escape("--shape batch=8")):
        open_.training()
    with pytest.raises(ModelError, match="a scalar"):
        graph.training(loss="output")
