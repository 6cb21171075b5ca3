"""A study that was stopped repeats nothing; one that is whole leaves nothing."""

from __future__ import annotations

from pathlib import Path

from orrery.studies.flashneuron import Outcome, Taken
from orrery.studies.flashneuron._case import Round
from orrery.studies.flashneuron._journal import Journal


def test_what_was_measured_is_recalled_until_it_is_whole(tmp_path: Path) -> None:
    taken = Taken(loss=0.1 + 0.2, seconds=1e-3, cpu_s=2.0, peak_bytes=1 << 40)
    outcome, measured = Outcome(fits=True, steps=(taken,), weight_bytes=7), []

    def measure() -> Outcome:
        measured.append(1)
        return outcome

    first = Journal(tmp_path)
    assert first.recall(("a", 1), Outcome, measure) == outcome
    with first.path.open("a") as handle:
        handle.write('{"asked": "cut o')  # it was killed while it wrote
    again = Journal(tmp_path)
    assert again.recall(("a", 1), Outcome, measure) == outcome
    assert (len(measured), again.taken) == (1, 1)
    again.recall(("a", 2), Outcome, measure)
    assert len(measured) == 2
    again.finish()
    Journal(tmp_path).recall(("a", 1), Outcome, measure)
    assert len(measured) == 3


def test_rounds_come_back_as_they_were(tmp_path: Path) -> None:
    taken = Taken(loss=1.0, seconds=0.5, cpu_s=1.0, peak_bytes=1, hidden_share=0.25)
    found = Round(
        times_s={"none": (1.0, 2.0), "offloading": (1.5, 2.5)},
        outcomes={"none": Outcome(fits=True), "offloading": Outcome(fits=True, steps=(taken,))},
        batches={"none": 3, "offloading": 24},
    )
    Journal(tmp_path).recall("rounds", Round, lambda: found)
    again = Journal(tmp_path).recall("rounds", Round, lambda: Round(times_s={}, outcomes={},
                                                                    batches={}))  # fmt: skip
    assert again == found
    assert again.faster("offloading", "none") == found.faster("offloading", "none")
