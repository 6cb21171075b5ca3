"""The network inside a program: operators with parameters, as a graph, and what it rests on.

Models:  a `Program` of lifted functions as ONNX operators.
Ignores: nothing silently: what is not in the graph is listed with its address and the reason.
Judge:   tests/decompile: routines written from networks, binaries of several compilers.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from orrery.errors import OrreryError
from orrery.graph import Graph

from ._evidence import RecoveredNode, RecoveredWeight
from .forms import Program, Routine
from .matching import Unmatched, match
from .tensors import (
    ACTIVATIONS,
    FOLDING,
    NORMALISING,
    PLAIN,
    Tensor,
    ancestors,
    known_function,
    rewritten,
)
from .topology import assemble


@dataclass(frozen=True, slots=True, kw_only=True)
class Recovery:
    """A recovered network.

    Attributes
    ----------
    graph : None where no output could be computed
    nodes, weights : what the graph's parts rest on, in the graph's order
    unmatched : what is not in the graph, with address and reason
    notes : for people
    inputs, outputs : names of buffers of the program, in the order of its arguments
    writable : (begin, end) of writable memory whose numbers it uses as they stand in the file
    """

    graph: Graph | None
    nodes: tuple[RecoveredNode, ...] = ()
    weights: tuple[RecoveredWeight, ...] = ()
    unmatched: tuple[Unmatched, ...] = ()
    notes: tuple[str, ...] = ()
    inputs: tuple[str, ...] = ()
    outputs: tuple[str, ...] = ()
    writable: tuple[tuple[int, int], ...] = ()


def recover_program(
    program: Program, routines: Mapping[int, Routine] | None = None, *, name: str = "recovered"
) -> Recovery:
    """Return the network that a program computes.

    Parameters
    ----------
    routines : functions that the program's routines call, by address

    An output that something unmatched decides is left out; where none is left, the tensors that
    were recovered and that nobody reads are the outputs instead, and a note says so.
    """
    matched = match(program, routines)
    outputs = dict(matched.outputs)
    notes = list(program.notes)
    if not outputs:
        outputs = _ends(matched.tensors.all())
        if outputs:
            notes.append("no output of the program was reached: the ends of what was recovered")
    if not outputs:
        return Recovery(
            graph=None, unmatched=matched.unmatched, notes=tuple(notes),
            inputs=program.inputs, outputs=program.outputs,
        )  # fmt: skip
    tensors = matched.tensors
    outputs = rewritten(tensors, outputs, (*ACTIVATIONS, *NORMALISING, known_function))
    outputs = rewritten(tensors, outputs, PLAIN)
    outputs = rewritten(tensors, outputs, FOLDING)
    outputs = rewritten(tensors, outputs, (*ACTIVATIONS, *NORMALISING))
    try:
        assembled = assemble(tensors, matched.inputs, outputs, name=name)
    except OrreryError as error:  # operators that do not fit together are no network
        failed = Unmatched(address=0, reason=f"what was matched makes no graph: {error}")
        return Recovery(
            graph=None, unmatched=(*matched.unmatched, failed), notes=tuple(notes),
            inputs=program.inputs, outputs=program.outputs,
        )  # fmt: skip
    return Recovery(
        graph=assembled.graph, nodes=assembled.nodes, weights=assembled.weights,
        unmatched=matched.unmatched, notes=tuple(notes), inputs=program.inputs,
        outputs=program.outputs, writable=matched.writable,
    )  # fmt: skip


def _ends(made: object) -> dict[str, Tensor]:
    """Return tensors that nothing reads: the last of a chain that breaks off."""
    tensors = [t for t in made if isinstance(t, Tensor)] if hasattr(made, "__iter__") else []
    read = {x.number for t in tensors for x in t.inputs}
    ends = [
        t for t in tensors
        if t.number not in read and t.value is None and t.inputs and t.op != "Rearrange"
        and not any(x.op == "Unknown" for x in ancestors([t]))
    ]  # fmt: skip
    return {f"end_{k}": t for k, t in enumerate(ends)}
