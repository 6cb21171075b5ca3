"""The published suite of layers, and what of it an array can take at all."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from functools import cache
from pathlib import Path

from orrery.cost import Refusal
from orrery.cost.nest import NestProblem, nest_problem
from orrery.errors import SpecError
from orrery.graph import ArrayConstant, Graph, Node, Region, TensorType
from orrery.hardware import Architecture
from orrery.settings import read_settings

#: precision -> bits of an integer; None: floating point
WIDTHS: dict[str, int | None] = {"int4": 4, "int8": 8, "int16": 16, "float16": None}


@dataclass(frozen=True, slots=True, kw_only=True)
class PublishedLayer:
    """A layer of a published network.

    Attributes
    ----------
    group : the kind of layer it stands for
    core : whether it stands for its kind where time is short
    inputs : shapes of its operands
    image : of a gradient of an image, the image's shape
    library : ``network/layer`` of the model library that has the same sizes
    source : who published it
    """

    name: str
    group: str
    operator: str
    inputs: tuple[tuple[int, ...], ...]
    source: str
    attributes: dict[str, int | str | tuple[int, ...]] = field(default_factory=dict)
    domain: str = ""
    image: tuple[int, ...] = ()
    library: str = ""
    core: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class PublishedOverhead:
    """What support hardware takes of a published chip: `share` per cent of `of`."""

    array: str
    what: str
    share: float
    of: str
    source: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Suite:
    """Layers, each at every precision, and what flexibility takes of published chips."""

    name: str
    precisions: tuple[str, ...]
    layers: tuple[PublishedLayer, ...]
    overheads: tuple[PublishedOverhead, ...] = ()

    def __post_init__(self) -> None:
        names = [layer.name for layer in self.layers]
        twice = next((name for name in names if names.count(name) > 1), None)
        if twice is not None or not names:
            raise SpecError("suite: layers", found=f"{twice!r} twice" if twice else "none",
                            wanted="layers of different names", fix="correct the file")  # fmt: skip
        for name in self.precisions:
            if name not in WIDTHS:
                raise SpecError("suite: precisions", found=name,
                                wanted=f"of {', '.join(WIDTHS)}", fix="correct it")  # fmt: skip

    @property
    def core(self) -> Suite:
        """The layers that stand for their kinds, alone."""
        return replace(self, name=f"{self.name}, one of each kind",
                       layers=tuple(layer for layer in self.layers if layer.core))  # fmt: skip


@cache
def published_suite() -> Suite:
    """Return the suite that ships with the program."""
    return read_settings(Path(__file__).with_name("suite.yaml"), Suite)


def layer_region(layer: PublishedLayer) -> Region:
    """Return a layer as a network of one node."""
    import numpy as np

    types = {f"x{i}": TensorType(dtype="float32", shape=shape)
             for i, shape in enumerate(layer.inputs)}  # fmt: skip
    inputs, constants = tuple(types), {}
    if layer.image:
        constants["image"] = ArrayConstant(np.array(layer.image, np.int64))
        types["image"] = constants["image"].type
    node = Node(name=layer.name, op=layer.operator, domain=layer.domain, outputs=("y",),
                inputs=(*inputs, *constants), attributes=layer.attributes)  # fmt: skip
    graph = Graph(name=layer.name, nodes=(node,), inputs=inputs, outputs=("y",), types=types,
                  constants=constants).infer()  # fmt: skip
    return graph.regions()[0]


def products_of(layer: PublishedLayer) -> tuple[NestProblem, ...] | str:
    """Return the loop nests of a layer's multiplications, or why an array runs none of it.

    What a layer does besides, such as a softmax between two products, is left to the host.
    """
    found = nest_problem(layer_region(layer))
    if isinstance(found, Refusal):
        return found.reason
    return tuple(nest for nest in found if nest.macs) or (
        "no multiplications: an array of multipliers leaves them to its host"
    )


def too_wide(precision: str, architecture: Architecture) -> str:
    """Return why the multipliers cannot take a precision; empty where they can."""
    width = WIDTHS[precision]
    narrow = min(architecture.bits["input"], architecture.bits["weight"])
    if width is None:
        return f"floating point; the multipliers take integers of {narrow} bits"
    return f"wider than multipliers of {narrow} bits" if width > narrow else ""
