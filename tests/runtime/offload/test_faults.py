"""Whatever goes wrong with a file, a gradient is right or there is none."""

from __future__ import annotations

import errno
import os
import random
import subprocess
import sys
import threading
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from orrery.runtime.moving._folders import ScratchFile
from orrery.runtime.offload import (
    DamagedDataError,
    OffloadError,
    OffloadInfeasibleError,
    OffloadSession,
    OffloadSettings,
)

from ..moving.channels import ENGINES, Faults, engine
from .planners import everything
from .test_exact import attention, conv_bn, same, trained

pytestmark = [pytest.mark.torch, pytest.mark.needs("torch")]

BLOCK = 4096


class Small(ScratchFile):
    """A file on a disk with room for so many slots."""

    room: int | None = None

    def take(self) -> Any:
        slot = super().take()
        if self.room is not None and slot.offset >= self.room * self.slot_bytes:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), str(self.folder))
        return slot


def session(
    folder: Path, planner: Any = None, *, faults: Faults | None = None, room: int | None = None,
    way: str = "io_uring", **options: Any,
) -> Any:  # fmt: skip
    made: list[Small] = []

    def make(where: Path, slot_bytes: int) -> ScratchFile:
        made.append(Small(where, slot_bytes))
        made[-1].room = room
        return made[-1]

    small = {"least_bytes": 256, "block_bytes": BLOCK, "threads": 2, "ahead_bytes": 1 << 20}
    folders = options.pop("folders", (folder,))
    settings = OffloadSettings(folders=folders, **{**small, **options})
    if faults is not None:
        faults.slot_bytes = settings.block_bytes + BLOCK
    found = OffloadSession(
        settings, planner or everything(), files=make,
        engine=engine(way, settings.threads, faults),
    )  # fmt: skip
    return found, made


def one_step(offload: OffloadSession) -> None:
    trained(conv_bn, offload, steps=1)


@pytest.mark.parametrize(
    ("fails", "kind", "said"),
    [
        ("error", OffloadError, "a read error"),
        ("short", DamagedDataError, "truncated data"),
        ("altered", DamagedDataError, "altered data"),
        ("header", DamagedDataError, "altered block header"),
        ("elsewhere", DamagedDataError, "header of another block"),
    ],
)
@pytest.mark.parametrize("way", ENGINES)
def test_a_bad_read_names_tensor_and_offset(
    way: str, fails: str, kind: type[Exception], said: str, tmp_path: Path
) -> None:
    offload, _ = session(tmp_path, way=way, faults=Faults(fails=fails, after=3))
    try:
        with pytest.raises(kind, match=rf"(?s)saved tensor '\d+ .*, byte \d+ of \d+, "
                                       rf"offset \d+ in .*found .*{said}.*, wanted"):  # fmt: skip
            one_step(offload)
    finally:
        offload.close()


def test_data_altered_in_the_file_itself_is_found(tmp_path: Path) -> None:
    import torch

    offload, (file,) = session(tmp_path)
    try:
        with pytest.raises(DamagedDataError, match="altered data"), offload:
            x = torch.ones(64, 64, requires_grad=True)
            loss = ((x * 2).exp() * 3).exp().sum()
            offload._transfers.drain()
            other = os.open(f"/proc/self/fd/{file.descriptor}", os.O_RDWR)
            byte = os.pread(other, 1, 4096 + 77)
            os.pwrite(other, bytes([byte[0] ^ 4]), 4096 + 77)
            os.fsync(other)
            os.close(other)
            loss.backward()
        assert x.grad is None
    finally:
        offload.close()


@pytest.mark.parametrize("way", ENGINES)
def test_a_file_cut_short_is_found(way: str, tmp_path: Path) -> None:
    import torch

    offload, (file,) = session(tmp_path, way=way)
    try:
        with pytest.raises(DamagedDataError, match="truncated data"), offload:
            x = torch.ones(64, 64, requires_grad=True)
            loss = ((x * 2).exp() * 3).exp().sum()
            offload._transfers.drain()
            os.ftruncate(file.descriptor, 4096)
            loss.backward()
    finally:
        offload.close()


@pytest.mark.parametrize("room", [3, 40])
def test_a_full_disk_leaves_tensors_in_memory(room: int, tmp_path: Path) -> None:
    wanted = trained(attention, steps=4)
    offload, _ = session(tmp_path, room=room)
    try:
        assert same(trained(attention, offload, steps=4), wanted)
    finally:
        offload.close()
    assert offload.reports[0].moved.failed_writes > 0
    assert any("No space left" in remark for remark in offload.reports[0].remarks)


def test_a_full_disk_ends_the_step_where_that_is_asked_for(tmp_path: Path) -> None:
    offload, _ = session(tmp_path, room=5, when_full="raise")
    try:
        with pytest.raises(OffloadError, match=r"No space left.*wanted room for it"):
            one_step(offload)
    finally:
        offload.close()


def test_a_disk_that_takes_nothing_is_infeasible(tmp_path: Path) -> None:
    offload, _ = session(tmp_path, room=0)
    try:
        with pytest.raises(OffloadInfeasibleError, match="nothing could be written") as caught:
            one_step(offload)
    finally:
        offload.close()
    assert caught.value.infeasible.unit == "bytes" and caught.value.infeasible.need > 0


def test_a_full_disk_is_passed_over_while_another_has_room(tmp_path: Path) -> None:
    first, second = tmp_path / "a", tmp_path / "b"
    first.mkdir(), second.mkdir()
    offload, made = session(tmp_path, folders=(first, second))
    made[0].room = 2
    try:
        wanted = trained(attention, steps=3)
        assert same(trained(attention, offload, steps=3), wanted)
        assert not any(report.moved.failed_writes for report in offload.reports)
        assert made[1].size_bytes > 0
    finally:
        offload.close()


@pytest.mark.parametrize("seed", range(3))
def test_delays_at_random_change_nothing(seed: int, tmp_path: Path) -> None:
    wanted = trained(attention, steps=4)
    folders = (tmp_path / "a", tmp_path / "b")
    for folder in folders:
        folder.mkdir()
    offload, made = session(
        tmp_path, everything(packed=seed == 2), folders=folders, threads=4,
        faults=Faults(draw=random.Random(seed)), way=ENGINES[seed % 2],
        ahead_bytes=(4 + seed) << 12, queue_bytes=1 << 14,
    )  # fmt: skip
    try:
        assert same(trained(attention, offload, steps=4), wanted)
        assert all(file.size_bytes for file in made)
    finally:
        offload.close()


def test_slots_and_memory_are_free_after_each_step(tmp_path: Path) -> None:
    offload, (file,) = session(tmp_path)
    try:
        sizes = []
        for _ in range(3):
            one_step(offload)
            offload._transfers.drain()
            sizes.append(file.size_bytes)
            assert offload._arena.used_bytes == offload._transfers.staged_bytes
            assert file.take().offset == 0
        assert len(set(sizes)) == 1
    finally:
        offload.close()


def test_a_slow_disk_is_planned_again(tmp_path: Path) -> None:
    import torch

    seen = []

    def planner(profile: Any) -> Any:
        seen.append(profile)
        return everything()(profile)

    faults = Faults(slow_s=0.01)  # so that it matters little how quick the real disk is
    offload, _ = session(tmp_path, planner, block_bytes=1 << 20, threads=1,
                         queue_bytes=1 << 22, faults=faults)  # fmt: skip
    try:
        known = 0
        for step in range(4):
            if step == 2:
                faults.slow_s, known = 0.06, len(seen)
            with offload:
                y = torch.zeros(1 << 19, requires_grad=True)
                for _ in range(6):
                    y = y.sigmoid()
                y.sum().backward()
            if step == 2:
                assert len(seen) == known  # one slow step is none
        assert len(seen) == known + 1
        assert seen[-1].write_bytes_per_s < seen[known - 1].write_bytes_per_s / 2
    finally:
        offload.close()


def test_a_killed_step_leaves_nothing(tmp_path: Path) -> None:
    code = f"""
import os, signal, torch
from pathlib import Path
from orrery.runtime.offload import OffloadSession, OffloadSettings
settings = OffloadSettings(folders=(Path({str(tmp_path)!r}),), least_bytes=256, block_bytes=4096)
with OffloadSession(settings, lambda profile: None) as offload:
    x = torch.ones(256, 256, requires_grad=True)
    loss = (x * 2).exp().sum()
    offload._transfers.drain()
    print(offload._transfers.counts.written_bytes, flush=True)
    os.kill(os.getpid(), signal.SIGKILL)
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert done.returncode == -9 and int(done.stdout) > 256 * 256 * 4
    assert not list(tmp_path.iterdir())


def test_two_sessions_share_a_folder(tmp_path: Path) -> None:
    import torch

    nets = (attention, conv_bn)
    wanted = [trained(net, steps=3) for net in nets]
    offloads = [session(tmp_path)[0] for _ in nets]
    # Random numbers are global to PyTorch: made here, these networks draw none later.
    made = []
    for net in nets:
        torch.manual_seed(0)
        made.append(net())
    found: dict[int, list[Any]] = {}

    def train(number: int) -> None:
        found[number] = trained(lambda: made[number], offloads[number], steps=3)

    threads = [threading.Thread(target=train, args=(number,)) for number in range(2)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    for offload in offloads:
        offload.close()
    assert same(found[0], wanted[0])
    assert same(found[1], wanted[1])


def test_a_closed_session_refuses_what_is_away(tmp_path: Path) -> None:
    import torch

    offload, _ = session(tmp_path)
    with offload:
        x = torch.ones(64, 64, requires_grad=True)
        loss = (x * 2).exp().sum()
        offload._transfers.drain()
    offload.close()
    with pytest.raises(OffloadError, match="a closed session"):
        loss.backward()
    with pytest.raises(OffloadError, match="a closed one"), offload:
        pass


def test_a_forked_process_is_refused(tmp_path: Path) -> None:
    import torch

    offload, _ = session(tmp_path)
    try:
        with offload:
            x = torch.ones(64, 64, requires_grad=True)
            loss = (x * 2).exp().sum()
            offload._transfers.drain()
            child = os.fork()
            if not child:
                try:
                    loss.backward()
                except OffloadError as error:
                    os._exit(0 if "another process" in str(error) else 2)
                os._exit(1)
            assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0
            loss.backward()
        assert np.isfinite(x.grad.numpy()).all()
    finally:
        offload.close()
