"""The arrow table of the house and the checks that enforce it, as plain functions on a folder.

`docs/architecture.md` explains the table; a change here is a change of the design and says why
there.
"""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from pathlib import Path

FLOOR = {
    "units", "errors", "provenance", "registry", "settings", "store", "progress", "plan",
    "timeline", "evidence", "certificate", "offload_plan", "compiled",
}  # fmt: skip
MAY_IMPORT: dict[str, set[str]] = {
    "graph": set(),
    "hardware": set(),
    "report": set(),
    "decompile": {"graph"},
    "cost": {"graph", "hardware"},
    "mapping": {"graph", "hardware", "cost"},
    "sim": {"graph", "hardware", "cost"},
    # The judge of certificates shares nothing with searchers, cost or replay.
    "certify": {"graph", "hardware"},
    "runtime": {"graph", "hardware", "cost"},
    "rtl": {"graph", "hardware"},
    "accel": {"graph", "hardware", "cost", "sim", "rtl"},
}
ROOMS = set(MAY_IMPORT)
MAY_IMPORT |= {"api": ROOMS, "cli": {"api"}, "studies": ROOMS | {"api"}}

#: heavy package -> the only places (files or folders below the package root) that may import it
CONFINED: dict[str, tuple[str, ...]] = {
    "torch": ("graph/_from_torch.py", "runtime/"),
    "onnx": ("graph/_onnx_io.py",),
    "onnxruntime": ("runtime/",),
    "openvino": ("runtime/",),
    "transformers": ("runtime/",),
    "lightning": ("runtime/",),
    "tvm": ("runtime/",),
    "iree": ("runtime/",),
    "unicorn": ("runtime/",),
    "ray": ("runtime/",),
    "ortools": ("mapping/_solver.py",),
    "highspy": ("mapping/_solver.py",),
    "scipy": ("mapping/_solver.py",),
    "angr": ("decompile/",),
    "amaranth": ("rtl/", "accel/*/circuit"),
    "pyosys": ("rtl/", "accel/*/circuit"),
}
#: packages that may be imported anywhere, but only inside a function
LAZY = {
    "numba", "torch", "onnxruntime", "openvino", "tvm", "iree", "unicorn", "ray", "ortools", "angr",
    "amaranth", "pyosys",
}  # fmt: skip
#: save where a file is nothing but circuits: its classes need the package, its door loads it late
EAGER: dict[str, tuple[str, ...]] = {"amaranth": ("rtl/parts/", "accel/*/circuit")}

#: one `__init__` may not bear the name of a function that users call
PUBLIC_VERBS = (
    "show", "recover", "map", "simulate", "advise", "tune", "run", "generate", "train", "score",
    "sweep", "diff", "calibrate", "validate", "study", "offload", "attention", "load",
)  # fmt: skip

MAX_LINES, MAX_FILES, MAX_DEPTH = 600, 15, 2
#: An accelerator is a folder already; its circuit, say, may be one in it.
DEEPER = re.compile(r"accel/\w+/")


def sources(root: Path) -> Iterator[Path]:
    """Return every Python file below the package root."""
    yield from sorted(p for p in root.rglob("*.py") if "__pycache__" not in p.parts)


def room_of(root: Path, path: Path) -> str:
    """Return the first part of a file's path: a room, a floor module or ``__init__``."""
    return path.relative_to(root).parts[0].removesuffix(".py")


def violations(root: Path) -> list[str]:
    """Return every breach of the arrow rules below `root`, one sentence each."""
    return [text for path in sources(root) for text in _of_file(root, path)]


def _of_file(root: Path, path: Path) -> Iterator[str]:
    name, room = str(path.relative_to(root)), room_of(root, path)
    if room in FLOOR:
        allowed = FLOOR
    elif room in MAY_IMPORT:
        allowed = MAY_IMPORT[room] | FLOOR | {room}
    elif room in {"__init__", "__main__"}:
        allowed = {"api", "cli"} | FLOOR
    else:
        yield f"{name} stands under no key of the arrow table"
        return
    tree = ast.parse(path.read_text(), name)
    for module, imported, node in _imports(root, path, tree):
        where = f"{name}:{node.lineno}"
        parts = module.split(".")
        if parts[0] != "orrery":
            yield from _confinement(name, where, parts[0], node, tree)
            continue
        if module == "orrery" and not imported:
            yield f"{where} imports bare orrery, which is for users"
            continue
        target = parts[1] if len(parts) > 1 else imported
        if target not in allowed:
            yield f"{where} may not import {target}"
        inner = [*parts[2:], imported] if len(parts) > 1 else []
        private = [p for p in inner if p.startswith("_") and not p.startswith("__")]
        if target != room and private and target in MAY_IMPORT:
            yield f"{where} reaches into {target}'s private {private[0]}"
    yield from _relative_escapes(root, path, tree)
    if room not in {"registry", "api"}:
        for node in ast.walk(tree):
            called = node.func if isinstance(node, ast.Call) else None
            label = getattr(called, "attr", getattr(called, "id", ""))
            if label in {"import_module", "__import__"}:
                yield f"{name}:{node.lineno} calls {label}; only registry and api may"


def _imports(
    root: Path, path: Path, tree: ast.AST
) -> Iterator[tuple[str, str, ast.Import | ast.ImportFrom]]:
    """Yield (module, imported name, node); relative imports are made absolute."""
    package = ["orrery", *path.relative_to(root).parts[:-1]]
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            for alias in node.names:
                yield alias.name, "", node
        elif isinstance(node, ast.ImportFrom):
            base = package[: len(package) - node.level + 1] if node.level else []
            module = ".".join([*base, *(node.module or "").split(".")]).strip(".")
            for alias in node.names:
                yield module, alias.name, node


def _relative_escapes(root: Path, path: Path, tree: ast.AST) -> Iterator[str]:
    depth = len(path.relative_to(root).parts) - 1
    for node in ast.walk(tree):
        # Floor modules sit at the root: one dot is the floor itself. In a room, as many dots as
        # the file is deep reach the room's own door; one more leaves the room.
        if isinstance(node, ast.ImportFrom) and node.level > max(depth, 1):
            yield f"{path.relative_to(root)}:{node.lineno} leaves its room by a relative import"


def _confinement(
    name: str, where: str, package: str, node: ast.AST, tree: ast.AST
) -> Iterator[str]:
    places = CONFINED.get(package)
    if places is not None and not any(_inside(name, place) for place in places):
        yield f"{where} may not import {package}; only {', '.join(places)} may"
    eager = any(_inside(name, place) for place in EAGER.get(package, ()))
    if package in LAZY and not eager and not _in_function(node, tree):
        yield f"{where} imports {package} at module level; import it where it is used"


def _inside(name: str, place: str) -> bool:
    if "*" in place:
        head, tail = place.split("*")
        middle = name.removeprefix(head)
        return name.startswith(head) and "/" in middle and tail in middle[middle.index("/") :]
    return name.startswith(place)


def _in_function(node: ast.AST, tree: ast.AST) -> bool:
    functions = (ast.FunctionDef, ast.AsyncFunctionDef)
    for outer in ast.walk(tree):
        if isinstance(outer, functions) and any(inner is node for inner in ast.walk(outer)):
            return True
        checking = isinstance(outer, ast.If) and "TYPE_CHECKING" in ast.dump(outer.test)
        if checking and any(inner is node for inner in ast.walk(outer)):
            return True
    return False


def size_violations(root: Path) -> list[str]:
    """Return files and folders beyond the agreed sizes."""
    found = []
    for path in sources(root):
        name, text = path.relative_to(root), path.read_text()
        if text.count("\n") > MAX_LINES and "lines because" not in text[:2000]:
            found.append(f"{name} has {text.count(chr(10))} lines; split it or say why on top")
        deepest = MAX_DEPTH + bool(DEEPER.match(name.as_posix()))
        if len(name.parts) - 1 > deepest:
            found.append(f"{name} lies deeper than {deepest} folders")
        door = name.name == "__init__.py"
        if name.parts[0] == "api" and not door and text.count("\n") > 150:
            found.append(f"{name} has over 150 lines; an api file holds no algorithm")
    for folder in sorted({path.parent for path in sources(root)}):
        files = [p for p in folder.iterdir() if p.suffix == ".py" and p.name != "__init__.py"]
        if folder != root and len(files) > MAX_FILES:
            found.append(f"{folder.relative_to(root)} holds {len(files)} files, over {MAX_FILES}")
    return found


def lines_per_room(root: Path) -> dict[str, int]:
    """Return lines of code per room, floor modules together."""
    meter: dict[str, int] = {}
    for path in sources(root):
        room = room_of(root, path)
        key = "floor" if room in FLOOR or room.startswith("__") else room
        meter[key] = meter.get(key, 0) + path.read_text().count("\n")
    return meter
