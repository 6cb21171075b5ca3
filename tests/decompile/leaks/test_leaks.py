"""The same network with names, without them, without strings: what each gives away."""

from __future__ import annotations

import re
import subprocess
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from orrery.decompile.images import open_image
from orrery.decompile.leaks import HARDENING, KINDS, Floats, Leak, find_floats, find_leaks

_SOURCE = """
static const float conv1_weight[64] = {%s};
const char *where(void) { return "/home/somebody/networks/secret.c"; }
const char *what(void) { return "fused_conv2d_add_relu(x: Tensor[(1, 3, 8, 8)], float32)"; }
void conv2d_relu(const float *in, float *out) {
    for (int i = 0; i < 64; i++) out[i] = conv1_weight[i] * in[i];
}
"""


def _built(folder: Path, *flags: str) -> Path:
    values = np.random.default_rng(5).standard_normal(64)
    source = _SOURCE % ", ".join(f"{one:.8g}f" for one in values)
    (folder / "net.c").write_text(source)
    subprocess.run(
        ["gcc", "-O1", "-shared", "-fPIC", *flags, "net.c", "-o", "net.so"], cwd=folder, check=True
    )
    return folder / "net.so"


def _leaks(path: Path) -> dict[str, list[Leak]]:
    found: dict[str, list[Leak]] = {}
    for one in find_leaks(open_image(path), path.read_bytes()):
        found.setdefault(one.kind, []).append(one)
    return found


@pytest.mark.needs("gcc")
def test_what_a_plain_build_tells(tmp_path: Path) -> None:
    path = _built(tmp_path, "-g")
    found = _leaks(path)
    image = open_image(path)
    names = {one.found: one for one in found["symbol"]}
    table = subprocess.run(["nm", path], capture_output=True, text=True, check=True).stdout
    for name in ("conv2d_relu", "conv1_weight"):
        address = int(re.search(rf"(\w+) \w {name}$", table, re.MULTILINE)[1], 16)  # type: ignore[index]
        assert names[name].address == address
    assert "kind conv" in names["conv2d_relu"].follows
    assert [one.found[:12] for one in found["signature"]] == ["fused_conv2d"]
    assert [one.found for one in found["path"]] == ["/home/somebody/networks/secret.c"]
    assert {"debugging information", "compiler", "weights"} <= set(found)
    # Each address holds what is said of it.
    signature = found["signature"][0]
    assert signature.address is not None
    assert image.read(signature.address, 12) == b"fused_conv2d"
    assert any(re.match("6[4-9] floats", one.found) for one in found["weights"])


@pytest.mark.needs("gcc")
def test_stripping_takes_names_but_neither_strings_nor_weights(tmp_path: Path) -> None:
    path = _built(tmp_path, "-g", "-fvisibility=hidden")
    subprocess.run(["strip", "--strip-all", "-R", ".comment", path], check=True)
    found = _leaks(path)
    assert "debugging information" not in found
    assert not any("conv" in one.found for one in found.get("symbol", ()))
    assert {"signature", "weights"} <= set(found)


@pytest.mark.needs("gcc")
def test_sizes_of_workspaces(tmp_path: Path) -> None:
    source = (
        "float hidden[1000]; void f(float *x) { for (int i = 0; i < 9; i++) hidden[i] = x[i]; }"
    )
    (tmp_path / "net.c").write_text(source)
    subprocess.run(["gcc", "-O1", "-shared", "-fPIC", "net.c", "-o", "net.so"], cwd=tmp_path,
                   check=True)  # fmt: skip
    subprocess.run(["strip", "--strip-all", tmp_path / "net.so"], check=True)
    (one,) = _leaks(tmp_path / "net.so")["workspace"]
    assert re.fullmatch(r"4\d\d\d bytes", one.found)
    assert int(one.found.split()[0]) >= 4000
    image = open_image(tmp_path / "net.so")
    said = find_leaks(image, workspaces=[("storage0", 5376)])
    assert "storage0: 5376 bytes" in [leak.found for leak in said if leak.kind == "workspace"]


@given(st.integers(0, 3), st.integers(0, 40), st.integers(0, 2**32 - 1))
def test_weights_are_found_at_any_alignment(shift: int, before: int, seed: int) -> None:
    generator = np.random.default_rng(seed)
    weights = generator.standard_normal(512).astype("<f4") * np.float32(0.1)
    data = bytes(4 * before + shift) + weights.tobytes() + bytes(64)
    found = find_floats(data)
    inside = [run for run in found if run.count >= 480]
    assert len(inside) == 1
    assert (inside[0].offset - shift) % 4 == 0
    covered = range(inside[0].offset, inside[0].offset + 4 * inside[0].count)
    assert covered.start <= 4 * before + shift + 64
    assert covered.stop >= 4 * before + shift + 4 * 512 - 64


def test_what_is_no_weights() -> None:
    generator = np.random.default_rng(1)
    text = (b"the quick brown fox jumps over the lazy dog; " * 200)[:4096]
    noise = generator.integers(0, 256, 4096, dtype=np.uint8).tobytes()
    small = generator.integers(0, 5000, 1024).astype("<u4").tobytes()
    addresses = (0x400000 + 16 * np.arange(512)).astype("<u8").tobytes()
    for data in (text, noise, small, addresses, bytes(4096)):
        assert find_floats(data) == ()


def test_runs_do_not_overlap() -> None:
    weights = np.random.default_rng(2).standard_normal(4096).astype("<f4").tobytes()
    runs = find_floats(weights)
    assert runs == (Floats(offset=0, count=4096),)


def test_each_kind_is_explained() -> None:
    assert set(KINDS) == set(HARDENING)
