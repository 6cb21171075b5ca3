"""ONNX's own node tests against our reader, shape rules and NumPy references."""

from __future__ import annotations

import warnings
from collections import Counter

import pytest

from .known_node_failures import KNOWN_FAILURES, ROUNDING
from .node_cases import all_cases, included_cases, run

CHUNKS = 16
WANTED_SHARE = 0.85


@pytest.mark.parametrize("chunk", range(CHUNKS))
def test_node_cases_pass_except_the_known_ones(chunk: int) -> None:
    broken, mended = [], []
    for case in included_cases()[chunk::CHUNKS]:
        try:
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")
                run(case, rtol=ROUNDING.get(case.name, 0.0))
        # Whatever a case raises is its failure; the list below says which are expected.
        except Exception as error:
            if case.name not in KNOWN_FAILURES:
                text = " ".join(str(error).split())
                broken.append(f"{case.name}: {type(error).__name__}: {text[:200]}")
        else:
            if case.name in KNOWN_FAILURES:
                mended.append(case.name)
    assert not broken, "these fail:\n" + "\n".join(broken)
    assert not mended, f"these pass now; take them off the list: {mended}"


def test_share_of_passing_cases() -> None:
    included = {case.name for case in included_cases()}
    stale = (KNOWN_FAILURES.keys() | ROUNDING.keys()) - included
    assert not stale, f"known failures that no case has: {sorted(stale)}"
    passing = len(included) - len(KNOWN_FAILURES.keys() | ROUNDING.keys())
    excluded = Counter(case.excluded for case in all_cases() if case.excluded)
    print(f"\nnode tests: {passing} of {len(included)} pass; excluded: {dict(excluded)}")
    assert passing >= WANTED_SHARE * len(included)


def test_every_known_failure_has_a_reason() -> None:
    assert all(len(reason) > 10 for reason in KNOWN_FAILURES.values())
