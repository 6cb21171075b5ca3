"""What an operator is: shape rule, operation count, NumPy reference, derivative.

An operator module registers its operators like this::

    @operator("Relu", infer=same_type, count=per_output(1))
    def relu(x):
        return np.maximum(x, 0)

The NumPy reference takes the node's inputs by position (None for an absent optional one) and its
attributes as keyword arguments whose defaults are ONNX's. It returns one array or a tuple. When
it has a keyword ``output_count`` it is told how many outputs the node names.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from orrery.errors import ModelError, OrreryError

from ._graph import Node
from ._types import Dimension, TensorType

if TYPE_CHECKING:
    from ._derive import DerivativeContext

#: All nodes have the semantics of this version of ONNX's default domain.
CANONICAL_OPSET = 28

#: Each call gives another result.
RANDOM_OPERATORS = frozenset(["Bernoulli", "Multinomial", "RandomNormal", "RandomNormalLike",
                              "RandomUniform", "RandomUniformLike"])  # fmt: skip

#: Domain of operators that ONNX lacks and training graphs need (convolution gradients, …).
TRAINING_DOMAIN = "orrery.training"

Array = NDArray[Any]

#: As many as NumPy's tensors have.
_MOST_DIMENSIONS = 64


@dataclass(frozen=True, slots=True, kw_only=True)
class Operations:
    """What a node computes: multiply-accumulates, and all other scalar operations apart.

    A MAC is one multiply and one add. Comparisons, exponentials and so on count one each as
    *others*; moving data counts nothing.
    """

    macs: int = 0
    others: int = 0

    def __add__(self, more: Operations) -> Operations:
        return Operations(macs=self.macs + more.macs, others=self.others + more.others)

    def __mul__(self, times: int) -> Operations:
        return Operations(macs=self.macs * times, others=self.others * times)

    @property
    def total(self) -> int:
        """Scalar operations, a MAC being two."""
        return 2 * self.macs + self.others


@dataclass(frozen=True, slots=True, kw_only=True)
class TypeContext:
    """What a shape rule or a count sees of a node.

    Attributes
    ----------
    inputs : type per input, None where an optional input is absent
    values : value per input where it is known before running (constants, folded shapes), else None
    outputs : type per output; empty while types are being inferred
    sizes : per input, elements of a small integer tensor that are known at least by name
    """

    node: Node
    inputs: tuple[TensorType | None, ...]
    values: tuple[Array | None, ...]
    outputs: tuple[TensorType | None, ...] = ()
    sizes: tuple[tuple[Dimension, ...] | None, ...] = ()
    graph_name: str = ""

    def attribute(self, name: str, default: Any = None) -> Any:
        return self.node.attributes.get(name, default)

    def input(self, index: int) -> TensorType:
        """Return the type of a required input."""
        found = self.inputs[index] if index < len(self.inputs) else None
        if found is None:
            raise self.error(f"no input {index}", f"input {index} of {self.node.op}")
        return found

    def has(self, index: int) -> bool:
        return index < len(self.inputs) and self.inputs[index] is not None

    def value(self, index: int) -> Array | None:
        """Return the value of an input if it is known before running."""
        return self.values[index] if index < len(self.values) else None

    def output(self, index: int = 0) -> TensorType:
        """Return the type of an output (for counts)."""
        found = self.outputs[index]
        if found is None:
            raise self.error(f"no type for output {index}", "a known type")
        return found

    def fresh(self, label: str) -> str:
        """Return a name for a dimension that only running can tell (e.g. how many are non-zero)."""
        return f"{self.node.name}.{label}"

    def fresh_shape(self, rank: int, label: str = "d") -> tuple[str, ...]:
        """Return that many names for such dimensions; a damaged model may ask for billions."""
        if rank > _MOST_DIMENSIONS:
            raise self.error(f"a tensor of {rank} dimensions", f"at most {_MOST_DIMENSIONS}")
        return tuple(self.fresh(f"{label}{axis}") for axis in range(rank))

    def error(self, found: str, wanted: str, fix: str = "correct the model") -> ModelError:
        return ModelError(
            f"{self.graph_name}: node {self.node.name!r} ({self.node.operator})",
            found=found,
            wanted=wanted,
            fix=fix,
        )


Evaluate = Callable[..., Any]
Infer = Callable[[TypeContext], Sequence[TensorType | None]]
Count = Callable[[TypeContext], Operations]


@dataclass(frozen=True, slots=True, kw_only=True)
class Operator:
    """Everything the program knows of an operator."""

    name: str
    domain: str
    infer: Infer
    count: Count
    evaluate: Evaluate
    derivative: Callable[[DerivativeContext], Sequence[str | None]] | None = None
    attributes: Mapping[str, Any] = field(default_factory=dict)
    wants_output_count: bool = False

    def run(self, node: Node, inputs: Sequence[Array | None]) -> tuple[Array | None, ...]:
        """Evaluate a node with the NumPy reference; returns as many outputs as the node names."""
        keywords = dict(node.attributes)
        unknown = [k for k in keywords if k not in self.attributes]
        if unknown:
            raise ModelError(
                f"node {node.name!r} ({node.operator})",
                found=f"attribute {unknown[0]!r}",
                wanted=f"one of {', '.join(self.attributes) or '(none)'}",
                fix="remove it",
            )
        if self.wants_output_count:
            keywords["output_count"] = len(node.outputs)
        try:
            result = self.evaluate(*inputs, **keywords)
        except (IndexError, ValueError) as problem:  # NumPy refuses what the data asks for
            if isinstance(problem, OrreryError):
                raise
            arrays = [x for x in inputs if isinstance(x, np.ndarray)]
            shapes = ", ".join(f"{x.dtype}{list(x.shape)}" for x in arrays)
            raise ModelError(
                f"node {node.name!r} ({node.operator})", found=f"{problem} (inputs {shapes})",
                wanted="inputs that fit the operator", fix="correct the model or its inputs",
            ) from problem  # fmt: skip
        results = result if isinstance(result, tuple) else (result,)
        return tuple(None if r is None else np.asarray(r) for r in results[: len(node.outputs)])


OPERATORS: dict[tuple[str, str], Operator] = {}


def operator(
    name: str, *, infer: Infer, count: Count, domain: str = ""
) -> Callable[[Evaluate], Evaluate]:
    """Register a NumPy reference under an operator name; twice is an error."""

    def register(evaluate: Evaluate) -> Evaluate:
        if (domain, name) in OPERATORS:
            raise ValueError(f"operator {domain}.{name} is registered twice")
        parameters = inspect.signature(evaluate).parameters.values()
        keywords = {p.name: p.default for p in parameters if p.kind is p.KEYWORD_ONLY}
        wants = "output_count" in keywords
        keywords.pop("output_count", None)
        OPERATORS[domain, name] = Operator(
            name=name,
            domain=domain,
            infer=infer,
            count=count,
            evaluate=evaluate,
            attributes=keywords,
            wants_output_count=wants,
        )
        return evaluate

    return register


def operator_names() -> frozenset[str]:
    """Return the names of all known operators, those outside ONNX with their domain."""
    from . import derivatives  # noqa: F401  # registers all of them, operators first

    return frozenset(f"{domain}.{name}" if domain else name for domain, name in OPERATORS)


def find_operator(node: Node) -> Operator | None:
    """Return the operator of a node, or None when it is unknown."""
    from . import derivatives  # noqa: F401  # registers all of them, operators first

    return OPERATORS.get((node.domain, node.op))
