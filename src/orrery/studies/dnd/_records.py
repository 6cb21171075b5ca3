"""Our figures beside the published ones."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from orrery.provenance import Basis

from .._frame import Record, compared
from ._attack import Used, interval
from ._cases import matrix
from ._measure import TOLERANCE, Found, judged_by
from ._ordinary import Ordinary
from ._published import BTD, BTD_SAME, CLAIMED_TARGETS, DND, DND_SAME

__all__ = ["attack_records", "case_records", "ordinary_records"]

_ISSUE = "aim of this program; nothing published"
_EQUALITY = "graph equality after constant folding, and outputs"


def _share(found: Sequence[Found]) -> float:
    return 100 * sum(one.state == "same" for one in found) / len(found)


def case_records(found: Sequence[Found]) -> list[Record]:
    """Return what came of the matrix; cases that could not be built say nothing."""
    tried = [one for one in found if one.tried]
    records = []
    for compiler in dict.fromkeys(one.asked.compiler for one in tried):
        for target in dict.fromkeys(one.asked.target for one in tried):
            some = [o for o in tried if (o.asked.compiler, o.asked.target) == (compiler, target)]
            if some:
                records.append(_same(compiler, target, some))
    records.append(Record(
        name="same network: Glow on Thumb, AArch64 and x86-64", unit="%", published=DND_SAME,
        ours=None, basis=Basis.MEASURED, source=DND, status="not reproducible",
        note="Glow is archived and has no package; its networks cannot be built here",
    ))  # fmt: skip
    here = [o for o in tried if o.asked.target == "x86-64" and o.asked.compiler == "tvm"]
    if here:
        records.append(compared(
            f"executables rebuilt (theirs: 63; ours: {len(here)})", "%", ours=_share(here),
            basis=Basis.MEASURED, source=BTD, published=BTD_SAME, judge=_EQUALITY, tolerance=0.0,
            note=f"{len(here)} binaries of TVM for x86-64, all read and none executed to recover; "
            "theirs are other networks, by older TVM and by Glow",
        ))  # fmt: skip
    return [*records, *_copies(tried), *_inside(tried)]


def _same(compiler: str, target: str, some: Sequence[Found]) -> Record:
    claimed = target in CLAIMED_TARGETS.get(compiler, ())
    lost = len(some) - sum(one.state == "same" for one in some)
    whole = sum((o.compiler, o.target) == (compiler, target) for o in matrix())
    note = f"{len(some)} of the matrix's {whole} binaries"
    note += f", {lost} of them not; the table of cases says why" if lost else ""
    part = f" ({len(some)} of {whole} binaries)" if len(some) < whole else ""
    return compared(
        f"same network: {compiler} on {target}{part}", "%", ours=_share(some), basis=Basis.MEASURED,
        source=DND if claimed else _ISSUE, published=DND_SAME if claimed else None,
        judge=_EQUALITY, judge_value=None if claimed else 100.0, tolerance=0.0, note=note,
        seconds=sum(one.seconds for one in some),
    )  # fmt: skip


def _copies(tried: Sequence[Found]) -> list[Record]:
    """Return whether copies without names come back as what they are copies of."""
    known = {one.asked: one for one in tried}
    pairs = [
        (known[plain], one) for one in tried if one.asked.copy != "as built"
        and (plain := replace(one.asked, copy="as built")) in known
    ]  # fmt: skip
    if not pairs:
        return []
    alike = sum(plain.state == copy.state and plain.operators == copy.operators
                for plain, copy in pairs)  # fmt: skip
    return [compared(
        "copies without names that come back as the original does", "%",
        ours=100 * alike / len(pairs), basis=Basis.MEASURED, source=_ISSUE,
        judge="the same binary with its names", judge_value=100.0, tolerance=0.0,
        note=f"{len(pairs)} pairs",
    )]  # fmt: skip


def _inside(tried: Sequence[Found]) -> list[Record]:
    """Return figures of single networks: silent mistakes, weights, outputs."""
    whole = [one for one in tried if one.state in ("same", "another")]
    if not whole:
        return []
    wrong = sum(one.state == "another" for one in whole)
    records = [compared(
        "networks said to be whole that are another", "", ours=float(wrong), judge_value=0.0,
        basis=Basis.MEASURED, source=_ISSUE, judge=_EQUALITY, tolerance=0.0,
        note=f"of {len(whole)} said to be whole",
    )]  # fmt: skip
    same = [one for one in whole if one.state == "same"]
    if parameters := sum(one.parameters for one in same):
        kept = sum(one.weights for one in same)
        records.append(compared(
            "parameters found bit for bit", "%", ours=100 * kept / parameters, judge_value=100.0,
            basis=Basis.MEASURED, source=_ISSUE, judge="the network that was compiled",
            tolerance=0.0, note=f"{kept} of {parameters} numbers of the networks that are the "
            "same; what a compiler folded before (a normalisation's deviation) is not there",
        ))  # fmt: skip
    for name, judge, errors in (
        ("largest difference of outputs", f"{judged_by()[1]} on the compiled network",
         [one.error for one in same if one.error is not None]),
        ("largest difference from the binary's own outputs", "the binary, run confined",
         [one.check_error for one in same if one.check_error is not None]),
    ):  # fmt: skip
        if errors:
            near = max(errors) <= TOLERANCE
            records.append(Record(
                name=name, unit="", published=None, ours=max(errors), basis=Basis.MEASURED,
                source=_ISSUE, judge=judge, status="match" if near else "differs",
                note=f"{len(errors)} networks; {'within' if near else 'beyond'} {TOLERANCE:g} of "
                "1 + the value",
            ))  # fmt: skip
    large = [one for one in tried if one.asked.network == "resnet18"]
    for one in large:
        took = f"{one.seconds:.0f} s, {one.peak_bytes / 2**30:.2f} GiB"
        within = one.state == "same" and one.seconds < 600 and one.peak_bytes < 6 << 30
        records.append(Record(
            name=f"ResNet-18 from {one.asked.compiler}, {one.asked.target}", unit="s",
            published=None, ours=one.seconds, basis=Basis.MEASURED, source=_ISSUE,
            judge=_EQUALITY, status="match" if within else "differs",
            note=f"{one.state}; {took}, wanted the same network in 600 s and 6 GiB. {one.reason}",
            seconds=one.seconds,
        ))  # fmt: skip
    return records


def ordinary_records(programs: Sequence[Ordinary]) -> list[Record]:
    """Return how many programs without a network were taken for one."""
    read = [one for one in programs if one.state != "refused"]
    if not read:
        return []
    taken = [one.name for one in read if one.state == "taken"]
    late = sum(not one.whole for one in read)
    return [compared(
        "programs without a network that were taken for one", "", ours=float(len(taken)),
        basis=Basis.MEASURED, source=_ISSUE, judge="what these programs are known to be",
        judge_value=0.0, tolerance=0.0, seconds=sum(one.seconds for one in read),
        note=f"{len(read)} programs, {late} of them not read to the end in their time"
        + (f": {', '.join(taken)}" if taken else ""),
    )]  # fmt: skip


def attack_records(used: Sequence[Used]) -> list[Record]:
    """Return what recovered networks are good for."""
    records = []
    for one in used:
        way = f"{one.compiler} {one.options}, {one.target}"
        if one.attack is None:
            records.append(Record(
                name=f"answers of the recovered network: {way}", unit="%", published=None,
                ours=None, basis=Basis.MEASURED, source=DND, status="not reproducible",
                note=f"it was not recovered: {one.reason}",
            ))  # fmt: skip
            continue
        records.append(compared(
            f"answers of the recovered network: {way}", "%", ours=100 * one.agreeing / one.images,
            basis=Basis.MEASURED, source=_ISSUE, judge="the original on images held out",
            judge_value=100.0, tolerance=0.0, note=f"{one.images} images of {one.data}",
        ))  # fmt: skip
        attack = one.attack
        low, high = interval(attack.own, attack.tried)
        share = attack.recovered / max(attack.tried, 1)
        within = low <= share <= high
        records.append(Record(
            name=f"original misled by the recovered network's gradients: {way}", unit="%",
            published=None, ours=100 * share, basis=Basis.MEASURED, source=DND,
            judge="the same attack with the original's own gradients",
            judge_value=100 * attack.own / max(attack.tried, 1),
            status="match" if within else "differs",
            note=f"{attack.tried} images; the original's own lies within {100 * low:.0f}…"
            f"{100 * high:.0f} % with 95 %; changes as large at random: "
            f"{100 * attack.drawn / max(attack.tried, 1):.0f} %",
        ))  # fmt: skip
    return records
