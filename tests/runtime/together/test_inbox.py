"""A queue whose reader stays awake: nothing is lost, doubled or out of order."""

from __future__ import annotations

import sys
import threading
import time
from collections.abc import Callable

import numpy as np
import pytest

from orrery.runtime.together import _inbox
from orrery.runtime.together._inbox import Inbox, looker, looking

READERS: dict[str, Callable[[], None]] = {
    "at once": lambda: None,
    "while the reader looks": lambda: time.sleep(1e-4),
    "while the reader sleeps": lambda: time.sleep(0.02),
}


@pytest.mark.parametrize("pause", READERS.values(), ids=list(READERS))
@pytest.mark.parametrize("awake", [True, False], ids=["awake", "no way to stay awake"])
def test_everything_arrives_once_and_in_order(
    pause: Callable[[], None], awake: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    if not awake:
        monkeypatch.setattr(_inbox, "looker", lambda: None)
    inbox, got = Inbox[tuple[int, int] | None](), list[tuple[int, int]]()

    def read() -> None:
        while (item := inbox.get()) is not None:
            got.append(item)

    def send(who: int) -> None:
        for number in range(20):
            inbox.put((who, number))
            inbox.cool()
            pause()

    reader = threading.Thread(target=read)
    senders = [threading.Thread(target=send, args=(who,)) for who in range(3)]
    for thread in (reader, *senders):
        thread.start()
    for thread in senders:
        thread.join()
    inbox.put(None)
    reader.join(timeout=30)
    assert not reader.is_alive()
    assert sorted(got) == [(who, number) for who in range(3) for number in range(20)]
    for who in range(3):
        assert [n for w, n in got if w == who] == list(range(20))


def test_a_reader_told_to_sleep_wakes_for_what_comes() -> None:
    inbox, got = Inbox[int](), list[int]()
    reader = threading.Thread(target=lambda: got.append(inbox.get()))
    reader.start()
    inbox.cool()
    time.sleep(0.01)
    inbox.put(7)
    reader.join(timeout=30)
    assert got == [7]


def test_who_has_got_something_waits_for_the_lock_and_not_for_ever() -> None:
    flag, asked = np.zeros(1, np.int64), list[str]()

    def sends_at(number: int) -> Callable[[], int]:
        def give_way() -> int:
            asked.append("way")
            if len(asked) == number:
                flag[0] = 1
            return 0

        return give_way

    def held_until(number: int) -> Callable[[], int]:
        def holder() -> int:
            asked.append("lock")
            return asked.count("lock") <= number

        return holder

    assert looking(sends_at(3), held_until(2))(flag, 10, 10) == 1
    assert asked == ["way"] * 3 + ["lock"] * 3 + ["way"]
    asked.clear()  # something lies there; the lock is held
    assert looking(sends_at(0), held_until(99))(flag, 10, 10) == 1
    assert asked == ["lock"] * 10 + ["way"]
    for told in (0, 2):  # nothing came, or others need the processor: nobody is waited for
        asked.clear()
        flag[0] = told
        assert looking(sends_at(0), held_until(99))(flag, 10, 10) == told
        assert "lock" not in asked


@pytest.mark.skipif(sys.version_info >= (3, 12), reason="each thread has its own word there")
def test_a_thread_without_the_lock_sees_that_it_is_held() -> None:
    """While this thread computes, one that looks stays away; when it sleeps, that one comes."""
    if (look := looker()) is None:
        pytest.skip("this system has no sched_yield")

    def stayed_away() -> bool:
        flag, begun, come = np.zeros(1, np.int64), threading.Event(), threading.Event()

        def other() -> None:
            begun.set()
            look(flag, 10**9, 10**9)
            come.set()

        thread = threading.Thread(target=other)
        thread.start()
        begun.wait()
        time.sleep(0.001)
        flag[0] = 1
        until = time.perf_counter() + 0.03  # six times as long as it may hold the lock when asked
        while time.perf_counter() < until:
            pass
        away = not come.is_set()
        thread.join(timeout=60)
        assert come.is_set()
        return away

    assert any(stayed_away() for _ in range(20))  # other threads may have come in between
