"""`orrery.offload`: a session for a PyTorch training loop."""

from __future__ import annotations

import importlib.util
from collections.abc import Sequence
from pathlib import Path

from orrery.errors import MissingExtraError, SpecError
from orrery.progress import SILENT, Progress

from ._options import OffloadOptions, size_bytes
from ._session import TrainingSession


def offload(
    folders: str | Path | Sequence[str | Path],
    memory_limit: str | None = None,
    *,
    name: str = "step",
    options: OffloadOptions | None = None,
    progress: Progress = SILENT,
) -> TrainingSession:
    """Return a session in which what a training step saves for its backward pass waits on an SSD.

    Each ``with session:`` is one step, forward and backward. The first is measured, with everything
    written; then it is planned which tensors leave and when they return; later steps obey, and the
    plan is made again when the folders stay twice as fast or slow, or the step saves other tensors.
    Gradients are bit for bit those without it. With ``device="cuda"`` in the options it is a
    GPU's tensors that leave and its memory that is limited; others stay where they are.

    Parameters
    ----------
    folders : an existing folder on an SSD, or several on different ones
    memory_limit : of all memory that the process may take, or its tensors on the device, e.g.
        ``"4 GiB"``; None is what it has and what is free when the first step ends
    name : of the network, for files and pages
    options : everything else
    progress : told of each step; may cancel the planning

    Raises
    ------
    MissingExtraError : PyTorch is not installed
    SpecError : no such folder or device, one that may not be written, a size without a unit
    """
    if importlib.util.find_spec("torch") is None:
        raise MissingExtraError("torch", "torch", purpose="offloading in a training loop")
    given = (
        list(folders)
        if isinstance(folders, Sequence) and not isinstance(folders, str)
        else [folders]
    )
    for folder in given:
        if not isinstance(folder, str | Path) or not str(folder):
            raise SpecError("offload: folders", found=folder, wanted="paths of folders on SSDs",
                            fix="write e.g. orrery.offload('scratch/')")  # fmt: skip
    limit = None if memory_limit is None else size_bytes(memory_limit, "offload: memory_limit")
    options = options or OffloadOptions()
    return TrainingSession(
        options.moving([Path(folder) for folder in given], limit), options.search(),
        name=name, progress=progress,
    )  # fmt: skip
