"""Labelled data as a network takes them: checked, sampled, turned into its inputs batch by batch.

Models:  arrays whose first axis counts samples: one per input of the network, and labels. Bytes of
         an image become numbers as ``(byte / 255 - mean) / std`` per channel.
Ignores: cropping, resizing, augmentation; a batch's rest is filled with the batch's own samples,
         which changes no scale that a design takes from the largest magnitude.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from orrery.errors import SpecError, did_you_mean
from orrery.graph import PRECISION_KEY, Graph, numpy_dtype
from orrery.store import content_hash

Array = NDArray[Any]

#: Names under which labels may stand, the first that is there is taken.
LABELS = ("labels", "label", "targets", "target", "y")

#: Mean and deviation per colour with which published image networks are commonly trained.
IMAGENET = ((0.485, 0.456, 0.406), (0.229, 0.224, 0.225))


@dataclass(frozen=True, slots=True, kw_only=True)
class LabelledData:
    """Samples drawn from a data set, and how they become a network's inputs.

    Attributes
    ----------
    name, digest : of the whole data set: file name, hash of its inputs and labels
    inputs, labels : of all samples, by the network's input names
    chosen : positions of the samples to take, ascending
    seed : with which they were drawn, None when all are taken
    preprocessing : what is done to the inputs, in words
    mean, std : per channel, for bytes of images; empty where the values are taken as they are
    """

    name: str
    digest: str
    inputs: Mapping[str, Array]
    labels: Array
    chosen: Array
    seed: int | None
    preprocessing: str
    mean: tuple[float, ...] = ()
    std: tuple[float, ...] = ()

    @property
    def drawn(self) -> str:
        """How many samples are taken, and how they were drawn."""
        total = f"{len(self.chosen)} of {len(self.labels)}"
        return total if self.seed is None else f"{total}, drawn with seed {self.seed}"

    def batches(self, graph: Graph) -> Iterator[tuple[dict[str, Array], Array]]:
        """Yield a network's inputs and the labels, which are fewer at the end than the batch.

        Raises
        ------
        SpecError : a value that is not finite, or an index out of the network's bounds
        """
        batch = batch_size(graph)
        for first in range(0, len(self.chosen), batch):
            mine = self.chosen[first : first + batch]
            filled = np.resize(mine, batch)
            yield {n: self._input(graph, n, filled) for n in self.inputs}, self.labels[mine]

    def _input(self, graph: Graph, name: str, places: Array) -> Array:
        want, values = graph.type(name), self.inputs[name][places]
        where = f"{self.name}: array of input {name!r}"
        if values.dtype.kind in "iu" and "int" in want.dtype:
            below = int(graph.metadata.get(f"below.{name}", np.iinfo(want.dtype).max))
            if values.min() < 0 or values.max() >= below:
                raise SpecError(where, found=f"{values.min()} to {values.max()}",
                                wanted=f"0 to {below - 1}", fix="correct the data")  # fmt: skip
        if values.shape[1:] != want.shape[1:]:  # images with the colours last
            values = values.transpose(0, 3, 1, 2)
        if self.mean:
            shape = (1, -1, *(1,) * (values.ndim - 2))
            mean, std = (np.array(v, np.float32).reshape(shape) for v in (self.mean, self.std))
            values = (values.astype(np.float32) / np.float32(255) - mean) / std
        with np.errstate(over="ignore"):  # said below
            values = np.ascontiguousarray(values, numpy_dtype(want.dtype))
        if "float" in want.dtype and not np.isfinite(values).all():
            sample = next(p for p, v in zip(places, values) if not np.isfinite(v).all())
            raise SpecError(where, found=f"NaN or infinity in sample {sample}", wanted="finite "
                            f"{want.dtype}", fix="correct or leave out the sample")  # fmt: skip
        return values


def result_of(graph: Graph) -> str:
    """Return the output that answers: the only one, or ``logits`` beside what else there is.

    Raises
    ------
    SpecError : there is none such, the network hands states on, or holds no activations' scales
    """
    outputs = [name for name in graph.outputs if name not in graph.states.values()]
    precision = graph.metadata.get(PRECISION_KEY, "")
    found, wanted, fix = "", "one output, or one named logits", "export the network with it"
    if graph.states:
        found = f"states that one pass hands to the next: {', '.join(list(graph.states)[:3])}"
        fix = "leave --training and --phase decode out"
    elif precision.startswith("int"):
        found = f"--precision {precision}, which has no scales of activations"
        wanted, fix = "a network that computes answers", "give the quantised network as ONNX"
    elif len(outputs) != 1 and "logits" not in outputs:
        found = f"outputs {', '.join(outputs)}"
    if found:
        raise SpecError(f"{graph.name} on labelled data", found=found, wanted=wanted, fix=fix)
    return "logits" if "logits" in outputs else outputs[0]


def batch_size(graph: Graph) -> int:
    """Return the leading size that a network's inputs and its result share.

    Raises
    ------
    SpecError : they share none
    """
    border = (*graph.inputs, result_of(graph))
    leading = {graph.type(name).shape[:1] for name in border}
    if len(leading) == 1 and (first := leading.pop()) and isinstance(first[0], int):
        return first[0]
    raise SpecError(
        f"{graph.name} on labelled data", found=", ".join(f"{n} {graph.type(n)}" for n in border),
        wanted="one leading size that counts samples", fix="export it with a batch axis",
    )  # fmt: skip


def read_labelled(
    arrays: Mapping[str, Array], graph: Graph, *, name: str, samples: int | None = None,
    seed: int = 0, mean: Sequence[float] = (), std: Sequence[float] = (),
) -> LabelledData:  # fmt: skip
    """Return the samples of a data set for a network.

    Parameters
    ----------
    arrays : inputs by the network's names (the only input of a network may bear any name), and
        labels under one of `LABELS`; other arrays are left out
    samples : how many to draw without repetition; None takes all
    mean, std : per channel, or one for all, for bytes of images; empty takes `IMAGENET` for three
        colours and refuses others

    Raises
    ------
    SpecError : no labels or no input among the arrays, another shape or type than the network
        takes, samples beyond what there is
    """
    batch_size(graph)
    key = next((k for k in LABELS if k in arrays), None)
    listed = ", ".join(f"{k} {v.dtype}{list(v.shape)}" for k, v in arrays.items()) or "no array"
    if key is None:
        raise SpecError(f"{name}: labels", found=listed, wanted=f"an array {LABELS[0]!r}",
                        fix=f"name it one of {', '.join(LABELS)}")  # fmt: skip
    labels = np.asarray(arrays[key])
    if not labels.ndim or not len(labels):
        raise SpecError(f"{name}: {key}", found=f"{labels.dtype}{list(labels.shape)}",
                        wanted="at least one sample", fix="give data with samples")  # fmt: skip
    inputs = _inputs(arrays, graph, key, len(labels), f"{name}: arrays", listed)
    said = [_fitted(graph, n, inputs[n], f"{name}: array of input {n!r}") for n in graph.inputs]
    bytes_ = "bytes" in said
    if not bytes_ and (mean or std):
        raise SpecError(
            "--mean, --std",
            found="some for numbers that are no bytes",
            wanted="none: numbers are taken as they are",
            fix="leave them out",
        )
    centre, spread, words = _scaling(graph, mean, std) if bytes_ else ((), (), "none")
    if samples is not None and not 0 < samples <= len(labels):
        raise SpecError("--samples", found=samples, wanted=f"1 to {len(labels)}, as {name} holds",
                        fix="correct it, or leave it out for all")  # fmt: skip
    if seed < 0:
        raise SpecError("--seed", found=seed, wanted="zero or more", fix="correct it")
    whole = samples is None or samples == len(labels)
    draw = np.random.default_rng(seed)
    chosen = np.arange(len(labels)) if whole else np.sort(
        draw.choice(len(labels), samples, replace=False)
    )  # fmt: skip
    return LabelledData(
        name=name, inputs=inputs, labels=labels, chosen=chosen, seed=None if whole else seed,
        digest=content_hash(*(p for a in (*inputs.values(), labels)
                              for p in (f"{a.dtype}{a.shape}", a.tobytes()))),
        preprocessing=words, mean=centre, std=spread,
    )  # fmt: skip


def _inputs(
    arrays: Mapping[str, Array], graph: Graph, key: str, count: int, where: str, listed: str
) -> dict[str, Array]:
    """Return an array per input: of its name, or the only one that can be meant."""
    by_name = {n: np.asarray(arrays[n]) for n in graph.inputs if n in arrays and n != key}
    numbers = {k: np.asarray(v) for k, v in arrays.items() if k != key and v.dtype.kind in "biuf"}
    others = [k for k, v in numbers.items() if v.ndim and len(v) == count]
    if not by_name and len(graph.inputs) == 1 and len(others) == 1:
        by_name = {graph.inputs[0]: numbers[others[0]]}
    lacking = [n for n in graph.inputs if n not in by_name]
    if lacking:
        near = did_you_mean(lacking[0], numbers)
        raise SpecError(where, found=listed, wanted=f"{count} samples of {', '.join(lacking)}",
                        fix=f"name the array as the network's input{near}")  # fmt: skip
    for n, array in by_name.items():
        if array.shape[:1] != (count,):
            raise SpecError(where, found=f"{n} {list(array.shape)} and {count} labels",
                            wanted="as many samples as labels", fix="correct the data")  # fmt: skip
    return by_name


def _fitted(graph: Graph, name: str, array: Array, where: str) -> str:
    """Return ``bytes`` for an image in bytes, empty for numbers as they are; refuse the rest."""
    want = graph.type(name)
    shape, inner = array.shape[1:], tuple(want.shape[1:])
    image = want.rank == 4 and array.ndim == 4
    if shape != inner and not (image and (shape[2], *shape[:2]) == inner):
        last = f", or {[*inner[1:], inner[0]]} with the colours last" if want.rank == 4 else ""
        raise SpecError(where, found=f"samples of {list(shape)}",
                        wanted=f"samples of {list(inner)}{last}",
                        fix="reshape the array, or bind the network's sizes")  # fmt: skip
    floats = "float" in want.dtype
    kind = array.dtype.kind
    if floats and image and array.dtype == np.uint8:
        return "bytes"
    whole = "int" in want.dtype and kind in "iu"
    if kind == "f" if floats else whole or (kind == "b" and want.dtype == "bool"):
        return ""
    raise SpecError(where, found=f"{array.dtype}", wanted=want.dtype if not floats else
                    f"{want.dtype} (or bytes of images)", fix="convert and scale it as the "
                    "network was trained")  # fmt: skip


def _scaling(
    graph: Graph, mean: Sequence[float], std: Sequence[float]
) -> tuple[tuple[float, ...], tuple[float, ...], str]:
    channels = int(graph.type(graph.inputs[0]).shape[1])
    assumed = not mean and not std
    if assumed and channels == 3:
        mean, std = IMAGENET
    fits = all(len(v) in (1, channels) and np.isfinite(v).all() for v in (mean, std))
    if not fits or min(std) <= 0:
        raise SpecError(
            "--mean, --std", found=f"{_listed(mean)} and {_listed(std)}",
            wanted=f"one number or {channels} of each, deviations above zero: the images are bytes",
            fix="give those of the training, e.g. --mean 0.5 --std 0.25, or store scaled numbers",
        )  # fmt: skip
    why = " (assumed: usual for ImageNet)" if assumed else ""
    words = f"bytes / 255, minus {_listed(mean)}, over {_listed(std)}{why}"
    return tuple(mean), tuple(std), words


def _listed(values: Sequence[float]) -> str:
    return ", ".join(f"{v:g}" for v in values) or "nothing"
