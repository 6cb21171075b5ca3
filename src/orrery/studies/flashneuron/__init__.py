"""FlashNeuron: batches that do not fit, trained with saved tensors on an SSD, within real caps."""

from ._search import Found, largest_batch
from ._study import conduct_on, flashneuron_study
from ._trial import OURS, Outcome, Taken, Trainee, Trial, attempt, rounds

__all__ = [
    "OURS",
    "Found",
    "Outcome",
    "Taken",
    "Trainee",
    "Trial",
    "attempt",
    "conduct_on",
    "flashneuron_study",
    "largest_batch",
    "rounds",
]
