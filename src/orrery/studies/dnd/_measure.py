"""One case: built, recovered within limits, judged by others than the recovery.

Judges:  graph equality after constant folding (`differences`); ONNX Runtime on the network that
         was compiled and on the one that was recovered; the binary, run confined.
"""

from __future__ import annotations

import re
import subprocess
from collections.abc import Mapping
from dataclasses import dataclass, replace
from importlib.util import find_spec
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
from numpy.typing import NDArray

from orrery.api.recovering import RecoverResult, recover
from orrery.decompile import Recovered
from orrery.decompile.topology import differences
from orrery.errors import CancelledError, MissingExtraError, OrreryError
from orrery.graph import Graph, example_inputs
from orrery.progress import SILENT, Progress
from orrery.runtime import OnnxRuntimeBackend, ReferenceBackend
from orrery.runtime.binaries import MissingCompilerError

from ._build import Workshop
from ._cases import Asked
from ._compare import likeness, weights_found

if TYPE_CHECKING:
    from orrery.runtime import Backend

__all__ = ["TOLERANCE", "Effort", "Found", "State", "first_unread", "judged_by", "measure"]

State = Literal["same", "another", "partial", "none", "refused", "not built", "skipped"]

#: Largest |a - b| / (1 + |b|) of the published criterion that outputs must keep to.
TOLERANCE = 1e-5


@dataclass(frozen=True, slots=True, kw_only=True)
class Effort:
    """What a case may take.

    Attributes
    ----------
    time_s, memory_bytes : of its recovery
    rounds : drawn inputs that the networks, and the binary, are compared on
    """

    time_s: float = 300.0
    memory_bytes: int = 4 << 30
    rounds: int = 2

    @staticmethod
    def at(scale: float) -> Effort:
        """Return the effort of a scale; from 1 on the limits that users have."""
        if scale >= 1:
            return Effort(time_s=600.0, memory_bytes=6 << 30, rounds=4)
        return Effort()


@dataclass(frozen=True, slots=True, kw_only=True)
class Found:
    """What came of a case; plain data, so that it can be kept.

    Attributes
    ----------
    state : ``same`` network; ``another`` one, said to be whole; a ``partial`` one; ``none``; the
        file was ``refused``; the compiler does ``not build`` it; ``skipped``: it is not installed
    reason : the first thing that was not read, or differs; empty where the network is the same
    address : of it, where it has one
    weights, parameters : numbers found bit for bit, and how many there are
    error : largest |a - b| / (1 + |b|) of the recovered network against the compiled one
    check_error : the same against the binary itself; None where it was not run
    check : how the binary was run, or why not
    seconds, peak_bytes : of the recovery's stages
    """

    asked: Asked
    state: State
    reason: str = ""
    address: int | None = None
    operators: int = 0
    expected: int = 0
    attributes: int = 0
    attributed: int = 0
    distance: int = 0
    weights: int = 0
    parameters: int = 0
    error: float | None = None
    check_error: float | None = None
    check: str = ""
    seconds: float = 0.0
    peak_bytes: int = 0
    size_bytes: int = 0

    @property
    def tried(self) -> bool:
        """Whether there was a binary to read."""
        return self.state not in ("not built", "skipped")


def judged_by() -> tuple[Backend, str]:
    """Return what runs networks to compare their outputs, and its name for people."""
    if find_spec("onnxruntime") is None:
        return ReferenceBackend(), "the NumPy reference"
    return OnnxRuntimeBackend(threads=1), "ONNX Runtime"


def measure(
    asked: Asked, workshop: Workshop, effort: Effort, progress: Progress = SILENT
) -> Found:  # fmt: skip
    """Build a case, recover it and judge what came back.

    Raises
    ------
    CancelledError : the user asked to stop
    """
    try:
        built = workshop.build(asked)
    except (MissingCompilerError, MissingExtraError) as error:
        return Found(asked=asked, state="skipped", reason=str(error))
    except (OrreryError, subprocess.TimeoutExpired) as error:
        return Found(asked=asked, state="not built", reason=str(error))
    wanted = workshop.network(asked.network)
    size = built.path.stat().st_size
    try:
        result = recover(
            built.path, companion=built.companion, base=built.base,
            architecture=built.architecture, check=effort.rounds, time=f"{effort.time_s:g} s",
            memory=f"{effort.memory_bytes} B", progress=progress,
        )  # fmt: skip
    except CancelledError:
        raise
    except Exception as error:  # a defect of ours must not lose the others, nor pass for a refusal
        like, told = likeness(None, wanted), isinstance(error, OrreryError)
        reason = str(error) if told else f"a defect: {type(error).__name__}: {error}"[:300]
        return Found(asked=asked, state="refused" if told else "none", reason=reason,
                     size_bytes=size, expected=like.expected, attributed=like.attributed,
                     distance=like.distance, parameters=weights_found(None, wanted)[1],
                     )  # fmt: skip
    try:
        return replace(_judged(asked, result, wanted, effort), size_bytes=size)
    except CancelledError:
        raise
    except Exception as error:  # a network that nobody can judge must not lose the others
        text = f"judging it failed: {type(error).__name__}: {error}"[:300]
        state: State = "another" if result.verdict == "whole" else "partial"
        return Found(asked=asked, state=state, reason=text, size_bytes=size)


def _judged(asked: Asked, result: RecoverResult, wanted: Graph, effort: Effort) -> Found:
    graph = None if result.verdict == "none" else result.graph
    weights, parameters = weights_found(graph, wanted)
    stages = result.recovered.stages
    like = likeness(graph, wanted)
    found = Found(
        asked=asked, state="none", operators=like.operators, expected=like.expected,
        attributes=like.attributes, attributed=like.attributed, distance=like.distance,
        weights=weights, parameters=parameters, seconds=sum(one.seconds for one in stages),
        peak_bytes=max((one.peak_bytes for one in stages), default=0),
    )  # fmt: skip
    if graph is None:
        reason, address = first_unread(result.recovered)
        return replace(found, reason=reason or "no network was found in it", address=address)
    said = differences(graph, wanted)
    error, failed = _error(graph, wanted, effort.rounds)
    check = result.check
    found = replace(
        found, error=error, check_error=None if check is None else check.error,
        check="not run" if check is None else f"{check.how}; {check.failure}".strip("; "),
    )  # fmt: skip
    if result.verdict == "partial":
        reason, address = first_unread(result.recovered)
        return replace(found, state="partial", reason=reason or next(iter(said), "in part"),
                       address=address)  # fmt: skip
    if said:
        return replace(found, state="another", reason=said[0])
    if error is None or error > TOLERANCE:
        reason = failed or f"its outputs are off by {error:.3g}"
        return replace(found, state="another", reason=reason)
    # Written in another way, an operator is the same one: equal graphs have all there is.
    return replace(found, state="same", operators=like.expected, attributes=like.attributed,
                   distance=0)  # fmt: skip


def first_unread(recovered: Recovered) -> tuple[str, int | None]:
    """Return the first reason why a recovery is not whole, and its address where it has one."""
    recovery = recovered.recovery
    if recovery is not None and recovery.unmatched:
        first = recovery.unmatched[0]
        return first.reason, first.address
    network = recovered.network
    if recovered.problem:
        return recovered.problem, None
    if network is None:
        return "nothing was finished", None
    # What ran out of its time is in no network; how many functions, only the stage says.
    lost = next((one.detail for one in recovered.stages if " lost" in one.detail), "")
    return "; ".join(filter(None, (lost, network.reason))), None


def _error(found: Graph, wanted: Graph, rounds: int) -> tuple[float | None, str]:
    """Return how far two networks' outputs are apart on drawn inputs, or why nobody can say."""
    backend, _ = judged_by()
    pairs = list(zip(found.inputs, wanted.inputs, strict=False))
    if len(found.inputs) != len(wanted.inputs) or len(found.outputs) != len(wanted.outputs):
        return None, "it has other inputs or outputs"
    try:
        have, want = backend.prepare(found), backend.prepare(wanted)
        worst = 0.0
        for seed in range(rounds):
            inputs = example_inputs(wanted, seed=100 + seed)
            given = {
                new: inputs[old].reshape(found.type(new).sizes) for new, old in pairs
            }  # fmt: skip
            worst = max(worst, _apart(have.run(given), want.run(inputs), found, wanted))
    except (OrreryError, ValueError) as error:
        return None, re.sub(r"\s+", " ", str(error))[:300]
    return worst, ""


def _apart(
    have: Mapping[str, NDArray[Any]], want: Mapping[str, NDArray[Any]], found: Graph, wanted: Graph
) -> float:  # fmt: skip
    worst = 0.0
    for new, old in zip(found.outputs, wanted.outputs, strict=True):
        a, b = (np.asarray(v, np.float64).ravel() for v in (have[new], want[old]))
        if a.shape != b.shape or not np.array_equal(np.isnan(a), np.isnan(b)):
            raise ValueError(f"output {old!r} has {a.size} numbers that count, wanted {b.size}")
        gap = np.abs(np.nan_to_num(a) - np.nan_to_num(b)) / (1 + np.abs(np.nan_to_num(b)))
        worst = max(worst, float(gap.max(initial=0.0)))
    return worst
