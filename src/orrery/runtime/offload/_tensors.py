"""What a tensor is to whoever moves its bytes: a storage at a version, and a window onto it.

PyTorch loads when a function here first runs.
"""

from __future__ import annotations

from typing import Any, Self, TypeAlias

from ..remaking import bytes_of, halved, widened
from ._blocks import Bytes
from ._errors import OffloadError

__all__ = [
    "HeldStorage",
    "Window",
    "comes_from_parameter",
    "in_backward",
    "is_parameter",
    "rebuilt",
    "rebuilt_whole",
    "refuse_written",
    "root_of",
    "shortened",
    "storage_key",
    "version_of",
    "why_unmovable",
    "window_of",
]

#: Size, strides, offset (all in elements) and element type.
Window: TypeAlias = "tuple[tuple[int, ...], tuple[int, ...], int, Any]"


class HeldStorage:
    """A tensor's storage, kept in memory, and the version it was saved at.

    The count of in-place operations is shared with the tensor, and goes on being so when the
    memory has been let go.
    """

    __slots__ = ("tensor", "version")

    def __init__(self, alias: Any) -> None:
        self.tensor, self.version = alias, version_of(alias)

    @classmethod
    def released(cls, tensor: Any) -> Self:
        """Return what knows a tensor's version, and holds none of its bytes."""
        held = cls(tensor.detach())
        held.let_go()
        return held

    def refuse_written(self, name: str) -> None:
        """Raise when the tensor was written to in place since it was saved, as `refuse_written`."""
        refuse_written(name, self.version, version_of(self.tensor))

    def let_go(self) -> None:
        """Hold the bytes no more; what counts in-place operations stays."""
        import torch

        # Assigning `data` replaces the memory of this alias alone, and counts as no operation.
        self.tensor.data = torch.empty(0, dtype=self.tensor.dtype, device="cpu")

    def data(self) -> Bytes:
        """Return all bytes of the storage, not a copy."""
        array: Bytes = bytes_of(self.tensor).numpy()
        return array

    def window(self, window: Window) -> Any:
        """Return a tensor over the storage that counts in-place operations with the others."""
        count = self.tensor.untyped_storage().nbytes() // self.tensor.element_size()
        return _shown(self.tensor.as_strided((count,), (1,), 0), window)


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


def refuse_written(name: str, version: int, found: int) -> None:
    """Raise, as PyTorch does without hooks, when a saved tensor was written to in place.

    Autograd leaves this check to whoever sets hooks.
    """
    if found != version:
        raise OffloadError(
            f"backward: saved tensor {name!r}", found=f"version {found}, written to in place",
            wanted=f"version {version}, as it was saved",
            fix="do not change in place what the backward pass needs; clone it first",
        )  # fmt: skip


def why_unmovable(tensor: Any, least_bytes: int = 1) -> str | None:
    """Return why a tensor's bytes cannot, or need not, be moved by themselves, or None."""
    import torch

    if type(tensor) is not torch.Tensor and type(tensor) is not torch.nn.Parameter:
        return f"a {type(tensor).__name__}"
    if tensor.layout is not torch.strided or tensor.is_nested or tensor.is_quantized:
        return "not a plain strided tensor"
    if tensor.device.type != "cpu":
        return f"on {tensor.device.type}"
    storage = tensor.untyped_storage()
    if storage.nbytes() < least_bytes:
        return "small"
    if tensor.is_conj() or tensor.is_neg():
        return "a lazy conjugate or negative"
    if tensor.is_inference() or not storage.data_ptr():
        return "without memory of its own"
    return None


def is_parameter(tensor: Any) -> bool:
    """Whether a tensor, or what it is a view of, is a leaf that gradients accumulate in."""
    base = tensor._base if tensor._is_view() else tensor
    return bool(base.is_leaf and base.requires_grad)


def comes_from_parameter(tensor: Any) -> bool:
    """Whether a tensor is a cast or a transpose of a parameter, as autocast makes and caches."""
    node = tensor.grad_fn
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
    import torch

    return bool(torch._C._current_graph_task_id() != -1)


def storage_key(tensor: Any) -> Any:
    """Return a reference that tells a storage from all others for as long as it is held.

    An address alone may be used again once its storage is gone; this one cannot be.
    """
    from torch.multiprocessing.reductions import StorageWeakRef

    return StorageWeakRef(tensor.untyped_storage())


def window_of(tensor: Any) -> Window:
    """Return which part of its storage a tensor shows, and how."""
    return tuple(tensor.shape), tensor.stride(), tensor.storage_offset(), tensor.dtype


def root_of(data: Bytes) -> Any:
    """Return a flat tensor over bytes that were read back; it holds them, not a copy."""
    import torch

    return torch.from_numpy(data)


def rebuilt(root: Any, window: Window) -> Any:
    """Return a window onto such bytes; all windows count in-place operations together."""
    size = window[3].itemsize
    return _shown(root[: root.numel() // size * size], window)


def _shown(flat: Any, window: Window) -> Any:
    size, stride, offset, dtype = window
    return (flat if flat.dtype == dtype else flat.view(dtype)).as_strided(size, stride, offset)
