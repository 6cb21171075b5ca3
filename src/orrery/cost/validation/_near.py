"""Which recorded set speaks for a figure, and how near it is.

Models:  a set speaks for a figure of its quantity on an array of the same dataflow, for the same
         operator, at the same width of weights, for layers of a tenth to ten times the
         multiplications that the set has. Of several that do, the same array of the catalogue
         first, then references that are confirmed, then the most rows. Sets for which the array
         was changed or constants were fitted speak for nothing. A figure of many layers takes
         the errors of its parts, each by its share, where sets speak for at least half of it;
         references as multiples of ours are added as if all parts lay alike in their range, the
         widest that the whole can have.
Ignores: clock, process, memories, the mapping itself (sets price given mappings, searches choose);
         zeros: layers are dense, and whoever prices others says that no set speaks for them.
Judge:   cases by hand, one for each criterion (tests).
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from orrery.hardware import ROLES, Architecture
from orrery.units import counted

from ._recorded import recorded_sets

if TYPE_CHECKING:
    from orrery.cost.nest import NestProblem

    from ._set import ValidationSet

OUTSIDE = "outside every set"

#: how many times smaller or larger than any layer of a set one may be
LEEWAY = 10

#: figures that follow from one another have one another's error
_FOLLOWS = {"throughput": "latency", "utilisation": "latency", "cycles": "latency"}
#: of these, the ones that fall as it grows
_INVERSE = ("throughput", "utilisation")

#: who measures, of those a set may be against
MEASURED = ("silicon", "RTL")

#: operators that one routine of an array runs
_SAME = {"Gemm": "MatMul"}


@dataclass(frozen=True, slots=True, kw_only=True)
class Nearest:
    """What is known of the error of a figure.

    Attributes
    ----------
    error : median relative error of the set, None outside every set
    name : of the set, with its share where it does not speak for all; or ``outside every set``
    how : how near the set is; outside, what no set has
    multiples : the reference as multiples of ours: low, median, high (`ValidationSet.multiples`)
    label : name with rows, share and what must be known beside them
    measured : whether all references were measured, on silicon or RTL
    elsewhere : how the array differs from that of the set; empty: it is that one, by its numbers
    """

    error: float | None
    name: str
    how: str
    multiples: tuple[float, ...] = ()
    label: str = ""
    measured: bool = False
    elsewhere: str = ""

    @property
    def said(self) -> str:
        """What stands beside the figure; empty outside every set."""
        if self.error is None or len(self.multiples) != 3:
            return ""
        low, middle, high = (f"{value:.2g}x" if value < 10 else f"{value:.0f}x"
                             for value in self.multiples)  # fmt: skip
        span = "" if low == high else f" ({low} to {high})"
        verb = "measured" if self.measured else "reference"
        what = "ours" if self.elsewhere else "this"
        return f"{verb} {middle} {what}{span} on {self.label or self.name}"

    def inverse(self) -> Nearest:
        """Return what is known of a rate, whose time this is about."""
        return replace(self, multiples=tuple(1 / value for value in reversed(self.multiples)))


def dataflow_of(architecture: Architecture) -> str:
    """Name the dataflow: what an element of the array keeps while others pass by.

    Weights, sums or images alone make it weight-, output- or input-stationary. An element that
    keeps all three is row-stationary where kernel rows may lie along the array.
    """
    names = {axis.name for axis in architecture.axes}
    kept = {role for level in architecture.levels[1:] if set(level.per) == names
            for role in level.holds}  # fmt: skip
    if kept == set(ROLES):
        along = [axis.loops or tuple(axis.fixed or ()) for axis in architecture.axes]
        return "row-stationary" if any("Kh" in loops for loops in along) else "all-stationary"
    if not kept:
        return "no local reuse"
    return f"{'- and '.join(role for role in ROLES if role in kept)}-stationary"


def operator_kind(operator: str, problem: NestProblem) -> str:
    """Return the operator as sets tell it apart: a depthwise convolution reuses far less."""
    loops = dict(problem.loops)
    depthwise = operator == "Conv" and loops.get("G", 1) > 1 == loops.get("Cin", 1)
    return f"depthwise {operator}" if depthwise else operator


def nearest_set(
    quantity: str,
    *,
    dataflow: str,
    operator: str,
    bits: int,
    operations: int | None = None,
    architecture: str = "",
    same: Callable[[str], bool] | None = None,
    sets: Iterable[ValidationSet] | None = None,
) -> Nearest:
    """Return what a set says of a figure.

    Parameters
    ----------
    quantity : a metric of the scorecard
    dataflow : from `dataflow_of`
    operator : from `operator_kind`, e.g. ``Conv``
    bits : of a weight
    operations : of the layer; None: not compared
    architecture : name of the array
    same : whether the array is the catalogue's of a name (`catalogued`); sets of that one are
        preferred, then those of the name, whose error it is not said to have. None: it is, if
        the name is
    """
    asked = _FOLLOWS.get(quantity, quantity)
    product = _SAME.get(operator, operator)
    left = [one for one in (recorded_sets() if sets is None else sets) if not one.adapted]
    criteria = (
        (f"of {asked}", lambda s: s.quantity == asked),
        (f"on {dataflow} arrays", lambda s: s.dataflow == dataflow),
        (f"of {operator}", lambda s: product in {_SAME.get(o, o) for o in s.operators}),
        (f"at {bits} bits", lambda s: not s.bits or bits in s.bits),
        (f"of layers of {operations:,} multiplications" if operations is not None else "",
         lambda s: operations is None
         or (s.least_operations <= LEEWAY * operations
         and operations <= LEEWAY * s.most_operations)),
    )  # fmt: skip
    said: list[str] = []
    for words, holds in criteria:
        said += [words] if words else []
        kept = [one for one in left if holds(one)]
        if not kept:
            return Nearest(error=None, name=OUTSIDE, how=f"no set {' '.join(said)}")
        left = kept
    kin = {s.architecture: bool(architecture) and s.architecture == architecture for s in left}
    own = kin if same is None else {name: bool(name) and same(name) for name in kin}
    best = max(left, key=lambda s: (own[s.architecture], kin[s.architecture],
                                    not s.unconfirmed, s.count))  # fmt: skip
    elsewhere = f"another array ({best.architecture or 'made for the set'})"
    if own[best.architecture] or kin[best.architecture]:
        elsewhere = "" if own[best.architecture] else f"a changed {architecture}"
    where = elsewhere or "the same array"
    rows = counted(best.count, "row")
    doubts = [*(("unconfirmed",) if best.unconfirmed else ()),
              *(one for one in (best.reserve, elsewhere) if one)]  # fmt: skip
    found = Nearest(
        error=best.median, name=best.name, multiples=best.multiples,
        label=", ".join((f"{best.name}, {rows}", *doubts)),
        measured=best.against.startswith(MEASURED), elsewhere=elsewhere,
        # First what makes it another machine: a narrow table cuts the middle of a long cell.
        how=f"{where}; {rows} against {best.against}"
        f"{', unconfirmed' if best.unconfirmed else ''}; same dataflow, operator and width"
        f"{f'; {best.reserve}' if best.reserve else ''}",
    )  # fmt: skip
    return found.inverse() if quantity in _INVERSE else found


def over_parts(parts: Iterable[tuple[float, Nearest]]) -> Nearest:
    """Return what is known of the error of a sum.

    Parameters
    ----------
    parts : (weight in the sum, what is known of it)
    """
    weights: dict[str, float] = {}
    hows: dict[str, str] = {}
    errors: dict[str, float] = {}
    known: dict[str, Nearest] = {}
    for weight, near in parts:
        weights[near.name] = weights.get(near.name, 0.0) + weight
        hows.setdefault(near.name, near.how)
        if near.error is not None:
            errors[near.name] = near.error
            known[near.name] = near
    total = sum(weights.values())
    inside = {name: weights[name] / total for name in errors} if total > 0 else {}
    covered = sum(inside.values())
    order = sorted(inside, key=lambda name: -inside[name])
    if covered < 0.5:
        how = hows.get(OUTSIDE, "nothing was priced")
        if order:
            how = f"{100 * covered:.2g} % of it in {', '.join(order)}; the rest: {how}"
        return Nearest(error=None, name=OUTSIDE, how=how)
    whole = covered > 1 - 1e-9
    ends: tuple[float, ...] = ()
    if all(len(known[name].multiples) == 3 for name in order):
        ends = tuple(sum(known[name].multiples[at] * inside[name] for name in order) / covered
                     for at in range(3))  # fmt: skip
    labels = [label if whole and len(order) == 1 else f"{100 * inside[name]:.3g} % of it: {label}"
              for name in order if (label := known[name].label or name)]  # fmt: skip
    named = [name if whole and len(order) == 1 else f"{name} ({100 * inside[name]:.3g} % of it)"
             for name in order]  # fmt: skip
    return Nearest(
        error=sum(errors[name] * inside[name] for name in order) / covered,
        name=", ".join(named), multiples=ends, label="; ".join(labels),
        measured=all(known[name].measured for name in order),
        elsewhere=", ".join(dict.fromkeys(known[name].elsewhere for name in order
                                          if known[name].elsewhere)),
        how="; ".join(hows[name] for name in order) + ("" if whole else f"; {hows[OUTSIDE]}"),
    )  # fmt: skip
