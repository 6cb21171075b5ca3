"""A network as one file of plain C: a function an operator, constants, one entry.

Models:  float32 networks of fixed shapes; what a generator of C for small machines writes, loops
         in the order of the operators' definitions, nothing tiled or vectorised by hand.
Ignores: other element types, control flow, shapes that only running can tell: refused.
Judge:   compiled and run beside ONNX Runtime (tests/runtime/binaries).
"""

from __future__ import annotations

import math
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from orrery.errors import ModelError, UnsupportedOperatorsError
from orrery.graph import Graph, Node

from . import _c_matrix, _c_pointwise, _c_reduce, _c_window
from ._c_text import EMITTERS, Operand, Step, Writer, number
from ._style import CStyle

_FILLED = (_c_matrix, _c_pointwise, _c_reduce, _c_window)  # importing them fills the table

#: Operators that only give a tensor another shape: nothing is written for them.
_VIEWS = {"Reshape", "Flatten", "Squeeze", "Unsqueeze", "Identity", "Dropout"}


@dataclass(frozen=True, slots=True, kw_only=True)
class CSource:
    """A network written as C.

    Attributes
    ----------
    text : of the file
    entry : ``void entry(const float *in0, …, float *out0, …)``; with weights that are given,
        their pointer comes first
    inputs, outputs : names of the network's tensors and their shapes, in the entry's order
    weights : name in C -> values, in the order in which they lie
    blob : all of them one after the other, 64-byte aligned, as ``blob`` and ``given`` want them
    offsets : where each lies in the blob, in bytes
    """

    text: str
    entry: str
    inputs: tuple[tuple[str, tuple[int, ...]], ...]
    outputs: tuple[tuple[str, tuple[int, ...]], ...]
    weights: tuple[tuple[str, NDArray[np.float32]], ...]
    blob: bytes
    offsets: tuple[int, ...]


def c_source(graph: Graph, style: CStyle | None = None, *, entry: str = "infer") -> CSource:
    """Write a network as C.

    Raises
    ------
    UnsupportedOperatorsError : operators that the generator does not write
    ModelError : a tensor that is not float32, an unbound shape, or a form that is not written
    """
    return _Network(graph, style or CStyle(), entry).write()


class _Network:
    """Where every tensor lies, and the functions written so far."""

    def __init__(self, graph: Graph, style: CStyle, entry: str) -> None:
        self.graph, self.style, self.entry = graph, style, entry
        unknown: dict[str, Sequence[str]] = {}
        for node in graph.nodes:
            if node.domain or (node.op not in EMITTERS and node.op not in _VIEWS):
                unknown[node.operator] = (*unknown.get(node.operator, ()), node.name)
        if unknown:
            raise UnsupportedOperatorsError(
                graph.name, unknown, what="operators that are not written as C",
                fix="build it with another compiler",
            )  # fmt: skip
        self.root = {name: name for name in (*graph.inputs, *graph.constants)}
        self.steps: list[Node] = []
        for node in graph.nodes:
            if node.op in _VIEWS:
                self.root[node.outputs[0]] = self.root[node.inputs[0]]
            else:
                self.steps.append(node)
                for name in node.outputs:
                    self.root[name] = name
        self.places = self._place()

    def shape(self, name: str) -> tuple[int, ...]:
        type_ = self.graph.type(name)
        if type_.dtype != "float32":
            raise ModelError(f"{self.graph.name}: tensor {name!r} as C", found=type_.dtype,
                             wanted="float32", fix="build it with another compiler")  # fmt: skip
        return type_.sizes

    def _place(self) -> dict[str, str]:
        """Return the C expression of every tensor that is written."""
        places = {name: f"in{i}" for i, name in enumerate(self.graph.inputs)}
        made = {name for node in self.steps for name in node.outputs}
        for i, name in enumerate(self.graph.outputs):
            if self.root[name] in made and self.root[name] not in places:
                places[self.root[name]] = f"out{i}"
        if self.style.memory == "arena":
            self.arena = self._arena([r for n in self.steps for r in n.outputs if r not in places])
            places |= {name: f"arena + {begin}" for name, begin in self.arena.items()}
        else:
            for i, node in enumerate(self.steps):
                places |= {n: f"t{i}" for n in node.outputs if n and n not in places}
        return places

    def _arena(self, names: list[str]) -> dict[str, int]:
        """Lay tensors out, the first place that is free while each lives, in floats."""
        born, dies = {}, dict.fromkeys(names, -1)
        for time, node in enumerate(self.steps):
            born.update(dict.fromkeys(node.outputs, time))
            for name in node.inputs:
                if name and self.root[name] in dies:
                    dies[self.root[name]] = time
        laid: dict[str, int] = {}
        for name in names:
            size, begin = self._floats(name), 0
            rivals = sorted(
                (laid[other], laid[other] + self._floats(other))
                for other in laid
                if dies[other] >= born[name]
            )
            for low, high in rivals:
                if begin + size <= low:
                    break
                begin = max(begin, high)
            laid[name] = begin
        return laid

    def _floats(self, name: str) -> int:
        return -(-math.prod(self.shape(name)) // 16) * 16

    def write(self) -> CSource:
        weights: dict[str, tuple[str, NDArray[np.float32]]] = {}
        functions, calls = Writer(), []
        for index, node in enumerate(self.steps):
            label = re.sub(r"\W", "_", f"op{index}_{node.op.lower()}")
            calls.append(self._function(functions, index, label, node, weights))
        copies = list(self._copies(functions))
        offsets, blob = _laid_out([values for _, values in weights.values()])
        head = Writer()
        head.line("#include <math.h>")
        head.line()
        self._weights(head, list(weights.values()), offsets)
        self._buffers(head)
        tail = Writer()
        parameters = [f"const float *in{i}" for i in range(len(self.graph.inputs))]
        parameters += [f"float *out{i}" for i in range(len(self.graph.outputs))]
        if self.style.weights == "given":
            parameters.insert(0, "const float *weights")
        with tail.block(f"void {self.entry}({', '.join(parameters)})"):
            for call in (*calls, *copies):
                tail.line(call)
        return CSource(
            text="\n".join((*head.lines, *functions.lines, *tail.lines)) + "\n", entry=self.entry,
            inputs=tuple((name, self.shape(name)) for name in self.graph.inputs),
            outputs=tuple((name, self.shape(name)) for name in self.graph.outputs),
            weights=tuple(weights.values()), blob=blob, offsets=offsets,
        )  # fmt: skip

    def _function(
        self, w: Writer, index: int, label: str, node: Node,
        weights: dict[str, tuple[str, NDArray[np.float32]]],
    ) -> str:  # fmt: skip
        operands = [self._operand(i, name) for i, name in enumerate(node.inputs)]
        output = node.outputs[0]
        step = Step(
            node=node, inputs=tuple(operands), output=Operand(name="y", shape=self.shape(output)),
        )  # fmt: skip
        static = "static " if self.style.functions == "static" else ""
        body = Writer(depth=1)
        EMITTERS[node.op](body, step, self.style)
        used = "\n".join(body.lines)
        parameters, arguments = [], []
        for operand, name in zip(operands, node.inputs, strict=True):
            # What went into the text as a number (bounds, say) is no parameter.
            if operand is not None and re.search(rf"\b{operand.name}\b", used):
                parameters.append(f"const float *{operand.name}")
                arguments.append(self._argument(self.root[name], weights))
        w.line(f"{static}void {label}({', '.join([*parameters, 'float *y'])}) {{")
        w.lines.extend(body.lines)
        w.line("}")
        w.line()
        return f"{label}({', '.join([*arguments, self.places[output]])});"

    def _operand(self, index: int, name: str) -> Operand | None:
        if not name:
            return None
        constant = self.graph.constants.get(self.root[name])
        if constant is None:
            return Operand(name=f"x{index}", shape=self.shape(name))
        value = constant.array()
        shape = self.shape(name) if value.dtype == np.float32 else value.shape
        return Operand(name=f"x{index}", shape=shape, value=value.reshape(shape))

    def _argument(self, root: str, weights: dict[str, tuple[str, NDArray[np.float32]]]) -> str:
        """Return the C expression of a tensor for whoever calls its reader."""
        constant = self.graph.constants.get(root)
        if constant is None:
            return self.places[root]
        if root not in weights:
            flat = np.ascontiguousarray(constant.array(), np.float32).reshape(-1)
            weights[root] = (f"w{len(weights)}", flat)
        if self.style.weights != "given":
            return weights[root][0]
        before = [values for _, values in weights.values()]
        offsets, _ = _laid_out(before[: list(weights).index(root) + 1], blob=False)
        return f"weights + {offsets[-1] // 4}"

    def _copies(self, w: Writer) -> Iterator[str]:
        """Write what an output that is a view of an input, or of another output, needs."""
        for i, name in enumerate(self.graph.outputs):
            place = self.places.get(self.root[name])
            if place == f"out{i}":
                continue
            if place is None:
                raise ModelError(f"{self.graph.name}: output {name!r} as C", found="a constant",
                                 wanted="something computed", fix="remove the output")  # fmt: skip
            size = math.prod(self.shape(name))
            w.line(f"void copy{i}(const float *x, float *y) {{")
            w.line(f"    for (int i = 0; i < {size}; i++) y[i] = x[i];")
            w.line("}")
            w.line()
            yield f"copy{i}({place}, out{i});"

    def _weights(
        self, w: Writer, weights: list[tuple[str, NDArray[np.float32]]], offsets: tuple[int, ...]
    ) -> None:
        if self.style.weights == "given":
            return
        if self.style.weights == "blob":
            # Bytes come from a file beside the source; the assembler finds it by its name.
            w.line('__asm__(".section .rodata\\n.balign 64\\nweights_of_network:\\n"')
            w.line('        ".incbin \\"weights.bin\\"\\n.previous\\n");')
            w.line("extern const float weights_of_network[]"
                   ' __attribute__((visibility("hidden")));')  # fmt: skip
            for (name, _), offset in zip(weights, offsets, strict=True):
                w.line(f"#define {name} (weights_of_network + {offset // 4})")
            w.line()
            return
        for name, values in weights:
            w.line(f"static const float {name}[{values.size}] = {{")
            texts = [number(float(value)) for value in values]
            for begin in range(0, len(texts), 6):
                w.line(f"    {', '.join(texts[begin : begin + 6])},")
            w.line("};")
        w.line()

    def _buffers(self, w: Writer) -> None:
        if self.style.memory == "arena":
            ends = [begin + self._floats(name) for name, begin in self.arena.items()]
            if ends:
                w.line(f"static float arena[{max(ends)}] __attribute__((aligned(64)));")
        else:
            for name, place in self.places.items():
                if place.startswith("t"):
                    w.line(f"static float {place}[{math.prod(self.shape(name))}];")
        w.line()


def _laid_out(
    values: list[NDArray[np.float32]], *, blob: bool = True
) -> tuple[tuple[int, ...], bytes]:
    """Return where arrays begin when each starts on 64 bytes, and all of them."""
    offsets, parts, end = [], [], 0
    for value in values:
        offsets.append(end)
        size = -(-value.nbytes // 64) * 64
        if blob:
            parts.append(value.tobytes().ljust(size, b"\0"))
        end += size
    return tuple(offsets), b"".join(parts)
