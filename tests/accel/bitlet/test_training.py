"""Training on the array: the float judge, cycles, loss scale, rounding, refusals."""

from __future__ import annotations

import math
import pickle
from collections.abc import Callable, Iterable, Iterator
from dataclasses import replace
from functools import cache
from typing import Any

import numpy as np
import pytest

from orrery.accel.bitlet import (
    BitletArray,
    BitletFunction,
    BitletTrainer,
    Engine,
    TrainingStep,
    bitlet_tolerance,
    draw_batches,
    number_format,
    run_network,
    trained_network,
)
from orrery.accel.bitlet._format import FixedFormat
from orrery.accel.bitlet.training import operands, training_products
from orrery.errors import SpecError
from orrery.graph import (
    ArrayConstant,
    Graph,
    Node,
    TensorType,
    evaluate_node,
    initial_states,
    phase_nodes,
)

from .digits import conv_net, digits, perceptron

F = np.float32


def array(precision: str, **more: Any) -> BitletArray:
    return BitletArray(engine=Engine(format=number_format(precision)), **more)


# -- against float --------------------------------------------------------------------------------


def judge(graph: Graph, given: Iterable[dict[str, Any]], **more: Any) -> tuple[list[float], Any]:
    """Train in NumPy's float32."""
    step = graph.training("momentum", **more)
    states, losses = initial_states(step, graph), []
    for batch in given:
        found = step.evaluate({**batch, **states})
        losses.append(float(found["loss"]))
        states = {name: found[new] for name, new in step.states.items()}
    return losses, states


def right(graph: Graph, states: Any, on: BitletArray | None = None) -> int:
    """Count test images that a trained network recognises."""
    *_, images, labels = digits()
    made = trained_network(graph, states)
    if on is None:
        found = made.evaluate({"x": images})["y"]
    else:
        found = run_network(made, {"x": images}, on, count=False).outputs["y"]
    return int((found.argmax(1) == labels).sum())


def batches(size: int, epochs: int, seed: int = 1) -> Iterator[dict[str, Any]]:
    images, labels, *_ = digits()
    return draw_batches({"x": images, "labels": labels}, size, epochs=epochs, seed=seed)


@cache
def judged(kind: Callable[[int], Graph], size: int, epochs: int, rate: float) -> Any:
    """Return the judge's losses, states and right answers, found once for all formats."""
    losses, states = judge(kind(size), batches(size, epochs), learning_rate=rate)
    return losses, states, right(kind(360), states)


#: 360 test images: one percentage point is 3.6 of them.
POINT = 3


@pytest.mark.parametrize("precision", ["fp32", "fp16", "fixed8"])
def test_a_convolutional_network_learns_digits_as_well_as_in_float(precision: str) -> None:
    rate = {"learning_rate": 0.05}
    trainer = BitletTrainer(graph=conv_net(48), array=array(precision), optimizer="momentum",
                            settings=rate, count_every=0)  # fmt: skip
    steps = list(trainer.steps(batches(48, 2)))
    losses, _, want = judged(conv_net, 48, 2, 0.05)
    off = np.abs(np.array([s.loss for s in steps]) - losses)
    # Later a rectifier that flips sends the two runs apart, as it does two orders of summation.
    assert off[:10].max() <= {"fp32": 2e-6, "fp16": 1e-2, "fixed8": 3e-2}[precision]
    assert off.max() <= {"fp32": 0.005, "fp16": 0.05, "fixed8": 0.08}[precision]
    assert off.mean() <= {"fp32": 0.001, "fp16": 0.01, "fixed8": 0.015}[precision]
    assert np.mean(losses[-10:]) < 0.4 < losses[0]
    got = right(conv_net(360), steps[-1].states, array(precision))
    assert want >= 324
    assert got >= want - POINT


@pytest.mark.parametrize("precision", ["fp32", "bf16", "fixed16"])
def test_a_perceptron_learns_digits_as_well_as_in_float(precision: str) -> None:
    rate = {"learning_rate": 0.1}
    trainer = BitletTrainer(graph=perceptron(48), array=array(precision), optimizer="momentum",
                            settings=rate, count_every=0)  # fmt: skip
    steps = list(trainer.steps(batches(48, 4)))
    losses, _, want = judged(perceptron, 48, 4, 0.1)
    off = np.abs(np.array([s.loss for s in steps]) - losses)
    assert off.max() <= {"fp32": 1e-5, "bf16": 5e-2, "fixed16": 1e-2}[precision]
    assert want >= 330
    assert right(perceptron(360), steps[-1].states, array(precision)) >= want - POINT


@pytest.mark.torch
def test_pytorch_trains_the_same_network_to_the_same_loss() -> None:
    import torch
    from torch.optim.sgd import sgd  # its class imports a compiler, for two seconds

    graph, some = conv_net(32), list(batches(32, 1))[:20]
    held = {n: torch.tensor(c.array()).requires_grad_() for n, c in graph.constants.items()}
    learned: list[torch.Tensor] = list(held.values())
    moments: list[torch.Tensor | None] = [None for _ in learned]
    losses = []
    for batch in some:
        h = torch.relu(
            torch.nn.functional.conv2d(torch.tensor(batch["x"]), held["w1"], held["b1"], padding=1)
        )
        h = torch.relu(torch.nn.functional.conv2d(h, held["w2"], held["b2"], padding=1, stride=2))
        y = h.flatten(1) @ held["w3"].T + held["b3"]
        loss = torch.nn.functional.cross_entropy(y, torch.tensor(batch["labels"]))
        slopes = list(torch.autograd.grad(loss, learned))
        with torch.no_grad():
            sgd(learned, slopes, moments, foreach=False, lr=0.05, momentum=0.9, weight_decay=0.0,
                dampening=0.0, nesterov=False, maximize=False)  # fmt: skip
        losses.append(loss.item())
    trainer = BitletTrainer(graph=graph, array=array("fp32"), optimizer="momentum",
                            settings={"learning_rate": 0.05}, count_every=0)  # fmt: skip
    found = [step.loss for step in trainer.steps(some)]
    assert np.abs(np.array(found) - losses).max() < 1e-4


@pytest.mark.parametrize("precision", ["fp32", "bf16", "fixed12"])
def test_the_first_gradients_stand_within_the_engine_s_bound_of_float64(precision: str) -> None:
    """The bound of each product, and what the errors before it make of it, added up on the way.

    The judge starts from the same loss gradient and the same saved activations, in float64.
    """
    graph, design = conv_net(8), array(precision)
    trainer = BitletTrainer(graph=graph, array=design, settings={"learning_rate": 1.0})
    (batch,) = [next(batches(8, 1))]
    (done,) = trainer.steps([batch])
    step = graph.training(learning_rate=1.0)
    products, _ = training_products(step)
    values: dict[str, Any] = {**batch, **initial_states(step, graph)}
    exact: dict[str, Any] = {}
    error: dict[str, Any] = {}
    seen = 0
    for node in step.nodes:
        product = products.get(node.name)
        if product is None:
            values |= evaluate_node(step, node, values)
            if set(node.inputs) & set(exact):
                wide = {n: exact[n] for n in node.inputs if n in exact}
                exact |= evaluate_node(step, node, {**values, **wide})
                if node in phase_nodes(step, "backward"):
                    slack = {n: error[n] for n in node.inputs if n in error}
                    error |= evaluate_node(step, node, {**values, **slack})
            continue
        (name,) = node.outputs
        layer_of = done.choices[node.name].tensor
        weights = node.inputs.index(layer_of)
        values |= BitletFunction(engine=design.engine, weights=weights)(product.region, values)
        if product.error is None:
            continue
        bound = bitlet_tolerance(design.engine, weights).bound
        assert bound is not None
        from_, other = node.inputs[product.error], node.inputs[1 - product.error]
        wide = {from_: np.float64(exact.get(from_, values[from_])),
                other: np.float64(values[other])}  # fmt: skip
        exact |= evaluate_node(step, node, {**values, **wide})
        before = {
            from_: error.get(from_, np.zeros(values[from_].shape)),
            other: np.abs(wide[other]),
        }
        (carried,) = evaluate_node(step, node, {**values, **before}).values()
        error[name] = carried + bound(product.region, values)[name]
        assert np.all(np.abs(values[name] - exact[name]) <= error[name] * (1 + 1e-6)), node.name
        assert np.abs(exact[name]).max() > 0
        seen += 1
    assert seen == 5
    for name in ("w1", "w2", "w3"):  # the trainer did the same, bit for bit
        assert done.states[name].tobytes() == values[step.states[name]].tobytes()


# -- cycles ---------------------------------------------------------------------------------------


def first_step(**more: Any) -> TrainingStep:
    trainer = BitletTrainer(graph=conv_net(8), **{"array": array("fp32"), **more})
    return next(trainer.steps(batches(8, 1)))


@pytest.mark.parametrize("precision", ["fp32", "fixed8"])
def test_the_choice_is_the_operand_with_fewer_cycles(precision: str) -> None:
    design = array(precision)
    chosen = first_step(array=design)
    one, other = (first_step(array=design, distil=part) for part in ("activations", "errors"))
    total = 0
    for name, choice in chosen.choices.items():
        if choice.phase != "weight gradient":
            assert (choice.part, choice.cycles) == ("weights", {})
            continue
        total += 1
        assert set(choice.cycles) == {"activations", "errors"}
        assert choice.cycles[choice.part] == min(choice.cycles.values())
        assert (one.choices[name].part, other.choices[name].part) == ("activations", "errors")
    assert total == 3
    spent = [s.phases["weight gradient"].array_cycles for s in (chosen, one, other)]
    assert spent[0] <= min(spent[1:])
    summed = [math.fsum(c.cycles[p] for c in chosen.choices.values() if c.cycles)
              for p in ("activations", "errors")]  # fmt: skip
    if precision == "fixed8":  # values are the same whatever is distilled before
        assert spent[1:] == summed
    assert chosen.phases["weight gradient"].products == 3
    assert "forward" in chosen.summary and "%" in chosen.summary


def test_phases_add_up_the_layers() -> None:
    graph, design = conv_net(8), array("fixed8")
    step = first_step(array=design)
    batch = next(batches(8, 1))
    run = run_network(graph, {"x": batch["x"]}, design)
    forward = step.phases["forward"]
    assert forward.array_cycles == run.array_cycles
    assert forward.latency_s == pytest.approx(run.latency_s)
    assert (forward.macs, forward.products) == (run.macs, 3)
    assert forward.offchip_bytes == sum(x.offchip_bytes for x in run.layers.values())
    assert forward.half_width == 0
    # As many MACs as forward, but for what pixels beside the stride's grid are filled up with.
    assert step.phases["weight gradient"].macs == forward.macs
    assert step.phases["input gradient"].macs >= forward.macs - 8 * 64 * 72


def test_only_every_so_many_steps_are_counted() -> None:
    trainer = BitletTrainer(graph=perceptron(8), array=array("fixed8"), count_every=2)
    steps = [s for s, _ in zip(trainer.steps(batches(8, 1)), range(4))]
    assert [bool(s.phases) for s in steps] == [True, False, True, False]
    assert "cycles" not in steps[1].summary
    never = replace(trainer, count_every=0)
    assert not next(never.steps(batches(8, 1))).phases
    assert next(never.steps(batches(8, 1))).choices["fc"].part == "weights"


def test_what_is_distilled_may_be_chosen_anew() -> None:
    """Late in training errors of fixed8 lie on few places: the first layer's become the cheaper."""
    graph, design = conv_net(32), array("fixed8")
    _, states, _ = judged(conv_net, 48, 2, 0.05)
    trainer = BitletTrainer(graph=graph, array=design, optimizer="momentum", choose_every=2)
    late = list(trainer.steps(list(batches(32, 1))[:3], states))
    for step in late[::2]:
        for choice in step.choices.values():
            assert not choice.cycles or choice.cycles[choice.part] == min(choice.cycles.values())
    counted = [[c.cycles for c in s.choices.values() if c.cycles] for s in late]
    assert counted[0] == counted[1] != counted[2]


def test_counting_changes_no_value_and_runs_go_on_from_states() -> None:
    graph = perceptron(16)
    counted = BitletTrainer(graph=graph, array=array("fp32"), optimizer="adam")
    some = list(batches(16, 1))[:6]
    whole = list(counted.steps(some))
    silent = list(replace(counted, count_every=0).steps(some))
    first = list(counted.steps(some[:3]))
    rest = list(counted.steps(some[3:], first[-1].states))
    for name, value in whole[-1].states.items():
        assert value.tobytes() == silent[-1].states[name].tobytes()
        assert value.tobytes() == rest[-1].states[name].tobytes()
    assert not list(counted.steps([]))


@pytest.mark.parametrize(
    ("precision", "more"),
    [
        ("fp16", {"optimizer": "momentum"}),
        ("fp16", {"factor": 2.0**7}),
        ("fixed8", {"rounding": "stochastic", "choose_every": 3, "count_every": 3}),
    ],
)
def test_a_run_in_pieces_is_the_whole_run(
    precision: str, more: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Number, scale, good steps, choices and draws go on: each cut gives the whole run's bits."""
    monkeypatch.setattr("orrery.accel.bitlet.training._session.GOOD_STEPS", 3)
    more = {**more}
    graph, factor = conv_net(8), more.pop("factor", None)
    if factor:
        graph = scaled_loss(graph, factor)
        more |= {"loss": "output", "settings": {"learning_rate": 0.01 / factor}}
    trainer = BitletTrainer(graph=graph, array=array(precision), **more)
    some = list(batches(8, 1))[:6]
    whole = list(trainer.steps(some))
    for cut in (1, 2, 4):
        kept = pickle.loads(pickle.dumps(whole[cut - 1]))  # as a run does that ends in between
        for one, other in zip(whole[cut:], trainer.steps(some[cut:], start=kept), strict=True):
            assert one.states.keys() == other.states.keys()
            for name, value in one.states.items():
                assert value.tobytes() == other.states[name].tobytes(), (one.number, name)
            assert replace(one, states={}) == replace(other, states={})
    scales = [s.loss_scale for s in whole]
    if precision == "fp16":
        assert any(s.skipped for s in whole) == (factor is not None)
        assert not whole[-1].skipped
        assert len(set(scales)) > 1
    else:  # what another number draws is something else
        (second,) = trainer.steps(some[1:2], whole[0].states)
        assert second.states["w1"].tobytes() != whole[1].states["w1"].tobytes()


def test_a_run_goes_on_only_as_its_trainer_may() -> None:
    some = list(batches(8, 1))[:2]
    trainer = BitletTrainer(graph=perceptron(8), array=array("fixed8"), distil="errors")
    (first,) = trainer.steps(some[:1])
    changed = replace(trainer, array=array("fp16"), distil="activations")
    (second,) = changed.steps(some[1:], start=first)
    assert (second.number, second.loss_scale, second.next_scale) == (1, 2.0**16, 2.0**16)
    parts = {c.part for c in second.choices.values() if c.phase == "weight gradient"}
    assert parts == {"activations"}
    with pytest.raises(SpecError, match="start: found 'states beside it'"):
        trainer.steps(some, first.states, start=first)
    with pytest.raises(SpecError, match=r"start: found 'dict', wanted .* a TrainingStep"):
        trainer.steps(some, start=first.states)  # type: ignore[arg-type]
    for by_hand in ({"next_scale": 3.0}, {"next_scale": math.nan}, {"next_scale": "x"},
                    {"good_steps": 200}, {"good_steps": "x"}, {"choices": None}):  # fmt: skip
        with pytest.raises(SpecError, match=f"start: {next(iter(by_hand))}: found"):
            changed.steps(some, start=replace(second, **by_hand))


# -- formats of errors ----------------------------------------------------------------------------


def scaled_loss(graph: Graph, factor: float) -> Graph:
    """The network with its loss inside, times a factor."""
    nodes = [
        *graph.nodes,
        Node(name="ce", op="SoftmaxCrossEntropyLoss", inputs=("y", "labels"), outputs=("l",)),
        Node(name="times", op="Mul", inputs=("l", "factor"), outputs=("loss",)),
    ]
    batch = graph.type("x").sizes[0]
    return Graph(
        name="scaled", nodes=tuple(nodes), inputs=("x", "labels"), outputs=("loss",),
        types={"x": graph.type("x"), "labels": TensorType(dtype="int64", shape=(batch,))},
        constants={**graph.constants, "factor": ArrayConstant(np.array(factor, F))},
        metadata={"learned": "\n".join(graph.constants)},
    ).infer()  # fmt: skip


@pytest.mark.parametrize("precision", ["fp16", "bf16"])
def test_the_loss_scale_is_that_of_the_loss_bit_for_bit(precision: str) -> None:
    factor, graph = 2.0**10, conv_net(8)
    scaled = BitletTrainer(graph=graph, array=array(precision), loss_scale=factor,
                           distil="activations", settings={"learning_rate": 0.5})  # fmt: skip
    itself = BitletTrainer(graph=scaled_loss(graph, factor), array=array(precision), loss="output",
                           loss_scale=1.0, distil="activations",
                           settings={"learning_rate": 0.5 / factor})  # fmt: skip
    some = list(batches(8, 1))[:3]
    one, other = ([*t.steps(some)][-1] for t in (scaled, itself))
    for name in graph.constants:
        assert one.states[name].tobytes() == other.states[name].tobytes()
    assert one.loss * factor == other.loss


def test_small_errors_are_lost_without_a_scale_and_kept_with_one() -> None:
    """Errors of a mean over a batch are small: fp16 without a scale loses some, bf16 none."""
    some = list(batches(32, 1))[:8]

    def lost(precision: str, scale: Any) -> float:
        trainer = BitletTrainer(graph=scaled_loss(conv_net(32), 2.0**-16), array=array(precision),
                                loss="output", loss_scale=scale, count_every=0)  # fmt: skip
        return float(np.mean([s.lost for s in trainer.steps(some)]))

    plain, helped = lost("fp16", 1.0), lost("fp16", "dynamic")
    assert plain > 0.1
    assert helped < plain / 50
    assert lost("bf16", None) == 0


def test_a_scale_that_overflows_skips_and_halves() -> None:
    graph = scaled_loss(perceptron(8), 2.0**10)
    trainer = BitletTrainer(graph=graph, array=array("fp16"), loss="output", count_every=0,
                            settings={"learning_rate": 2.0**-12})  # fmt: skip
    steps = list(trainer.steps(list(batches(8, 1))[:20]))
    skipped = [s for s in steps if s.skipped]
    assert skipped and not steps[-1].skipped
    assert steps[0].loss_scale == 2.0**16
    assert "skipped: overflow at a loss scale of 65536" in steps[0].summary
    for name, constant in graph.constants.items():
        if name != "factor":
            assert steps[0].states[name].tobytes() == constant.array().tobytes()
    scales = [s.loss_scale for s in steps]
    for before, after in zip(steps, scales[1:]):
        assert after == (before.loss_scale / 2 if before.skipped else before.loss_scale)
    with pytest.raises(SpecError, match=r"gradient .* beyond the range of fp16, loss scale 65536"):
        list(replace(trainer, loss_scale=2.0**16).steps(list(batches(8, 1))[:1]))


@pytest.mark.parametrize("role", [0, 1])
def test_stochastic_rounding_keeps_the_mean(role: int) -> None:
    step = perceptron(4).training()
    product = training_products(step)[0]["fc.grad.Gemm_1"]
    draw = np.random.default_rng(0)
    error = product.node.inputs[product.error or 0]
    values = {n: draw.standard_normal(step.type(n).sizes).astype(F) for n in product.node.inputs}
    form = FixedFormat(bits=3)
    plain = operands(product, values, form, role)
    runs = [operands(product, values, form, role, draw=draw) for _ in range(1500)]
    layer = plain.layer
    held = layer.weights == product.error

    def taken(found: Any) -> np.ndarray:
        return np.asarray(found.given.weights[0] if held
                          else found.given.take(0, np.arange(layer.positions)))  # fmt: skip

    exact = np.float64(taken(plain))
    drawn = np.stack([taken(r) for r in runs])
    largest = np.abs(exact).max(1, keepdims=True) if held else np.abs(values[error]).max()
    grid = largest / 3
    assert np.allclose(drawn / grid, np.rint(drawn / grid), atol=1e-6)
    assert np.all(np.abs(drawn - exact) < grid * (1 + 1e-6))
    assert np.all(np.abs(drawn.mean(0) - exact) < 5 * grid / 2 / math.sqrt(len(runs)) + 1e-6)
    near = np.rint(exact / grid) * grid
    assert np.abs(near - exact).max() > 0.1 * np.max(grid)  # which plain rounding does not keep


def test_stochastic_training_is_reproducible_and_depends_on_the_seed() -> None:
    some = list(batches(16, 1))[:4]

    def run(seed: int) -> dict[str, Any]:
        trainer = BitletTrainer(graph=perceptron(16), array=array("fixed6"), seed=seed,
                                rounding="stochastic", count_every=0)  # fmt: skip
        return dict([*trainer.steps(some)][-1].states)

    one, again, other = run(0), run(0), run(1)
    assert one["w1"].tobytes() == again["w1"].tobytes() != other["w1"].tobytes()


# -- bad input ------------------------------------------------------------------------------------


def test_bad_batches_are_refused_with_their_step() -> None:
    trainer = BitletTrainer(graph=perceptron(8), array=array("fixed8"), count_every=0)
    good, bad = list(batches(8, 1))[:2]

    def refused(change: dict[str, Any], match: str) -> None:
        with pytest.raises(SpecError, match=match):
            list(trainer.steps([good, {**bad, **change}]))

    refused({"labels": np.full(8, 10)}, "step 1: 'labels': found '?10'?, wanted labels from 0 to 9")
    refused({"labels": np.full(8, -1)}, "found '?-1'?")
    refused({"x": bad["x"][:5]}, "found 'a batch of 5', wanted 8")
    refused({"x": np.full_like(bad["x"], np.nan)}, "step 1: 'x': found 'a value that is not fin")
    refused({"x": bad["x"].astype(np.float64)}, "wanted")
    refused({"labels": bad["labels"].tolist()}, "step 1: 'labels': found 'list', wanted an array")
    refused({"x": bad["x"].tolist()}, "step 1: 'x': found 'list', wanted an array")
    refused({"w1": np.zeros((64, 32), F)}, "input 'w1': found 'a state', wanted one of x, labels;")
    refused({"label": bad["labels"]}, "no such input', .*; remove it, did you mean 'labels'")
    with pytest.raises(SpecError, match="input 'labels'"):
        list(trainer.steps([{"x": good["x"]}]))
    with pytest.raises(SpecError, match="found 'int', wanted a batch"):
        list(trainer.steps([5]))  # type: ignore[list-item]


def test_states_that_are_none_of_the_network_are_refused() -> None:
    trainer = BitletTrainer(graph=perceptron(8), array=array("fixed8"), count_every=0)
    (batch,) = [next(batches(8, 1))]
    (step,) = trainer.steps([batch])

    def refused(states: Any, match: str, trainer: BitletTrainer = trainer) -> None:
        with pytest.raises(SpecError, match=match):
            list(trainer.steps([batch], states))

    refused({**step.states, "x": batch["x"]}, "state 'x': found 'an input', .*into the batches")
    refused({**step.states, "w3": np.zeros(3, F)}, "'w3': found 'no such state', .*; remove it$")
    refused({k: v for k, v in step.states.items() if k != "w1"}, "'w1': found 'nothing', wanted fl")
    refused({**step.states, "w1": np.zeros((3, 3), F)}, "'w1': found 'float32")
    refused({**step.states, "w1": step.states["w1"].astype(np.float64)}, "'w1': found 'float64")
    refused({**step.states, "w1": step.states["w1"].tolist()}, "'w1': found 'list'")
    refused(list(step.states), "states: found 'list', wanted all that a step left: a mapping")
    refused(step.states, "'optimizer.step': found 'nothing'", replace(trainer, optimizer="adam"))
    with pytest.raises(SpecError, match="start: number: found -5"):
        trainer.steps([batch], start=replace(step, number=-5))
    assert list(trainer.steps([batch], step.states))


def test_divergence_is_named() -> None:
    for precision in ("fp32", "bf16", "fixed8"):
        trainer = BitletTrainer(graph=conv_net(8), array=array(precision), count_every=0,
                                settings={"learning_rate": 1e30})  # fmt: skip
        said = (
            r"digits: step \d+: .*(finite|beyond the range|beyond float32).*; lower the learning "
        )
        with pytest.raises(SpecError, match=said + "rate$"):
            list(trainer.steps(list(batches(8, 1))[:10]))


@pytest.mark.parametrize(
    ("precision", "factor", "match"),
    [
        ("fp16", 1e5, "range of fp16', wanted .*; make data or weights smaller.* fp32$"),
        ("bf16", 3e38, "range of bf16', wanted .*; make data or weights smaller.* yet$"),
        ("fixed8", 3e38, "float32, which holds what products of fixed8 yield', .* yet$"),
    ],
)
def test_an_overflow_before_any_update_is_not_the_learning_rate_s(
    precision: str, factor: float, match: str
) -> None:
    (batch,) = [next(batches(8, 1))]
    trainer = BitletTrainer(graph=perceptron(8), array=array(precision))
    with pytest.raises(SpecError, match=match):
        next(trainer.steps([{**batch, "x": batch["x"] * F(factor)}]))


def test_weights_that_are_not_finite_are_named() -> None:
    graph = perceptron(8)
    bad = {**graph.constants, "w1": ArrayConstant(np.full((64, 32), np.inf, F))}
    trainer = BitletTrainer(graph=replace(graph, constants=bad), array=array("fp32"))
    said = "step 0: tensor 'w1': found 'a value that is not finite', .*; correct the "
    with pytest.raises(SpecError, match=said + "network's weights"):
        next(trainer.steps(batches(8, 1)))
    with pytest.raises(SpecError, match=said + "network's weights"):
        next(replace(trainer, frozen=("w1",)).steps(batches(8, 1)))
    given = {n: bad[n].array() for n in graph.constants}
    with pytest.raises(SpecError, match=said + "states that were given"):
        next(replace(trainer, graph=graph).steps(batches(8, 1), given))


@pytest.mark.parametrize(
    ("precision", "more", "match"),
    [
        ("fp32", {"rounding": "stochastic"}, "wanted fixed point"),
        ("fixed8", {"rounding": "stochastik"}, "did you mean 'stochastic'"),
        ("fixed8", {"distil": "error"}, "did you mean 'errors'"),
        ("fixed8", {"loss_scale": 2.0}, "grids of fixed point follow"),
        ("fp16", {"loss_scale": 3.0}, "a power of two"),
        ("fp16", {"loss_scale": 0.0}, "a power of two"),
        ("fp16", {"loss_scale": math.nan}, "a power of two"),
        ("fp16", {"loss_scale": 2.0**40}, "from 2"),
        ("fp32", {"count_every": -1}, "0 or more steps"),
        ("fp32", {"choose_every": -1}, "choose_every"),
        ("fp32", {"count_every": 1.5}, "count_every: found 1.5, wanted 0 or more steps"),
        ("fp32", {"count_every": True}, "count_every: found True"),
        ("fp32", {"exact_macs": -5}, "exact_macs: found -5, wanted 0 or more MACs"),
        ("fixed8", {"rounding": "stochastic", "seed": -1}, "seed: found -1, wanted 0 or more"),
        ("fp32", {"seed": 0.5}, "seed: found 0.5"),
        ("fp32", {"error": 0}, "error: found 0, wanted a share between 0 and 1"),
        ("fp16", {"loss_scale": True}, "found True, wanted 'dynamic' or a power of two"),
        ("fp32", {"frozen": "w1"}, r"a sequence of names; write frozen=\('w1',\)"),
        ("fp32", {"frozen": None}, "frozen: found 'NoneType', wanted a Sequence"),
        ("fp32", {"settings": None}, "settings: found 'NoneType', wanted a Mapping"),
        ("fp32", {"distil": ["errors"]}, "distil: found 'list', wanted a str"),
    ],
)
def test_settings_without_meaning_are_refused(precision: str, more: Any, match: str) -> None:
    with pytest.raises(SpecError, match=match):
        BitletTrainer(graph=perceptron(8), array=array(precision), **more)


def test_states_of_another_network_are_refused() -> None:
    with pytest.raises(SpecError, match="'w1'"):
        trained_network(perceptron(8), {"w1": np.zeros((3, 3), F)})
    with pytest.raises(SpecError, match="'w1': found 'list', wanted an array"):
        trained_network(perceptron(8), {"w1": [[1.0]]})
    whole = perceptron(8).constants["w1"].array()
    for other, match in ((whole.astype(np.float64), "found 'float64"),
                         (np.full_like(whole, np.nan), "not finite")):  # fmt: skip
        with pytest.raises(SpecError, match=f"'w1': {match}" if match[0] == "f" else match):
            trained_network(perceptron(8), {"w1": other})
    kept = trained_network(perceptron(8), {"optimizer.step": np.zeros(())})
    assert kept.constants["w1"].array().tobytes() == perceptron(8).constants["w1"].array().tobytes()
