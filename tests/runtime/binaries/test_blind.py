"""Blinded copies: nothing left to read, and the renamed ones still run."""

from __future__ import annotations

import dataclasses
import re
import subprocess
from pathlib import Path

import numpy as np
import pytest

from orrery.graph import example_inputs
from orrery.runtime.binaries import (
    SMALL_NETWORKS,
    CBinary,
    CRecipe,
    build_c,
    own_names,
    rename,
    run_c,
    strip,
)

pytestmark = pytest.mark.needs("gcc", "strip")


def built(folder: Path, form: str) -> CBinary:
    return build_c(SMALL_NETWORKS["lenet"](), folder, CRecipe(form=form), name="lenet")


def weights() -> list[bytes]:
    graph = SMALL_NETWORKS["lenet"]()
    return [constant.array().tobytes() for constant in graph.constants.values()]


@pytest.mark.parametrize("form", ["shared", "object", "executable"])
def test_renamed_copies_run_and_bear_none_of_the_names(form: str, tmp_path: Path) -> None:
    graph = SMALL_NETWORKS["lenet"]()
    binary = built(tmp_path, form)
    names = own_names(binary.path)
    assert {"infer", "op0_conv", "op9_softmax"} <= set(names) and "expf" not in names
    copy = tmp_path / f"renamed{binary.path.suffix}"
    words = rename(binary.path, copy, keep=weights(), seed=1)
    assert all(len(old) == len(new) and old != new for old, new in words.items())
    assert len(set(words.values())) == len(words)
    renamed = dataclasses.replace(binary, path=copy, entry=words["infer"])
    inputs = example_inputs(graph, seed=3)
    found, wanted = run_c(renamed, inputs), run_c(binary, inputs)
    assert all(np.array_equal(found[name], wanted[name]) for name in wanted)
    data = copy.read_bytes()
    assert not re.search(rb"op\d_\w+|infer", data)
    assert rename(binary.path, copy, keep=weights(), seed=2) != words


@pytest.mark.parametrize("form", ["shared", "object", "executable"])
def test_stripped_copies_keep_weights_and_code_alone(form: str, tmp_path: Path) -> None:
    binary = built(tmp_path, form)
    copy = tmp_path / f"stripped{binary.path.suffix}"
    strip(binary.path, copy, target="x86-64", keep=weights())
    data = copy.read_bytes()
    assert all(weight in data for weight in weights())
    assert not re.search(rb"op\d_\w+|infer|network\.c|GCC:", data)
    assert b"expf" in data  # whoever links it dynamically must find what it imports


def test_a_number_before_a_text_is_no_text(tmp_path: Path) -> None:
    """48.0 ends with bytes that are letters."""
    source, path, copy = tmp_path / "a.s", tmp_path / "a.o", tmp_path / "b.o"
    source.write_text('.section .rodata\n.float 48, 48\n.asciz "TypeError"\n.asciz "another one"\n')
    subprocess.run(["gcc", "-c", str(source), "-o", str(path)], check=True)
    strip(path, copy, target="x86-64")
    data = copy.read_bytes()
    assert np.float32([48, 48]).tobytes() in data
    assert b"Error" not in data and b"another" not in data


def test_bytes_to_keep_are_kept_though_they_look_like_text(tmp_path: Path) -> None:
    """The same two texts, one of them declared to be weights."""
    (tmp_path / "a.c").write_text(
        'const char w[] = "weights or a text"; const char t[] = "a text of ours";'
    )
    path, copy = tmp_path / "a.o", tmp_path / "b.o"
    command = ["gcc", "-c", str(tmp_path / "a.c"), "-o", str(path)]
    subprocess.run(command, check=True)
    strip(path, copy, target="x86-64", keep=[b"weights or a text"])
    data = copy.read_bytes()
    assert b"weights or a text" in data and b"a text of ours" not in data
