"""Whether what was recovered is a network, and whether it is all of one.

Models:  a network computes with parameters that nobody wrote by hand, in operators that lead to one
         another; or a framework's container, or the user, says that it is one; or it is a single
         operator and the file computes nothing else.
Ignores: what names say.
Judge:   system libraries and numeric programs, none of which is a network, beside single operators
         compiled alone, all of which are (tests/decompile/test_judging.py, studies/dnd).
"""

from __future__ import annotations

from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from orrery.graph import Graph, Node
from orrery.units import counted

from ._recovery import Recovery

Verdict = Literal["whole", "partial", "none"]

#: Operators that learn; a network has one of them with its own parameters.
_LEARNING = {"Conv", "ConvTranspose", "Gemm", "MatMul", "BatchNormalization", "LayerNormalization"}
_LEAST_OPERATORS = 2

#: A table that people write by hand (a filter, a change of colours or of axes) has fewer numbers
#: than this, or repeats them: it is symmetric, or sines of few angles.
LEAST_PARAMETERS = 16
_LEAST_SHARE, _MANY = 0.6, 256


def is_learned(array: NDArray[Any]) -> bool:
    """Say whether numbers look like parameters that training left, rather than like a table.

    They are many, and their magnitudes differ: of a transform's or a symmetric filter's numbers
    half or more are repeated. Numbers that are 0 do not count: networks are pruned. Numbers of few
    bits repeat as well, but there are hundreds of different ones.
    """
    kept = np.abs(np.asarray(array, np.float64)[np.asarray(array) != 0]).ravel()
    if kept.size < LEAST_PARAMETERS or not np.isfinite(kept).all():
        return False
    different = np.unique(np.round(kept / kept.max(), 5)).size  # a table was rounded as well
    return different >= _MANY or different >= _LEAST_SHARE * kept.size


def _parameters(graph: Graph, node: Node) -> list[NDArray[Any]]:
    return [graph.constants[name].array() for name in node.inputs if name in graph.constants]


def judge(
    recovery: Recovery, *, contained: bool, named: bool, alone: bool
) -> tuple[Verdict, str]:  # fmt: skip
    """Return whether what was recovered is a network and all of it, and why not.

    Parameters
    ----------
    contained : whether a framework's container calls it
    named : whether the user named its entry
    alone : whether all of the file that computes with floats in loops belongs to it
    """
    graph = recovery.graph
    if graph is None or not graph.nodes:
        return "none", "no output could be expressed by operators"
    ended = [note for note in recovery.notes if "no output of the program was reached" in note]
    if not contained and not named:
        refusal = _refusal(recovery, graph, alone=alone, ended=bool(ended))
        if refusal:
            return "none", refusal
    if recovery.unmatched:
        return "partial", f"{len(recovery.unmatched)} places in the code were not matched"
    if ended:
        return "partial", ended[0]
    if absent := [one.tensor for one in recovery.weights if not one.present]:
        return "partial", f"the numbers of {counted(len(absent), 'weight')} are not in this file"
    return "whole", ""


def _refusal(recovery: Recovery, graph: Graph, *, alone: bool, ended: bool) -> str:
    """Say why operators in ordinary code are no network; empty where they are one."""
    learning = [(node, held) for node in graph.nodes if node.op in _LEARNING
                and (held := _parameters(graph, node))]  # fmt: skip
    learned = [node for node, held in learning
               if is_learned(np.concatenate([one.ravel() for one in held]))]  # fmt: skip
    if learning and not learned:
        return ("operators were recognised, but their parameters look like a table that was "
                "written by hand: name the function by --entry if it is a network")  # fmt: skip
    absent = any(not one.present for one in recovery.weights)
    elsewhere = "give the file with its weights by --with, or " if absent else ""
    if len(graph.nodes) >= _LEAST_OPERATORS and learned:
        if recovery.unmatched and len(graph.nodes) < len(recovery.unmatched):
            return "more of the code is unmatched than matched"
        return ""
    if recovery.unmatched or ended:
        return ("operators were recognised, but none with parameters that leads to another: "
                f"{elsewhere}name the function by --entry if it is a network")  # fmt: skip
    if not alone:
        return ("operators were recognised, but none with parameters that leads to another, and "
                f"the file computes other things as well: {elsewhere}name the function by --entry "
                "if it is a network")  # fmt: skip
    return ""
