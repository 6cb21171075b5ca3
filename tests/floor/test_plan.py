"""Plan files: there and back, strict, and refused for another model or system."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from orrery.errors import PlanMismatchError, SpecError
from orrery.plan import (
    Assignment,
    Infeasible,
    KernelSchedule,
    ModelReference,
    Plan,
    SystemReference,
    Transfer,
    check_plan,
    read_plan,
    write_plan,
)


@dataclass(frozen=True)
class Thing:
    name: str
    digest: str


def sample(**changes: object) -> Plan:
    fields: dict[str, object] = {
        "models": (ModelReference(name="net", digest="1" * 40),),
        "system": SystemReference(name="lab", digest="2" * 40),
        "assignments": (
            Assignment(
                region="conv", nodes=("conv",), device="a", design="systolic(rows=32, cols=32)",
                schedule=KernelSchedule(space="loops", parameters={"tile": (4, 8), "x": 1.0}),
            ),
            Assignment(region="relu", nodes=("relu",), device="b", after=("conv",)),
        ),
        "transfers": (
            Transfer(tensor="t", size_bytes=12, source="a", targets=("b", "host"),
                     producer="conv", consumers=("relu",), links=(("ab",), ("ab", "bh"))),
        ),
        "objective": "latency", "searcher": "test", "settings": {"n": 3, "share": 1.0, "on": True},
        "predicted_latency_s": 0.25, "resident_bytes": {"a": 5}, "notes": ("one.",),
    }  # fmt: skip
    return Plan(**(fields | changes))  # type: ignore[arg-type]


def test_a_plan_survives_the_round_trip(tmp_path: Path) -> None:
    write_plan(tmp_path / "plan.json", sample())
    assert read_plan(tmp_path / "plan.json") == sample()
    assert sorted(p.name for p in tmp_path.iterdir()) == ["plan.json"]


@settings(max_examples=30, deadline=None)
@given(st.text(), st.integers(0, 2**60), st.floats(0, 1e9))
def test_any_name_and_number_survives(
    tmp_path_factory: pytest.TempPathFactory, name: str, seed: int, seconds: float
) -> None:
    path = tmp_path_factory.mktemp("plans") / "plan.json"
    plan = sample(searcher=name, seed=seed, predicted_latency_s=seconds)
    try:
        name.encode()
    except UnicodeEncodeError:
        return  # lone surrogates are no text
    write_plan(path, plan)
    assert read_plan(path) == plan


def test_readers_are_strict(tmp_path: Path) -> None:
    path = tmp_path / "plan.json"
    write_plan(path, sample())
    document = json.loads(path.read_text())
    document["plan"]["assignments"][0]["devise"] = "a"
    path.write_text(json.dumps(document))
    with pytest.raises(SpecError, match="did you mean 'device'"):
        read_plan(path)
    document["orrery"]["schema"] = 99
    path.write_text(json.dumps(document))
    with pytest.raises(SpecError, match="schema 3 of plan"):
        read_plan(path)
    with pytest.raises(SpecError, match="no such file"):
        read_plan(tmp_path / "nothing.json")


def test_a_plan_is_for_its_model_and_system() -> None:
    net, lab = Thing("net", "1" * 40), Thing("lab", "2" * 40)
    check_plan(sample(), [net], lab)
    with pytest.raises(PlanMismatchError, match="model 'net': found content 333333333333, wanted"):
        check_plan(sample(), [Thing("net", "3" * 40)], lab)
    with pytest.raises(PlanMismatchError, match="system 'lab'"):
        check_plan(sample(), [net], Thing("lab", "3" * 40))
    with pytest.raises(SpecError, match="plan: model: found 'nett', wanted 'net', did you mean"):
        check_plan(sample(), [Thing("nett", "1" * 40)], lab)
    with pytest.raises(SpecError, match=r"found '?2 networks'?, wanted 1: net"):
        check_plan(sample(), [net, net], lab)


def test_infeasible_reads_as_a_sentence() -> None:
    short = Infeasible(
        what="weights", need=3 * 2**30, have=2**30, unit="bytes", remedies=("use more", "use less")
    )
    assert str(short) == "weights: need 3 GiB, have 1 GiB; remedies: use more; use less"


def test_device_of() -> None:
    assert sample().device_of() == {"conv": "a", "relu": "b"}
