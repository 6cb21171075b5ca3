"""Networks run by the runtime that their binary was made for: TVM's virtual machine, IREE's.

Models:  nothing. The runtime is trusted and is imported before the child is shut in; the binary is
         loaded afterwards.
Judge:   networks compiled with known answers (tests/runtime/test_sandbox.py).
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from ._probe import VirtualMachine

if TYPE_CHECKING:
    from ._child import Runner

Array = NDArray[Any]
#: Loads what is foreign, then maps inputs to outputs.
Load = Callable[[], Callable[[list[Array]], list[Array]]]


def virtual_machine(probe: VirtualMachine, file: int) -> Runner:
    """Return what runs the network's rounds."""
    # A loader of either runtime looks at the name's end; the folder is the child's own.
    path = Path.cwd() / ("binary.so" if probe.runtime == "tvm" else "binary.vmfb")
    path.write_bytes(os.pread(file, os.fstat(file).st_size, 0))
    path.chmod(0o755)
    path.parent.chmod(0o755)
    load = _tvm(probe, path) if probe.runtime == "tvm" else _iree(probe, path)

    def run(answers: memoryview) -> Iterator[None]:
        network, at = load(), 0
        for values in probe.rounds:
            found = network(_arrays(probe, values))
            if len(found) != len(probe.outputs_bytes):
                raise ValueError(f"it gave {len(found)} outputs, not {len(probe.outputs_bytes)}")
            for one, size in zip(found, probe.outputs_bytes):
                data = np.ascontiguousarray(one).tobytes()
                if len(data) != size:
                    raise ValueError(f"it gave an output of {len(data)} bytes, not {size}")
                answers[at : at + size] = data
                at += size
            yield

    return run


def _arrays(probe: VirtualMachine, values: Mapping[str, bytes]) -> list[Array]:
    return [np.frombuffer(values[name], np.dtype(dtype)).reshape(shape).copy()
            for name, dtype, shape in probe.inputs]  # fmt: skip


def _tvm(probe: VirtualMachine, path: Path) -> Load:
    import tvm
    from tvm import relax

    def load() -> Callable[[list[Array]], list[Array]]:
        from ._child import LoadError

        try:
            machine = relax.VirtualMachine(tvm.runtime.load_module(str(path)), tvm.cpu())
            function = machine[probe.function]
        except Exception as error:  # whatever a foreign file makes of TVM's loader
            raise LoadError(f"TVM could not load it: {_first(error)}") from None

        def network(inputs: list[Array]) -> list[Array]:
            found = function(*(tvm.runtime.tensor(one) for one in inputs))
            return [one.numpy() for one in ([found] if hasattr(found, "numpy") else found)]

        return network

    return load


def _iree(probe: VirtualMachine, path: Path) -> Load:
    from iree import runtime

    def load() -> Callable[[list[Array]], list[Array]]:
        from ._child import LoadError

        try:
            context = runtime.SystemContext(config=runtime.Config("local-sync"))
            module = runtime.VmModule.copy_buffer(context.instance, path.read_bytes())
            context.add_vm_module(module)
            function = context.modules[module.name][probe.function]
        except Exception as error:  # whatever a foreign file makes of IREE's loader
            raise LoadError(f"IREE could not load it: {_first(error)}") from None

        def network(inputs: list[Array]) -> list[Array]:
            found = function(*inputs)
            each = found if isinstance(found, list | tuple) else [found]
            return [np.asarray(one) for one in each]

        return network

    return load


def _first(error: Exception) -> str:
    """Return the last line of an error, where both runtimes say what it was."""
    lines = [one for one in str(error).splitlines() if one.strip()]
    return (lines[-1] if lines else type(error).__name__).strip()[:300]
