"""Training on the array: every product of a step on the engine, counted."""

from ._batches import draw_batches, trained_network
from ._products import operands, training_products
from ._records import PhaseCycles, ProductChoice, TrainingStep
from ._trainer import BitletTrainer

__all__ = [
    "BitletTrainer",
    "PhaseCycles",
    "ProductChoice",
    "TrainingStep",
    "draw_batches",
    "operands",
    "trained_network",
    "training_products",
]
