"""The constraint model of a mapping: which device and design, when, and over which links.

Models:  every region whole on one device; every device with one configuration and one region at a
         time; a tensor goes straight from where it is made to each device that needs it, once;
         inputs from the host, results to the host, next values to their states; residents and live
         activations in off-chip memory. With exclusive links every directed channel of a route is
         taken for as long as the bytes need on the narrowest of them (as the list scheduler does):
         good orders come of it, but no bound, for links that are shared may do better. With shared
         links a transfer takes at least that long, and a channel carries no more within a window
         than its bandwidth allows, so the optimum is a lower bound for every way of sharing.
Ignores: passing a tensor on from a device that did not make it; splitting a region; shared links:
         windows of channels that very many transfers may take (there, the total alone counts).
Judge:   replays of all plans of small networks: devices, designs, orders and homes.

Times are whole units, each duration rounded *down*. Rounding every start of a real schedule down
gives a schedule of the model (floor(a) + floor(b) <= floor(a + b); intervals that share an instant
after rounding shared one before), so the model's optimum never exceeds the real one. For windows:
let A be the rounded begin of a transfer and E its rounded arrival; what begins at A or later and
arrives by E is carried between A and E + 1 in real time, so its rounded load is at most E - A.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from fractions import Fraction
from itertools import pairwise, permutations
from typing import Any

from ._solver import constraint_programming
from ._tables import Tables

#: transfers that may take a channel, up to which there are windows from each begin to the end of
#: everything and from the start to each arrival, and windows from each begin to each arrival
_WINDOWS, _ALL_WINDOWS = 24, 6


@dataclass(frozen=True, slots=True, kw_only=True)
class _Flow:
    """A transfer that may take a channel: when it begins and arrives, and for how long it loads."""

    begin: Any
    arrival: Any
    load: int
    move: Any


@dataclass(frozen=True, slots=True, kw_only=True)
class Placement:
    """Who does what where, and in which order; the times follow.

    Attributes
    ----------
    configuration : per device, the number of the configuration in force
    device : per region
    home : tensors that start on a device of the searcher's choice -> that device
    when : (region, -1, -1) or (tensor, source, target) -> start and end, in any unit
    """

    configuration: tuple[int, ...]
    device: tuple[int, ...]
    home: dict[int, int]
    when: dict[tuple[int, int, int], tuple[float, float]]


def roomy(tables: Tables, capacity_bytes: int) -> bool:
    """Say whether a memory holds everything there is, so that nobody need look at it."""
    w = tables.workload
    return sum(w.weight_bytes) + sum(w.size_bytes) <= capacity_bytes


def _floating(tables: Tables) -> list[int]:
    """Return the inputs that start on a device of one's choice: states; all without a host."""
    w = tables.workload
    return [
        tensor for tensor, producer in enumerate(w.producer)
        if producer < 0 and w.consumers[tensor] and (tensor in w.states or tables.host < 0)
    ]  # fmt: skip


def sendings(
    tables: Tables, device: Sequence[int], home: dict[int, int]
) -> dict[tuple[int, int, int], list[int]]:
    """Return what must be sent: (tensor, source, target) -> regions that wait for it."""
    w = tables.workload
    states_of: dict[int, list[int]] = {}
    for before, following in w.states.items():
        states_of.setdefault(following, []).append(before)
    found: dict[tuple[int, int, int], list[int]] = {}
    for tensor, producer in enumerate(w.producer):
        source = device[producer] if producer >= 0 else home.get(tensor, tables.host)
        for consumer in w.consumers[tensor]:
            if device[consumer] != source:
                found.setdefault((tensor, source, device[consumer]), []).append(consumer)
        if producer < 0:
            continue
        if tensor in states_of:
            wanted = [home[state] for state in states_of[tensor] if state in home]
        else:
            wanted = [tables.host] if tensor in w.results and tables.host >= 0 else []
        for target in wanted:
            if target != source:
                found.setdefault((tensor, source, target), [])
    return found


class DagModel:
    """A constraint model over one set of tables, and what its variables mean.

    Parameters
    ----------
    capacity_bytes : per device
    unit_s : seconds of one unit of time
    horizon : no schedule of interest takes longer, in units
    least : no schedule takes less, in units
    exclusive : whether a link carries one transfer at a time
    """

    def __init__(
        self, tables: Tables, capacity_bytes: Sequence[int], *, unit_s: float, horizon: int,
        least: int, exclusive: bool,
    ) -> None:  # fmt: skip
        self.t, self.w, self.capacity = tables, tables.workload, tuple(capacity_bytes)
        self.model: Any = constraint_programming().CpModel()
        self._unit, self._exclusive, self._horizon = Fraction(unit_s), exclusive, horizon
        self._known: dict[float, int] = {}
        self._devices = range(len(tables.of_device))
        self._channel: list[list[Any]] = [[] for _ in range(tables.channels)]
        self._flows: list[list[_Flow]] = [[] for _ in range(tables.channels)]
        self.makespan = self.model.new_int_var(least, horizon, "makespan")
        self._place()
        self._home()
        self._travel()
        self._links()
        self._memory()
        self._alike()
        self.model.minimize(self.makespan)

    def units(self, seconds: float) -> int:
        """Return whole units of a duration, rounded down."""
        if seconds not in self._known:
            self._known[seconds] = int(Fraction(seconds) // self._unit)
        return self._known[seconds]

    def _bool(self, name: str) -> Any:
        return self.model.new_bool_var(name)

    def _time(self, name: str) -> Any:
        return self.model.new_int_var(0, self._horizon, name)

    # -- regions --------------------------------------------------------------------------------

    def _place(self) -> None:
        """One configuration per device; each region once; a device does one thing at a time."""
        model, regions = self.model, range(len(self.w.regions))
        self.chosen: dict[int, Any] = {}
        self.runs: dict[tuple[int, int], Any] = {}
        self.on: list[dict[int, Any]] = [{} for _ in regions]
        self.start = [self._time(f"start {r}") for r in regions]
        self.end = [self._time(f"end {r}") for r in regions]
        seconds = self.t.seconds.tolist()
        spent: list[list[Any]] = [[] for _ in regions]
        for device in self._devices:
            rows = self._worthwhile(device)
            for row in rows:
                self.chosen[row] = self._bool(f"configuration {row}")
            model.add_exactly_one(self.chosen[row] for row in rows)
            intervals, load = [], []
            for region in regions:
                ways = []
                for row in rows:
                    if seconds[row][region] == float("inf"):
                        continue
                    way = self.runs[region, row] = self._bool(f"run {region} {row}")
                    model.add_implication(way, self.chosen[row])
                    duration = self.units(seconds[row][region])
                    intervals.append(
                        model.new_optional_fixed_size_interval_var(
                            self.start[region], duration, way, f"work {region} {row}"
                        )
                    )
                    load.append(duration * way)
                    spent[region].append(duration * way)
                    ways.append(way)
                if ways:
                    here = self.on[region][device] = self._bool(f"on {region} {device}")
                    model.add(sum(ways) == here)
            model.add_no_overlap(intervals)
            model.add(sum(load) <= self.makespan)
        for region in regions:
            model.add_exactly_one(self.on[region].values())
            model.add(self.end[region] == self.start[region] + sum(spent[region]))
            model.add(self.end[region] <= self.makespan)
            for need in self.w.needs[region]:
                model.add(self.start[region] >= self.end[need])

    def _worthwhile(self, device: int) -> list[int]:
        """Return the configurations for which the device has none that is as good or better."""
        rows, seconds = self.t.of_device[device], self.t.seconds
        kept: list[int] = []
        for row in rows:
            others = [x for x in rows if x != row and (seconds[x] <= seconds[row]).all()]
            if not any((seconds[x] < seconds[row]).any() or x < row for x in others):
                kept.append(row)
        return kept

    # -- tensors --------------------------------------------------------------------------------

    def _home(self) -> None:
        """A floating tensor starts on one of the devices that need it."""
        self.home: dict[int, dict[int, Any]] = {}
        for tensor in _floating(self.t):
            readers = self.w.consumers[tensor]
            places = {d for r in readers for d in self.on[r]}
            self.home[tensor] = {d: self._bool(f"home {tensor} {d}") for d in sorted(places)}
            self.model.add_exactly_one(self.home[tensor].values())
            for d, here in self.home[tensor].items():
                self.model.add_bool_or([here.negated(), *self._readers_on(tensor, d)])

    def _readers_on(self, tensor: int, device: int) -> list[Any]:
        readers = dict.fromkeys(self.w.consumers[tensor])
        return [self.on[r][device] for r in readers if device in self.on[r]]

    def _sources(self, tensor: int) -> dict[int, Any]:
        """Return where the tensor may be made or start: end -> literal (True: certainly)."""
        producer = self.w.producer[tensor]
        if producer >= 0:
            return self.on[producer]
        return self.home.get(tensor, {self.t.host: True})

    def _wanted(self, tensor: int) -> dict[int, list[Any]]:
        """Return where it may be wanted: end -> literals of which each suffices (True: surely)."""
        states = [s for s, following in self.w.states.items() if following == tensor]
        wanted: dict[int, list[Any]] = {}
        for device in self._devices:
            reasons = self._readers_on(tensor, device)
            if self.w.producer[tensor] >= 0:
                reasons += [self.home[s][device] for s in states
                            if s in self.home and device in self.home[s]]  # fmt: skip
            if reasons:
                wanted[device] = reasons
        is_result = tensor in self.w.results and not states and self.w.producer[tensor] >= 0
        if is_result and self.t.host >= 0:
            wanted.setdefault(self.t.host, []).append(True)
        return wanted

    def _travel(self) -> None:
        """Whoever needs a tensor that is made elsewhere waits until it has been sent there."""
        model = self.model
        self.sent: dict[tuple[int, int], Any] = {}
        self.arrival: dict[tuple[int, int], Any] = {}
        self.needed: dict[tuple[int, int], Any] = {}
        self.moves: dict[tuple[int, int, int], Any] = {}
        for tensor, producer in enumerate(self.w.producer):
            sources = self._sources(tensor)
            for target, reasons in self._wanted(tensor).items():
                needed = self.needed[tensor, target] = self._bool(f"needed {tensor} {target}")
                for reason in reasons:
                    model.add_implication(True if reason is True else reason, needed)
                others = {s: lit for s, lit in sources.items() if s != target}
                if not others:
                    continue
                sent = self.sent[tensor, target] = self._time(f"sent {tensor} {target}")
                arrival = self.arrival[tensor, target] = self._time(f"arrival {tensor} {target}")
                model.add(arrival <= self.makespan)
                if producer >= 0:
                    model.add(sent >= self.end[producer])
                for source, made in others.items():
                    self._way(tensor, source, target, made, needed)
                for reader in dict.fromkeys(self.w.consumers[tensor]):
                    if target in self.on[reader]:
                        model.add(self.start[reader] >= arrival).only_enforce_if(
                            self.on[reader][target]
                        )

    def _way(self, tensor: int, source: int, target: int, made: Any, needed: Any) -> None:
        model, t, size = self.model, self.t, self.w.size_bytes[tensor]
        both = [needed] if made is True else [made, needed]
        if t.route_links[source][target] is None:
            model.add_bool_or([literal.negated() for literal in both])
            return
        move = self.moves[tensor, source, target] = self._bool(f"move {tensor} {source} {target}")
        model.add_bool_or([*(literal.negated() for literal in both), move])
        duration = self.units(size / float(t.width_bytes_per_s[source, target]))
        whole = self._whole(tensor, source, target)
        sent, arrival = self.sent[tensor, target], self.arrival[tensor, target]
        model.add(arrival >= sent + whole).only_enforce_if(move)
        widths = {link.name: link.bandwidth_bytes_per_s for link in t.system.links}
        begin = sent + self.units(float(t.route_s[source, target]))
        names, channels = t.route_links[source][target] or (), t.route_channels[source][target]
        for name, channel in zip(names, channels, strict=True):
            load = duration if self._exclusive else self.units(size / widths[name])
            if load > 0:
                self._flows[channel].append(
                    _Flow(begin=begin, arrival=arrival, load=load, move=move)
                )
        if self._exclusive and duration > 0:
            interval = model.new_optional_fixed_size_interval_var(
                sent, duration, move, f"way {tensor} {source} {target}"
            )
            for channel in channels:
                self._channel[channel].append(interval)

    def _whole(self, tensor: int, source: int, target: int) -> int:
        # Rounded together with the latency: two roundings down would lose a unit.
        taken_s = self.w.size_bytes[tensor] / float(self.t.width_bytes_per_s[source, target])
        return self.units(taken_s + float(self.t.route_s[source, target]))

    def _links(self) -> None:
        for intervals, flows in zip(self._channel, self._flows, strict=True):
            if len(intervals) > 1:
                self.model.add_no_overlap(intervals)
            if flows:
                self.model.add(sum(flow.load * flow.move for flow in flows) <= self.makespan)
            if not self._exclusive and 1 < len(flows) <= _WINDOWS:
                self._windows(flows)

    def _windows(self, flows: Sequence[_Flow]) -> None:
        """However a channel is shared, it carries no more within a window than its bandwidth."""
        model, numbers = self.model, range(len(flows))
        after: dict[tuple[int, int], Any] = {}  # (i, k): k begins no sooner than i
        due: dict[tuple[int, int], Any] = {}  # (k, j): k arrives no later than j
        for i, k in permutations(numbers, 2):
            a, b = flows[i], flows[k]
            after[i, k], due[k, i] = self._bool("begins after"), self._bool("is due before")
            both = [a.move, b.move]
            model.add(b.begin < a.begin).only_enforce_if([*both, after[i, k].negated()])
            model.add(b.arrival > a.arrival).only_enforce_if([*both, due[k, i].negated()])
        for i in numbers:
            own, others = flows[i], [k for k in numbers if k != i]
            later = own.load + sum(flows[k].load * after[i, k] for k in others)
            model.add(own.begin + later <= self.makespan).only_enforce_if(own.move)
            sooner = own.load + sum(flows[k].load * due[k, i] for k in others)
            model.add(own.arrival >= sooner).only_enforce_if(own.move)
        if len(flows) > _ALL_WINDOWS:
            return
        for i, j in permutations(numbers, 2):
            load = flows[i].load + flows[j].load
            for k in numbers:
                if k not in (i, j):
                    inside = self._bool("inside")
                    model.add_bool_or([inside, after[i, k].negated(), due[k, j].negated()])
                    load += flows[k].load * inside
            model.add(flows[j].arrival - flows[i].begin >= load).only_enforce_if(
                [flows[i].move, flows[j].move, after[i, j], due[i, j]]
            )

    # -- memory ---------------------------------------------------------------------------------

    def _memory(self) -> None:
        """Residents, and activations from their making or sending to their last use."""
        w = self.w
        residents = sum(w.weight_bytes) + sum(w.size_bytes[s] for s in w.states)
        bundles: dict[tuple[int, ...], int] = {}
        users: list[list[int]] = [[] for _ in w.weight_bytes]
        for region, weights in enumerate(w.weights):
            for weight in dict.fromkeys(weights):
                users[weight].append(region)
        for weight, regions in enumerate(users):
            if regions:
                key = tuple(regions)
                bundles[key] = bundles.get(key, 0) + w.weight_bytes[weight]
        for device in self._devices:
            if roomy(self.t, self.capacity[device]):
                continue
            resident = self._residents(device, bundles)
            total = sum(size * held for size, held in resident)
            if residents > self.capacity[device]:
                self.model.add(total <= self.capacity[device])
            self._alone(device)
            self._activations(device, resident)

    def _alone(self, device: int) -> None:
        """A region's own weights, inputs and outputs must fit beside each other."""
        w = self.w
        for region, places in enumerate(self.on):
            tensors = dict.fromkeys((*w.inputs[region], *w.outputs[region]))
            need = sum(w.weight_bytes[x] for x in dict.fromkeys(w.weights[region]))
            need += sum(w.size_bytes[x] - w.size_bytes[w.grown[x]] if x in w.grown
                        else w.size_bytes[x] for x in tensors)  # fmt: skip
            if device in places and need > self.capacity[device]:
                self.model.add(places[device] == 0)

    def _residents(
        self, device: int, bundles: dict[tuple[int, ...], int]
    ) -> list[tuple[int, Any]]:  # fmt: skip
        found = []
        for regions, size in bundles.items():
            here = [self.on[r][device] for r in regions if device in self.on[r]]
            if here and size:
                found.append((size, self._either(here, f"held {regions} {device}")))
        for state in self.w.states:
            if (state, device) in self.needed:
                found.append((self.w.size_bytes[state], self.needed[state, device]))
        return found

    def _either(self, literals: Sequence[Any], name: str) -> Any:
        if len(literals) == 1:
            return literals[0]
        held = self._bool(name)
        for literal in literals:
            self.model.add_implication(literal, held)
        return held

    def _activations(self, device: int, resident: Iterable[tuple[int, Any]]) -> None:
        model, w = self.model, self.w
        intervals, sizes = [], []
        for tensor, producer in enumerate(w.producer):
            size = w.size_bytes[tensor] - w.size_bytes[w.grown[tensor]] if tensor in w.grown else (
                w.size_bytes[tensor])  # fmt: skip
            made = self._sources(tensor).get(device)
            needed = self.needed.get((tensor, device))
            if tensor in w.states or size <= 0 or (made is None and needed is None):
                continue
            name = f"{tensor} {device}"
            held = self._either([x for x in (made, needed) if x is not None and x is not True],
                                f"lies {name}") if made is not True else None  # fmt: skip
            begin, finish = self._time(f"begin {name}"), self._time(f"finish {name}")
            length = self._time(f"length {name}")
            if made is True:
                model.add(begin == 0)
            elif made is not None and producer < 0:
                model.add(begin == 0).only_enforce_if(made)
            elif made is not None:
                model.add(begin <= self.start[producer]).only_enforce_if(made)
                model.add(finish >= self.end[producer]).only_enforce_if(made)
            if (tensor, device) in self.sent:
                for source in self._sources(tensor):
                    move = self.moves.get((tensor, source, device))
                    if move is not None:
                        model.add(begin <= self.sent[tensor, device]).only_enforce_if(move)
            for reader in dict.fromkeys(w.consumers[tensor]):
                if device in self.on[reader]:
                    model.add(finish >= self.end[reader]).only_enforce_if(self.on[reader][device])
            for target in (*self._devices, self.t.host):
                move = self.moves.get((tensor, device, target))
                if move is not None:
                    model.add(finish >= self.arrival[tensor, target]).only_enforce_if(move)
            if held is None:
                intervals.append(model.new_interval_var(begin, length, finish, f"in {name}"))
            else:
                intervals.append(
                    model.new_optional_interval_var(begin, length, finish, held, f"in {name}")
                )
            sizes.append(size)
        for size, held in resident:
            intervals.append(
                model.new_optional_fixed_size_interval_var(0, self._horizon + 1, held, "resident")
            )
            sizes.append(size)
        model.add_cumulative(intervals, sizes, self.capacity[device])

    # -- symmetry -------------------------------------------------------------------------------

    def _alike(self) -> None:
        """Of interchangeable devices, the first without work stays so in favour of the next."""
        self.classes = interchangeable(self.t, self.capacity)
        for devices in self.classes:
            for before, device in pairwise(devices):
                for region in range(len(self.w.regions)):
                    if device not in self.on[region]:
                        continue
                    earlier = [self.on[r][before] for r in range(region) if before in self.on[r]]
                    self.model.add_bool_or([self.on[region][device].negated(), *earlier])

    # -- hints and values -----------------------------------------------------------------------

    def hint(self, placement: Placement, times: dict[tuple[int, int, int], int]) -> None:
        """Start the search from a placement with whole-unit starts."""
        model, device = self.model, placement.device
        for row, chosen in self.chosen.items():
            model.add_hint(chosen, row in placement.configuration)
        for (region, row), way in self.runs.items():
            model.add_hint(way, placement.configuration[device[region]] == row)
        for region, places in enumerate(self.on):
            for d, here in places.items():
                model.add_hint(here, device[region] == d)
            model.add_hint(self.start[region], times[region, -1, -1])
        for tensor, homes in self.home.items():
            for d, here in homes.items():
                model.add_hint(here, placement.home[tensor] == d)
        for (tensor, source, target), move in self.moves.items():
            used = (tensor, source, target) in times
            model.add_hint(move, used)
            if used:
                model.add_hint(self.sent[tensor, target], times[tensor, source, target])

    def read(self, value: Callable[[Any], int]) -> Placement:
        """Return what a solution says."""
        device = tuple(
            next(d for d, here in places.items() if value(here)) for places in self.on
        )  # fmt: skip
        home = {
            tensor: next(d for d, here in homes.items() if value(here))
            for tensor, homes in self.home.items()
        }
        when = {
            (r, -1, -1): (float(value(begin)), float(value(end)))
            for r, (begin, end) in enumerate(zip(self.start, self.end, strict=True))
        }
        for tensor, source, target in sendings(self.t, device, home):
            begin = value(self.sent[tensor, target])
            end = begin + self._whole(tensor, source, target)
            when[tensor, source, target] = float(begin), float(end)
        rows = [next(row for row in rows if row in self.chosen and value(self.chosen[row]))
                for rows in self.t.of_device]  # fmt: skip
        return Placement(configuration=tuple(rows), device=device, home=home, when=when)


def interchangeable(tables: Tables, capacity_bytes: Sequence[int]) -> list[list[int]]:
    """Return classes of two or more devices of which any two may change places.

    Two may when they are equal, of equal capacity, and exchanging them maps every route onto one
    of the same width and latency, and directed channels onto directed channels one to one.
    """
    classes: list[list[int]] = []
    for device in range(len(tables.of_device)):
        for members in classes:
            first = members[0]
            equal = (
                tables.kind[first] == tables.kind[device]
                and capacity_bytes[first] == capacity_bytes[device]
                and tables.host not in (first, device)
            )
            if equal and _exchangeable(tables, first, device):
                members.append(device)
                break
        else:
            classes.append([device])
    return [members for members in classes if len(members) > 1]


def _exchangeable(tables: Tables, a: int, b: int) -> bool:
    ends, width = range(len(tables.ends)), _channel_widths(tables)
    other = [b if end == a else a if end == b else end for end in ends]
    images: dict[int, int] = {}
    for i in ends:
        for j in ends:
            x, y = other[i], other[j]
            if (
                tables.route_s[i, j] != tables.route_s[x, y]
                or tables.width_bytes_per_s[i, j] != tables.width_bytes_per_s[x, y]
                or len(tables.route_channels[i][j]) != len(tables.route_channels[x][y])
            ):
                return False
            pairs = zip(tables.route_channels[i][j], tables.route_channels[x][y], strict=True)
            for channel, image in pairs:
                if width[channel] != width[image] or images.setdefault(channel, image) != image:
                    return False
    return len(set(images.values())) == len(images)


def _channel_widths(tables: Tables) -> dict[int, float]:
    """Return the bandwidth of each channel that a route takes, in bytes per second."""
    width = {link.name: link.bandwidth_bytes_per_s for link in tables.system.links}
    return {
        channel: width[name]
        for links, channels in zip(tables.route_links, tables.route_channels, strict=True)
        for names, taken in zip(links, channels, strict=True)
        for name, channel in zip(names or (), taken, strict=True)
    }
