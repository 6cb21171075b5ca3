"""The hot loop of plan replay, on flat tables: runs as plain Python on lists, compiled on arrays.

Models:  devices that run a queue in order; transfers that wait a latency and then flow over
         channels at max-min fair rates, which change whenever a flow begins or ends.
Ignores: names, units and mistakes: `_replay` has turned the plan into checked tables.
Judge:   closed forms, and a naive replay written from the definition, in the tests.

One source for both ways of running it keeps them equal: a small plan is done before a compiler
would be loaded, a large one is compiled (once per machine, the result is cached on disk).
Tables are lists of int and float, or int64 and float64 arrays; nothing here allocates by size of
the plan except the event heap.
"""

from __future__ import annotations

import heapq
from collections.abc import Callable
from functools import cache
from math import ceil
from typing import Any

from orrery.compiled import machine_code
from orrery.timeline import MOST_PS

Table = Any  # a list, or a NumPy array once compiled


def fill(
    component: Table, count: int, capacity: Table, load: Table, head: Table, after: Table,
    slot_flow: Table, starts: Table, channels: Table, rate: Table, left: Table, open_: Table,
) -> None:  # fmt: skip
    """Set `rate` of every flow on the first `count` channels of `component`: max-min fair.

    Progressive filling: the channel with the smallest equal share fixes its flows, gives back
    what they take elsewhere, and so on. Flows to be set must come in with a negative rate.

    `head[c]`, `after[slot]`, `slot_flow[slot]` list the flows of channel c; a flow's channels are
    ``channels[starts[f]:starts[f + 1]]``; `left` and `open_` are scratch, one entry per channel.
    """
    for i in range(count):
        channel = component[i]
        left[channel] = capacity[channel]
        open_[channel] = load[channel]
    floor = 0.0
    while True:
        tightest = -1
        share = 0.0
        for i in range(count):
            channel = component[i]
            if open_[channel] > 0:
                mine = left[channel] / open_[channel]
                if tightest < 0 or mine < share:
                    tightest, share = channel, mine
        if tightest < 0:
            break
        # Shares only grow from round to round; rounding must not make one shrink to nothing.
        if share < floor:
            share = floor
        floor = share
        slot = head[tightest]
        while slot >= 0:
            flow = slot_flow[slot]
            if rate[flow] < 0.0:
                rate[flow] = share
                for k in range(starts[flow], starts[flow + 1]):
                    left[channels[k]] -= share
                    open_[channels[k]] -= 1
            slot = after[slot]


def simulate(
    device: Table, duration: Table, pending: Table,
    queue_starts: Table, queue: Table,
    sent_starts: Table, sent: Table,
    consumer_starts: Table, consumer: Table,
    forward_starts: Table, forward: Table,
    initial: Table, size: Table, latency: Table, starts: Table, channels: Table, slot_flow: Table,
    capacity: Table,
    begin: Table, end: Table, sent_at: Table, arrived_at: Table,
    position: Table, running: Table,
    rate: Table, last: Table, remaining: Table, finish: Table,
    head: Table, after: Table, before: Table, load: Table,
    left: Table, open_: Table, component: Table, seen: Table,
) -> int:  # fmt: skip
    """Play all events; fill `begin`, `end` (per assignment) and `sent_at`, `arrived_at`.

    Entries that never happened stay -1 (a plan whose order contradicts its dependencies).
    Returns the number of starts and ends that were played, -1 when anything would happen later
    than the clock can say (`MOST_PS`).

    Parameters
    ----------
    device, duration, pending : per assignment: its device, picoseconds, transfers it waits for
    queue_starts, queue : per device, its assignments in order (compressed rows)
    sent_starts, sent : per assignment, the transfers it issues when it ends
    consumer_starts, consumer : per transfer, the assignments that wait for it
    forward_starts, forward : per transfer, those that pass on what it brings
    initial : transfers that are issued at time zero
    size, latency : per transfer, bytes and picoseconds
    starts, channels, slot_flow : per transfer its channels; and the transfer of each such slot
    capacity : per channel, bytes per picosecond
    the rest : state, see `_replay`; `running`, `load` zero, links of lists and results -1
    """
    assignments = len(device)
    transfers = len(size)
    now = 0
    events = 0
    sequence = 0
    marker = 0
    heap = [(0, 0, 0)]
    heap.pop()
    poke = [0]
    poke.pop()
    issue = [0]
    issue.pop()
    flow_in = [0]
    flow_in.pop()
    arrive = [0]
    arrive.pop()
    dirty = [0]
    dirty.pop()
    for d in range(len(queue_starts) - 1):
        poke.append(d)
    for i in range(len(initial)):
        issue.append(initial[i])
    while True:
        # 1. All that follows at this instant from what has just happened.
        while len(issue) + len(flow_in) + len(arrive) > 0:
            for x in issue:
                sent_at[x] = now
                events += 1
                if latency[x] > 0:
                    heapq.heappush(heap, (now + latency[x], sequence, assignments + x))
                    sequence += 1
                else:
                    flow_in.append(x)
            issue.clear()
            for x in flow_in:
                if size[x] == 0 or starts[x] == starts[x + 1]:
                    arrive.append(x)
                    continue
                remaining[x] = size[x]
                last[x] = now
                rate[x] = 0.0
                for k in range(starts[x], starts[x + 1]):
                    channel = channels[k]
                    before[k] = -1
                    after[k] = head[channel]
                    if head[channel] >= 0:
                        before[head[channel]] = k
                    head[channel] = k
                    load[channel] += 1
                    dirty.append(channel)
            flow_in.clear()
            for x in arrive:
                arrived_at[x] = now
                events += 1
                for k in range(forward_starts[x], forward_starts[x + 1]):
                    issue.append(forward[k])
                for k in range(consumer_starts[x], consumer_starts[x + 1]):
                    a = consumer[k]
                    pending[a] -= 1
                    if pending[a] == 0:
                        poke.append(device[a])
            arrive.clear()
        for d in poke:
            if running[d] == 0 and position[d] < queue_starts[d + 1]:
                a = queue[position[d]]
                if pending[a] == 0:
                    begin[a] = now
                    running[d] = 1
                    events += 1
                    heapq.heappush(heap, (now + duration[a], sequence, a))
                    sequence += 1
        poke.clear()
        # 2. When the instant is over, share the channels that gained or lost a flow anew.
        if len(dirty) > 0 and (len(heap) == 0 or heap[0][0] > now):
            marker += 1
            count = 0
            for channel in dirty:
                if seen[channel] != marker:
                    seen[channel] = marker
                    component[count] = channel
                    count += 1
            dirty.clear()
            visited = 0
            while visited < count:
                slot = head[component[visited]]
                visited += 1
                while slot >= 0:
                    x = slot_flow[slot]
                    for k in range(starts[x], starts[x + 1]):
                        channel = channels[k]
                        if seen[channel] != marker:
                            seen[channel] = marker
                            component[count] = channel
                            count += 1
                    slot = after[slot]
            # Bytes that flowed at the old rate; the negative rate asks `fill` for a new one.
            for i in range(count):
                slot = head[component[i]]
                while slot >= 0:
                    x = slot_flow[slot]
                    if rate[x] >= 0.0:
                        remaining[x] -= rate[x] * (now - last[x])
                        if remaining[x] < 0.0:
                            remaining[x] = 0.0
                        last[x] = now
                        rate[x] = -1.0
                    slot = after[slot]
            fill(component, count, capacity, load, head, after, slot_flow, starts, channels,
                 rate, left, open_)  # fmt: skip
            for i in range(count):
                slot = head[component[i]]
                while slot >= 0:
                    x = slot_flow[slot]
                    # A rate may even have been rounded to nothing.
                    if remaining[x] >= rate[x] * MOST_PS:
                        return -1
                    expected = now + ceil(remaining[x] / rate[x])
                    if expected != finish[x]:
                        finish[x] = expected
                        heapq.heappush(heap, (expected, sequence, assignments + transfers + x))
                        sequence += 1
                    slot = after[slot]
        # 3. The next thing that happens.
        if len(heap) == 0:
            break
        now, _, what = heapq.heappop(heap)
        if now > MOST_PS:
            return -1
        if what < assignments:
            end[what] = now
            events += 1
            d = device[what]
            running[d] = 0
            position[d] += 1
            poke.append(d)
            for k in range(sent_starts[what], sent_starts[what + 1]):
                issue.append(sent[k])
        elif what < assignments + transfers:
            flow_in.append(what - assignments)
        else:
            x = what - assignments - transfers
            # A rate that changed leaves its old prediction in the heap; only the newest counts.
            if finish[x] == now and arrived_at[x] < 0:
                for k in range(starts[x], starts[x + 1]):
                    channel = channels[k]
                    if before[k] >= 0:
                        after[before[k]] = after[k]
                    else:
                        head[channel] = after[k]
                    if after[k] >= 0:
                        before[after[k]] = before[k]
                    load[channel] -= 1
                    dirty.append(channel)
                arrive.append(x)
    return events


@cache
def compiled() -> Callable[..., int]:
    """Return `simulate` compiled to machine code; loads the compiler on first use."""
    # `simulate` calls `fill` by its module name, so `fill` itself must become compilable.
    return machine_code(simulate, calls=(fill,))[0]
