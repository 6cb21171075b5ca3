"""What a program of TVM's virtual machine does: its calls followed, every tensor with its place.

Models:  one function of straight-line code: storage asked for, tensors laid into it, kernels
         called on them. What an instruction does is told from what it is given, not from names,
         which may be missing or wrong.
Ignores: branches on values, shapes that only running can tell; both are said.
Judge:   TVM's own listing; recovered networks run beside the original.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from orrery.graph import numpy_dtype

from ..forms import Buffer
from ._sequence import Kernel, KernelCall, Place, Sequence
from ._stream import ContainerError
from ._vm_program import VmCall, VmConstant, VmFunction, VmOperand, VmProgram

_MOST_CALLS, _MOST_DEPTH = 100_000, 32


@dataclass(frozen=True, slots=True)
class _Tensor:
    """A tensor in a register."""

    buffer: str
    offset: int
    shape: tuple[int, ...] | None
    dtype: str

    @property
    def place(self) -> Place:
        size = None
        if self.shape is not None and self.dtype:
            size = math.prod(self.shape) * _width(self.dtype)
        return Place(buffer=self.buffer, offset=self.offset, size_bytes=size, shape=self.shape,
                     dtype=self.dtype)  # fmt: skip


@dataclass(frozen=True, slots=True)
class _Storage:
    """Memory in a register that tensors are laid into."""

    buffer: str


_Value = _Tensor | _Storage | tuple["_Value", ...] | int | str | None


def follow_vm_program(
    program: VmProgram, data: bytes, entry: str = "", *, base: int = 0, where: str = ""
) -> Sequence:
    """Return the kernels that a function calls, in order, with their buffers.

    Parameters
    ----------
    data : the bytes that the program was read from
    entry : name of the function; empty takes the one with the most calls
    base : address of the first of these bytes, for what is said of constants
    where : which file they stand in, where that is not the binary

    Raises
    ------
    ContainerError : no such function, or none that is bytecode
    """
    found = [f for f in program.functions if f.kind == "bytecode" and f.code]
    if entry:
        found = [f for f in found if f.name == entry]
    if not found:
        compiled = any(f.kind == "compiled" for f in program.functions)
        raise ContainerError(
            "virtual machine program",
            found="calls that were compiled to machine code" if compiled else "no such function",
            wanted="a function of bytecode",
            fix="follow the machine code" if compiled else "name a function of the program",
        )
    function = max(found, key=lambda f: len(f.code))
    return _Runner(program, data, base, where).run(function)


class _Runner:
    def __init__(self, program: VmProgram, data: bytes, base: int, where: str) -> None:
        self.program, self.data = program, data
        self.base, self.where = base, where
        self.buffers: dict[str, Buffer] = {}
        self.calls: list[KernelCall] = []
        self.shapes: dict[str, tuple[int, ...]] = {}
        self.notes: dict[str, None] = {}
        self.doubts: dict[str, None] = {}
        self.kernels: dict[int, Kernel] = {}

    def run(self, function: VmFunction) -> Sequence:
        parameters: list[_Value] = []
        for index in range(len(function.parameters)):
            parameters.append(_Tensor(f"input{index}", 0, None, "float32"))
        result = self.function(function, parameters, 0)
        outputs = self._outputs(result)
        inputs = []
        for index in range(len(function.parameters)):
            name = f"input{index}"
            shape = self.shapes.get(name)
            size = math.prod(shape) * 4 if shape is not None else None
            self.buffers[name] = Buffer(name=name, role="input", size_bytes=size, shape=shape)
            inputs.append(name)
        calls = tuple(self._shaped(call) for call in self.calls)
        return Sequence(
            entry=function.name, buffers=self.buffers, calls=calls, inputs=tuple(inputs),
            outputs=tuple(outputs), notes=tuple(self.notes), kernels=self.kernels,
            doubts=tuple(self.doubts),
        )  # fmt: skip

    def _shaped(self, call: KernelCall) -> KernelCall:
        """Give inputs the shape that the program checks them for."""
        arguments = []
        for place in call.arguments:
            shape = self.shapes.get(place.buffer) if isinstance(place, Place) else None
            if isinstance(place, Place) and place.shape is None and shape is not None:
                place = _Tensor(place.buffer, place.offset, shape, place.dtype).place
            arguments.append(place)
        return KernelCall(kernel=call.kernel, arguments=tuple(arguments))

    def _outputs(self, result: _Value) -> list[str]:
        names = []
        for value in result if isinstance(result, tuple) else (result,):
            if isinstance(value, _Tensor):
                names.append(value.buffer)
                held = self.buffers.get(value.buffer)
                if held is not None and held.role == "temporary":
                    self.buffers[value.buffer] = Buffer(
                        name=held.name, role="output", size_bytes=held.size_bytes,
                        shape=value.shape,
                    )  # fmt: skip
        return names

    def function(self, function: VmFunction, parameters: list[_Value], depth: int) -> _Value:
        """Follow one function; returns its result."""
        if depth > _MOST_DEPTH:
            raise ContainerError("virtual machine program", found="calls nested without end",
                                 wanted="a network", fix="name its main function")  # fmt: skip
        registers: dict[int, _Value] = dict(enumerate(parameters))
        at = 0
        while 0 <= at < len(function.code):
            call = function.code[at]
            if call.kind == "return":
                return registers.get(call.result if call.result is not None else -1)
            if call.kind == "goto":
                if call.jump < 1:
                    raise ContainerError("virtual machine program", found="a loop",
                                         wanted="straight-line code",
                                         fix="recover the loop's body by itself")  # fmt: skip
                at += call.jump
                continue
            if call.kind == "if":
                self.doubts["a branch on a value is followed as if it were true"] = None
                at += 1
                continue
            if len(self.calls) >= _MOST_CALLS:
                raise ContainerError("virtual machine program", found="calls without end",
                                     wanted="a network", fix="name its main function")  # fmt: skip
            self._call(call, registers, depth)
            at += 1
        return None

    def _call(self, call: VmCall, registers: dict[int, _Value], depth: int) -> None:
        called = self.program.functions[call.function]
        values = [self._value(operand, registers) for operand in call.operands]
        if called.kind == "bytecode" and called.code:
            inner = [v for v, o in zip(values, call.operands) if o.kind != "machine"]
            result = self.function(called, inner, depth + 1)
        else:
            result = self._builtin(call, values)
        if call.result is not None:
            registers[call.result] = result

    def _builtin(self, call: VmCall, values: list[_Value]) -> _Value:
        """Tell by its operands what is called, and do it."""
        kinds = [self._kind(operand, value) for operand, value in zip(call.operands, values)]
        text = " ".join(kinds)
        if call.result is None:
            if kinds[:1] == ["tensor"] and "number" in kinds and kinds[-1:] == ["text"]:
                self._check(values)
            elif len(kinds) >= 2 and set(kinds) <= {"tensor", "number"} and kinds[-1] == "tensor":
                self._kernel(call, values)
            return None
        if text.startswith("machine shape number type"):
            return self._storage(values[1])
        if text.startswith("storage number shape type"):
            storage, offset, shape, dtype = values[:4]
            assert isinstance(storage, _Storage)
            return _Tensor(storage.buffer, int(offset) if isinstance(offset, int) else 0,
                           _shape(shape), str(dtype))  # fmt: skip
        tensors = [v for v in values if isinstance(v, _Tensor)]
        if len(tensors) == 1 and "shape" in kinds:
            shape = _shape(values[kinds.index("shape")])
            return _Tensor(tensors[0].buffer, tensors[0].offset, shape, tensors[0].dtype)
        if kinds == ["tuple", "number"]:
            row, index = values
            assert isinstance(row, tuple) and isinstance(index, int)
            return row[index] if 0 <= index < len(row) else None
        if kinds in (["tensor"], ["storage"]):
            return values[0]
        if kinds and set(kinds) <= {"tensor", "tuple"}:
            return tuple(values)
        if tensors:
            name = self.program.functions[call.function].name
            self.doubts[f"a call that was not understood: {name or 'unnamed'} ({text})"] = None
        return None

    def _kind(self, operand: VmOperand, value: _Value) -> str:
        if operand.kind in ("machine", "nothing", "function"):
            return operand.kind
        if operand.kind == "immediate":
            return "number"
        if operand.kind == "constant":
            constant = self.program.constants[operand.value]
            return "number" if constant.kind in ("integer", "float") else constant.kind
        names = {_Tensor: "tensor", _Storage: "storage", tuple: "tuple", int: "number"}
        return names.get(type(value), "other")

    def _value(self, operand: VmOperand, registers: Mapping[int, _Value]) -> _Value:
        if operand.kind == "register":
            return registers.get(operand.value)
        if operand.kind == "immediate":
            return operand.value
        if operand.kind != "constant":
            return None
        constant = self.program.constants[operand.value]
        if constant.kind == "tensor":
            return self._constant(operand.value, constant)
        value = constant.value
        if constant.kind == "shape" and isinstance(value, tuple):
            return tuple(int(extent) for extent in value)
        return int(value) if isinstance(value, int) else str(value)

    def _constant(self, number: int, constant: VmConstant) -> _Tensor:
        name = f"constant{number}"
        if name not in self.buffers:
            begin = constant.offset
            self.buffers[name] = Buffer(
                name=name, role="constant", size_bytes=constant.size_bytes,
                data=self.data[begin : begin + constant.size_bytes], shape=constant.shape,
                origin=f"constant {number}{self.where} at {self.base + begin:#x}",
            )  # fmt: skip
        return _Tensor(name, 0, constant.shape, constant.dtype)

    def _storage(self, shape: _Value) -> _Storage:
        name = f"storage{sum(b.role == 'temporary' for b in self.buffers.values())}"
        extents = _shape(shape)
        size = math.prod(extents) if extents else None
        self.buffers[name] = Buffer(name=name, role="temporary", size_bytes=size)
        return _Storage(name)

    def _check(self, values: list[_Value]) -> None:
        """Read a check of a tensor's shape: how many axes, then a code and a size for each."""
        tensor = values[0]
        numbers = [v for v in values[1:] if isinstance(v, int)]
        if not isinstance(tensor, _Tensor) or len(numbers) < 3 or numbers[0] < 1:
            return
        codes, sizes = numbers[1::2], numbers[2::2]
        if len(codes) == len(sizes) == numbers[0]:
            if any(codes):
                self.notes["an input has a size that only running can tell"] = None
            else:
                self.shapes.setdefault(tensor.buffer, tuple(sizes))

    def _kernel(self, call: VmCall, values: list[_Value]) -> None:
        called = self.program.functions[call.function]
        kernel = self.kernels.setdefault(call.function, Kernel(
            name=called.name, number=call.function, address=called.address
        ))  # fmt: skip
        arguments = tuple(v.place if isinstance(v, _Tensor) else _number(v) for v in values)
        self.calls.append(KernelCall(kernel=kernel, arguments=arguments))


def _shape(value: _Value) -> tuple[int, ...] | None:
    if not isinstance(value, tuple):
        return None
    return tuple(v for v in value if isinstance(v, int))


def _number(value: _Value) -> int:
    return value if isinstance(value, int) else 0


def _width(dtype: str) -> int:
    try:
        return int(np.dtype(numpy_dtype(dtype)).itemsize)
    except TypeError:
        return 4
