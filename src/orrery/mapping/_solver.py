"""The one door to optional solvers: constraint programming (OR-Tools) and linear programs (SciPy).

Both are imported when first asked for. Nothing here knows of networks or devices.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from orrery.errors import MissingExtraError
from orrery.progress import Progress, Step

_POLL_S = 0.05


@dataclass(frozen=True, slots=True, kw_only=True)
class Limits:
    """When a search ends, and how it is made repeatable.

    Attributes
    ----------
    work : deterministic work units of the solver (about seconds of one core); the same on every
        machine
    seconds : wall clock; 0 is no limit. Where it strikes, results depend on the machine
    workers : threads; their search interleaves in a fixed order, so results repeat
    seed : of the solver's random choices
    """

    work: float
    seconds: float = 0.0
    workers: int = 1
    seed: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class Verdict:
    """How a search ended.

    Attributes
    ----------
    status : ``optimal``, ``feasible``, ``infeasible``, ``unknown``
    bound : no solution has a smaller objective
    work : deterministic work units spent
    interrupted : whether the user asked to stop
    """

    status: str
    bound: float
    work: float
    interrupted: bool


def constraint_programming() -> Any:
    """Return the module that builds constraint models.

    Raises
    ------
    MissingExtraError : OR-Tools is not installed
    """
    try:
        from ortools.sat.python import cp_model
    except ImportError:
        raise MissingExtraError(
            "ortools", "solve", purpose="exact search over graphs that are no chains"
        ) from None
    return cp_model


def solve(
    model: Any,
    limits: Limits,
    *,
    found: Callable[[Callable[[Any], int], float], None],
    task: str,
    progress: Progress,
    scale: float,
) -> Verdict:
    """Search a constraint model to the end, a limit, or the user's wish.

    Parameters
    ----------
    model : what `constraint_programming` built, with an objective to make small
    found : called, from another thread, with each better solution (variable -> value) and its
        objective
    task, progress : told of best and bound several times a second, each times `scale`
    """
    cp = constraint_programming()
    solver = cp.CpSolver()
    parameters = solver.parameters
    parameters.max_deterministic_time = limits.work
    if limits.seconds > 0:
        parameters.max_time_in_seconds = limits.seconds
    parameters.random_seed = limits.seed
    parameters.num_workers = limits.workers
    parameters.interleave_search = limits.workers > 1
    parameters.catch_sigint_signal = False
    state: dict[str, Any] = {"best": None, "bound": None}

    class Listener(cp.CpSolverSolutionCallback):  # type: ignore[name-defined,misc] # untyped
        def on_solution_callback(self) -> None:
            state["best"] = self.objective_value
            found(self.value, self.objective_value)

    def better_bound(bound: float) -> None:
        state["bound"] = bound

    def run() -> None:
        try:
            state["code"] = solver.solve(model, Listener())
        except BaseException as error:  # handed to the waiting thread, which raises it
            state["error"] = error

    solver.best_bound_callback = better_bound
    thread = threading.Thread(target=run, daemon=True)
    thread.start()
    interrupted, polls = False, 0
    try:
        while thread.is_alive():
            thread.join(_POLL_S)
            polls += 1
            if not interrupted and progress.cancelled():
                interrupted = True
            if interrupted:
                solver.stop_search()
            elif polls % 4 == 0:
                best, bound = state["best"], state["bound"]
                progress.report(
                    Step(
                        task=task, done=polls // 4, best=None if best is None else best * scale,
                        bound=None if bound is None else bound * scale,
                    )
                )  # fmt: skip
    finally:
        while thread.is_alive():
            solver.stop_search()
            thread.join(_POLL_S)
    if "error" in state:
        raise state["error"]
    names = {cp.OPTIMAL: "optimal", cp.FEASIBLE: "feasible", cp.INFEASIBLE: "infeasible"}
    status = names.get(state["code"], "unknown")
    return Verdict(
        status=status, bound=solver.best_objective_bound if status != "infeasible" else 0.0,
        work=solver.deterministic_time, interrupted=interrupted,
    )  # fmt: skip


def share_out(seconds: NDArray[np.float64], count: Sequence[int]) -> float | None:
    """Return a least time in which machines can share out divisible jobs, by a linear program.

    Parameters
    ----------
    seconds : kinds of machines × jobs; infinite where a machine cannot do a job; every job has a
        machine
    count : how many machines there are of each kind

    Returns
    -------
    float or None
        None when SciPy is not installed or its solver gives up. The value is worked out here from
        the dual solution, so rounding inside the solver can only make it too small.
    """
    try:
        from scipy.optimize import linprog  # type: ignore[import-untyped]
        from scipy.sparse import coo_array  # type: ignore[import-untyped]
    except ImportError:
        return None
    columns, repeats = np.unique(seconds, axis=1, return_counts=True)
    costs, machines = columns * repeats, np.asarray(count, dtype=float)
    kind, job = np.nonzero(np.isfinite(costs))
    value = costs[kind, job]
    top = float(value.max(initial=0.0))
    if top <= 0:
        return 0.0
    kinds, jobs, entries = len(costs), costs.shape[1], len(value)
    column = np.arange(entries)
    # Time T is the last variable: work of a kind <= count * T, shares of each job sum to one.
    loads = coo_array(
        (np.r_[value / top, -machines],
         (np.r_[kind, np.arange(kinds)], np.r_[column, np.full(kinds, entries)])),
        shape=(kinds, entries + 1),
    )  # fmt: skip
    shares = coo_array((np.ones(entries), (job, column)), shape=(jobs, entries + 1))
    result = linprog(
        np.r_[np.zeros(entries), 1.0], A_ub=loads.tocsr(), b_ub=np.zeros(kinds),
        A_eq=shares.tocsr(), b_eq=np.ones(jobs), bounds=(0, None), method="highs",
    )  # fmt: skip
    if result.status != 0:
        return None
    # Weights u >= 0 with sum(count * u) = 1 prove T >= sum over jobs of min over kinds of u * cost:
    # T = sum(count * u) * T >= sum of u * work, and each job's work is a mean of its costs.
    weights = np.maximum(-np.asarray(result.ineqlin.marginals), 0.0)
    norm = float(weights @ machines)
    if not norm > 0:
        return None
    able = np.isfinite(costs)
    weighted = np.where(able, weights[:, None] / norm * np.where(able, costs, 0.0), np.inf)
    return float(weighted.min(axis=0).sum()) * (1 - 1e-12)


def linear_bound(
    objective: NDArray[np.float64],
    at_most: tuple[NDArray[np.float64], NDArray[np.float64]],
    equal: tuple[NDArray[np.float64], NDArray[np.float64]],
    highest: NDArray[np.float64],
) -> float | None:
    """Return a number that no solution of a linear program undercuts.

    Parameters
    ----------
    objective : made small; one per variable, variables are from 0 to `highest`
    at_most, equal : rows × variables, and their right sides

    Returns
    -------
    float or None
        None when SciPy is not installed or its solver gives up. The value is worked out here from
        the dual solution, so that rounding inside the solver can only make it too small.
    """
    try:
        from scipy.optimize import linprog
    except ImportError:
        return None
    result = linprog(
        objective, A_ub=at_most[0], b_ub=at_most[1], A_eq=equal[0], b_eq=equal[1],
        bounds=np.stack([np.zeros_like(highest), highest], axis=1), method="highs",
    )  # fmt: skip
    if result.status != 0:
        return None
    # For y <= 0 and any z: c x >= y b + z d + (c - A'y - E'z) x, and the last is least at an end.
    y = np.minimum(np.asarray(result.ineqlin.marginals), 0.0)
    z = np.asarray(result.eqlin.marginals)
    rest = objective - at_most[0].T @ y - equal[0].T @ z
    value = float(y @ at_most[1] + z @ equal[1] + (np.minimum(rest, 0.0) * highest).sum())
    return value - 1e-12 * float(abs(y @ at_most[1]) + abs(z @ equal[1]))
