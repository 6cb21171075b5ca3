"""Stages in a process of their own: hostile input may end that one, never its caller.

Models:  nothing. The child tells over a pipe how far it is and what is worth keeping; the parent
         reads plain data (never pickles: libraries in C read hostile bytes in the child), watches
         the clock, and ends the child.
Judge:   stages that loop, eat memory and crash (tests/decompile/test_worker.py).
"""

from __future__ import annotations

import contextlib
import ctypes
import json
import os
import pickle
import select
import signal
import struct
import subprocess
import sys
import tempfile
import time
import traceback
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, replace
from typing import NoReturn

from orrery.errors import OrreryError, printable
from orrery.progress import Progress, Step

from ._frame import Records, Stage, StageReport, check_stages, run_stages
from ._limits import RecoverLimits, bound_memory

_BOOT = (
    "import json, sys; said = json.loads(sys.argv[1]); sys.path[:] = said.pop('path'); "
    "from orrery.decompile._worker import main; main(**said)"
)
_HEAD = struct.Struct("<cQ")
_POLL_S = 0.1
#: No record that is kept is larger; a network's weights are in it.
_MOST_KEPT, _MOST_SAID = 8 << 30, 1 << 20

Pack = Callable[[object], bytes]


@dataclass(frozen=True, slots=True, kw_only=True)
class Ended:
    """What a child got done.

    Attributes
    ----------
    kept : the last record that was worth keeping, packed; None where there is none
    error : what a stage said of its input, for people; empty where nothing was wrong
    reports : of every stage, those that were not reached as well
    """

    kept: bytes | None
    error: str
    reports: tuple[StageReport, ...]

    @property
    def done(self) -> bool:
        return all(one.status == "done" for one in self.reports)


def run_in_child(
    stages: Sequence[Stage], given: Sequence[object], *, pack: Pack, limits: RecoverLimits,
    progress: Progress,
) -> Ended:  # fmt: skip
    """Run stages in a child within limits.

    Parameters
    ----------
    stages, given : as for `run_stages`; both are sent to the child, so that they can be pickled
    pack : turns what a stage keeps into bytes that are safe to read here

    Raises
    ------
    SpecError : the stages do not fit together; no child was started
    CancelledError : the user asked to stop; the child has been ended
    """
    check_stages(stages, [type(one) for one in given])
    reports = {one.name: StageReport(name=one.name, status="not run") for one in stages}
    with contextlib.ExitStack() as stack:
        errors = stack.enter_context(tempfile.TemporaryFile())
        job = stack.enter_context(tempfile.TemporaryFile())
        job.write(pickle.dumps((tuple(stages), tuple(given), pack, limits)))
        job.seek(0)
        hearing, saying = os.pipe()
        stack.callback(os.close, hearing)
        said = {"path": [one for one in sys.path if isinstance(one, str)], "job": job.fileno(),
                "line": saying, "parent": os.getpid()}  # fmt: skip
        process = subprocess.Popen(
            [sys.executable, "-c", _BOOT, json.dumps(said)], stdin=subprocess.DEVNULL,
            stdout=errors, stderr=errors, pass_fds=(job.fileno(), saying), start_new_session=True,
        )  # fmt: skip
        os.close(saying)
        listener = _Listener(hearing, reports, progress, time.monotonic() + limits.time_s)
        try:
            whole = listener.listen()
        finally:
            # The session of its own holds its forks too: none outlives it.
            with contextlib.suppress(ProcessLookupError):
                os.killpg(process.pid, signal.SIGKILL)
            status = process.wait()
        if not whole:
            errors.seek(0, os.SEEK_END)
            errors.seek(max(0, errors.tell() - 2000))
            listener.stopped(status, limits, errors.read().decode(errors="replace"))
        return Ended(kept=listener.kept, error=listener.error, reports=tuple(reports.values()))


class _Listener:
    """Reads what the child says until it has ended or its time is over."""

    def __init__(
        self, line: int, reports: dict[str, StageReport], progress: Progress, deadline: float
    ) -> None:
        self._line, self._reports, self._progress = line, reports, progress
        self._deadline, self._buffer = deadline, bytearray()
        self._now, self._begun = "", time.perf_counter()
        self.kept: bytes | None = None
        self.error = ""
        self.late = False

    def listen(self) -> bool:
        """Return whether the child said that it was through."""
        done = 0
        while True:
            self._progress.step("stages", done, len(self._reports))
            if time.monotonic() > self._deadline:
                self.late = True
                return False
            if not select.select([self._line], [], [], _POLL_S)[0]:
                continue
            part = os.read(self._line, 1 << 20)
            if not part:
                return False
            self._buffer += part
            while (message := self._message()) is not None:
                kind, body = message
                if kind == b"f":
                    return True
                try:
                    self._take(kind, body)
                except (ValueError, TypeError, AttributeError, LookupError) as error:
                    raise OrreryError(
                        f"recover: found {type(error).__name__} in what the process that reads the "
                        "binary says, wanted its reports; the binary has taken it over: do not "
                        "trust the file"
                    ) from None
            done = sum(one.status == "done" for one in self._reports.values())

    def _message(self) -> tuple[bytes, bytes] | None:
        if len(self._buffer) < _HEAD.size:
            return None
        kind, size = _HEAD.unpack_from(self._buffer)
        if size > (_MOST_KEPT if kind == b"k" else _MOST_SAID):
            raise OrreryError(
                f"recover: found a message of {size} bytes from the process that reads the binary, "
                "wanted a smaller one; the binary has taken it over: do not trust the file"
            )
        if len(self._buffer) < _HEAD.size + size:
            return None
        body = bytes(self._buffer[_HEAD.size : _HEAD.size + size])
        del self._buffer[: _HEAD.size + size]
        return kind, body

    def _take(self, kind: bytes, body: bytes) -> None:
        if kind == b"k":
            self.kept = body
            return
        said = json.loads(body)
        if kind == b"b":
            self._now, self._begun = str(said), time.perf_counter()
        elif kind == b"e" and said.get("name") in self._reports:
            report = StageReport(**said)
            self._reports[report.name] = replace(report, detail=printable(report.detail))
        elif kind == b"x":
            self.error = printable(str(said))
        elif kind == b"p":
            self._progress.report(Step(task=str(said[0]), done=int(said[1]), total=said[2]))

    def stopped(self, status: int, limits: RecoverLimits, printed: str) -> None:
        """Say which stage ended the child, and why."""
        if self.error:
            return
        if self.late:
            why = f"out of time: the whole may take {limits.time_s:g} s"
        elif status < 0:
            why = f"the process that read the binary crashed ({signal.Signals(-status).name})"
        else:
            lines = [one for one in printed.splitlines() if one.strip()]
            why = "the process that read the binary ended" + (f": {lines[-1]}" if lines else "")
        name = self._now or next(iter(self._reports))
        self._reports[name] = StageReport(
            name=name, status="stopped", detail=printable(why),
            seconds=time.perf_counter() - self._begun,
        )  # fmt: skip


def main(job: int, line: int, parent: int) -> None:
    """Run the stages of a job; the child's own entry."""
    ctypes.CDLL(None).prctl(1, int(signal.SIGKILL), 0, 0, 0)
    ctypes.CDLL(None).prctl(38, 1, 0, 0, 0)  # no new rights, whatever is started
    if os.getppid() != parent:
        return
    with open(job, "rb") as handle:  # a descriptor
        stages, given, pack, limits = pickle.load(handle)  # written by the parent
    bound_memory(limits.memory_bytes)

    def say(kind: bytes, what: object) -> None:
        body = what if isinstance(what, bytes) else json.dumps(what).encode()
        _write(line, _HEAD.pack(kind, len(body)))
        _write(line, body)

    records = Records(
        given,
        progress=Progress(report=lambda one: say(b"p", [one.task, one.done, one.total])),
        keep=lambda one: say(b"k", pack(one)),
    )
    try:
        run_stages(
            stages, records, begun=lambda name: say(b"b", name),
            ended=lambda report: say(b"e", asdict(report)),
        )  # fmt: skip
    except OrreryError as error:
        say(b"x", str(error))
    except (MemoryError, OSError) as error:
        # Where a library that reads code is loaded late, the system's loader says it in its words.
        if not isinstance(error, MemoryError) and "failed to map" not in str(error):
            _defect()
        say(b"x", f"recover: found too little memory, wanted at most {limits.memory_bytes >> 20} "
            "MiB; allow it more")  # fmt: skip
    except RecursionError:
        say(b"x", "recover: found code nested too deeply, wanted a function that can be read; "
            "name another entry")  # fmt: skip
    except Exception:
        _defect()
    say(b"f", None)


def _defect() -> NoReturn:
    """End with the trace of a stage's defect, which goes to the parent and ends the recovery."""
    traceback.print_exc()
    sys.stderr.flush()
    os._exit(1)


def _write(descriptor: int, data: bytes) -> None:
    view = memoryview(data)
    while view:
        view = view[os.write(descriptor, view) :]
