"""The study: five networks on eight FPGAs, in every way, with less, and under other constants."""

from __future__ import annotations

from collections.abc import Sequence
from statistics import mean

from orrery.graph import count_parameters
from orrery.progress import SILENT, Progress
from orrery.provenance import Basis

from .._frame import Record, StudyResult, compared
from ._case import BASELINES, Case, run_case
from ._platform import ARCHITECTURES, CLAIMS, DESIGNS, NETWORKS, Effort, models_of, platform
from ._sweeps import DesignRow, LinkSweep, Which, sweep_designs, sweep_links
from ._tables import sections_of

_PAPER = "arXiv 2307.12234 (abstract)"
_SUMMARY = "a summary of the paper (DAC 2023)"
_REASON = (
    "the paper's bandwidths, designs and baseline are not public; these are the stated constants "
    "of the catalogue, nothing tuned"
)


def mars_study(scale: float = 1.0, progress: Progress = SILENT) -> StudyResult:
    """Map five networks onto eight FPGAs in sets, and say how far each way is from the best.

    Parameters
    ----------
    scale : 1 runs all; less runs fewer networks, factors and designs
    """
    effort = Effort.at(scale)
    system, models = platform(), models_of(tuple(DESIGNS.values()))
    cases: list[Case] = []
    links: list[LinkSweep] = []
    designs: list[DesignRow] = []
    for done, network in enumerate(effort.networks):
        progress.step("networks", done, len(effort.networks))
        case = run_case(network, system, models, progress)
        cases.append(case)
        kinds: dict[Which, tuple[float, ...]] = {
            "all": effort.factors, "host": effort.apart, "devices": effort.apart,
        }  # fmt: skip
        used = {which: factors for which, factors in kinds.items() if factors}
        links += sweep_links(case, used, progress)
        designs += sweep_designs(case, effort.swept, progress)
    return StudyResult(
        records=(*_claims(cases), *_found(cases), *_sizes(cases)),
        sections=sections_of(cases, links, designs),
    )


def _claims(cases: Sequence[Case]) -> list[Record]:
    """Hold the reductions of the paper against ours, for each baseline."""
    whole = len(cases) == len(NETWORKS)
    records = []
    for baseline, does in BASELINES.items():
        found = [r for case in cases if (r := case.reduction(baseline)) is not None]
        values = {"mean": mean(found), "least": min(found), "most": max(found)} if found else {}
        for key, published in CLAIMS.items():
            name = f"two-level against {baseline}: {key} latency reduction"
            source = _PAPER if key == "mean" else _SUMMARY
            if not whole or len(found) < len(cases):
                missing = f"needs a plan for all {len(NETWORKS)} networks; here {len(found)}"
                records.append(Record(
                    name=name, unit="%", published=published, ours=None, source=source,
                    basis=Basis.SIMULATED, status="not reproducible", note=missing,
                ))  # fmt: skip
                continue
            records.append(compared(
                name, "%", published=published, ours=100 * values[key], basis=Basis.SIMULATED,
                source=source, tolerance=0.1, note=f"{_REASON}; baseline: {does}",
            ))  # fmt: skip
    return records


def _found(cases: Sequence[Case]) -> list[Record]:
    """Hold what each search found against its judge."""
    records = []
    for case in cases:
        name, exact = NETWORKS[case.network], case.ways["exact"]
        records.append(compared(
            f"{name}: exact search", "s", ours=exact.predicted_s, basis=Basis.ESTIMATED,
            source=_PAPER, judge="lower bound of sets in series", judge_value=case.bound_s,
            tolerance=1e-9, note="no per-network latency is published", seconds=exact.search_s,
        ))  # fmt: skip
        records.append(compared(
            f"{name}: exact search, replayed", "s", ours=exact.replayed_s, basis=Basis.SIMULATED,
            source=_PAPER, judge="its price without contention", judge_value=exact.predicted_s,
            note="messages of one set may meet on a link",
        ))  # fmt: skip
        if "two-level" in case.ways:
            two = case.ways["two-level"]
            records.append(compared(
                f"{name}: two-level search", "s", ours=two.predicted_s, basis=Basis.ESTIMATED,
                source=_PAPER, judge="exact search", judge_value=exact.predicted_s,
                note="no per-network latency is published", seconds=two.search_s,
            ))  # fmt: skip
        broken = sum(way.violations for way in case.ways.values())
        records.append(compared(
            f"{name}: rules that certificates break", "", ours=float(broken),
            basis=Basis.SIMULATED, source="rules of a valid plan",
            judge="independent certificate checker", judge_value=0.0, tolerance=0.0,
            note=f"over {len(case.ways)} plans",
        ))  # fmt: skip
    return records


def _sizes(cases: Sequence[Case]) -> list[Record]:
    """Hold the networks against the public architectures."""
    records = []
    for case in cases:
        convolutions, parameters = ARCHITECTURES[case.network]
        name, judge = NETWORKS[case.network], "public architecture"
        count = sum(node.operator == "Conv" for node in case.graph.nodes)
        records.append(compared(
            f"{name}: convolutions", "", ours=float(count), basis=Basis.ESTIMATED, source=judge,
            judge=judge, judge_value=float(convolutions), tolerance=0.0,
        ))  # fmt: skip
        records.append(compared(
            f"{name}: 10⁶ parameters", "", ours=count_parameters(case.graph) / 1e6,
            basis=Basis.ESTIMATED, source=judge, judge=judge, judge_value=parameters,
            tolerance=0.05 / parameters,  # the last digit of the figure
        ))  # fmt: skip
    return records
