"""What reference sets say of figures that are sums over layers."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from orrery.cost.nest import NestCost, NestProblem
from orrery.cost.validation import OUTSIDE, Nearest, operator_kind, over_parts
from orrery.hardware import Architecture
from orrery.report import Cell, Column, Table

from ._beside import nearest_of

#: figures of a layer, and what a whole network's figure of another name follows from
WEIGHED = {"latency": "latency_s", "energy": "energy_j", "off-chip traffic": "offchip_bytes"}
FOLLOW = {"throughput": "latency", "utilisation": "latency"}


@dataclass(frozen=True, slots=True, kw_only=True)
class Part:
    """A layer's share of the sums; None: its energy is not known.

    `outside` says why no set speaks for it; `offchip_j` is what of its energy is off chip, which
    no set has.
    """

    operator: str
    operations: int
    latency_s: float
    energy_j: float | None
    offchip_bytes: float | None
    architecture: Architecture | None
    outside: str = ""
    offchip_j: float = 0.0


def nest_part(
    operator: str, problem: NestProblem, cost: NestCost, architecture: Architecture,
    outside: str = "",
) -> Part:  # fmt: skip
    """Return a layer's share as its loop nest has it."""
    return Part(
        operator=operator_kind(operator, problem), operations=cost.operations.nominal,
        latency_s=cost.latency_s, energy_j=cost.energy_j,
        offchip_bytes=cost.cost.offchip_bytes, architecture=architecture, outside=outside,
        offchip_j=sum(c.energy_j for c in cost.charges
                      if c.resource == architecture.levels[0].name),
    )  # fmt: skip


def known_errors(parts: Sequence[Part]) -> dict[str, Nearest]:
    """Return per figure of the whole what is known of its error.

    A part without an architecture (priced by another model) is outside every set.
    """
    found = {}
    for metric, field in WEIGHED.items():
        shares = [(getattr(part, field) or 0.0, _near(metric, part)) for part in parts]
        if metric == "energy":
            shares = [(weight - part.offchip_j, near)
                      for (weight, near), part in zip(shares, parts, strict=True)]  # fmt: skip
            shares.append(
                (
                    sum(part.offchip_j for part in parts),
                    Nearest(error=None, name=OUTSIDE, how=_NO_SET),
                )
            )
        found[metric] = over_parts(shares)
    return found | {name: found[other].inverse() for name, other in FOLLOW.items()}


_NO_SET = "no set of the energy of off-chip memory"


def _near(metric: str, part: Part) -> Nearest:
    if part.architecture is None or part.outside:
        how = part.outside or "no set of what is no spatial array"
        return Nearest(error=None, name=OUTSIDE, how=how)
    if part.architecture.left_out_error is not None:
        how = "an array fitted to measurements of its own"
        return Nearest(error=None, name=OUTSIDE, how=how)
    return nearest_of(metric, part.architecture, part.operator, part.operations)


def error_table(parts: Sequence[Part]) -> Table:
    """Return per figure and operator which set speaks for how many layers, and its error."""
    rows: list[tuple[Cell, ...]] = []
    for metric, field in WEIGHED.items():
        groups: dict[tuple[str, str], list[tuple[Part, Nearest]]] = {}
        for part in parts:
            near = _near(metric, part)
            inside = near.error is not None
            groups.setdefault((near.name, part.operator if inside else ""), []).append((part, near))
        total = sum(getattr(part, field) or 0.0 for part in parts)
        # Layers that no set speaks for come last, in one row.
        for (name, _), members in sorted(groups.items(), key=lambda one: not one[0][1]):
            error = members[0][1].error
            share = sum(getattr(part, field) or 0.0 for part, _ in members)
            rows.append((
                metric, ", ".join(dict.fromkeys(part.operator for part, _ in members)),
                len(members), 100 * share / total if total else None, name,
                None if error is None else 100 * error,
                *(members[0][1].multiples[at] if members[0][1].multiples else None
                  for at in (1, 0, 2)),
                min((near.how for _, near in members), key=lambda why: (len(why), why)),
            ))  # fmt: skip
    return Table(
        title="How far off such figures were", rows=tuple(rows),
        columns=(Column(name="figure"), Column(name="operator"), Column.number("layers"),
                 Column.number("share", "%", help="of the figure of all layers"),
                 Column(name="nearest set"),
                 Column.number("error", "%",
                               help="median over the set's rows, of ours over the reference"),
                 Column.number("reference", "x",
                               help="as multiple of ours, median over the set's rows"),
                 Column.number("from", "x", help="tenth percentile"),
                 Column.number("to", "x", help="ninetieth"), Column(name="how near")),
        caption="Outside every set, the broadest reason is said. `orrery validate` replays "
        "the sets and says what their errors come from.",
    )  # fmt: skip
