"""A queue whose reader stays awake: nothing is lost, doubled or out of order."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable

import pytest

from orrery.runtime.together import _inbox
from orrery.runtime.together._inbox import Inbox

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
