"""Images of compilers' output, beside pyelftools' reading of it; files that lie end in an error."""

from __future__ import annotations

import random
import struct
import subprocess
import tracemalloc
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from orrery.decompile.images import Image, ImageError, open_image

pytestmark = pytest.mark.needs("gcc")

SOURCE = """
#include <math.h>
static const float table[8] = {1, 2, 3, 4, 5, 6, 7, 8};
extern int elsewhere(int);
float scratch[64];
typedef float (*step)(float);
static float twice(float x) { return x * 2; }
static float half(float x) { return x / 2; }
const step steps[2] = {twice, half};
float run(int i, float x) {
    scratch[i] = expf(x) + table[i];
    return steps[i & 1](scratch[i]);
}
"""


@pytest.fixture(scope="module")
def built(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("images")
    (folder / "a.c").write_text(SOURCE)
    for words in (
        ["-O1", "-c", "a.c", "-o", "a.o"],
        ["-O1", "-fPIC", "-c", "a.c", "-o", "pic.o"],
        ["-shared", "pic.o", "-o", "a.so", "-lm"],
    ):
        subprocess.run(["gcc", *words], cwd=folder, check=True)
    subprocess.run(["ar", "rcs", "a.a", "a.o"], cwd=folder, check=True)
    subprocess.run(["strip", "-s", "a.so", "-o", "bare.so"], cwd=folder, check=True)
    return folder


@pytest.mark.parametrize("name", ["a.so", "bare.so", "a.o", "pic.o", "a.a"])
def test_references_lead_to_functions_constants_and_imports(built: Path, name: str) -> None:
    image = open_image(built / name)
    assert image.architecture == "x86-64"
    table = struct.pack("<8f", *range(1, 9))
    (held,) = [s for s in image.segments if table in s.data]
    where = held.address + held.data.index(table)
    assert image.is_constant(where, 32) and image.read(where, 32) == table
    assert "expf" in image.imports.values()
    # The two function pointers stand side by side in memory that is written once.
    pairs = [
        place
        for place, target in image.references.items()
        if image.is_code(target)
        and image.references.get(place + 8, 0) != target
        and image.is_code(image.references.get(place + 8, 0))
        and image.is_constant(place, 16)
    ]
    assert pairs
    assert image.pointer(pairs[0]) == image.references[pairs[0]]
    assert image.pointer(pairs[0]) in image.entries or name in ("a.o", "pic.o", "a.a")
    if name != "bare.so":
        symbol = image.symbol("run")
        assert symbol is not None and symbol.kind == "function" and symbol.exported
        assert image.is_code(symbol.address) and symbol.address in image.entries


def test_calls_of_an_object_reach_their_targets(built: Path) -> None:
    """Follow each call (0xe8) of `run`: one goes to the place that stands for expf."""
    image = open_image(built / "a.o")
    symbol = image.symbol("run")
    assert symbol is not None
    code = image.read(symbol.address, symbol.size_bytes)
    targets = set()
    for at in range(len(code) - 5):
        if code[at] == 0xE8:
            targets.add(symbol.address + at + 5 + struct.unpack_from("<i", code, at + 1)[0])
    assert any(image.imports.get(target) == "expf" for target in targets)


def test_stubs_of_the_linkage_table_are_named(built: Path) -> None:
    image = open_image(built / "bare.so")
    stubs = [a for a, name in image.imports.items() if name == "expf" and image.is_code(a)]
    assert stubs
    assert image.needed and image.needed[0].startswith("libm")


def test_symbols_equal_those_of_pyelftools(built: Path) -> None:
    from elftools.elf.elffile import ELFFile

    image = open_image(built / "a.so")
    with (built / "a.so").open("rb") as file:
        table = ELFFile(file).get_section_by_name(".symtab")
        wanted = {
            (symbol.name, symbol["st_value"], symbol["st_size"])
            for symbol in table.iter_symbols()
            if symbol["st_info"]["type"] in ("STT_FUNC", "STT_OBJECT")
            and symbol["st_shndx"] != "SHN_UNDEF"
        }
    found = {(s.name, s.address, s.size_bytes) for s in image.symbols}
    assert wanted and wanted <= found


def test_zero_filled_memory_reads_as_zeros(built: Path) -> None:
    image = open_image(built / "a.o")
    symbol = image.symbol("scratch")
    assert symbol is not None
    assert image.read(symbol.address, 256) == bytes(256)
    assert not image.is_constant(symbol.address)
    assert image.origin(symbol.address).startswith(".bss")


def test_memory_beyond_a_segment_is_refused(built: Path) -> None:
    image = open_image(built / "a.so")
    with pytest.raises(ImageError, match=r"a\.so: 0x7fff0000: found no 4 bytes there"):
        image.read(0x7FFF_0000, 4)


def test_firmware_needs_base_and_architecture() -> None:
    vectors = struct.pack("<III", 0x2000_1000, 0x0800_0011, 0x0800_0013) + bytes(8)
    image = open_image(vectors, base=0x0800_0000, architecture="thumb")
    assert (image.form, image.entries) == ("firmware", (0x0800_0010, 0x0800_0012))
    assert image.is_thumb(0x0800_0010) and image.pointer_bytes == 4
    with pytest.raises(ImageError, match="for a bare memory image give its base"):
        open_image(vectors)
    with pytest.raises(ImageError, match=r"architecture 'mips', wanted one of x86-64, aarch64"):
        open_image(vectors, base=0, architecture="mips")
    with pytest.raises(ImageError, match="wanted an address of 32 bits"):
        open_image(vectors, base=0xFFFF_FFF0, architecture="armv7")


def test_what_is_no_binary_is_said(built: Path, tmp_path: Path) -> None:
    whole = (built / "a.so").read_bytes()
    for data, complaint in (
        (b"", "an empty file"),
        (b"\x7fELF", "a damaged ELF header"),
        (b"MZ" + bytes(100), "a Windows program"),
        (b"#!/bin/sh\n", "a script"),
        (whole[:200], "truncated"),
        (whole[:5] + b"\x02" + whole[6:], "big-endian"),
        (whole[:18] + b"\xf3\x00" + whole[20:], "RISC-V"),
        (whole[:16] + b"\x04\x00" + whole[18:], "type 4"),
        (b"!<arch>\n" + b"x" * 60, "a damaged member"),
        (b"!<arch>\n", "an archive without object files"),
    ):
        with pytest.raises(ImageError, match=complaint):
            open_image(data)
    with pytest.raises(ImageError, match="No such file"):
        open_image(tmp_path / "none.so")


def test_packed_code_is_noted(built: Path) -> None:
    data = bytearray((built / "bare.so").read_bytes())
    image = open_image(bytes(data))
    assert not image.notes
    noise = random.Random(0).randbytes(1 << 16)
    # One segment of noise, executable and writable, no sections: what packers leave behind.
    header = bytearray(data[:64])
    struct.pack_into("<Q", header, 32, 64)
    struct.pack_into("<Q", header, 40, 0)
    struct.pack_into("<HHH", header, 56, 1, 64, 0)
    segment = struct.pack("<IIQQQQQQ", 1, 7, 0x1000, 0x1000, 0, len(noise), len(noise), 0x1000)
    packed = open_image(bytes(header) + segment + bytes(0x1000 - 120) + noise)
    assert "packed or encrypted" in packed.notes[0]


@settings(max_examples=150)
@given(st.data())
def test_mutated_files_end_in_an_image_or_an_error(built: Path, data: st.DataObject) -> None:
    name = data.draw(st.sampled_from(["a.so", "a.o", "a.a"]))
    mutated = bytearray((built / name).read_bytes())
    # Headers and tables are where lengths and offsets stand: mutate near both ends and anywhere.
    places = st.one_of(st.integers(0, 400), st.integers(0, len(mutated) - 1),
                       st.integers(max(0, len(mutated) - 2500), len(mutated) - 1))  # fmt: skip
    for place in data.draw(st.lists(places, min_size=1, max_size=8)):
        mutated[place % len(mutated)] = data.draw(st.sampled_from([0, 1, 0x7F, 0x80, 0xFF]))
    cut = data.draw(st.integers(0, len(mutated))) if data.draw(st.booleans()) else len(mutated)
    tracemalloc.start()
    try:
        image = open_image(bytes(mutated[:cut]))
        assert isinstance(image, Image)
        for entry in image.entries[:4]:
            image.is_thumb(entry)
            image.origin(entry)
    except ImageError as error:
        assert str(error)
    finally:
        _, peak = tracemalloc.get_traced_memory()
        tracemalloc.stop()
    assert peak < 256 << 20
