"""Bounds that the checker finds itself; claims beyond them are called claims."""

from __future__ import annotations

import re
from dataclasses import replace

import pytest

from orrery.api.judging import describe
from orrery.certificate import WHOLE_LAYERS, Certificate, gap_of, plan_digest
from orrery.certify import Report, check_certificate
from orrery.certify._bounds import _CLAIMS, ANY_PLAN, EVERY_LAYER_WHOLE
from orrery.mapping import greedy
from orrery.mapping.sets import PROOF
from orrery.mapping.trade._front import _PROOF
from orrery.mapping.trade._plans import _FORM, _WORDS
from orrery.plan import Infeasible
from tests.mapping.brute import durations, fastest
from tests.mapping.random_graphs import MODELS, random_system, residual_graph

from .cases import Case, case, split_case


def judged(it: Case, certificate: Certificate | None = None) -> Report:
    """Check with seconds of whole regions under every design."""
    seconds = durations(it.graph, it.system, MODELS)
    return check_certificate(
        certificate or it.certificate, it.plan, [it.graph], it.system, it.seconds,
        lambda region, device, design: seconds.get((region, device, design or "")), [PROOF],
    )  # fmt: skip


@pytest.mark.parametrize("first", range(0, 24, 8))
def test_no_plan_of_whole_layers_is_below_the_own_bounds(first: int) -> None:
    for seed in range(first, first + 8):
        graph, system = residual_graph(seed, most=4), random_system(seed)
        plan = greedy([graph], system, MODELS)
        assert not isinstance(plan, Infeasible)
        it = case(graph, system, plan)
        report = judged(it)
        assert report.holds, str(report)
        assert report.claim_proved, seed  # the bound of the same places
        best = round(fastest(graph, system, MODELS) * 1e12)
        own = {bound.of: bound.value_ps for bound in report.proved}
        assert 0 < own.get(EVERY_LAYER_WHOLE, 1) <= best, seed
        assert own.get(ANY_PLAN, 0) <= best
        assert max(own.values()) <= it.certificate.makespan_ps


def forged(it: Case, bound_ps: int, words: str) -> tuple[Case, Certificate]:
    """Write a bound into plan and certificate alike, as whoever can edit the files does."""
    plan = replace(it.plan, lower_bound_s=(bound_ps + 0.5) * 1e-12, bound=words)
    certificate = replace(
        it.certificate, plan=plan_digest(plan), lower_bound_ps=bound_ps, bound=words,
        gap=gap_of(it.certificate.makespan_ps, bound_ps),
    )  # fmt: skip
    return replace(it, plan=plan), certificate


@pytest.mark.parametrize("words", [WHOLE_LAYERS, PROOF])
def test_a_bound_that_is_the_makespan_is_a_claim_and_the_own_gap_is_shown(words: str) -> None:
    it = split_case()
    if words == WHOLE_LAYERS:
        graph, system = residual_graph(3), random_system(3, least=2)
        plan = greedy([graph], system, MODELS)
        assert not isinstance(plan, Infeasible)
        it = case(graph, system, plan)
    it, certificate = forged(it, it.certificate.makespan_ps, words)
    report = judged(it, certificate)
    assert not report.claim_proved
    text = describe(certificate, report)
    assert f"gap 0 %: claimed by the searcher, not proved by this check ({words})" in text
    assert re.search(r"gap [1-9][0-9.]* %: proved by this check", text), text
    if words == WHOLE_LAYERS:
        low = next(b.value_ps for b in report.proved if b.of == EVERY_LAYER_WHOLE)
        it, certificate = forged(it, low, words)
        assert judged(it, certificate).claim_proved


def test_every_bound_that_searchers_write_is_known() -> None:
    kept = _FORM + ", that keeps 3 devices and 2 J, " + _WORDS["latency"]
    said = [WHOLE_LAYERS, _PROOF.format(3), f"{_FORM} {_WORDS['latency']}",
            kept, "no plan of whole layers is faster: critical path"]  # fmt: skip
    for words in said:
        assert any(re.fullmatch(text, words) for text in _CLAIMS), words
    assert not any(re.fullmatch(text, "any plan whatsoever") for text in _CLAIMS)
