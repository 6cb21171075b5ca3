"""From a file to a network: whole, in part, none, or a clear word on what the file is."""

from __future__ import annotations

import dataclasses
import subprocess
from pathlib import Path

import numpy as np
import pytest

from orrery.decompile import (
    STAGES,
    BinaryError,
    Recovered,
    RecoverLimits,
    check_stages,
    recover_binary,
)
from orrery.decompile._frame import Records, run_stages
from orrery.decompile._network import Network, pack, unpack
from orrery.decompile._opening import Request, open_binary
from orrery.errors import OrreryError

pytestmark = pytest.mark.needs("gcc", "pyvex", "capstone")

_LIMITS = RecoverLimits(time_s=900, memory_bytes=2 << 30, function_s=300)

_NETWORK = """
static const float w0[8 * 6] = {%s};
static const float b0[8] = {1, -1, 2, -2, 3, -3, 4, -4};
static const float w1[3 * 8] = {%s};
static float hidden[8];
void infer(const float *in, float *out) {
    for (int i = 0; i < 8; i++) {
        float sum = 0;
        for (int j = 0; j < 6; j++) sum += in[j] * w0[i * 6 + j];
        hidden[i] = sum + b0[i];
    }
    for (int i = 0; i < 8; i++) hidden[i] = hidden[i] > 0 ? hidden[i] : 0;
    for (int i = 0; i < 3; i++) {
        float sum = 0;
        for (int j = 0; j < 8; j++) sum += hidden[j] * w1[i * 8 + j];
        out[i] = sum;
    }
}
"""
_FILTER = """
static const float kernel[9] = {-1, 0, 1, -2, 0, 2, -1, 0, 1};
void sobel(const float *in, float *out) {
    for (int y = 0; y < 14; y++)
        for (int x = 0; x < 14; x++) {
            float sum = 0;
            for (int i = 0; i < 3; i++)
                for (int j = 0; j < 3; j++) sum += in[(y + i) * 16 + x + j] * kernel[i * 3 + j];
            out[y * 14 + x] = sum;
        }
}
"""


def _weights() -> tuple[np.ndarray, np.ndarray]:  # type: ignore[type-arg]
    draw = np.random.default_rng(9)
    return (draw.standard_normal((8, 6)).astype(np.float32),
            draw.standard_normal((3, 8)).astype(np.float32))  # fmt: skip


def _built(folder: Path, source: str, *flags: str) -> Path:
    (folder / "a.c").write_text(source)
    subprocess.run(
        ["gcc", "-O1", "-shared", "-fPIC", *flags, "a.c", "-o", "a.so"], cwd=folder, check=True
    )
    return folder / "a.so"


def _network_source() -> str:
    rows = (", ".join(f"{one:.9g}f" for one in part.ravel()) for part in _weights())
    return _NETWORK % tuple(rows)


@pytest.fixture(scope="module")
def recovered(tmp_path_factory: pytest.TempPathFactory) -> Recovered:
    folder = tmp_path_factory.mktemp("network")
    path = _built(folder, _network_source(), "-s")
    return recover_binary(path, leaks=True, limits=_LIMITS)


def test_the_stages_fit() -> None:
    check_stages(STAGES, [Request])


def test_a_network_comes_back_bit_for_bit(recovered: Recovered) -> None:
    assert recovered.verdict == "whole", (recovered.problem, recovered.network)
    assert [one.status for one in recovered.stages] == ["done"] * len(STAGES)
    assert recovered.recovery is not None
    graph = recovered.recovery.graph
    assert graph is not None
    first, second = _weights()
    held = [constant.array() for constant in graph.constants.values()]
    for wanted in (first, second):
        assert any(one.shape in (wanted.shape, wanted.T.shape)
                   and np.array_equal(np.sort(one, axis=None), np.sort(wanted, axis=None))
                   for one in held)  # fmt: skip
    x = np.random.default_rng(1).standard_normal(6).astype(np.float32)
    hidden = np.maximum(first @ x + np.float32([1, -1, 2, -2, 3, -3, 4, -4]), 0)
    shape = tuple(int(one) for one in graph.type(graph.inputs[0]).shape or ())
    got = graph.evaluate({graph.inputs[0]: x.reshape(shape)})[graph.outputs[0]]
    np.testing.assert_allclose(got.ravel(), second @ hidden, rtol=1e-5, atol=1e-6)


def test_it_was_stripped_and_names_are_no_evidence(recovered: Recovered) -> None:
    network = recovered.network
    assert network is not None
    words = " ".join(text for node in network.recovery.nodes for text in node.evidence)
    assert "infer" not in words
    assert {one.kind for one in network.leaks} >= {"weights"}


def test_what_is_kept_is_plain_data(recovered: Recovered) -> None:
    network = recovered.network
    assert network is not None
    data = pack(network)
    again = unpack(data)
    assert again.recovery.graph == network.recovery.graph
    assert dataclasses.replace(again, recovery=network.recovery) == network
    for damaged in (data[:4], data[:40], b"\xff" * 8 + data[8:], data[:8] + b"[]" + data[10:]):
        with pytest.raises(OrreryError):
            unpack(damaged)


def test_a_filter_is_no_network_unless_somebody_says_so(tmp_path: Path) -> None:
    path = _built(tmp_path, _FILTER)
    found = recover_binary(path, limits=_LIMITS)
    assert found.verdict == "none"
    assert found.network is not None
    assert "--entry" in found.network.reason
    assert found.recovery is not None
    assert found.recovery.graph is None
    assert found.network.loose
    named = recover_binary(path, entry="sobel", limits=_LIMITS)
    assert isinstance(named.network, Network)
    assert named.verdict in ("whole", "partial")


def test_a_program_without_floats_has_none(tmp_path: Path) -> None:
    path = _built(tmp_path, "int f(int *a) { int s = 0; for (int i = 0; i < 9; i++) s += a[i]; "
                  "return s; }")  # fmt: skip
    found = recover_binary(path, limits=_LIMITS)
    assert found.verdict == "none"
    assert found.network is not None
    assert found.network.reason == "no function computes with floats in a loop"


def test_a_network_in_a_library_is_named_with_it(tmp_path: Path) -> None:
    _built(tmp_path, "void infer(float *x) { x[0] *= 2; }").rename(tmp_path / "libnet.so")
    (tmp_path / "m.c").write_text("void infer(float *); int main(void) { float x[4]; infer(x); }")
    words = ["gcc", "m.c", "-L.", "-lnet", "-o", "m"]
    subprocess.run(words, cwd=tmp_path, check=True)
    found = recover_binary(tmp_path / "m", limits=_LIMITS)
    assert found.verdict == "none" and found.network is not None
    assert "it calls functions of other files (infer), in libnet.so" in found.network.reason


def test_time_that_is_over_keeps_what_was_found(tmp_path: Path) -> None:
    path = _built(tmp_path, _network_source())
    found = recover_binary(path, leaks=True, limits=dataclasses.replace(_LIMITS, time_s=0.01))
    assert found.verdict == "none"
    assert "out of time" in found.problem


@pytest.mark.parametrize(
    ("name", "data", "text"),
    [
        ("a.txt", b"once upon a time", "wanted an ELF file"),
        ("empty", b"", "an empty file"),
        ("a.exe", b"MZ" + bytes(64), "a Windows program"),
        ("a.elf", b"\x7fELF\x02\x01" + bytes(6), "wanted"),
        ("a.vmfb", bytes(8) + b"IREE" + bytes(3), "wanted"),
    ],
)
def test_what_is_no_binary_is_said(name: str, data: bytes, text: str, tmp_path: Path) -> None:
    (tmp_path / name).write_bytes(data)
    with pytest.raises(OrreryError) as caught:
        open_binary(Records([Request(path=tmp_path / name)]))
    assert text in str(caught.value)
    assert name in str(caught.value)


def test_what_cannot_be_read_is_an_error_of_the_caller(tmp_path: Path) -> None:
    with pytest.raises(BinaryError, match="no such file"):
        recover_binary(tmp_path / "absent", limits=_LIMITS)


def test_files_that_are_none_or_cut_short(tmp_path: Path) -> None:
    with pytest.raises(OrreryError, match="a folder"):
        open_binary(Records([Request(path=tmp_path)]))
    path = _built(tmp_path, _FILTER)
    whole = path.read_bytes()
    path.write_bytes(whole[: len(whole) // 3])
    with pytest.raises(OrreryError, match="a whole file"):
        open_binary(Records([Request(path=path)]))


@pytest.mark.parametrize(
    ("entry", "text"), [("absent", "no function named 'absent'"), (0x10, "no code at 0x10")]
)
def test_an_entry_that_is_not_there(entry: int | str, text: str, tmp_path: Path) -> None:
    request = Request(path=_built(tmp_path, _FILTER), entry=entry)
    with pytest.raises(OrreryError, match=text):
        run_stages(STAGES[:4], Records([request]))
