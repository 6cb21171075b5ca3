"""Valid plans pass: random ones, whole and split, with and without a host; files read back."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from orrery.certificate import gap_of, plan_digest, read_certificate, write_certificate
from orrery.errors import SpecError
from orrery.graph import build_model
from orrery.mapping import greedy
from orrery.plan import Infeasible, read_plan, write_plan
from tests.mapping.random_graphs import MODELS, random_system, residual_graph

from .cases import case, split_case
from .plans import small_case, split_plan


@pytest.mark.parametrize("start", range(0, 120, 30))
def test_random_split_plans_pass(start: int) -> None:
    split = 0
    for seed in range(start, start + 30):
        graph, system, plan = small_case(seed)
        if plan.is_split:
            report = case(graph, system, plan).check()
            assert report.holds, f"{seed}: {report}"
            split += 1
    assert split > 20


@pytest.mark.parametrize("start", range(0, 90, 30))
def test_plans_of_the_greedy_search_pass(start: int) -> None:
    for seed in range(start, start + 30):
        graph, system = residual_graph(seed), random_system(seed)
        plan = greedy([graph], system, MODELS)
        assert not isinstance(plan, Infeasible)
        report = case(graph, system, plan).check()
        assert report.holds, f"{seed}: {report}"


def test_a_network_of_the_library_passes_split() -> None:
    graph = build_model("resnet18")
    system = random_system(3, least=4, most=4, designs=False, size_bytes=2**32, topology="star")
    report = case(graph, system, split_plan(graph, system, 1)).check()
    assert report.holds, str(report)


def test_files_are_read_back_and_strict(tmp_path: Path) -> None:
    valid = split_case()
    write_certificate(tmp_path / "certificate.json", valid.certificate)
    assert read_certificate(tmp_path / "certificate.json") == valid.certificate
    text = (tmp_path / "certificate.json").read_text()
    (tmp_path / "odd.json").write_text(text.replace('"residents"', '"resident"'))
    with pytest.raises(SpecError, match="residents"):
        read_certificate(tmp_path / "odd.json")


def test_a_plan_has_one_hash_before_and_after_it_is_a_file(tmp_path: Path) -> None:
    plan = replace(split_case().plan, lower_bound_s=1.0, settings={"tries": 3, "rate": 2.0})
    write_plan(tmp_path / "plan.json", plan)
    assert plan_digest(read_plan(tmp_path / "plan.json")) == plan_digest(plan)
    assert plan_digest(replace(plan, seed=1)) != plan_digest(plan)


def test_the_gap_is_measured_from_the_bound() -> None:
    assert gap_of(110, 100) == pytest.approx(0.1)
    assert gap_of(5, 5) == 0.0
    assert gap_of(5, 0) is None
