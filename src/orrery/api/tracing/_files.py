"""Which files are the traces of one run, and what stands beside them."""

from __future__ import annotations

import json
import re
from collections.abc import Sequence
from pathlib import Path

from orrery.errors import SpecError
from orrery.sim import ChakraTrace
from orrery.store import open_plain

#: of the format: its first schema says none
_VERSIONS = ("", "0.0.4")
_MOST_BYTES = 1 << 26


def rank_files(paths: list[Path]) -> list[Path]:
    """Return the files of all ranks in order, of one folder those that are NAME.RANK.et.

    Raises
    ------
    SpecError : none; those of two runs; a rank that is missing or there twice
    """
    if len(paths) != 1 or not paths[0].is_dir():
        if paths and not any(path.is_dir() for path in paths):
            return paths
        raise _none(paths)
    folder = paths[0]
    named = [(m[1], int(m[2]), path) for path in folder.glob("*.et")
             if (m := re.fullmatch(r"(.*?)\.(\d{1,9})\.et", path.name))]  # fmt: skip
    if not named:
        raise _none(paths)
    families = sorted({name for name, _, _ in named})
    if len(families) > 1:
        raise SpecError(str(folder), found=f"traces of {len(families)} runs: "
                        + ", ".join(f"{name}.RANK.et" for name in families[:4]),
                        wanted="those of one", fix="name the files, rank 0 first")  # fmt: skip
    ranks = [rank for _, rank, _ in named]
    odd = [rank for rank in range(max(ranks) + 1) if ranks.count(rank) != 1][:4]
    if odd:
        raise SpecError(str(folder), found=", ".join(
            f"rank {rank} {'twice' if rank in ranks else 'missing'}" for rank in odd),
            wanted=f"one file for each of ranks 0 to {max(ranks)}",
            fix="add the traces that are missing, or record the run again")  # fmt: skip
    return [path for _, _, path in sorted(named, key=lambda one: one[1])]


def check_heads(files: Sequence[Path], traces: Sequence[ChakraTrace]) -> list[str]:
    """Return what to tell of versions.

    Raises
    ------
    SpecError : a trace that says another rank of itself than its place
    """
    unknown: dict[str, list[str]] = {}
    for place, (file, trace) in enumerate(zip(files, traces, strict=True)):
        rank = trace.attributes.get("rank", place)
        if isinstance(rank, int) and rank != place:
            raise SpecError(str(file), found=f"the trace of rank {rank}",
                            wanted=f"that of rank {place}",
                            fix="give the traces of all ranks, rank 0 first")  # fmt: skip
        if trace.version not in _VERSIONS:
            unknown.setdefault(trace.version, []).append(file.name)
    return [f"{', '.join(names[:4])}{' and more' if len(names) > 4 else ''}: schema version "
            f"{version} is not one that was known here; read as {_VERSIONS[-1]}, and what that "
            "does not have was skipped." for version, names in unknown.items()]  # fmt: skip


def read_groups(folder: Path, ranks: int) -> dict[str, list[int]] | None:
    """Return group -> ranks as ``groups.json`` in the folder says, None where there is none.

    Raises
    ------
    SpecError : a file that says something else
    """
    path = folder / "groups.json"
    if not path.exists():
        return None
    try:
        with open_plain(path) as handle:
            said = json.loads(handle.read(_MOST_BYTES))
    except (OSError, ValueError, RecursionError) as error:
        raise _no_groups(path, str(error)) from None
    if not isinstance(said, dict):
        raise _no_groups(path, "no names")
    for name, members in said.items():
        wrong = not isinstance(members, list) or not all(
            isinstance(rank, int) and not isinstance(rank, bool) and 0 <= rank < ranks
            for rank in members)  # fmt: skip
        if wrong:
            raise _no_groups(path, f"{name!r}: {members!r} with {ranks} traces")
    return said


def _no_groups(path: Path, found: str) -> SpecError:
    return SpecError(str(path), found=found, wanted="groups by name, each a list of ranks",
                     fix="write it anew, or remove it")  # fmt: skip


def _none(paths: list[Path]) -> SpecError:
    where = str(paths[0]) if paths else "traces"
    return SpecError(where, found="no file NAME.RANK.et", wanted="the traces of all ranks",
                     fix="name the files, rank 0 first")  # fmt: skip
