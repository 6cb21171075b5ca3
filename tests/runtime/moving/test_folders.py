"""Scratch files: nameless, shared by nobody, gone with their process."""

from __future__ import annotations

import errno
import os
import signal
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from orrery.errors import SpecError
from orrery.runtime.moving import _folders
from orrery.runtime.moving._arena import aligned_bytes
from orrery.runtime.moving._blocks import SECTOR_BYTES
from orrery.runtime.moving._folders import ScratchFile, file_system, sweep

SLOT = 2 * SECTOR_BYTES


def test_slots_are_reused_once_nobody_holds_them(tmp_path: Path) -> None:
    file = ScratchFile(tmp_path, SLOT)
    first, second = file.take(), file.take()
    assert (first.offset, second.offset) == (0, SLOT)
    del first
    assert file.take().offset == 0  # held by nobody: free again at once
    third = file.take()
    assert third.offset == 0 and file.take().offset == 2 * SLOT
    file.close()


def test_bytes_come_back_and_files_end(tmp_path: Path) -> None:
    file = ScratchFile(tmp_path, SLOT)
    wrote = aligned_bytes(SLOT)
    back = aligned_bytes(SLOT)
    wrote[:] = np.random.default_rng(0).integers(0, 256, SLOT, dtype=np.uint8)
    slot = file.take()
    assert os.pwrite(file.descriptor, wrote.data, slot.offset) == SLOT
    assert os.preadv(file.descriptor, [back.data], slot.offset) == SLOT
    assert back.tobytes() == wrote.tobytes()
    assert file.edge(back) == 0 and file.edge(back[1:SECTOR_BYTES]) is None
    address, _ = file.alignment
    assert file.edge(back[1:]) in (None, address - 1)
    assert not list(tmp_path.iterdir())
    file.close()


@pytest.mark.parametrize("anonymous", [True, False])
def test_nothing_is_left_by_a_killed_process(
    anonymous: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    code = f"""
import os, sys, time
if not {anonymous}: del os.O_TMPFILE
from pathlib import Path
from orrery.runtime.moving._folders import ScratchFile
from orrery.runtime.moving._arena import aligned_bytes
file = ScratchFile(Path({str(tmp_path)!r}), {SLOT})
slot = file.take(); os.pwrite(file.descriptor, aligned_bytes({SLOT}).data, slot.offset)
print("written", flush=True); time.sleep(60)
"""
    child = subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE, text=True)
    assert child.stdout is not None and child.stdout.readline() == "written\n"
    # Another session in the same folder meanwhile: it neither sees nor disturbs the first.
    other = ScratchFile(tmp_path, SLOT)
    assert other.take().offset == 0
    other.close()
    child.send_signal(signal.SIGKILL)
    child.wait()
    child.stdout.close()
    assert not list(tmp_path.iterdir())


def test_names_left_behind_are_removed_unless_held(tmp_path: Path) -> None:
    left = tmp_path / "orrery-offload-12345-0123456789ab.scratch"
    left.write_bytes(b"old")
    mine = tmp_path / "orrery-offload-notes.txt"
    mine.write_text("not ours to remove")
    assert sweep(tmp_path) == 1
    assert [path.name for path in tmp_path.iterdir()] == [mine.name]
    import fcntl

    left.write_bytes(b"held")
    with left.open("rb") as handle:
        fcntl.flock(handle, fcntl.LOCK_EX)
        assert sweep(tmp_path) == 0
    assert sweep(tmp_path) == 1


def test_folders_that_cannot_serve_are_refused(tmp_path: Path) -> None:
    with pytest.raises(SpecError, match=r"found 'nothing', wanted a folder on an SSD"):
        ScratchFile(tmp_path / "absent", SLOT)
    (tmp_path / "file").write_text("")
    with pytest.raises(SpecError, match="something else"):
        ScratchFile(tmp_path / "file", SLOT)
    closed = tmp_path / "closed"
    closed.mkdir(mode=0o500)
    if os.geteuid():
        with pytest.raises(SpecError, match="may not be written"):
            ScratchFile(closed, SLOT)


def test_no_direct_requests_is_said(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    plain = ScratchFile(tmp_path, SLOT, direct=False)
    assert not plain.direct and "no direct I/O" in plain.remarks[0]
    plain.close()
    real = os.open

    def refusing(path: object, flags: int, *rest: int) -> int:
        if flags & os.O_DIRECT:
            raise OSError(22, "Invalid argument")
        return real(path, flags, *rest)  # type: ignore[arg-type]

    monkeypatch.setattr(_folders.os, "open", refusing)
    asked = ScratchFile(tmp_path, SLOT)
    assert not asked.direct and "no direct I/O" in asked.remarks[0]
    asked.close()


def test_files_that_are_memory_are_said(tmp_path: Path) -> None:
    assert file_system(Path("/proc")) == "proc"
    shared = Path("/dev/shm")
    if file_system(shared) != "tmpfs" or not os.access(shared, os.W_OK):
        pytest.skip("no memory file system to write to")
    file = ScratchFile(shared, SLOT)
    assert file.remarks[0] == "/dev/shm is tmpfs: its files take memory, none is saved"
    file.close()


def test_a_folder_that_reserves_no_room_takes_files(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refused(descriptor: int, start: int, size: int) -> None:
        raise OSError(errno.EINVAL, os.strerror(errno.EINVAL))

    monkeypatch.setattr(os, "posix_fallocate", refused)
    file = ScratchFile(tmp_path, 1 << 20)
    slot = file.take()
    assert slot.offset == 0
    assert os.fstat(file.descriptor).st_size == file.size_bytes > 0
    file.close()


def test_a_child_that_lives_on_holds_no_space(tmp_path: Path) -> None:
    file = ScratchFile(tmp_path, 1 << 20)
    slot = file.take()
    held = os.dup(file.descriptor)  # as a forked child has it
    assert os.fstat(held).st_blocks > 0
    del slot
    file.close()
    assert os.fstat(held).st_size == os.fstat(held).st_blocks == 0
    os.close(held)
