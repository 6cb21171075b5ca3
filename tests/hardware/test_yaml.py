"""Judges: the text of every message; reading back what was written; arbitrary and mutated bytes."""

from __future__ import annotations

import os
from itertools import pairwise
from pathlib import Path

import pytest
from hypothesis import Phase, example, given, settings
from hypothesis import strategies as st

from orrery.errors import SpecError
from orrery.graph import TensorType
from orrery.hardware import (
    ELEMENT_TYPES,
    Compute,
    Device,
    Flash,
    Link,
    Memory,
    System,
    load_system,
    read_system,
    read_system_text,
    write_system,
)
from orrery.provenance import Basis, Source

GOOD = """\
name: two-boards
host: host
source: sheet
sources:
  sheet: {basis: published, where: "maker's data sheet"}
  guess: {basis: assumed, where: cable, note: not measured}
devices:
  - name: "board{i}"
    count: 2
    kind: fpga
    group: rack
    max_power: {value: "50 W", source: guess}
    compute:
      macs: {float32: "100 GMAC/s"}
      others: "10 Gop/s"
    memories:
      - {name: dram, size: "4 GiB", bandwidth: "10 GB/s", offchip: true}
links:
  - {switch: pcie, ports: [host, "@rack"], bandwidth: "64 Gbit/s",
     latency: {value: "1 us", source: guess}}
"""


def test_a_good_file_reads_into_sourced_records() -> None:
    system = read_system_text(GOOD)
    assert [device.name for device in system.devices] == ["board0", "board1"]
    board = system.device("board1")
    assert board.compute.macs_per_s == {"float32": 100e9}
    assert board.compute.others_per_s == 10e9 and board.compute.clock_hz is None
    assert board.offchip.size_bytes == 4 * 2**30
    assert board.sources["max_power_w"].note == "not measured"
    assert board.compute.sources["macs_per_s"].basis is Basis.PUBLISHED
    assert [link.ends for link in system.links] == [
        ("host", "pcie"), ("board0", "pcie"), ("board1", "pcie")]  # fmt: skip
    assert system.links[0].bandwidth_bytes_per_s == 8e9
    assert system.links[0].sources["latency_s"].basis is Basis.ASSUMED


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ('size: "4 GiB"', "size: 4", "file:17: devices[0].memories[0].size: found '4', wanted a "
         "size with a unit"),
        ('size: "4 GiB"', 'size: "4 Gb"', "change the unit 'Gb'"),
        ('"10 GB/s"', '"-10 GB/s"', "wanted a finite number above zero"),
        ('"10 GB/s"', '"0 GB/s"', "wanted a finite number above zero"),
        ('"10 GB/s"', '"nan GB/s"', "wanted a finite number above zero"),
        ('"10 GB/s"', '"1e999 GB/s"', "wanted a finite number above zero"),
        ('"10 GB/s"', ".nan", "wanted a bandwidth with a unit"),
        ('"10 GB/s"', "[1, 2]", "found 'a list of 2'"),
        ("bandwidth: \"10", "bandwith: \"10", "found \"unknown key 'bandwith'\", wanted one of "
         "name, size, bandwidth"),
        ("bandwidth: \"10", "bandwith: \"10", "did you mean 'bandwidth'?"),
        ("kind: fpga", "kind: fgpa", "did you mean 'fpga'?"),
        ("source: sheet\n", "", "file:13: devices[0].compute.macs"),
        ("source: sheet\n", "", "wanted a source for every number"),
        ("source: sheet\n", "source: shet\n", "did you mean 'sheet'?"),
        ("basis: assumed, where: cable, note: not measured", "basis: assumed, where: cable",
         "found 'an assumed source without a note'"),
        ("basis: published", "basis: publshed", "did you mean 'published'?"),
        ("float32:", "float33:", "did you mean 'float32'?"),
        ('name: "board{i}"', "name: board", "wanted a name with {i} for the number"),
        ("count: 2", "count: 2000", "wanted a whole number, 1 to 256"),
        ("count: 2", "count: -1", "wanted a whole number, 1 to 256"),
        ("count: 2", "count: 1_0", "wanted a whole number, 1 to 256"),
        ("kind: fpga", "kind: fpga\n    kind: gpu", "found \"key 'kind' twice\""),
        ("offchip: true", "offchip: yes", "wanted true or false"),
        (", offchip: true", "", "wanted exactly one off-chip memory"),
        ("host: host", "host: hots", "end of a link: board0, board1, host, pcie"),
        ("host: host", "host: home", "found 'home, which no link reaches'"),
        ('[host, "@rack"]', "[host, board0]", "device 'board1': found \"no route from 'host'\""),
        ('"@rack"', '"@rak"', "did you mean 'rack'?"),
        ('"@rack"', '"@rack", bord', "wanted a device, the host or a declared switch: board0"),
        ('"@rack"', '"@rack", bord', "did you mean 'board1'?"),
        ("links:", "switches: [pcie, spare]\nlinks:", "switch 'spare', which no link joins"),
        ("links:", "switches: [board0]\nlinks:", "found \"'board0', a name already given\""),
        ("switch: pcie, ports", "ring: [a, b, c], ports", "one of ends, ring, all-to-all"),
        ("latency: {value: \"1 us\", source: guess}", "duplex: true", "found \"no 'latency'\""),
        ("latency: {value: \"1 us\", source: guess}", "latency: \"1 parsec\"", "'parsec'"),
        ("name: two-boards", "name: &a two-boards", "a YAML anchor 'a'"),
        ("name: two-boards", "name: *a", "a YAML alias 'a'"),
        ("name: two-boards", "name: !!python/name:os.system x", "a YAML tag"),
        ("name: two-boards", "name: a\n---\nname: b", "a second document"),
        ("name: two-boards", "name: \"\\x07\"", "wanted printable text"),
        ("name: two-boards", "name:", "found 'nothing'"),
        ("name: two-boards\n", "", "found \"no 'name'\""),
        ("name: two-boards", "[a, b]: c", "a list or table as a key"),
        ("name: two-boards", "name: [", "wanted valid YAML"),
    ],
)  # fmt: skip
def test_every_mistake_says_where_and_what_to_do(old: str, new: str, message: str) -> None:
    assert old in GOOD
    with pytest.raises(SpecError) as caught:
        read_system_text(GOOD.replace(old, new, 1), "file")
    assert message in str(caught.value)
    assert str(caught.value).startswith("file")


@pytest.mark.parametrize(
    ("raw", "message"),
    [
        (b"", "an empty file"),
        (b"\xff\xfe\x00", "byte 0 is not UTF-8"),
        (b"name: " + b"x" * (1 << 20), "wanted at most 1048576 bytes"),
        (b"[" * 100_000, "nesting deeper than 24"),
        (b"a: &a [*a]", "a YAML anchor"),
        (b"a: &a [x]\nb: &b [*a, *a]\nc: [*b, *b]", "a YAML anchor"),
        (b"- " * 40 + b"x", "nesting deeper"),
        (b"[" + b"a," * 60_000 + b"]", "too many entries"),
        (b"just text", "wanted a table"),
        (b"\t", "wanted valid YAML"),
    ],
)
def test_hostile_bytes_are_refused_quickly(raw: bytes, message: str) -> None:
    with pytest.raises(SpecError, match=message):
        read_system_text(raw, "file")


def test_element_types_are_those_of_the_graph() -> None:
    for dtype in ELEMENT_TYPES:
        TensorType(dtype=dtype, shape=())


def test_a_missing_file_is_a_clear_error(tmp_path) -> None:
    with pytest.raises(SpecError, match="No such file"):
        read_system(tmp_path / "none.yaml")
    with pytest.raises(SpecError, match="a folder, not a regular file"):
        load_system(tmp_path)


def test_helpers_make_the_links_they_name() -> None:
    text = GOOD.replace("count: 2", "count: 4")
    common = 'bandwidth: "1 GB/s", latency: {value: "0 s", source: guess}'
    cut = text.index("links:")
    host = f"  - {{ends: [host, board0], {common}}}\n"
    ring = read_system_text(
        text[:cut] + f'links:\n{host}  - {{name: r, ring: ["@rack"], {common}}}'
    )
    assert [link.name for link in ring.links] == ["host--board0", "r:board0--board1",
        "r:board1--board2", "r:board2--board3", "r:board3--board0"]  # fmt: skip
    mesh = read_system_text(text[:cut] + f'links:\n{host}  - {{all-to-all: ["@rack"], {common}}}')
    assert len(mesh.links) == 1 + 6
    bus = read_system_text(
        text[:cut] + f'links:\n  - {{name: bus, ends: [host, "@rack"], {common}}}'
    )
    assert bus.link("bus").ends == ("host", "board0", "board1", "board2", "board3")


def test_options_change_values_and_own_up() -> None:
    system = load_system("h2h(link_bandwidth=1.25 GB/s)")
    assert {link.bandwidth_bytes_per_s for link in system.links} == {1.25e9}
    source = system.links[0].sources["bandwidth_bytes_per_s"]
    assert source.basis is Basis.ASSUMED and source.note == "given by the user"
    assert system.name == "h2h(link_bandwidth=1.25 GB/s)"
    assert load_system(system.name) == system
    assert load_system("h2h").digest != system.digest
    with pytest.raises(SpecError, match="did you mean 'link_bandwidth'"):
        load_system("h2h(link_bandwith=1 GB/s)")
    with pytest.raises(SpecError, match="bandwidth with a unit"):
        load_system("h2h(link_bandwidth=1)")
    with pytest.raises(SpecError, match="option=value"):
        load_system("h2h(1 GB/s)")
    with pytest.raises(SpecError, match="no options"):
        load_system("v100(x=1)")


# -- reading back what was written -------------------------------------------------------------

texts = st.text(st.characters(codec="utf-8", exclude_categories=["C", "Zl", "Zp"]), max_size=20)
words = st.from_regex(r"[A-Za-z][A-Za-z0-9_.+-]{0,8}", fullmatch=True)
positive = st.floats(1e-30, 1e30)
sizes = st.integers(1, 2**50)
sources = st.builds(
    Source, basis=st.sampled_from(Basis), where=texts.filter(str.strip), note=texts
).filter(lambda s: s.basis is not Basis.ASSUMED or s.note.strip())


@st.composite
def record(draw, type_, required, optional, **rest):
    values = {name: draw(strategy) for name, strategy in required.items()}
    for name, strategy in optional.items():
        if draw(st.booleans()):
            values[name] = draw(strategy)
    return type_(**values, **rest, sources={name: draw(sources) for name in values})


rates = st.dictionaries(st.sampled_from(ELEMENT_TYPES), positive, min_size=1, max_size=3)
computes = record(Compute, {"macs_per_s": rates},
                  {"others_per_s": positive, "clock_hz": positive, "mac_energy_j": rates,
                   "other_energy_j": positive})  # fmt: skip


@st.composite
def devices(draw, name):
    memories = [
        draw(record(Memory, {"size_bytes": sizes}, {"bandwidth_bytes_per_s": positive,
             "latency_s": positive, "energy_j_per_byte": positive}, name=n, offchip=n == "dram"))
        for n in draw(st.sampled_from([["dram"], ["l1", "dram"]]))
    ]  # fmt: skip
    flash = record(Flash, {"size_bytes": sizes, "read_bytes_per_s": positive,
                           "write_bytes_per_s": positive}, {"endurance_bytes": positive},
                   name="ssd")  # fmt: skip
    return draw(record(
        Device, {}, {"idle_power_w": positive, "max_power_w": positive, "area_mm2": positive,
                     "process_nm": positive, "price_usd": positive},
        name=name, kind=draw(st.sampled_from(["cpu", "gpu", "fpga", "asic"])),
        compute=draw(computes), memories=tuple(memories),
        flash=tuple(draw(st.lists(flash, max_size=1))),
        designs=tuple(draw(st.lists(texts, max_size=2))), group=draw(texts),
        operators=draw(st.none() | st.lists(words, max_size=2).map(tuple)),
    ))  # fmt: skip


@st.composite
def systems(draw):
    names = draw(st.lists(words, min_size=1, max_size=3, unique=True))
    links = [
        draw(record(Link, {"bandwidth_bytes_per_s": positive, "latency_s": st.just(0.0) | positive},
                    {"energy_j_per_byte": positive}, name=f"{a}--{b}", ends=(a, b),
                    duplex=draw(st.booleans())))
        for a, b in pairwise(names)
    ]  # fmt: skip
    return System(name=draw(texts.filter(str.strip)), description=draw(texts),
                  devices=tuple(draw(devices(name)) for name in names), links=tuple(links),
                  host=draw(st.sampled_from(["", *names])))  # fmt: skip


# Shrinking a whole system takes minutes; the first failing one says enough.
@settings(max_examples=60, deadline=None, phases=[Phase.explicit, Phase.reuse, Phase.generate])
@given(systems())
def test_what_was_written_reads_back_equal(system: System) -> None:
    again = read_system_text(write_system(system))
    assert again == system
    assert again.digest == system.digest


@pytest.mark.parametrize(
    "text", ["0 ", " 0", "a\u00a0b", "\u00a0x", "a: b # c", "'\"\\", "{i}", "☃"]
)
def test_texts_that_fuzzing_found_survive(text: str) -> None:
    source = Source(basis=Basis.ASSUMED, where=text, note=text)
    memory = Memory(name="m", size_bytes=1, offchip=True, sources={"size_bytes": source})
    device = Device(name="d", kind="cpu", compute=Compute(macs_per_s={}, sources={}), group=text,
                    memories=(memory,), designs=(text,))  # fmt: skip
    system = System(name=text, description=text, devices=(device,))
    assert read_system_text(write_system(system)) == system


# -- anything else is a clear error ------------------------------------------------------------


def refuses_or_reads(raw: bytes) -> None:
    try:
        system = read_system_text(raw, "file")
    except SpecError as error:
        assert str(error).startswith("file")
        str(error).encode()
    else:
        assert read_system_text(write_system(system)) == system


@settings(max_examples=150, deadline=None)
@given(st.binary(max_size=200) | st.text(max_size=200).map(lambda t: t.encode("utf-8", "replace")))
@example(b"name: 1\ndevices: []")
@example(b"? a\n: b")
@example(b"%YAML 9.9\n--- a")
@example(b"a: 0o8\nb: 1:60\nc: 2001-99-99")
@example(b"'\\ud800': x")
def test_arbitrary_bytes_never_crash(raw: bytes) -> None:
    refuses_or_reads(raw)


@settings(max_examples=250, deadline=None)
@given(st.data())
def test_mutated_files_never_crash(data) -> None:
    raw = bytearray(GOOD.encode())
    for _ in range(data.draw(st.integers(1, 4))):
        at = data.draw(st.integers(0, len(raw) - 1))
        what = data.draw(st.sampled_from(["cut", "flip", "insert", "double", "line"]))
        if what == "cut":
            del raw[at : at + data.draw(st.integers(1, 30))]
        elif what == "flip":
            raw[at] = data.draw(st.integers(0, 255))
        elif what == "insert":
            raw[at:at] = data.draw(st.sampled_from(
                [b"{", b"[", b"]", b":", b"&a ", b"*a", b"\n", b"- ", b"nan", b"-", b"0", b"\x00",
                 b"\xed\xa0\x80", b"? ", b"!!x ", b"|\n", b"{}", b"<<: "]))  # fmt: skip
        elif what == "double":
            raw[at:at] = raw[at : at + 40]
        else:
            lines = bytes(raw).split(b"\n")
            lines.insert(data.draw(st.integers(0, len(lines))),
                         data.draw(st.sampled_from(lines)))  # fmt: skip
            raw = bytearray(b"\n".join(lines))
        if not raw:
            break
    refuses_or_reads(bytes(raw))


def test_listed_switches_join_links_and_survive_writing() -> None:
    text = (
        GOOD[: GOOD.index("links:")]
        + """\
switches: [near, far]
links:
  - {ends: [host, near], bandwidth: "1 GB/s", latency: {value: "0 s", source: guess}}
  - {ends: [near, far], bandwidth: "1 GB/s", latency: {value: "0 s", source: guess}}
  - {ends: [far, board0, board1], bandwidth: "1 GB/s", latency: {value: "0 s", source: guess}}
"""
    )
    system = read_system_text(text)
    assert [link.name for link in system.route("host", "board1") or ()] == [
        "host--near", "near--far", "far--board0--board1",
    ]  # fmt: skip
    assert read_system_text(write_system(system)) == system
    with pytest.raises(SpecError, match="end 'far'"):
        read_system_text(text.replace("near, far]", "near]", 1))


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="no pipes in this system's folders")
def test_what_is_no_regular_file_is_refused_at_once(tmp_path) -> None:
    pipe = tmp_path / "s.yaml"
    os.mkfifo(pipe)
    for path in (pipe, Path(os.devnull)):
        with pytest.raises(SpecError, match="not a regular file"):
            read_system(path)
