"""One side of a comparison: figures, and what each layer takes and where it runs."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path

from orrery.errors import SpecError
from orrery.evidence import Evidence
from orrery.plan import Plan, read_plan
from orrery.store import read_record
from orrery.timeline import PS_PER_S, Timeline, read_timeline

from ..nests import NestFile, read_nests

#: kinds of spans in which a layer is computed; the others bring its data
_WORK = "compute"


@dataclass(frozen=True, slots=True, kw_only=True)
class LayerTakes:
    """What a layer takes, and how it is done.

    Attributes
    ----------
    takes : quantity -> value, e.g. ``time`` in s, ``cycles``, ``energy`` in J
    how : what decides it, in words: ``device``, ``design``, ``nest``, ``held up by``, what
        ``stays`` on chip, ``tiles`` of rows
    """

    takes: Mapping[str, float]
    how: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True, kw_only=True)
class Side:
    """What a folder or a file tells.

    Attributes
    ----------
    layers : in the order of the network; empty where only figures are known
    networks : name and content hash of each, empty where it is not known
    sought : what was searched for, where that is known
    beside : time that belongs to no layer, by kind (``transfer``, ``fetch``), in s of all links
    """

    name: str
    evidence: tuple[Evidence, ...]
    layers: Mapping[str, LayerTakes] = field(default_factory=dict)
    networks: tuple[str, ...] = ()
    sought: str = ""
    beside: Mapping[str, float] = field(default_factory=dict)


def read_side(given: str | Path) -> Side:
    """Read a folder that `map`, `nest`, `run`, `simulate` or `score` wrote, or one evidence.json.

    Raises
    ------
    SpecError : no such folder or file, or no figures in it
    """
    path = Path(given)
    file = path / "evidence.json" if path.is_dir() else path
    if not file.exists():
        raise SpecError(str(given), found="a folder without evidence.json" if path.is_dir()
                        else "no such file", wanted="the --out folder of a command, or its "
                        "evidence.json", fix="run the command with --out first")  # fmt: skip
    evidence = read_record(file, "evidence", tuple[Evidence, ...], 1)
    side = Side(name=str(given), evidence=evidence)
    if file.name != "evidence.json":
        return side
    if (file.parent / "nests.json").exists():
        return _with_nests(side, read_nests(file.parent / "nests.json"))
    if (file.parent / "timeline.json").exists():
        plan = file.parent / "plan.json"
        return _with_timeline(
            side, read_timeline(file.parent / "timeline.json"),
            read_plan(plan) if plan.exists() else None,
        )  # fmt: skip
    return side


def _with_nests(side: Side, file: NestFile) -> Side:
    """Return the side with layers; parts of one layer (tiles, several nests) are one."""
    found: dict[str, LayerTakes] = {}
    for layer in file.layers:
        takes = {"time": layer.latency_s, "cycles": layer.cycles, "energy": layer.energy_j,
                 "off chip": layer.offchip_bytes}  # fmt: skip
        nest = layer.schedule
        said = "nothing fits" if nest is None else ", ".join(
            f"{key} {value}" for key, value in sorted(nest.parameters.items()))  # fmt: skip
        name = layer.stage or layer.layer
        before = found.get(name, LayerTakes(takes={}, how={}))
        sums = {key: float(value) + before.takes.get(key, 0.0)
                for key, value in takes.items() if value is not None}  # fmt: skip
        stays = ", ".join((*layer.kept_roles, *layer.kept_tensors))
        more = {"fused": ", ".join(layer.fused),
                "stays": f"in {file.kept_in}: {stays}" if stays else "",
                "tiles": f"{layer.rows} rows" if layer.rows else "",
                "nest": said, "held up by": layer.held_up_by}  # fmt: skip
        how = {key: "; ".join(dict.fromkeys(filter(None, (before.how.get(key, ""), value))))
               for key, value in more.items()}  # fmt: skip
        found[name] = LayerTakes(takes=sums, how=how)
    sought = f"{file.objective}, fused: {file.fuse}"
    return replace(side, layers=found, networks=(f"{file.model} {file.structure[:12]}",),
                   sought=sought)  # fmt: skip


def _with_timeline(side: Side, timeline: Timeline, plan: Plan | None) -> Side:
    """Return the side with layers, each from its first to its last computation, and the rest."""
    spans: dict[str, tuple[int, int]] = {}
    where: dict[str, dict[str, None]] = {}
    design: dict[str, str] = {}
    beside: dict[str, int] = {}
    for span in timeline.spans:
        if span.kind != _WORK:
            beside[span.kind] = beside.get(span.kind, 0) + span.end_ps - span.start_ps
            continue
        first, last = spans.get(span.name, (span.start_ps, span.end_ps))
        spans[span.name] = min(first, span.start_ps), max(last, span.end_ps)
        where.setdefault(span.name, {})[span.resource] = None
        design[span.name] = str(span.details.get("design", "as it is"))
    nests = {a.region: a.schedule for a in plan.assignments} if plan is not None else {}
    layers = {}
    for name, (first, last) in spans.items():
        nest = nests.get(name)
        extra = {} if nest is None else {"nest": ", ".join(
            f"{key} {value}" for key, value in sorted(nest.parameters.items()))}  # fmt: skip
        layers[name] = LayerTakes(
            takes={"time": (last - first) / PS_PER_S},
            how={"device": _listed(list(where[name])), "design": design[name], **extra},
        )
    return replace(
        side, layers=layers, beside={kind: total / PS_PER_S for kind, total in beside.items()},
        networks=tuple(f"{m.name} {m.digest[:12]}" for m in plan.models) if plan else (),
    )  # fmt: skip


def _listed(names: list[str]) -> str:
    """Return up to three names, or how many there are."""
    return ", ".join(names) if len(names) <= 3 else f"{len(names)} devices from {min(names)} on"
