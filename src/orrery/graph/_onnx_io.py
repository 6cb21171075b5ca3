"""ONNX files in and out; the only module that imports `onnx`.

Reading maps the file and leaves large constants where they are: the structure of a network of any
size takes milliseconds and megabytes. Judges: `onnx.checker`, ONNX Runtime, write → read → equal.
"""

from __future__ import annotations

import functools
import mmap
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from orrery.errors import ModelError, SpecError, UnsupportedOperatorsError, did_you_mean
from orrery.store import atomic_write, open_plain

from ._constant import FileConstant
from ._graph import Graph
from ._operator import OPERATORS
from .interchange._declared import require_agreement
from .interchange._reading import Reader
from .interchange._tensors import TensorSource
from .interchange._wire import lean
from .interchange._writing import ExternalFile, Writer, constants_of, opset_for


def read_onnx(path: str | Path, *, infer: bool = True) -> Graph:
    """Read an ONNX file of opset 11 or later.

    Every node is upgraded to the semantics of `CANONICAL_OPSET`. Constants stay in their file
    until somebody asks for their values: do not change the file while the graph is in use.

    Parameters
    ----------
    path : the ``.onnx`` file; external data must lie in its folder
    infer : compute the type of every tensor; otherwise types are those that the file declares

    Raises
    ------
    ModelError : no readable ONNX model; says what is wrong with it
    UnsupportedOperatorsError : with `infer`, operators that nobody knows, all of them
    """
    path = Path(path)
    where = str(path)
    try:
        with open_plain(path) as handle:
            mapped = mmap.mmap(handle.fileno(), 0, access=mmap.ACCESS_READ)
    except (OSError, ValueError) as error:
        found = getattr(error, "strerror", None) or "an empty file"
        raise ModelError(where, found=found, wanted="an ONNX file",
                         fix="check the path") from None  # fmt: skip
    # No `with`: an error's traceback holds views, under which a mapping cannot be closed.
    slim = lean(memoryview(mapped), where=where)
    source = TensorSource(where=where, path=path.absolute(), folder=path.absolute().parent,
                          span=slim.span)  # fmt: skip
    return _read(slim.message, source, path.stem, infer=infer)


def graph_from_bytes(
    data: bytes, name: str, folder: Path | None = None, *, infer: bool = True
) -> Graph:
    """Read an ONNX model from memory; `name` serves where the model has none.

    Raises
    ------
    ModelError, UnsupportedOperatorsError : as `read_onnx`; also external data without a `folder`
    """
    lean(memoryview(data), where=name, large_bytes=len(data) + 1)  # well-formed, or a clear error
    source = TensorSource(where=name, folder=None if folder is None else folder.absolute())
    return _read(data, source, name, infer=infer)


def write_onnx(
    graph: Graph,
    path: str | Path,
    *,
    external_data: bool = False,
    node_metadata: Mapping[str, Mapping[str, str]] | None = None,
    metadata: Mapping[str, str] | None = None,
) -> None:
    """Write a graph as an ONNX file, whole or not at all.

    Parameters
    ----------
    path : the ``.onnx`` file
    external_data : put large constants into ``<path>.data`` beside it, one at a time; needed
        above 2 GiB
    node_metadata : text pairs to write to nodes, by node name; reading a file leaves them out
    metadata : text pairs of the model, beside and above the graph's own

    Raises
    ------
    SpecError : the graph's constants lie in the file that would be overwritten; metadata of a node
        that the graph lacks
    ModelError : an input or output of unknown type, or constants too large for one file
    """
    path = Path(path)
    data_path = path.with_name(f"{path.name}.data")
    notes = node_metadata or {}
    for name in notes.keys() - {node.name for node in graph.nodes}:
        raise SpecError(f"{graph.name}: metadata", found=f"no node {name!r}",
                        wanted="nodes of the graph",
                        fix=f"correct the name{did_you_mean(name, [n.name for n in graph.nodes])}",
                        )  # fmt: skip
    if metadata:
        graph = replace(graph, metadata={**graph.metadata, **metadata})
    for constant in constants_of(graph):
        if isinstance(constant, FileConstant) and _same(constant.path, path, data_path):
            raise SpecError(
                str(path), found="the file that holds this graph's constants",
                wanted="another file", fix="write to a new path",
            )  # fmt: skip
    with atomic_write(path) as handle:
        if external_data:
            with atomic_write(data_path) as data:
                handle.write(_message(graph, ExternalFile(data, data_path.name), notes))
        else:
            handle.write(_message(graph, None, notes))


def onnx_bytes(graph: Graph) -> bytes:
    """Return a graph as the bytes of an ONNX file, constants included.

    Raises
    ------
    ModelError : an input or output of unknown type, or more than a protobuf message holds
    """
    return _message(graph, None)


@dataclass(frozen=True, slots=True, kw_only=True)
class OperatorRow:
    """What is known of one operator.

    Attributes
    ----------
    domain : ``""`` for ONNX's own operators
    since : opset of its newest version; 0 outside ONNX
    shape_rule, count, reference, derivative : whether the program has it
    excluded : why it is not claimed, when a whole family is left out on purpose
    """

    name: str
    domain: str
    since: int
    shape_rule: bool
    count: bool
    reference: bool
    derivative: bool
    excluded: str = ""

    @property
    def claimed(self) -> bool:
        return self.reference


def operator_table() -> list[OperatorRow]:
    """Return one row per operator: all of ONNX's own domain, and ours; by domain and name."""
    import onnx.defs

    from . import derivatives  # noqa: F401  # registers all of them, operators first

    newest: dict[str, Any] = {}
    for schema in onnx.defs.get_all_schemas_with_history():
        if not schema.domain and (
            schema.name not in newest or newest[schema.name].since_version < schema.since_version
        ):
            newest[schema.name] = schema
    # Constant nodes never reach a graph: reading turns them into constants.
    read_away = {"Constant"}
    keys = set(OPERATORS) | {("", name) for name, s in newest.items() if not s.deprecated}
    rows = []
    for domain, name in sorted(keys - {("", name) for name in read_away}):
        known = OPERATORS.get((domain, name))
        schema = newest.get(name) if not domain else None
        rows.append(
            OperatorRow(
                name=name,
                domain=domain,
                since=schema.since_version if schema else 0,
                shape_rule=known is not None,
                count=known is not None,
                reference=known is not None,
                derivative=known is not None and known.derivative is not None,
                excluded="" if known is not None or schema is None else _family(schema),
            )
        )
    return rows


def _family(schema: Any) -> str:
    """Return the excluded family an operator belongs to, or an empty text."""
    formals = [*schema.inputs, *schema.outputs]
    kinds = {kind for formal in formals for kind in formal.types}
    if schema.name.startswith(("Sequence", "Optional")) or any(
        all(kind.startswith("seq(") for kind in formal.types) for formal in formals
    ):
        return "sequences and optional values"
    if schema.name.startswith(("String", "Regex")) or kinds == {"tensor(string)"}:
        return "strings"
    return "image files" if schema.name == "ImageDecoder" else ""


def _read(message: bytes, source: TensorSource, name: str, *, infer: bool) -> Graph:
    import onnx
    from google.protobuf.message import DecodeError  # type: ignore[import-untyped]  # no stubs

    proto = onnx.ModelProto()
    try:
        proto.ParseFromString(message)
    except (DecodeError, ValueError, RecursionError):
        raise ModelError(
            source.where, found="bytes that are no ONNX model", wanted="an ONNX file",
            fix="check that it is an ONNX file and was copied whole",
        ) from None  # fmt: skip
    if proto.ir_version > onnx.IR_VERSION:
        raise ModelError(
            f"{source.where}: IR version", found=proto.ir_version,
            wanted=f"at most {onnx.IR_VERSION}", fix="export it for an older ONNX, or upgrade onnx",
        )  # fmt: skip

    def reader(ranks: dict[str, int]) -> Reader:
        return Reader(where=source.where, source=source, schema=_schema, since=_since, ranks=ranks)

    try:
        first = reader({})
        graph = first.model(proto, name)
        if not infer:
            return graph
        graph = graph.infer()
        require_agreement(graph, first.declared, source.where)
        if first.unknown_ranks:  # an upgrade says less clumsily what it means if ranks are known
            ranks = {tensor: type_.rank for tensor, type_ in graph.types.items()}
            if first.unknown_ranks & ranks.keys():
                graph = reader(ranks).model(proto, name).infer()
    except RecursionError:
        raise ModelError(
            source.where, found="bodies and functions nested too deeply",
            wanted="a graph that a person could draw", fix="check where the model comes from",
        ) from None  # fmt: skip
    except UnsupportedOperatorsError as error:
        raise UnsupportedOperatorsError(source.where, error.operators, fix=error.fix) from None
    except (ModelError, SpecError) as error:
        if error.where.startswith(source.where):
            raise
        # Inference knows the graph by its name, a user knows it by its file.
        inside = error.where.removeprefix(proto.graph.name or name)
        where = f"{source.where}: {inside.lstrip(': ')}" if inside else source.where
        raise type(error)(
            where, found=error.found, wanted=error.wanted, fix=error.fix
        ) from error  # fmt: skip
    return graph


def _message(
    graph: Graph,
    external: ExternalFile | None,
    notes: Mapping[str, Mapping[str, str]] | None = None,
) -> bytes:
    import onnx.helper

    opset = opset_for(graph, _schema)
    writer = Writer(schema=_schema, opset=opset, external=external, notes=notes or {})
    proto = onnx.ModelProto()
    writer.model(proto, graph)
    imports = [onnx.helper.make_opsetid("", opset)]
    imports += [onnx.helper.make_opsetid(domain, 1) for domain in sorted(writer.domains)]
    proto.opset_import.extend(imports)
    proto.ir_version = max(writer.ir_version, onnx.helper.find_min_ir_version_for(imports[:1]))
    proto.producer_name = "orrery"
    message: bytes = proto.SerializeToString(deterministic=True)
    return message


@functools.cache
def _schema(op: str, opset: int) -> Any:
    """Return the schema of a standard operator in an opset; None when it is not there."""
    import onnx.defs

    if not onnx.defs.has(op, opset, ""):
        return None
    return onnx.defs.get_schema(op, opset, "")


def _since(op: str) -> int | None:
    """Return the first opset that has a standard operator."""
    import onnx.defs

    if not onnx.defs.has(op):
        return None
    newest: int = onnx.defs.get_schema(op).since_version
    first = newest
    for opset in range(1, newest):
        if onnx.defs.has(op, opset, ""):
            return opset
    return first


def _same(path: Path, *others: Path) -> bool:
    return any(other.exists() and path.exists() and path.samefile(other) for other in others)
