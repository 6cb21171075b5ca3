"""Hostile programs in the sandbox: each is contained, and named for what it did."""

from __future__ import annotations

import contextlib
import os
import re
import struct
import subprocess
from pathlib import Path

import pytest

from orrery.runtime.sandbox import (
    Answer,
    Block,
    Call,
    Limits,
    Native,
    Pointer,
    loadable,
    movable,
    run_probe,
)

pytestmark = pytest.mark.needs("gcc")

_GOOD = "void act(const float *in, float *out) { for (int i = 0; i < 4; i++) out[i] = 2 * in[i]; }"
_FLOATS = (0.0, 1.0, -2.5, 3e8)


def _built(folder: Path, source: str, *flags: str) -> bytes:
    (folder / "a.c").write_text(source)
    subprocess.run(
        ["gcc", "-O1", "-fPIC", *(flags or ("-shared",)), "a.c", "-o", "a.so", "-lm", "-pthread"],
        cwd=folder, check=True,
    )  # fmt: skip
    return (folder / "a.so").read_bytes()


def _run(file: bytes, *, limits: Limits | None = None, entry: int | str = "act") -> Answer:
    probe = Native(
        file=file,
        calls=(Call(entry=entry, arguments=(Pointer(block="in"), Pointer(block="out"))),),
        blocks=(Block(name="in", size_bytes=16), Block(name="out", size_bytes=16)),
        rounds=({"in": struct.pack("4f", *_FLOATS)}, {}),
        answers=("out",),
    )
    return run_probe(probe, limits or Limits(wall_s=30, processor_s=4))


def test_an_honest_program_answers(tmp_path: Path) -> None:
    found = _run(_built(tmp_path, _GOOD))
    assert found.failure is None
    assert struct.unpack("4f", found.rounds[0]["out"]) == struct.unpack(
        "4f", struct.pack("4f", *(2 * one for one in _FLOATS))
    )
    assert found.rounds[1]["out"] == bytes(16)  # blocks begin anew
    assert any("filter of system calls" in one for one in found.held_by)


def test_an_executable_that_can_move_is_called_by_address(tmp_path: Path) -> None:
    file = _built(tmp_path, _GOOD + "\nint main(void) { return 3; }", "-pie")
    table = subprocess.run(["nm", tmp_path / "a.so"], capture_output=True, text=True, check=True)
    address = next(int(line.split()[0], 16) for line in table.stdout.splitlines()
                   if line.endswith(" act"))  # fmt: skip
    assert loadable(file) is None
    refused = _run(file, entry=address)
    assert refused.failure is not None
    assert refused.failure.kind == "load"
    assert _run(movable(file), entry=address).failure is None


#: what it does -> source, kind, a part of the sentence
_HOSTILE = {
    "loops": ("for (;;) ;", "time", "not done after"),
    "sleeps": ("for (;;) sleep(9);", "time", "not done after"),
    "allocates": (
        "for (;;) { char *p = malloc(1 << 24); if (!p) abort(); memset(p, 1, 1 << 24); }",
        "memory", "MiB it may have",
    ),
    "forks": ("for (;;) fork();", "forbidden", "start a process"),
    "starts a program": ('execl("/bin/true", "true", NULL);', "forbidden", "start a program"),
    "runs a shell": ('system("true");', "forbidden", "start a process"),
    "opens a socket": ("socket(AF_INET, SOCK_STREAM, 0);", "forbidden", "use the network"),
    "opens a local socket": ("socket(AF_UNIX, SOCK_STREAM, 0);", "forbidden", "use the network"),
    "writes a file": ('open(PLACE, O_CREAT | O_WRONLY, 0600);', "forbidden", "change files"),
    "removes a file": ("unlink(PLACE);", "forbidden", "change files"),
    "kills its parent": ("kill(getppid(), SIGKILL);", "forbidden", "signal to another"),
    "kills everything": ("kill(-1, SIGKILL);", "forbidden", "signal to another"),
    "looks into its parent": ("ptrace(PTRACE_ATTACH, getppid(), 0, 0);", "forbidden", "look into"),
    "lifts its limits": (
        "struct rlimit all = {RLIM_INFINITY, RLIM_INFINITY}; setrlimit(RLIMIT_AS, &all);",
        "forbidden", "confines",
    ),
    "outlives its parent": ("prctl(PR_SET_PDEATHSIG, 0);", "forbidden", "confines"),
    "is a broken pointer": ("*(volatile int *)8 = 1;", "crash", "SIGSEGV"),
    "aborts": ("abort();", "crash", "SIGABRT"),
    "leaves": ("_exit(7);", "exit", "code 7"),
    "calls as 32 bits do": (
        '__asm__ volatile("int $0x80" :: "a"(20));', "forbidden", "",
    ),
}  # fmt: skip
_HEADERS = """
#include <fcntl.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/ptrace.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <unistd.h>
"""


@pytest.mark.parametrize("what", _HOSTILE)
def test_a_hostile_program_is_contained_and_named(what: str, tmp_path: Path) -> None:
    body, kind, text = _HOSTILE[what]
    victim = tmp_path / "victim"
    victim.write_text("here")
    victim.chmod(0o666)
    body = body.replace("PLACE", f'"{victim}"')
    source = f"{_HEADERS}void act(const float *in, float *out) {{ {body} out[0] = in[0]; }}"
    # A busy machine may take seconds over what does not wait for its time to be up.
    limits = Limits(wall_s=1 if kind == "time" else 30, processor_s=4, memory_bytes=128 << 20)
    found = _run(_built(tmp_path, source), limits=limits)
    assert found.rounds == ()
    assert found.failure is not None
    assert (found.failure.kind, text in found.failure.text) == (kind, True), found.failure
    assert victim.read_text() == "here"


def test_what_it_does_when_loaded_is_confined_too(tmp_path: Path) -> None:
    source = f"{_HEADERS}__attribute__((constructor)) void early(void) {{ fork(); }}\n{_GOOD}"
    failure = _run(_built(tmp_path, source)).failure
    assert failure is not None
    assert failure.kind == "forbidden"


def test_processors_are_bounded_across_threads(tmp_path: Path) -> None:
    source = """
    #include <pthread.h>
    static void *turn(void *p) { for (;;) ; return p; }
    void act(const float *in, float *out) {
        pthread_t one;
        for (int i = 0; i < 2; i++) pthread_create(&one, 0, turn, 0);
        pthread_join(one, 0);
    }"""
    failure = _run(_built(tmp_path, source), limits=Limits(wall_s=30, processor_s=1)).failure
    assert failure is not None
    assert failure.kind == "time"
    assert "1 s of processors" in failure.text


def test_nothing_of_the_users_reaches_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("A_SECRET", "told")
    source = """#include <stdlib.h>
    void act(const float *in, float *out) { out[0] = getenv("A_SECRET") ? 1 : 0; }"""
    found = _run(_built(tmp_path, source))
    assert found.failure is None
    assert struct.unpack_from("f", found.rounds[0]["out"])[0] == 0


def test_a_function_that_is_not_there(tmp_path: Path) -> None:
    failure = _run(_built(tmp_path, _GOOD), entry="absent").failure
    assert failure is not None
    assert failure.kind == "load"
    assert "'absent'" in failure.text


def test_a_file_that_is_none_is_told_why() -> None:
    assert loadable(b"\x7fELF") == "it is no 64-bit little-endian ELF file"
    foreign = bytearray(64)
    foreign[:6] = b"\x7fELF\x02\x01"
    struct.pack_into("<HH", foreign, 16, 3, 243)
    assert "another machine" in (loadable(bytes(foreign)) or "")


def test_no_process_is_left(tmp_path: Path) -> None:
    _run(_built(tmp_path, "void act(void) { for (;;) ; }"), limits=Limits(wall_s=0.5))
    lines = []
    for one in Path("/proc").glob("[0-9]*/cmdline"):
        with contextlib.suppress(OSError):
            lines.append(one.read_text())
    assert lines
    ours = re.compile(rf'"parent": {os.getpid()}\b')
    assert not [one for one in lines if "orrery.runtime.sandbox" in one and ours.search(one)]
