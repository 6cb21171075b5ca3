"""Weights against the file, independently of how they were read: the same words, bit for bit."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from orrery.decompile import RecoveredWeight
    from orrery.graph import Graph

_PLACE = re.compile(r"(?:(?P<section>[^+]*)\+)?(?P<offset>0x[0-9a-f]+)")
_ADDRESS = re.compile(r"0x[0-9a-f]+$")


@dataclass(frozen=True, slots=True, kw_only=True)
class Certificate:
    """What comparing a tensor with the file found.

    Attributes
    ----------
    holds : every number of the tensor stands, bit for bit, in the bytes that it is said to be from
    text : one sentence
    digest : SHA-256 of the tensor's bytes, little-endian, in ONNX's order
    """

    holds: bool
    text: str
    digest: str


def weight_certificates(
    binary: Path, graph: Graph, weights: Sequence[RecoveredWeight], base: int | None,
    architecture: str | None, companion: Path | None = None,
) -> dict[str, Certificate]:  # fmt: skip
    """Look every weight up in the file; tensors that stand in the code itself are left out.

    Parameters
    ----------
    companion : the file beside the binary that some of them stand in
    """
    from orrery.decompile import COMPANION
    from orrery.decompile.images import open_image

    data, beside = binary.read_bytes(), b"" if companion is None else companion.read_bytes()
    sections: Mapping[str, int] = {}
    image = None
    if data[:4] == b"\x7fELF" or data[:8] == b"!<arch>\n" or base is not None:
        image = open_image(data, base=base, architecture=architecture, name=binary.name)
        sections = {one.name: one.address for one in reversed(image.sections)}
    found = {}
    for weight in weights:
        constant = graph.constants.get(weight.tensor)
        if constant is None or not weight.present or not weight.origin:
            continue
        words = np.ascontiguousarray(constant.array()).tobytes()
        digest = hashlib.sha256(words).hexdigest()
        place = _PLACE.search(weight.origin)
        address = None
        if place is not None:
            named = place["section"] or ""  # a section, or what ends with an address itself
            at = _ADDRESS.search(named)
            start = sections.get(named, int(at[0], 16) if at else 0)
            address = start + int(place["offset"], 16)
        held = b""
        if address is not None and COMPANION in weight.origin:
            held = beside[address : address + max(weight.size_bytes, len(words))]
        elif image is not None and address is not None:
            segment = image.segment(address)
            if segment is not None:
                # A padded or packed layout holds more than the tensor.
                size = min(segment.end - address, max(weight.size_bytes, len(words)))
                held = image.read(address, size)
        found[weight.tensor] = _compared(words, held, digest)
    return found


def _compared(words: bytes, held: bytes, digest: str) -> Certificate:
    if held[: len(words)] == words:
        return Certificate(holds=True, text="bit-exact, in the file's own order", digest=digest)
    ours, theirs = (np.frombuffer(one[: len(one) // 4 * 4], "<u4") for one in (words, held))
    kinds, counts = np.unique(ours, return_counts=True)
    have = dict(zip(*(one.tolist() for one in np.unique(theirs, return_counts=True))))
    missing = sum(max(0, count - have.get(kind, 0))
                  for kind, count in zip(kinds.tolist(), counts.tolist()))  # fmt: skip
    if held and not missing:
        return Certificate(holds=True, text="bit-exact, in another order than the file's",
                           digest=digest)  # fmt: skip
    text = (f"{missing} of {ours.size} numbers do not stand there"
            if held else "its place in the file could not be read")  # fmt: skip
    return Certificate(holds=False, text=text, digest=digest)
