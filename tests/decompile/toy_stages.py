"""Stages that other processes find by name: honest, slow, hungry, crashing, refusing."""

from __future__ import annotations

import os
import signal
from dataclasses import dataclass

from orrery.decompile._frame import Records, Stage
from orrery.errors import SpecError


@dataclass(frozen=True)
class Given:
    value: int


@dataclass(frozen=True)
class Half:
    value: int
    found: str = "a half"


@dataclass(frozen=True)
class Whole:
    value: int


def half(records: Records) -> Half:
    records.progress.step("halving", 1, 1)
    records.keep(Half(records[Given].value))
    return Half(records[Given].value)


def honest(records: Records) -> Whole:
    records.keep(Whole(2 * records[Half].value))
    return Whole(2 * records[Half].value)


def loops(records: Records) -> Whole:
    while True:
        pass


def hungry(records: Records) -> Whole:
    held = []
    while True:
        held.append(bytearray(1 << 24))


def crashes(records: Records) -> Whole:
    os.kill(os.getpid(), signal.SIGSEGV)
    return Whole(0)


def refuses(records: Records) -> Whole:
    raise SpecError("toy", found="\x1b[31mred", wanted="black", fix="repaint it")


def breaks(records: Records) -> Whole:
    raise ZeroDivisionError("a defect")


def pack(record: object) -> bytes:
    return repr(record).encode()


def stages(second: object) -> tuple[Stage, ...]:
    return (
        Stage(name="first", summary="halves", needs=(Given,), gives=Half, run=half),
        Stage(name="second", summary="adds", needs=(Half,), gives=Whole, run=second),  # type: ignore[arg-type]
    )
