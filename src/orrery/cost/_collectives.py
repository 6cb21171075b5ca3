"""Collective operations over the links of a system, as phases of moves.

Models:  ring algorithms (each participant talks to the next in the order given) and direct ones
         (everybody talks to everybody at once); phases follow each other, the moves of a phase
         share channels. ``best`` takes the faster of the two. Sizes are whole bytes: a payload that
         does not divide evenly is split into parts that differ by one.
Ignores: the arithmetic of reductions, overlap of phases, in-network reduction.
Judge:   closed forms on rings and fully connected systems: all-gather and reduce-scatter
         (p−1)/p · V/B, all-reduce twice that (Chan et al., "Collective communication: theory,
         practice, and experience", 2007); bytes counted from the definition.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from itertools import pairwise

from orrery.errors import SpecError
from orrery.hardware import System

from ._transfer import NOTHING, Movement, moves_cost

_ALGORITHMS = ("best", "ring", "direct")


def all_gather(
    system: System, devices: Sequence[str], size_bytes: int, algorithm: str = "best"
) -> Movement:
    """Give everybody the whole of what each holds a part of.

    Parameters
    ----------
    devices : participants, in ring order
    size_bytes : of the whole, V; each holds V/p before and V after
    algorithm : ``ring``, ``direct`` or ``best``
    """
    parts = _parts(size_bytes, devices)

    def ring() -> Movement:
        count, total = len(devices), NOTHING
        for step in range(count - 1):
            # In every step each passes on the part that reached it in the step before.
            total = total.then(moves_cost(system, [
                (device, devices[(i + 1) % count], parts[(i - step) % count])
                for i, device in enumerate(devices)
            ]))  # fmt: skip
        return total

    def direct() -> Movement:
        return moves_cost(system, [
            (a, b, parts[i]) for i, a in enumerate(devices) for b in devices if a != b
        ])  # fmt: skip

    return _choose(algorithm, ring, direct)


def reduce_scatter(
    system: System, devices: Sequence[str], size_bytes: int, algorithm: str = "best"
) -> Movement:
    """Sum what everybody holds and leave each a part of the sum; V before, V/p after."""
    parts = _parts(size_bytes, devices)

    def ring() -> Movement:
        count, total = len(devices), NOTHING
        for step in range(count - 1):
            total = total.then(moves_cost(system, [
                (device, devices[(i + 1) % count], parts[(i - step - 1) % count])
                for i, device in enumerate(devices)
            ]))  # fmt: skip
        return total

    def direct() -> Movement:
        return moves_cost(system, [
            (a, b, parts[j]) for a in devices for j, b in enumerate(devices) if a != b
        ])  # fmt: skip

    return _choose(algorithm, ring, direct)


def all_reduce(
    system: System, devices: Sequence[str], size_bytes: int, algorithm: str = "best"
) -> Movement:
    """Give everybody the sum: a reduce-scatter and an all-gather of the same V bytes."""
    scattered = reduce_scatter(system, devices, size_bytes, algorithm)
    return scattered.then(all_gather(system, devices, size_bytes, algorithm))


def all_to_all(system: System, devices: Sequence[str], size_bytes: int) -> Movement:
    """Exchange parts: each of p holds V/p and sends 1/p of it to each (a change of split)."""
    parts = _parts(size_bytes, devices)
    return moves_cost(system, [
        (a, b, -(-parts[i] // len(devices))) for i, a in enumerate(devices) for b in devices
        if a != b
    ])  # fmt: skip


def broadcast(
    system: System, source: str, targets: Sequence[str], size_bytes: int, algorithm: str = "best"
) -> Movement:
    """Give everybody what one holds: directly, or (``ring``) scattered and then gathered."""
    devices = [source, *targets]
    parts = _parts(size_bytes, devices)

    def ring() -> Movement:
        scatter = moves_cost(system, [(source, t, p) for t, p in zip(targets, parts[1:])])
        return scatter.then(all_gather(system, devices, size_bytes, "ring"))

    def direct() -> Movement:
        return moves_cost(system, [(source, target, size_bytes) for target in targets])

    return _choose(algorithm, ring, direct)


def halo_exchange(system: System, devices: Sequence[str], edge_bytes: int) -> Movement:
    """Exchange the rows (or columns) at the border of a split, both ways between neighbours.

    Parameters
    ----------
    devices : in the order of the split: each borders on the next, the last on nobody
    edge_bytes : of one border in one direction, e.g. rows · width · channels · bytes
    """
    _check(devices)
    return moves_cost(system, [
        move for a, b in pairwise(devices) for move in ((a, b, edge_bytes), (b, a, edge_bytes))
    ])  # fmt: skip


def _choose(
    algorithm: str, ring: Callable[[], Movement], direct: Callable[[], Movement]
) -> Movement:
    if algorithm not in _ALGORITHMS:
        raise SpecError("collective", found=algorithm, wanted=f"one of {', '.join(_ALGORITHMS)}",
                        fix="correct the algorithm")  # fmt: skip
    if algorithm == "ring":
        return ring()
    if algorithm == "direct":
        return direct()
    return min(ring(), direct(), key=lambda movement: movement.latency_s)


def _parts(size_bytes: int, devices: Sequence[str]) -> list[int]:
    _check(devices)
    if size_bytes < 0:
        raise SpecError("collective", found=f"{size_bytes} bytes", wanted="zero or more",
                        fix="correct the size")  # fmt: skip
    share, rest = divmod(size_bytes, len(devices))
    return [share + (i < rest) for i in range(len(devices))]


def _check(devices: Sequence[str]) -> None:
    if not devices or len(set(devices)) != len(devices):
        raise SpecError("collective", found=", ".join(devices) or "nobody",
                        wanted="different participants", fix="name each once")  # fmt: skip
