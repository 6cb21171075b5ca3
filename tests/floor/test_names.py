"""Registries, settings, errors, progress, provenance: small modules, one file."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import pytest

from orrery.errors import (
    CancelledError,
    MissingExtraError,
    OrreryError,
    PlanMismatchError,
    SpecError,
    UnknownNameError,
    UnsupportedOperatorsError,
    nearest,
)
from orrery.plan import Infeasible
from orrery.progress import Progress, Step
from orrery.provenance import Basis, Source, weakest
from orrery.registry import Registry
from orrery.settings import describe, read_settings, setting, to_record


@dataclass(frozen=True, slots=True, kw_only=True)
class Search:
    population: int = setting(32, "candidates alive at once")
    seed: int = setting(0, "same seed, same plan")


def test_registry_loads_on_use_and_names_the_nearest() -> None:
    registry = Registry("codec", {"json": "json:dumps", "bad": "no_such_module:x"})
    assert registry["json"]([1]) == "[1]"
    assert registry.names() == ("json", "bad")
    assert "json" in registry
    with pytest.raises(UnknownNameError) as caught:
        registry["jsn"]
    assert str(caught.value) == "no codec named 'jsn', did you mean 'json'?; known: bad, json"


def test_registry_refuses_two_owners_and_names_both() -> None:
    with pytest.raises(ValueError, match="a:x and b:y"):
        Registry("thing", {"n": "a:x"}, {"n": "b:y"})


def test_settings_there_and_back(tmp_path: Path) -> None:
    path = tmp_path / "s.yaml"
    path.write_text("population: 8\n")
    assert read_settings(path, Search) == Search(population=8)
    assert to_record(Search(population=8)) == {"population": 8, "seed": 0}
    assert describe(Search)["seed"] == (0, "same seed, same plan")


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("populaton: 8", "did you mean 'population'"),
        ("population: many", "population"),
        ("a: [", "a YAML file"),
        ("- 1", "top level"),
    ],
)
def test_bad_settings_are_refused(tmp_path: Path, text: str, message: str) -> None:
    path = tmp_path / "s.yaml"
    path.write_text(text)
    with pytest.raises(SpecError, match=message.replace("'", ".")):
        read_settings(path, Search)


@pytest.mark.parametrize(
    ("content", "message"),
    [(b"\xff\xfe", "can't decode"), (b"[" * 5000, "a YAML file"), (b"a: 2020-13-45", "month")],
)
def test_settings_that_are_no_yaml_are_refused(
    tmp_path: Path, content: bytes, message: str
) -> None:
    path = tmp_path / "s.yaml"
    path.write_bytes(content)
    with pytest.raises(SpecError, match=message):
        read_settings(path, Search)
    with pytest.raises(SpecError, match="a folder, not a regular file"):
        read_settings(tmp_path, Search)


def test_empty_settings_are_the_defaults(tmp_path: Path) -> None:
    (tmp_path / "s.yaml").write_text("")
    assert read_settings(tmp_path / "s.yaml", Search) == Search()


def test_messages_say_what_to_do() -> None:
    texts = {
        str(MissingExtraError("onnxruntime", "run", purpose="orrery run")): (
            "orrery run: found no package 'onnxruntime', wanted it installed; "
            "run: pip install 'orrery[run]'"
        ),
        str(UnsupportedOperatorsError("net.onnx", {"Foo": ["a", "b"]}, fix="leave it out")): (
            "net.onnx: found 1 unknown operators: Foo (2×: a, b); leave it out"
        ),
        str(PlanMismatchError("model", name="net", planned="a" * 40, found="b" * 40)): (
            "plan: model 'net': found content bbbbbbbbbbbb, wanted aaaaaaaaaaaa as when the plan "
            "was made; make the plan again or give the original model"
        ),
    }
    for found, wanted in texts.items():
        assert found == wanted
    assert issubclass(SpecError, OrreryError)


def test_long_findings_are_cut() -> None:
    error = SpecError("x", found="y" * 1000, wanted="less", fix="cut")
    assert len(str(error)) < 700


def test_infeasible_reads_as_a_sentence() -> None:
    text = str(
        Infeasible(what="weights on gpu0", need=3 * 2**30, have=2**30, unit="bytes",
                   remedies=("halve the batch",))
    )  # fmt: skip
    assert text == "weights on gpu0: need 3 GiB, have 1 GiB; remedies: halve the batch"


def test_progress_reports_and_stops() -> None:
    seen: list[Step] = []
    Progress(report=seen.append).step("search", 3, 10, best=2.0, bound=1.0)
    assert seen == [Step(task="search", done=3, total=10, best=2.0, bound=1.0)]
    with pytest.raises(CancelledError, match="search: stopped at 4 of 10"):
        Progress(cancelled=lambda: True).step("search", 4, 10)


def test_weakest_basis_decides() -> None:
    assert weakest([Basis.MEASURED, Basis.ASSUMED, Basis.PUBLISHED]) is Basis.ASSUMED
    assert str(Source(basis=Basis.PUBLISHED, where="table 4", note="scaled")) == (
        "published: table 4 (scaled)"
    )


def test_nearest_ignores_case_and_refuses_strangers() -> None:
    assert nearest("RESNET50", ["resnet50", "vgg16"]) == "resnet50"
    assert nearest("zebra", ["resnet50", "vgg16"]) is None
