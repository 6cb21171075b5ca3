"""Tables of the study: what came back from which compiler, and what stops the rest."""

from __future__ import annotations

import re
import statistics
from collections import defaultdict
from collections.abc import Callable, Hashable, Sequence

from orrery.report import Cell, Column, Section, Table, Text

from ._attack import SIZE, STEPS, Used
from ._measure import Found, judged_by
from ._ordinary import Ordinary
from ._published import OTHERS

__all__ = ["in_general", "sections_of"]

#: Cases that are all shown; of more, the same networks are left out.
_MOST_SHOWN = 200

_STATES = ("same", "partial", "another", "none", "refused")


def sections_of(
    found: Sequence[Found], programs: Sequence[Ordinary], used: Sequence[Used],
    notes: Sequence[str],
) -> tuple[Section, ...]:  # fmt: skip
    """Return all that shows more than single figures."""
    tried = [one for one in found if one.tried]
    sections: list[Section] = []
    if tried:
        sections += [
            _counts("Compilers, machines and options", ("compiler", "target", "options"), tried,
                    lambda one: (one.asked.compiler, one.asked.target, one.asked.options)),
            _counts("Networks", ("network",), tried, lambda one: (one.asked.network,)),
            _counts("Copies", ("copy",), tried, lambda one: (one.asked.copy,)),
            *_left(tried),
            _cases(tried),
        ]  # fmt: skip
    sections += [*_ordinary(programs), *_used(used), _claims()]
    missing = sorted({(one.asked.compiler, one.asked.target, in_general(one.reason))
                      for one in found if not one.tried})  # fmt: skip
    said = [f"{compiler} for {target}: {reason}" for compiler, target, reason in missing]
    return (*sections, Text(title="How to read this", tone="note", paragraphs=(
        "Same: the recovered graph equals the compiled one after constant folding, judged by a "
        "comparison of its own and by outputs; another: it was said to be whole and is not the "
        "same, the worst that can happen; partial: something is listed as not read. Distance "
        "counts operators and connections that one network has and the other has not.",
        f"Outputs are compared by {judged_by()[1]}. The binary is run confined, on drawn inputs.",
        "Stripped copies have no symbols and no strings, and need not run any more; renamed ones "
        "bear random names of equal length and run.",
        *notes, *said,
    )))  # fmt: skip


def _number(name: str, unit: str = "", text: str = "") -> Column:
    return Column(name=name, unit=unit, kind="number", help=text)


def in_general(reason: str) -> str:
    """Return a reason without its addresses, so that equal ones can be counted."""
    return re.sub(r"0x[0-9a-f]+", "0x…", " ".join(reason.split()))


def _counts(
    title: str, names: tuple[str, ...], tried: Sequence[Found],
    key: Callable[[Found], tuple[Cell, ...]],
) -> Table:  # fmt: skip
    """Return how cases ended, by some of what decides them."""
    groups: dict[Hashable, list[Found]] = defaultdict(list)
    for one in tried:
        groups[key(one)].append(one)
    rows: list[tuple[Cell, ...]] = []
    for some in groups.values():
        states = [sum(one.state == state for one in some) for state in _STATES]
        errors = [one.error for one in some if one.error is not None and one.state == "same"]
        rows.append((
            *key(some[0]), len(some), *states,
            f"{sum(o.operators for o in some)}/{sum(o.expected for o in some)}",
            f"{sum(o.attributes for o in some)}/{sum(o.attributed for o in some)}",
            _percent(sum(o.weights for o in some), sum(o.parameters for o in some)),
            sum(o.distance for o in some), max(errors, default=None),
            statistics.median(o.seconds for o in some), max(o.peak_bytes for o in some),
        ))  # fmt: skip
    return Table(
        title=title, rows=tuple(rows),
        columns=(
            *(Column(name=name) for name in names), _number("binaries"),
            *(_number(state) for state in _STATES), Column(name="operators", help="found/expected"),
            Column(name="attributes", help="right/expected"),
            _number("weights", "%", "bit for bit"), _number("distance"),
            _number("output error", "", "largest, of networks that are the same"),
            _number("median time", "s"), _number("most memory", "bytes"),
        ),
    )  # fmt: skip


def _percent(part: int, whole: int) -> float | None:
    return 100 * part / whole if whole else None


def _left(tried: Sequence[Found]) -> list[Section]:
    """Return what stops those that did not come back, the most frequent first."""
    groups: dict[str, list[Found]] = defaultdict(list)
    for one in tried:
        if one.state != "same":
            groups[in_general(one.reason)[:160]].append(one)
    if not groups:
        return []
    rows = tuple(
        (len(some), reason, some[0].asked.label,
         None if some[0].address is None else f"{some[0].address:#x}")
        for reason, some in sorted(groups.items(), key=lambda item: -len(item[1]))
    )  # fmt: skip
    return [Table(
        title="What is left to do", rows=rows,
        columns=(_number("binaries"), Column(name="the first thing unread"),
                 Column(name="for example"), Column(name="at")),
        caption="Only the first reason of each binary counts; behind it there may be others.",
    )]  # fmt: skip


def _cases(tried: Sequence[Found]) -> Table:
    shown = [o for o in tried if len(tried) <= _MOST_SHOWN or o.state != "same"][: 5 * _MOST_SHOWN]
    rows: list[tuple[Cell, ...]] = [
        (
            one.asked.network, f"{one.asked.compiler} {one.asked.options}", one.asked.target,
            one.asked.copy, one.state, f"{one.operators}/{one.expected}",
            f"{one.attributes}/{one.attributed}", _percent(one.weights, one.parameters),
            one.distance, one.error, one.check_error, one.check or None, one.seconds,
            one.peak_bytes or None, None if one.address is None else f"{one.address:#x}",
            " ".join(one.reason.split())[:240] or None,
        )
        for one in shown
    ]  # fmt: skip
    left = len(tried) - len(shown)
    return Table(
        title="Binaries", rows=tuple(rows),
        columns=(
            Column(name="network"), Column(name="compiler"), Column(name="target"),
            Column(name="copy"), Column(name="state"), Column(name="operators"),
            Column(name="attributes"), _number("weights", "%"), _number("distance"),
            _number("output error", "", "against the compiled network"),
            _number("from the binary", "", "against the binary's own outputs"),
            Column(name="how it was run"), _number("time", "s"), _number("memory", "bytes"),
            Column(name="at"), Column(name="the first thing unread, or different"),
        ),
        caption=f"{left} more are not shown." if left else "",
    )  # fmt: skip


def _ordinary(programs: Sequence[Ordinary]) -> list[Section]:
    if not programs:
        return []
    rows: list[tuple[Cell, ...]] = [
        (one.name, one.kind, one.state, "yes" if one.whole else "no", one.loops, one.seconds,
         one.reason[:160] or None)
        for one in programs
    ]  # fmt: skip
    return [Table(
        title="Programs without a network", rows=tuple(rows),
        columns=(Column(name="program"), Column(name="kind"), Column(name="network"),
                 Column(name="all read"), _number("loops named as operators"),
                 _number("time", "s"), Column(name="why")),
        caption="Programs of this machine, found by search.",
    )]  # fmt: skip


def _used(used: Sequence[Used]) -> list[Section]:
    if not used:
        return []
    rows: list[tuple[Cell, ...]] = []
    for one in used:
        attack = one.attack
        shares: tuple[Cell, ...] = (None,) * 5
        if attack is not None:
            hits = (attack.own, attack.recovered, attack.drawn)
            shares = (
                attack.tried,
                *(_percent(h, attack.tried) for h in hits),
                None if attack.binary is None else _percent(attack.binary, attack.tried),
            )
        rows.append((
            f"{one.compiler} {one.options}, {one.target}", 100 * one.right,
            None if attack is None else 100 * one.agreeing / one.images, *shares,
            one.reason[:160] or ("the same network" if one.same else "another network"),
        ))  # fmt: skip
    return [Table(
        title="A network of ours, put to use", rows=tuple(rows),
        columns=(
            Column(name="compiled by"), _number("right", "%", "of the original, images held out"),
            _number("alike", "%", "answers of the recovered network as the original's"),
            _number("attacked", "", "images that the original recognises"),
            _number("own", "%", "misled, by the original's own gradients"),
            _number("recovered", "%", "original misled by the recovered network's gradients"),
            _number("random", "%", "misled by changes as large at random"),
            _number("binary", "%", "the binary misled by the recovered network's gradients"),
            Column(name="note"),
        ),
        caption=f"{used[0].data}; projected gradient descent, {STEPS} steps, no pixel of 0…1 "
        f"changed by more than {SIZE:g}. The binary is run as it is.",
    )]  # fmt: skip


def _claims() -> Table:
    return Table(
        title="What else was published",
        columns=(Column(name="system"), Column(name="says"), Column(name="where, how sure")),
        rows=tuple((one.system, one.says, one.state) for one in OTHERS),
        caption="Networks, versions and machines are theirs; none of it is repeated one to one.",
    )
