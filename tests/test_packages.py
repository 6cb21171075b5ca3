"""Each package of the constraints file that we use imports, alone, in a process of its own."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]

IMPORTS = [
    "altair", "amaranth", "angr", "bitstring", "cloudpickle", "cyclopts", "gmpy2",
    "google.protobuf", "hypothesis", "iree.compiler", "iree.runtime", "jinja2", "lightning",
    "ml_dtypes", "msgspec", "numba", "numpy", "onnx", "onnxruntime", "ortools.sat.python.cp_model",
    "psutil", "pycparser", "pyosys.libyosys", "ray", "rich", "safetensors", "scipy", "sklearn",
    "torch", "transformers", "tvm", "unicorn", "vcd", "vl_convert", "xgboost", "yaml",
]  # fmt: skip


@pytest.mark.packages
@pytest.mark.parametrize("name", IMPORTS)
def test_package_imports(name: str) -> None:
    done = subprocess.run(
        [sys.executable, "-c", f"import {name}"], capture_output=True, text=True, timeout=300
    )
    assert done.returncode == 0, done.stderr[-2000:]


def test_ortools_and_highspy_do_not_stand_together() -> None:
    names = {
        line.partition("==")[0].lower()
        for line in (ROOT / "constraints.txt").read_text().splitlines()
    }
    assert "ortools" in names
    assert "highspy" not in names


@pytest.mark.parametrize(
    "pin",
    ["torch==2.13.0", "apache-tvm-ffi==0.1.14.post1", "bitstring==4.4.0", "pycparser==3.0"],
)
def test_pins_that_matter_are_kept(pin: str) -> None:
    assert pin in (ROOT / "constraints.txt").read_text().splitlines()
