"""What somebody can do with a recovered network: answer like the original, and attack it.

Models:  projected gradient descent (Madry et al., 2018) within a ball of the largest change of a
         pixel, steps along the sign of the loss's gradient, from a drawn beginning; gradients are
         `graph`'s own. Images that the original gets wrong already are left out.
Ignores: attacks without gradients, defences.
Judge:   the same attack with the original's own gradients on the same images; changes of the same
         size without gradients; the binary itself on what the recovered network came up with.
"""

from __future__ import annotations

import math
import subprocess
import tempfile
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from orrery.api.recovering import recover
from orrery.decompile.topology import differences
from orrery.errors import CancelledError, OrreryError
from orrery.graph import Graph, gradient_graph
from orrery.progress import SILENT, Progress
from orrery.runtime import ReferenceBackend
from orrery.runtime.binaries import CRecipe, build_c, build_tvm, run_c

from ._digits import Images, read_images, taught
from ._measure import first_unread, judged_by

__all__ = ["Attack", "Used", "attacked", "interval", "use"]

#: Largest change of a pixel of 0…1, steps of the attack.
SIZE, STEPS = 0.15, 10

Array = NDArray[Any]


@dataclass(frozen=True, slots=True, kw_only=True)
class Attack:
    """How many images still get the right answer after they were changed, of how many.

    Attributes
    ----------
    tried : images that the original recognises
    own, recovered : that it no longer recognises, changed along its own gradients; along those of
        the recovered network
    drawn : the same, changed as much at random
    binary : that the binary no longer recognises, changed along the recovered network's gradients;
        None where it was not run
    """

    tried: int
    own: int
    recovered: int
    drawn: int
    binary: int | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Used:
    """A network of ours, compiled, recovered and put to use.

    Attributes
    ----------
    data : what it had learnt
    right : share of the images held out that the original recognises
    images : held out
    agreeing : of them, how many the recovered network answers alike
    reason : why there was nothing to use; empty where there was
    same : whether the recovered network is the same one
    """

    compiler: str
    target: str
    options: str
    data: str
    right: float
    images: int
    agreeing: int = 0
    attack: Attack | None = None
    reason: str = ""
    same: bool = False


class _Runner:
    """A network for one image, with the gradient of a loss by its input."""

    def __init__(self, graph: Graph) -> None:
        graph = graph.infer()
        (self._input,), (self._output,) = graph.inputs, graph.outputs
        self._shape = graph.type(self._input).sizes
        self._scores = graph.type(self._output).sizes
        sloped = gradient_graph(graph, [self._input])
        (self._seed,) = (name for name in sloped.inputs if name != self._input)
        self._slope = sloped.outputs[-1]
        backend, _ = judged_by()
        if backend.refuses(sloped) is not None:
            backend = ReferenceBackend()
        self._forward, self._backward = backend.prepare(graph), backend.prepare(sloped)

    def scores(self, image: Array) -> Array:
        fed = {self._input: np.ascontiguousarray(image, np.float32).reshape(self._shape)}
        return np.asarray(self._forward.run(fed)[self._output]).ravel()

    def answer(self, image: Array) -> int:
        return int(self.scores(image).argmax())

    def slope(self, image: Array, label: int) -> Array:
        """Return the gradient of the cross-entropy by the image."""
        scores = self.scores(image).astype(np.float64)
        share = np.exp(scores - scores.max())
        share /= share.sum()
        share[label] -= 1
        fed = {self._input: np.ascontiguousarray(image, np.float32).reshape(self._shape),
               self._seed: share.astype(np.float32).reshape(self._scores)}  # fmt: skip
        return np.asarray(self._backward.run(fed)[self._slope]).reshape(image.shape)


def _descended(
    image: Array, label: int, slope: Callable[[Array, int], Array], seed: int
) -> Array:  # fmt: skip
    """Return an image that is changed to be mistaken, within `SIZE` of the given one."""
    low, high = np.maximum(image - SIZE, 0), np.minimum(image + SIZE, 1)
    draw = np.random.default_rng(seed)
    now = np.clip(image + draw.uniform(-SIZE, SIZE, image.shape), low, high)
    for _ in range(STEPS):
        now = np.clip(now + SIZE / 4 * np.sign(slope(now, label)), low, high)
    return np.asarray(now, np.float32)


def attacked(
    original: Graph, recovered: Graph, images: Array, labels: Sequence[int], *,
    binary: Callable[[Array], int] | None = None, progress: Progress = SILENT,
) -> Attack:  # fmt: skip
    """Attack a network along its own gradients, along those of another one, and blindly.

    Parameters
    ----------
    images : [N, 1, H, W] from 0 to 1
    binary : answers an image as the compiled network does
    """
    victim, other = _Runner(original), _Runner(recovered)
    tried = own = theirs = blind = fooled = 0
    for number, (image, label) in enumerate(zip(images, labels, strict=True)):
        progress.step("dnd: attacking images", number, len(images))
        label = int(label)
        if victim.answer(image) != label:
            continue
        tried += 1
        own += victim.answer(_descended(image, label, victim.slope, number)) != label
        made = _descended(image, label, other.slope, number)
        theirs += victim.answer(made) != label
        signs = np.random.default_rng(number).choice([-SIZE, SIZE], image.shape)
        blind += victim.answer(np.clip(image + signs, 0, 1)) != label
        if binary is not None:
            fooled += binary(made) != label
    return Attack(tried=tried, own=own, recovered=theirs, drawn=blind,
                  binary=None if binary is None else fooled)  # fmt: skip


def interval(hits: int, of: int, z: float = 1.96) -> tuple[float, float]:
    """Return the shares within which the true one lies with 95 % (Wilson 1927)."""
    if of == 0:
        return 0.0, 1.0
    share, room = hits / of, z * z / of
    middle = (share + room / 2) / (1 + room)
    half = z / (1 + room) * math.sqrt(share * (1 - share) / of + room / (4 * of))
    return max(0.0, middle - half), min(1.0, middle + half)


def use(
    compiler: str, target: str, options: str, *, images: int, epochs: int, time_s: float,
    progress: Progress = SILENT,
) -> Used:  # fmt: skip
    """Teach a network, compile it, recover it and use what came back.

    Parameters
    ----------
    compiler, target, options : ``gcc``, ``clang`` or ``tvm``; its machine; one option of it
    images : held out, for answers; attacks take as many
    epochs : of teaching
    time_s : the recovery may take

    Raises
    ------
    CancelledError : the user asked to stop
    """
    data = read_images()
    plain = Used(compiler=compiler, target=target, options=options, data=data.name, right=0.0,
                 images=images)  # fmt: skip
    try:
        return _used(plain, taught(data, epochs=epochs), data, time_s, progress)
    except CancelledError:
        raise
    except Exception as error:  # a defect of ours must not lose the others
        told = isinstance(error, OrreryError | subprocess.TimeoutExpired)
        return replace(plain, reason=str(error) if told else
                       f"a defect: {type(error).__name__}: {error}"[:300])  # fmt: skip


def _used(plain: Used, graph: Graph, data: Images, time_s: float, progress: Progress) -> Used:
    images, labels = data.test_images[: plain.images], data.test_labels[: plain.images]
    victim = _Runner(graph)
    answers = [victim.answer(image) for image in images]
    plain = replace(plain, right=float(np.mean(np.equal(answers, labels))), images=len(images))
    with tempfile.TemporaryDirectory(prefix="orrery-dnd-") as folder:
        binary: Callable[[Array], int] | None = None
        if plain.compiler == "tvm":
            path = build_tvm(graph, Path(folder)).path
        else:
            made = build_c(graph, Path(folder), CRecipe(
                compiler="clang" if plain.compiler == "clang" else "gcc", target=plain.target,
                options=(plain.options,),
            ))  # fmt: skip
            path = made.path

            def binary(image: Array) -> int:
                return int(run_c(made, {"x": image.reshape(1, 1, *image.shape[-2:])})["y"].argmax())

        result = recover(path, time=f"{time_s:g} s", progress=progress)
        if result.graph is None or result.verdict == "none":
            return replace(plain, reason=first_unread(result.recovered)[0])
        if result.verdict == "partial":
            return replace(plain, reason=f"in part: {first_unread(result.recovered)[0]}")
        other = _Runner(result.graph)
        alike = sum(other.answer(image) == told for image, told in zip(images, answers))
        attack = attacked(graph, result.graph, images, labels.tolist(), binary=binary,
                          progress=progress)  # fmt: skip
        return replace(plain, agreeing=alike, attack=attack,
                       same=not differences(result.graph, graph))  # fmt: skip
