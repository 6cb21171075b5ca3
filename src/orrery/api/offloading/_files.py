"""What a session leaves behind: plans, profiles, timeline, traces, page."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

from orrery.errors import SpecError
from orrery.offload_plan import write_offload_plan, write_step_profile
from orrery.report import write_report
from orrery.store import whole_folder
from orrery.timeline import write_io_trace, write_timeline

from ._page import session_page, steps_timeline

if TYPE_CHECKING:
    from ._session import TrainingSession


def write_files(session: TrainingSession, folder: str | Path) -> dict[str, Path]:
    """Write everything that is known of a session: all files, or none.

    A step of several backward passes has ``plan-2.json`` and so on; several folders likewise have
    ``io-trace-2.json``. Plans and profiles are read by `orrery.offload_plan`, timelines and traces
    by `orrery.timeline`.

    Returns
    -------
    name -> file, e.g. ``{"plan": .../plan.json}``

    Raises
    ------
    SpecError : it is a file
    """
    if Path(folder).exists() and not Path(folder).is_dir():
        raise SpecError(f"offload: write to {folder}", found="a file", wanted="a folder",
                        fix="give another")  # fmt: skip
    names: dict[str, str] = {}
    with whole_folder(Path(folder)) as fresh:
        written: dict[str, list[Callable[[Path], None]]] = {
            "plan": [partial(write_offload_plan, plan=plan) for plan in session.plans],
            "profile": [partial(write_step_profile, profile=found) for found in session.profiles],
        }
        if session.engine.settings.trace:
            traces = session.engine.traces()
            written["io-trace"] = [partial(write_io_trace, trace=trace) for trace in traces]
        for kind, writers in written.items():
            for number, write in enumerate(writers, start=1):
                name = kind if number == 1 else f"{kind}-{number}"
                write(fresh / f"{name}.json")
                names[name] = f"{name}.json"
        write_timeline(fresh / "timeline.json", steps_timeline(session))
        write_report(session_page(session), fresh)
    names |= {"timeline": "timeline.json", "report": "report.html", "report data": "report.json",
              "report text": "report.txt"}  # fmt: skip
    return {name: Path(folder) / file for name, file in names.items()}
