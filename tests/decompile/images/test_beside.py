"""Arrays of another file: the numbers that a linker or a loader would put there, or none."""

from __future__ import annotations

import struct
import subprocess
from pathlib import Path

import pytest

from orrery.decompile.images import ImageError, open_image, with_arrays

pytestmark = pytest.mark.needs("gcc")

_WEIGHTS = "const float W[8] = {1, 2, 3, 4, 5, 6, 7, 8}; float V[4] = {9, 9, 9, 9};"
_USER = """
extern const float W[8]; extern float V[4];
float net(const float *x) {
    float sum = 0;
    for (int i = 0; i < 4; i++) sum += x[i] * W[i + 4] * V[i];
    return sum;
}
"""
_BYTES = struct.pack("<8f", *range(1, 9))


def built(folder: Path, *words: str, **sources: str) -> None:
    for name, text in sources.items():
        (folder / f"{name}.c").write_text(text)
    subprocess.run(["gcc", "-O1", *words], cwd=folder, check=True)


@pytest.fixture(scope="module")
def files(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("beside")
    built(folder, "-fPIC", "-c", "w.c", "n.c", w=_WEIGHTS, n=_USER)
    built(folder, "-shared", "w.o", "-o", "libw.so")
    built(folder, "-shared", "n.o", "-o", "n.so")
    return folder


@pytest.mark.parametrize("user", ["n.o", "n.so"])
@pytest.mark.parametrize("companion", ["w.o", "libw.so"])
def test_constant_arrays_are_found_by_name(files: Path, user: str, companion: str) -> None:
    data = (files / companion).read_bytes()
    image = with_arrays(open_image(files / user), data, companion, " there")
    places = {name: at for at, name in image.imports.items()}
    # What may be written to is left out: its numbers may be others by the time they are read.
    assert list(image.given) == [places["W"]]
    given = image.given[places["W"]]
    assert given.data == _BYTES
    name, offset = given.origin.split(" there at ")
    assert name == "W" and data[int(offset, 16) :].startswith(_BYTES)


def test_a_loader_copies_some_into_the_program(tmp_path: Path) -> None:
    built(tmp_path, "-shared", "-fPIC", "w.c", "-o", "libw.so", w=_WEIGHTS)
    main = "extern const float W[8]; float out[8]; int main(void)" \
        "{ for (int i = 0; i < 8; i++) out[i] = W[i]; return 0; }"  # fmt: skip
    built(tmp_path, "-no-pie", "-fno-pie", "m.c", "-L.", "-lw", "-o", "m", m=main)
    image = open_image(tmp_path / "m")
    (begin, end) = image.elsewhere[0]
    assert image.read(begin, end - begin) == bytes(32)
    full = with_arrays(image, (tmp_path / "libw.so").read_bytes(), "libw.so")
    assert full.read(begin, 32) == full.given[begin].data == _BYTES
    assert [(one.address, one.size_bytes) for one in full.segments] == [
        (one.address, one.size_bytes) for one in image.segments
    ]


def test_what_is_no_elf_file_gives_nothing_and_what_is_damaged_says_so(files: Path) -> None:
    image = open_image(files / "n.so")
    assert with_arrays(image, b"weights" * 9, "w.bin") is image
    with pytest.raises(ImageError, match=r"w\.o: found"):
        with_arrays(image, (files / "w.o").read_bytes()[:70], "w.o")


def test_an_array_that_would_lie_over_the_next_one_is_refused(files: Path, tmp_path: Path) -> None:
    built(tmp_path, "-c", "w.c", "-o", "w.o", w="const float W[1 << 23] = {1};")
    with pytest.raises(ImageError, match="W of 33554432 bytes"):
        with_arrays(open_image(files / "n.so"), (tmp_path / "w.o").read_bytes(), "w.o")


def test_functions_of_applications_are_told_from_those_of_the_system(tmp_path: Path) -> None:
    built(tmp_path, "-shared", "-fPIC", "l.c", "-o", "libnet.so",
          l="void infer(float *x) { x[0] *= 2; }")  # fmt: skip
    main = '#include <stdio.h>\nvoid infer(float *x); int main(void)' \
        '{ float x[4] = {1}; infer(x); printf("%f\\n", x[0]); return 0; }'  # fmt: skip
    built(tmp_path, "m.c", "-L.", "-lnet", "-o", "m", m=main)
    image = open_image(tmp_path / "m")
    assert image.foreign == ("infer",)
    assert "libnet.so" in image.needed
    assert open_image(tmp_path / "libnet.so").foreign == ()
