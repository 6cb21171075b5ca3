"""Tensors that are made again: tried while they are there, calculated when they are needed.

Models:  nothing; a tensor is calculated when the backward pass first needs it, from what it was
         made of in this very step, and held until all that saved it had it.
Ignores: which tensors are made again: that is planned.
Judge:   gradients bitwise equal to those without (tests/runtime/offload/test_remade.py).

A tensor is only ever made again by a calculation that gave the same bits in the step that was
measured, from inputs of the same names; where a later step made it otherwise, it is stored.
"""

from __future__ import annotations

import time
import weakref
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

from ._recipes import Recipe, UnmadeError, recipe_of

__all__ = ["Again", "Remade", "Remaker", "Way", "bytes_of"]

#: Tensors made again from tensors that are made again, one in another.
_DEEPEST = 40


@dataclass(frozen=True, slots=True)
class Way:
    """How a tensor can be made again: what is calculated, from which tensors, for how long.

    `needs` are their names, empty for parameters and for what is never moved.
    """

    text: str
    needs: tuple[str, ...]
    seconds: float
    beside_bytes: int

    @property
    def moved(self) -> tuple[str, ...]:
        """Names of the tensors that may be away, each once."""
        return tuple(dict.fromkeys(name for name in self.needs if name))


class Remade:
    """One storage that is made again, and what for."""

    __slots__ = ("__weakref__", "depth", "generation", "inputs", "recipe", "root", "tokens")

    def __init__(self, recipe: Recipe, inputs: tuple[Any, ...]) -> None:
        self.recipe, self.inputs = recipe, inputs
        self.depth = 1 + max((i.remade.depth for i in inputs if isinstance(i, Again)), default=0)
        self.root: Any = None
        self.generation = 0
        self.tokens: list[weakref.ref[Again]] = []


class Again:
    """What autograd holds for a tensor that is made again.

    `guard` knows whether it was written to since, `record` and `window` belong to the caller.
    """

    __slots__ = ("__weakref__", "generation", "guard", "record", "remade", "window")

    def __init__(self, remade: Remade, guard: Any, record: Any, window: Any) -> None:
        self.remade, self.guard, self.record, self.window = remade, guard, record, window
        self.generation = 0
        remade.tokens.append(weakref.ref(self))


class Remaker:
    """Tries how tensors can be made again, and makes them.

    Parameters
    ----------
    held : classes of what else autograd was given; each has a `record` with a name, or None
    value : returns what something held, or a `Leaf`, stands for, and takes note
    peek : the same without taking note
    own : returns one more of the same, to be held beside it
    """

    def __init__(
        self, held: tuple[type, ...], *, value: Callable[[Any], Any], peek: Callable[[Any], Any],
        own: Callable[[Any], Any],
    ) -> None:  # fmt: skip
        self._held, self._value, self._peek, self._own = (*held, Again), value, peek, own
        self.seconds = 0.0

    def tried(
        self, tensor: Any, fits: Callable[[Recipe, Sequence[Any]], bool]
    ) -> Way | None:  # fmt: skip
        """Make a tensor again while it is there; return how, if every bit is the same.

        Parameters
        ----------
        fits : whether a recipe, from inputs with these records, may be tried and used
        """
        recipe = recipe_of(tensor, self._held)
        if recipe is None or not fits(recipe, [getattr(i, "record", None) for i in recipe.inputs]):
            return None
        try:
            values = [self._peek(held) for held in recipe.inputs]
            begin = time.perf_counter()
            recipe.make(values)  # the first call of an operator may take much longer
            again = time.perf_counter()
            found = recipe.make(values)
            took = min(again - begin, time.perf_counter() - again)
        except (UnmadeError, RuntimeError):
            return None  # an operator takes other operands than its formula has
        import torch

        if not torch.equal(bytes_of(found), bytes_of(tensor)):
            return None
        return Way(recipe.text, _names(recipe), took, recipe.beside_bytes)

    def remade(self, tensor: Any, way: Way | None) -> Remade | None:
        """Return what makes a tensor again in this way; None where it was made otherwise."""
        recipe = None if way is None else recipe_of(tensor, self._held)
        if recipe is None or way is None or (recipe.text, _names(recipe)) != (way.text, way.needs):
            return None
        inputs = (Again(i.remade, i.guard, i.record, i.window) if isinstance(i, Again)
                  else self._own(i) for i in recipe.inputs)  # fmt: skip
        found = Remade(recipe, tuple(inputs))
        return found if found.depth <= _DEEPEST else None

    def root(self, again: Again) -> Any:
        """Return a tensor's bytes, made again unless they were just now.

        Raises
        ------
        UnmadeError : the calculation does not lead to it any more
        """
        remade = again.remade
        root = remade.root
        if root is None or root._version:  # a backward wrote to it
            values = [self._value(held) for held in remade.inputs]
            begin = time.perf_counter()
            root = remade.root = bytes_of(remade.recipe.make(values))
            self.seconds += time.perf_counter() - begin
            remade.generation += 1
        again.generation = remade.generation
        live = [other for reference in remade.tokens if (other := reference()) is not None]
        if all(other.generation == remade.generation for other in live):
            remade.root = None
        return root


def bytes_of(tensor: Any) -> Any:
    """Return all bytes of a tensor's storage as a flat tensor, not a copy."""
    import torch

    return torch.empty(0, dtype=torch.uint8, device=tensor.device).set_(tensor.untyped_storage())


def _names(recipe: Recipe) -> tuple[str, ...]:
    records = [getattr(held, "record", None) for held in recipe.inputs]
    return tuple("" if record is None else record.name for record in records)
