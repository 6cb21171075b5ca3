"""From a tensor that is saved for a backward pass to how it can be made again.

Models:  what autograd has noted: the node that made a tensor, that node's inputs, and so on, until
         each input is a value that some node has saved, or a parameter. The formulas are those of
         `_formulas`. Nothing is guessed from shapes or names of layers.
Ignores: operators that are not among the formulas; a tensor whose making autograd did not see.
         Writes that autograd does not see are seen by nobody here: where the count of writes is not
         explained by the nodes there is no recipe, and for the rest whoever makes a tensor again
         compares a checksum.
Judge:   whoever uses a recipe makes the tensor once while it is still there, and compares every bit
         (tests/runtime/offload/test_remade.py).

PyTorch loads when a function here first runs.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

from ._formulas import FORMULAS, Formula, UnmadeError

__all__ = ["Leaf", "Recipe", "UnmadeError", "covers_storage", "recipe_of"]

#: Nodes between a tensor and what it is made from, at the most.
_LONGEST = 12
#: Parameters up to this size are copied: no node saves them, so nobody may be told not to write.
_COPIED_BYTES = 1 << 16


@dataclass(frozen=True, slots=True)
class Leaf:
    """A parameter that a tensor is made from and no node saved, and the version that it had.

    Or a copy of it, which nobody writes to.
    """

    tensor: Any
    version: int


@dataclass(frozen=True, slots=True)
class _Step:
    """One value on the way.

    Attributes
    ----------
    make : from the inputs' values
    text : the calculation, inputs as ``#0``; two steps of one text calculate the same
    fresh_bytes : of its result, where nobody else has that; 0 where it is an input
    peak_bytes : of all that is fresh at once while it is made
    """

    make: Callable[[Sequence[Any]], Any]
    text: str
    fresh_bytes: int
    peak_bytes: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Recipe:
    """How to make a tensor again.

    Attributes
    ----------
    text : the calculation; that of another step with the same text makes the same from the same
    inputs : what autograd holds for each saved value that it is made from, or a `Leaf`
    size_bytes, beside_bytes : of the result, and of memory that values on the way take beside that;
        what operators take within themselves is not known here
    """

    text: str
    inputs: tuple[Any, ...]
    size_bytes: int
    beside_bytes: int
    step: _Step
    shape: tuple[int, ...]
    strides: tuple[int, ...]
    dtype: Any

    def make(self, values: Sequence[Any]) -> Any:
        """Return the tensor, with the strides that it had, from the values of `inputs`.

        Raises
        ------
        UnmadeError : the values do not lead to it
        """
        import torch

        with torch.no_grad(), torch.autocast("cpu", enabled=False):
            found = self.step.make(values)
            if found.dtype != self.dtype or found.numel() != math.prod(self.shape):
                raise UnmadeError(f"{self.text}: {tuple(found.shape)} {found.dtype}")
            if (
                tuple(found.shape) == self.shape
                and found.stride() == self.strides
                and self.step.fresh_bytes
                and found.untyped_storage().nbytes() == found.numel() * found.element_size()
            ):
                return found
            whole = torch.empty_strided(self.shape, self.strides, dtype=self.dtype, device="cpu")
            return whole.copy_(found.reshape(self.shape))


def recipe_of(tensor: Any, held: tuple[type[Any], ...]) -> Recipe | None:
    """Return how to make a tensor's whole storage again, or None where that is not known.

    Parameters
    ----------
    tensor : as it is handed to a hook on saved tensors
    held : classes of what such hooks gave autograd for tensors; others' are not touched
    """
    base = tensor._base if tensor._is_view() else tensor
    node = base.grad_fn
    size = base.element_size()
    if node is None or base.output_nr or not covers_storage(base):
        return None
    walk = _Walk(held)
    if tensor._version and not walk.explains(node, tensor._version):
        return None
    step = walk.node(node, 0, top=True)
    if step is None or not walk.inputs:
        return None
    return Recipe(
        text=f"{step.text} v{tensor._version}", inputs=tuple(walk.inputs), step=step,
        size_bytes=base.numel() * size,
        beside_bytes=max(0, step.peak_bytes - base.numel() * size), shape=tuple(base.shape),
        strides=base.stride(), dtype=base.dtype,
    )  # fmt: skip


def covers_storage(tensor: Any) -> bool:
    """Whether every element has a place of its own and none of the storage is left over."""
    size_bytes = tensor.numel() * tensor.element_size()
    if tensor.storage_offset() or size_bytes != tensor.untyped_storage().nbytes():
        return False
    if tensor.is_contiguous():
        return True
    expected = 1
    for stride, size in sorted(zip(tensor.stride(), tensor.shape, strict=True)):
        if size == 1:
            continue
        if stride != expected:
            return False
        expected *= size
    return True


class _Walk:
    """One walk up the graph; it lives in `recipe_of` only.

    Nothing that it makes holds a node: nodes hold what it makes, and would never be freed.
    """

    def __init__(self, held: tuple[type[Any], ...]) -> None:
        self.held = held
        self.inputs: list[Any] = []

    def explains(self, node: Any, version: int) -> bool:
        """Whether so many writes in place to a node's result surely, or likely, are of nodes.

        Surely the last, of a node that saved its result since; as many as could be, before that.
        """
        formula = FORMULAS.get(node.name())
        if formula is None or formula.result is None:
            return False
        data = getattr(node, f"_raw_saved_{formula.result}").data  # None: it is being saved now
        if data is not None and not (isinstance(data, self.held) and data.version == version):
            return False
        while formula is not None and formula.inplace and version:
            version -= 1
            node = node.next_functions[0][0]
            formula = None if node is None else FORMULAS.get(node.name())
        return not version

    def node(self, node: Any, depth: int, *, top: bool = False) -> _Step | None:
        """Return how to make what a node made."""
        formula = FORMULAS.get(node.name())
        if formula is None or depth > _LONGEST:
            return None
        if not top and formula.result is not None:
            saved = self.saved(node, formula.result)
            if saved is not None:
                return saved
        scalars = formula.scalars(node)
        if scalars is None:
            return None
        operands: list[_Step | None] = []
        for place, name in enumerate(formula.operands):
            found = self.operand(node, place, name, depth, formula)
            if found is None:
                return None
            operands.append(found if isinstance(found, _Step) else None)
        meta = node._input_metadata[0]
        own = math.prod(meta.shape) * meta.dtype.itemsize
        return _applied(formula, scalars, operands, own, meta.dtype)

    def operand(
        self, node: Any, place: int, name: str | None, depth: int, formula: Formula
    ) -> _Step | bool | None:
        """Return how to get an operand; False where it has none, None where nobody knows."""
        if name is not None:
            saved = self.saved(node, name)
            if saved is not None:
                return saved
        edges = node.next_functions
        after, number = edges[place] if place < len(edges) else (None, 0)
        if after is None:
            return False if self.absent(node, place, formula) else None
        if after.name() == "torch::autograd::AccumulateGrad":
            return self.input(_leaf(after.variable))
        return None if number else self.node(after, depth + 1)

    def absent(self, node: Any, place: int, formula: Formula) -> bool:
        """Whether there surely is no such operand: its node would have saved it.

        One that is not saved, as the bias of a batch norm, may be there and need no gradient.
        """
        own = formula.operands[place]
        if place in formula.optional and formula.lacks is not None:
            return formula.lacks(node, place)
        if place not in formula.optional or own is None:
            return False
        return getattr(node, f"_raw_saved_{own}").data is None

    def saved(self, node: Any, name: str) -> _Step | None:
        """Return the value that a node saved under a name, if that is known."""
        held = getattr(node, f"_raw_saved_{name}", None)
        data = None if held is None else held.data
        if data is None:
            return None
        if isinstance(data, self.held):
            return self.input(data)
        import torch

        # A number that was written into the expression; hooks are not told of it.
        if type(data) is torch.Tensor and not data.dim() and data.device.type == "cpu":
            return _constant(data)
        return None

    def input(self, data: Any) -> _Step:
        place = next((n for n, other in enumerate(self.inputs) if other is data), None)
        if place is None:
            place = len(self.inputs)
            self.inputs.append(data)
        return _Step(lambda values, at=place: values[at], f"#{place}", 0, 0)  # type: ignore[misc]


def _leaf(variable: Any) -> Leaf:
    size = variable.numel() * variable.element_size()
    kept = variable.detach()
    if size <= _COPIED_BYTES and variable.untyped_storage().nbytes():
        kept = kept.clone()
    return Leaf(kept, kept._version)


def _constant(tensor: Any) -> _Step:
    return _Step(lambda values: tensor, repr(tensor.item()), 0, 0)


def _applied(
    formula: Formula, scalars: tuple[Any, ...], operands: Sequence[_Step | None], own: int,
    dtype: Any,
) -> _Step:  # fmt: skip
    held = peak = 0
    for operand in operands:
        if operand is not None:
            peak = max(peak, held + operand.peak_bytes)
            held += operand.fresh_bytes
    first = operands[0]
    # In place only where that is nobody else's, and of the size that comes out.
    instead = bool(formula.inplace and first is not None and first.fresh_bytes == own)
    result = held and own if formula.views else own
    if not instead and not formula.views:
        peak = max(peak, held + own)

    def make(values: Sequence[Any]) -> Any:
        found = [None if operand is None else operand.make(values) for operand in operands]
        made = formula.make(found, scalars, instead)
        # What was written in place to another type was rounded to it.
        return made if made.dtype == dtype else made.to(dtype)

    words = [*("none" if o is None else o.text for o in operands), *map(str, scalars)]
    text = f"{formula.name}({', '.join(words)}) {str(dtype).removeprefix('torch.')}"
    return _Step(make, text, result, max(peak, result))
