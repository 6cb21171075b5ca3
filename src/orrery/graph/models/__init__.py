"""The model library: builders of known networks with seeded weights."""

from ._builder import Builder
from ._catalogue import (
    MODELS,
    Model,
    ModelCatalogue,
    build_model,
    count_macs,
    count_parameters,
)
from ._example import example_inputs

__all__ = [
    "MODELS",
    "Builder",
    "Model",
    "ModelCatalogue",
    "build_model",
    "count_macs",
    "count_parameters",
    "example_inputs",
]
