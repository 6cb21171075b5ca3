"""The mapping at one glance: sets of devices, what each takes, which layer is whose."""

from __future__ import annotations

import string
from collections.abc import Collection, Mapping, Sequence

from orrery.cost import PlanCost
from orrery.plan import Plan
from orrery.report import Cell, Column, Section, Strip, Table, Tile, format_value

from ._set_names import ALONE, DeviceSet, devices_text, range_text, sets_of, strategy_text
from ._split_table import split_table
from ._terms import SplitStep, Terms, terms_of

_LETTERS = string.ascii_uppercase + string.digits + string.ascii_lowercase
_MORE = "…"


def set_sections(
    plan: Plan, price: PlanCost, steps: Mapping[str, SplitStep], images: Collection[str] = ()
) -> tuple[Section, ...]:
    """Return strip, table of sets and table of splits; none where one device does everything.

    `images` are the regions whose axes have the names that a convolution gives them.
    """
    sets = sets_of(plan)
    if len(sets) < 2 and not plan.is_split:
        return ()
    terms = terms_of(plan, price, steps)
    glance = (_strip(plan, sets, terms, images), _set_table(plan, sets, terms))
    return (*glance, split_table(plan, sets, terms, images)) if plan.is_split else glance


def _strip(
    plan: Plan, sets: Sequence[DeviceSet], terms: Mapping[str, Terms], images: Collection[str]
) -> Strip:
    owner = {a.region: group.label for group in sets for a in group.assignments}
    texts = {a.region: strategy_text(a.split, brief=True, image=a.region in images)
             for a in plan.assignments}  # fmt: skip
    letters = _letters([text for text in texts.values() if text != ALONE])
    tiles = []
    for assignment in plan.assignments:
        name, priced = assignment.region, terms.get(assignment.region)
        said = [f"design {assignment.design}"] if assignment.design else []
        if priced is not None and priced.critical:
            said.append(f"longest: {priced.critical}" + (f", {priced.link}" if priced.link and
                        priced.critical != "compute" else ""))  # fmt: skip
        tiles.append(Tile(
            name=name, group=owner[name], letter=letters.get(texts[name], ""),
            value=None if priced is None else priced.total_s, note="\n".join(said),
            part=0.0 if priced is None else priced.communication_s,
        ))  # fmt: skip
    explained = {letter: text for text, letter in letters.items() if letter != _MORE}
    if _MORE in letters.values():
        explained[_MORE] = "another split; the table names it"
    letter = "its letter how it is split among them, " if explained else ""
    home = sum(term.return_s for term in terms.values())
    after = (
        f" The way of results to the host, {format_value(home, 's')}, is in none." if home else ""
    )
    return Strip(
        title="The mapping at a glance", tiles=tuple(tiles), measure="time", unit="s",
        part="communication",
        letters=explained, groups=tuple(group.label for group in sets),
        caption="Every layer in plan order: its colour is the set of devices that takes it, "
        f"{letter}its height how long it takes; the solid part is waiting for messages."
        + after,
    )  # fmt: skip


def _letters(texts: Sequence[str]) -> dict[str, str]:
    """Return a letter per text, its own where free, the most frequent first; the rest share one."""
    counts: dict[str, int] = {}
    for text in texts:
        counts[text] = counts.get(text, 0) + 1
    letters: dict[str, str] = {}
    free = dict.fromkeys(_LETTERS)
    for text in sorted(counts, key=lambda text: -counts[text]):
        own = (letter.upper() for letter in text if letter.isalnum())
        letter = next((c for c in (*own, *free) if c in free), _MORE)
        free.pop(letter, None)
        letters[text] = letter
    return letters


def _set_table(plan: Plan, sets: Sequence[DeviceSet], terms: Mapping[str, Terms]) -> Table:
    place = {a.region: number for number, a in enumerate(plan.assignments)}
    whole = sum(term.total_s for term in terms.values())
    rows: list[tuple[Cell, ...]] = []
    for group in sets:
        mine = [terms[a.region] for a in group.assignments if a.region in terms]
        compute = sum(term.compute_s for term in mine)
        moving = sum(term.communication_s for term in mine)
        designs = dict.fromkeys(a.design for a in group.assignments if a.design) or ("as it is",)
        rows.append((
            group.name, devices_text(group.devices),
            100 * (compute + moving) / whole if whole else None, compute, moving,
            len(group.assignments), range_text(group, place), ", ".join(designs),
        ))  # fmt: skip
    return Table(
        title="Sets of devices",
        columns=(
            Column(name="set"),
            Column(name="devices"),
            Column.number("share of all work", "%",
                          help="of the seconds of all layers together, without contention",
                          bar=True),
            Column.number("compute", "s", help="slowest device of every layer"),
            Column.number("communication", "s",
                          help="resharding, rotation that outlasts computing, and sums"),
            Column.number("layers"),
            Column(name="from … to", help="its layers in plan order"),
            Column(name="design", help="what its devices are configured with; layers that the "
                   "design refuses run on their own units"),
        ),
        rows=tuple(rows),
        filterable=False,
    )  # fmt: skip
