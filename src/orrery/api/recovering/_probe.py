"""How a recovered network's binary is run: natively, in an emulator, or by its own runtime."""

from __future__ import annotations

import platform
from collections.abc import Mapping, Sequence
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

if TYPE_CHECKING:
    from orrery.decompile import Network
    from orrery.graph import Graph
    from orrery.runtime.sandbox import Block, Emulated, Pointer, Probe, Watched

#: Where the runtime of a container comes from.
_RUNTIMES = {"TVM virtual machine": "tvm", "IREE module": "iree"}
#: Room for an output that was not recovered, whose size nobody knows: the code stores there.
_SPARE_BYTES = 1 << 22
Draws = Sequence[Mapping[str, NDArray[Any]]]


def probe_of(
    binary: Path, network: Network, draws: Draws, base: int | None, architecture: str | None,
    companion: Path | None = None,
) -> tuple[Probe | None, str]:  # fmt: skip
    """Return a probe and how it runs, or None and why it cannot be made."""
    graph = network.recovery.graph
    assert graph is not None  # the caller has looked
    if network.container:
        return _by_runtime(binary, network, graph, draws)
    if network.entry is None or set(network.recovery.inputs) != set(graph.inputs):
        return None, "how the function takes its arguments is not known"
    if not _answers(network, graph):
        return None, "none of what the function stores was recovered to the end"
    return _by_call(binary, network, graph, draws, base, architecture, companion)


def _by_runtime(
    binary: Path, network: Network, graph: Graph, draws: Draws
) -> tuple[Probe | None, str]:
    from orrery.runtime.sandbox import VirtualMachine, loadable

    runtime = _RUNTIMES[network.container]
    data = binary.read_bytes()
    if find_spec(runtime) is None:
        return None, f"the package {runtime!r}, which runs such files, is not installed"
    if runtime == "tvm" and (refusal := loadable(data)) is not None:
        return None, f"it cannot be loaded here: {refusal}"
    inputs = tuple((name, graph.type(name).dtype, _shape(graph, name)) for name in graph.inputs)
    probe = VirtualMachine(
        runtime="tvm" if runtime == "tvm" else "iree", file=data,
        function=network.function.partition("$")[0], inputs=inputs,
        rounds=tuple(_bytes(one) for one in draws),
        outputs_bytes=tuple(_size(graph, name) for name in graph.outputs),
    )  # fmt: skip
    return probe, f"by the runtime it was made for ({runtime})"


def _by_call(
    binary: Path, network: Network, graph: Graph, draws: Draws, base: int | None,
    architecture: str | None, companion: Path | None,
) -> tuple[Probe, str]:  # fmt: skip
    from orrery.runtime.sandbox import Call, Native, loadable, movable

    data = binary.read_bytes()
    # A loader would look for what the companion holds among this system's libraries.
    if loadable(data) is None and companion is None:
        blocks, arguments, rounds = _given(network, graph, draws)
        calls = (Call(entry=network.entry or 0, arguments=arguments),)
        native = Native(file=movable(data), calls=calls, blocks=blocks, rounds=rounds,
                        answers=_answers(network, graph))  # fmt: skip
        return native, f"natively on this {platform.machine()}"
    emulated = emulation_of(binary, network, draws, base, architecture, companion=companion)
    return emulated, f"in an emulator of {emulated.architecture}"


def _given(
    network: Network, graph: Graph, draws: Draws
) -> tuple[tuple[Block, ...], tuple[int | Pointer, ...], tuple[dict[str, bytes], ...]]:
    """Return memory for inputs and outputs, what the entry is called with, and drawn inputs."""
    from orrery.runtime.sandbox import Block, Pointer

    recovery, known = network.recovery, {*graph.inputs, *graph.outputs}
    names = dict.fromkeys((*recovery.inputs, *recovery.outputs))
    sizes = {name: _size(graph, name) if name in known else _SPARE_BYTES for name in names}
    blocks = tuple(Block(name=name, size_bytes=size) for name, size in sizes.items())
    arguments = tuple(Pointer(block=name) if name in names else 0 for name in network.arguments)
    return blocks, arguments, tuple(map(_bytes, draws))


def _answers(network: Network, graph: Graph) -> tuple[str, ...]:
    from orrery.decompile.topology import AFTER

    return tuple(name for name in network.recovery.outputs
                 if name in graph.outputs or f"{name}{AFTER}" in graph.outputs)  # fmt: skip


def emulation_of(
    binary: Path, network: Network, draws: Draws, base: int | None, architecture: str | None,
    watched: tuple[Watched, ...] = (), companion: Path | None = None,
) -> Emulated:  # fmt: skip
    """Return a probe that calls a network's entry in an emulator.

    Parameters
    ----------
    watched : instructions whose stores are answered as well
    companion : the file that holds arrays of the network
    """
    from orrery.decompile.images import open_image, with_arrays
    from orrery.runtime.sandbox import Call, Emulated, Piece

    graph, entry = network.recovery.graph, network.entry or 0
    assert graph is not None
    blocks, arguments, rounds = _given(network, graph, draws)
    image = open_image(binary.read_bytes(), base=base, architecture=architecture, name=binary.name)
    if companion is not None:
        image = with_arrays(image, companion.read_bytes(), companion.name)
    outside = tuple(Piece(address=at, data=one.data, size_bytes=len(one.data))
                    for at, one in image.given.items() if image.segment(at) is None)  # fmt: skip
    calls = (Call(entry=entry | image.is_thumb(entry & ~1), arguments=arguments),)
    return Emulated(
        architecture=image.architecture,
        pieces=tuple(Piece(address=one.address, data=one.data, size_bytes=one.size_bytes,
                           writable=one.writable, executable=one.executable)
                     for one in image.segments if one.size_bytes) + outside,
        imports=image.imports, calls=calls, blocks=blocks, rounds=rounds,
        answers=_answers(network, graph), watched=watched,
    )  # fmt: skip


def _bytes(values: Mapping[str, NDArray[Any]]) -> dict[str, bytes]:
    return {name: np.ascontiguousarray(one).tobytes() for name, one in values.items()}


def _shape(graph: Graph, name: str) -> tuple[int, ...]:
    return tuple(int(one) for one in graph.type(name).shape or ())


def _size(graph: Graph, name: str) -> int:
    size = graph.known_bytes(name)
    if size is None:
        raise ValueError(f"{name} has no known size")
    return size
