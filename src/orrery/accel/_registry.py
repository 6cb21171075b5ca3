"""The catalogue of accelerators, and the reader of calls such as ``systolic(rows=32, cols=32)``.

The text may come from a plan or a YAML file of somebody else: it is parsed, never executed, and
only keyword arguments with literal numbers, words and booleans are accepted.
"""

from __future__ import annotations

import ast
import inspect
from collections.abc import Mapping
from typing import Any

from orrery.errors import SpecError, UnknownNameError, did_you_mean
from orrery.registry import Registry

from ._record import Accelerator

#: accelerator name -> function of a few parameters that returns an `Accelerator`
ACCELERATORS = Registry(
    "accelerator",
    {
        "tiled": "orrery.accel.tiled:tiled",
        "systolic": "orrery.accel.systolic:systolic",
        "winograd": "orrery.accel.winograd:winograd",
        "spatial": "orrery.accel.spatial:spatial",
        "bitlet": "orrery.accel.bitlet:bitlet",
    },
)

#: A call is short; a longer text is a mistake or an attempt to exhaust the parser.
_LONGEST_CALL = 400
_FORM = "a call such as 'systolic(rows=32, cols=32)'"


def parameters(name: str, registry: Registry = ACCELERATORS) -> dict[str, object]:
    """Return the parameters of an accelerator with their defaults."""
    signature = inspect.signature(registry[name])
    return {p.name: p.default for p in signature.parameters.values()}


def resolve(text: str, registry: Registry = ACCELERATORS) -> Accelerator:
    """Return the accelerator that a call describes.

    Parameters
    ----------
    text : a name (``tiled``) or a call with keyword literals (``tiled(tm=64, tn=7)``)

    Raises
    ------
    UnknownNameError : no such accelerator; offers the nearest
    SpecError : not a call, an unknown parameter (the nearest is offered), a value of the wrong
        type, or one that the design refuses
    """
    name, arguments = read_call(text)
    if name not in registry:
        raise UnknownNameError(registry.kind, name, registry.names())
    build = registry[name]
    parameters = inspect.signature(build).parameters
    for key, value in arguments.items():
        where = f"accelerator {name!r}: {key}"
        if key not in parameters:
            raise SpecError(
                where, found=f"unknown parameter {key!r}", wanted=f"one of {', '.join(parameters)}",
                fix=f"correct or remove it{did_you_mean(key, parameters)}",
            )  # fmt: skip
        default = parameters[key].default
        if not _fits(value, default):
            raise SpecError(
                where, found=repr(value), wanted=f"{_KINDS[type(default)]}, like {default!r}",
                fix="correct the value",
            )  # fmt: skip
    built: Accelerator = build(**arguments)
    return built


def read_call(text: str) -> tuple[str, Mapping[str, Any]]:
    """Split ``name(key=literal, …)`` into name and arguments without running anything.

    Raises
    ------
    SpecError : anything but a name or a call with keyword literals
    """
    where = f"accelerator {text[:60]!r}"
    if len(text) > _LONGEST_CALL:
        raise SpecError(where, found=f"{len(text)} characters", wanted=_FORM,
                        fix=f"stay below {_LONGEST_CALL} characters")  # fmt: skip
    try:
        tree = ast.parse(text.strip(), mode="eval").body
    except (SyntaxError, ValueError, RecursionError, MemoryError) as error:
        raise SpecError(where, found=str(error), wanted=_FORM, fix="correct the text") from None
    if isinstance(tree, ast.Name):
        return tree.id, {}
    if not isinstance(tree, ast.Call) or not isinstance(tree.func, ast.Name):
        raise SpecError(where, found=f"a {type(tree).__name__.lower()}", wanted=_FORM,
                        fix="write the name and, in brackets, keyword arguments")  # fmt: skip
    if tree.args:
        raise SpecError(where, found="an argument without a name", wanted=_FORM,
                        fix="write name=value")  # fmt: skip
    arguments: dict[str, Any] = {}
    for keyword in tree.keywords:
        literal = _literal(keyword.value)
        if keyword.arg is None or literal is None:
            raise SpecError(where, found=ast.unparse(keyword), wanted="name=literal",
                            fix="write a plain number, word in quotes, True or False")  # fmt: skip
        if keyword.arg in arguments:
            raise SpecError(where, found=f"{keyword.arg!r} twice", wanted="each parameter once",
                            fix="remove one")  # fmt: skip
        arguments[keyword.arg] = literal
    return tree.func.id, arguments


def _literal(node: ast.expr) -> object | None:
    """Return a number with or without sign, a word or a boolean; None for anything else."""
    if isinstance(node, ast.UnaryOp) and isinstance(node.op, ast.USub):
        value = node.operand.value if isinstance(node.operand, ast.Constant) else None
        number = isinstance(value, int | float) and not isinstance(value, bool)
        return -value if number else None  # type: ignore[operator]  # a number
    return node.value if isinstance(node, ast.Constant) else None


_KINDS = {int: "a whole number", float: "a number", bool: "True or False", str: "a word in quotes"}


def _fits(value: object, default: object) -> bool:
    if isinstance(default, bool) or isinstance(value, bool):
        return isinstance(value, bool) and isinstance(default, bool)
    if isinstance(default, float):
        return isinstance(value, int | float)
    return isinstance(value, type(default))
