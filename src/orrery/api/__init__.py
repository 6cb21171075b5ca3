"""How do I ask for it in one call? One file per verb; nothing is loaded before it is used."""

# mypy: implicit-reexport
# ruff: noqa: F401  # the imports are for the type checker; `__getattr__` finds the names
from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from orrery.mapping import MapSearch
    from orrery.report import Page

    from ._catalogues import accelerators, models, operators, system_document, system_yaml, systems
    from ._machines import load_system
    from ._map import map, read_factors, read_search, search_methods
    from ._options import BeyondOptions, ModelOptions, TaskOptions
    from ._render import needs_met, page_document, page_text, write_card
    from ._resolve import load_model
    from ._result import InfeasibleError, MapResult
    from ._run import run
    from ._run_result import RunResult
    from ._score import score
    from ._simulate import simulate
    from ._study import StudyRun, studies, study, study_names
    from .calibrating import CalibrationResult, calibrate
    from .comparing import Comparison, diff
    from .exploring import explained_text, front_text, under_load_text
    from .generating import GenerateResult, generate
    from .judging import Certified, certify
    from .nests import LayerNest, NestResult, ZeroOptions, array_text, arrays, nest, timeloop
    from .offloading import (
        OffloadLightningCallback,
        OffloadOptions,
        OffloadTrainerCallback,
        TrainingSession,
        offload,
    )
    from .opinions import Exported, export_nests, with_opinion
    from .placing import PlacedModel, place
    from .recovering import RecoverResult, recover
    from .showing import show
    from .sweeping import SweepResult, read_sweep, sweep
    from .tracing import ChakraRun, chakra
    from .validating import ValidationRun, validate, validation_sets

#: file of this package -> the public names in it
_PLACES = {
    "_catalogues": (
        "accelerators",
        "models",
        "operators",
        "system_document",
        "system_yaml",
        "systems",
    ),
    "_machines": ("load_system",),
    "_map": ("MapSearch", "map", "read_factors", "read_search", "search_methods"),
    "_options": ("BeyondOptions", "ModelOptions", "TaskOptions"),
    "_render": ("Page", "needs_met", "page_document", "page_text", "write_card"),
    "_resolve": ("load_model",),
    "_result": ("InfeasibleError", "MapResult"),
    "_run": ("run",),
    "_run_result": ("RunResult",),
    "_score": ("score",),
    "_simulate": ("simulate",),
    "_study": ("StudyRun", "studies", "study", "study_names"),
    "calibrating": ("CalibrationResult", "calibrate"),
    "comparing": ("Comparison", "diff"),
    "exploring": ("explained_text", "front_text", "under_load_text"),
    "generating": ("GenerateResult", "generate"),
    "judging": ("Certified", "certify"),
    "nests": ("LayerNest", "NestResult", "ZeroOptions", "array_text", "arrays", "nest", "timeloop"),
    "offloading": (
        "OffloadLightningCallback",
        "OffloadOptions",
        "OffloadTrainerCallback",
        "TrainingSession",
        "offload",
    ),
    "opinions": ("Exported", "export_nests", "with_opinion"),
    "placing": ("PlacedModel", "place"),
    "recovering": ("RecoverResult", "recover"),
    "showing": ("show",),
    "sweeping": ("SweepResult", "read_sweep", "sweep"),
    "tracing": ("ChakraRun", "chakra"),
    "validating": ("ValidationRun", "validate", "validation_sets"),
}
_HOMES = {name: place for place, names in _PLACES.items() for name in names}

__all__ = sorted(_HOMES)


def __getattr__(name: str) -> object:
    if name not in _HOMES:
        raise AttributeError(f"module 'orrery.api' has no attribute {name!r}")
    return getattr(import_module(f"orrery.api.{_HOMES[name]}"), name)
