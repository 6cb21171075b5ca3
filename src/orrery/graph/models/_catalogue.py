"""The names of the model library: what each network is, and how to build it.

Listing builds nothing and imports no builder. Parameter and MAC counts are of the full-size
network as `build_model(name)` makes it (batch 1, default options); a test recomputes each.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import Any

from orrery.errors import SpecError, UnknownNameError, did_you_mean
from orrery.registry import Registry

from .._graph import Graph
from .._types import BITS
from ._table import ROWS, SMALL

#: No axis of a tensor is longer.
_LARGEST_SIZE = 2**31 - 1

#: Inputs that are no parameters though they are floating-point constants: moving statistics,
#: rotation tables, sizes.
_NOT_PARAMETERS = {
    "BatchNormalization": (3, 4), "RotaryEmbedding": (1, 2), "Resize": (1, 2), "Clip": (1, 2),
    "Pad": (2,),
}  # fmt: skip


@dataclass(frozen=True, slots=True, kw_only=True)
class Model:
    """One network of the library.

    Attributes
    ----------
    name : e.g. ``resnet18``
    family : builders' name, e.g. ``resnet``
    task : what the network is for
    parameters : learned numbers, shared ones once; moving statistics do not count
    macs : multiply-accumulates of one pass at batch 1 with the default options
    source : where the architecture is described
    builder : ``module:function`` inside this package
    arguments : what the builder is given for this name
    small : options of a version of the same form that runs in well under a second
    """

    name: str
    family: str
    task: str
    parameters: int
    macs: int
    source: str
    builder: str
    arguments: Mapping[str, Any] = field(default_factory=dict)
    small: Mapping[str, Any] = field(default_factory=dict)

    @property
    def options(self) -> dict[str, Any]:
        """What `build_model` takes for this network, with the defaults."""
        signature = inspect.signature(self.load())
        return {
            p.name: self.arguments.get(p.name, p.default)
            for p in signature.parameters.values()
            if p.kind is p.KEYWORD_ONLY and p.default is not p.empty
        }

    def load(self) -> Callable[..., Graph]:
        """Import and return the builder."""
        place = {self.name: f"{__package__}.{self.builder}"}
        found: Callable[..., Graph] = Registry("model builder", place)[self.name]
        return found


class ModelCatalogue(Mapping[str, Model]):
    """A read-only map from a network's name to what is known of it."""

    def __init__(self, models: Mapping[str, Model]) -> None:
        self._models = MappingProxyType(dict(models))

    def __getitem__(self, name: str) -> Model:
        try:
            return self._models[name]
        except KeyError:
            raise UnknownNameError("model", name, self._models) from None

    def __contains__(self, name: object) -> bool:
        return name in self._models

    def __iter__(self) -> Iterator[str]:
        return iter(self._models)

    def __len__(self) -> int:
        return len(self._models)

    def names(self) -> tuple[str, ...]:
        """Return all names, families together."""
        return tuple(self._models)


def build_model(name: str, **options: Any) -> Graph:
    """Build a network of the library, all types inferred, no weight drawn yet.

    Parameters
    ----------
    name : a key of `MODELS`
    options : see ``MODELS[name].options``; every network takes ``batch`` (a number, or a name
        to leave it symbolic) and ``dtype``

    Raises
    ------
    UnknownNameError : no such network; offers the nearest
    SpecError : no such option, or a value that does not fit it

    Examples
    --------
    >>> build_model("resnet18", batch=4).type("logits").shape
    (4, 1000)
    """
    model = MODELS[name]
    known = model.options
    for option, value in options.items():
        if option not in known:
            raise SpecError(
                f"model {name}: option {option!r}", found="no such option",
                wanted=f"one of {', '.join(known)}",
                fix=f"correct the name{did_you_mean(option, known)}",
            )  # fmt: skip
        _check(f"model {name}: {option}", option, value, known[option])
    graph: Graph = model.load()(name, **{**model.arguments, **options})
    return graph


def _check(where: str, option: str, value: Any, default: Any) -> None:
    number = isinstance(value, (int, float)) and not isinstance(value, bool)
    whole = isinstance(value, int) and number
    if option == "dtype":
        floats = [name for name in BITS if name in ("float16", "bfloat16", "float32", "float64")]
        fits, wanted = value in floats, f"one of {', '.join(floats)}"
    elif option in ("batch", "context"):
        fits = (whole and 0 < value <= _LARGEST_SIZE) or (
            isinstance(value, str) and value.isidentifier()
        )
        wanted = f"a whole number, 1 to {_LARGEST_SIZE}, or a name"
    elif isinstance(default, bool):
        fits, wanted = isinstance(value, bool), "true or false"
    elif isinstance(default, int):
        fits, wanted = whole and 0 < value <= _LARGEST_SIZE, f"a whole number, 1 to {_LARGEST_SIZE}"
    elif isinstance(default, float):
        fits, wanted = number and 0 < value < float("inf"), "a number above 0"
    elif isinstance(default, tuple):
        fits = isinstance(value, tuple) and all(
            isinstance(v, type(default[0])) and not (isinstance(v, int) and v > _LARGEST_SIZE)
            for v in value
        )
        wanted = f"a tuple of {type(default[0]).__name__}s"
    else:
        fits, wanted = isinstance(value, str), "text"
    if not fits:
        raise SpecError(where, found=repr(value), wanted=wanted, fix="correct the value")


def count_parameters(graph: Graph) -> int:
    """Return how many learned numbers a network has; a shared tensor counts once.

    Counts floating-point constants of rank 1 or more, leaving out batch normalisation's moving
    statistics, rotation tables, scalars and sizes.
    """
    left_out: set[str] = set()
    for node in graph.nodes:
        for index in _NOT_PARAMETERS.get(node.operator, ()):
            left_out.update(node.inputs[index : index + 1])
    return sum(
        constant.type.elements
        for name, constant in graph.constants.items()
        if name not in left_out and constant.type.rank and "float" in constant.type.dtype
    )


def count_macs(graph: Graph) -> int:
    """Return the multiply-accumulates of one pass; all dimensions must be bound."""
    return sum(graph.operations(node).macs for node in graph.nodes)


def _models() -> Iterator[Model]:
    for family, builder, task, source, members in ROWS:
        for name, parameters, macs, arguments in members:
            yield Model(
                name=name, family=family, task=task, parameters=parameters, macs=macs,
                source=source, builder=builder, arguments=MappingProxyType(dict(arguments)),
                small=MappingProxyType(dict(SMALL[family])),
            )  # fmt: skip


#: Every network of the library by name.
MODELS = ModelCatalogue({model.name: model for model in _models()})
