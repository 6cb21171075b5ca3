"""A network built by TVM, run by TVM, and its program read back against TVM's own listing."""

from __future__ import annotations

import re
from pathlib import Path

import numpy as np
import pytest

from orrery.decompile._code import ImageCode
from orrery.decompile._functions import find_functions
from orrery.decompile.containers import (
    Place,
    VmOperand,
    VmProgram,
    find_vm_programs,
    follow_vm_program,
)
from orrery.decompile.images import open_image
from orrery.decompile.linking import find_kernels, runtime_pointers
from orrery.graph import example_inputs
from orrery.runtime.binaries import SMALL_NETWORKS, TvmBinary, build_tvm, rename, run_tvm, strip
from tests.decompile.containers.kernels import named_kernels

pytestmark = pytest.mark.needs("tvm", "gcc")


@pytest.fixture(scope="module")
def built(tmp_path_factory: pytest.TempPathFactory) -> TvmBinary:
    return build_tvm(SMALL_NETWORKS["lenet"](), tmp_path_factory.mktemp("tvm"), name="lenet")


def listed(program: VmProgram, operand: VmOperand) -> str:
    """Write an operand as TVM's listing does."""
    words = {"register": "%{}", "immediate": "i{}", "constant": "c[{}]", "function": "f[{}]"}
    if operand.kind in words:
        return words[operand.kind].format(operand.value)
    return {"machine": "%vm", "nothing": "%void"}[operand.kind]


def test_calls_equal_tvms_listing_line_by_line(built: TvmBinary) -> None:
    (program,) = find_vm_programs(built.path.read_bytes())
    main = next(f for f in program.functions if f.name == "main")
    wanted = re.findall(r"^  call +(\S+) +in: (.*?) +dst: (\S+)$", built.code, re.MULTILINE)
    found = [
        (
            program.functions[call.function].name,
            ", ".join(listed(program, operand) for operand in call.operands),
            "%void" if call.result is None else f"%{call.result}",
        )
        for call in main.code
        if call.kind == "call"
    ]
    assert found == wanted and len(wanted) > 20


def test_kernels_weights_and_shapes_are_found(built: TvmBinary) -> None:
    data = built.path.read_bytes()
    (program,) = find_vm_programs(data)
    sequence = follow_vm_program(program, data)
    assert not sequence.notes
    assert sequence.buffers["input0"].shape == (1, 1, 16, 14)
    first = sequence.calls[0].arguments
    weight = next(a for a in first if isinstance(a, Place) and a.shape == (6, 1, 5, 5))
    graph = SMALL_NETWORKS["lenet"]()
    value = graph.constants["conv1.weight"].array()
    assert sequence.buffers[weight.buffer].data == value.tobytes()
    image = open_image(built.path)
    addresses = named_kernels(image, program)
    assert {call.kernel.number for call in sequence.calls} <= addresses.keys()
    assert all(image.is_code(address) for address in addresses.values())


def test_a_renamed_copy_runs_and_is_followed_alike(built: TvmBinary, tmp_path: Path) -> None:
    graph = SMALL_NETWORKS["lenet"]()
    keep = [constant.array().tobytes() for constant in graph.constants.values()]
    copy = tmp_path / "renamed.so"
    words = rename(built.path, copy, keep=keep)
    assert "__tvm_ffi_softmax" in words
    inputs = example_inputs(graph, seed=3)
    found = run_tvm(copy, inputs, graph.outputs)
    for name, value in graph.evaluate(inputs).items():
        np.testing.assert_allclose(found[name], value, rtol=2e-5, atol=2e-5)
    data, other = built.path.read_bytes(), copy.read_bytes()
    (program,), (renamed,) = find_vm_programs(data), find_vm_programs(other)
    assert "softmax" not in {f.name for f in renamed.functions}
    before, after = follow_vm_program(program, data), follow_vm_program(renamed, other)
    assert [c.arguments for c in before.calls] == [c.arguments for c in after.calls]
    image = open_image(copy)
    assert {c.kernel.number for c in after.calls} <= named_kernels(image, renamed).keys()


@pytest.mark.needs("pyvex", "capstone")
def test_calls_are_linked_to_the_same_code_without_any_name(
    built: TvmBinary, tmp_path: Path
) -> None:
    graph = SMALL_NETWORKS["lenet"]()
    keep = [constant.array().tobytes() for constant in graph.constants.values()]
    copy = tmp_path / "stripped.so"
    strip(built.path, copy, target="x86-64", keep=keep)
    found = []
    for path in (built.path, copy):
        data, image = path.read_bytes(), open_image(path)
        (program,) = find_vm_programs(data)
        functions, code = find_functions(image), ImageCode(image)
        sequence = follow_vm_program(program, data)
        places, _ = find_kernels(sequence, [functions], [code], dispatched=False)
        assert {(0, call.kernel.number) for call in sequence.calls} == places.keys()
        found.append((places, named_kernels(image, program), runtime_pointers(code, functions)))
    (places, named, _), (blind, nameless, filled) = found
    assert blind == places
    assert not nameless
    assert {key[1]: place.wrapper for key, place in places.items()}.items() <= named.items()
    assert set(filled.values()) == {"TVMBackendAllocWorkspace", "TVMBackendFreeWorkspace"}
