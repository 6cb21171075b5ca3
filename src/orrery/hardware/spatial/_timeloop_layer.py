"""Problems and mappings of Timeloop, as plain records with loops of ours.

Before (v0.3; v0.4 writes ``data_spaces`` and ``read_write``)::

    problem:
      shape:
        dimensions: [C, K, R, P]
        data-spaces:
          - {name: Weights, projection: [[[C]], [[K]], [[R]]]}
          - {name: Inputs, projection: [[[C]], [[R], [P, Wstride]]]}
          - {name: Outputs, projection: [[[K]], [[P]]], read-write: true}
        coefficients: [{name: Wstride, default: 1}]
      instance: {C: 32, K: 32, R: 3, P: 16, Wstride: 2}

After: extents 32, 32, 3, 16 of Cin, Cout, Kw, W, and tensors whose axes are sums of them. Which
loop a dimension is follows from the tensors that it indexes, whatever it is called.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, replace

from orrery.errors import did_you_mean

from .._document import Item
from ._records import ROLES
from ._timeloop_rules import factors, order, role, whole_or_none
from ._timeloop_tree import whole

_SPATIAL = (("W", "Kw"), ("H", "Kh"), ("D", "Kd"))


@dataclass(frozen=True, slots=True, kw_only=True)
class TimeloopTensor:
    """A data space: its role, and per axis (loop, stride), …"""

    name: str
    role: str
    axes: tuple[tuple[tuple[str, int], ...], ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class TimeloopProblem:
    """A layer as Timeloop describes it; `loops` says which dimension is which loop of ours."""

    name: str
    loops: Mapping[str, str]
    extents: tuple[tuple[str, int], ...]
    tensors: tuple[TimeloopTensor, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class TimeloopDirective:
    """Loops at one place, outermost first; along the array the first `in_y` of them run in y.

    Attributes
    ----------
    target : the part, or the fan-out, as Timeloop names it
    last : loop -> passes in the last round, where its factor leaves a remainder (``P=4,3``)
    """

    target: str
    where: str
    spatial: bool
    factors: tuple[tuple[str, int], ...]
    in_y: int | None = None
    last: Mapping[str, int] = field(default_factory=dict)


def read_problem(item: Item, notes: list[str]) -> TimeloopProblem:
    """Read ``problem:``; what is not modelled (densities) is added to the notes.

    Raises
    ------
    SpecError : no extent for a dimension, data spaces that are not two or three, an axis that is
        no sum of dimensions
    """
    table = item.table("a problem")
    shape = table.get("shape")
    if shape is None or not isinstance(shape.data, dict):
        raise (shape or item).error(
            wanted="`shape:` with `dimensions:` and `data_spaces:`",
            fix="write the shape out: shapes by name lie in Timeloop's own folders",
        )
    inner = {key.replace("-", "_"): value for key, value in shape.data.items()}
    shape.require(inner, "dimensions", "data_spaces")
    instance = table["instance"].table() if "instance" in table else table
    names = [entry.text() for entry in inner["dimensions"].items()]
    strides = _coefficients(inner, instance, names, notes)
    extents = {}
    for name in names:
        if name not in instance:
            raise item.error(found=f"no extent of {name}", wanted="one for every dimension",
                             fix=f"add `{name}:` to `instance:`")  # fmt: skip
        extents[name] = whole(instance[name])
    densities = instance.get("densities")
    if densities is not None and densities.data:
        notes.append("densities of the problem are not taken over: everything is dense")
    spaces = _spaces(inner["data_spaces"], names, strides, notes)
    loops = _loops(names, spaces)
    tensors = tuple(
        TimeloopTensor(name=name, role=is_, axes=tuple(
            tuple((loops[d], stride) for d, stride in axis) for axis in axes))
        for name, is_, axes in spaces
    )  # fmt: skip
    name = inner["name"].text() if "name" in inner else "layer"
    return TimeloopProblem(name=name, loops=loops, tensors=tensors,
                           extents=tuple((loops[n], extents[n]) for n in names))  # fmt: skip


Space = tuple[str, str, tuple[tuple[tuple[str, int], ...], ...]]
#: keys of an instance that are neither extents nor coefficients
_BESIDE = ("densities", "version", "shape", "instance", "name")


def _coefficients(
    inner: Mapping[str, Item], instance: Mapping[str, Item], names: list[str], notes: list[str]
) -> dict[str, int]:
    """Return the coefficients that the shape names or uses; the instance goes before defaults.

    Raises
    ------
    SpecError : a value that is no whole number above 0
    """
    found: dict[str, int] = {}
    used: dict[str, None] = {}
    for entry in inner["coefficients"].items() if "coefficients" in inner else ():
        table = entry.table("a coefficient")
        entry.require(table, "name")
        used[table["name"].text()] = None
        if "default" in table:
            found[table["name"].text()] = whole(table["default"])
    for entry in inner["data_spaces"].items("a list of data spaces"):
        table = entry.table()
        for axis in table["projection"].items() if "projection" in table else ():
            for term in axis.items("a sum of dimensions, e.g. [[P, Wstride], [R]]"):
                used |= dict.fromkeys(w.text() for w in term.items("a dimension")[1:])
    found |= {key: whole(instance[key]) for key in used if key in instance and key not in names}
    idle = [key for key in instance if key not in (*names, *used, *_BESIDE)]
    if idle:
        notes.append(f"{', '.join(idle)} of the problem: neither a dimension nor a coefficient of "
                     "its shape, not used")  # fmt: skip
    return found


def _spaces(
    item: Item, names: list[str], strides: Mapping[str, int], notes: list[str]
) -> list[Space]:
    found: list[tuple[str, bool, tuple[tuple[tuple[str, int], ...], ...]]] = []
    for entry in item.items("a list of data spaces"):
        table = {key.replace("-", "_"): value for key, value in entry.table().items()}
        entry.require(table, "name", "projection")
        axes = tuple(_axis(axis, names, strides) for axis in table["projection"].items(
            "a list of axes, each a sum of dimensions"))  # fmt: skip
        written = "read_write" in table and table["read_write"].text().lower() == "true"
        found.append((table["name"].text(), written, axes))
    if not 2 <= len(found) <= 3 or [written for _, written, _ in found].count(True) != 1:
        raise item.error(found=f"{len(found)} data spaces", wanted="one that is written "
                         "(`read_write: true`) and one or two that are read",
                         fix="split the problem into layers of that kind")  # fmt: skip
    read = [name for name, written, _ in found if not written]
    guess = {name: role(name) for name in read}
    if sorted(filter(None, guess.values())) != sorted(("input", "weight")[: len(read)]):
        guess = dict(zip(read, ROLES, strict=False))
        notes.append(", ".join(f"{name} is taken as {is_}" for name, is_ in guess.items()))
    return [(name, "output" if written else str(guess[name]), axes)
            for name, written, axes in found]  # fmt: skip


def _axis(item: Item, names: list[str], strides: Mapping[str, int]) -> tuple[tuple[str, int], ...]:
    terms = []
    for term in item.items("a sum of dimensions, e.g. [[P, Wstride], [R]]"):
        words = [word.text() for word in term.items("a dimension and its stride")]
        if not words or words[0] not in names:
            raise term.error(
                found=" ".join(words) or "nothing",
                wanted=f"one of {', '.join(names)}",
                fix=f"correct it{did_you_mean(''.join(words[:1]), names)}",
            )
        stride = 1
        for word in words[1:]:
            if word not in strides and not (word.isascii() and word.isdigit() and int(word)):
                raise term.error(
                    found=word, wanted="a coefficient, or a number above 0",
                    fix=f"add `{word}:` to `instance:`{did_you_mean(word, strides)}",
                )  # fmt: skip
            stride *= strides[word] if word in strides else int(word)
        terms.append((words[0], stride))
    return tuple(terms)


def _loops(names: list[str], spaces: list[Space]) -> dict[str, str]:
    """Return the loop of each dimension, by which tensors follow it."""
    follows = {is_: {d for axis in axes for d, _ in axis} for _, is_, axes in spaces}
    none: set[str] = set()
    reads, weighs = follows.get("input", none), follows.get("weight", none)
    results = follows.get("output", none)
    found: dict[str, str] = {}
    pairs = iter(_SPATIAL)
    for _, is_, axes in spaces:
        for axis in axes if is_ == "input" else ():
            kernel = [d for d, _ in axis if d not in results]
            moving = [d for d, _ in axis if d in results]
            if len(axis) == 2 and kernel and moving:
                pair = next(pairs, None)
                if pair is not None:
                    found[moving[0]], found[kernel[0]] = pair
    for name in names:
        if name in found:
            continue
        in_all = name in reads and name in weighs and name in results
        found[name] = (
            "G" if in_all or (name in reads and name in results and not weighs)
            else "Cin" if name not in results
            else "Cout" if name in weighs else "N"
        )  # fmt: skip
    once = dict(_once(found))
    return {name: once[name] for name in names}


def _once(found: Mapping[str, str]) -> Iterator[tuple[str, str]]:
    """Give a loop that two dimensions want to the first; others take what is left."""
    used: set[str] = set()
    spare = [*(loop for pair in reversed(_SPATIAL) for loop in pair), "G", "N", "Cin", "Cout"]
    left = [loop for loop in spare if loop not in found.values()]
    for name, loop in found.items():
        taken = loop if loop not in used or not left else left.pop(0)
        used.add(taken)
        yield name, taken


def read_mapping(
    item: Item, problem: TimeloopProblem
) -> tuple[tuple[TimeloopDirective, ...], list[tuple[str, Item]]]:
    """Read ``mapping:``; what is held where is returned apart, as (target, directive).

    Raises
    ------
    SpecError : a directive without a target, a dimension that the problem does not have
    """
    found: list[TimeloopDirective] = []
    held: list[tuple[str, Item]] = []
    left = dict(problem.extents)
    rows = []
    for entry in item.items("a list of directives"):
        table = entry.table()
        entry.require(table, "target", "type")
        if table["type"].text() in ("temporal", "spatial"):
            rows.append((entry, table))
        else:
            held.append((table["target"].text(), entry))
    for entry, table in rows:
        parts, last = _factors(table, problem) if "factors" in table else ({}, {})
        for loop, factor in parts.items():
            left[loop] = -(-left[loop] // factor) if factor else left[loop]
        inner = order(table["permutation"]) if "permutation" in table else []
        strange = [name for name in inner if name not in problem.loops]
        if strange:
            raise table["permutation"].error(
                found=strange[0], wanted=f"dimensions {', '.join(problem.loops)}",
                fix=f"correct it{did_you_mean(strange[0], problem.loops)}")  # fmt: skip
        inner += [name for name in problem.loops if name not in inner]
        outward = [problem.loops[name] for name in reversed(inner)]
        split = whole_or_none(table["split"]) if "split" in table else None
        found.append(TimeloopDirective(
            target=table["target"].text(), where=entry.where,
            spatial=table["type"].text() == "spatial",
            factors=tuple((loop, parts.get(loop, 1)) for loop in outward),
            in_y=None if split is None else max(len(inner) - split, 0), last=last,
        ))  # fmt: skip
    return tuple(_filled(found, left)), held


def _factors(
    table: Mapping[str, Item], problem: TimeloopProblem
) -> tuple[dict[str, int], dict[str, int]]:
    """Return loop -> factor, and loop -> remainder where one is given."""
    parts: dict[str, int] = {}
    last: dict[str, int] = {}
    for name, relation, factor, remainder, at in factors(table["factors"]):
        if name not in problem.loops or relation != "=":
            raise at.error(found=f"{name}{relation}{factor}",
                           wanted=f"a factor of one of {', '.join(problem.loops)}",
                           fix=f"correct it{did_you_mean(name, problem.loops)}")  # fmt: skip
        loop = problem.loops[name]
        if loop in parts:
            raise at.error(found=f"a second factor of {name}", wanted="one in each place",
                           fix="remove one")  # fmt: skip
        if remainder is not None:
            if not 1 <= remainder <= factor:
                raise at.error(found=f"{name}={factor},{remainder}", wanted="a remainder of 1 to "
                               f"{factor}", fix="correct it")  # fmt: skip
            last[loop] = remainder
        parts[loop] = factor
    return parts, last


def _filled(found: list[TimeloopDirective], left: Mapping[str, int]) -> Iterator[TimeloopDirective]:
    """Put what is left of a loop where its factor is 0: that is what Timeloop means by it."""
    for one in found:
        yield replace(one, factors=tuple(
            (loop, factor or max(left[loop], 1)) for loop, factor in one.factors
        ))  # fmt: skip
