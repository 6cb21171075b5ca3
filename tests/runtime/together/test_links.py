"""Links of known seconds are found again, through noise and outliers; real ones are positive."""

from __future__ import annotations

import threading
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any, cast

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from orrery.errors import OrreryError, SpecError
from orrery.runtime import ReferenceBackend
from orrery.runtime.together import (
    LocalWorker,
    WorkerFailedError,
    WorkerPool,
    fit_link,
    measure_links,
)
from orrery.store import Cache

from .test_executor import workers

SIZES = [4 << (2 * k) for k in range(12)]


def times(
    seconds: Callable[[int], float], noise: float = 0.0, outliers: float = 0.0, count: int = 30
) -> dict[int, list[float]]:
    rng = np.random.default_rng(7)
    found = {}
    for size in SIZES:
        values = seconds(size) * (1 + noise * rng.standard_exponential(count))
        late = rng.random(count) < outliers
        found[size] = list(np.where(late, values * 40, values))
    return found


@given(st.floats(1e-7, 1e-3), st.floats(1e-12, 1e-8))
def test_without_noise_it_is_exact(fixed: float, per_byte: float) -> None:
    found = fit_link("a", "b", times(lambda size: fixed + per_byte * size, count=3))
    for size in SIZES:
        assert found.seconds(size) == pytest.approx(fixed + per_byte * size, rel=1e-6)


@pytest.mark.parametrize("fixed_s", [5e-6, 4e-5])
@pytest.mark.parametrize("s_per_byte", [4e-11, 1e-9])
def test_noise_and_outliers_change_little(fixed_s: float, s_per_byte: float) -> None:
    given_s = times(lambda size: fixed_s + s_per_byte * size, noise=0.02, outliers=0.2)
    found = fit_link("a", "b", given_s)
    assert found.fixed_s == pytest.approx(fixed_s, rel=0.05)
    assert found.s_per_byte == pytest.approx(s_per_byte, rel=0.05)
    low, high = found.fixed_interval_s
    assert low <= found.fixed_s <= high < 1.2 * fixed_s
    low, high = found.per_byte_interval_s
    assert low <= found.s_per_byte <= high < 1.2 * s_per_byte


def test_neither_part_is_negative() -> None:
    falling = {4: [3e-5], 400: [2e-5], 40000: [1e-5]}
    found = fit_link("a", "b", falling)
    assert found.s_per_byte == 0
    assert 1e-5 <= found.fixed_s <= 3e-5
    steep = fit_link("a", "b", {1000: [1e-6], 2000: [4e-6], 4000: [16e-6]})
    assert steep.fixed_s == 0
    assert steep.s_per_byte > 0


@pytest.mark.parametrize("wrong", [{}, {4: [1.0]}, {4: [1.0], 8: []}, {4: [0.0], 8: [1.0]}])
def test_too_little_to_fit_is_refused(wrong: dict[int, list[float]]) -> None:
    with pytest.raises(SpecError, match="link from a to b"):
        fit_link("a", "b", wrong)


def test_handing_over_between_workers(tmp_path: Path) -> None:
    cache = Cache("links", folder=tmp_path)
    with WorkerPool(workers(count=1)) as pool:
        found = measure_links(pool, repeats=3, cache=cache)
        assert {(link.source, link.target) for link in found} == {("all", "w0"), ("w0", "all")}
        assert all(link.fixed_s > 0 == link.s_per_byte for link in found)
        assert all(link.fixed_interval_s[0] <= link.fixed_s for link in found)
        assert measure_links(pool, repeats=3, cache=cache) == found
    alone = LocalWorker(name="one", processors=workers()[0].processors, label="one",
                        backend=ReferenceBackend())  # fmt: skip
    with WorkerPool([alone]) as pool:
        assert measure_links(pool) == ()
        for options in ({"repeats": 0}, {"sizes": [4]}, {"sizes": [0, 4]}):
            with pytest.raises(SpecError, match="links"):
                measure_links(pool, **options)


class Hard:
    """A memory of NumPy arrays that are copied; what goes there or comes back may fail."""

    def __init__(self, name: str, fails: str = "") -> None:
        self.name, self.fails = name, fails

    def put(self, array: Any) -> Any:
        return self._copied("put", array)

    def take(self, held: Any, *, lasting: bool = True) -> Any:
        return self._copied("take", held)

    def _copied(self, what: str, array: Any) -> Any:
        if self.fails == what:
            raise ConnectionError("made up")
        return array.copy()


@pytest.mark.parametrize("fails", ["put", "take"])
def test_a_link_that_fails_is_left_out_where_that_is_wanted(fails: str, tmp_path: Path) -> None:
    """With all others of its memory; nothing of that is kept."""
    cache = Cache("links", folder=tmp_path)
    host = workers()[0]
    apart = [replace(host, name=f"in {name}", processors=(), memory=cast("Any", memory))
             for name, memory in (("a", Hard("a")), ("b", Hard("b", fails)))]  # fmt: skip
    with WorkerPool([host, *apart]) as pool:
        with pytest.raises(WorkerFailedError, match=r"worker 'in b'.*ConnectionError: made up"):
            measure_links(pool, sizes=[4, 64], repeats=3)
        failed: dict[str, OrreryError] = {}
        found = measure_links(pool, sizes=[4, 64], repeats=3, cache=cache, failed=failed)
        assert {(link.source, link.target) for link in found} == {("host", "a"), ("a", "host")}
        assert list(failed) == ["b"]
        again: dict[str, OrreryError] = {}
        measure_links(pool, sizes=[4, 64], repeats=3, cache=cache, failed=again)
        assert list(again) == ["b"]


def test_who_never_takes_what_is_handed_over_is_named() -> None:
    """Not who handed it over."""
    release = threading.Event()

    def busy() -> None:
        release.wait(60)

    failed: dict[str, OrreryError] = {}
    with WorkerPool(workers()) as pool:
        pool.post("w1", busy)
        try:
            found = measure_links(pool, repeats=1, timeout_s=0.5, failed=failed)
        finally:
            release.set()
    assert list(failed) == ["w1"]
    assert {(link.source, link.target) for link in found} == {("all", "w0"), ("w0", "all")}
