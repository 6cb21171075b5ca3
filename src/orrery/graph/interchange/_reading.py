"""From a parsed ONNX message to a `Graph`: names, scopes, functions, versions.

Before: nodes of any opset from 11 on, perhaps without names or order, calls of model-local
functions, ``Constant`` nodes, bodies that read tensors of the surrounding graph. After: named
nodes of one opset in topological order, functions inlined, constants apart, captures listed.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np

from orrery.errors import ModelError

from .._constant import ArrayConstant, Constant
from .._graph import Graph, Node
from .._operator import CANONICAL_OPSET
from .._types import TensorType
from ._attributes import GRAPH, attribute_value, check_node
from ._declared import Declared, declared_type
from ._scope import Frame, Names, Scope, Value, in_order, sparse_value, value_type
from ._tensors import TensorSource
from ._upgrade import OLDEST_OPSET, upgrade

#: The metadata property that holds a graph's states.
STATES_KEY = "orrery.states"

#: Constants of up to so many elements are copied into bodies that read them (they are shapes and
#: axes, which shape rules must see); larger ones are captured like any other tensor.
EMBEDDED_ELEMENTS = 4096

#: domain, name and overload of a model-local function
Key = tuple[str, str, str]

_MOST_INLINED_NODES = 500_000
_DEEPEST_CALL = 64


@dataclass(slots=True, kw_only=True)
class Reader:
    """Reads one model.

    Attributes
    ----------
    where : the model, for messages
    source : where its tensors come from
    schema : (operator, opset) -> schema, None when that opset lacks the operator
    since : operator -> first opset that has it, None when none has
    ranks : tensor -> rank, from an earlier pass
    declared : output of the model -> what the file says of it
    """

    where: str
    source: TensorSource
    schema: Callable[[str, int], Any]
    since: Callable[[str], int | None]
    ranks: Mapping[str, int] = field(default_factory=dict)
    unknown_ranks: set[str] = field(default_factory=set)
    declared: dict[str, Declared] = field(default_factory=dict)
    _functions: dict[Key, Any] = field(default_factory=dict)
    _sizes: dict[Key, int] = field(default_factory=dict)
    _inlined: int = 0

    def model(self, proto: Any, name: str) -> Graph:
        """Return the graph of a ModelProto; types are the declared ones."""
        if not proto.HasField("graph") or not proto.opset_import:
            raise ModelError(self.where, found="no graph or no operator set",
                             wanted="an ONNX model",
                             fix="check that it is an ONNX file")  # fmt: skip
        if len(proto.training_info):
            raise ModelError(self.where, found="training information",
                             wanted="an inference graph",
                             fix="export it for inference: training is derived here")  # fmt: skip
        _text(self.where, *(entry.domain for entry in proto.opset_import))
        opsets = self._opsets(proto.opset_import)
        names = Names(set(_all_names(proto.graph, self.where)))
        for function in proto.functions:
            for _ in _function_names(function, self.where):
                pass  # only checked: these names live in the function
            key = (_domain(function.domain), function.name, function.overload)
            if key in self._functions:
                raise ModelError(f"{self.where}: function {function.name!r}",
                                 found="a second one of this name", wanted="unique names",
                                 fix="rename one")  # fmt: skip
            self._functions[key] = function
        frame = Frame(opsets=opsets, names=names)
        graph, _ = self._graph(proto.graph, frame, {}, proto.graph.name or name, top=True)
        metadata: dict[str, str] = {}
        for pair in proto.metadata_props:
            label, value = _text(f"{self.where}: metadata", pair.key, pair.value)
            metadata[label] = value
        states = self._states(metadata.pop(STATES_KEY, "{}"))
        return replace(graph, metadata=metadata, states=states)

    def _opsets(self, imports: Iterable[Any]) -> dict[str, int]:
        opsets: dict[str, int] = {}
        for entry in imports:
            domain = _domain(entry.domain)
            if domain in opsets:
                raise ModelError(self.where, found=f"operator set {domain!r} twice",
                                 wanted="each operator set once",
                                 fix="export it again")  # fmt: skip
            opsets[domain] = entry.version
        version = opsets.get("", CANONICAL_OPSET)
        if not OLDEST_OPSET <= version <= CANONICAL_OPSET:
            raise ModelError(
                f"{self.where}: operator set", found=f"version {version}",
                wanted=f"{OLDEST_OPSET} to {CANONICAL_OPSET}",
                fix=f"export the model with opset {min(max(version, 17), CANONICAL_OPSET)}",
            )  # fmt: skip
        return opsets

    def _states(self, text: str) -> dict[str, str]:
        try:
            states = json.loads(text)
        except ValueError:
            states = None
        if not isinstance(states, dict) or not all(isinstance(v, str) for v in states.values()):
            raise ModelError(f"{self.where}: metadata {STATES_KEY!r}", found=text,
                             wanted="a JSON object of input names to output names",
                             fix="write the model again")  # fmt: skip
        return states

    # -- one graph ---------------------------------------------------------------------------

    def _graph(
        self, proto: Any, frame: Frame, around: Mapping[str, Constant], name: str, *,
        top: bool = False,
    ) -> tuple[Graph, tuple[str, ...]]:  # fmt: skip
        """Return a graph and the names of the tensors it captures; these end its inputs."""
        where = self.where if top else f"{self.where}: body {name!r}"
        constants = self._initializers(proto, frame, where)
        types, inputs = self._inputs(proto, frame, constants, where, top=top)
        pending = []
        for node, its_frame in self._expanded(proto.node, frame, where):
            if node.op_type == "Constant" and not _domain(node.domain):
                self._constant_node(node, its_frame, constants, where)
            else:
                pending.append((node, its_frame))
        for info in (*proto.value_info, *proto.output):
            declared = value_type(info, where)
            if declared is not None and frame.name(info.name) not in constants:
                types.setdefault(frame.name(info.name), declared)
        known_ranks = {tensor: type_.rank for tensor, type_ in types.items()}
        scope = Scope(
            where=where, names=frame.names, constants=constants, visible={**around, **constants},
            ranks={**known_ranks, **self.ranks} if top else known_ranks,
        )  # fmt: skip
        mine = {*inputs, *(its.name(t) for node, its in pending for t in node.output)}
        for tensor in mine - set(constants):
            scope.visible.pop(tensor, None)
        opsets: dict[str, int] = {}
        nodes = []
        for node, its_frame in pending:
            converted = self._node(node, its_frame, scope)
            opsets[converted.name] = its_frame.opsets.get("", CANONICAL_OPSET)
            nodes.append(converted)
        nodes = in_order(nodes, {*inputs, *constants}, where)
        nodes = [
            replace(new, name=scope.node_names.fresh(new.name)) if new.name != old.name else new
            for old in nodes
            for new in upgrade(old, opsets[old.name], scope)
        ]
        outputs = tuple(frame.name(info.name) for info in proto.output)
        if "" in outputs:
            raise ModelError(f"{where}: outputs", found="a tensor without a name",
                             wanted="a name for each", fix="name it")  # fmt: skip
        if len(set(outputs)) < len(outputs):
            raise ModelError(f"{where}: outputs", found="a tensor twice", wanted="each output once",
                             fix="list it once, or copy it with Identity")  # fmt: skip
        captured: tuple[str, ...] = ()
        if not top:
            captured = self._capture(nodes, outputs, inputs, scope, around)
        if top:
            self.unknown_ranks |= scope.unknown_ranks
            promised = ((frame.name(info.name), declared_type(info)) for info in proto.output)
            self.declared.update((name, type_) for name, type_ in promised if type_ is not None)
        types |= {tensor: constant.type for tensor, constant in constants.items()}
        graph = Graph(
            name=name, nodes=tuple(nodes), inputs=(*inputs, *captured), outputs=outputs,
            types=types, constants=constants,
        )  # fmt: skip
        return graph, captured

    def _initializers(self, proto: Any, frame: Frame, where: str) -> dict[str, Constant]:
        constants: dict[str, Constant] = {}

        def add(name: str, value: Constant) -> None:
            if not name or name in constants:
                raise ModelError(where, found=f"initializer {name!r}, unnamed or a second one",
                                 wanted="unique names", fix="rename it")  # fmt: skip
            constants[name] = value

        for tensor in proto.initializer:
            add(frame.name(tensor.name), self.source.constant(tensor, tensor.name))
        for sparse in proto.sparse_initializer:
            name = sparse.values.name
            add(frame.name(name), sparse_value(sparse, name, self.source))
        return constants

    def _inputs(
        self, proto: Any, frame: Frame, constants: Mapping[str, Constant], where: str, *, top: bool
    ) -> tuple[dict[str, TensorType], tuple[str, ...]]:
        types: dict[str, TensorType] = {}
        inputs: list[str] = []
        for info in proto.input:
            name = frame.name(info.name)
            if name in constants and top:
                continue  # a default that callers may override, or IR version 3: a constant to us
            if not name or name in inputs or name in constants:
                raise ModelError(where, found=f"input {info.name!r}, unnamed or a second one",
                                 wanted="unique names", fix="rename it")  # fmt: skip
            inputs.append(name)
            declared = value_type(info, where, required=top)
            if declared is not None:
                types[name] = declared
        return types, tuple(inputs)

    def _capture(
        self, nodes: list[Node], outputs: tuple[str, ...], inputs: tuple[str, ...], scope: Scope,
        around: Mapping[str, Constant],
    ) -> tuple[str, ...]:  # fmt: skip
        """Return what a body reads of its surroundings; small constants become its own."""
        made = {*inputs, *scope.constants, *(t for node in nodes for t in node.outputs)}
        used = [*(t for node in nodes for t in node.inputs), *outputs]
        captured = []
        for tensor in dict.fromkeys(t for t in used if t and t not in made):
            constant = around.get(tensor)
            if constant is not None and constant.type.elements <= EMBEDDED_ELEMENTS:
                scope.constants[tensor] = constant
            else:
                captured.append(tensor)
        return tuple(captured)

    # -- nodes -------------------------------------------------------------------------------

    def _expanded(
        self, protos: Iterable[Any], frame: Frame, where: str
    ) -> Iterator[tuple[Any, Frame]]:
        """Yield nodes with calls of model-local functions replaced by the functions' nodes."""
        for node in protos:
            key = (_domain(node.domain), node.op_type, node.overload)
            function = self._functions.get(key)
            if function is None:
                yield node, frame
                continue
            if not frame.calls:
                self._inlined += self._size(key, (), where)
                if self._inlined > _MOST_INLINED_NODES:
                    raise ModelError(
                        f"{where}: functions",
                        found="more nodes than a network has",
                        wanted=f"at most {_MOST_INLINED_NODES} once inlined",
                        fix="check where the model comes from",
                    )
            yield from self._expanded(function.node, self._call(node, key, frame, where), where)

    def _size(self, key: Key, calls: tuple[Key, ...], where: str) -> int:
        """Return how many nodes a function has once everything in it is inlined.

        Raises
        ------
        ModelError : it calls itself, or calls are nested too deeply
        """
        if key in self._sizes:
            return self._sizes[key]
        if key in calls or len(calls) >= _DEEPEST_CALL:
            chain = " -> ".join(call[1] for call in (*calls[-3:], key))
            raise ModelError(
                f"{where}: function {key[1]!r}",
                found=f"a recursive call: {chain}" if key in calls else f"calls {len(calls)} deep",
                wanted="functions that end",
                fix="inline the functions",
            )
        size = 0
        for node in _nodes_within(self._functions[key].node):
            called = (_domain(node.domain), node.op_type, node.overload)
            known = called in self._functions
            size += self._size(called, (*calls, key), where) if known else 1
        self._sizes[key] = size
        return size

    def _call(self, node: Any, key: Key, frame: Frame, where: str) -> Frame:
        """Return the frame of one call of a model-local function."""
        function = self._functions[key]
        where = f"{where}: function {function.name!r}"
        if len(node.input) > len(function.input) or len(node.output) > len(function.output):
            raise ModelError(where, found="a call with too many inputs or outputs",
                             wanted=f"{len(function.input)} and {len(function.output)}",
                             fix="correct the call")  # fmt: skip
        attributes = {a.name: self._value(a, frame, where) for a in node.attribute}
        for default in function.attribute_proto:
            attributes.setdefault(default.name, self._value(default, frame, where))
        label = frame.names.fresh(f"{frame.prefix}{node.name or node.op_type}")
        inner = Frame(
            opsets=self._opsets(function.opset_import), names=frame.names, prefix=f"{label}/",
            calls=(*frame.calls, key),
            attributes={k: v for k, v in attributes.items() if v is not None},
        )  # fmt: skip
        given = [frame.name(t) for t in node.input]
        given += [""] * (len(function.input) - len(given))
        inner.renamed.update(zip(function.input, given))
        for formal, actual in zip(function.output, (frame.name(t) for t in node.output)):
            if formal in inner.renamed:
                raise ModelError(where, found=f"output {formal!r} that is an input",
                                 wanted="an output that a node makes",
                                 fix="copy it with Identity")  # fmt: skip
            if actual:
                inner.renamed[formal] = actual
        return inner

    def _value(self, attribute: Any, frame: Frame, where: str) -> Value | None:
        """Return an attribute; None when it refers to one that the caller did not give."""
        if attribute.ref_attr_name:
            return frame.attributes.get(attribute.ref_attr_name)
        value = attribute_value(attribute, self.source, where)
        return Value(kind=attribute.type, value=value)

    def _constant_node(
        self, node: Any, frame: Frame, constants: dict[str, Constant], where: str
    ) -> None:
        where = f"{where}: node {node.name!r} (Constant)"
        if len(node.attribute) != 1 or len(node.output) != 1 or not node.output[0]:
            raise ModelError(where, found=f"{len(node.attribute)} attributes",
                             wanted="one value and one output", fix="export it again")  # fmt: skip
        attribute, name = node.attribute[0], frame.name(node.output[0])
        if name in constants:
            raise ModelError(where, found=f"output {name!r} defined twice",
                             wanted="one producer per tensor", fix="rename one")  # fmt: skip
        if not attribute.ref_attr_name and attribute.name == "value" and attribute.HasField("t"):
            constants[name] = self.source.constant(attribute.t, name)
            return
        if attribute.name == "sparse_value" and attribute.HasField("sparse_tensor"):
            constants[name] = sparse_value(attribute.sparse_tensor, name, self.source)
            return
        dtype = {"value_int": np.int64, "value_ints": np.int64, "value_float": np.float32,
                 "value_floats": np.float32, "value_string": object, "value_strings": object,
                 "value": None}.get(attribute.name, ...)  # fmt: skip
        found = self._value(attribute, frame, where)
        if dtype is ... or found is None:
            raise ModelError(where, found=f"attribute {attribute.name!r}", wanted="a value",
                             fix="export it again")  # fmt: skip
        # isinstance: a reference in a function may bring a value of any kind
        wants_many, is_many = attribute.name.endswith("s"), isinstance(found.value, tuple)
        is_text = any(isinstance(v, str) for v in (found.value if is_many else (found.value,)))
        if dtype is None:
            if not isinstance(found.value, np.ndarray):
                raise ModelError(where, found="a value that is no tensor", wanted="a tensor",
                                 fix="export it again")  # fmt: skip
        elif isinstance(found.value, np.ndarray) or wants_many != is_many or (
            is_text != (dtype is object) and found.value != ()
        ):  # fmt: skip
            raise ModelError(where, found=f"{found.value!r}", wanted=f"what {attribute.name} says",
                             fix="export it again")  # fmt: skip
        constants[name] = ArrayConstant(np.array(found.value, dtype))

    def _node(self, proto: Any, frame: Frame, scope: Scope) -> Node:
        inputs = tuple(frame.name(t) for t in proto.input)
        outputs = tuple(frame.name(t) for t in proto.output)
        domain = _domain(proto.domain)
        first = next((t for t in outputs if t), "")
        hint = f"{frame.prefix}{proto.name}" if proto.name else f"{proto.op_type}_{first}"
        name = scope.node_names.fresh(hint)
        where = f"{scope.where}: node {name!r} ({proto.op_type})"
        attributes: dict[str, Any] = {}
        kinds: dict[str, int] = {}
        captured: list[str] = []
        bodies: dict[str, tuple[Graph, tuple[str, ...]]] = {}
        for attribute in proto.attribute:
            if attribute.name in kinds:
                raise ModelError(where, found=f"attribute {attribute.name!r} twice",
                                 wanted="each attribute once", fix="remove one")  # fmt: skip
            if attribute.type == GRAPH and not attribute.ref_attr_name:
                body = self._graph(attribute.g, frame, scope.visible,
                                   attribute.g.name or f"{name}.{attribute.name}")  # fmt: skip
                bodies[attribute.name] = body
                captured += [t for t in body[1] if t not in captured]
                kinds[attribute.name] = GRAPH
                continue
            value = self._value(attribute, frame, where) if domain in ("",) or _plain(
                attribute) else Value(kind=0, value=str(attribute))  # fmt: skip
            if value is not None:
                attributes[attribute.name], kinds[attribute.name] = value.value, value.kind
        node = Node(name=name, op=proto.op_type, inputs=inputs, outputs=outputs,
                    attributes=attributes, domain=domain)  # fmt: skip
        if not domain:
            self._check(node, kinds, frame.opsets, where)
        if bodies:
            for attribute_name, (graph, own) in bodies.items():
                formal = graph.inputs[: len(graph.inputs) - len(own)]
                attributes[attribute_name] = _capturing(graph, formal, tuple(captured))
            attributes["captured"] = len(captured)
            node = replace(node, inputs=(*inputs, *captured), attributes=attributes)
        return node

    def _check(
        self, node: Node, kinds: Mapping[str, int], opsets: Mapping[str, int], where: str
    ) -> None:
        if "" not in opsets:
            raise ModelError(where, found="no operator set of ONNX's own domain",
                             wanted="one in opset_import",
                             fix="export the model again")  # fmt: skip
        schema = self.schema(node.op, opsets[""])
        newest = self.schema(node.op, CANONICAL_OPSET)
        # A version may be withdrawn in favour of a later one that `_upgrade` knows how to reach.
        if schema is not None and not (newest or schema).deprecated:
            check_node(node, kinds, schema, where)
            return
        since = self.since(node.op)
        if since is None:
            return  # unknown to ONNX: reported together with all others
        found = "an operator that was withdrawn" if schema else f"an operator of opset {since}"
        raise ModelError(where, found=found, wanted=f"operators of opset {opsets['']}",
                         fix="export the model with another opset")  # fmt: skip


def _capturing(graph: Graph, formal: tuple[str, ...], captured: tuple[str, ...]) -> Graph:
    """Return a body whose inputs are the formal ones and then all captures of its node."""
    defined = {t for node in graph.nodes for t in node.outputs} | set(graph.constants) | set(formal)
    clash = defined & set(captured)
    if clash:
        raise ModelError(f"body {graph.name!r}", wanted="names unlike those around it",
                         found=f"tensor {min(clash)!r}, a name of the surrounding graph, too",
                         fix="rename it")  # fmt: skip
    return replace(graph, inputs=(*formal, *captured))


def _plain(attribute: Any) -> bool:
    return bool(1 <= attribute.type <= 9 and attribute.type != GRAPH)


def _domain(domain: str) -> str:
    return "" if domain == "ai.onnx" else domain


def _all_names(graph: Any, where: str) -> Iterator[str]:
    """Yield the names of all tensors and nodes of a graph and of the bodies in it.

    Raises
    ------
    ModelError : a name that is no UTF-8; protobuf hands these out as bytes
    """
    for info in (*graph.input, *graph.output, *graph.value_info):
        dims = info.type.tensor_type.shape.dim
        yield from _text(where, info.name, *(dim.dim_param for dim in dims))[:1]
    yield from _text(where, *(tensor.name for tensor in graph.initializer))
    yield from _text(where, *(sparse.values.name for sparse in graph.sparse_initializer))
    _text(where, graph.name)
    yield from _node_names(graph.node, where)


def _node_names(nodes: Iterable[Any], where: str) -> Iterator[str]:
    for node in nodes:
        _text(where, node.op_type, node.domain, node.overload)
        yield from _text(where, node.name, *node.input, *node.output)
        for attribute in node.attribute:
            _text(where, attribute.name, attribute.ref_attr_name)
            if attribute.type == GRAPH:
                yield from _all_names(attribute.g, where)


def _nodes_within(nodes: Iterable[Any]) -> Iterator[Any]:
    """Yield nodes and those of the bodies in them."""
    for node in nodes:
        yield node
        for attribute in node.attribute:
            if attribute.type == GRAPH:
                yield from _nodes_within(attribute.g.node)


def _function_names(function: Any, where: str) -> Iterator[str]:
    yield from _text(where, function.name, function.domain, function.overload)
    yield from _text(where, *function.input, *function.output, *function.attribute)
    yield from _text(where, *(attribute.name for attribute in function.attribute_proto))
    yield from _text(where, *(entry.domain for entry in function.opset_import))
    yield from _node_names(function.node, where)


def _text(where: str, *names: Any) -> tuple[str, ...]:
    for name in names:
        if not isinstance(name, str):
            raise ModelError(where, found=f"the name {name!r}, no UTF-8", wanted="names in UTF-8",
                             fix="check that the file was copied whole")  # fmt: skip
    return names
