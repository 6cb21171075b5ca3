"""System calls: which a confined program may make, and what the others would have done.

Models:  nothing. A table of Linux' own numbers.
Judge:   the kernel's headers where they are installed (tests/runtime/test_sandbox.py).
"""

from __future__ import annotations

import errno
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Numbers:
    """The numbers of one architecture; ``audit`` is how the kernel names it to a filter."""

    audit: int
    number: dict[str, int]


#: name -> number on x86-64 and on AArch64, None where there is none
_TABLE: dict[str, tuple[int | None, int | None]] = {
    "read": (0, 63), "write": (1, 64), "open": (2, None), "close": (3, 57), "stat": (4, None),
    "fstat": (5, 80), "lstat": (6, None), "poll": (7, None), "lseek": (8, 62), "mmap": (9, 222),
    "mprotect": (10, 226), "munmap": (11, 215), "brk": (12, 214), "rt_sigaction": (13, 134),
    "rt_sigprocmask": (14, 135), "rt_sigreturn": (15, 139), "ioctl": (16, 29),
    "pread64": (17, 67), "pwrite64": (18, 68), "readv": (19, 65), "writev": (20, 66),
    "access": (21, None), "pipe": (22, None), "sched_yield": (24, 124), "mremap": (25, 216),
    "msync": (26, 227), "mincore": (27, 232), "madvise": (28, 233), "shmget": (29, 194),
    "dup": (32, 23), "dup2": (33, None), "nanosleep": (35, 101), "alarm": (37, None),
    "getpid": (39, 172), "sendfile": (40, 71), "socket": (41, 198), "connect": (42, 203),
    "accept": (43, 202), "sendto": (44, 206), "recvfrom": (45, 207), "sendmsg": (46, 211),
    "recvmsg": (47, 212), "bind": (49, 200), "listen": (50, 201), "socketpair": (53, 199),
    "clone": (56, 220), "fork": (57, None), "vfork": (58, None), "execve": (59, 221),
    "exit": (60, 93), "wait4": (61, 260), "kill": (62, 129), "uname": (63, 160),
    "fcntl": (72, 25), "fsync": (74, 82), "truncate": (76, 45), "ftruncate": (77, 46),
    "getcwd": (79, 17), "chdir": (80, 49), "rename": (82, None), "mkdir": (83, None),
    "rmdir": (84, None), "creat": (85, None), "link": (86, None), "unlink": (87, None),
    "symlink": (88, None), "readlink": (89, None), "chmod": (90, None), "fchmod": (91, 52),
    "chown": (92, None), "gettimeofday": (96, 169), "getrlimit": (97, 163),
    "getrusage": (98, 165), "sysinfo": (99, 179), "times": (100, 153), "ptrace": (101, 117),
    "getuid": (102, 174), "getgid": (104, 176), "setuid": (105, 146), "geteuid": (107, 175),
    "getegid": (108, 177), "setpgid": (109, 154), "getppid": (110, 173), "setsid": (112, 157),
    "rt_sigqueueinfo": (129, 138), "sigaltstack": (131, 132), "mknod": (133, None),
    "mlock": (149, 228), "prctl": (157, 167), "arch_prctl": (158, None), "setrlimit": (160, 164),
    "chroot": (161, 51), "mount": (165, 40), "umount2": (166, 39), "reboot": (169, 142),
    "gettid": (186, 178), "tkill": (200, 130), "futex": (202, 98), "sched_setaffinity": (203, 122),
    "sched_getaffinity": (204, 123), "getdents64": (217, 61), "set_tid_address": (218, 96),
    "restart_syscall": (219, 128), "fadvise64": (221, 223), "clock_gettime": (228, 113),
    "clock_getres": (229, 114), "clock_nanosleep": (230, 115), "exit_group": (231, 94),
    "tgkill": (234, 131), "get_mempolicy": (239, 236), "openat": (257, 56), "mkdirat": (258, 34),
    "mknodat": (259, 33), "newfstatat": (262, 79), "unlinkat": (263, 35), "renameat": (264, 38),
    "linkat": (265, 37), "symlinkat": (266, 36), "readlinkat": (267, 78), "fchmodat": (268, 53),
    "faccessat": (269, 48), "ppoll": (271, 73), "unshare": (272, 97), "set_robust_list": (273, 99),
    "fallocate": (285, 47), "accept4": (288, 242), "pipe2": (293, 59), "prlimit64": (302, 261),
    "setns": (308, 268), "process_vm_readv": (310, 270), "process_vm_writev": (311, 271),
    "renameat2": (316, 276), "getrandom": (318, 278), "memfd_create": (319, 279),
    "bpf": (321, 280), "execveat": (322, 281), "membarrier": (324, 283), "statx": (332, 291),
    "rseq": (334, 293), "pidfd_send_signal": (424, 424), "io_uring_setup": (425, 425),
    "pidfd_open": (434, 434), "clone3": (435, 435), "openat2": (437, 437),
    "pidfd_getfd": (438, 438), "faccessat2": (439, 439), "futex_waitv": (449, 449),
}  # fmt: skip

#: machine as `platform.machine` names it -> its numbers
NUMBERS: dict[str, Numbers] = {
    machine: Numbers(audit, {k: v[at] for k, v in _TABLE.items() if v[at] is not None})  # type: ignore[misc]  # None is left out
    for at, (machine, audit) in enumerate((("x86_64", 0xC000003E), ("aarch64", 0xC00000B7)))
}

#: Arithmetic, memory, clocks, threads, and reading of what is open; `open` has a rule of its own.
ALLOWED = (
    "read", "write", "close", "stat", "fstat", "lstat", "poll", "lseek", "mmap", "mprotect",
    "munmap", "brk", "rt_sigaction", "rt_sigprocmask", "rt_sigreturn", "pread64", "readv",
    "writev", "access", "sched_yield", "mremap", "mincore", "madvise", "nanosleep", "getpid",
    "exit", "uname", "getcwd", "readlink", "gettimeofday", "getrlimit", "getrusage", "sysinfo",
    "times", "getuid", "getgid", "geteuid", "getegid", "getppid", "sigaltstack", "arch_prctl",
    "gettid", "futex", "sched_setaffinity", "sched_getaffinity", "getdents64", "set_tid_address",
    "restart_syscall", "fadvise64", "clock_gettime", "clock_getres", "clock_nanosleep",
    "exit_group", "get_mempolicy", "newfstatat", "readlinkat", "faccessat", "ppoll",
    "set_robust_list", "getrandom", "membarrier", "statx", "rseq", "faccessat2", "futex_waitv",
)  # fmt: skip

#: Libraries try these and do without: an error is the answer.
QUIET = {
    "ioctl": errno.ENOTTY, "clone3": errno.ENOSYS, "openat2": errno.ENOSYS,
    "memfd_create": errno.ENOSYS, "mlock": errno.EPERM, "wait4": errno.ECHILD,
}  # fmt: skip

_MEANT: dict[str, tuple[str, ...]] = {
    "use the network": (
        "socket", "connect", "accept", "accept4", "bind", "listen", "socketpair", "sendto",
        "sendmsg", "recvfrom", "recvmsg",
    ),
    "start a process": ("clone", "fork", "vfork"),
    "start a program": ("execve", "execveat"),
    "write to or change files": (
        "open", "openat", "creat", "truncate", "ftruncate", "rename", "renameat", "renameat2",
        "mkdir", "mkdirat", "rmdir", "link", "linkat", "unlink", "unlinkat", "symlink",
        "symlinkat", "chmod", "fchmod", "fchmodat", "chown", "mknod", "mknodat", "fallocate",
        "pwrite64", "sendfile",
    ),
    "send a signal to another process": (
        "kill", "tkill", "tgkill", "rt_sigqueueinfo", "pidfd_send_signal",
    ),
    "look into another process": (
        "ptrace", "process_vm_readv", "process_vm_writev", "pidfd_open", "pidfd_getfd",
    ),
    "change what confines it": (
        "setrlimit", "prlimit64", "prctl", "setns", "unshare", "setuid", "setpgid", "setsid",
        "chroot", "mount", "umount2", "bpf", "io_uring_setup", "reboot",
    ),
}  # fmt: skip
#: system call -> what it would have done
MEANINGS = {name: meant for meant, names in _MEANT.items() for name in names}


def call_name(machine: str, number: int) -> str:
    """Return a call's name, or its number where the table has none."""
    known = NUMBERS[machine].number
    return next((name for name, one in known.items() if one == number), f"number {number}")


def meaning_of(machine: str, number: int) -> str:
    """Return what a call would have done, for people."""
    name = call_name(machine, number)
    meant = MEANINGS.get(name, "make a system call that computing does not need")
    return f"{meant} (system call {name})"
