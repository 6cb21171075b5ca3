"""Every tensor's way through a plan, and what all of them together ask of the memories.

Models:  inputs lie on the host (without one, where the first region that reads them needs them),
         constants and states on devices; results end on the host, next values of states where the
         state lies. A device holds its residents always (one that goes round a ring is away until
         it comes home), and any other part from when it is begun there to its last use.
Ignores: work space inside kernels; bytes of views and transposes where they are made; the part of
         a cache's next value that is the cache.
Judge:   corruptions of valid certificates (tests).
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import cache
from math import prod

import numpy as np
from numpy.typing import NDArray

from orrery.certificate import Box, Certificate, Computation, Delivery, Resident
from orrery.hardware import System

from ._cells import fits
from ._regions import Known, Regions
from ._report import Violations
from ._tensors import Story, Track

#: Operators that show the same bytes another way.
_VIEWS = frozenset({"Constant", "Flatten", "Identity", "Reshape", "Shape", "Size", "Squeeze",
                    "Transpose", "Unsqueeze"})  # fmt: skip
_BITS = {"bool": 8, "string": 0, "int2": 2, "uint2": 2, "int4": 4, "uint4": 4, "float4e2m1": 4,
         "complex64": 64, "complex128": 128, "bfloat16": 16}  # fmt: skip

_Lives = dict[str, list[tuple[NDArray[np.int64], NDArray[np.int64], NDArray[np.int64]]]]


def check_flow(
    certificate: Certificate, computations: Sequence[Computation], deliveries: Sequence[Delivery],
    regions: Regions, system: System, found: Violations,
) -> None:  # fmt: skip
    """Follow every tensor and add up what every memory holds."""
    _Flow(certificate, computations, deliveries, regions, system, found).check()


@cache
def bits_of(dtype: str) -> int:
    """Return the bits of an element as stored: those that its type's name says."""
    if dtype in _BITS:
        return _BITS[dtype]
    if dtype.startswith("float8"):
        return 8
    return int("".join(c for c in dtype if c.isdigit()))


class _Flow:
    def __init__(
        self, certificate: Certificate, computations: Sequence[Computation],
        deliveries: Sequence[Delivery], regions: Regions, system: System, found: Violations,
    ) -> None:  # fmt: skip
        self.regions, self.system, self.found = regions, system, found
        self.devices = {device.name: device for device in system.devices}
        ends = {end for link in system.links for end in link.ends}
        self.ends = tuple(dict.fromkeys((*self.devices, *sorted(ends))))
        self.maker = {known.prefix + t: known for known in regions.known.values()
                      for t in known.writes}  # fmt: skip
        self.end = max([c.end_ps for c in computations] + [d.end_ps for d in deliveries], default=0)
        self.stories: dict[str, Story] = {}
        self.fixed = dict.fromkeys(self.devices, 0)  # bits
        self.lives: _Lives = {name: [] for name in self.devices}
        self._tell()
        for c in computations:
            for tensor, box in dict.fromkeys(c.reads):
                self.stories[tensor].reads.append((c, box))
            for tensor, box in c.writes:
                self.stories[tensor].writes.append((c, box))
        for d in deliveries:
            if self._sound(d.tensor, d.box, d.size_bytes, f"delivery to {d.target!r}"):
                self.stories[d.tensor].deliveries.append(d)
        for resident in certificate.residents:
            if self._may_lie(resident):
                self.stories[resident.tensor].residents.append(resident)

    def _tell(self) -> None:
        """Begin the story of every tensor that crosses the border of a region."""
        split, host = self.regions.plan.is_split, self.system.host
        for prefix, graph in self.regions.graphs:
            made = {t for node in graph.nodes for t in node.outputs if t}
            for tensor in dict.fromkeys((*graph.inputs, *graph.constants, *made)):
                name = prefix + tensor
                is_input = tensor in graph.inputs and tensor not in graph.states
                type_ = self.regions.types.get(name)
                scalar = split and type_ is not None and type_.rank == 0
                known = self.maker.get(name)
                at: tuple[str, ...] = (host,) if is_input and host else ()
                self.stories[name] = Story(
                    name=name, sizes=self.regions.sizes(name), made=known is not None, free=scalar,
                    stays=not is_input,
                    given=self.ends if is_input and scalar else at,
                    loops={} if known is None else known.loops,
                )  # fmt: skip

    def _sound(self, tensor: str, box: Box, size_bytes: int, what: str) -> bool:
        """Check that a part exists and is as large as it says."""
        where = f"{tensor!r}, {what}"
        if tensor not in self.stories:
            self.found.add("tensor", where, "no such tensor", "a tensor of the networks")
            return False
        if not fits(box, self.stories[tensor].sizes):
            self.found.add("box", where, box, f"a part of {self.stories[tensor].sizes}")
            return False
        type_ = self.regions.types.get(tensor)
        if type_ is not None:
            volume = prod(stop - start for start, stop in box)
            wanted = -(-volume * bits_of(type_.dtype) // 8)
            if size_bytes != wanted:
                self.found.add("size", where, f"{size_bytes} bytes", f"{wanted} bytes")
        return True

    def _may_lie(self, resident: Resident) -> bool:
        """Check that something may be there before the clock starts."""
        where = f"{resident.tensor!r} on {resident.device!r}"
        if resident.device not in self.devices:
            self.found.add("device", where, resident.device, ", ".join(self.devices))
            return False
        what = f"resident on {resident.device!r}"
        if not self._sound(resident.tensor, resident.box, resident.size_bytes, what):
            return False
        if resident.tensor in self.maker or (
            not self.stories[resident.tensor].stays and self.system.host
        ):
            self.found.add("resident", where, "what is made, or comes from the host",
                           "a constant, a state, an input without a host")  # fmt: skip
            return False
        return True

    # -- all tensors ------------------------------------------------------------------------------

    def check(self) -> None:
        for prefix, graph in self.regions.graphs:
            following = {following: state for state, following in graph.states.items()}
            for name, story in self.stories.items():
                tensor = name[len(prefix) :]
                if not name.startswith(prefix) or tensor not in graph.types:
                    continue
                if not (story.made or story.reads or story.deliveries or story.residents):
                    continue
                if self._just_lies(story):
                    continue
                self._check_inputs(story)
                state = following.get(tensor)
                homes = self.stories[prefix + state].residents if state is not None else []
                same = [r for r in homes if fits(r.box, story.sizes)]
                whole = tuple((0, size) for size in story.sizes)
                track = Track(story, self.ends, self.found, [whole, *(r.box for r in same)])
                if state is not None:
                    self._check_home(track, homes, prefix + state)
                elif tensor in graph.outputs and self.system.host and name in self.maker and (
                    not track.has(self.system.host, whole)
                ):  # fmt: skip
                    self.found.add("results", f"{name!r}", "not all of it on the host",
                                   f"all of it on {self.system.host!r}")  # fmt: skip
                grown = graph.grown_from(tensor) if name in self.maker else None
                self._keep(track, None if grown is None else prefix + grown)
        self._check_memory()

    def _just_lies(self, story: Story) -> bool:
        """Whether a constant is read only where it lies, one part per device: most of them."""
        if story.made or story.deliveries or not story.stays:
            return False
        lies = {resident.device: resident.box for resident in story.residents}
        if len(lies) < len(story.residents) or not all(
            c.device in lies
            and all(a <= x and y <= b for (a, b), (x, y) in zip(lies[c.device], box))
            for c, box in story.reads
        ):  # fmt: skip
            return False
        type_ = self.regions.types.get(story.name)
        for device, box in lies.items():
            if type_ is not None:
                volume = prod(stop - start for start, stop in box)
                self.fixed[device] += volume * bits_of(type_.dtype)
        return True

    def _check_inputs(self, story: Story) -> None:
        """Without a host an input starts where one region needs it."""
        lies = {resident.device for resident in story.residents}
        if story.stays or not lies:
            return
        if not any(
            lies <= set(known.assignment.devices) for known in self.regions.known.values()
            if story.name in {known.prefix + t for t in known.reads}
        ):  # fmt: skip
            self.found.add("resident", f"{story.name!r}", f"an input on {', '.join(sorted(lies))}",
                           "on devices of one region that reads it")  # fmt: skip

    def _check_home(self, track: Track, homes: Sequence[Resident], state: str) -> None:
        """The next value of a state has to end where the state lies."""
        story, was = track.story, self.stories[state].sizes
        for home in homes:
            # Where a cache grew, a part that reached to its old end has to reach to its new one.
            box = (
                tuple(
                    (start, new if stop == old else stop)
                    for (start, stop), old, new in zip(home.box, was, story.sizes, strict=True)
                )
                if len(was) == len(story.sizes)
                else tuple((0, size) for size in story.sizes)
            )
            if not track.has(home.device, box):
                self.found.add("state", f"{story.name!r}", f"not on {home.device!r}",
                               f"on every device with {state!r}")  # fmt: skip

    # -- memory -----------------------------------------------------------------------------------

    def _keep(self, track: Track, grown: str | None) -> None:
        """Add what a tensor takes on every device."""
        story = track.story
        type_ = self.regions.types.get(story.name)
        if type_ is None:
            return
        bits = bits_of(type_.dtype)
        known = self.maker.get(story.name)
        view = known is not None and _is_view(known)
        for name, held in track.held.items():
            if name not in self.devices:
                continue
            made_here = known is not None and name in known.assignment.devices
            if view and made_here:
                continue
            begin, end, elements = held.lives(self.end)
            if grown is not None and any(r.device == name for r in self.stories[grown].residents):
                # What the cache had is there already; only what is new is written.
                total, had = type_.elements, self.regions.types[grown].elements
                elements = elements * max(total - had, 0) // max(total, 1)
            self.lives[name].append((begin, end, elements * bits))

    def _check_memory(self) -> None:
        for name, device in self.devices.items():
            inner = sum(known.inner_bytes for known in self.regions.known.values()
                        if name in known.assignment.devices)  # fmt: skip
            fixed = self.fixed[name] + 8 * inner
            lives = self.lives[name]
            most = fixed
            if lives:
                begin, end, bits = (np.concatenate([life[i] for life in lives]) for i in range(3))
                times = np.concatenate([begin, end])
                changes = np.concatenate([bits, -bits])
                # What ends at an instant makes room for what begins.
                order = np.lexsort((changes, times))
                most = fixed + int(max(np.cumsum(changes[order]).max(initial=0), 0))
            if most > 8 * device.offchip.size_bytes:
                self.found.add("memory", f"{name}.{device.offchip.name}", f"{most / 8:.0f} bytes",
                               f"at most {device.offchip.size_bytes} bytes")  # fmt: skip


def _is_view(known: Known) -> bool:
    return known.node is not None and not known.node.domain and known.node.op in _VIEWS
