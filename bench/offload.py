"""Training with saved tensors on an SSD: batches, speed, prediction, hooks, processors, company.

Everything trains in processes of their own, in turn, a step each a round; ratios are taken within
rounds and come with 95 %. Caps are memory groups where one can be made. What is compared at equal
peak memory has no cap: ours is told to stay below the peak that the other one had; where it cannot,
the other one has a larger batch until its peak is as high. The others' peak
and largest batch are taken with freed memory given back at once, their speed with the C library as
it comes and no cap, so that both are their best. A missed figure says what forbids it: where all
processors compute, whatever moving takes of them the step lacks.
``BENCH_SHORT=1`` is a rehearsal with a small network and few rounds; ``BENCH_PARTS=hooks,engines``
measures these alone.
"""

from __future__ import annotations

import json
import mmap
import os
import statistics
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, fields, replace
from pathlib import Path

from orrery.api.offloading import OffloadOptions
from orrery.errors import OrreryError
from orrery.progress import SILENT
from orrery.runtime import usable_cores
from orrery.runtime.together import Comparison, in_turn
from orrery.runtime.training import DeepNetwork, cap_here
from orrery.studies.flashneuron import (
    OURS,
    Outcome,
    Taken,
    Trainee,
    Trial,
    attempt,
    largest_batch,
    rounds,
)

from ._record import Figure, short, wanted

CAP = cap_here()
CORES = usable_cores()
_MIB = 1 << 20
#: Of the others' peak memory, so that ours is not above it.
_NEARLY = 0.98
#: Ours where tensors may be made again, too.
FREE = "with making again"


@dataclass(frozen=True, slots=True, kw_only=True)
class Effort:
    """How much is measured: the network, its cap, rounds and the seconds they may take."""

    network: DeepNetwork
    cap_bytes: int
    batch: int
    rounds: int
    rounds_s: float
    hooks: int
    window_s: float
    windows: int
    repeats: int


FULL = Effort(
    network=DeepNetwork(kind="residual", depth=34, width=16, size=32), cap_bytes=448 * _MIB,
    batch=32, rounds=9, rounds_s=120.0, hooks=31, window_s=3.0, windows=6, repeats=3,
)  # fmt: skip
SHORT = Effort(
    network=DeepNetwork(kind="residual", depth=8, width=8, size=16), cap_bytes=320 * _MIB,
    batch=96, rounds=2, rounds_s=20.0, hooks=5, window_s=1.0, windows=2, repeats=1,
)  # fmt: skip


def figures() -> Iterator[Figure]:
    """Measure everything; a part that cannot be measured does not lose the others."""
    effort = SHORT if short() else FULL
    predicted: dict[str, Outcome] = {}
    with tempfile.TemporaryDirectory(prefix="orrery-bench-") as folder:
        plain = Trial(network=effort.network, way="none", batch=effort.batch, cap_bytes=None,
                      folder=folder, threads=CORES)  # fmt: skip
        parts: dict[str, Callable[[], list[Figure]]] = {
            "batches": lambda: of_batches(plain, effort, predicted),
            "hiding": lambda: of_hiding(plain, effort, predicted),
            "other ways": lambda: of_others(plain, effort, predicted),
            "prediction": lambda: of_prediction(predicted),
            "hooks": lambda: of_hooks(effort),
            "engines": lambda: of_engines(plain, effort),
            "data loader": lambda: of_company(plain, effort),
        }
        for name, part in parts.items():
            if not wanted(name):
                continue
            try:
                yield from part()
            except (
                OSError,
                OrreryError,
                subprocess.CalledProcessError,
                statistics.StatisticsError,
            ) as error:
                why = getattr(error, "stderr", None) or str(error)
                yield Figure(name=f"offload: {name}: not measured", value=0.0, unit="", runs=(),
                             note=" ".join(why[-500:].split()))  # fmt: skip


def of_batches(plain: Trial, effort: Effort, predicted: dict[str, Outcome]) -> list[Figure]:
    """The largest batch under the cap over the plain one's, and samples/s at eight times that."""
    capped = replace(plain, cap_bytes=effort.cap_bytes)
    ours = replace(capped, way=OURS)
    thrifty = replace(capped, returned=True)

    def fits(trial: Trial, batch: int) -> bool:
        return attempt(replace(trial, batch=batch), CAP).fits

    least = largest_batch(lambda b: fits(thrifty, b), start=8, most=1 << 20, near=0.1).largest
    most = largest_batch(lambda b: fits(ours, b), start=8 * least, most=16 * least,
                         near=0.25).largest  # fmt: skip
    found = [Figure(
        name="offload: largest batch over plain, same cap", unit="x", value=most / max(least, 1),
        runs=(float(least), float(most)), target=8.0, better="higher",
        note=f"{most} and {least}, {effort.network.layers} layers, {effort.cap_bytes >> 20} MiB, "
        f"{CAP.said}; searched up to 16 times",
    )]  # fmt: skip
    if not most:
        return found
    batch = min(most, 8 * least)
    trials = {"plain": replace(plain, batch=least), OURS: replace(ours, batch=batch)}
    compared, outcomes = turns(trials, effort)
    said = f"batch {batch} against {least}; {share(outcomes[OURS])}"
    found.append(ratio("offload: samples/s at 8 x the batch over plain", compared, outcomes, OURS,
                       "plain", 0.8, said))  # fmt: skip
    predicted[f"batch {batch}"] = outcomes[OURS]
    return found


def of_hiding(plain: Trial, effort: Effort, predicted: dict[str, Outcome]) -> list[Figure]:
    """A step that fits both ways, with as many bytes leaving as the forward pass can hide.

    Nothing is made again, or there might be nothing to hide; the whole planner is a third way.
    """
    ours = replace(plain, way=OURS, options=(*plain.options, ("recompute", False)))
    limit = hideable(ours)
    free = replace(
        plain, way=OURS, options=(*plain.options, ("recompute", True)), limit_bytes=limit
    )
    compared, outcomes = turns(
        {"plain": plain, OURS: replace(ours, limit_bytes=limit), FREE: free}, effort
    )
    found, name = outcomes[OURS], "offload: step over plain where it can be hidden"
    if not found.fits or not found.steps[-1].planned_bytes:
        why = f"not measured: {found.why or 'nothing left'}"
        return [Figure(name=name, unit="x", value=0.0, runs=(), note=why)]
    predicted["hiding"], predicted[f"hiding, {FREE}"] = found, outcomes[FREE]
    last = found.steps[-1]
    leaves, rate, forward_s = last.planned_bytes or 0, last.write_bytes_per_s, last.forward_s
    room = leaves / ((rate or 1.0) * (forward_s or 1.0))
    value, _, runs = within(compared, "plain", OURS)
    hidden = tuple(100 * (t.hidden_share or 0.0) for t in found.planned)
    said = (
        f"{interval(compared, 'plain', OURS)}; batch {plain.batch}, {leaves / _MIB:.0f} MiB leave, "
        f"{room:.2f} of what can be written in the forward pass (asked: 0.7 at most); "
        f"{share(found)}; {bound(outcomes)}"
    )
    if over := pair(compared, "plain", FREE):
        said += f"; {FREE}: {over[1]}, {share(outcomes[FREE])}"
    bare = beside_bare_calls(plain, leaves, effort)
    said += f"; the same bytes in bare calls beside the plain step: {bare.value:.2f}"
    return [
        bare,
        Figure(name=name, unit="x", value=value, runs=runs, target=1.10, note=said),
        Figure(
            name="offload: hidden share of transfers there", unit="%", runs=hidden,
            value=statistics.median(hidden), target=90.0, better="higher",
        ),
    ]  # fmt: skip


def beside_bare_calls(plain: Trial, size_bytes: int, effort: Effort) -> Figure:
    """Return the plain step beside the same bytes in system calls alone: what forbids less.

    Memory that is there already goes to a file and back, past the system's cache, as fast as it
    takes it: nobody chooses, copies, checks or makes room. All of it is on the plain step's
    processors, as ours is.
    """
    name = "offload: step over plain beside the same bytes in bare calls"
    times: dict[str, list[float]] = {"plain": [], "bare": []}
    with Trainee(plain, CAP) as trainee, BareCalls(Path(plain.folder), size_bytes) as bare:
        for _ in range(plain.warm_steps + 1):
            trainee.step()
        for turn in range(effort.rounds):
            for way in in_turn(list(times), turn):
                mover = threading.Thread(target=bare.move)
                if way == "bare":
                    mover.start()
                taken = trainee.step()
                if way == "bare":
                    mover.join()
                if taken is None:
                    return Figure(name=name, unit="x", value=0.0, runs=(), note=trainee.why)
                times[way].append(taken.seconds)
        said = (f"{2 * bare.size_bytes / _MIB:.0f} MiB moved a step, {bare.way}, "
                f"{bare.cpu_s / bare.rounds:.2f} s of processors of the moving thread")  # fmt: skip
    compared = Comparison(times_s={way: tuple(found) for way, found in times.items()})
    value, _, runs = within(compared, "plain", "bare")
    return Figure(name=name, unit="x", value=value, runs=runs,
                  note=f"{interval(compared, 'plain', 'bare')}; {said}")  # fmt: skip


class BareCalls:
    """Writes and reads the same memory, a MiB a call."""

    def __init__(self, folder: Path, size_bytes: int) -> None:
        self.size_bytes = max(_MIB, size_bytes // _MIB * _MIB)
        self.memory = mmap.mmap(-1, self.size_bytes, flags=mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS)
        for start in range(0, self.size_bytes, _MIB):
            self.memory[start : start + _MIB] = os.urandom(_MIB)
        flags = os.O_RDWR | os.O_TMPFILE | os.O_CLOEXEC
        try:
            self.file, self.way = os.open(folder, flags | os.O_DIRECT, 0o600), "direct"
        except OSError:  # no such file system: through the cache
            self.file, self.way = os.open(folder, flags, 0o600), "through the system's cache"
        self.cpu_s, self.rounds = 0.0, 0
        self.move()
        self.cpu_s, self.rounds = 0.0, 0

    def move(self) -> None:
        begun_s = time.thread_time()
        with memoryview(self.memory) as whole:
            for call in (os.pwritev, os.preadv):
                for start in range(0, self.size_bytes, _MIB):
                    with whole[start : start + _MIB] as part:
                        if call(self.file, [part], start) != _MIB:
                            raise OSError("a short transfer")
        self.cpu_s, self.rounds = self.cpu_s + time.thread_time() - begun_s, self.rounds + 1

    def __enter__(self) -> BareCalls:
        return self

    def __exit__(self, *_: object) -> None:
        os.close(self.file)
        self.memory.close()


def hideable(ours: Trial) -> int:
    """Return a limit at which what leaves can be written while the forward pass goes on.

    Six tenths of what the folder takes meanwhile, and no more than half of what is saved.
    """
    last = attempt(replace(ours, limit_bytes=1 << 40), CAP).steps[-1]
    saved, forward_s = last.saved_bytes or 0, last.forward_s or 0.0
    leaves = min(0.6 * (last.write_bytes_per_s or 0.0) * forward_s, saved / 2)
    return int((last.other_bytes or 0) + saved - leaves)


def of_others(plain: Trial, effort: Effort, predicted: dict[str, Outcome]) -> list[Figure]:
    """Ours against checkpointing and naive files, told to stay below their peak memory."""
    figures = list[Figure]()
    for way in ("checkpointing", "naive file"):
        other = replace(plain, way=way)
        alone = attempt(replace(other, returned=True), CAP)
        peak = max(taken.peak_bytes for taken in alone.steps)
        ours = replace(plain, way=OURS, limit_bytes=int(_NEARLY * peak))
        with Trainee(ours, CAP) as trainee:
            trainee.step()
            need = trainee.need_bytes
        if need is not None:
            ours = replace(ours, limit_bytes=need + 4 * _MIB)
            other, peak = as_much(other, peak, int((need + 4 * _MIB) / _NEARLY))
        compared, outcomes = turns({way: other, OURS: ours}, effort)
        steps = outcomes[OURS].planned
        said = outcomes[OURS].why
        if steps:
            had = max(taken.peak_bytes for taken in steps)
            said = share(outcomes[OURS])
            predicted[f"against {way}"] = outcomes[OURS]
            figures.append(Figure(
                name=f"offload: peak memory over {way}'s", unit="x", target=1.0, value=had / peak,
                runs=(float(had), float(peak)), note=f"{had / _MIB:.0f} and {peak / _MIB:.0f} MiB"
                + ("" if need is None else f"; ours needs {need / _MIB:.0f} MiB, so that {way} has "
                   f"batch {other.batch}, ours {plain.batch}"),
            ))  # fmt: skip
        figures.append(ratio(f"offload: samples/s over {way}", compared, outcomes, OURS, way, 1.0,
                             said))  # fmt: skip
    return figures


def as_much(other: Trial, peak: int, wanted: int) -> tuple[Trial, int]:
    """Raise another way's batch until its peak memory is no lower than wanted."""
    while peak < wanted:
        other = replace(other, batch=other.batch + max(1, other.batch // 8))
        peak = max(t.peak_bytes for t in attempt(replace(other, returned=True), CAP).steps)
    return other, peak


def of_prediction(outcomes: Mapping[str, Outcome]) -> list[Figure]:
    """Planned steps against measured ones: the worst of all that were planned."""
    errors, said = [], []
    for name, outcome in outcomes.items():
        steps = outcome.planned
        if steps:
            measured = statistics.median(taken.within_s for taken in steps)
            expected = statistics.median(taken.planned_s or 0.0 for taken in steps)
            errors.append(100 * abs(expected / measured - 1))
            said.append(f"{name} {expected:.2f} s, measured {measured:.2f} s")
    if not errors:
        return []
    return [Figure(name="offload: planned step against measured, worst", unit="%", target=15.0,
                   value=max(errors), runs=tuple(errors), note="; ".join(said))]  # fmt: skip


def of_hooks(effort: Effort) -> list[Figure]:
    """What packing and unpacking a tensor takes of the training thread, waits left out.

    Of what leaves, too, without what grows with its bytes: by processor seconds for two sizes.
    """
    done = subprocess.run(
        [sys.executable, "-m", "bench._hooks", str(effort.hooks)], check=True, text=True,
        capture_output=True, env={**os.environ, "OMP_NUM_THREADS": "1"},
    )  # fmt: skip
    found = json.loads(done.stdout)
    median = statistics.median
    figures = [
        Figure(name=f"offload: hooks per tensor, {kind}", unit="us", value=median(taken["hooks"]),
               runs=tuple(taken["hooks"]), target=20.0,
               note=f"both hooks, {taken['bytes'] >> 10} KiB, without waiting for bytes; "
               f"{median(taken['own']):.1f} us of the training thread's processor, the rest for "
               "the interpreter's lock and for a processor; the step as a whole is "
               f"{median(taken['longer']):.1f} us a tensor longer than without a session")
        for kind, taken in found.items()
    ]  # fmt: skip
    less, more = found["offloaded"], found["offloaded, larger"]
    apart = (more["bytes"] - less["bytes"]) / _MIB
    slopes = [(b - a) / apart for a, b in zip(less["own"], more["own"], strict=True)]
    alone = [a - less["bytes"] / _MIB * slope for a, slope in zip(less["own"], slopes, strict=True)]
    figures.append(Figure(
        name="offload: hooks per tensor, offloaded, whatever its size", unit="us",
        value=median(alone), runs=tuple(alone), target=20.0,
        note=f"of the training thread's processor, and {median(slopes):.1f} us for each MiB",
    ))  # fmt: skip
    return figures


def of_engines(plain: Trial, effort: Effort) -> list[Figure]:
    """Processor seconds for each GiB moved, written and read, by each engine there is."""
    found = []
    kinds = (
        ("threads", "io_uring") if "engine" in {f.name for f in fields(OffloadOptions)} else ("",)
    )
    for kind in kinds:
        options = (*plain.options, *((("engine", kind),) if kind else ()))
        runs, engine, moved = list[float](), "", 0
        for _ in range(effort.repeats):
            # Everything leaves in the first step, whatever is planned after it.
            with Trainee(replace(plain, way=OURS, options=options), CAP) as trainee:
                taken, engine = trainee.step(), trainee.start.get("engine", kind)
            if taken is not None and taken.moved_bytes:
                moved = taken.moved_bytes
                runs.append(taken.io_cpu_s / (moved / 2**30))
        if runs:
            found.append(Figure(
                name=f"offload: processor seconds per GiB moved, {kind or 'threads'}",
                unit="s/GiB", value=statistics.median(runs), runs=tuple(runs),
                note=f"{engine}; {moved / _MIB:.0f} MiB written and read, looked at for packing",
            ))  # fmt: skip
    return found


def of_company(plain: Trial, effort: Effort) -> list[Figure]:
    """A data loader's rate beside training on one processor less, over its rate alone."""
    one = replace(plain, threads=max(1, CORES - 1))
    ours = replace(one, way=OURS, options=(*one.options, ("recompute", False)))
    trials = {"none": one, "save_on_cpu": replace(one, way="save_on_cpu"),
              OURS: replace(ours, limit_bytes=hideable(ours))}  # fmt: skip
    rates: dict[str, list[float]] = {way: [] for way in ("alone", *trials)}
    loader = subprocess.Popen(
        [sys.executable, "-m", "bench._loader"], stdin=subprocess.PIPE, stdout=subprocess.PIPE,
        text=True, env={**os.environ, "OMP_NUM_THREADS": "1"},
    )  # fmt: skip
    trainees: dict[str, Trainee] = {}
    try:
        for way, trial in trials.items():
            trainees[way] = Trainee(trial, CAP)
            for _ in range(trial.warm_steps):
                trainees[way].step()
        rate_of(loader, 1.0)
        for turn in range(effort.windows):
            for way in in_turn(list(rates), turn):
                trainee = trainees.get(way)
                rates[way].append(beside(loader, trainee, effort.window_s))
        why, last = trainees[OURS].why, trainees[OURS].steps[-1]
    finally:
        for trainee in trainees.values():
            trainee.close()
        loader.kill()
        loader.communicate()
    compared = Comparison(times_s={w: tuple(1 / r for r in found) for w, found in rates.items()})
    found = []
    for way, trial in trials.items():
        value, _, runs = within(compared, way, "alone")
        note = (f"of {statistics.median(rates['alone']):.0f} images/s alone; "
                f"{interval(compared, way, 'alone')}; PyTorch on {trial.threads} of {CORES} "
                "processors")  # fmt: skip
        if way == OURS:
            note += f"; {why or f'{last.moved_bytes / _MIB:.0f} MiB moved a step'}"
            if over := pair(compared, OURS, "none"):
                note += f"; over the rate beside plain training {over[1]}"
        elif way == "save_on_cpu":
            note += "; where all is on the CPU it has nothing to move"
        found.append(Figure(
            name=f"offload: data loader beside training, {way}", unit="%", value=100 * value,
            runs=tuple(100 * run for run in runs), better="higher", note=note,
            target=95.0 if way == OURS else None,
        ))  # fmt: skip
    return found


def beside(loader: subprocess.Popen[str], trainee: Trainee | None, window_s: float) -> float:
    """Return the loader's rate over a window during which somebody trains, or nobody."""
    if trainee is None:
        return rate_of(loader, window_s)
    over = threading.Event()

    def train() -> None:
        while not over.is_set() and trainee.step() is not None:
            pass

    thread = threading.Thread(target=train)
    thread.start()
    try:
        return rate_of(loader, window_s)
    finally:
        over.set()
        thread.join()


def rate_of(loader: subprocess.Popen[str], window_s: float) -> float:
    assert loader.stdin is not None
    assert loader.stdout is not None
    print(window_s, file=loader.stdin, flush=True)
    return float(loader.stdout.readline())


def turns(trials: dict[str, Trial], effort: Effort) -> tuple[Comparison, dict[str, Outcome]]:
    """Let all train in turn; seconds of a sample."""
    found = rounds(trials, CAP, most=effort.rounds, most_s=effort.rounds_s, progress=SILENT,
                   task="offload")  # fmt: skip
    for path in Path(next(iter(trials.values())).folder).glob(".naive-*"):
        path.unlink(missing_ok=True)
    return found


def within(
    compared: Comparison, way: str, over: str
) -> tuple[float, tuple[float, float], tuple[float, ...]]:
    """Return how many times quicker than another way, 95 %, and each round's."""
    runs = tuple(b / a for a, b in zip(compared.times_s[way], compared.times_s[over], strict=True))
    return *compared.speedup(way, over), runs


def pair(compared: Comparison, way: str, over: str) -> tuple[float, str] | None:
    """Return the same with its interval in words; None where one of them did not run."""
    if not (compared.times_s.get(way) and compared.times_s.get(over)):
        return None
    value, (low, high), _ = within(compared, way, over)
    return value, f"{value:.2f} ({low:.2f} to {high:.2f})"


def interval(compared: Comparison, way: str, over: str) -> str:
    _, (low, high), runs = within(compared, way, over)
    return f"{low:.3g} to {high:.3g} ({100 * compared.confidence:.0f} %, {len(runs)} rounds)"


def ratio(
    name: str, compared: Comparison, outcomes: Mapping[str, Outcome], way: str, over: str,
    target: float, note: str,
) -> Figure:  # fmt: skip
    """Return samples/s as a multiple of another way's."""
    if pair(compared, way, over) is None:
        lost = next((o.why for o in outcomes.values() if not o.fits), "no round")
        return Figure(name=name, unit="x", value=0.0, runs=(), target=target, better="higher",
                      note=f"not measured: {lost}")  # fmt: skip
    value, _, runs = within(compared, way, over)
    said = f"{interval(compared, way, over)}; {note}; {bound(outcomes)}"
    return Figure(name=name, unit="x", value=value, runs=runs, target=target, better="higher",
                  note=said)  # fmt: skip


def share(outcome: Outcome) -> str:
    """Say what moving took."""
    steps: Sequence[Taken] = outcome.planned or outcome.steps
    if not steps:
        return outcome.why
    last = steps[-1]
    return (f"{last.moved_bytes / _MIB:.0f} MiB moved a step, waited {last.waited_s:.2f} of "
            f"{last.seconds:.2f} s, made again in {last.recompute_s:.2f} s, moving took "
            f"{last.io_cpu_s:.2f} of {last.cpu_s:.2f} s of processors")  # fmt: skip


def bound(outcomes: Mapping[str, Outcome]) -> str:
    """Say what the processors alone forbid: nobody is quicker than all of them always busy."""
    ours = outcomes[OURS].steps
    if not ours:
        return "no step"
    least = ours[-1].cpu_s / CORES
    said = (f"{CORES} processors always busy would take {least:.2f} s for the step that took "
            f"{ours[-1].seconds:.2f} s")  # fmt: skip
    other = next((n for n, o in outcomes.items() if n != OURS and o.steps), None)
    if other is None:
        return said
    taken = outcomes[other].steps[-1].cpu_s
    return f"{said}; a step of {other} takes {taken:.2f} s of processors"
