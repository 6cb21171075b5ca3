"""A workload and its machines as tables: filled once from the cost models, read by every search.

Models:  regions, tensors and constants of several networks under one numbering; seconds of every
         region under every configuration of every device; routes with their width and latency.
Ignores: kernel schedules and statistics (cost models are asked without them).
Judge:   the cost models themselves, region by region, in the tests.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from orrery.cost import CostModel, signature
from orrery.errors import SpecError, UnknownNameError
from orrery.graph import Graph, Region
from orrery.hardware import Device, Link, System
from orrery.plan import ModelReference
from orrery.progress import SILENT, Progress
from orrery.timeline import MOST_PS, PS_PER_S

#: What no clock can say, no plan may take.
LONGEST_S = MOST_PS / PS_PER_S


@dataclass(frozen=True, slots=True, kw_only=True)
class Workload:
    """Networks under one numbering; names carry their network's prefix.

    Attributes
    ----------
    names, regions : per region; the numbering is topological
    inputs, outputs : per region, the tensors it needs and those others (or the caller) need
    weights : per region, its constants (numbers into `weight_bytes`; shared ones share a number)
    needs : per region, the regions whose outputs it needs
    tensors, size_bytes : per tensor; producer (-1 for a network input); consumers
    results : tensors that the caller wants back
    states : network input -> tensor that holds its next value, which goes where the input stays
    grown : next value -> the state it appends to where that lies
    """

    references: tuple[ModelReference, ...]
    names: tuple[str, ...]
    regions: tuple[Region, ...]
    inputs: tuple[tuple[int, ...], ...]
    outputs: tuple[tuple[int, ...], ...]
    weights: tuple[tuple[int, ...], ...]
    needs: tuple[tuple[int, ...], ...]
    tensors: tuple[str, ...]
    size_bytes: tuple[int, ...]
    producer: tuple[int, ...]
    consumers: tuple[tuple[int, ...], ...]
    weight_bytes: tuple[int, ...]
    results: frozenset[int]
    states: Mapping[int, int]
    grown: Mapping[int, int]


@dataclass(frozen=True, slots=True, kw_only=True)
class Configuration:
    """A device as it is (``design=None``) or configured with one of its designs."""

    device: int
    design: str | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Tables:
    """Everything a search reads.

    Attributes
    ----------
    configurations, of_device : all of them; their numbers per device
    seconds : configurations × regions; infinite where refused
    own_units : configurations × regions; whether the design refused and the device does it itself
    kind : per device, a number that equal devices (all but name and group) share
    capacity_bytes : per device, of its off-chip memory
    ends, host : devices first, then the host if it is no device; its number, -1 without one
    route_links, route_channels : ends × ends, by name and by directed channel (None: no way)
    route_s, width_bytes_per_s : ends × ends; latency, and bandwidth of the narrowest link
    channels : how many there are
    refusals : per region without any configuration, every model's reason
    signatures : per region, what regions of the same price share (`orrery.cost.signature`)
    unpriced : regions that nobody can price anywhere, at zero seconds; plans say so
    """

    workload: Workload
    system: System
    configurations: tuple[Configuration, ...]
    of_device: tuple[tuple[int, ...], ...]
    seconds: NDArray[np.float64]
    own_units: NDArray[np.bool_]
    kind: tuple[int, ...]
    capacity_bytes: tuple[int, ...]
    ends: tuple[str, ...]
    host: int
    route_links: tuple[tuple[tuple[str, ...] | None, ...], ...]
    route_channels: tuple[tuple[tuple[int, ...], ...], ...]
    route_s: NDArray[np.float64]
    width_bytes_per_s: NDArray[np.float64]
    channels: int
    refusals: Mapping[int, tuple[str, ...]]
    signatures: tuple[str, ...]
    unpriced: tuple[int, ...] = ()


def number_workload(graphs: Sequence[Graph]) -> Workload:
    """Number the regions, tensors and constants of one or more networks.

    Raises
    ------
    SpecError : no network, or one without nodes
    ModelError : a tensor whose size is not known
    """
    if not graphs:
        raise SpecError("mapping: networks", found="none", wanted="one or more",
                        fix="give a network")  # fmt: skip
    builder = _Numbering()
    references = []
    for graph, prefix in zip(graphs, _prefixes(graphs), strict=True):
        if not graph.nodes:
            raise SpecError(f"network {graph.name!r}", found="no nodes", wanted="one or more",
                            fix="give a network that computes something")  # fmt: skip
        references.append(ModelReference(name=graph.name, digest=graph.digest, prefix=prefix))
        builder.add(graph, prefix)
    return builder.finish(tuple(references))


def _prefixes(graphs: Sequence[Graph]) -> list[str]:
    if len(graphs) == 1:
        return [""]
    prefixes: list[str] = []
    for graph in graphs:
        prefix, copy = f"{graph.name}/", 2
        while prefix in prefixes:
            prefix, copy = f"{graph.name}#{copy}/", copy + 1
        prefixes.append(prefix)
    return prefixes


class _Numbering:
    def __init__(self) -> None:
        self.names: list[str] = []
        self.regions: list[Region] = []
        self.inputs: list[tuple[int, ...]] = []
        self.outputs: list[tuple[int, ...]] = []
        self.weights: list[tuple[int, ...]] = []
        self.tensors: dict[str, int] = {}
        self.size_bytes: list[int] = []
        self.producer: list[int] = []
        self.weight_names: dict[str, int] = {}
        self.weight_bytes: list[int] = []
        self.results: set[int] = set()
        self.states: dict[int, int] = {}
        self.grown: dict[int, int] = {}

    def add(self, graph: Graph, prefix: str) -> None:
        for name in graph.inputs:
            if name not in graph.constants:
                self._tensor(graph, prefix, name, -1)
        for region in graph.regions():
            number = len(self.regions)
            self.regions.append(region)
            self.names.append(prefix + region.name)
            self.inputs.append(tuple(self.tensors[prefix + name] for name in region.inputs))
            outer = [
                self._weight(prefix + w, graph.constants[w].type.size_bytes) for w in region.weights
            ]
            # Constants inside bodies have no name outside; a line feed keeps theirs apart.
            inner = [
                self._weight(f"{prefix}{region.name}\n{i}", constant.type.size_bytes)
                for i, constant in enumerate(region.inner_constants)
            ]
            self.weights.append((*outer, *inner))
            self.outputs.append(
                tuple(self._tensor(graph, prefix, name, number) for name in region.outputs)
            )
        made = [name for name in graph.outputs if name not in graph.constants]
        next_values = set(graph.states.values())
        self.results |= {self.tensors[prefix + name] for name in made if name not in next_values}
        for before, following in graph.states.items():
            if following not in graph.constants:
                self.states[self.tensors[prefix + before]] = self.tensors[prefix + following]
                if graph.grown_from(following) == before:
                    self.grown[self.tensors[prefix + following]] = self.tensors[prefix + before]

    def _tensor(self, graph: Graph, prefix: str, name: str, producer: int) -> int:
        number = self.tensors[prefix + name] = len(self.tensors)
        self.size_bytes.append(graph.known_bytes(name) or 0)
        self.producer.append(producer)
        return number

    def _weight(self, name: str, size_bytes: int) -> int:
        number = self.weight_names.get(name)
        if number is None:
            number = self.weight_names[name] = len(self.weight_names)
            self.weight_bytes.append(size_bytes)
        return number

    def finish(self, references: tuple[ModelReference, ...]) -> Workload:
        consumers: list[list[int]] = [[] for _ in self.tensors]
        for region, tensors in enumerate(self.inputs):
            for tensor in tensors:
                consumers[tensor].append(region)
        needs = [
            tuple(dict.fromkeys(p for t in tensors if (p := self.producer[t]) >= 0))
            for tensors in self.inputs
        ]
        return Workload(
            references=references, names=tuple(self.names), regions=tuple(self.regions),
            inputs=tuple(self.inputs), outputs=tuple(self.outputs), weights=tuple(self.weights),
            needs=tuple(needs), tensors=tuple(self.tensors), size_bytes=tuple(self.size_bytes),
            producer=tuple(self.producer), consumers=tuple(map(tuple, consumers)),
            weight_bytes=tuple(self.weight_bytes), results=frozenset(self.results),
            states=self.states, grown=self.grown,
        )  # fmt: skip


def fill_tables(
    workload: Workload,
    system: System,
    models: Mapping[str, CostModel],
    *,
    progress: Progress = SILENT,
) -> Tables:
    """Ask the cost models once for every different region on every different device.

    Regions are equal when `orrery.cost.signature` says so; devices are equal when only name and
    group differ.

    Raises
    ------
    UnknownNameError : a device's design has no cost model
    SpecError : a cost model answers with a time that is negative or longer than any clock runs, or
        a link takes that long
    """
    of_kind, kind = _kinds(system.devices)
    configurations: list[Configuration] = []
    of_device: list[tuple[int, ...]] = []
    for number, device in enumerate(system.devices):
        designs: list[str | None] = [None, *dict.fromkeys(device.designs)]
        for design in designs[1:]:
            if design not in models:
                raise UnknownNameError("cost model", str(design), [m for m in models if m])
        of_device.append(tuple(range(len(configurations), len(configurations) + len(designs))))
        configurations += [Configuration(device=number, design=design) for design in designs]
    signatures = tuple(signature(region, models) for region in workload.regions)
    samples, sample_of = _different(workload, signatures)
    shape = (len(configurations), len(workload.regions))
    seconds, own = np.full(shape, np.inf), np.zeros(shape, dtype=np.bool_)
    refused: list[dict[str, None]] = [{} for _ in samples]
    done: dict[tuple[int, str | None], int] = {}
    for row, configuration in enumerate(configurations):
        progress.step("pricing regions", row, len(configurations))
        key = (kind[configuration.device], configuration.design)
        if key in done:
            seconds[row], own[row] = seconds[done[key]], own[done[key]]
            continue
        done[key] = row
        device = of_kind[key[0]]
        priced = [_price(r, device, configuration.design, models, refused[i])
                  for i, r in enumerate(samples)]  # fmt: skip
        seconds[row] = np.array([latency for latency, _ in priced])[sample_of]
        own[row] = np.array([by_itself for _, by_itself in priced], dtype=np.bool_)[sample_of]
    nowhere = np.flatnonzero(~np.isfinite(seconds).any(axis=0))
    own_model = models.get("")
    unpriced = [int(r) for r in nowhere if own_model is not None
                and _uncountable(own_model, workload.regions[r], system.devices)]  # fmt: skip
    seconds[:, unpriced] = 0.0
    nowhere = np.setdiff1d(nowhere, unpriced)
    ends = [device.name for device in system.devices]
    if system.host and system.host not in ends:
        ends.append(system.host)
    links, channels, latency, width, count = _routes(system, ends)
    _check_routes(workload, system, ends, latency, width)
    return Tables(
        workload=workload, system=system, configurations=tuple(configurations),
        of_device=tuple(of_device), seconds=seconds, own_units=own, kind=tuple(kind),
        capacity_bytes=tuple(device.offchip.size_bytes for device in system.devices),
        ends=tuple(ends), host=ends.index(system.host) if system.host else -1,
        route_links=links, route_channels=channels, route_s=latency, width_bytes_per_s=width,
        channels=count, refusals={int(r): tuple(refused[sample_of[r]]) for r in nowhere},
        signatures=signatures, unpriced=tuple(unpriced),
    )  # fmt: skip


def with_links(tables: Tables, links: Sequence[Link]) -> Tables:
    """Return tables of the same devices joined by other links; nothing is priced again.

    Raises
    ------
    SpecError : a link that takes longer than any clock runs
    """
    system = replace(tables.system, links=tuple(links))
    names, channels, latency, width, count = _routes(system, tables.ends)
    _check_routes(tables.workload, system, tables.ends, latency, width)
    return replace(
        tables, system=system, route_links=names, route_channels=channels, route_s=latency,
        width_bytes_per_s=width, channels=count,
    )  # fmt: skip


def _uncountable(model: CostModel, region: Region, devices: Sequence[Device]) -> bool:
    refusals = [model.refuses(region, device) for device in devices]
    return any(refusal is not None and refusal.uncountable for refusal in refusals)


def _kinds(devices: Sequence[Device]) -> tuple[list[Device], list[int]]:
    """Return one device of each kind, and the kind of each device."""
    plain = [replace(device, name="device", group="") for device in devices]
    first: list[int] = []
    kind = []
    for number, device in enumerate(plain):
        same = next((k for k, f in enumerate(first) if plain[f] == device), len(first))
        if same == len(first):
            first.append(number)
        kind.append(same)
    return [devices[f] for f in first], kind


def _different(
    workload: Workload, signatures: Sequence[str]
) -> tuple[list[Region], NDArray[np.intp]]:
    """Return one region of each signature, and for each region the number of its like."""
    numbers: dict[str, int] = {}
    samples: list[Region] = []
    like: list[int] = []
    for region, text in zip(workload.regions, signatures, strict=True):
        if text not in numbers:
            numbers[text] = len(samples)
            samples.append(region)
        like.append(numbers[text])
    return samples, np.array(like, dtype=np.intp)


def _price(
    region: Region,
    device: Device,
    design: str | None,
    models: Mapping[str, CostModel],
    refused: dict[str, None],
) -> tuple[float, bool]:
    """Return seconds (infinite when refused) and whether the device's own units do the work."""
    if design is not None:
        model = models[design]
        refusal = model.refuses(region, device)
        if refusal is None:
            return _seconds(model, region, device), False
        refused[f"{design} on {device.kind}: {refusal.reason}"] = None
    own = models.get("")
    operators = {node.operator for node in region.members}
    if own is None:
        refused[f"{device.kind} as it is: no cost model for it"] = None
        return math.inf, False
    if device.operators is not None and not operators <= set(device.operators):
        missing = ", ".join(sorted(operators - set(device.operators)))
        refused[f"{device.kind} as it is: no unit for {missing}"] = None
        return math.inf, False
    refusal = own.refuses(region, device)
    if refusal is not None:
        refused[f"{own.name} on {device.kind}: {refusal.reason}"] = None
        return math.inf, False
    return _seconds(own, region, device), design is not None


def _seconds(model: CostModel, region: Region, device: Device) -> float:
    latency_s = float(model.cost(region, device).latency_s)
    if not 0 <= latency_s <= LONGEST_S:
        raise SpecError(
            f"cost model {model.name!r}: region {region.name!r} on {device.name!r}",
            found=f"{latency_s} s",
            wanted=f"a finite time, zero or more, at most {LONGEST_S:.3g} s",
            fix="correct the model, or the rates and bandwidths of the device",
        )  # fmt: skip
    return latency_s


def _check_routes(
    workload: Workload, system: System, ends: Sequence[str], latency: NDArray[np.float64],
    width: NDArray[np.float64],
) -> None:  # fmt: skip
    """Refuse a way on which the largest tensor would take longer than any clock runs."""
    most = min(max((1, *workload.size_bytes)), 10**300)
    # Compared with a rate: dividing by the narrowest widths would overflow.
    slow = np.isfinite(latency) & ((latency > LONGEST_S) | (width < most / LONGEST_S))
    for i, j in np.argwhere(slow).tolist():
        route = system.route(ends[i], ends[j]) or ()
        link = max(route, key=lambda x: (x.latency_s > LONGEST_S, -x.bandwidth_bytes_per_s))
        raise SpecError(
            f"system {system.name!r}: link {link.name!r}",
            found=f"{link.bandwidth_bytes_per_s:.3g} B/s and {link.latency_s:.3g} s of latency",
            wanted=f"{most} bytes (the largest tensor) on their way for at most {LONGEST_S:.3g} s",
            fix="correct its bandwidth or its latency",
        )  # fmt: skip


def _routes(
    system: System, ends: Sequence[str]
) -> tuple[
    tuple[tuple[tuple[str, ...] | None, ...], ...],
    tuple[tuple[tuple[int, ...], ...], ...],
    NDArray[np.float64],
    NDArray[np.float64],
    int,
]:
    first, count = {}, 0
    for link in system.links:
        first[link.name] = count
        count += 2 if link.duplex else 1
    latency, width = np.zeros((len(ends),) * 2), np.full((len(ends),) * 2, np.inf)
    links: list[tuple[tuple[str, ...] | None, ...]] = []
    channels: list[tuple[tuple[int, ...], ...]] = []
    for i, source in enumerate(ends):
        names: list[tuple[str, ...] | None] = []
        taken: list[tuple[int, ...]] = []
        for j, target in enumerate(ends):
            route = system.route(source, target)
            if route is None:
                names.append(None)
                taken.append(())
                latency[i, j], width[i, j] = np.inf, 0.0
                continue
            here, directed = source, []
            for hop, link in enumerate(route):
                beyond = route[hop + 1].ends if hop + 1 < len(route) else (target,)
                there = next(end for end in link.ends if end in beyond and end != here)
                against = link.duplex and link.ends.index(there) < link.ends.index(here)
                directed.append(first[link.name] + int(against))
                here = there
            names.append(tuple(link.name for link in route))
            taken.append(tuple(directed))
            latency[i, j] = sum(link.latency_s for link in route)
            width[i, j] = min((x.bandwidth_bytes_per_s for x in route), default=np.inf)
        links.append(tuple(names))
        channels.append(tuple(taken))
    return tuple(links), tuple(channels), latency, width, count
