"""How a network is written as C: the choices that generators of such code differ in."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal


@dataclass(frozen=True, slots=True, kw_only=True)
class CStyle:
    """Choices of a C generator; none changes what the network computes, up to rounding.

    Attributes
    ----------
    padding : ``guards`` skips what lies outside by conditions in the innermost loop; ``copy``
        first copies the image onto a larger canvas
    sums : ``register`` adds up in a local variable and stores once; ``memory`` writes the bias to
        the output and adds to it there
    memory : ``buffers`` gives each tensor an array of its own; ``arena`` lays them into one array
        and uses a place again when its tensor is no longer read
    weights : ``literals`` writes numbers as C; ``blob`` lets the assembler include a file of bytes
        (large networks); ``given`` leaves them out: the entry takes a pointer to all of them
    functions : ``external`` or ``static``: a compiler may inline the latter and drop them
    fold : batch normalisation as one scale and one shift a channel, worked out when generating
    """

    padding: Literal["guards", "copy"] = "guards"
    sums: Literal["register", "memory"] = "register"
    memory: Literal["buffers", "arena"] = "buffers"
    weights: Literal["literals", "blob", "given"] = "literals"
    functions: Literal["external", "static"] = "external"
    fold: bool = False
