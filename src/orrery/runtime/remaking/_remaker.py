"""Tensors that are made again: tried while they are there, calculated when they are needed.

Models:  nothing; a tensor is calculated when the backward pass first needs it, from what it was
         made of in this very step, and held until all that saved it had it: once, however many
         others are made from it.
Ignores: which tensors are made again: that is planned.
Judge:   gradients bitwise equal to those without, and how often each is made
         (tests/runtime/offload/test_remade.py); memory that PyTorch's allocator counts
         (tests/runtime/remaking/test_memory.py).

A tensor is only ever made again by a calculation that gave the same bits in the step that was
measured, from inputs of the same names; where a later step made it otherwise, it is stored. Writes
that autograd does not see show in its checksum: what is made again and has another one is an error,
never a gradient.
"""

from __future__ import annotations

import contextlib
import statistics
import time
import weakref
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

from ._fingerprint import bytes_of, fingerprint
from ._recipes import Recipe, UnmadeError, recipe_of

#: Tensors made again from tensors that are made again, one in another.
DEEPEST = 40
#: Of one calculation on tensors of the same shapes so many are timed.
_TRIES = 3
#: Memory comes in pages, and threads have some: so much more than is known of means nothing.
_LITTLE_BYTES = 1 << 16


@dataclass(frozen=True, slots=True)
class Way:
    """How a tensor can be made again: what is calculated, from which tensors, for how long.

    `seconds` include its two checksums. `needs` are their names, empty for parameters and for what
    is never moved. `beside_bytes` is the most memory that it takes beside its result.
    """

    text: str
    needs: tuple[str, ...]
    seconds: float
    beside_bytes: int

    @property
    def moved(self) -> tuple[str, ...]:
        """Names of the tensors that may be away, each once."""
        return tuple(dict.fromkeys(name for name in self.needs if name))


class _Kind:
    """What one calculation on tensors of the same shapes takes: seconds, and memory."""

    __slots__ = ("beside_bytes", "tries_s")

    def __init__(self) -> None:
        self.beside_bytes: int | None = None
        self.tries_s: list[float] = []


class Remade:
    """One storage that is made again, what for, what it adds up to, and by how many threads.

    How many share a sum decides how it is rounded.
    """

    __slots__ = (
        "__weakref__", "beside_bytes", "checksum", "depth", "generation", "inputs", "recipe",
        "root", "threads", "tokens",
    )  # fmt: skip

    def __init__(
        self, recipe: Recipe, inputs: tuple[Any, ...], checksum: int, threads: int,
        beside_bytes: int,
    ) -> None:  # fmt: skip
        self.recipe, self.inputs, self.beside_bytes = recipe, inputs, beside_bytes
        self.checksum, self.threads = checksum, threads
        self.depth: int = 1 + max(
            (i.remade.depth for i in inputs if isinstance(i, Again)), default=0
        )
        self.root: Any = None
        self.generation = 0
        self.tokens: list[weakref.ref[Again]] = []

    @property
    def there(self) -> bool:
        """Whether its bytes are in memory as they were made: no backward wrote to them."""
        return self.root is not None and not self.root._version


class Again:
    """What autograd holds for a tensor that is made again.

    `guard` knows whether it was written to since, `record` and `window` belong to the caller.
    """

    __slots__ = ("__weakref__", "generation", "guard", "record", "remade", "window")

    def __init__(self, remade: Remade, guard: Any, record: Any, window: Any) -> None:
        self.remade, self.guard, self.record, self.window = remade, guard, record, window
        self.generation = 0
        remade.tokens.append(weakref.ref(self))

    @property
    def version(self) -> int:
        """The count of writes in place at which it was saved."""
        return int(self.guard.version)


class Remaker:
    """Tries how tensors can be made again, and makes them.

    Parameters
    ----------
    held : classes of what else autograd was given; each has a `record` with a name, or None, and
        the `version` that was saved
    value : returns what something held, or a `Leaf`, stands for, and takes note
        where that had to come back
    peek : the same without taking note
    own : returns one more of the same, to be held beside it
    begin : told of each tensor that is asked for when all that it is made from is there, and of
        the bytes that making it then takes, 0 where it is there itself
    grown : does something, and returns the most memory that this took at once

    Attributes
    ----------
    seconds : of making again and of checksums so far
    made : tensors that were made again so far
    """

    def __init__(
        self, held: tuple[type, ...], *, value: Callable[[Any], Any], peek: Callable[[Any], Any],
        own: Callable[[Any], Any], begin: Callable[[Again, int], None],
        grown: Callable[[Callable[[], object]], int],
    ) -> None:  # fmt: skip
        self._held, self._value, self._peek, self._own = (*held, Again), value, peek, own
        self._begin, self._grown = begin, grown
        self.seconds, self.made = 0.0, 0
        self._refused: set[tuple[str, tuple[str, ...]]] = set()
        #: by calculation and shapes of what it is calculated from
        self._kinds: dict[tuple[Any, ...], _Kind] = {}

    def tried(
        self, tensor: Any, fits: Callable[[Recipe, Sequence[Any]], bool]
    ) -> Way | None:  # fmt: skip
        """Make a tensor again while it is there; return how, if every bit is the same.

        Parameters
        ----------
        fits : whether a recipe, from inputs with these records, may be tried and used
        """
        with _modes_off():
            try:
                return self._tried(tensor, fits)
            except Exception:
                # An operator takes other operands than its formula has, PyTorch refuses the call
                # where it is: whatever it is, the tensor is there and can be written.
                return None

    def _tried(
        self, tensor: Any, fits: Callable[[Recipe, Sequence[Any]], bool]
    ) -> Way | None:  # fmt: skip
        recipe = recipe_of(tensor, self._held)
        if recipe is None or not fits(recipe, [getattr(i, "record", None) for i in recipe.inputs]):
            return None
        values = [self._peek(held) for held in recipe.inputs]
        shapes = tuple((tuple(value.shape), value.stride(), value.dtype) for value in values)
        kind = self._kinds.setdefault((recipe.text, recipe.size_bytes, shapes), _Kind())
        timed = len(kind.tries_s) < _TRIES
        if timed:
            recipe.make(values)  # the first call takes longer, and memory of its own
        if kind.beside_bytes is None:
            grew = self._grown(lambda: recipe.make(values)) - recipe.size_bytes
            known = recipe.beside_bytes
            kind.beside_bytes = grew if grew > known + _LITTLE_BYTES else known
        begin = time.perf_counter()
        found = recipe.make(values)
        if timed:
            ended = time.perf_counter()
            fingerprint(bytes_of(found))
            kind.tries_s.append(ended - begin + 2 * (time.perf_counter() - ended))
        import torch

        way = (recipe.text, _names(recipe))
        if way in self._refused or not torch.equal(bytes_of(found), bytes_of(tensor)):
            return None
        return Way(*way, statistics.median(kind.tries_s), kind.beside_bytes)

    def remade(self, tensor: Any, way: Way | None) -> Remade | None:
        """Return what makes a tensor again in this way; None where it was made otherwise."""
        import torch

        if way is None or (way.text, way.needs) in self._refused:
            return None
        with _modes_off():
            recipe = recipe_of(tensor, self._held)
        if recipe is None or (recipe.text, _names(recipe)) != (way.text, way.needs):
            return None
        inputs = (Again(i.remade, i.guard, i.record, i.window) if isinstance(i, Again)
                  else self._own(i) for i in recipe.inputs)  # fmt: skip
        begin = time.perf_counter()
        found = Remade(
            recipe, tuple(inputs), fingerprint(bytes_of(tensor)), torch.get_num_threads(),
            way.beside_bytes,
        )  # fmt: skip
        self.seconds += time.perf_counter() - begin
        return found if found.depth <= DEEPEST else None

    def root(self, again: Again) -> Any:
        """Return a tensor's bytes, made again unless they were just now.

        Raises
        ------
        UnmadeError : the calculation does not lead to it any more, or to other bits
        """
        remade = again.remade
        root = remade.root
        if remade.there:
            self._begin(again, 0)
        else:
            remade.root = root = None
            values = self._values(remade.inputs)
            self._begin(again, remade.recipe.size_bytes + remade.beside_bytes)
            begin = time.perf_counter()
            try:
                with _modes_off():
                    root = bytes_of(_made(remade, values))
            except UnmadeError:
                self._refused.add((remade.recipe.text, _names(remade.recipe)))
                raise
            found = fingerprint(root)
            self.seconds += time.perf_counter() - begin
            self.made += 1
            if found != remade.checksum:
                self._refused.add((remade.recipe.text, _names(remade.recipe)))
                raise UnmadeError(
                    f"checksum {found:08x} where {remade.checksum:08x} was saved: it, or what it "
                    "is made from, was written to without autograd seeing it (under no_grad, "
                    "through .data or NumPy), or is calculated otherwise now"
                )
            remade.root = root
            remade.generation += 1
        again.generation = remade.generation
        live = [other for reference in remade.tokens if (other := reference()) is not None]
        if all(other.generation == remade.generation for other in live):
            remade.root = None
        return root

    def _values(self, inputs: Sequence[Any]) -> list[Any]:
        """Return what inputs stand for; what was made last is asked for first, as is planned."""
        found: list[Any] = [None] * len(inputs)
        for place in sorted(range(len(inputs)), key=lambda p: _made_s(inputs[p]), reverse=True):
            found[place] = self._value(inputs[place])
        return found


def _made_s(held: Any) -> float:
    record = getattr(held, "record", None)
    return 0.0 if record is None else float(record.made_s)


@contextlib.contextmanager
def _modes_off() -> Iterator[None]:
    """Let nobody see what is calculated here: who counts operators, or is just compiling them."""
    import torch

    if not torch._C._len_torch_dispatch_stack():
        yield
        return
    from torch.utils._python_dispatch import _disable_current_modes

    with _disable_current_modes():
        yield


def _made(remade: Remade, values: Sequence[Any]) -> Any:
    """Return what is made again, with as many threads as it was made with."""
    import torch

    now = torch.get_num_threads()
    if now == remade.threads:
        return remade.recipe.make(values)
    torch.set_num_threads(remade.threads)
    try:
        return remade.recipe.make(values)
    finally:
        torch.set_num_threads(now)


def _names(recipe: Recipe) -> tuple[str, ...]:
    records = [getattr(held, "record", None) for held in recipe.inputs]
    return tuple("" if record is None else record.name for record in records)
