"""Programs of TVM's virtual machine: written by hand field by field, and damaged at random."""

from __future__ import annotations

import struct

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from orrery.decompile.containers import (
    ContainerError,
    Place,
    find_vm_programs,
    follow_vm_program,
    read_vm_program,
)

WEIGHT = np.arange(12, dtype=np.float32).reshape(3, 4)


def text(value: str) -> bytes:
    return struct.pack("<Q", len(value)) + value.encode()


def function(kind: int, name: str, first: int, last: int, parameters: list[str]) -> bytes:
    head = struct.pack("<i", kind) + text(name) + struct.pack("<qqqq", first, last,
                                                              len(parameters), 8)  # fmt: skip
    return head + struct.pack("<Q", len(parameters)) + b"".join(map(text, parameters))


def shape(*extents: int) -> bytes:
    return struct.pack(f"<iQ{len(extents)}q", 69, len(extents), *extents)


def tensor(value: np.ndarray) -> bytes:
    head = struct.pack("<iQQiii", 70, 0xDD5E40F096B4A13F, 0, 1, 0, value.ndim)
    head += struct.pack("<BBH", 2, 32, 1)
    return head + struct.pack(f"<{value.ndim}qq", *value.shape, value.nbytes) + value.tobytes()


def argument(kind: int, value: int) -> int:
    return struct.unpack("<q", struct.pack("<Q", kind << 56 | value & (1 << 56) - 1))[0]


def register(number: int) -> int:
    return argument(0, number)


def immediate(number: int) -> int:
    return argument(1, number)


def constant(number: int) -> int:
    return argument(2, number)


MACHINE, VOID = (1 << 54) + 1, 1 << 54


def program(names: bool = True) -> bytes:
    """``y = second(first(x, w))`` with the result of `first` in the same storage as `y`."""
    labels = ["check", "storage", "lay", "first", "second", "main"]
    if not names:
        labels = [""] * 6
    rows = [function(0, label, 0, 0, []) for label in labels[:5]]
    rows.append(function(1, labels[5], 0, 9, ["x"]))
    constants = [
        tensor(WEIGHT),
        shape(64),
        struct.pack("<iBBH", 5, 1, 8, 1),
        struct.pack("<i", 65) + text("global"),
        shape(2, 3),
        struct.pack("<iBBH", 5, 2, 32, 1),
        struct.pack("<i", 65) + text("wrong shape"),
    ]
    code = [
        [1, VOID, 0, 7, register(0), immediate(2), immediate(0), immediate(2), immediate(0),
         immediate(4), constant(6)],
        [1, 1, 1, 5, MACHINE, constant(1), immediate(0), constant(2), constant(3)],
        [1, 2, 2, 4, register(1), immediate(0), constant(4), constant(5)],
        [1, VOID, 3, 3, register(0), constant(0), register(2)],
        [1, 3, 2, 4, register(1), immediate(32), constant(4), constant(5)],
        [1, VOID, 4, 2, register(2), register(3)],
        [1, 4, 0, 1, register(3)],
        [3, 1],
        [2, 4],
    ]  # fmt: skip
    words = [word for row in code for word in row]
    offsets = np.cumsum([0, *map(len, code[:-1])]).tolist()
    out = struct.pack("<Q", 0xD225DE2F4214151E) + text("0.14")
    out += struct.pack("<Q", len(rows)) + b"".join(rows) + struct.pack("<Q", 0)
    out += struct.pack("<Q", len(constants)) + b"".join(constants)
    out += struct.pack(f"<Q{len(offsets)}q", len(offsets), *offsets)
    return out + struct.pack(f"<Q{len(words)}q", len(words), *words)


def test_fields_are_read_where_they_stand() -> None:
    data = b"before" + program() + b"after"
    (found,) = find_vm_programs(data)
    assert found.offset == 6 and found.size_bytes == len(data) - 11
    assert [f.name for f in found.functions][-1] == "main"
    weight = found.constants[0]
    assert (weight.kind, weight.dtype, weight.shape) == ("tensor", "float32", (3, 4))
    assert data[weight.offset : weight.offset + weight.size_bytes] == WEIGHT.tobytes()
    assert found.constants[2].value == "uint8"
    assert found.functions[5].code[3].operands[1].kind == "constant"
    assert found.functions[5].code[1].operands[0].kind == "machine"


@pytest.mark.parametrize("names", [True, False])
def test_calls_are_followed_with_or_without_names(names: bool) -> None:
    data = program(names)
    sequence = follow_vm_program(read_vm_program(data), data)
    assert not sequence.notes
    assert sequence.inputs == ("input0",) and sequence.buffers["input0"].shape == (2, 4)
    first, second = sequence.calls
    assert [c.kernel.number for c in sequence.calls] == [3, 4]
    assert [a.buffer for a in first.arguments if isinstance(a, Place)] == [
        "input0", "constant0", sequence.outputs[0],
    ]  # fmt: skip
    left, right = second.arguments
    assert isinstance(left, Place) and isinstance(right, Place)
    assert (left.buffer, left.offset, left.size_bytes) == (right.buffer, 0, 24)
    assert (right.offset, right.shape) == (32, (2, 3))
    assert sequence.buffers["constant0"].data == WEIGHT.tobytes()
    assert sequence.buffers[right.buffer].role == "output"


def test_a_constant_says_where_its_bytes_stand() -> None:
    data = bytes(24) + program()
    found = follow_vm_program(read_vm_program(data, 24), data, base=0x9000, where=" elsewhere")
    said, _, address = found.buffers["constant0"].origin.rpartition(" at ")
    assert said == "constant 0 elsewhere"
    begin = int(address, 16) - 0x9000
    assert data[begin : begin + WEIGHT.nbytes] == WEIGHT.tobytes()


def test_a_loop_is_refused() -> None:
    data = program()
    back = struct.pack("<qq", 3, 1)
    data = data.replace(back + struct.pack("<qq", 2, 4), struct.pack("<qqqq", 3, -2, 2, 4))
    with pytest.raises(ContainerError, match=r"found a loop, wanted straight-line code"):
        follow_vm_program(read_vm_program(data), data)


@pytest.mark.parametrize("cut", [4, 20, 60, 300, 600])
def test_what_is_cut_off_is_said(cut: int) -> None:
    with pytest.raises(ContainerError, match="give the whole file"):
        read_vm_program(program()[:cut])
    assert list(find_vm_programs(program()[:cut])) == []


@settings(max_examples=200)
@given(st.data())
def test_damage_ends_in_a_program_or_an_error(data: st.DataObject) -> None:
    mutated = bytearray(program())
    for place in data.draw(st.lists(st.integers(8, len(mutated) - 1), min_size=1, max_size=6)):
        mutated[place] = data.draw(st.sampled_from([0, 1, 2, 0x40, 0x7F, 0x80, 0xFF]))
    try:
        found = read_vm_program(bytes(mutated))
        follow_vm_program(found, bytes(mutated))
    except ContainerError as error:
        assert str(error)
