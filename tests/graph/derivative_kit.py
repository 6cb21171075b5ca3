"""Gradients of one node by our graph, for comparison with PyTorch or central differences."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from orrery.graph import ArrayConstant, Graph, Node, TensorType, dtype_name, gradient_graph


@dataclass(frozen=True, kw_only=True)
class Case:
    """One node: floating-point arrays are differentiated, whole numbers are constants."""

    op: str
    arrays: tuple[Any, ...]
    torch: Callable[..., Any] | None = None
    attributes: dict[str, Any] = field(default_factory=dict)
    fixed: tuple[int, ...] = ()
    outputs: int = 1
    tolerance: float = 1e-9

    def __str__(self) -> str:
        said = ",".join(f"{k}={v}" for k, v in self.attributes.items())
        shapes = "·".join(str(list(a.shape)) for a in self.arrays if a is not None)
        return f"{self.op}({said}){shapes}".replace(" ", "")

    @property
    def wanted(self) -> tuple[int, ...]:
        return tuple(
            i for i, a in enumerate(self.arrays)
            if a is not None and a.dtype.kind == "f" and i not in self.fixed
        )  # fmt: skip


def one_node(case: Case) -> Graph:
    names = tuple("" if a is None else f"x{i}" for i, a in enumerate(case.arrays))
    node = Node(name="node", op=case.op, inputs=names, attributes=case.attributes,
                outputs=tuple(f"y{i}" for i in range(case.outputs)))  # fmt: skip
    given = {f"x{i}" for i in case.wanted}
    return Graph(
        name="one", nodes=(node,), inputs=tuple(n for n in names if n in given),
        outputs=tuple(o for o in node.outputs),
        types={n: TensorType(dtype=dtype_name(a.dtype), shape=a.shape)
               for n, a in zip(names, case.arrays, strict=True) if n},
        constants={n: ArrayConstant(a) for n, a in zip(names, case.arrays, strict=True)
                   if n and n not in given},
    ).infer()  # fmt: skip


def gradients(
    case: Case, rng: np.random.Generator
) -> tuple[list[np.ndarray], list[np.ndarray], list[np.ndarray]]:
    """Return (values of the floating-point outputs, seeds, gradients of the wanted inputs)."""
    graph = one_node(case)
    whole = gradient_graph(graph, [f"x{i}" for i in case.wanted])
    seeds = {
        name: rng.standard_normal(whole.type(name).sizes)
        for name in whole.inputs if name.endswith(".seed")
    }  # fmt: skip
    found = whole.evaluate({**{f"x{i}": case.arrays[i] for i in case.wanted}, **seeds})
    for name, value in found.items():
        kind = whole.type(name)
        assert (kind.dtype, kind.sizes) == (dtype_name(value.dtype), value.shape), name
    values = [found[name.removesuffix(".seed")] for name in seeds]
    return values, list(seeds.values()), [found[f"x{i}.gradient"] for i in case.wanted]


def by_torch(case: Case, seeds: Sequence[np.ndarray]) -> tuple[list[np.ndarray], list[np.ndarray]]:
    """Return (outputs, gradients) of the case's PyTorch expression."""
    import torch

    assert case.torch is not None
    tensors = [None if a is None else torch.from_numpy(np.array(a)) for a in case.arrays]
    for i in case.wanted:
        tensors[i].requires_grad_()
    result = case.torch(*tensors)
    outputs = list(result) if isinstance(result, (tuple, list)) else [result]
    found = torch.autograd.grad(
        outputs, [tensors[i] for i in case.wanted],
        [torch.from_numpy(s).reshape(o.shape) for s, o in zip(seeds, outputs, strict=True)],
        allow_unused=True,
    )  # fmt: skip
    gradients = [
        np.zeros(case.arrays[i].shape) if g is None else g.numpy()
        for i, g in zip(case.wanted, found, strict=True)
    ]  # fmt: skip
    return [o.detach().numpy() for o in outputs], gradients


def by_differences(
    case: Case, seeds: Sequence[np.ndarray], step: float = 1e-5
) -> list[np.ndarray]:  # fmt: skip
    """Return central differences of <outputs, seeds> with respect to the wanted inputs."""
    graph = one_node(case)

    def total(arrays: dict[str, np.ndarray]) -> float:
        found = [v for v in graph.evaluate(arrays).values() if v.dtype.kind == "f"]
        return float(sum((v * s).sum() for v, s in zip(found, seeds, strict=True)))

    inputs = {f"x{i}": case.arrays[i] for i in case.wanted}
    result = []
    for name, value in inputs.items():
        slope = np.zeros(value.shape)
        for place in np.ndindex(*value.shape):
            ends = []
            for sign in (1, -1):
                moved = value.copy()
                moved[place] += sign * step
                ends.append(total({**inputs, name: moved}))
            slope[place] = (ends[0] - ends[1]) / (2 * step)
        result.append(slope)
    return result
