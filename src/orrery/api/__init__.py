"""How do I ask for it in one call? One file per verb; nothing is loaded before it is used."""

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
    from ._resolve import load_model
    from ._result import InfeasibleError, MapResult
    from ._run import run
    from ._run_result import RunResult
    from ._score import score
    from ._show import show
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
    from .pages import needs_met, page_document, page_text, write_card
    from .placing import PlacedModel, place
    from .recovering import RecoverResult, recover
    from .sweeping import SweepResult, read_sweep, sweep
    from .tracing import ChakraRun, chakra
    from .validating import ValidationRun, validate, validation_sets

#: public name -> file of this package
_PLACES = {
    "BeyondOptions": "_options",
    "CalibrationResult": "calibrating",
    "Certified": "judging",
    "ChakraRun": "tracing",
    "Comparison": "comparing",
    "GenerateResult": "generating",
    "InfeasibleError": "_result",
    "MapResult": "_result",
    "MapSearch": "_map",
    "LayerNest": "nests",
    "ModelOptions": "_options",
    "NestResult": "nests",
    "OffloadLightningCallback": "offloading",
    "OffloadOptions": "offloading",
    "OffloadTrainerCallback": "offloading",
    "Page": "pages",
    "PlacedModel": "placing",
    "RecoverResult": "recovering",
    "RunResult": "_run_result",
    "StudyRun": "_study",
    "SweepResult": "sweeping",
    "TaskOptions": "_options",
    "TrainingSession": "offloading",
    "ZeroOptions": "nests",
    "accelerators": "_catalogues",
    "array_text": "nests",
    "arrays": "nests",
    "calibrate": "calibrating",
    "certify": "judging",
    "chakra": "tracing",
    "diff": "comparing",
    "Exported": "opinions",
    "explained_text": "exploring",
    "export_nests": "opinions",
    "front_text": "exploring",
    "under_load_text": "exploring",
    "generate": "generating",
    "load_model": "_resolve",
    "load_system": "_machines",
    "map": "_map",
    "models": "_catalogues",
    "nest": "nests",
    "needs_met": "pages",
    "offload": "offloading",
    "operators": "_catalogues",
    "place": "placing",
    "page_document": "pages",
    "page_text": "pages",
    "write_card": "pages",
    "read_factors": "_map",
    "read_search": "_map",
    "read_sweep": "sweeping",
    "recover": "recovering",
    "run": "_run",
    "score": "_score",
    "search_methods": "_map",
    "show": "_show",
    "simulate": "_simulate",
    "studies": "_study",
    "study": "_study",
    "study_names": "_study",
    "sweep": "sweeping",
    "system_document": "_catalogues",
    "system_yaml": "_catalogues",
    "systems": "_catalogues",
    "timeloop": "nests",
    "with_opinion": "opinions",
    "ValidationRun": "validating",
    "validate": "validating",
    "validation_sets": "validating",
}

__all__ = [
    "BeyondOptions",
    "CalibrationResult",
    "Certified",
    "ChakraRun",
    "Comparison",
    "Exported",
    "GenerateResult",
    "InfeasibleError",
    "LayerNest",
    "MapResult",
    "MapSearch",
    "ModelOptions",
    "NestResult",
    "OffloadLightningCallback",
    "OffloadOptions",
    "OffloadTrainerCallback",
    "Page",
    "PlacedModel",
    "RecoverResult",
    "RunResult",
    "StudyRun",
    "SweepResult",
    "TaskOptions",
    "TrainingSession",
    "ValidationRun",
    "ZeroOptions",
    "accelerators",
    "array_text",
    "arrays",
    "calibrate",
    "certify",
    "chakra",
    "diff",
    "explained_text",
    "export_nests",
    "front_text",
    "generate",
    "load_model",
    "load_system",
    "map",
    "models",
    "needs_met",
    "nest",
    "offload",
    "operators",
    "page_document",
    "page_text",
    "place",
    "read_factors",
    "read_search",
    "read_sweep",
    "recover",
    "run",
    "score",
    "search_methods",
    "show",
    "simulate",
    "studies",
    "study",
    "study_names",
    "sweep",
    "system_document",
    "system_yaml",
    "systems",
    "timeloop",
    "under_load_text",
    "validate",
    "validation_sets",
    "with_opinion",
    "write_card",
]


def __getattr__(name: str) -> object:
    if name not in _PLACES:
        raise AttributeError(f"module 'orrery.api' has no attribute {name!r}")
    return getattr(import_module(f"orrery.api.{_PLACES[name]}"), name)
