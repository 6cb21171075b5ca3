"""The child of a trial: reads what to train, then does a step for each line that it is sent.

``python -m orrery.studies.flashneuron._child``; answers are lines of JSON.
"""

from __future__ import annotations

import contextlib
import json
import os
import resource
import sys
from contextlib import AbstractContextManager
from pathlib import Path
from typing import Any

from orrery.api import InfeasibleError
from orrery.api.offloading import OffloadOptions, TrainingSession, offload
from orrery.runtime.training import DeepNetwork, Trainer

from ._trial import OURS, WAY_NAMES, Trial

#: That the group counts and resident memory does not: page tables, stacks in the kernel.
_KERNEL_BYTES = 8 << 20


def main() -> None:
    """Answer until the input ends."""
    # Libraries print what they like; answers have a way of their own.
    answers = os.fdopen(os.dup(1), "w")
    os.dup2(2, 1)
    training: _Training | None = None
    for line in sys.stdin:
        request = json.loads(line)
        try:
            if training is None:
                training = _Training(_read(request["trial"]), request.get("address_space_bytes"))
                answer = training.start
            else:
                answer = training.step()
        except (InfeasibleError, MemoryError) as lack:
            answer = {"lack": " ".join(str(lack).split()) or "no memory"}
            if isinstance(lack, InfeasibleError) and lack.infeasible.unit == "bytes":
                answer["need_bytes"] = int(lack.infeasible.need)
        answers.write(json.dumps(answer) + "\n")
        answers.flush()
        if "lack" in answer:
            return


def _read(document: dict[str, Any]) -> Trial:
    network = DeepNetwork(**document.pop("network"))
    options = tuple((str(key), value) for key, value in document.pop("options"))
    return Trial(network=network, options=options, **document)


class _Training:
    """The trainer, and ours where that is the way."""

    def __init__(self, trial: Trial, address_space_bytes: int | None) -> None:
        self.session: TrainingSession | None = None
        self.trainer = Trainer(
            trial.network, WAY_NAMES[trial.way], trial.batch, seed=trial.seed,
            folder=Path(trial.folder), given=self._given, threads=trial.threads,
        )  # fmt: skip
        start = _status("VmRSS")
        if trial.way == OURS:
            # Only now are the libraries loaded whose pages do not count against the cap.
            self.session = _session(trial, counted=address_space_bytes is not None)
        if address_space_bytes is not None:
            limit = address_space_bytes + _status("VmSize") - _status("VmRSS")
            resource.setrlimit(resource.RLIMIT_AS, (limit, limit))
        engine = None if self.session is None else self.session.engine
        self.start = {
            "weight_bytes": self.trainer.network.weight_bytes, "start_bytes": start,
            "engine": "" if engine is None else "; ".join((engine.engine, *engine.remarks)),
        }  # fmt: skip

    def _given(self) -> AbstractContextManager[Any]:
        assert self.session is not None
        return self.session

    def step(self) -> dict[str, Any]:
        if self.session is None:  # a session does so itself
            _forget_peak()
        loss, seconds, cpu_s = self.trainer.step()
        answer: dict[str, Any] = {
            "loss": loss, "seconds": seconds, "cpu_s": cpu_s, "peak_bytes": _status("VmHWM"),
        }  # fmt: skip
        if self.session is None:
            return answer
        done, moved = self.session.reports[-1], self.session.reports[-1].moved
        answer |= {
            "peak_bytes": done.peak_bytes, "moved_bytes": moved.written_bytes + moved.read_bytes,
            "io_cpu_s": moved.cpu_s, "waited_s": done.waited_s, "hidden_share": done.hidden_share,
            "within_s": done.step_s, "recompute_s": done.recompute_s,
        }  # fmt: skip
        if self.session.profiles:
            profile = self.session.profiles[0]
            answer |= {
                "forward_s": profile.forward_s, "write_bytes_per_s": profile.write_bytes_per_s,
                "saved_bytes": profile.saved_bytes, "other_bytes": profile.other_bytes,
            }  # fmt: skip
        if self.session.plans and not done.measured:
            plan = self.session.plans[0]
            answer |= {"planned_s": plan.step_s, "planned_bytes": plan.moved_bytes}
        return answer


def _session(trial: Trial, *, counted: bool) -> TrainingSession:
    """Return ours; `counted` says whether pages of files count against the cap."""
    limit = trial.limit_bytes
    if limit is None and trial.cap_bytes is not None:
        limit = trial.cap_bytes - _KERNEL_BYTES + (0 if counted else _status("RssFile"))
    options: dict[str, Any] = dict(trial.options)
    return offload(
        trial.folder, None if limit is None else f"{limit} B", name=trial.network.kind,
        options=OffloadOptions(**options),
    )  # fmt: skip


def _forget_peak() -> None:
    """Let the most resident memory be that of what follows, where the system allows it."""
    with contextlib.suppress(OSError):
        Path("/proc/self/clear_refs").write_text("5")


def _status(key: str) -> int:
    for row in Path("/proc/self/status").read_text().splitlines():
        if row.startswith(f"{key}:"):
            return int(row.split()[1]) * 1024
    return 0


if __name__ == "__main__":
    main()
