"""What only a loader or a linker decides: functions chosen late, memory of others, overlaps."""

from __future__ import annotations

import struct
import subprocess
from pathlib import Path

import pytest

from orrery.decompile.images import Image, ImageError, open_image
from orrery.decompile.topology._program import _image_buffers

pytestmark = pytest.mark.needs("gcc")


def built(folder: Path, *words: str, **sources: str) -> None:
    for name, text in sources.items():
        (folder / f"{name}.c").write_text(text)
    subprocess.run(["gcc", "-O1", *words], cwd=folder, check=True)


@pytest.mark.parametrize("static", ["", "static"])
@pytest.mark.parametrize("form", ["a.so", "a.o"])
def test_a_function_that_the_processor_chooses_is_not_its_chooser(
    static: str, form: str, tmp_path: Path
) -> None:
    source = f"""
    {static} __attribute__((noinline, target_clones("avx2", "default"))) void act(float *x) {{
        for (int i = 0; i < 8; i++) x[i] = x[i] > 0 ? x[i] : 0;
    }}
    void net(float *x) {{ act(x); act(x + 8); }}
    """
    words = ["-shared", "-fPIC"] if form == "a.so" else ["-fPIC", "-c"]
    built(tmp_path, *words, "a.c", "-o", form, a=source)
    image = open_image(tmp_path / form)
    symbol = image.symbol("net")
    assert symbol is not None
    assert any("chooses" in name for name in image.imports.values())
    code = image.read(symbol.address, symbol.size_bytes or 64)
    targets = [symbol.address + at + 5 + struct.unpack_from("<i", code, at + 1)[0]
               for at in range(len(code) - 5) if code[at] in (0xE8, 0xE9)]  # fmt: skip
    assert any("chooses" in image.imports.get(target, "") for target in targets)


def test_numbers_that_another_library_brings_are_absent(tmp_path: Path) -> None:
    """A copy relocation: memory of the program that the loader fills from the library."""
    built(tmp_path, "-shared", "-fPIC", "w.c", "-o", "libw.so", w="float W[8] = {1, 2, 3};")
    main = "extern float W[8]; float out[8]; int main(void)" \
        "{ for (int i = 0; i < 8; i++) out[i] = W[i]; return 0; }"  # fmt: skip
    built(tmp_path, "-no-pie", "-fno-pie", "m.c", "-L.", "-lw", "-o", "m", m=main)
    image = open_image(tmp_path / "m")
    symbol = image.symbol("W")
    assert symbol is not None
    assert image.elsewhere[0] == (symbol.address, symbol.address + 32)
    assert any("another library" in note for note in image.notes)
    first = next(iter(_image_buffers(image).values()))
    assert (first.role, first.data, first.size_bytes) == ("constant", None, 32)


@pytest.mark.parametrize("form", ["a.so", "a.o"])
def test_tensors_of_other_files_do_not_lie_over_one_another(form: str, tmp_path: Path) -> None:
    source = """
    extern float h[1000], g[1000];
    void net(const float *x) { for (int i = 0; i < 1000; i++) { h[i] = x[i]; g[i] = 2 * x[i]; } }
    """
    built(tmp_path, *(["-shared"] if form == "a.so" else ["-c"]), "-fPIC", "a.c", "-o", form,
          a=source)  # fmt: skip
    image = open_image(tmp_path / form)
    places = {name: at for at, name in image.imports.items()}
    assert abs(places["h"] - places["g"]) >= 4000
    held = dict(image.elsewhere)
    assert all(held[places[name]] >= places[name] + 4000 for name in "hg")
    assert {places["h"], places["g"]} <= set(image.references.values())


@pytest.mark.parametrize("order", ["ab", "ba"])
def test_a_definition_outweighs_memory_set_aside(order: str, tmp_path: Path) -> None:
    tentative, defined = "float W[4]; float *here(void) { return W; }", "float W[4] = {1, 2, 3, 4};"
    built(tmp_path, "-fcommon", "-c", "a.c", "b.c", a=tentative, b=defined)
    members = [f"{name}.o" for name in order]
    subprocess.run(["ar", "rcs", "n.a", *members], cwd=tmp_path, check=True)
    image = open_image(tmp_path / "n.a")
    symbol = image.symbol("W")
    assert symbol is not None
    assert image.read(symbol.address, 16) == struct.pack("<4f", 1, 2, 3, 4)
    assert symbol.address - 4 in image.references.values()  # beside the next instruction


def _segments(data: bytes) -> list[int]:
    """Return where the headers of loadable segments stand."""
    start, (size, count) = (
        struct.unpack_from("<Q", data, 32)[0],
        struct.unpack_from("<HH", data, 54),
    )
    places = [start + k * size for k in range(count)]
    return [at for at in places if struct.unpack_from("<I", data, at)[0] == 1]


def test_segments_over_one_another_are_refused(tmp_path: Path) -> None:
    built(tmp_path, "-shared", "-fPIC", "a.c", "-o", "a.so", a="const float W[900] = {1, 2};")
    data = bytearray((tmp_path / "a.so").read_bytes())
    one, other = _segments(data)[1:3]
    (address,) = struct.unpack_from("<Q", data, one + 16)
    struct.pack_into("<Q", data, other + 16, address + 1)
    with pytest.raises(ImageError, match="two segments that both lie at"):
        open_image(bytes(data))


def _covered(image: Image) -> dict[int, int]:
    found: dict[int, int] = {}
    for name, buffer in _image_buffers(image).items():
        found[int(name.split("@")[1], 16)] = buffer.size_bytes or 0
    return found


def test_headers_of_sections_are_hints(tmp_path: Path) -> None:
    """Whatever they say, every byte of a segment is in one buffer, and in one only."""
    built(tmp_path, "-shared", "-fPIC", "a.c", "-o", "a.so",
          a="const float W[900] = {1, 2}; float B[90] = {3};")  # fmt: skip
    data = bytearray((tmp_path / "a.so").read_bytes())
    (table,) = struct.unpack_from("<Q", data, 40)
    for number in range(1, 8):
        struct.pack_into("<Q", data, table + 64 * number + 16, 0x1000 + 8 * number)
        struct.pack_into("<Q", data, table + 64 * number + 32, 1 << 40)
    image = open_image(bytes(data))
    covered = _covered(image)
    for segment in image.segments:
        at = segment.address
        while at < segment.end:
            at += covered.pop(at)
        assert at == segment.end
    assert set(covered) == {begin for begin, _ in image.elsewhere}
