"""A placement on the workers of this machine, kept as a plan and as an annotated network."""

from ._check import check_parts, check_placement
from ._files import PLAN_KEY, Placement, node_notes
from ._kept import (
    WHOLE,
    WORKER,
    is_placement,
    plan_digest,
    refuse_placement,
    thread_name,
    whole_ways,
    worker_of,
)
from ._machine import backend_version, machine_facts, machine_here, refuse_elsewhere
from ._plan import as_it_ran, plan_of

__all__ = [
    "PLAN_KEY",
    "WHOLE",
    "WORKER",
    "Placement",
    "as_it_ran",
    "backend_version",
    "check_parts",
    "check_placement",
    "is_placement",
    "machine_facts",
    "machine_here",
    "node_notes",
    "plan_digest",
    "plan_of",
    "refuse_elsewhere",
    "refuse_placement",
    "thread_name",
    "whole_ways",
    "worker_of",
]
