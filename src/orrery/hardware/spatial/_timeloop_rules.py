"""Constraints of a Timeloop description: who is held where, which loops run along which axis.

Loops have one-letter names there, by custom those of a convolution: R and S are the kernel's
columns and rows, P and Q the output's, C and M (or K) channels in and out, N images, G groups. An
axis of ours says which loops may run along it, or which must, so often; anything else that a
constraint asks for is named in the notes and not obeyed.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence

from orrery.errors import did_you_mean

from .._document import Item
from ._records import ROLES
from ._timeloop_tree import Fan, Part, Rule

#: dimension of the customary convolution -> loop
DIMENSIONS = {"N": "N", "G": "G", "C": "Cin", "M": "Cout", "K": "Cout", "P": "W", "Q": "H",
              "R": "Kw", "S": "Kh"}  # fmt: skip

DATASPACE = ("dataspace", "datatype", "bypass", "bypassing")

_ROLES = {"input": ("input", "activation", "ifmap", "iact"), "weight": ("weight", "filter"),
          "output": ("output", "psum", "ofmap", "result")}  # fmt: skip
_FACTOR = re.compile(r"\s*([A-Za-z_]\w*?)\s*(<=|>=|<|>|=)?\s*(\d+)(?:,(\d+))?\s*")


def role(name: str) -> str | None:
    """Return the role of a data space, going by its name."""
    low = name.lower()
    return next((r for r, words in _ROLES.items() if any(word in low for word in words)), None)


def roles(item: Item, known: Mapping[str, str]) -> tuple[str, ...]:
    """Return the roles of the data spaces that are listed; `known` are the problem's."""
    names = [item] if isinstance(item.data, str) else item.items("a list of data spaces")
    found: list[str] = []
    for entry in names:
        name = entry.text()
        if name.lower() in ("all", "nothing"):
            found += ROLES if name.lower() == "all" else ()
            continue
        is_ = known.get(name) or role(name)
        if is_ is None:
            wanted = f"one of {', '.join(known)}" if known else "Inputs, Weights or Outputs"
            raise entry.error(wanted=wanted, fix="correct the name, or give the problem file too"
                              f"{did_you_mean(name, known)}")  # fmt: skip
        found.append(is_)
    return tuple(dict.fromkeys(found))


def factors(item: Item) -> list[tuple[str, str, int, int | None, Item]]:
    """Return (dimension, relation, factor, remainder, where) of ``C=3 M8`` or ``[C=3, "M<=8"]``."""
    if isinstance(item.data, str):
        words = [(word, item) for word in re.split(r"[\s]+|,(?=\s*[A-Za-z_])", item.data) if word]
    else:
        words = [(entry.text(), entry) for entry in item.items("factors such as C=3")]
    found = []
    for word, at in words:
        match = _FACTOR.fullmatch(word)
        if match is None:
            raise at.error(found=word, wanted="a dimension and its factor, such as C=3",
                           fix="correct it")  # fmt: skip
        found.append((match[1], match[2] or "=", int(match[3]),
                      int(match[4]) if match[4] else None, at))  # fmt: skip
    return found


def order(item: Item) -> list[str]:
    """Return the dimensions of a permutation, innermost first: ``NPQR SCM`` or ``[N, P, Q]``."""
    if not isinstance(item.data, str):
        return [entry.text() for entry in item.items("dimensions, innermost first")]
    words = re.findall(r"[A-Za-z_]\w*", item.data)
    if len(words) > 1 and any(len(word) > 1 and not word.isupper() for word in words):
        return words
    return [letter for word in words for letter in word] if "," not in item.data else words


def listed(rules: Sequence[Rule], parts: Iterable[Part], fans: Sequence[Fan]) -> None:
    """Refuse a constraint on what is not there; spatial ones go to their fan-outs."""
    names = {part.name for part in parts}
    targets = {target: fan for fan in fans for target in fan.targets}
    for rule in rules:
        if rule.target in targets and rule.type == "spatial":
            targets[rule.target].rules.append(rule)
        elif rule.target not in names and rule.target not in targets:
            raise rule.item.error(
                found=f"a constraint on {rule.target}", wanted="a part of the architecture",
                fix=f"correct the name{did_you_mean(rule.target, names | set(targets))}",
            )  # fmt: skip


def loops_along(
    fan: Fan, dimensions: Mapping[str, str], notes: list[str]
) -> dict[str, tuple[tuple[str, ...] | None, dict[str, int] | None]]:
    """Return for x and y which loops may run along them, and which must, so often."""
    ones: set[str] = set()
    exact: dict[str, int] = {}
    loose: set[str] = set()
    order_: list[str] = []
    split, only = None, False
    for rule in fan.rules:
        for key, entry in rule.table.items():
            if key in ("factors", "factors_only"):
                only |= key == "factors_only"
                for name, relation, factor, _, at in factors(entry):
                    if name not in dimensions:
                        raise at.error(
                            found=name,
                            wanted=f"dimensions {', '.join(dimensions)}",
                            fix=f"correct it{did_you_mean(name, dimensions)}",
                        )
                    if relation == "=" and factor == 1:
                        ones.add(name)
                    elif relation == "=" and factor > 1:
                        exact[name] = factor
                    else:
                        loose.add(name)
                        notes.append(f"{fan.name}: {name}{relation}{factor} along the array is not "
                                     f"kept: {dimensions[name]} is free there")  # fmt: skip
            elif key == "permutation":
                order_ = order(entry)
            elif key == "split":
                split = whole_or_none(entry)
            elif key not in ("target", "type", "name"):
                notes.append(f"{fan.name}: spatial constraint {key} is not kept")
    if ones and dimensions is DIMENSIONS:
        ones.add("G")  # the customary layer has no groups
    named = exact.keys() | loose
    free = [n for n in dimensions if n not in ones and (n in named or not only)]
    closed = {dimensions[name] for name in (*exact, *ones)}
    # M and K are one loop; with two ways and no split, who runs where is left open
    one_way = fan.x == 1 or fan.y == 1 or split is not None
    complete = one_way and not loose and (only or closed >= set(dimensions.values()))
    found: dict[str, tuple[tuple[str, ...] | None, dict[str, int] | None]] = {}
    for way in "xy":
        mine = free
        if fan.x > 1 and fan.y > 1 and split is not None and order_:
            first = set(order_[:split])
            mine = [n for n in free if (n in first) == (way == "x")]
        loops = tuple(dict.fromkeys(dimensions[n] for n in mine))
        fixed = {dimensions[n]: f for n, f in exact.items() if n in mine}
        if len(mine) == len(dimensions):
            found[way] = (None, None)
        elif fixed and complete:
            found[way] = (tuple(fixed), fixed)
        else:
            found[way] = (loops, None)
    if exact and not complete:
        notes.append(f"{fan.name}: {', '.join(f'{n}={f}' for n, f in exact.items())} along the "
                     "array is not kept: other loops are free there")  # fmt: skip
    return found


def whole_or_none(item: Item) -> int | None:
    """Return a split, or None for one that is out of all order (Timeloop writes 999 for: all x)."""
    text = item.text()
    return int(text) if text.isdigit() and len(text) < 4 else None
