"""Objects laid out and resolved beside what GNU's linker writes at the same addresses."""

from __future__ import annotations

import subprocess
from pathlib import Path

import pytest

from orrery.decompile.images import Image, open_image
from orrery.runtime.binaries import SMALL_NETWORKS, CRecipe, build_c, find_target

pytestmark = pytest.mark.needs("gcc")

CROSS = {
    "x86-64": (), "aarch64": ("aarch64-linux-gnu-gcc",), "armv7": ("arm-linux-gnueabihf-gcc",),
    "thumb": ("arm-linux-gnueabihf-gcc",), "cortex-m7": ("arm-linux-gnueabihf-gcc",),
}  # fmt: skip


def linked(image: Image, path: Path, target: str) -> dict[str, bytes]:
    """Return each section as GNU's linker writes it, put where the image has it."""
    rows = sorted(image.sections, key=lambda s: s.address)
    places = [f"  {s.name} {s.address:#x} : {{ *({s.name}) }}" for s in rows]
    names = [f"{name} = {address:#x};" for address, name in image.imports.items()]
    script = path.with_suffix(".ld")
    rest = "  /DISCARD/ : { *(.ARM.exidx*) *(.note*) *(.comment) }"
    script.write_text("\n".join([*names, "SECTIONS {", *places, rest, "}"]))
    out = path.with_suffix(".linked")
    tool = find_target(target)
    subprocess.run([tool.tool("ld"), "-static", "--no-relax", "-T", str(script), str(path),
                    "-o", str(out)], check=True, capture_output=True)  # fmt: skip
    found = {}
    for section in rows:
        part = path.with_suffix(".part")
        subprocess.run([tool.tool("objcopy"), "-O", "binary", "--only-section", section.name,
                        str(out), str(part)], check=True)  # fmt: skip
        found[section.name] = part.read_bytes()
    return found


@pytest.mark.parametrize(
    "target", [pytest.param(t, marks=pytest.mark.needs(*tools)) for t, tools in CROSS.items()]
)
def test_every_byte_equals_the_linkers(target: str, tmp_path: Path) -> None:
    recipe = CRecipe(target=target, form="object", options=("-O2", "-fno-pic"))
    path = build_c(SMALL_NETWORKS["lenet"](), tmp_path, recipe, name="lenet").path
    image = open_image(path)
    assert not image.notes
    assert image.references
    compared = 0
    for name, wanted in linked(image, path, target).items():
        if name.startswith((".eh_frame", ".ARM", ".note")) or not wanted:
            continue
        section = next(s for s in image.sections if s.name == name)
        found = image.read(section.address, section.size_bytes)
        differ = [i for i, (a, b) in enumerate(zip(found, wanted, strict=False)) if a != b]
        assert not differ, f"{name}: {len(differ)} bytes, first at {differ[0]:#x}"
        compared += len(wanted)
    assert compared > 10_000


@pytest.mark.parametrize(
    "target", [pytest.param(t, marks=pytest.mark.needs(*tools)) for t, tools in CROSS.items()]
)
def test_architecture_and_entries_are_told(target: str, tmp_path: Path) -> None:
    recipe = CRecipe(target=target, form="object")
    image = open_image(build_c(SMALL_NETWORKS["lenet"](), tmp_path, recipe).path)
    symbol = image.symbol("infer")
    assert symbol is not None and symbol.address in image.entries
    told = {"cortex-m7": "thumb"}.get(target, target)
    assert image.architecture == told
    assert image.is_thumb(symbol.address) == (told == "thumb")


@pytest.mark.needs("arm-linux-gnueabihf-gcc")
@pytest.mark.parametrize("target", ["aarch64", "armv7", "thumb"])
def test_stubs_and_modes_of_shared_objects(target: str, tmp_path: Path) -> None:
    image = open_image(build_c(SMALL_NETWORKS["lenet"](), tmp_path, CRecipe(target=target)).path)
    assert "expf" in {n for a, n in image.imports.items() if image.is_code(a)}
    symbol = image.symbol("infer")
    assert symbol is not None and image.is_thumb(symbol.address) == (target == "thumb")
