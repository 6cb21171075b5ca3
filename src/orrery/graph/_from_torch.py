"""PyTorch modules in, through `torch.export`; the only module of this room that loads PyTorch.

Models:  the module's function in evaluation mode at the traced shapes, operator by operator;
         buffers and inputs that the module changes become states.
Ignores: memory layout, devices, autograd; branches that the example inputs do not take.
Judge:   PyTorch's own output, operator by operator and on whole networks; ONNX Runtime on the
         written file.
"""

from __future__ import annotations

import inspect
import logging
import warnings
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any

import numpy as np
from numpy.typing import NDArray

from orrery.errors import (
    MissingExtraError,
    ModelError,
    SpecError,
    UnknownNameError,
)

from ._graph import Graph
from ._types import numpy_dtype
from .torch_ops import TRANSLATORS, Walker, clean_name, element_type

#: Loggers that print a traceback before a trace fails.
_NOISY = (
    "torch._dynamo", "torch._subclasses.fake_tensor", "torch.export", "torch._export",
    "torch.fx.experimental.symbolic_shapes",
)  # fmt: skip

_NamedSize = tuple[str, int, str]  #: input, axis, the user's name


def from_torch(
    module: Any,
    example_inputs: Any,
    *,
    dynamic: Mapping[Any, Any] | None = None,
    name: str | None = None,
) -> Graph:
    """Return the graph of a PyTorch module.

    The module is traced in evaluation mode (and put back as it was; the graph's metadata say so)
    with `torch.export`, so the graph is right for all values of the inputs at these shapes. Dropout
    is left out, also of training steps derived from the graph; a warning says so when it is active.
    Parameters and buffers become constants that share the module's storage: do not train the
    module while the graph is in use. What the module changes in place (buffers, inputs) becomes a
    state of the graph: an input, and an output with its next value.

    Parameters that ask for a gradient are what `Graph.training` learns; the metadata entry
    ``learned`` lists them. They keep the module's names; a matrix that is only read transposed
    is the constant ``<name>.T``, and parameters that are only joined, cut or reordered (gates of
    recurrent layers) are one constant in that layout, named after its place; the metadata entry
    ``relaid`` has a line per such constant: its name, then the parameters it holds. Whatever else
    depends on parameters stays an operator of the graph.

    Parameters
    ----------
    module : a ``torch.nn.Module``
    example_inputs : positional inputs as a sequence, keyword inputs as a mapping, or one tensor;
        NumPy arrays are taken as tensors
    dynamic : names of sizes that stay open, per input and axis, e.g. ``{"x": {0: "batch"}}``; the
        input is given by its parameter's name or its position
    name : of the graph; the module's class by default

    Raises
    ------
    MissingExtraError : PyTorch is not installed
    SpecError, UnknownNameError : `dynamic` does not fit the inputs
    ModelError : `torch.export` cannot trace the module; says why and what to try
    UnsupportedOperatorsError : operators that nobody translates, all of them, with their nodes
    """
    try:
        import torch
    except ModuleNotFoundError as error:
        if error.name != "torch":  # PyTorch is there and broken: its own error says how
            raise
        raise MissingExtraError("torch", "torch", purpose="reading a PyTorch module") from None
    title = clean_name(name or type(module).__name__)
    if not isinstance(module, torch.nn.Module):
        raise ModelError(
            title, found=f"a {type(module).__name__}", wanted="a torch.nn.Module",
            fix="give the module itself",
        )  # fmt: skip
    args, kwargs = _example(example_inputs)
    args, kwargs, shapes, symbols = _dynamic(module, args, kwargs, dynamic or {}, title)
    program, was_training = _export(module, args, kwargs, shapes, symbols, title)
    metadata = {"source": f"PyTorch {torch.__version__}, {type(module).__name__}"}
    if was_training:
        metadata["mode"] = "evaluation; the module was in training mode and is so again"
        dropping = _active_dropout(module)
        if dropping:
            metadata["mode"] += "; its dropout is left out"
            warnings.warn(
                f"{title}: the module is in training mode with active dropout (at"
                f" {dropping[0] or 'its top'!s}); the graph leaves dropout out, its training"
                " steps too",
                stacklevel=2,
            )
    names = dict(_open_sizes(program, symbols))
    fixed = {size_name for _, _, size_name in symbols} - set(names.values())
    if fixed:
        raise ModelError(
            f"{title}: dynamic", found=f"a network that fixes {', '.join(sorted(fixed))}",
            wanted="sizes that may differ", fix="take the name away",
        )  # fmt: skip
    learned = frozenset(
        key for key, weight in module.named_parameters(remove_duplicate=False)
        if weight.requires_grad
    )  # fmt: skip
    walker = Walker(
        title=title, program=program, module=module, symbols=names, array=_array, learned=learned
    )
    return walker.graph(metadata)


def _active_dropout(module: Any) -> list[str]:
    """Return the paths of the parts that would drop values now."""
    import torch

    return [
        path
        for path, part in module.named_modules()
        if part.training
        and (
            (isinstance(part, torch.nn.modules.dropout._DropoutNd) and part.p > 0)
            or (
                isinstance(part, torch.nn.RNNBase | torch.nn.MultiheadAttention)
                and part.dropout > 0
            )
        )
    ]


# -- tracing --------------------------------------------------------------------------------------


def _example(given: Any) -> tuple[tuple[Any, ...], dict[str, Any]]:
    import torch
    from torch.utils import _pytree as pytree

    def tensor(leaf: Any) -> Any:
        return torch.from_numpy(np.array(leaf)) if isinstance(leaf, np.ndarray) else leaf

    if isinstance(given, torch.Tensor | np.ndarray):
        given = (given,)
    if isinstance(given, Mapping):
        return (), {str(k): pytree.tree_map(tensor, v) for k, v in given.items()}
    if not isinstance(given, Sequence) or isinstance(given, str):
        raise SpecError(
            "example_inputs", found=type(given).__name__, wanted="a sequence or mapping of inputs",
            fix="write example_inputs=(x,) or {'x': x}",
        )  # fmt: skip
    return tuple(pytree.tree_map(tensor, v) for v in given), {}


def _dynamic(
    module: Any, args: tuple[Any, ...], kwargs: dict[str, Any], dynamic: Mapping[Any, Any],
    title: str,
) -> tuple[tuple[Any, ...], dict[str, Any], dict[str, Any] | None, list[_NamedSize]]:  # fmt: skip
    """Return the inputs, what `torch.export` wants to know of open sizes, and who names which.

    A size of one would be taken for a constant: such an axis of an example is doubled.
    """
    import torch

    try:
        bound = inspect.signature(module.forward).bind(*args, **kwargs)
    except TypeError as error:
        raise ModelError(
            f"{title}: example_inputs", found=str(error), wanted="the inputs of forward()",
            fix="give one example per parameter",
        ) from None  # fmt: skip
    if not dynamic:
        return args, kwargs, None, []
    known = list(bound.arguments)
    dims: dict[str, Any] = {}
    named: list[_NamedSize] = []
    shapes: dict[str, Any] = dict.fromkeys(known)
    for key, spec in dynamic.items():
        parameter = known[key] if isinstance(key, int) and 0 <= key < len(known) else key
        if parameter not in known:
            raise UnknownNameError(f"input of {title}", str(key), known)
        example = bound.arguments[parameter]
        if not isinstance(example, torch.Tensor) or not isinstance(spec, Mapping):
            raise SpecError(
                f"dynamic: {key}", found=f"{spec} for a {type(example).__name__}",
                wanted="axis -> name, for an input that is a tensor",
                fix=f"write e.g. dynamic={{{parameter!r}: {{0: 'batch'}}}}",
            )  # fmt: skip
        for axis, size_name in spec.items():
            if not isinstance(axis, int) or not -example.ndim <= axis < example.ndim:
                raise SpecError(
                    f"dynamic: {key}", found=f"axis {axis}",
                    wanted=f"an axis of a tensor of rank {example.ndim}", fix="correct the axis",
                )  # fmt: skip
            if not isinstance(size_name, str) or not size_name.isidentifier():
                raise SpecError(
                    f"dynamic: {key}, axis {axis}", found=size_name, wanted="a name",
                    fix="write e.g. 'batch'",
                )  # fmt: skip
            dims.setdefault(size_name, torch.export.Dim(size_name))
            place = axis % example.ndim
            shapes[parameter] = {**(shapes[parameter] or {}), place: dims[size_name]}
            named.append((parameter, place, size_name))
            if example.shape[place] == 1:
                example = torch.cat([example, example], place)
        bound.arguments[parameter] = example
    return bound.args, bound.kwargs, shapes, named


@contextmanager
def _evaluation(module: Any) -> Iterator[bool]:
    """Put a module and its parts into evaluation mode, and back; says whether any was training.

    PyTorch's fused transformer layers are switched off meanwhile: they hide what is computed.
    """
    import torch

    modes = [(part, part.training) for part in module.modules()]
    fused = torch.backends.mha.get_fastpath_enabled()
    module.eval()
    torch.backends.mha.set_fastpath_enabled(False)
    try:
        with torch.no_grad(), warnings.catch_warnings(), _quiet():
            warnings.simplefilter("ignore")
            yield any(training for _, training in modes)
    finally:
        torch.backends.mha.set_fastpath_enabled(fused)
        for part, training in modes:
            part.training = training


@contextmanager
def _quiet() -> Iterator[None]:
    """Keep what PyTorch logs of a failed trace to itself: the error that we raise says it."""
    loggers = [logging.getLogger(name) for name in _NOISY]
    levels = [logger.level for logger in loggers]
    for logger in loggers:
        logger.setLevel(logging.CRITICAL)
    try:
        yield
    finally:
        for logger, level in zip(loggers, levels, strict=True):
            logger.setLevel(level)


def _export(
    module: Any, args: tuple[Any, ...], kwargs: dict[str, Any], shapes: Any,
    named: list[_NamedSize], title: str,
) -> tuple[Any, bool]:  # fmt: skip
    """Trace; keep what we translate and break down the rest as far as PyTorch can."""
    import torch

    with _evaluation(module) as was_training:
        try:
            program = torch.export.export(module, args, kwargs, dynamic_shapes=shapes, strict=False)
        except _tracing_errors() as error:
            program = _with_relations(module, args, kwargs, shapes, named)
            if program is None:
                raise _traced_badly(title, error) from error
        try:
            table = torch.export.default_decompositions()
            for operator in [op for op in table if str(op) in TRANSLATORS]:
                del table[operator]
            _alias_literals(program.constants)
            return program.run_decompositions(table), was_training
        except _tracing_errors() as error:
            raise _traced_badly(title, error) from error


def _alias_literals(constants: dict[str, Any]) -> None:
    """Make tensors that ``forward`` of a part writes down be found under their short names too.

    `torch.export` files them under the part's path, `run_decompositions` (2.13) looks without.
    """
    for name in list(constants):
        short = name.rpartition(".")[2]
        if short.startswith("lifted_tensor_"):
            constants.setdefault(short, constants[name])


def _with_relations(
    module: Any, args: tuple[Any, ...], kwargs: dict[str, Any], shapes: Any,
    named: list[_NamedSize],
) -> Any:  # fmt: skip
    """Trace again and accept relations of open sizes (an even height, say); None if that fails.

    Every size that has a name must stay open, and the same name must be the same size.
    """
    import torch

    if shapes is None:
        return None
    loose = {
        parameter: None if axes is None else dict.fromkeys(axes, torch.export.Dim.AUTO)
        for parameter, axes in shapes.items()
    }
    try:
        program = torch.export.export(module, args, kwargs, dynamic_shapes=loose, strict=False)
    except _tracing_errors():
        return None  # the first refusal says more
    found = _open_sizes(program, named)
    distinct = dict(found)
    if len(found) < len(named) or any(distinct[text] != name for text, name in found):
        return None
    texts = {name: text for text, name in found}
    return program if all(texts[name] == text for text, name in found) else None


def _tracing_errors() -> tuple[type[Exception], ...]:
    """Return what tracing and a user's ``forward`` raise; most of PyTorch's own are among these."""
    from torch._export.verifier import SpecViolationError

    return (
        RuntimeError, ValueError, TypeError, AttributeError, LookupError, ArithmeticError,
        AssertionError, SpecViolationError,
    )  # fmt: skip


def _traced_badly(title: str, error: BaseException) -> ModelError:
    return ModelError(
        f"{title}: torch.export", found=_reason(error), wanted="a module that PyTorch can trace",
        fix=_advice(str(error)),
    )  # fmt: skip


def _reason(error: BaseException) -> str:
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    kept = [line for line in lines if not line.startswith(("For more info", "Suggested fixes"))]
    text = " ".join(kept[:2]) if kept else "no message"
    return f"{type(error).__name__}: {text}"


def _advice(text: str) -> str:
    if "onstraints violated" in text or "pecialized" in text:
        return "the network fixes a size that `dynamic` leaves open: take that name away"
    if "data-dependent" in text or "Dynamic control flow" in text:
        return "write the branch with torch.where, or make the size it depends on a constant"
    if "not a known type" in text:
        return "return tensors, tuples or dicts (for a decoder of transformers: use_cache=False)"
    if "mat1 and mat2" in text or "shape" in text or "size" in text:
        return "check that module(*example_inputs) runs, then torch.export.export by itself"
    return "check that module(*example_inputs) runs, then try torch.export.draft_export"


def _open_sizes(program: Any, named: list[_NamedSize]) -> list[tuple[str, str]]:
    """Return PyTorch's expression and the user's name of each named size that stayed open."""
    values = {n.name: n.meta.get("val") for n in program.graph.nodes if n.op == "placeholder"}
    found = []
    for parameter, axis, size_name in named:
        value = values.get(parameter)
        if value is not None and not isinstance(value.shape[axis], int):
            text = str(value.shape[axis].node.expr)
            if not text.isdigit():  # a symbol that the network fixed
                found.append((text, size_name))
    return found


def _array(tensor: Any, where: str) -> NDArray[Any]:
    """Return a view of a tensor's storage (a copy when it lies on another device)."""
    import torch

    tensor = tensor.detach()
    if tensor.device.type == "meta" or tensor.layout is not torch.strided or tensor.is_quantized:
        raise ModelError(
            where, found=f"a {tensor.layout} tensor on device {tensor.device}",
            wanted="a dense tensor with values", fix="load or materialise the weights",
        )  # fmt: skip
    tensor = tensor.cpu().resolve_conj().resolve_neg()
    name = element_type(tensor.dtype)
    carrier = {"bfloat16": torch.int16}.get(name, torch.uint8 if "float8" in name else None)
    found: NDArray[Any]
    if carrier is None:
        found = tensor.numpy()
    else:  # NumPy itself lacks the type: the same bits through one that both have
        found = tensor.view(carrier).numpy().view(numpy_dtype(name))
    return found
