"""What did the papers claim? Each study wires one published system and prints ours beside it."""

from ._conduct import CATALOGUE, StudyRun, conduct, study_list, study_names
from ._frame import Record, Status, Study, StudyFunction, StudyResult, compared
from ._validate import ValidationRun, set_names, validate

__all__ = [
    "CATALOGUE",
    "Record",
    "Status",
    "Study",
    "StudyFunction",
    "StudyResult",
    "StudyRun",
    "ValidationRun",
    "compared",
    "conduct",
    "set_names",
    "study_list",
    "study_names",
    "validate",
]
