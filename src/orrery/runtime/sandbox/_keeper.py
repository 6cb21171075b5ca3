"""The parent's side of the sandbox: starts the child, watches it, ends it, says what it was.

Models:  nothing. What arrives from the child may have been written by foreign code: it is bounded,
         parsed as plain data and believed in nothing but its own answers.
Judge:   tests/runtime/test_sandbox.py.
"""

from __future__ import annotations

import contextlib
import fcntl
import json
import os
import pickle
import platform
import select
import signal
import socket
import struct
import subprocess
import sys
import tempfile
import time
from collections.abc import Mapping
from dataclasses import dataclass, replace
from importlib.util import find_spec
from pathlib import Path

from orrery.errors import MissingExtraError, printable
from orrery.progress import SILENT, Progress

from ._calls import meaning_of
from ._child import REPORT
from ._probe import Answer, Emulated, Failure, Limits, Probe, VirtualMachine

#: The room's door is passed by: what it shows takes a second to load, and none of it is needed.
_BOOT = (
    "import json, sys, types; said = json.loads(sys.argv[1]); sys.path[:] = said.pop('path'); "
    "room = types.ModuleType('orrery.runtime'); room.__path__ = [said.pop('room')]; "
    "sys.modules['orrery.runtime'] = room; "
    "from orrery.runtime.sandbox._child import main; main(**said)"
)
_RECEIVE = 0xC0502100  # the ioctl by which a listener tells of one forbidden call
_NOTICE_BYTES = 80
#: What preparing may take: imports on a busy machine.
_START_S, _POLL_S = 120.0, 0.02
_MOST_SAID = 1 << 20


@dataclass(slots=True)
class _Seen:
    """What is known of the child so far."""

    held: tuple[str, ...] = ()
    done: int = 0
    ended: bool = False
    load: str = ""
    error: str = ""
    memory: bool = False
    forbidden: str = ""
    late: bool = False
    pid: int = 0  # of the process that watches it
    status: int | None = None
    rss_bytes: int = 0
    size_bytes: int = 0
    started: float | None = None
    said: bytes = b""
    total: int = 0
    base_bytes: int = 0
    handle: int | None = None


def run_probe(
    probe: Probe,
    limits: Limits = Limits(),  # noqa: B008  # frozen
    progress: Progress = SILENT,
) -> Answer:
    """Run a binary's code in a confined process and return what it answered.

    Nothing here raises because of what the binary does: that is an answer with a `Failure`.

    Raises
    ------
    CancelledError : `progress` was told to stop; the child has been ended
    MissingExtraError : the emulator or the runtime that the probe needs is not installed
    """
    _require(probe)
    sizes = _sizes(probe)
    rounds = len(probe.rounds)
    with contextlib.ExitStack() as stack:
        folder = stack.enter_context(tempfile.TemporaryDirectory(prefix="orrery-sandbox-"))
        job = _memory(stack, "job", pickle.dumps((_without_file(probe), limits)))
        file = _memory(stack, "binary", b"" if isinstance(probe, Emulated) else probe.file)
        answers = _memory(stack, "answers", None, max(1, sum(sizes.values()) * rounds))
        ours, theirs = socket.socketpair()
        stack.callback(ours.close)
        reading, writing = os.pipe()
        stack.callback(os.close, reading)
        os.fchmod(file, 0o755)
        start = time.perf_counter()
        said = {
            "path": [one for one in sys.path if isinstance(one, str)],
            "room": str(Path(__file__).parents[1]), "job": job, "file": file, "answers": answers,
            "line": theirs.fileno(), "report": writing, "parent": os.getpid(),
        }  # fmt: skip
        errors = _memory(stack, "errors", b"")
        process = subprocess.Popen(
            [sys.executable, "-c", _BOOT, json.dumps(said)], stdin=subprocess.DEVNULL,
            stdout=errors, stderr=errors, cwd=folder, start_new_session=True,
            pass_fds=(job, file, answers, theirs.fileno(), writing), env=_environment(folder),
        )  # fmt: skip
        theirs.close()
        os.close(writing)
        seen = _Seen()
        try:
            _watch(process, seen, ours, reading, limits, rounds, progress)
        finally:
            _end(process, seen)
        seconds = time.perf_counter() - (start if seen.started is None else seen.started)
        boot = os.pread(errors, 4000, 0).decode(errors="replace").strip()
        failure = _failure(seen, limits, rounds, boot)
        whole = rounds if failure is None else min(seen.done, rounds)
        return Answer(
            rounds=_read(answers, sizes, whole), failure=failure, held_by=seen.held,
            seconds=seconds, peak_bytes=seen.rss_bytes,
        )  # fmt: skip


def _require(probe: Probe) -> None:
    if isinstance(probe, Emulated):
        package, extra, purpose = "unicorn", "decompile", "running code of other machines"
    elif isinstance(probe, VirtualMachine):
        package = probe.runtime
        extra, purpose = "tune" if package == "tvm" else "decompile", "running the network's binary"
    else:
        return
    if find_spec(package) is None:
        raise MissingExtraError(package, extra, purpose=purpose)


def _sizes(probe: Probe) -> dict[str, int]:
    if isinstance(probe, VirtualMachine):
        return {str(at): size for at, size in enumerate(probe.outputs_bytes)}
    known = {block.name: block.size_bytes for block in probe.blocks}
    sizes = {name: known[name] for name in probe.answers}
    if isinstance(probe, Emulated):
        sizes |= {one.name: one.answer_bytes for one in probe.watched}
    return sizes


def _without_file(probe: Probe) -> Probe:
    return probe if isinstance(probe, Emulated) else replace(probe, file=b"")


def _memory(stack: contextlib.ExitStack, name: str, data: bytes | None, size_bytes: int = 0) -> int:
    """Return a file in memory; one without data has a fixed size that nobody can change."""
    descriptor = os.memfd_create(f"orrery-{name}", os.MFD_CLOEXEC | os.MFD_ALLOW_SEALING)
    stack.callback(os.close, descriptor)
    if data is None:
        os.ftruncate(descriptor, size_bytes)
        fcntl.fcntl(descriptor, fcntl.F_ADD_SEALS, fcntl.F_SEAL_GROW | fcntl.F_SEAL_SHRINK)
        return descriptor
    view = memoryview(data)
    while view:
        view = view[os.write(descriptor, view) :]
    os.lseek(descriptor, 0, os.SEEK_SET)
    return descriptor


def _environment(folder: str) -> dict[str, str]:
    """Nothing of the user's: variables hold secrets."""
    return {"PATH": "/usr/bin:/bin", "HOME": folder, "LANG": "C.UTF-8", "OMP_NUM_THREADS": "1",
            "OPENBLAS_NUM_THREADS": "1", "TVM_NUM_THREADS": "1",
            "PYTHONDONTWRITEBYTECODE": "1"}  # fmt: skip


def _watch(
    process: subprocess.Popen[bytes], seen: _Seen, line: socket.socket, report: int,
    limits: Limits, rounds: int, progress: Progress,
) -> None:  # fmt: skip
    """Listen until the child has ended or must be."""
    poll = select.poll()
    poll.register(line, select.POLLIN)
    poll.register(report, select.POLLIN)
    listener: int | None = None
    open_ends = {line.fileno(), report}
    heard = b""
    begin = time.perf_counter()

    def drain(listener: int | None) -> int | None:
        while line.fileno() in open_ends and select.select([line], [], [], 0)[0]:
            listener, alive = _hear(line, seen, listener, poll)
            if not alive:
                poll.unregister(line)
                open_ends.discard(line.fileno())
        return listener

    try:
        while report in open_ends:
            ready = dict(poll.poll(1000 * _POLL_S))
            told = listener is not None and bool(ready.get(listener, 0) & select.POLLIN)
            if line.fileno() in open_ends and (told or line.fileno() in ready):
                listener = drain(listener)
            if listener is not None and listener in ready:
                if told:
                    seen.forbidden = _forbidden(listener)
                    return
                poll.unregister(listener)  # the child has ended
            if report in ready:
                part = os.read(report, 256)
                heard += part
                while len(heard) >= REPORT.size:
                    _reported(seen, REPORT.unpack(heard[: REPORT.size]))
                    heard = heard[REPORT.size :]
                if not part or seen.status is not None:
                    listener = drain(listener)  # what it said last
                    return
            _look(seen)
            now = time.perf_counter()
            if seen.started is None and seen.held:
                seen.started = now
            late = now - begin > _START_S if seen.started is None else (
                now - seen.started > limits.wall_s
            )  # fmt: skip
            if late:
                seen.late = True
                return
            progress.step("running the binary", seen.done, rounds)
    finally:
        if listener is not None:
            os.close(listener)


def _reported(seen: _Seen, said: tuple[bytes, int, int]) -> None:
    kind, number, more = said
    if kind == b"p" and not seen.pid:
        seen.pid = number
        with contextlib.suppress(OSError):
            seen.handle = os.pidfd_open(number)
    elif kind == b"s":
        seen.status, seen.rss_bytes = number, more


def _hear(
    line: socket.socket, seen: _Seen, listener: int | None, poll: select.poll
) -> tuple[int | None, bool]:
    """Read what the child says; the first byte may bring the listener along."""
    try:
        data, files, _, _ = socket.recv_fds(line, 65536, 4)
    except OSError:
        return listener, False
    for number in files:
        if listener is None and data[:1] == b"L" and not seen.total:
            listener = number
            poll.register(listener, select.POLLIN)
        else:
            os.close(number)
    if not seen.total:
        data, seen.total = data[1:], 1
        if not data:
            return listener, True
    if not data:
        return listener, False
    seen.total += len(data)
    if seen.total > _MOST_SAID:
        return listener, False
    *whole, seen.said = (seen.said + data).split(b"\n")
    for text in whole:
        with contextlib.suppress(ValueError):
            _note(seen, json.loads(text))
    return listener, True


def _note(seen: _Seen, said: object) -> None:
    """Take down one thing that was said, if it has the form that such things have."""
    if not isinstance(said, dict):
        return
    held, done, size = said.get("held"), said.get("done"), said.get("size")
    if isinstance(held, list) and not seen.held:
        seen.held = tuple(printable(str(one))[:200] for one in held[:8])
        seen.base_bytes = size if isinstance(size, int) else 0
    if isinstance(done, int) and done == seen.done + 1:
        seen.done = done
    seen.ended = seen.ended or said.get("end") is True
    seen.memory = seen.memory or said.get("memory") is True
    if isinstance(said.get("load"), str):
        seen.load = printable(said["load"])[:600]
    if isinstance(said.get("error"), str):
        seen.error = printable(said["error"])[:600]


def _forbidden(listener: int) -> str:
    notice = bytearray(_NOTICE_BYTES)
    try:
        fcntl.ioctl(listener, _RECEIVE, notice)
    except OSError:
        return "make a system call that is forbidden"
    return meaning_of(platform.machine(), struct.unpack_from("<i", notice, 16)[0])


def _look(seen: _Seen) -> None:
    """Note how much address space the child has asked for."""
    if not seen.pid:
        return
    with contextlib.suppress(OSError, ValueError, IndexError, StopIteration):
        child = Path(f"/proc/{seen.pid}/task/{seen.pid}/children").read_text().split()[0]
        status = Path(f"/proc/{child}/status").read_text()
        size = next(one for one in status.splitlines() if one.startswith("VmPeak:"))
        seen.size_bytes = max(seen.size_bytes, int(size.split()[1]) * 1024)


def _end(process: subprocess.Popen[bytes], seen: _Seen) -> None:
    """End the child that held the foreign code, then the one that watched it."""
    if seen.handle is not None:
        with contextlib.suppress(OSError):
            signal.pidfd_send_signal(seen.handle, signal.SIGKILL)
        os.close(seen.handle)
    try:
        process.wait(5.0 if seen.handle is not None else 0.1)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait()


def _failure(seen: _Seen, limits: Limits, rounds: int, boot: str) -> Failure | None:
    """Say in one sentence why it did not come to its end; None where it did."""
    if seen.ended and seen.done == rounds and not seen.forbidden:
        return None
    if not seen.held:
        why = seen.error or (boot.splitlines()[-1] if boot else "it could not be started")
        if seen.load:
            return Failure(kind="load", text=seen.load)
        return Failure(kind="sandbox", text=f"the sandbox did not start: {printable(why)}")
    if seen.forbidden:
        return Failure(kind="forbidden", text=f"it tried to {seen.forbidden}, and was ended")
    if seen.late:
        return Failure(kind="time", text=f"it was not done after {limits.wall_s:g} s, and was "
                       "ended")  # fmt: skip
    if seen.load:
        return Failure(kind="load", text=seen.load)
    return _ended(seen, limits)


def _ended(seen: _Seen, limits: Limits) -> Failure:
    status = seen.status or 0
    number = os.WTERMSIG(status) if os.WIFSIGNALED(status) else 0
    if number == signal.SIGSYS:
        return Failure(kind="forbidden", text="it made a system call that is forbidden (this "
                       "kernel does not say which), and was ended")  # fmt: skip
    asked = max(seen.rss_bytes, seen.size_bytes) - seen.base_bytes
    if seen.memory or (number and asked > 0.75 * limits.memory_bytes):
        return Failure(kind="memory", text=f"it asked for more than the "
                       f"{limits.memory_bytes / 2**20:.0f} MiB it may have, and ended")  # fmt: skip
    if number in (signal.SIGXCPU, signal.SIGKILL):
        return Failure(kind="time", text=f"it had used {limits.processor_s} s of processors, and "
                       "was ended")  # fmt: skip
    if number:
        name = signal.Signals(number).name if number in set(signal.Signals) else str(number)
        return Failure(kind="crash", text=f"it crashed ({name}) in round {seen.done + 1}")
    if seen.error:
        return Failure(kind="crash", text=seen.error)
    code = os.WEXITSTATUS(status)
    return Failure(kind="exit", text=f"it ended itself with code {code} instead of answering")


def _read(
    descriptor: int, sizes: Mapping[str, int], rounds: int
) -> tuple[Mapping[str, bytes], ...]:
    found, at = [], 0
    for _ in range(rounds):
        one = {}
        for name, size in sizes.items():
            one[name] = os.pread(descriptor, size, at)
            at += size
        found.append(one)
    return tuple(found)
