"""The tree of a Timeloop architecture as a flat sequence, in the spelling of v0.2-0.3 and of v0.4.

Before, v0.3 (a name's range times those around it is how often it is there; `meshX` of them in x)::

    subtree: [{name: chip, local: [{name: glb, class: SRAM, attributes: {depth: 512, width: 64}}],
      subtree: [{name: "PE[0..11]", local: [{name: mac, class: intmac, attributes: {meshX: 4}}]}]}]

Before, v0.4 (what stands below a container is as often there as the container)::

    nodes: [!Component {name: glb, class: SRAM, attributes: {depth: 512, width: 64}},
            !Container {name: PE, spatial: {meshX: 4, meshY: 3}},
            !Component {name: mac, class: intmac}]

After: parts and fan-outs, outermost first: glb; 4 in x and 3 in y; mac.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field

from orrery.errors import did_you_mean

from .._document import Item

TAGS = ("!Container", "!Component", "!Parallel", "!Hierarchical", "!Nothing", "!Pipelined")

_RANGE = re.compile(r"([^\[\]]*)\[(\d{1,10})\.\.(\d{1,10})\]", re.ASCII)
#: most of one part: more are no array
_MOST = 1 << 24
_STORES = re.compile(r"dram|sram|regfile|storage|buffer|buffet|latch|register|memory|cache|\brf\b",
                     re.IGNORECASE)  # fmt: skip
_COMPUTES = re.compile(r"mac|compute|multiplier", re.IGNORECASE)
_DEPTHS = ("depth", "memory_depth", "entries", "sizeKB", "size")


@dataclass(frozen=True, slots=True, kw_only=True)
class Rule:
    """A constraint as it stands: on which part, of which type."""

    target: str
    type: str
    table: Mapping[str, Item]
    item: Item


@dataclass(frozen=True, slots=True, kw_only=True)
class Part:
    """A component; `alone` when it stands beside others that hold what it does not."""

    name: str
    kind: str
    sort: str
    attributes: Mapping[str, Item]
    item: Item
    alone: bool = False
    inherited: frozenset[str] = frozenset()


@dataclass(slots=True, kw_only=True)
class Fan:
    """Where the tree fans out: so often in x and in y; `targets` are its names in mappings."""

    name: str
    targets: tuple[str, ...]
    x: int
    y: int
    rules: list[Rule] = field(default_factory=list)


def whole(item: Item, least: int = 1, most: int = 1 << 30) -> int:
    """Return a whole number; an expression is refused with where evaluated ones are found."""
    text = item.text("a whole number").removesuffix(".0")
    if not (text.isascii() and text.isdigit() and len(text) < 11) or not least <= int(text) <= most:
        raise item.error(
            wanted=f"a whole number, {least} to {most}",
            fix="write the number: expressions and templates are evaluated by Timeloop's front "
            "end, which keeps the result as parsed-processed-input.yaml",
        )
    return int(text)


def flatten(root: Item) -> tuple[list[Part | Fan], list[Rule], str]:
    """Return parts and fan-outs outermost first, the constraints that stand within, the version.

    Raises
    ------
    SpecError : no such tree; two memories or two fan-outs of one name
    """
    table = root.table("an architecture of Timeloop")
    version = table["version"].text() if "version" in table else "0.2"
    rules: list[Rule] = []
    if "nodes" in table:
        flat, rules = _Nodes().read(table["nodes"])
    elif "subtree" in table:
        flat = _subtrees(table["subtree"])
    else:
        raise root.error(found=", ".join(table), fix="give the architecture as Timeloop v0.2 to "
                         "v0.4 writes it",
                         wanted="`subtree:` (v0.3) or `nodes:` (v0.4)")  # fmt: skip
    seen: dict[str, Part] = {}
    for part in (one for one in flat if isinstance(one, Part) and one.kind == "storage"):
        if (first := seen.setdefault(part.name, part)) is not part:
            raise part.item.error(found=f"a second memory of the name {part.name!r}",
                                  wanted="one meaning for one name",
                                  fix=f"rename one (the first: {first.item.where})")  # fmt: skip
    fans = [one.name for one in flat if isinstance(one, Fan)]
    twice = next((name for name in fans if fans.count(name) > 1), None)
    if twice is not None:
        raise root.error(found=f"two fan-outs of the name {twice!r}", fix="rename one",
                         wanted="one meaning for one name")  # fmt: skip
    return flat, rules, version


def _kind(sort: str, attributes: Mapping[str, Item]) -> str:
    if sort in ("dummy_storage", "dummy"):
        return "empty"
    if _COMPUTES.search(sort) and not any(key in attributes for key in _DEPTHS):
        return "compute"
    if _STORES.search(sort) or any(key in attributes for key in _DEPTHS):
        return "storage"
    return "other"


def _part(item: Item, around: Mapping[str, Item], alone: bool = False) -> tuple[Part, int]:
    """Return a component and how often its own name says it is there."""
    table = item.table("a component")
    for key in ("name", "class"):
        if key not in table:
            raise item.error(found=f"no {key!r}", wanted=f"a {key}", fix=f"add `{key}:`")
    own = table["attributes"].table() if "attributes" in table else {}
    name, count = _counted(table["name"])
    sort = table["class"].text()
    if table["class"].data == "storage" and "subclass" in table:
        sort = table["subclass"].text()
    part = Part(name=name, sort=sort, kind=_kind(sort, own), attributes={**around, **own},
                item=item, alone=alone, inherited=frozenset(set(around) - set(own)))  # fmt: skip
    return part, count


def _counted(item: Item) -> tuple[str, int]:
    """Return the name and the length of its range: ``PE[0..13]`` is 14 of PE."""
    text = item.text("a name")
    found = _RANGE.fullmatch(text)
    if found is None:
        if "[" in text or "]" in text:
            raise item.error(wanted="a name, or one with a range that rises, such as PE[0..13]",
                             fix="correct the range")  # fmt: skip
        return text, 1
    first, last = int(found[2]), int(found[3])
    if not first <= last < first + _MOST:
        raise item.error(wanted=f"a range that rises, of at most {_MOST:,}",
                         fix="correct the range, such as PE[0..13]")  # fmt: skip
    return found[1], last - first + 1


def _subtrees(item: Item) -> list[Part | Fan]:
    found: list[tuple[Part, int]] = []
    _descend(item, {}, 1, found)
    flat: list[Part | Fan] = []
    at, before = (1, 1), 1
    last = ""
    for part, count in found:
        mesh = _mesh(part, count, at, before)
        fan = []
        for now, then, way in zip(mesh, at, "xy", strict=True):
            if now % then:
                raise part.item.error(found=f"{now} of {part.name} in {way} below {then} of {last}",
                                      wanted="a multiple", fix="correct `meshX:`")  # fmt: skip
            fan.append(now // then)
        if fan != [1, 1]:
            if not last:
                raise part.item.error(
                    found=f"{count} of {part.name}",
                    wanted="one outermost memory",
                    fix="add the off-chip memory above it",
                )
            flat.append(Fan(name=last, targets=(last,), x=fan[0], y=fan[1]))
        flat.append(part)
        if part.kind != "other":
            at, before, last = mesh, count, part.name
    return flat


def _mesh(part: Part, count: int, at: tuple[int, int], before: int) -> tuple[int, int]:
    """Return how many there are in x and y; without `meshX` as above, or all in x."""
    if part.kind == "other":
        return at
    if "meshX" not in part.attributes:
        return at if count == before else (count, 1)
    x = whole(part.attributes["meshX"])
    if count % x:
        raise part.attributes["meshX"].error(wanted=f"a divisor of {count}, the number of "
                                             f"{part.name}", fix="correct it")  # fmt: skip
    return x, count // x


def _descend(
    item: Item, around: Mapping[str, Item], count: int, found: list[tuple[Part, int]]
) -> None:
    for node in item.items("a list of subtrees"):
        table = node.table("a subtree")
        times = count * (_counted(table["name"])[1] if "name" in table else 1)
        here = {**around, **(table["attributes"].table() if "attributes" in table else {})}
        for local in table["local"].items() if "local" in table else ():
            part, own = _part(local, here)
            found.append((part, times * own))
        if "subtree" in table:
            _descend(table["subtree"], here, times, found)


class _Nodes:
    def __init__(self) -> None:
        self.flat: list[Part | Fan] = []
        self.rules: list[Rule] = []
        self.around: dict[str, Item] = {}

    def read(self, nodes: Item) -> tuple[list[Part | Fan], list[Rule]]:
        self._walk(nodes, False)
        return self.flat, self.rules

    def _walk(self, nodes: Item, beside: bool) -> None:
        for node in nodes.items("a list of nodes"):
            if node.tag in ("!Hierarchical", "!Parallel", "!Pipelined"):
                inside = node.table().get("nodes")
                if inside is None:
                    raise node.error(found="no nodes", wanted="`nodes:`", fix="add them")
                if beside:
                    raise node.error(found=f"{node.tag} in !Parallel", wanted="components side by "
                                     "side", fix="place it above or below")  # fmt: skip
                self._walk(inside, node.tag == "!Parallel")
            elif node.tag in ("!Component", "!Container"):
                self._leaf(node, beside)
            elif node.tag != "!Nothing":
                raise node.error(
                    found=node.tag or "a node without a tag", wanted=f"one of {', '.join(TAGS)}",
                    fix=f"write the tag before the node{did_you_mean(node.tag, TAGS)}",
                )  # fmt: skip

    def _leaf(self, node: Item, beside: bool) -> None:
        table = node.keys(
            ("name", "class", "subclass", "attributes", "spatial", "constraints", "enabled",
             "required_actions", "power_gated_at", "sparse_optimizations", "area_scale",
             "energy_scale"),
            required=("name",),
        )  # fmt: skip
        name, count = _counted(table["name"])
        if count > 1:
            raise table["name"].error(wanted="a name without a range: this is the spelling of v0.4",
                                      fix="say how many in `spatial: {meshX: …}`")  # fmt: skip
        mesh = table["spatial"].keys(("meshX", "meshY")) if "spatial" in table else {}
        x, y = (whole(mesh[key]) if key in mesh else 1 for key in ("meshX", "meshY"))
        if x * y > 1 and beside:
            raise node.error(
                found=f"{name} fans out within !Parallel",
                wanted="one fan-out for all",
                fix="put a !Container with the fan-out above",
            )
        if x * y > 1:
            self.flat.append(Fan(name=name, targets=(name, f"inter_{name}_spatial"), x=x, y=y))
        if node.tag == "!Container":
            self.around |= table["attributes"].table() if "attributes" in table else {}
        else:
            part, _ = _part(node, self.around, beside)
            self.flat.append(part)
        rules = table["constraints"].table() if "constraints" in table else {}
        for type_, rule in rules.items():
            self.rules.append(Rule(target=name, type=type_, table=rule.table(), item=rule))
