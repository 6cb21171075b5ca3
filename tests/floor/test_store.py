"""Files are whole or absent; headers, schemas and the cache."""

from __future__ import annotations

import errno
import json
import os
from dataclasses import dataclass
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from orrery.errors import SpecError
from orrery.store import (
    Cache,
    atomic_write,
    content_hash,
    open_plain,
    read_record,
    strict_convert,
    whole_folder,
    write_record,
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Leaf:
    size_bytes: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Tree:
    name: str
    leaves: tuple[Leaf, ...] = ()
    by_name: dict[str, Leaf] | None = None


TREE = Tree(name="a", leaves=(Leaf(size_bytes=1),), by_name={"x": Leaf(size_bytes=2)})


def test_there_and_back(tmp_path: Path) -> None:
    write_record(tmp_path / "t.json", "tree", 1, TREE)
    assert read_record(tmp_path / "t.json", "tree", Tree, 1) == TREE


def test_a_failed_write_leaves_the_old_file_and_nothing_else(tmp_path: Path) -> None:
    path = tmp_path / "f"
    path.write_text("old")
    with pytest.raises(RuntimeError), atomic_write(path) as handle:
        handle.write(b"half")
        raise RuntimeError("disk gone")
    assert path.read_text() == "old"
    assert [p.name for p in tmp_path.iterdir()] == ["f"]


def test_written_files_have_the_mode_of_ordinary_files(tmp_path: Path) -> None:
    (tmp_path / "plain").touch()
    with atomic_write(tmp_path / "ours") as handle:
        handle.write(b"x")
    assert (tmp_path / "ours").stat().st_mode == (tmp_path / "plain").stat().st_mode


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda d: d.pop("orrery"), "no header"),
        (lambda d: d["orrery"].update(kind="plan"), "wanted a tree file"),
        (lambda d: d["orrery"].update(schema=9), "wanted schema 1 of tree"),
        (lambda d: d["tree"].update(nam="b"), "did you mean 'name'"),
        (lambda d: d["tree"]["leaves"][0].update(size=3), "leaves[0]"),
        (lambda d: d["tree"]["by_name"]["x"].update(sizes_bytes=3), "did you mean 'size_bytes'"),
        (lambda d: d["tree"]["leaves"][0].update(size_bytes="3"), "leaves[0].size_bytes"),
        (lambda d: d["tree"].pop("name"), "missing required field"),
    ],
)
def test_damaged_files_are_refused_with_the_place(tmp_path: Path, change, message: str) -> None:  # type: ignore[no-untyped-def]
    path = tmp_path / "t.json"
    write_record(path, "tree", 1, TREE)
    document = json.loads(path.read_text())
    change(document)
    path.write_text(json.dumps(document))
    with pytest.raises(SpecError) as caught:
        read_record(path, "tree", Tree, 1)
    assert message in str(caught.value)
    assert "t.json" in str(caught.value)


@given(st.binary(max_size=60))
def test_random_bytes_are_refused(tmp_path_factory: pytest.TempPathFactory, data: bytes) -> None:
    path = tmp_path_factory.mktemp("r") / "t.json"
    path.write_bytes(data)
    with pytest.raises(SpecError):
        read_record(path, "tree", Tree, 1)


def test_no_such_file_and_a_folder(tmp_path: Path) -> None:
    with pytest.raises(SpecError, match="no such file"):
        read_record(tmp_path / "none.json", "tree", Tree, 1)
    with pytest.raises(SpecError):
        read_record(tmp_path, "tree", Tree, 1)


def test_the_previous_schema_still_opens(tmp_path: Path) -> None:
    path = tmp_path / "t.json"
    write_record(path, "tree", 1, {"label": "a"})
    read = read_record(path, "tree", Tree, 2, upgrade={1: lambda body: {"name": body["label"]}})
    assert read == Tree(name="a")


def test_convert_names_the_unknown_key() -> None:
    with pytest.raises(SpecError, match="unknown key 'colour'"):
        strict_convert({"name": "a", "colour": 1}, Tree, where="tree.yaml")


def test_hash_counts_borders() -> None:
    assert content_hash("ab", "c") != content_hash("a", "bc")
    assert content_hash("ab") == content_hash(b"ab")


def test_cache_gives_back_and_ignores_damage(tmp_path: Path) -> None:
    cache, key = Cache("c", folder=tmp_path), content_hash("k")
    assert cache.get(key) is None
    cache.put(key, b"value")
    assert cache.get(key) == b"value"
    stored = tmp_path / "c" / key[:2] / key
    stored.write_bytes(stored.read_bytes()[:-1] + b"!")
    assert cache.get(key) is None


def test_a_cache_that_cannot_be_written_is_no_error(tmp_path: Path) -> None:
    (tmp_path / "c").write_text("a file where the folder should be")
    cache = Cache("c", folder=tmp_path)
    cache.put(content_hash("k"), b"value")
    assert cache.get(content_hash("k")) is None


def test_the_user_can_move_the_cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ORRERY_CACHE", str(tmp_path / "elsewhere"))
    Cache("c").put(content_hash("k"), b"v")
    assert os.listdir(tmp_path / "elsewhere") == ["c"]  # noqa: PTH208  # a name is what is judged


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="no pipes in this system's folders")
def test_only_regular_files_are_opened(tmp_path):
    plain, pipe = tmp_path / "plain", tmp_path / "pipe"
    plain.write_bytes(b"abc")
    os.mkfifo(pipe)
    with open_plain(plain) as handle:
        assert handle.read() == b"abc"
    for path, kind in ((pipe, "a pipe"), (tmp_path, "a folder"), (Path(os.devnull), "a device")):
        with pytest.raises(OSError, match=f"{kind}, not a regular file"):
            open_plain(path)
        with pytest.raises(SpecError, match=f"{kind}, not a regular file"):
            read_record(path, "plan", dict, 1)
    with pytest.raises(OSError, match="null"):
        open_plain(Path("a\0b"))


def test_nesting_without_end_is_refused(tmp_path: Path) -> None:
    deep = 100_000
    (tmp_path / "list.json").write_text("[" * deep + "]" * deep)
    body = '{"a":' * deep + "1" + "}" * deep
    (tmp_path / "body.json").write_text('{"orrery":{"kind":"tree","schema":1},"tree":' + body + "}")
    for name in ("list.json", "body.json"):
        with pytest.raises(SpecError, match=r"recursion depth .*wanted a tree file"):
            read_record(tmp_path / name, "tree", Tree, 1)


def test_a_scratch_folder_of_a_killed_program_is_swept(tmp_path: Path) -> None:
    left = tmp_path / ".writing-dead"
    left.mkdir()
    (left / "plan.json").write_text("half")
    os.utime(left, (0, 0))
    fresh = tmp_path / ".writing-young"  # may not have its lock yet
    fresh.mkdir()
    mine = tmp_path / "writing-mine"
    mine.mkdir()
    with whole_folder(tmp_path) as folder:
        (folder / "a").write_text("a")
    assert {p.name for p in tmp_path.iterdir()} == {"a", "writing-mine", ".writing-young"}


def test_a_scratch_folder_in_use_is_not_swept(tmp_path: Path) -> None:
    with whole_folder(tmp_path) as outer:
        (outer / "a").write_text("a")
        os.utime(outer, (0, 0))
        with whole_folder(tmp_path) as inner:
            (inner / "b").write_text("b")
        assert outer.is_dir()
    assert {p.name for p in tmp_path.iterdir()} == {"a", "b"}


@pytest.mark.parametrize("filename", [None, "scratch"])
def test_an_error_of_writing_names_what_was_asked_for(filename: str | None, tmp_path: Path) -> None:
    with pytest.raises(OSError, match="No space") as caught, whole_folder(tmp_path / "out") as new:
        given = () if filename is None else (str(new / "plan.json"),)
        raise OSError(errno.ENOSPC, "No space left on device", *given)
    wanted = tmp_path / "out" / ("plan.json" if filename else "")
    assert Path(caught.value.filename) == wanted
    with (
        pytest.raises(OSError, match="No space") as caught,
        atomic_write(tmp_path / "b" / "one.json"),
    ):
        raise OSError(errno.ENOSPC, "No space left on device")
    assert Path(caught.value.filename) == tmp_path / "b" / "one.json"


def test_an_error_of_reading_keeps_its_own_name(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError) as caught, whole_folder(tmp_path / "out"):
        (tmp_path / "elsewhere").read_text()
    assert Path(caught.value.filename) == tmp_path / "elsewhere"
