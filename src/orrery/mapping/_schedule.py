"""List scheduling on tables: place regions one by one, each with its transfers.

Models:  devices and directed link channels that do one thing at a time and may fill gaps; a
         transfer takes the whole route for bytes over the narrowest width, plus the latency; a
         tensor goes once to each device that needs it; inputs come from the host and results
         return there; a state stays where it is first needed and its next value is brought
         there; off-chip memory is a hard limit.
Ignores: sharing of a link by several transfers at once (replay judges that).
Judge:   brute force on small graphs, and a validity checker written from the definition.
"""

from __future__ import annotations

from bisect import bisect_right, insort
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

from ._memory import Occupancy, Shortage
from ._tables import Tables


class _Calendar:
    """When something is busy; earliest gaps.

    `starts` and `ends` are the stretches without a pause, so that a look for a gap steps over gaps
    and not over everything that was ever booked; `borders` are all instants at which something
    ends, where what takes no time may happen even within a stretch.
    """

    __slots__ = ("borders", "ends", "starts")

    def __init__(self) -> None:
        self.starts: list[float] = []
        self.ends: list[float] = []
        self.borders: list[float] = []

    def gap(self, time_s: float, duration_s: float) -> float:
        """Return the first instant from `time_s` on that is free for so long."""
        starts, ends = self.starts, self.ends
        if not ends or time_s >= ends[-1]:
            return time_s
        i = bisect_right(starts, time_s)
        if i and ends[i - 1] > time_s:
            if duration_s <= 0:
                return self.borders[bisect_right(self.borders, time_s)]
            time_s = ends[i - 1]
        while i < len(starts) and starts[i] < time_s + duration_s:
            time_s = ends[i]
            i += 1
        return time_s

    def book(self, time_s: float, duration_s: float) -> None:
        """Be busy; what takes no time needs no place."""
        if duration_s <= 0:
            return
        end_s = time_s + duration_s
        insort(self.borders, end_s)
        i = bisect_right(self.starts, time_s)
        joins_before = i > 0 and self.ends[i - 1] == time_s
        joins_after = i < len(self.starts) and self.starts[i] == end_s
        if joins_before and joins_after:
            self.ends[i - 1] = self.ends[i]
            del self.starts[i], self.ends[i]
        elif joins_before:
            self.ends[i - 1] = end_s
        elif joins_after:
            self.starts[i] = time_s
        else:
            self.starts.insert(i, time_s)
            self.ends.insert(i, end_s)


@dataclass(slots=True, kw_only=True)
class Sent:
    """One tensor on its way from one end to another."""

    tensor: int
    source: int
    target: int
    start_s: float
    arrival_s: float
    consumers: list[int] = field(default_factory=list)


@dataclass(frozen=True, slots=True, kw_only=True)
class Schedule:
    """A complete placement with its expected times.

    Attributes
    ----------
    configuration : per device, the number of the configuration in force
    device, start_s, end_s : per region
    sent : all transfers, in order of start
    resident_bytes : per device, weights and states
    """

    configuration: tuple[int, ...]
    device: tuple[int, ...]
    start_s: tuple[float, ...]
    end_s: tuple[float, ...]
    sent: tuple[Sent, ...]
    resident_bytes: tuple[int, ...]
    makespan_s: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Trial:
    """One way to place: which configuration per device, in which order, and where.

    `order` is topological. `mapping` fixes the device of each region; `fill` lists devices to
    be filled one after the other; with neither, each region goes where it ends first.
    """

    configuration: tuple[int, ...]
    order: Sequence[int]
    mapping: Sequence[int] | None = None
    fill: Sequence[int] | None = None


class Scheduler:
    """Turns trials into schedules, on one set of tables."""

    def __init__(self, tables: Tables, capacity_bytes: Sequence[int]) -> None:
        self.tables = tables
        self.capacity_bytes = tuple(capacity_bytes)
        self._width = tables.width_bytes_per_s.tolist()
        self._route_s = tables.route_s.tolist()

    def schedule(self, trial: Trial) -> Schedule:
        """Place all regions.

        Raises
        ------
        Shortage : a region that no device it may go to has the memory for
        KeyError : a region that no configuration of this trial runs (its number)
        """
        return _Run(self, trial, self._width, self._route_s).play()


class _Run:
    """The state of one run of the scheduler."""

    def __init__(
        self, owner: Scheduler, trial: Trial, width: list[list[float]], route_s: list[list[float]]
    ) -> None:
        tables, self.trial = owner.tables, trial
        self.t, self.w = tables, tables.workload
        self.width, self.route_s = width, route_s
        devices, tensors = len(tables.of_device), len(self.w.tensors)
        self.seconds: list[list[float]] = tables.seconds[list(trial.configuration)].tolist()
        self.device_calendar = [_Calendar() for _ in range(devices)]
        self.channel_calendar = [_Calendar() for _ in range(tables.channels)]
        self.memory = [Occupancy(size) for size in owner.capacity_bytes]
        self.held: list[set[int]] = [set() for _ in range(devices)]
        self.home = [-1] * tensors
        self.ready = [0.0] * tensors
        self.have: list[dict[int, float]] = [{} for _ in range(tensors)]
        self.taken: dict[tuple[int, int], int] = {}
        self.carrier: list[dict[int, Sent]] = [{} for _ in range(tensors)]
        self.last_use: list[dict[int, float]] = [{} for _ in range(tensors)]
        self.left = [len(consumers) for consumers in self.w.consumers]
        self.sent: list[Sent] = []
        self.states_of: dict[int, list[int]] = {}
        for before, following in self.w.states.items():
            self.states_of.setdefault(following, []).append(before)
        self.device = [-1] * len(self.w.regions)
        self.start = [0.0] * len(self.w.regions)
        self.end = [0.0] * len(self.w.regions)
        self.makespan = 0.0
        if tables.host >= 0:
            for tensor, producer in enumerate(self.w.producer):
                if producer < 0 and tensor not in self.w.states:
                    self._settle(tensor, tables.host, 0.0)

    def play(self) -> Schedule:
        choose = self._filler() if self.trial.fill is not None else self._first_to_end
        for region in self.trial.order:
            self._commit(region, choose(region))
        # Transfers that wait for each other shift what was expected, and results fill the host.
        for device, memory in enumerate(self.memory):
            need = memory.peak()
            if need > memory.capacity_bytes:
                raise Shortage(region=-1, device=device, need=need, have=memory.capacity_bytes)
        self.sent.sort(key=lambda sent: sent.start_s)
        return Schedule(
            configuration=self.trial.configuration, device=tuple(self.device),
            start_s=tuple(self.start), end_s=tuple(self.end), sent=tuple(self.sent),
            resident_bytes=tuple(
                memory.resident_bytes
                + sum(self.w.size_bytes[s] for s in self.w.states if d in self.have[s])
                for d, memory in enumerate(self.memory)
            ),
            makespan_s=self.makespan,
        )  # fmt: skip

    # -- choosing -----------------------------------------------------------------------------

    def _allowed(self, region: int) -> list[int]:
        if self.trial.mapping is not None:
            devices: Sequence[int] = (self.trial.mapping[region],)
        else:
            devices = range(len(self.seconds))
        allowed = [d for d in devices if self.seconds[d][region] != float("inf")]
        if not allowed:
            raise KeyError(region)
        return allowed

    def _first_to_end(self, region: int) -> int:
        allowed = self._allowed(region)
        looked = []
        for device in allowed:
            allocations: list[tuple[float, int]] = []
            score = self._expect(region, device, allocations)
            looked.append((score, device, allocations))
        looked.sort(key=lambda entry: entry[0])
        return self._first_that_fits(region, [(d, a) for _, d, a in looked])

    def _filler(self) -> Callable[[int], int]:
        order = list(self.trial.fill or ())
        current = 0

        def choose(region: int) -> int:
            nonlocal current
            allowed = set(self._allowed(region))
            looked = []
            for step in range(len(order)):
                device = order[(current + step) % len(order)]
                if device in allowed:
                    allocations: list[tuple[float, int]] = []
                    self._expect(region, device, allocations)
                    looked.append((device, allocations))
            device = self._first_that_fits(region, looked)
            # Only a full device is left behind; one that merely lacks an operator is come back to.
            if order[current] in allowed:
                current = order.index(device)
            return device

        return choose

    def _first_that_fits(
        self, region: int, looked: Sequence[tuple[int, list[tuple[float, int]]]]
    ) -> int:
        short: tuple[int, int, int] | None = None
        for device, allocations in looked:
            memory = self.memory[device]
            extra = self._extra_weights(region, device)
            need = memory.peak(resident=extra, allocations=allocations)
            if need <= memory.capacity_bytes:
                return device
            if short is None or need - memory.capacity_bytes < short[1] - short[2]:
                short = (device, need, memory.capacity_bytes)
        assert short is not None  # `looked` is never empty
        raise Shortage(region=region, device=short[0], need=short[1], have=short[2])

    def _extra_weights(self, region: int, device: int) -> int:
        held = self.held[device]
        return sum(self.w.weight_bytes[x] for x in self.w.weights[region] if x not in held)

    def _expect(self, region: int, device: int, allocations: list[tuple[float, int]]) -> float:
        """Return when the region would end there (its results at the host), and what it allocates.

        Its own transfers are looked at one by one; that they share links shows when committed.
        """
        w, arrive = self.w, 0.0
        for tensor in w.inputs[region]:
            here = self.have[tensor].get(device)
            if here is None:
                home = self.home[tensor]
                if home < 0:
                    here, begin = 0.0, 0.0
                else:
                    begin, here = self._find_way(tensor, home, device)
                allocations.append((0.0 if tensor in w.states else begin, w.size_bytes[tensor]))
            if here > arrive:
                arrive = here
        duration = self.seconds[device][region]
        start = self.device_calendar[device].gap(arrive, duration)
        score = end = start + duration
        host = self.t.host
        for tensor in w.outputs[region]:
            # What reads a state has it there, so only what is appended is new.
            allocations.append((start, self._new_bytes(tensor, beside_state=True)))
            if host >= 0 and host != device and tensor in w.results:
                back = w.size_bytes[tensor] / self.width[device][host] + self.route_s[device][host]
                score = max(score, end + back)
        return score

    # -- transfers ----------------------------------------------------------------------------

    def _find_way(self, tensor: int, source: int, target: int) -> tuple[float, float]:
        """Return start and arrival of the tensor if it were sent next."""
        duration = self.w.size_bytes[tensor] / self.width[source][target]
        channels = self.t.route_channels[source][target]
        start = self.ready[tensor]
        while True:
            later = start
            for channel in channels:
                later = self.channel_calendar[channel].gap(later, duration)
            if later == start:
                return start, start + duration + self.route_s[source][target]
            start = later

    def _send(self, tensor: int, source: int, target: int) -> None:
        """Book the transfer of a tensor."""
        start, arrival = self._find_way(tensor, source, target)
        duration = self.w.size_bytes[tensor] / self.width[source][target]
        for channel in self.t.route_channels[source][target]:
            self.channel_calendar[channel].book(start, duration)
        sent = Sent(tensor=tensor, source=source, target=target, start_s=start, arrival_s=arrival)
        self.sent.append(sent)
        self.carrier[tensor][target] = sent
        self._hold(tensor, target, arrival, since=start)
        uses = self.last_use[tensor]
        uses[source] = max(uses.get(source, 0.0), arrival)
        self.makespan = max(self.makespan, arrival)

    def _settle(self, tensor: int, end: int, ready: float, *, since: float | None = None) -> None:
        """Say where a tensor is made or starts."""
        self.home[tensor], self.ready[tensor] = end, ready
        self._hold(tensor, end, ready, since=ready if since is None else since)

    def _hold(self, tensor: int, end: int, ready: float, *, since: float) -> None:
        self.have[tensor][end] = ready
        if end < len(self.memory):
            # A state is resident wherever it is used, from one call to the next.
            begin = 0.0 if tensor in self.w.states else since
            state = self.w.grown.get(tensor)
            beside = state is not None and end in self.have[state]
            self.taken[tensor, end] = self._new_bytes(tensor, beside_state=beside)
            self.memory[end].allocate(begin, self.taken[tensor, end])

    def _new_bytes(self, tensor: int, *, beside_state: bool) -> int:
        """Return the bytes a tensor takes: what is new where it grows in place beside its state."""
        state = self.w.grown.get(tensor)
        whole = self.w.size_bytes[tensor]
        return whole - self.w.size_bytes[state] if beside_state and state is not None else whole

    # -- committing ---------------------------------------------------------------------------

    def _commit(self, region: int, device: int) -> None:
        w, arrive = self.w, 0.0
        for weight in w.weights[region]:
            if weight not in self.held[device]:
                self.held[device].add(weight)
                self.memory[device].resident_bytes += w.weight_bytes[weight]
        for tensor in w.inputs[region]:
            if self.home[tensor] < 0:
                self._settle(tensor, device, 0.0)
            if device not in self.have[tensor]:
                self._send(tensor, self.home[tensor], device)
            carrier = self.carrier[tensor].get(device)
            if carrier is not None:
                carrier.consumers.append(region)
            arrive = max(arrive, self.have[tensor][device])
        duration = self.seconds[device][region]
        start = self.device_calendar[device].gap(arrive, duration)
        end = start + duration
        self.device_calendar[device].book(start, duration)
        self.device[region], self.start[region], self.end[region] = device, start, end
        self.makespan = max(self.makespan, end)
        for tensor in w.outputs[region]:
            self._settle(tensor, device, end, since=start)
            for wanted_at in self._wanted_at(tensor, device):
                if wanted_at not in self.have[tensor]:
                    self._send(tensor, device, wanted_at)
            self._release(tensor)
        for tensor in w.inputs[region]:
            uses = self.last_use[tensor]
            uses[device] = max(uses.get(device, 0.0), end)
            self.left[tensor] -= 1
            self._release(tensor)

    def _wanted_at(self, tensor: int, device: int) -> list[int]:
        """Return the ends where a result or a next value of states must go, none for neither."""
        states = self.states_of.get(tensor, ())
        for state in states:
            if self.home[state] < 0:
                self._settle(state, device, 0.0)
        if states:
            return [self.home[state] for state in states]
        if tensor not in self.w.results:
            return []
        return [self.t.host if self.t.host >= 0 else device]

    def _release(self, tensor: int) -> None:
        """Free the copies of a tensor once nobody is left to come and use it; states stay."""
        if self.left[tensor] > 0 or tensor in self.w.states:
            return
        stays = self._wanted_at(tensor, self.home[tensor])
        for end in self.have[tensor]:
            if end < len(self.memory) and end not in stays:
                last = self.last_use[tensor].get(end, self.ready[tensor])
                self.memory[end].free(last, self.taken[tensor, end])
