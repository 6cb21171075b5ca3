"""Files that are whole or absent, carry a header, and can be opened again; hashes; a cache."""

from __future__ import annotations

import contextlib
import errno
import hashlib
import json
import os
import shutil
import stat
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any, BinaryIO, TypeVar

import msgspec

from .errors import SpecError, did_you_mean
from .provenance import PROGRAM_VERSION

__all__ = [
    "Cache",
    "atomic_write",
    "cache_folder",
    "content_hash",
    "encode",
    "open_plain",
    "read_record",
    "strict_convert",
    "whole_folder",
    "write_record",
    "write_text",
]

T = TypeVar("T")

#: What a path may lead to that is no regular file: its test and its name.
_KINDS: tuple[tuple[Callable[[int], bool], str], ...] = (
    (stat.S_ISDIR, "a folder"), (stat.S_ISFIFO, "a pipe"), (stat.S_ISSOCK, "a socket"),
    (stat.S_ISCHR, "a device"), (stat.S_ISBLK, "a device"),
)  # fmt: skip


@contextlib.contextmanager
def atomic_write(path: Path) -> Iterator[BinaryIO]:
    """Write a file beside `path` and move it there when the block ends well; else leave nothing.

    Raises
    ------
    OSError : names `path` where the system names no file, as when the disk is full
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    descriptor, name = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.", suffix=".part")
    try:
        with _naming(path, Path(name)):
            with os.fdopen(descriptor, "wb") as handle:
                yield handle
                handle.flush()
                os.fsync(handle.fileno())
            # mkstemp makes private files; give this one the mode a plain open() would have.
            umask = os.umask(0)
            os.umask(umask)
            Path(name).chmod(0o666 & ~umask)
            Path(name).replace(path)
    except BaseException:
        Path(name).unlink(missing_ok=True)
        raise


@contextlib.contextmanager
def _naming(path: Path, scratch: Path) -> Iterator[None]:
    """Let errors of writing name what the user asked for: not nothing, and no scratch name."""
    try:
        yield
    except OSError as error:
        blamed = Path(os.fsdecode(error.filename)) if _is_path(error.filename) else None
        if blamed is None and error.errno is not None:
            raise OSError(error.errno, error.strerror, str(path)) from error
        if blamed is not None and blamed.is_relative_to(scratch):
            shown = path / blamed.relative_to(scratch)
            raise OSError(error.errno, error.strerror, str(shown)) from error
        raise


def _is_path(name: object) -> bool:
    return isinstance(name, str | bytes | os.PathLike)


def open_plain(path: Path) -> BinaryIO:
    """Open a regular file to read its bytes; a pipe, a device or a folder is refused, not awaited.

    Raises
    ------
    OSError : with `strerror` saying why, also for a name that no file can have
    """
    try:
        mode = path.stat().st_mode
    except ValueError as error:
        raise OSError(errno.EINVAL, str(error), str(path)) from None
    if stat.S_ISREG(mode):
        handle = path.open("rb")
        mode = os.fstat(handle.fileno()).st_mode  # of what was opened, whatever was there before
        if stat.S_ISREG(mode):
            return handle
        handle.close()
    kind = next((name for test, name in _KINDS if test(mode)), "something else")
    raise OSError(errno.EINVAL, f"{kind}, not a regular file", str(path))


@contextlib.contextmanager
def whole_folder(folder: Path) -> Iterator[Path]:
    """Yield a fresh folder whose files move into `folder` when the block ends well; else none do.

    Fresh folders that a killed program has left in `folder` are removed.

    Raises
    ------
    SpecError : a folder stands where one of the files should be
    OSError : names `folder` or a file of it, never the fresh one
    """
    made = not folder.exists()
    folder.mkdir(parents=True, exist_ok=True)
    _sweep(folder)
    fresh = Path(tempfile.mkdtemp(dir=folder, prefix=_SCRATCH))
    lock = _locked(fresh)
    try:
        with _naming(folder, fresh):
            yield fresh
            files = sorted(fresh.iterdir())
            for file in files:
                if (folder / file.name).is_dir():
                    raise SpecError(
                        str(folder / file.name),
                        found="a folder",
                        wanted="a file, or nothing",
                        fix="remove it or give another --out",
                    )
            for file in files:
                file.replace(folder / file.name)
            fresh.rmdir()
    except BaseException:
        shutil.rmtree(fresh, ignore_errors=True)
        if made:
            with contextlib.suppress(OSError):
                folder.rmdir()
        raise
    finally:
        if lock is not None:
            os.close(lock)


_SCRATCH = ".writing-"
#: A fresh folder younger than this may not have its lock yet.
_YOUNG_S = 60.0


def _locked(folder: Path) -> int | None:
    """Hold a folder until the descriptor is closed; None where another program holds it.

    The system lets go of the lock when a program ends, however it ends.
    """
    try:
        import fcntl
    except ImportError:  # a system without these locks; nothing is swept there
        return None
    descriptor = -1
    try:
        descriptor = os.open(folder, os.O_RDONLY)
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError:
        if descriptor >= 0:
            os.close(descriptor)
        return None
    return descriptor


def _sweep(folder: Path) -> None:
    """Remove the fresh folders of programs that were killed while they wrote."""
    with contextlib.suppress(OSError):
        for left in folder.glob(f"{_SCRATCH}*"):
            if left.is_symlink() or not left.is_dir():
                continue
            if time.time() - left.stat().st_mtime < _YOUNG_S:
                continue
            lock = _locked(left)
            if lock is not None:
                shutil.rmtree(left, ignore_errors=True)
                os.close(lock)


def write_text(path: Path, text: str) -> None:
    """Write a text file atomically, in UTF-8."""
    with atomic_write(path) as handle:
        handle.write(text.encode())


def content_hash(*parts: bytes | str) -> str:
    """Return the BLAKE2b-160 hash of the parts as 40 hex digits; part borders count."""
    digest = hashlib.blake2b(digest_size=20)
    for part in parts:
        data = part.encode() if isinstance(part, str) else part
        digest.update(len(data).to_bytes(8, "little"))
        digest.update(data)
    return digest.hexdigest()


def encode(value: Any) -> Any:
    """Return a record as plain dictionaries, lists, text and numbers."""
    return msgspec.to_builtins(value, order="deterministic")


def write_record(
    path: Path, kind: str, version: int, body: Any, *, beside: Mapping[str, Any] | None = None,
    indent: int | None = 1,
) -> None:  # fmt: skip
    """Write a record as JSON under a header that names its kind and schema version.

    `beside` holds further top-level keys, for other programs that read the same file; without
    `indent` all is one line.
    """
    document = {
        "orrery": {"kind": kind, "schema": version, "program": PROGRAM_VERSION},
        kind: encode(body),
        **(beside or {}),
    }
    write_text(
        path, json.dumps(document, indent=indent, ensure_ascii=False, allow_nan=False) + "\n"
    )


def read_record(
    path: Path,
    kind: str,
    type_: type[T],
    version: int,
    *,
    upgrade: dict[int, Callable[[Any], Any]] | None = None,
    broken: str = "make the file again",
) -> T:
    """Read what `write_record` wrote.

    `upgrade[v]` turns the plain body of schema v into that of v + 1, so that files of the previous
    schema still open. Readers are strict: an unknown key is an error. `broken` says what to do with
    a file that is none.

    Raises
    ------
    SpecError : not JSON, another kind of file, a newer schema, unknown or missing keys
    """
    where = str(path)
    wanted = f"{'an' if kind[0] in 'aeio' else 'a'} {kind} file"
    try:
        with open_plain(path) as handle:
            document = json.loads(handle.read())
    except FileNotFoundError:
        raise SpecError(where, found="no such file", wanted=wanted, fix="check the path") from None
    except OSError as error:
        found = error.strerror or str(error)
        raise SpecError(where, found=found, wanted=wanted, fix="check the path") from None
    except (ValueError, RecursionError) as error:
        raise SpecError(where, found=str(error), wanted=f"{wanted} (JSON)", fix=broken) from None
    header = document.get("orrery") if isinstance(document, dict) else None
    if not isinstance(header, dict) or header.get("kind") != kind or kind not in document:
        found = header.get("kind", "no header") if isinstance(header, dict) else "no header"
        raise SpecError(where, found=found, wanted=wanted, fix="give the right file")
    schema, body = header.get("schema"), document[kind]
    while isinstance(schema, int) and schema < version and upgrade and schema in upgrade:
        body, schema = upgrade[schema](body), schema + 1
    if schema != version:
        raise SpecError(
            f"{where}: orrery.schema",
            found=schema,
            wanted=f"schema {version} of {kind}",
            fix="open it with the program version that wrote it, or make it again",
        )
    return strict_convert(body, type_, where=where)


def strict_convert(body: Any, type_: type[T], *, where: str) -> T:
    """Turn plain data into a record; unknown keys, wrong types and missing keys are refused."""
    _refuse_unknown_keys(body, type_, where)
    try:
        return msgspec.convert(body, type_)
    except msgspec.ValidationError as error:
        message, _, place = str(error).partition(" - at ")
        raise SpecError(
            f"{where}: {place.strip('`$.') or 'top level'}", found=message,
            wanted=f"a valid {getattr(type_, '__name__', type_)}", fix="correct this entry",
        ) from None  # fmt: skip


def _refuse_unknown_keys(body: Any, type_: Any, where: str) -> None:
    info = msgspec.inspect.type_info(type_)
    _walk(body, info, where)


def _walk(body: Any, info: Any, where: str) -> None:
    inspect = msgspec.inspect
    if isinstance(info, inspect.UnionType):
        # msgspec allows one record or dictionary type in a union, so the kind decides.
        for option in info.types:
            _walk(body, option, where)
    elif isinstance(info, inspect.DataclassType | inspect.StructType) and isinstance(body, dict):
        fields = {field.encode_name: field for field in info.fields}
        for key, value in body.items():
            if key not in fields:
                raise SpecError(
                    where,
                    found=f"unknown key {key!r}",
                    wanted=f"one of {', '.join(fields)}",
                    fix=f"remove or correct it{did_you_mean(str(key), fields)}",
                )
            _walk(value, fields[key].type, f"{where}: {key}")
    elif isinstance(info, inspect.DictType) and isinstance(body, dict):
        for key, value in body.items():
            _walk(value, info.value_type, f"{where}: {key}")
    elif isinstance(info, inspect.VarTupleType | inspect.ListType) and isinstance(body, list):
        for index, value in enumerate(body):
            _walk(value, info.item_type, f"{where}[{index}]")


def cache_folder() -> Path:
    """Return the user's cache folder for this program (``ORRERY_CACHE`` overrides it)."""
    given = os.environ.get("ORRERY_CACHE")
    if given:
        return Path(given)
    base = os.environ.get("XDG_CACHE_HOME")
    return (Path(base) if base else Path.home() / ".cache") / "orrery"


class Cache:
    """Results on disk by content: same inputs, same key, same answer; safe to delete any time."""

    def __init__(self, name: str, *, folder: Path | None = None) -> None:
        self.folder = (folder or cache_folder()) / name

    def get(self, key: str) -> bytes | None:
        """Return what was stored under the key, or None; a damaged entry counts as absent."""
        try:
            data = (self.folder / key[:2] / key).read_bytes()
        except OSError:
            return None
        stored, payload = data[:40].decode("ascii", "replace"), data[40:]
        return payload if content_hash(payload) == stored else None

    def put(self, key: str, payload: bytes) -> None:
        """Store bytes under a key; a full or read-only disk is no error, the cache stays empty."""
        with contextlib.suppress(OSError), atomic_write(self.folder / key[:2] / key) as handle:
            handle.write(content_hash(payload).encode() + payload)
