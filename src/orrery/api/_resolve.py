"""From what a user types to a network."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from orrery.errors import SpecError, UnknownNameError
from orrery.graph import MODELS, Graph, build_model, in_precision, read_onnx

from ._options import ModelOptions
from ._sizes import BATCH_KEY, INFERENCE_KEY, PHASE_KEY, bind_shapes, state_batch


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
    options = options or ModelOptions()
    if isinstance(model, Graph):
        graph = _of_a_file(model, model.name, options)
    elif isinstance(model, str | Path):
        text, path = str(model), Path(model)
        if text in MODELS:
            graph = bind_shapes(_from_library(text, options), options.shape)
        elif path.suffix == ".onnx" or path.is_file():
            graph = _of_a_file(read_onnx(path), text, options)
        elif path.suffix or "/" in text or path.is_dir():
            raise SpecError(
                text,
                found="a folder" if path.is_dir() else "no such file",
                wanted="an ONNX file or a library name",
                fix="check the path; `orrery models` lists the names",
            )
        else:
            raise UnknownNameError("network", text, MODELS)
    elif not callable(getattr(model, "forward", None)):
        raise SpecError(
            "network",
            found=model,
            wanted="an ONNX file, a library name, a Graph or a torch.nn.Module",
            fix="see `orrery models`",
        )
    else:
        from orrery.graph import from_torch

        if example_inputs is None:
            raise SpecError(
                "load_model",
                found="a module without example inputs",
                wanted="inputs to trace it with",
                fix="give example_inputs=(…,)",
            )
        graph = _of_a_file(from_torch(model, example_inputs), "module", options)
    if options.weights is not None:
        from orrery.graph import read_safetensors, with_weights

        weights = read_safetensors(Path(options.weights))
        graph = with_weights(graph, weights, where=options.weights)
    if options.precision is not None:
        graph = in_precision(graph, options.precision)
    return graph.training(options.optimizer) if options.training else graph


def _from_library(name: str, options: ModelOptions) -> Graph:
    # A language model learns from every position, not from the last one alone.
    every = options.training and "all_logits" in MODELS[name].options
    given = {"all_logits": True} if every else {}
    if options.training and options.phase == "decode":
        raise SpecError(
            "--phase decode", found="--training", wanted="--phase prefill",
            fix="leave --phase out: a training step reads whole sequences",
        )  # fmt: skip
    chosen = {key: getattr(options, key) for key in ("batch", "phase", "context")}
    given |= {key: value for key, value in chosen.items() if value is not None}
    graph = build_model(name, **given)
    said = {BATCH_KEY: str(options.batch or 1)}
    task, taken = MODELS[name].task, {**MODELS[name].options, **given}
    if "phase" in taken:
        said[PHASE_KEY] = f"{taken['phase']}, context {taken['context']}"
    if "phase" in taken and taken["phase"] == "decode":
        said[INFERENCE_KEY] = "token"
    elif task.startswith("image classification"):
        said[INFERENCE_KEY] = "image"
    elif task.startswith(("language", "sentence encoding", "text generation")):
        said[INFERENCE_KEY] = "sequence"
    return replace(graph, metadata={**graph.metadata, **said})


def _of_a_file(graph: Graph, name: str, options: ModelOptions) -> Graph:
    for key in ("phase", "context"):
        if getattr(options, key) is not None:
            raise SpecError(
                f"--{key}",
                found=f"{name}, which is not a library network",
                wanted=f"a library network, whose builder knows --{key}",
                fix="bind the file's own dimensions: --shape NAME=SIZE"
                + (f" ({', '.join(graph.symbols)})" if graph.symbols else ""),
            )
    graph, shape = state_batch(graph, options.batch, options.shape)
    return bind_shapes(graph, shape, name)


def load_models(names: Sequence[object], options: ModelOptions | None = None) -> list[Graph]:
    """Return one graph per name; see `distinct`."""
    return distinct([load_model(name, options) for name in names], names)


def distinct(graphs: Sequence[Graph], origins: Sequence[object]) -> list[Graph]:
    """Return the networks, those that share an inner name under their files' names."""
    names = [graph.name for graph in graphs]
    return [
        replace(graph, name=Path(origin).stem)
        if names.count(graph.name) > 1 and isinstance(origin, str | Path)
        else graph
        for graph, origin in zip(graphs, origins, strict=True)
    ]
