"""From a network to its training step: forward, loss, backward and update as one graph.

Models:  one step of SGD, momentum or Adam on all learned tensors, which become resident inputs
         with their next values as outputs (`Graph.states`), as do optimiser moments.
Ignores: schedules of the learning rate, gradient clipping, mixed-precision loss scaling. A
         dropout node draws the same mask in every step of one graph (its seed is an attribute).
Judge:   PyTorch's optimisers over ten steps; PyTorch's gradients of whole networks; the loss of
         reduced library networks falls.

Before: inputs x, constants w, outputs y. After: inputs x, labels (or target) and w; outputs loss
and ``w.next``. Nodes stand in the order forward, backward, update; metadata says how many of each.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from orrery.errors import ModelError, SpecError, UnknownNameError, did_you_mean

from ._constant import ArrayConstant, Constant
from ._derive import Tape, backward, is_float
from ._graph import Graph, Node
from ._types import TensorType, numpy_dtype

#: Inputs that are no weights though they are floating-point constants: moving statistics, tables
#: of angles, bounds, sizes, ratios.
FIXED_INPUTS: dict[str, tuple[int, ...]] = {
    "BatchNormalization": (3, 4), "Clip": (1, 2), "Dropout": (1,),
    "NegativeLogLikelihoodLoss": (2,), "Pad": (2,), "Resize": (1, 2), "RotaryEmbedding": (1, 2),
    "SoftmaxCrossEntropyLoss": (2,),
}  # fmt: skip

_PHASES = ("forward", "backward", "update")

#: optimiser -> its settings and their defaults; weight decay is added to the gradient
OPTIMIZERS: dict[str, dict[str, float]] = {
    "sgd": {"learning_rate": 0.01, "weight_decay": 0.0},
    "momentum": {"learning_rate": 0.01, "momentum": 0.9, "weight_decay": 0.0},
    "adam": {"learning_rate": 0.001, "beta1": 0.9, "beta2": 0.999, "epsilon": 1e-8,
             "weight_decay": 0.0},
}  # fmt: skip

#: metadata entry: the learned tensors of a graph that knows them, one name a line
LEARNED_KEY = "learned"

#: metadata entry: nodes of a graph at which gradients stop (``detach``), one name a line
STOPS_KEY = "gradient_stops"

#: metadata entry: tables of which a gradient leaves one row alone, ``name row`` a line
PADDING_KEY = "padding_rows"

_FLOAT64 = 11  #: ONNX's number of the element type

LOSSES = ("auto", "cross_entropy", "mean_square", "output")


def learned_tensors(graph: Graph) -> tuple[str, ...]:
    """Return the constants that are weights.

    A graph that was read from PyTorch says so itself (metadata entry ``learned``): parameters that
    ask for a gradient, whatever their rank, and no buffers. In other graphs these are
    floating-point constants of rank 1 or more. Left out are scalars (scales, fills) and whatever
    stands at a place of its operator that is not learned: moving statistics of batch
    normalisation, tables of rotary angles, bounds of Clip, fills of Pad, scales of Resize.
    """
    if LEARNED_KEY in graph.metadata:
        listed = set(graph.metadata[LEARNED_KEY].split("\n"))
        return tuple(
            name for name, constant in graph.constants.items()
            if name in listed and is_float(constant.type)
        )  # fmt: skip
    fixed: set[str] = set()
    for node in graph.nodes:
        if not node.domain:
            for index in FIXED_INPUTS.get(node.op, ()):
                fixed.update(node.inputs[index : index + 1])
    return tuple(
        name for name, constant in graph.constants.items()
        if name not in fixed and constant.type.rank and is_float(constant.type)
    )  # fmt: skip


def training(
    graph: Graph, optimizer: str = "sgd", *, loss: str = "auto", outputs: Sequence[str] = (),
    frozen: Sequence[str] = (), seed: int = 0, **settings: float,
) -> Graph:  # fmt: skip
    """Return the graph of one training step.

    Parameters
    ----------
    graph : the network; all dimensions bound
    optimizer : ``sgd``; ``momentum`` (v = momentum v + g, w -= rate v); ``adam``
    loss : ``auto``: a scalar output is the loss itself, a matrix [N, C > 1] meets whole-number
        ``labels`` [N] in a softmax cross-entropy, any other output a ``target`` of its own shape in
        a mean square. Or one of ``cross_entropy`` (classes on axis 1), ``mean_square``, ``output``
        for all outputs
    outputs : those that the loss looks at; their losses are added up. By default all
        floating-point outputs but next values of states and key/value caches (``present…``)
    frozen : learned tensors that stay as they are
    seed : of dropout masks
    settings : of the optimiser: learning_rate, momentum, beta1, beta2, epsilon, weight_decay

    Returns
    -------
    Graph whose first output is the loss. With several outputs under the loss, inputs are named
    ``labels.<output>`` and ``target.<output>``. Batch normalisation uses the batch's statistics and
    carries its moving ones as states; Dropout nodes are active (`from_torch` leaves dropout out).

    Raises
    ------
    SpecError, UnknownNameError : an unknown optimiser, setting, loss, output or tensor
    UnsupportedOperatorsError : operators on the way that have no derivative, all of them
    ModelError : nothing to train, an unbound dimension, or a network from PyTorch whose gradients
        would differ from PyTorch's (it detaches tensors, or learns a bound or a fill)
    """
    chosen = _settings(optimizer, settings)
    if loss not in LOSSES:
        raise UnknownNameError("loss", loss, LOSSES)
    graph = graph.infer()
    learned = learned_tensors(graph)
    for name in frozen:
        if name not in learned:
            raise UnknownNameError(f"learned tensor of {graph.name}", name, learned)
    weights = tuple(name for name in learned if name not in frozen)
    if not weights:
        raise ModelError(f"{graph.name}: training", found="no learned tensors",
                         wanted="floating-point constants of rank 1 or more; from PyTorch,"
                                " parameters with requires_grad",
                         fix="give a network with weights")  # fmt: skip
    _require_faithful(graph, weights)
    step = _Step(_open(graph, weights, seed))
    step.add_loss(_looked_at(graph, outputs), loss)
    gradients = step.derive(weights)
    step.spare_padding(gradients)
    step.update(gradients, optimizer, chosen)
    return step.finish(optimizer, chosen, weights, graph.constants)


def _require_faithful(graph: Graph, weights: Sequence[str]) -> None:
    """Refuse what PyTorch would derive differently, in a graph that knows its learned tensors."""
    if LEARNED_KEY not in graph.metadata:
        return
    reached = set(weights)
    stops = set(graph.metadata.get(STOPS_KEY, "").split("\n"))
    rows = _padding(graph)
    padding = dict(rows)
    for node in graph.nodes:
        if not reached.intersection(node.inputs):
            continue
        where = f"{graph.name}: training: node {node.name!r} ({node.op})"
        if node.name in stops:
            raise ModelError(where, found="a tensor that forward() detaches from its parameters",
                             wanted="gradients that flow through",
                             fix="freeze what lies before it (frozen=…)")  # fmt: skip
        for index in () if node.domain else FIXED_INPUTS.get(node.op, ()):
            name = node.inputs[index] if index < len(node.inputs) else ""
            if name in reached and is_float(graph.types.get(name)):
                raise ModelError(where, found=f"input {name!r}, which depends on parameters",
                                 wanted="bounds, fills and statistics that are not learned",
                                 fix="freeze these parameters (frozen=…)")  # fmt: skip
        for name in set(node.inputs) & reached & set(padding):
            alone = sum(table == name for table, _ in rows) == 1
            if not alone or node.op != "Gather" or node.inputs[0] != name:
                raise ModelError(
                    where, found=f"{name!r}, which an embedding with padding_idx reads too",
                    wanted="a table with padding_idx for its embedding alone",
                    fix=f"freeze it (frozen=[{name!r}]) or build the embedding without padding_idx",
                )  # fmt: skip
        reached.update(name for name in node.outputs if name)


def _padding(graph: Graph) -> list[tuple[str, int]]:
    """Return the tables whose padding row no gradient reaches, with the row."""
    lines = graph.metadata.get(PADDING_KEY, "").splitlines()
    return [(line.rpartition(" ")[0], int(line.rpartition(" ")[2])) for line in lines]


def saved_tensors(graph: Graph) -> tuple[str, ...]:
    """Return what a training step keeps from forward to backward, in order of their making.

    These are the network's inputs and the tensors made by forward nodes that a backward node
    reads. Weights (states) and constants are resident anyway and not listed.
    """
    forward, back = (phase_nodes(graph, phase) for phase in _PHASES[:2])
    read = {name for node in back for name in node.inputs}
    made = [name for name in graph.inputs if name not in graph.states]
    made += [name for node in forward for name in node.outputs]
    return tuple(name for name in made if name in read)


def phase_nodes(graph: Graph, phase: str) -> tuple[Node, ...]:
    """Return the nodes of a phase of a training step: ``forward``, ``backward`` or ``update``.

    Raises
    ------
    UnknownNameError : no such phase
    ModelError : the graph is no training step
    """
    if phase not in _PHASES:
        raise UnknownNameError("phase of a training step", phase, _PHASES)
    counts = [graph.metadata.get(f"training.{name}_nodes", "") for name in _PHASES]
    if not all(count.isdigit() for count in counts) or sum(map(int, counts)) != len(graph.nodes):
        raise ModelError(f"{graph.name}: phases", found="a graph that is no training step",
                         wanted="what Graph.training() returns", fix="derive it first")  # fmt: skip
    start = sum(int(count) for count in counts[: _PHASES.index(phase)])
    return graph.nodes[start : start + int(counts[_PHASES.index(phase)])]


def initial_states(step: Graph, graph: Graph) -> dict[str, NDArray[Any]]:
    """Return what to feed to the states of a training step first.

    Weights and moving statistics are the constants of the network it was derived from; moments and
    the step counter start at zero. States of the network itself are not included.
    """
    return {
        name: np.array(graph.constants[name].array()) if name in graph.constants
        else np.zeros(step.type(name).sizes, numpy_dtype(step.type(name).dtype))
        for name in step.states if name not in graph.states
    }  # fmt: skip


def _settings(optimizer: str, settings: Mapping[str, float]) -> dict[str, float]:
    if optimizer not in OPTIMIZERS:
        raise UnknownNameError("optimiser", optimizer, OPTIMIZERS)
    known = OPTIMIZERS[optimizer]
    for name, value in settings.items():
        if name not in known:
            raise SpecError(f"{optimizer}: setting {name!r}", found="no such setting",
                            wanted=f"one of {', '.join(known)}",
                            fix=f"correct the name{did_you_mean(name, known)}")  # fmt: skip
        number = isinstance(value, (int, float)) and not isinstance(value, bool)
        below_one = name in ("momentum", "beta1", "beta2")
        if not number or not 0 <= value < (1 if below_one else float("inf")):
            raise SpecError(f"{optimizer}: setting {name!r}", found=value,
                            wanted="a number from 0 to below 1" if below_one else
                            "a finite number of 0 or more",
                            fix="correct the value")  # fmt: skip
    return {**known, **settings}


def _looked_at(graph: Graph, outputs: Sequence[str]) -> tuple[str, ...]:
    """Return the outputs that the loss looks at."""
    for name in outputs:
        if name not in graph.outputs:
            raise UnknownNameError(f"output of {graph.name}", name, graph.outputs)
    carried = set(graph.states.values())
    found = tuple(outputs) or tuple(
        name for name in graph.outputs
        if is_float(graph.types.get(name)) and name not in carried
        and not name.startswith("present")
    )  # fmt: skip
    if not found or not all(is_float(graph.type(name)) for name in found):
        raise ModelError(f"{graph.name}: loss", found=f"outputs {', '.join(graph.outputs)}",
                         wanted="a floating-point output", fix="name one in outputs")  # fmt: skip
    return found


def _open(graph: Graph, weights: Sequence[str], seed: int) -> Graph:
    """Return the graph in training mode, weights and moving statistics being states."""
    taken = {*graph.types, *(n.name for n in graph.nodes)}
    states = dict(graph.states)
    constants = dict(graph.constants)
    types = dict(graph.types)
    moved: list[str] = list(weights)
    nodes = []
    for serial, node in enumerate(graph.nodes):
        if node.op == "BatchNormalization" and not node.domain:
            node = _batch_statistics(graph, node, states, moved, taken)
        elif node.op == "Dropout" and not node.domain:
            mode = _fresh(f"{node.name}.training_mode", taken)
            constants[mode] = ArrayConstant(np.asarray(True))
            types[mode] = constants[mode].type
            ratio = node.inputs[1] if len(node.inputs) > 1 else ""
            attributes = {"seed": seed + serial, **node.attributes}
            node = replace(node, inputs=(node.inputs[0], ratio, mode), attributes=attributes)
        nodes.append(node)
    for name in moved:
        del constants[name]
    outputs = (*graph.outputs, *(new for new in states.values() if new not in graph.outputs))
    return replace(
        graph, nodes=tuple(nodes), inputs=(*graph.inputs, *moved), constants=constants,
        outputs=tuple(dict.fromkeys(outputs)), states=states, types=types,
    ).infer()  # fmt: skip


def _batch_statistics(
    graph: Graph, node: Node, states: dict[str, str], moved: list[str], taken: set[str]
) -> Node:
    """Normalise by the batch and carry the moving statistics, where they are constants.

    Nodes that share statistics move them one after the other, as a shared PyTorch module does.
    """
    before, after = [], []
    for name in node.inputs[3:5]:
        before.append(states.get(name, name) if name in moved else name)
        if name not in graph.constants:
            after.append("")  # computed by the network: nothing to carry
            continue
        if name not in moved:
            moved.append(name)
        states[name] = _fresh(f"{name}.next", taken)
        after.append(states[name])
    return replace(
        node, inputs=(*node.inputs[:3], *before), outputs=(node.outputs[0], *after),
        attributes={**node.attributes, "training_mode": 1},
    )  # fmt: skip


def _fresh(name: str, taken: set[str]) -> str:
    candidate, serial = name, 0
    while candidate in taken:
        serial += 1
        candidate = f"{name}_{serial}"
    taken.add(candidate)
    return candidate


class _Step:
    """A training step under construction."""

    def __init__(self, graph: Graph) -> None:
        self.graph = graph
        self.tape = Tape(graph)
        self.inputs = list(graph.inputs)
        self.states = dict(graph.states)
        self.metadata = dict(graph.metadata)
        self.loss = ""
        self.boundaries: list[int] = []

    # -- loss ---------------------------------------------------------------------------------

    def add_loss(self, outputs: Sequence[str], loss: str) -> None:
        terms = [self._loss(name, loss, single=len(outputs) == 1) for name in outputs]
        dtypes = {self.tape.types[term].dtype for term in terms}
        if len(dtypes) > 1:
            raise ModelError(f"{self.graph.name}: loss", found=f"outputs of {', '.join(dtypes)}",
                             wanted="one element type", fix="name fewer outputs")  # fmt: skip
        self.loss = terms[0] if len(terms) == 1 else self.tape.emit("loss", "Sum", *terms)[0]
        if self.tape.nodes:
            self.loss = self._named(self.tape.fresh("loss"))

    def _loss(self, output: str, loss: str, *, single: bool) -> str:
        type_ = self.tape.types[output]
        shape = type_.sizes
        if loss == "auto":
            loss = "output" if not shape else (
                "cross_entropy" if len(shape) == 2 and shape[1] > 1 else "mean_square"
            )  # fmt: skip
        label = "loss" if single else f"loss.{output}"
        if loss == "output":
            if shape:
                raise ModelError(f"{self.graph.name}: loss", found=f"output {output!r}: {type_}",
                                 wanted="a scalar", fix="choose another loss")  # fmt: skip
            return output
        if loss == "cross_entropy":
            if len(shape) < 2:
                raise ModelError(f"{self.graph.name}: loss", found=f"output {output!r}: {type_}",
                                 wanted="[N, classes, …]", fix="choose another loss")  # fmt: skip
            labels = self._input("labels", output, single, "int64", (shape[0], *shape[2:]))
            self.metadata[f"below.{labels}"] = str(shape[1])
            return self.tape.emit(label, "SoftmaxCrossEntropyLoss", output, labels,
                                  reduction="mean")[0]  # fmt: skip
        target = self._input("target", output, single, type_.dtype, shape)
        error = self.tape.emit(label, "Sub", output, target)[0]
        square = self.tape.emit(label, "Mul", error, error)[0]
        return self.tape.emit(label, "ReduceMean", square, keepdims=0)[0]

    def _input(
        self, name: str, output: str, single: bool, dtype: str, shape: tuple[int, ...]
    ) -> str:
        fresh = self.tape.fresh(name if single else f"{name}.{output}")
        self.tape.types[fresh] = TensorType(dtype=dtype, shape=shape)
        self.inputs.append(fresh)
        return fresh

    def _named(self, name: str) -> str:
        """Give the last node's output, which nobody reads yet, another name."""
        node = self.tape.nodes[-1]
        self.tape.types[name] = self.tape.types.pop(node.outputs[0])
        self.tape.nodes[-1] = replace(node, outputs=(name,))
        return name

    # -- backward and update ------------------------------------------------------------------

    def derive(self, weights: Sequence[str]) -> dict[str, str]:
        """Add the backward nodes of forward and loss; returns weight -> gradient."""
        forward = replace(
            self.graph, nodes=(*self.graph.nodes, *self.tape.nodes), types=self.tape.types,
            inputs=tuple(self.inputs), outputs=(self.loss, *self.graph.outputs),
            constants=self.tape.constants,
        )  # fmt: skip
        whole = Tape(forward)
        type_ = whole.types[self.loss]
        seed = whole.constant(np.ones((), numpy_dtype(type_.dtype)))
        gradients = backward(whole, {self.loss: seed}, weights)
        if not gradients:
            raise ModelError(f"{self.graph.name}: training", found="no weight under the loss",
                             wanted="a loss that depends on weights",
                             fix="name other outputs")  # fmt: skip
        self.tape = whole
        self.boundaries = [len(forward.nodes), len(whole.nodes)]
        return gradients

    def spare_padding(self, gradients: dict[str, str]) -> None:
        """Give the padding rows of embeddings no gradient, as PyTorch does."""
        for name, row in _padding(self.graph):
            if name in gradients:
                type_ = self.tape.types[name]
                kept = np.ones((type_.sizes[0], *[1] * (type_.rank - 1)), numpy_dtype(type_.dtype))
                kept[row] = 0
                mask = self.tape.constant(kept)
                gradients[name] = self.tape.emit(f"{name}.grad", "Mul", gradients[name], mask)[0]
                self.boundaries[1] = len(self.tape.nodes)

    def update(
        self, gradients: Mapping[str, str], optimizer: str, settings: Mapping[str, float]
    ) -> None:
        """Add the update nodes of all weights that a gradient reaches; the others stay."""
        rule = {"sgd": self._sgd, "momentum": self._momentum, "adam": self._adam}[optimizer]
        shared: dict[str, str] = {}
        for weight, gradient in gradients.items():
            if settings["weight_decay"]:
                pull = self._emit(weight, "Mul", weight, settings["weight_decay"])
                gradient = self._emit(weight, "Add", gradient, pull)
            self._carry(weight, rule(weight, gradient, settings, shared))

    def _emit(self, weight: str, op: str, *operands: Any, **attributes: Any) -> str:
        return self.tape.emit(f"{weight}.update", op, *operands, **attributes)[0]

    def _state(self, name: str, like: TensorType) -> str:
        """Declare a resident tensor that starts at zero."""
        fresh = self.tape.fresh(name)
        self.tape.types[fresh] = like
        self.inputs.append(fresh)
        return fresh

    def _carry(self, state: str, value: str) -> None:
        """Make a tensor the next value of a state."""
        name = self.tape.fresh(f"{state}.next")
        if self.tape.nodes[-1].outputs != (value,):
            raise ValueError(f"{value} is not what was computed last")
        self.states[state] = self._named(name)

    def _sgd(
        self, weight: str, gradient: str, settings: Mapping[str, float], shared: dict[str, str]
    ) -> str:
        change = self._emit(weight, "Mul", gradient, settings["learning_rate"])
        return self._emit(weight, "Sub", weight, change)

    def _momentum(
        self, weight: str, gradient: str, settings: Mapping[str, float], shared: dict[str, str]
    ) -> str:
        velocity = self._state(f"{weight}.velocity", self.tape.types[weight])
        kept = self._emit(weight, "Mul", velocity, settings["momentum"])
        following = self._emit(weight, "Add", kept, gradient)
        self._carry(velocity, following)
        return self._sgd(weight, self.states[velocity], settings, shared)

    def _adam(
        self, weight: str, gradient: str, settings: Mapping[str, float], shared: dict[str, str]
    ) -> str:
        """Kingma & Ba 2014, algorithm 1; the step counter and its corrections are shared."""
        type_ = self.tape.types[weight]
        if not shared:
            self._corrections(settings, shared)
        moments = []
        for label, beta in (("first_moment", "beta1"), ("second_moment", "beta2")):
            moment = self._state(f"{weight}.{label}", type_)
            sample = gradient if beta == "beta1" else self._emit(weight, "Mul", gradient, gradient)
            kept = self._emit(weight, "Mul", moment, settings[beta])
            new = self._emit(weight, "Mul", sample, 1 - settings[beta])
            following = self._emit(weight, "Add", kept, new)
            self._carry(moment, following)
            correction = self._cast(shared[beta], type_, shared)
            moments.append(self._emit(weight, "Div", self.states[moment], correction))
        spread = self._emit(weight, "Sqrt", moments[1])
        if settings["epsilon"] and not np.asarray(settings["epsilon"], numpy_dtype(type_.dtype)):
            raise SpecError("adam: setting 'epsilon'", found=settings["epsilon"],
                            wanted=f"a number that is not zero in {type_.dtype}",
                            fix="raise it, e.g. epsilon=1e-4")  # fmt: skip
        spread = self._emit(weight, "Add", spread, settings["epsilon"])
        change = self._emit(weight, "Div", moments[0], spread)
        return self._sgd(weight, change, settings, shared)

    def _corrections(self, settings: Mapping[str, float], shared: dict[str, str]) -> None:
        """Count the step and compute 1 - beta^step, in float64: it is a small difference."""
        step = self._state("optimizer.step", TensorType(dtype="int64", shape=()))
        self._carry(step, self.tape.emit("optimizer", "Add", step, 1)[0])
        count = self.tape.emit("optimizer", "Cast", self.states[step], to=_FLOAT64)[0]
        one = self.tape.constant(np.asarray(1.0))
        for beta in ("beta1", "beta2"):
            base = self.tape.constant(np.asarray(settings[beta], np.float64))
            power = self.tape.emit("optimizer", "Pow", base, count)[0]
            shared[beta] = self.tape.emit("optimizer", "Sub", one, power)[0]

    def _cast(self, scalar: str, type_: TensorType, shared: dict[str, str]) -> str:
        """Return a scalar in an element type, converted once."""
        if self.tape.types[scalar].dtype == type_.dtype:
            return scalar
        key = f"{scalar}:{type_.dtype}"
        if key not in shared:
            like = self.tape.constant(np.zeros((), numpy_dtype(type_.dtype)))
            shared[key] = self.tape.emit("optimizer", "CastLike", scalar, like)[0]
        return shared[key]

    # -- the end ------------------------------------------------------------------------------

    def finish(
        self, optimizer: str, settings: Mapping[str, float], weights: Sequence[str],
        original: Mapping[str, Constant],
    ) -> Graph:  # fmt: skip
        """Return the graph without what nobody needs; `original` holds the weights' values."""
        forward, backward_end = self.boundaries
        nodes = (*self.tape.forward(), *self.tape.nodes)
        phases = ["forward"] * forward + ["backward"] * backward_end
        phases += ["update"] * (len(nodes) - len(phases))
        states = dict(self.states)
        outputs = tuple(dict.fromkeys((self.loss, *states.values())))
        needed, kept = set(outputs), []
        for node, phase in zip(reversed(nodes), reversed(phases), strict=True):
            if any(o in needed for o in node.outputs if o):
                needed.update(name for name in node.inputs if name)
                kept.append((node, phase))
        kept.reverse()
        self.metadata["training.optimizer"] = optimizer
        self.metadata["training.loss"] = self.loss
        for name, value in settings.items():
            self.metadata[f"training.{name}"] = repr(value)
        for phase in _PHASES:
            count = sum(p == phase for _, p in kept)
            self.metadata[f"training.{phase}_nodes"] = str(count)
        # A weight that the loss does not depend on stays a constant.
        still = {name for name in weights if name not in states}
        inputs = tuple(name for name in self.inputs if name not in still)
        used = {*inputs, *needed, *(o for node, _ in kept for o in node.outputs)}
        return Graph(
            name=f"{self.graph.name}.training", nodes=tuple(node for node, _ in kept),
            inputs=inputs, outputs=outputs, states=states, metadata=self.metadata,
            types={name: t for name, t in self.tape.types.items() if name in used},
            constants={n: c for n, c in {**original, **self.tape.constants}.items()
                       if n in needed and n not in inputs},
        ).infer()  # fmt: skip
