"""The genetic engine on genomes of its own: a word of bits whose best is known."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from orrery.errors import CancelledError, SpecError
from orrery.mapping.genetic import Evolution, Evolved, evolve
from orrery.progress import Progress, Step

GOAL = tuple(int(b) for b in np.random.default_rng(7).integers(0, 2, 40))
SETTINGS = Evolution(population=12, generations=40, islands=3, apart=4, seed=5)


class Bits:
    """Value: how many bits differ from a goal."""

    def create(self, random: np.random.Generator) -> tuple[int, ...]:
        return tuple(int(b) for b in random.integers(0, 2, len(GOAL)))

    def cross(self, one: Any, other: Any, random: np.random.Generator) -> tuple[int, ...]:
        at = int(random.integers(len(GOAL)))
        return (*one[:at], *other[at:])

    def mutate(self, genome: Any, random: np.random.Generator) -> tuple[int, ...]:
        at = int(random.integers(len(GOAL)))
        return (*genome[:at], 1 - genome[at], *genome[at + 1 :])

    def improve(self, genome: Any) -> Any:
        return genome

    def values(self, genomes: Sequence[Any]) -> list[int]:
        return list(map(self.value, genomes))

    def value(self, genome: Any) -> int:
        return sum(a != b for a, b in zip(genome, GOAL, strict=True))

    def write(self, genome: Any) -> Any:
        return list(genome)

    def read(self, body: Any) -> Any:
        return tuple(body)


def test_it_finds_the_known_best_and_never_gets_worse() -> None:
    found = evolve(Bits(), SETTINGS)
    assert found.value == 0
    assert found.best == GOAL
    assert list(found.history) == sorted(found.history, reverse=True)
    assert found.finished


def test_the_seed_decides_and_all_islands_are_valued_at_once() -> None:
    batches: list[int] = []

    class Counted(Bits):
        def values(self, genomes: Sequence[Any]) -> list[int]:
            batches.append(len(genomes))
            return super().values(genomes)

    alone = evolve(Counted(), SETTINGS)
    assert evolve(Bits(), SETTINGS) == alone
    assert evolve(Bits(), replace(SETTINGS, seed=6)).history != alone.history
    children = SETTINGS.population - SETTINGS.elite
    assert batches[0] == SETTINGS.islands * SETTINGS.population
    assert set(batches[1:]) == {SETTINGS.islands * children}
    assert len(batches) == 1 + alone.generations


def test_an_interrupted_search_continues_as_if_nothing_had_happened(tmp_path: Path) -> None:
    whole = evolve(Bits(), SETTINGS)
    steps: list[Step] = []
    stopped = Progress(report=steps.append, cancelled=lambda: len(steps) >= 5)
    record = tmp_path / "state.json"
    part = evolve(Bits(), SETTINGS, progress=stopped, record=record)
    assert not part.finished
    assert part.value == Bits().value(part.best) >= whole.value
    assert part.history == whole.history[: len(part.history)]
    assert len(part.history) < len(whole.history)
    assert evolve(Bits(), SETTINGS, record=record) == whole
    assert evolve(Bits(), SETTINGS, record=record) == whole  # nothing is left to do


def test_a_continued_search_may_go_on_for_longer(tmp_path: Path) -> None:
    record = tmp_path / "state.json"
    evolve(Bits(), replace(SETTINGS, generations=8), record=record)
    assert evolve(Bits(), SETTINGS, record=record) == evolve(Bits(), SETTINGS)


@pytest.mark.parametrize("other", [{"seed": 9}, {"population": 14}])
def test_the_record_of_another_search_is_refused(tmp_path: Path, other: dict[str, int]) -> None:
    record = tmp_path / "state.json"
    evolve(Bits(), replace(SETTINGS, generations=4), record=record, subject="a")
    with pytest.raises(SpecError, match="another search"):
        evolve(Bits(), replace(SETTINGS, **other), record=record, subject="a")
    with pytest.raises(SpecError, match="another search"):
        evolve(Bits(), SETTINGS, record=record, subject="b")


def test_a_record_that_is_none_is_to_be_deleted(tmp_path: Path) -> None:
    record = tmp_path / "state.json"
    record.write_text("")
    with pytest.raises(SpecError, match="delete it to start anew"):
        evolve(Bits(), SETTINGS, record=record)


def test_stopped_before_the_first_generation_there_is_nothing_to_return() -> None:
    with pytest.raises(CancelledError):
        evolve(Bits(), SETTINGS, progress=Progress(cancelled=lambda: True))


def test_progress_tells_best_and_bound_and_a_bound_that_is_reached_ends_it() -> None:
    steps: list[Step] = []
    found: Evolved[Any] = evolve(
        Bits(), SETTINGS, bound=10.0, unit=2.0, progress=Progress(report=steps.append)
    )
    assert found.value <= 5
    assert found.generations < SETTINGS.generations
    shown = [step.best for step in steps if step.best is not None]
    assert shown == [2.0 * value for value in found.history]
    assert all(step.bound == 10.0 for step in steps[1:])


def test_an_island_that_stalls_begins_anew_and_keeps_its_best() -> None:
    made: list[int] = []

    class Counted(Bits):
        def create(self, random: np.random.Generator) -> tuple[int, ...]:
            made.append(1)
            return super().create(random)

        def value(self, genome: Any) -> int:
            return 3

    settings = Evolution(population=6, generations=20, islands=1, apart=5, patience=4)
    evolve(Counted(), settings, seeds=[GOAL])
    assert len(made) > 3 * (settings.population - settings.elite)
