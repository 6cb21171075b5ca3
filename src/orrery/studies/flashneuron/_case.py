"""What was found about one network; every record and table of the study follows from it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from orrery.runtime.together import Comparison

from ._published import NETWORKS, Network
from ._search import Found
from ._trial import OURS, WAY_NAMES, Outcome

#: Ours with eight times the batch of plain training, where its largest is more than that.
EIGHT = f"{OURS}, 8 x"
_MIB = 1 << 20


@dataclass(frozen=True, slots=True, kw_only=True)
class Effort:
    """How much is measured.

    Attributes
    ----------
    networks : of the study
    caps_bytes : the first with all ways, the others of the curve
    curve_ways : ways on the rest of the curve
    near : share of a batch to which its end is found
    most_gain : batches of more than so many times the plain one are not tried
    rounds, rounds_s : of steps in turn: at most so many, so many seconds
    step_s : a step that takes longer does not fit
    slow_ways : naive files train in turn with the others at their largest batch too
    threads : of PyTorch; None: one per processor
    options : of ours
    """

    networks: tuple[Network, ...]
    caps_bytes: tuple[int, ...]
    curve_ways: tuple[str, ...] = ("none", OURS)
    near: float = 0.25
    most_gain: int = 16
    rounds: int = 3
    rounds_s: float = 60.0
    step_s: float = 300.0
    slow_ways: bool = False
    threads: int | None = None
    options: tuple[tuple[str, str | int | bool], ...] = (("least", "256 KiB"),)

    @classmethod
    def at(cls, scale: float) -> Effort:
        """Return the effort of a scale; from 1 on, all networks and a curve of caps."""
        if scale >= 1:
            return cls(
                networks=NETWORKS, caps_bytes=(512 * _MIB, 448 * _MIB, 640 * _MIB), near=0.1,
                curve_ways=("none", "checkpointing", OURS), most_gain=24, rounds=6,
                rounds_s=300.0 * scale, slow_ways=True,
            )  # fmt: skip
        return cls(
            networks=NETWORKS[: max(1, round(len(NETWORKS) * scale))],
            caps_bytes=(448 * _MIB, 512 * _MIB) if scale >= 0.5 else (384 * _MIB,),
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class Point:
    """The largest batches under one cap.

    Attributes
    ----------
    found : per way
    outcomes : per way, of the largest batch that fits
    whys : per way, why the next one does not
    """

    cap_bytes: int
    found: Mapping[str, Found]
    outcomes: Mapping[str, Outcome]
    whys: Mapping[str, str]

    def gain(self, way: str = OURS) -> float | None:
        """The largest batch as a multiple of the plain one; None: one of them is none."""
        plain = self.found["none"].largest
        return self.found[way].largest / plain if plain and self.found[way].largest else None


@dataclass(frozen=True, slots=True, kw_only=True)
class Round:
    """Ways that trained in turn; seconds are those of a sample."""

    times_s: Mapping[str, tuple[float, ...]]
    outcomes: Mapping[str, Outcome]
    batches: Mapping[str, int]

    @property
    def comparison(self) -> Comparison:
        return Comparison(times_s=self.times_s)

    def faster(self, way: str, over: str) -> tuple[float, tuple[float, float]] | None:
        """Return samples/s as a multiple of another way's, with 95 %; None where one is not."""
        if not (self.times_s.get(way) and self.times_s.get(over)):
            return None
        return self.comparison.speedup(way, over)


@dataclass(frozen=True, slots=True, kw_only=True)
class Case:
    """One network.

    Attributes
    ----------
    points : the first is the main cap
    equal : all with plain training's largest batch under the main cap
    largest : each with its own largest
    """

    network: Network
    points: tuple[Point, ...]
    equal: Round
    largest: Round
    seconds: float

    @property
    def main(self) -> Point:
        return self.points[0]

    @property
    def weight_bytes(self) -> int:
        return next(iter(self.main.outcomes.values())).weight_bytes

    @property
    def other_losses(self) -> tuple[str, ...]:
        """Ways whose losses differ from those of plain training, at the equal batch."""
        plain = [taken.loss for taken in self.equal.outcomes["none"].steps]
        return tuple(
            way for way in WAY_NAMES
            if way in self.equal.outcomes and any(
                taken.loss != loss
                for taken, loss in zip(self.equal.outcomes[way].steps, plain)
            )
        )  # fmt: skip
