"""What the documents show is run: the tour line by line, the README's commands one by one."""

from __future__ import annotations

import doctest
import re
import shlex
from pathlib import Path

import numpy as np
import pytest

from orrery.cli import main

ROOT = Path(__file__).parents[1]
README = (ROOT / "README.md").read_text()


def test_the_tour(tmp_path: Path) -> None:
    results = doctest.testfile(
        str(ROOT / "docs" / "tour.md"), module_relative=False, globs={"folder": tmp_path}
    )
    assert results.attempted > 40
    assert results.failed == 0


def _commands() -> list[str]:
    blocks = re.findall(r"```sh\n(.*?)```", README, re.DOTALL)
    lines = [line.partition("#")[0].strip() for block in blocks for line in block.splitlines()]
    return [line for line in lines if line.startswith("orrery ")]


def test_the_readme_shows_commands() -> None:
    assert len(_commands()) >= 7


@pytest.mark.needs("onnxruntime", "amaranth", "verilator", "iverilog", "pyvex", "gcc")
def test_the_readme_commands_work(
    hasty: None, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """In order, in one folder, with a network and a machine of one's own at hand."""
    from orrery.api import system_yaml
    from orrery.graph import build_model, write_onnx
    from orrery.runtime.binaries import SMALL_NETWORKS, CRecipe, build_c

    built = build_c(SMALL_NETWORKS["perceptron"](), tmp_path / "c", CRecipe(options=("-O1",)))
    built.path.rename(tmp_path / "libnetwork.so")
    monkeypatch.chdir(tmp_path)
    write_onnx(build_model("squeezenet1_1", image=64), tmp_path / "my_network.onnx")
    np.savez(
        tmp_path / "my_images.npz", images=np.zeros((3, 64, 64, 3), np.uint8), labels=[0, 1, 2]
    )
    (tmp_path / "my_machine.yaml").write_text(system_yaml("aws-f1"))
    for command in _commands():
        assert main(shlex.split(command)[1:]) == 0, command


def test_the_readme_python_works(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    for block in re.findall(r"```python\n(.*?)```", README, re.DOTALL):
        exec(compile(block, "README.md", "exec"), {})


def test_the_system_of_the_docs_maps(tmp_path: Path) -> None:
    text = (ROOT / "docs" / "files.md").read_text()
    (tmp_path / "mine.yaml").write_text(re.findall(r"```yaml\n(.*?)```", text, re.DOTALL)[0])
    assert main(["map", "squeezenet1_1", "--on", str(tmp_path / "mine.yaml")]) == 0
