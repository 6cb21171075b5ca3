"""An IREE module (one convolution, built by 3.13.0) beside iree-dump-module's listing of it."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from orrery.decompile.containers import (
    ContainerError,
    Place,
    follow_vmfb,
    is_vmfb,
    kernel_table,
    read_vmfb,
)
from orrery.decompile.containers._vmfb_code import decode
from orrery.decompile.images import ImageError, open_image
from orrery.runtime.binaries import OPERATORS, blind_module

from .kernels import kernel_addresses

DATA = Path(__file__).with_name("data")
FILE = (DATA / "conv.vmfb").read_bytes()


def listing() -> list[list[tuple[int, str]]]:
    """Return offset and instruction of each line, by function."""
    functions: list[list[tuple[int, str]]] = []
    for line in (DATA / "conv.txt").read_text().splitlines():
        if line == "function":
            functions.append([])
        else:
            offset, _, name = line.partition(" ")
            functions[-1].append((int(offset, 16), name))
    return functions


def test_every_instruction_begins_where_irees_listing_has_it() -> None:
    module = read_vmfb(FILE)
    calls = 0
    for function, wanted in zip(module.functions, listing(), strict=True):
        at = 0
        for offset, name in wanted:
            step = decode(function.code, at)
            assert (step.at, step.name.startswith("call")) == (offset, name.startswith("vm.call"))
            if "@" in name and "@module" not in name:
                number = step.operands[0]
                assert isinstance(number, int)
                assert module.imports[number & 0x7FFF_FFFF][0] == name.partition("@")[2]
                calls += 1
            at = step.next
    assert calls > 30


def test_the_pass_of_the_network_is_followed() -> None:
    module = read_vmfb(FILE)
    assert module.version == (17, 0) and set(module.exports) == {"conv", "conv$async", "__init"}
    sequence = follow_vmfb(module)
    assert not sequence.notes
    (given,), (wanted,) = sequence.inputs, sequence.outputs
    assert sequence.buffers[given].shape == (1, 4, 9, 11)
    assert sequence.buffers[wanted].shape == (1, 6, 9, 11)
    assert sequence.buffers[wanted].size_bytes == 4 * 6 * 9 * 11
    fill, pad, conv = sequence.calls
    assert fill.kernel.name == "fill" and fill.constants[0] == 0
    first = pad.arguments[0]
    assert isinstance(first, Place) and first.buffer == given
    assert conv.arguments[-1] == Place(buffer=wanted, offset=0, size_bytes=2376)
    weight = OPERATORS["conv"]().constants["w"].array().astype(np.float32)
    data = sequence.buffers["constant0"].data
    assert data is not None and weight.tobytes() in data
    assert data in FILE


@pytest.mark.parametrize("blinded", ["", "renamed", "zeroed"])
def test_kernels_are_found_whatever_their_names(blinded: str, tmp_path: Path) -> None:
    data = FILE
    if blinded:
        copy = tmp_path / "blind.vmfb"
        words = blind_module(DATA / "conv.vmfb", copy, zeroed=blinded == "zeroed")
        assert len(words) == 2
        data = copy.read_bytes()
        assert b"_dispatch_" not in data and len(data) == len(FILE)
    module = read_vmfb(data)
    (executable,) = module.executables
    image = open_image(executable.data)
    sequence = follow_vmfb(module)
    found = kernel_addresses(image, sequence)
    assert [found[c.kernel] for c in sequence.calls[1:]] == list(kernel_table(image))
    assert all(image.is_code(address) for address in found.values())


def test_what_is_no_module_is_said() -> None:
    assert is_vmfb(FILE) and not is_vmfb(b"") and not is_vmfb(b"\x7fELF" + bytes(60))
    with pytest.raises(ContainerError, match="wanted an IREE module"):
        read_vmfb(bytes(100))
    with pytest.raises(ContainerError, match="truncated"):
        read_vmfb(FILE[:2000])
    with pytest.raises(ContainerError, match=r"function 'train'"):
        follow_vmfb(read_vmfb(FILE), "train")


@settings(max_examples=60)
@given(st.data())
def test_damage_ends_in_a_sequence_or_an_error(data: st.DataObject) -> None:
    mutated = bytearray(FILE)
    places = st.one_of(st.integers(30, 4400), st.integers(0, len(FILE) - 1))
    for place in data.draw(st.lists(places, min_size=1, max_size=6)):
        mutated[place] = data.draw(st.sampled_from([0, 1, 2, 0x40, 0x7F, 0x80, 0xFF]))
    try:
        module = read_vmfb(bytes(mutated))
        sequence = follow_vmfb(module)
        for executable in module.executables:
            kernel_addresses(open_image(executable.data), sequence)
    except (ContainerError, ImageError) as error:
        assert str(error)
