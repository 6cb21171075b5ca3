"""What a tensor is to whoever moves its bytes: a storage at a version, and a window onto it.

PyTorch loads when a function here first runs.
"""

from __future__ import annotations

import itertools
import threading
from functools import cache
from typing import TYPE_CHECKING, Any, ClassVar, Self, TypeAlias

from ..moving import Bytes, OffloadError
from ..remaking import bytes_of, covers_storage, halved, widened

if TYPE_CHECKING:
    from ..devices import CudaDevice, Leaving

#: A batch is often a view of all data, which the program holds: writing that would free nothing. So
#: what no node made stays where its memory is more than so many times as large.
_MOST_BESIDE = 4

#: Size, strides, offset (all in elements) and element type.
Window: TypeAlias = "tuple[tuple[int, ...], tuple[int, ...], int, Any]"


class HeldStorage:
    """A tensor's storage, kept in memory, and the version it was saved at.

    The count of in-place operations is shared with the tensor, and goes on being so when the
    memory has been let go.
    """

    __slots__ = ("tensor", "version")

    def __init__(self, alias: Any, version: int | None = None) -> None:
        self.tensor = alias
        self.version = version_of(alias) if version is None else version

    @classmethod
    def released(cls, tensor: Any, version: int | None = None) -> Self:
        """Return what knows a tensor's version, and holds none of its bytes."""
        held = cls(tensor.detach(), version)
        held.let_go()
        return held

    def refuse_written(self, name: str) -> None:
        """Raise when the tensor was written to in place since it was saved, as `refuse_written`."""
        refuse_written(name, self.version, version_of(self.tensor))

    def let_go(self) -> None:
        """Hold the bytes no more; what counts in-place operations stays."""
        tensor = self.tensor
        # Assigning `data` replaces the memory of this alias alone, and counts as no operation.
        tensor.data = _nothing(tensor.dtype, tensor.device)

    def data(self) -> Bytes:
        """Return all bytes of the storage, not a copy."""
        array: Bytes = bytes_of(self.tensor).numpy()
        return array

    def window(self, window: Window) -> Any:
        """Return a tensor over the storage that counts in-place operations with the others."""
        size, own = self.tensor.untyped_storage().nbytes(), self.tensor.element_size()
        # Whole elements of either type: seen as another one, the rest would not divide.
        count = size // own
        if (wide := window[3].itemsize) > own:
            count -= count % (wide // own)
        return _shown(self.tensor.as_strided((count,), (1,), 0), window)


class LeavingStorage(HeldStorage):
    """A storage on a device whose bytes are on their way to the host."""

    __slots__ = ("_leaving",)

    def __init__(self, held: HeldStorage, device: CudaDevice) -> None:
        super().__init__(held.tensor)
        self._leaving: Leaving | None = device.leave(bytes_of(held.tensor))

    def let_go(self) -> None:
        super().let_go()
        self._leaving = None

    def data(self) -> Bytes:
        """Wait until the bytes are in the host's memory, and return them."""
        leaving = self._leaving
        return super().data() if leaving is None else leaving.data()


class Modules:
    """What modules hold, parameters and buffers, is taken for no saved activation.

    Parameters
    ----------
    device : whose tensors are moved; None: the host's

    Attributes
    ----------
    storages : of what the modules hold that ran in this step, by number
    other_threads : whether any ran in another thread, where hooks on saved tensors do not reach
    """

    _in_steps: ClassVar[set[int]] = set()  # threads in which a step of a session is under way

    def __init__(self, device: Any) -> None:
        self._device = device
        self.storages: dict[int, Any] = {}
        self.other_threads = False
        self._seen: set[int] = set()
        self._hook: Any = None
        self._thread, self._running = 0, False

    def begin(self) -> None:
        """Look, from now on and in this thread, at modules that run."""
        from torch.nn.modules.module import register_module_forward_pre_hook

        self.storages, self._seen, self.other_threads = {}, set(), False
        self._thread, self._running = threading.get_ident(), True
        self._in_steps.add(self._thread)
        if self._hook is None:
            # Until `close`: compiled code is compiled again for each new hook.
            self._hook = register_module_forward_pre_hook(self._see)

    def end(self) -> None:
        """Look no more, and forget what was seen."""
        self._in_steps.discard(self._thread)
        self.storages, self._running = {}, False

    def close(self) -> None:
        """Take the hook away."""
        if self._hook is not None:
            self._hook.remove()

    def same_thread(self) -> bool:
        """Whether this is the thread that `begin` was called in."""
        return threading.get_ident() == self._thread

    def _see(self, module: Any, _: object) -> None:
        import torch

        if torch.compiler.is_compiling() or not self._running:
            return
        # In another thread there may be a session of its own.
        if threading.get_ident() not in self._in_steps and not in_backward():
            self.other_threads = True
        if id(module) in self._seen:
            return
        self._seen.update(map(id, module.modules()))
        for found in itertools.chain(module.parameters(), module.buffers()):
            if why_unmovable(found, device=self._device) is None:
                storage = found.untyped_storage()
                self.storages[storage_number(storage)] = storage_key(storage)


@cache
def _nothing(dtype: Any, device: Any) -> Any:
    """Return an empty tensor, for what has let go of its memory."""
    import torch

    return torch.empty(0, dtype=dtype, device=device)


@cache
def _torch() -> tuple[Any, Any, Any, Any]:
    """Return what hooks ask for: two classes, a layout, and what tells of a backward pass."""
    import torch

    return torch.Tensor, torch.nn.Parameter, torch.strided, torch._C._current_graph_task_id


def node_number() -> int:
    """Return the number that this thread's next node gets: another one in another operator."""
    return int(_numbered()())


@cache
def _numbered() -> Any:
    from torch._C import _autograd

    return _autograd._get_sequence_nr


def shortened(tensor: Any) -> tuple[HeldStorage, float] | None:
    """Return a storage of single precision with half the bits, and how far off that is.

    None where it is of another type, or half precision cannot hold it (`remaking.halved`).
    """
    import torch

    if tensor.dtype is not torch.float32 or tensor.untyped_storage().nbytes() % 4:
        return None
    found = halved(bytes_of(tensor).view(torch.float32))
    return None if found is None else (HeldStorage(found[0]), found[1])


def rebuilt_whole(data: Any) -> Any:
    """Return the bytes in single precision of those with half the bits."""
    import torch

    return bytes_of(widened(data.view(torch.float16)))


def version_of(tensor: Any) -> int:
    """Return how many in-place operations were counted; a tensor without a count has always -1."""
    return -1 if tensor.is_inference() else int(tensor._version)


def counted_together(one: Any, other: Any) -> bool:
    """Whether in-place operations on either of two tensors are counted for both.

    Views and aliases have one count; `.data`, `set_` and parts by `unsafe_chunk` have their own.
    """
    before = other._version
    if one._version != before:
        return False
    preserved, increment = _counting()
    with preserved(one):
        increment((one,))
        return bool(other._version != before)


@cache
def _counting() -> tuple[Any, Any]:
    from torch.autograd import _unsafe_preserve_version_counter
    from torch.autograd.graph import increment_version

    return _unsafe_preserve_version_counter, increment_version


def is_shared(tensor: Any) -> bool:
    """Whether others may write to the storage without this tensor's count showing it.

    So it is with parts by `unsafe_chunk`, as in PyTorch's recurrent cells: one storage, a count of
    in-place operations for each part. Only a tensor that is all of its storage may be moved by it.
    """
    return not covers_storage(tensor._base if tensor._is_view() else tensor)


def refuse_written(name: str, version: int, found: int, *, leaf: bool = False) -> None:
    """Raise, as PyTorch does without hooks, when a saved tensor was written to in place.

    Autograd leaves this check to whoever sets hooks. A `leaf` is what only making a tensor again
    needs.
    """
    if found != version:
        raise OffloadError(
            f"backward: {'parameter' if leaf else 'saved tensor'} {name!r}",
            found=f"version {found}, written to in place",
            wanted=f"version {version}, as it was "
            + ("when a tensor was made from it, which is made again" if leaf else "saved"),
            fix="set recompute=False, or change it after the backward pass" if leaf else
            "do not change in place what the backward pass needs; clone it first",
        )  # fmt: skip


def why_unmovable(tensor: Any, least_bytes: int = 1, device: Any = None) -> str | None:
    """Return why a tensor's bytes cannot, or need not, be moved by themselves, or None.

    Those of `device` can; of the host, if that is None.
    """
    plain, parameter, strided, _ = _torch()
    kind = type(tensor)
    if kind is not plain and kind is not parameter:
        return f"a {kind.__name__}"
    if tensor.layout is not strided or tensor.is_nested or tensor.is_quantized:
        return "not a plain strided tensor"
    if not tensor.is_cpu if device is None else tensor.device != device:
        return f"on {tensor.device.type}"
    storage = tensor.untyped_storage()
    if storage.nbytes() < least_bytes:
        return "small"
    if tensor.is_conj() or tensor.is_neg():
        return "a lazy conjugate or negative"
    if tensor.is_inference() or not storage.data_ptr():
        return "without memory of its own"
    return None


def why_stays(tensor: Any) -> str | None:
    """Return why the program holds the memory of a tensor that could be moved, or None.

    It, or what it is a view of, is a leaf that gradients accumulate in, or made from one; or no
    node made it, and it shows little of its memory.
    """
    base = tensor._base if tensor._is_view() else tensor
    if base.is_leaf and base.requires_grad:
        return "a parameter"
    node = tensor.grad_fn
    if node is not None:
        return "a parameter" if _comes_from_parameter(node) else None
    if tensor.untyped_storage().nbytes() > _MOST_BESIDE * tensor.nbytes:
        return "in memory that holds much more"
    return None


def _comes_from_parameter(node: Any) -> bool:
    """Whether a node casts or transposes a parameter, as autocast does, which keeps the result."""
    for _ in range(3):
        if node is None:
            return False
        if node.name() == "torch::autograd::AccumulateGrad":
            return True
        if node.name() not in {"ToCopyBackward0", "TBackward0", "TransposeBackward0"}:
            return False
        node = node.next_functions[0][0]
    return False


def in_backward() -> bool:
    """Whether this thread is inside a backward pass, as when a checkpoint is recomputed."""
    return bool(_torch()[3]() != -1)


def storage_number(storage: Any) -> int:
    """Return what tells a storage from all others while it or its `storage_key` is held."""
    number: int = storage._cdata
    return number


def storage_key(storage: Any) -> Any:
    """Return a reference that tells a storage from all others for as long as it is held.

    An address alone may be used again once its storage is gone; this one cannot be.
    """
    return _references()(storage)


@cache
def _references() -> Any:
    from torch.multiprocessing.reductions import StorageWeakRef

    return StorageWeakRef


def still_held(key: Any, size_bytes: int) -> Any:
    """Return a flat tensor of bytes over a storage that somebody still holds, else None.

    Parameters
    ----------
    key : as `storage_key` returned it
    size_bytes : that the storage had then
    """
    import torch

    storage = torch.UntypedStorage._new_with_weak_ptr(key.cdata)
    if storage is None or storage.nbytes() != size_bytes:
        return None
    return torch.empty(0, dtype=torch.uint8).set_(storage)


def window_of(tensor: Any) -> Window:
    """Return which part of its storage a tensor shows, and how."""
    return tuple(tensor.shape), tensor.stride(), tensor.storage_offset(), tensor.dtype


def root_of(data: Bytes) -> Any:
    """Return a flat tensor over bytes that were read back; it holds them, not a copy."""
    import torch

    return torch.from_numpy(data)


def rebuilt(root: Any, window: Window) -> Any:
    """Return a window onto such bytes; all windows count in-place operations together."""
    rest = root.numel() % window[3].itemsize
    return _shown(root[: root.numel() - rest] if rest else root, window)


def _shown(flat: Any, window: Window) -> Any:
    size, stride, offset, dtype = window
    return (flat if flat.dtype == dtype else flat.view(dtype)).as_strided(size, stride, offset)
