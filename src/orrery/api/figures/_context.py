"""What every figure of a network must state: batch, phase, precision, and what one pass is."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence

from orrery.graph import Graph

from .._sizes import BATCH_KEY, INFERENCE_KEY, PHASE_KEY

#: Element types of sizes, indices and conditions: their number says nothing about precision.
_BESIDE = frozenset({"bool", "int32", "int64", "uint32", "uint64", "string"})


def batch_of(graph: Graph) -> int:
    """Return how many inferences one pass is, as stated when it was loaded; 1 where nobody said.

    It is not guessed from shapes: the leading dimension of an input may be anything.
    """
    text = graph.metadata.get(BATCH_KEY, "1")
    return int(text) if text.isdecimal() and 0 < int(text) < 2**31 else 1


def is_training(graph: Graph) -> bool:
    """Return whether one pass is a training step."""
    return "training.optimizer" in graph.metadata


def counts_as(graphs: Sequence[Graph]) -> str:
    """Return what one inference of these networks is as well: a sample, an image, a token."""
    nouns = [_inference(graph) for graph in graphs]
    return ", ".join(["sample", *(nouns[:1] if nouns[0] and len(set(nouns)) == 1 else [])])


def _inference(graph: Graph) -> str:
    return graph.metadata.get(INFERENCE_KEY, "image" if _takes_images(graph) else "")


def _takes_images(graph: Graph) -> bool:
    """Return whether the only input is an image: four axes, one or three colours."""
    inputs = [name for name in graph.inputs if name not in graph.states]
    shapes = [graph.type(name).shape for name in inputs]
    return len(shapes) == 1 and len(shapes[0]) == 4 and shapes[0][1] in (1, 3)


def precisions(graph: Graph) -> list[str]:
    """Return the element type that most of the weights (states of a training step too) have.

    Weights in bodies count; sizes, indices and trip counts do not where there is anything else.
    """
    weights = [c.type for c in graph.all_constants()] + [graph.type(n) for n in graph.states]
    for types in (weights, [graph.type(name) for name in graph.inputs]):
        kinds: dict[str, int] = {}
        for type_ in types:
            if type_.dtype not in _BESIDE and type_.is_bound:
                kinds[type_.dtype] = kinds.get(type_.dtype, 0) + type_.elements
        if kinds:
            return [max(kinds, key=kinds.__getitem__)]
    every = [graph.type(name).dtype for name in graph.inputs] or [t.dtype for t in weights]
    return every[:1]


def shared_context(
    graphs: Sequence[Graph], formats: Iterable[str], searcher: str
) -> Mapping[str, str]:
    """Return what figures of these networks, taken together, must state."""
    phases = dict.fromkeys(
        "training step" if is_training(graph) else graph.metadata.get(PHASE_KEY, "")
        for graph in graphs
    )
    stated = {"phase": ", ".join(phase for phase in phases if phase)}
    return {
        "batch": ", ".join(dict.fromkeys(str(batch_of(graph)) for graph in graphs)),
        "precision": _listed(list(dict.fromkeys(formats))),
        "searcher": searcher,
        **(stated if stated["phase"] else {}),
    }


def _listed(names: Sequence[str]) -> str:
    return " and ".join([", ".join(names[:-1]), names[-1]] if len(names) > 1 else names)
