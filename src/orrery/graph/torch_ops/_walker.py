"""Walks a program that PyTorch exported and has every operator translated.

It looks at PyTorch's nodes and types by their names and attributes alone; `_from_torch` made them.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from orrery.errors import ModelError, UnsupportedOperatorsError

from .._graph import Graph, Node
from .._types import BITS, TensorType
from ._sizes import size_arithmetic
from ._translation import TRANSLATORS, Refusal, Translation, Value, clean_name

#: Checks of a program on itself; they compute nothing.
_CHECKS = re.compile(r"aten\.(_assert\w*|sym_constrain_range\w*|_functional_assert\w*)\.\w+")

#: Comparisons of sizes; only a program's checks on itself read them.
_COMPARISONS = {"ge", "le", "gt", "lt", "eq", "ne", "and_", "or_", "sym_not"}

#: Arguments that say where and how a tensor lies in memory.
_LAYOUT = {"device", "layout", "pin_memory", "memory_format", "non_blocking", "requires_grad"}

#: Python and torch functions on sizes.
_SIZE_FUNCTIONS = {
    "add", "sub", "mul", "floordiv", "mod", "neg", "pow", "sym_max", "sym_min", "sym_sum",
}  # fmt: skip


@dataclass(slots=True, kw_only=True)
class Walker:
    """Walks a program's nodes in order and has each translated.

    Attributes
    ----------
    symbols : PyTorch's symbols of open sizes -> the user's names
    array : gives a tensor's values as an array, sharing its storage
    learned : names of the module's parameters that ask for a gradient
    """

    title: str
    program: Any
    module: Any
    symbols: Mapping[str, str]
    array: Callable[[Any, str], NDArray[Any]]
    learned: frozenset[str] = frozenset()
    t: Translation = field(init=False)
    unsupported: dict[str, list[str]] = field(default_factory=dict)
    last_of_call: dict[str, str] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self.t = Translation(name=self.title)

    def graph(self, metadata: Mapping[str, str]) -> Graph:
        program, signature = self.program, self.program.graph_signature
        changed = {s.target for s in signature.output_specs if "MUTATION" in s.kind.name}
        environment: dict[Any, Any] = {}
        inputs: list[str] = []
        by_storage: dict[Any, Value] = {}
        holders = [n for n in program.graph.nodes if n.op == "placeholder"]
        for node, spec in zip(holders, signature.input_specs, strict=True):
            environment[node] = self._placeholder(node, spec, changed, inputs, by_storage)
        results = self._run(program.graph_module, environment)
        if self.unsupported:
            raise UnsupportedOperatorsError(
                self.title, dict(self.unsupported), what="untranslatable ATen operators",
                fix="replace them in forward() by operators of ordinary layers, or write the"
                " network as ONNX",
            )  # fmt: skip
        outputs, states = self._outputs(results, environment, holders, inputs)
        return self.t.finish(inputs, outputs, states, metadata)

    def _placeholder(
        self, node: Any, spec: Any, changed: set[str], inputs: list[str],
        by_storage: dict[Any, Value],
    ) -> Any:  # fmt: skip
        kind, value = spec.kind.name, node.meta.get("val")
        if kind == "TOKEN":  # keeps checks in order; computes nothing
            return None
        if kind == "USER_INPUT":
            if not hasattr(value, "dtype"):
                return getattr(spec.arg, "value", value)
            made = self.t.input(clean_name(node.name), self._type(value))
            inputs.append(made.name)
            return made
        if kind not in ("PARAMETER", "BUFFER", "CONSTANT_TENSOR"):
            raise ModelError(
                f"{self.title}: {spec.target}", found=kind.lower().replace("_", " "),
                wanted="tensors as inputs", fix="keep objects of other kinds out of forward()",
            )  # fmt: skip
        if spec.target in changed:
            made = self.t.input(clean_name(spec.target), self._type(value))
            inputs.append(made.name)
            return made
        tensor = self.program.state_dict.get(spec.target)
        if tensor is None:
            tensor = self.program.constants[spec.target]
        learned = kind == "PARAMETER" and spec.target in self.learned
        layout = (str(tensor.dtype), tuple(tensor.shape), tensor.stride())
        key = (tensor.data_ptr(), learned, *layout)
        if tensor.numel() and key in by_storage:
            return by_storage[key]
        array = self.array(tensor, f"{self.title}: {spec.target}")
        by_storage[key] = self.t.add_constant(clean_name(spec.target), array)
        if learned:
            self.t.learned.add(by_storage[key].name)
        return by_storage[key]

    def _run(self, graph_module: Any, environment: dict[Any, Any]) -> Any:
        """Translate the nodes of a (sub)program; returns what its output node names."""
        for node in graph_module.graph.nodes:
            layer = _layer(node, self.module)
            if layer and node.op == "call_function" and not _is_getitem(node):
                self.last_of_call[_call_key(node)] = node.name
        for node in graph_module.graph.nodes:
            if node.op == "output":
                return _map(node.args[0], environment)
            if node.op == "get_attr":
                found = graph_module
                for part in node.target.split("."):
                    found = getattr(found, part)
                environment[node] = found
                if hasattr(found, "numel"):
                    array = self.array(found, f"{self.title}: {node.target}")
                    environment[node] = self.t.add_constant(clean_name(node.target), array)
            elif node.op == "call_function":
                environment[node] = self._call(node, environment)
        return None

    def _call(self, node: Any, environment: dict[Any, Any]) -> Any:
        target = str(node.target)
        function = getattr(node.target, "__name__", target)
        if _CHECKS.fullmatch(target) or (function in _COMPARISONS and "aten" not in target):
            return None
        args = [_map(a, environment) for a in node.args]
        if _is_getitem(node):
            return args[0][args[1]]
        if target.startswith("wrap_with_"):
            return self._wrapped(args)
        meta = node.meta.get("val")
        if target not in TRANSLATORS:
            if function in _SIZE_FUNCTIONS and not target.startswith("aten."):
                operands = args[0] if function == "sym_sum" else args
                return size_arithmetic(
                    self.t, function, *operands, text=self._dimension(meta)
                )  # fmt: skip
            return self._refuse(target, node, meta)
        kwargs = {k: _map(v, environment) for k, v in node.kwargs.items() if k not in _LAYOUT}
        metas = list(meta) if isinstance(meta, list | tuple) else [meta]
        results = tuple(self._type(m) for m in metas if hasattr(m, "dtype"))
        wanted = frozenset(
            user.args[1] if _is_getitem(user) else 0
            for user in node.users
            if not _is_getitem(user) or user.users
        )
        try:
            return self.t.translate(
                self._base(node), results, wanted, TRANSLATORS[target], args, kwargs
            )
        except Refusal as refusal:
            return self._refuse(f"{target} with {refusal}", node, meta)
        except TypeError as error:  # an argument that the translator does not know
            if error.__traceback__ is None or _depth(error) > 2:
                raise
            return self._refuse(f"{target} ({error})", node, meta)

    def _wrapped(self, args: list[Any]) -> Any:
        """Inline a region that only sets a mode (gradients, mixed precision)."""
        place = next(i for i, a in enumerate(args) if hasattr(a, "graph"))
        inner = args[place]
        holders = [n for n in inner.graph.nodes if n.op == "placeholder"]
        return self._run(inner, dict(zip(holders, args[place + 1 :], strict=True)))

    def _refuse(self, what: str, node: Any, meta: Any) -> Any:
        """Note what cannot be translated and go on with a tensor of the right type."""
        self.unsupported.setdefault(what, []).append(self._base(node))
        many = isinstance(meta, list | tuple)
        made = [
            self.t.input("unsupported", self._type(m)) if hasattr(m, "dtype") else m
            for m in (meta if many else [meta])
        ]
        return made if many else made[0]

    def _base(self, node: Any) -> str:
        """Return a node's name: its layer's, with the operator where that has several."""
        layer = _layer(node, self.module)
        packet = getattr(node.target, "overloadpacket", None)
        label = str(packet).split(".")[-1].strip("_") if packet else clean_name(node.name)
        if layer and self.last_of_call.get(_call_key(node)) == node.name:
            return clean_name(layer)
        path = layer or _path(node)
        return clean_name(f"{path}.{label}" if path else label)

    def _outputs(
        self, results: Sequence[Any], environment: dict[Any, Any], holders: list[Any],
        inputs: list[str],
    ) -> tuple[list[str], dict[str, str]]:  # fmt: skip
        specs = self.program.graph_signature.output_specs
        names = iter(_output_names(self.program.call_spec.out_spec))
        by_target: dict[str, Value] = {}
        for node, spec in zip(holders, self.program.graph_signature.input_specs, strict=True):
            for key in (spec.target, node.name):
                if key and isinstance(environment[node], Value):
                    by_target[key] = environment[node]
        outputs: list[str] = []
        states: dict[str, str] = {}
        renamed: dict[str, str] = {}
        for result, spec in zip(results, specs, strict=True):
            if "MUTATION" in spec.kind.name:
                start = by_target[spec.target].name
                states[start] = self._output(result, f"{start}.next", outputs, inputs, renamed)
                continue
            if spec.kind.name == "TOKEN":
                continue
            wanted = next(names)
            if result is not None and not isinstance(result, str):
                self._output(result, wanted, outputs, inputs, renamed)
        return outputs, states

    def _output(
        self, result: Any, wanted: str, outputs: list[str], inputs: list[str],
        renamed: dict[str, str],
    ) -> str:  # fmt: skip
        """Give an output its name: rename the tensor, or pass it on where that is not possible."""
        t = self.t
        value = result if isinstance(result, Value) else t.add_constant(wanted, np.array(result))
        name, source = t.fresh(wanted), renamed.get(value.name, value.name)
        if source in t.constants or source in outputs or source in inputs:
            t.nodes.append(
                Node(name=name, op="Identity", inputs=(source,), outputs=(name,))
            )  # fmt: skip
            t.types[name] = t.types[source]
        else:
            t.rename(source, name)
            renamed[source] = name
        outputs.append(name)
        return name

    # -- types ------------------------------------------------------------------------------------

    def _type(self, tensor: Any) -> TensorType:
        dtype = element_type(tensor.dtype)
        if dtype not in BITS:
            raise ModelError(
                self.title, found=f"a tensor of {tensor.dtype}", wanted="an element type of ONNX",
                fix="convert it to float32 first",
            )  # fmt: skip
        return TensorType(dtype=dtype, shape=tuple(self._dimension(s) for s in tensor.shape))

    def _dimension(self, size: Any) -> Any:
        if isinstance(size, int):
            return size
        text = str(size.node.expr)
        if text.isdigit() or text in self.symbols:
            return int(text) if text.isdigit() else self.symbols[text]
        return re.sub(r"[A-Za-z_]\w*", lambda m: self.symbols.get(m[0], m[0]), text)


def element_type(dtype: Any) -> str:
    """Return our name of a PyTorch element type, e.g. ``float8e5m2`` for torch.float8_e5m2."""
    name = str(dtype).removeprefix("torch.")
    return name.replace("_", "") if name.startswith("float8") else name


def _depth(error: BaseException) -> int:
    """Return how many calls below ours an error was raised."""
    count, trace = 0, error.__traceback__
    while trace is not None:
        count, trace = count + 1, trace.tb_next
    return count - 1


def _is_getitem(node: Any) -> bool:
    return node.op == "call_function" and getattr(node.target, "__name__", "") == "getitem"


def _path(node: Any) -> str:
    stack = node.meta.get("nn_module_stack") or {}
    path = list(stack.values())[-1][0] if stack else ""
    return str(path).removeprefix("L['self']").strip(".")


def _call_key(node: Any) -> str:
    """Return a key that every call of a layer has for itself."""
    return str(list(node.meta["nn_module_stack"])[-1])


def _layer(node: Any, module: Any) -> str:
    """Return the path of the layer of PyTorch's own, without parts, that a node comes from."""
    path = _path(node)
    if not path:
        return ""
    try:
        part = module.get_submodule(path)
    except AttributeError:
        return ""
    ours = type(part).__module__.startswith("torch.nn.") and not list(part.children())
    return path if ours else ""


def _map(operand: Any, environment: dict[Any, Any]) -> Any:
    """Return an argument with nodes replaced by what they stand for, types by their names."""
    if isinstance(operand, list | tuple):
        return [_map(a, environment) for a in operand]
    if type(operand).__name__ == "Node":
        return environment[operand]
    if type(operand).__module__ == "torch":
        return element_type(operand) if type(operand).__name__ == "dtype" else None
    return operand


def _output_names(spec: Any) -> list[str]:
    """Return a name per output: keys of mappings, places in sequences."""
    names = [".".join(path) for path in _leaves(spec)]
    named = ["output" if not n else f"output_{n}" if n[0].isdigit() else n for n in names]
    return [clean_name(n) for n in named]


def _leaves(spec: Any) -> Iterator[tuple[str, ...]]:
    if spec.is_leaf():
        yield ()
        return
    children, context = spec.children(), spec.context
    keys: Any = range(len(children))
    for names in (context, context[0] if isinstance(context, list | tuple) and context else None):
        if (
            isinstance(names, list | tuple)
            and len(names) == len(children)
            and all(isinstance(name, str) for name in names)
        ):
            keys = names
            break
    for key, child in zip(keys, children, strict=True):
        for rest in _leaves(child):
            yield (str(key), *rest)
