"""What a checker finds: violations by kind, where, what was found and what was wanted."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType

#: kind of violation -> what it says
KINDS: Mapping[str, str] = MappingProxyType({
    "absent": "something is read, sent or kept where it is not (yet)",
    "addends": "a sum lacks an addend or has one twice",
    "after": "a region that the plan does not let wait for one whose results it reads",
    "bound": "a lower bound that is none, or not the plan's",
    "box": "a part that its tensor does not have",
    "capacity": "a link direction carries more than its rate",
    "claim": "objective and bounds of a plan that do not go together, or a proof nobody knows",
    "coverage": "elements of a result that nobody, or one device twice, computes",
    "design": "a device configured with what it has not, or with two designs",
    "device": "a device that does not exist, or not one of the region's",
    "duration": "a computation that takes another time than the cost model says",
    "gap": "a gap that does not follow from makespan and bound",
    "incomplete": "a sum is used before it is complete",
    "makespan": "a makespan that is not the last end",
    "memory": "a memory holds more than it can",
    "model": "another network than the plan's",
    "node": "a node that no region, or more than one, computes",
    "order": "a device does not follow the plan's order",
    "overlap": "a device computes two regions at once",
    "part": "a computation that the plan does not have",
    "plan": "another plan",
    "prediction": "a predicted latency that the plan's own devices or chains exceed",
    "reads": "less is read than the operator needs",
    "region": "a region that does not exist or is not computed",
    "resident": "something lies on a device that cannot be there before the clock starts",
    "results": "a result does not reach the host",
    "route": "links that do not exist or do not join the ends",
    "size": "bytes that are not those of the part",
    "speed": "a delivery faster than its narrowest link",
    "state": "the next value of a state does not reach where the state lies",
    "system": "another system than the plan's",
    "tensor": "a tensor that the networks, or the region, do not have",
    "time": "a time before zero, an end before its start",
    "transfer": "a delivery that the plan does not list, or a listed one that is not made",
})  # fmt: skip


@dataclass(frozen=True, slots=True, kw_only=True)
class Violation:
    """One thing that is wrong; `kind` is a key of `KINDS`."""

    kind: str
    where: str
    found: str
    wanted: str

    def __str__(self) -> str:
        return f"{self.kind}: {self.where}: found {self.found}, wanted {self.wanted}"


@dataclass(frozen=True, slots=True, kw_only=True)
class Proved:
    """Picoseconds that the checker itself has found no plan to undercut, and of which plans."""

    value_ps: int
    of: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Report:
    """What a checker has to say.

    Attributes
    ----------
    violations : in the order in which they were found; none when the certificate holds
    more : violations of a kind beyond the first few, which are counted only
    proved : lower bounds that the checker has found by itself
    claim_proved : whether one of them proves the certificate's bound; else that is the searcher's
        word alone
    """

    violations: tuple[Violation, ...]
    more: int = 0
    proved: tuple[Proved, ...] = ()
    claim_proved: bool = False

    @property
    def holds(self) -> bool:
        return not self.violations

    @property
    def kinds(self) -> frozenset[str]:
        return frozenset(violation.kind for violation in self.violations)

    def __str__(self) -> str:
        if self.holds:
            return "certificate: holds"
        lines = [f"certificate: does not hold ({len(self.violations) + self.more} violations)"]
        lines += [f"  {violation}" for violation in self.violations]
        if self.more:
            lines.append(f"  and {self.more} more")
        return "\n".join(lines)


class Violations:
    """A list of violations that keeps the first few of each kind and counts the others."""

    def __init__(self, most_per_kind: int = 10) -> None:
        self._found: list[Violation] = []
        self._count: dict[str, int] = {}
        self._most = most_per_kind

    def add(self, kind: str, where: str, found: object, wanted: object) -> None:
        """Note a violation."""
        self._count[kind] = self._count.get(kind, 0) + 1
        if self._count[kind] <= self._most:
            self._found.append(
                Violation(kind=kind, where=where, found=str(found), wanted=str(wanted))
            )

    def report(self, proved: tuple[Proved, ...] = (), claim_proved: bool = False) -> Report:
        """Return everything that was noted, beside what was proved."""
        return Report(violations=tuple(self._found), proved=proved, claim_proved=claim_proved,
                      more=sum(self._count.values()) - len(self._found))  # fmt: skip
