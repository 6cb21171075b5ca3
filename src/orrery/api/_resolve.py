"""From what a user types to a network."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from orrery.errors import SpecError, UnknownNameError

from ._options import ModelOptions

if TYPE_CHECKING:
    from orrery.graph import Graph

__all__ = ["load_model", "load_models"]


def load_model(
    model: object,
    options: ModelOptions | None = None,
    *,
    example_inputs: Sequence[Any] | None = None,
) -> Graph:
    """Return a graph from an ONNX file, a library name, a PyTorch module, or a graph.

    Parameters
    ----------
    model : path, name, ``torch.nn.Module`` or `Graph`
    options : sizes, phase, training
    example_inputs : a PyTorch module's positional inputs, to trace it with

    Raises
    ------
    SpecError, UnknownNameError : neither a file nor a library name; an option that does not apply
    ModelError, UnsupportedOperatorsError : the network cannot be read
    """
    from orrery.graph import MODELS, Graph, in_precision, read_onnx

    options = options or ModelOptions()
    if isinstance(model, Graph):
        graph = _without_library_options(model, model.name, options)
    elif isinstance(model, str | Path):
        text, path = str(model), Path(model)
        if text in MODELS:
            graph = _from_library(text, options)
        elif path.suffix == ".onnx" or path.is_file():
            graph = _without_library_options(read_onnx(path), text, options)
        elif path.suffix or "/" in text:
            raise SpecError(
                text,
                found="no such file",
                wanted="an ONNX file or a library name",
                fix="check the path; `orrery models` lists the names",
            )
        else:
            raise UnknownNameError("network", text, MODELS)
    else:
        from orrery.graph import from_torch

        if example_inputs is None:
            raise SpecError(
                "load_model",
                found="a module without example inputs",
                wanted="inputs to trace it with",
                fix="give example_inputs=(…,)",
            )
        graph = _without_library_options(from_torch(model, example_inputs), "module", options)
    graph = _bind(graph, options.shape)
    if options.precision is not None:
        graph = in_precision(graph, options.precision)
    return graph.training(options.optimizer) if options.training else graph


def _from_library(name: str, options: ModelOptions) -> Graph:
    from orrery.graph import build_model

    given = {key: getattr(options, key) for key in ("batch", "phase", "context")}
    return build_model(name, **{k: v for k, v in given.items() if v is not None})


def _without_library_options(graph: Graph, name: str, options: ModelOptions) -> Graph:
    for key in ("batch", "phase", "context"):
        if getattr(options, key) is not None:
            raise SpecError(
                f"--{key}",
                found=f"{name}, which is not a library network",
                wanted=f"a library network, whose builder knows --{key}",
                fix="bind the file's own dimensions: --shape NAME=SIZE"
                + (f" ({', '.join(graph.symbols)})" if graph.symbols else ""),
            )
    return graph


def _bind(graph: Graph, shape: Sequence[str]) -> Graph:
    sizes: dict[str, int] = {}
    for text in shape:
        name, sign, size = text.partition("=")
        if not sign or not size.isdigit() or not name:
            raise SpecError("--shape", found=text, wanted="NAME=SIZE", fix="write e.g. batch=8")
        sizes[name] = int(size)
    if sizes:
        graph = graph.bind(**sizes)
    if graph.symbols:
        first = graph.symbols[0]
        raise SpecError(
            f"{graph.name}: inputs",
            found=f"unbound dimensions {', '.join(graph.symbols)}",
            wanted="a size for each",
            fix=f"add --shape {first}=8",
        )
    return graph


def load_models(names: Sequence[object], options: ModelOptions | None = None) -> list[Graph]:
    """Return one graph per name; several with one name are refused."""
    graphs = [load_model(name, options) for name in names]
    seen = [graph.name for graph in graphs]
    for name in seen:
        if seen.count(name) > 1:
            raise SpecError(
                "models",
                found=f"{name!r} twice",
                wanted="networks of unlike names",
                fix="save one under another name, or raise --batch",
            )
    return graphs
