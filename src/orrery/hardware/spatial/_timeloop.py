"""Files of Timeloop and Accelergy, v0.2 to v0.4: an accelerator, a layer, a mapping, energies.

A description may lie in one file or in several, as Timeloop's own tools take them; each is known by
its top-level keys. What could not be taken over stands in the architecture's `notes`.
"""

from __future__ import annotations

import math
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from orrery.errors import SpecError, did_you_mean

from .._document import Item, parse, read_bytes
from ._records import Architecture
from ._timeloop_build import Build
from ._timeloop_layer import TimeloopDirective, TimeloopProblem, read_mapping, read_problem
from ._timeloop_rules import DIMENSIONS
from ._timeloop_tree import TAGS, Rule, flatten
from ._write import write_architecture
from ._yaml import read_architecture_text

_CONSTRAINTS = ("architecture_constraints", "mapspace_constraints", "constraints", "mapspace")
_READ = ("architecture", "problem", "mapping", "ERT", "variables", *_CONSTRAINTS)
#: top-level keys that say nothing about cost, or say again what others say
_PASSED = ("mapper", "ART", "ART_summary", "ERT_summary", "components", "compound_components",
           "output_dir", "dumped_by_timeloop_front_end", "globals", "renames")  # fmt: skip
_LEFT = ("sparse_optimizations",)
#: a part of a description may bear its own name as a tag
_TOP_TAGS = {f"!{key.title().replace('_', '')}": key for key in (*_READ, *_PASSED, *_LEFT)}
_TOP_TAGS["!ERT"], _TOP_TAGS["!ART"] = "ERT", "ART"
_VERSIONS = ("0.2", "0.3", "0.4")
_RANGE = re.compile(r"\[\d+\.\.\d+\]$")


@dataclass(frozen=True, slots=True, kw_only=True)
class Timeloop:
    """What the files say.

    Attributes
    ----------
    architecture : with notes of what was assumed and what was left out
    axes_of : name of a fan-out in a mapping -> axes of the array, x before y
    problem, directives : None where no file has them
    """

    architecture: Architecture
    axes_of: Mapping[str, tuple[str, ...]]
    problem: TimeloopProblem | None = None
    directives: tuple[TimeloopDirective, ...] | None = None


def is_timeloop(path: Path) -> bool:
    """Return whether a path is a folder, or a file with ``architecture:`` at its top."""
    if path.is_dir():
        return True
    return re.search(rb"^architecture\s*:", read_bytes(path), re.MULTILINE) is not None


def read_timeloop(*paths: Path) -> Timeloop:
    """Read a description from its files; of a folder, all its YAML files that have a part of it.

    Raises
    ------
    SpecError : no architecture or two, an unknown key, a number that is an expression, a YAML that
        a machine's description does not need (anchors, templates)
    """
    tops: dict[str, Item] = {}
    notes: list[str] = []
    for file, asked in _files(paths):
        root = parse(_evaluated(read_bytes(file), file), str(file), tags=(*TAGS, *_TOP_TAGS),
                     aliases=True)  # fmt: skip
        table = root.table("a part of a description for Timeloop")
        known = (*_READ, *_PASSED, *_LEFT)
        strange = [key for key in table if key not in known]
        if strange and not asked and len(strange) == len(table):
            continue
        if strange:
            raise table[strange[0]].error(
                found=f"unknown key {strange[0]!r}", wanted=f"one of {', '.join(_READ)}",
                fix=f"remove or correct it{did_you_mean(strange[0], known)}")  # fmt: skip
        for key, item in table.items():
            if key in tops and key in _READ:
                raise item.error(
                    found=f"a second `{key}:` (the first: {tops[key].where})", wanted="one of each",
                    fix="name the files instead of the folder")  # fmt: skip
            if item.tag and _TOP_TAGS.get(item.tag) != key:
                raise item.error(found=f"the tag {item.tag}", wanted=f"what `{key}:` is",
                                 fix="correct or remove the tag")  # fmt: skip
            tops.setdefault(key, item)
            if key in _READ:
                _known_version(item)
            if key in _LEFT and not _is_empty(item):
                notes.append(f"{key} is not taken over: everything is dense")
    if "architecture" not in tops:
        raise SpecError(", ".join(map(str, paths)), found="no `architecture:`", wanted="one file "
                        "with an architecture", fix="add it to the files")  # fmt: skip
    return _assembled(tops, notes, _name(Path(tops["architecture"].file)))


def _known_version(item: Item) -> None:
    said = item.data.get("version") if isinstance(item.data, dict) else None
    if said is not None and said.text("a version") not in _VERSIONS:
        raise said.error(found=f"version {said.shown}", wanted=f"one of {', '.join(_VERSIONS)}",
                         fix="give the file as such a version writes it, and say so")  # fmt: skip


def _evaluated(raw: bytes, file: Path) -> bytes:
    """Refuse what Timeloop's front end fills in, and say where it keeps the result."""
    found = re.search(rb"\{\{|\{%|(?:^|[{,])\s*<<\s*:", raw, re.MULTILINE)
    if found is None:
        return raw
    line = raw.count(b"\n", 0, found.start()) + 1
    raise SpecError(
        f"{file}:{line}", found=found[0].decode().strip(),
        wanted="a file without templates and merges",
        fix="give parsed-processed-input.yaml, in which Timeloop's front end keeps the result",
    )  # fmt: skip


def _files(paths: Sequence[Path]) -> list[tuple[Path, bool]]:
    found: list[tuple[Path, bool]] = []
    for path in paths:
        if path.is_dir():
            inside = sorted((*path.glob("*.yaml"), *path.glob("*.yml")))
            if not inside:
                raise SpecError(str(path), found="a folder without YAML files",
                                wanted="a description", fix="give another folder")  # fmt: skip
            found += [(file, False) for file in inside]
        else:
            found.append((path, True))
    return found


def _name(file: Path) -> str:
    plain = file.stem in ("arch", "architecture", "input", "parsed-processed-input")
    name = file.resolve().parent.name if plain else file.stem
    return re.sub(r"[^\w.:+-]", "_", name.removesuffix(".arch")) or "timeloop"


def _assembled(tops: Mapping[str, Item], notes: list[str], name: str) -> Timeloop:
    problem = read_problem(tops["problem"], notes) if "problem" in tops else None
    dimensions = dict(problem.loops) if problem else DIMENSIONS
    spaces = {tensor.name: tensor.role for tensor in problem.tensors} if problem else {}
    flat, rules, version = flatten(tops["architecture"])
    for key in _CONSTRAINTS:
        if key in tops:
            rules = [*rules, *_rules(tops[key])]
    directives, held = (
        read_mapping(tops["mapping"], problem) if "mapping" in tops and problem else (None, [])
    )
    if "mapping" in tops and problem is None:
        notes.append("a mapping without its problem is not read")
    short = dict.fromkeys(one.target for one in directives or () if one.last)
    if short:
        notes.append(f"factors with a remainder at {', '.join(short)}: the last round is shorter "
                     "by as much, along the array too")  # fmt: skip
    rules += [Rule(target=_RANGE.sub("", target), type="dataspace", table=item.table(), item=item)
              for target, item in held]  # fmt: skip
    if problem is None and rules:
        notes.append("dimensions in constraints are those of a convolution: R and S its kernel's "
                     "columns and rows, P and Q the output's, C and M channels")  # fmt: skip
    build = Build(
        flat, rules, tops["architecture"].file, version,
        _energies(tops["ERT"]) if "ERT" in tops else None, dimensions, spaces,
        _cycle(tops.get("variables")),
    )  # fmt: skip
    build.notes[:0] = notes
    array = build.architecture(name)
    # One check for all spellings: names that clash, a role that passes every level by, sizes.
    read_architecture_text(write_architecture(array), f"{tops['architecture'].file}, translated")
    return Timeloop(architecture=array, axes_of=build.axes_of, problem=problem,
                    directives=directives)  # fmt: skip


def _rules(item: Item) -> list[Rule]:
    """Read constraints of a file of their own: a list, or ``targets:`` with one."""
    data = item.data if isinstance(item.data, dict) else {"targets": item}
    listed = data.get("targets") or data.get("constraints")
    found = []
    for entry in listed.items("a list of constraints") if listed else ():
        table = entry.table()
        entry.require(table, "target", "type")
        found.append(Rule(target=_RANGE.sub("", table["target"].text()), item=entry,
                          type=table["type"].text(), table=table))  # fmt: skip
    return found


def _is_empty(item: Item) -> bool:
    data = item.data
    return not data or (isinstance(data, dict) and all(_is_empty(i) for k, i in data.items()
                                                       if k != "version"))  # fmt: skip


def _energies(item: Item) -> dict[str, dict[str, float]]:
    """Return part -> action -> picojoules; of an action listed for several cases, the dearest."""
    table = item.table("an energy reference table")
    if "tables" not in table:
        raise item.error(found="no tables", wanted="`tables:`", fix="give Accelergy's ERT.yaml")
    found: dict[str, dict[str, float]] = {}
    for entry in table["tables"].items():
        part = entry.keys(("name", "actions"), required=("name", "actions"))
        # ranges hold dots too: system.PE[0..13].pad
        name = re.sub(r"\[\d+\.\.\d+\]", "", part["name"].text()).rpartition(".")[2]
        prices = found.setdefault(name, {})
        for action in part["actions"].items():
            row = action.table()
            action.require(row, "name", "energy")
            value = _number(row["energy"])
            prices[row["name"].text()] = max(value, prices.get(row["name"].text(), 0.0))
    return found


def _number(item: Item) -> float:
    try:
        value = float(item.text("a number of picojoules"))
    except ValueError:
        value = math.nan
    if not 0 <= value < 1e15:
        raise item.error(wanted="picojoules, 0 or more", fix="correct the energy")
    return value


def _cycle(item: Item | None) -> float | None:
    table = item.table() if item is not None else {}
    if "global_cycle_seconds" not in table:
        return None
    value = _number(table["global_cycle_seconds"])
    if value == 0:
        raise table["global_cycle_seconds"].error(wanted="seconds above 0", fix="correct them")
    return value
