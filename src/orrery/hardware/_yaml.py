"""Systems as YAML: a strict reader and a writer that agree.

Before (file)::

    name: two-boards
    host: host
    source: sheet
    sources:
      sheet: {basis: published, where: "maker's data sheet"}
      guess: {basis: assumed, where: "cable not measured"}
    devices:
      - name: "board{i}"
        count: 2
        kind: fpga
        compute: {macs: {float32: "100 GMAC/s"}, others: "10 Gop/s"}
        memories:
          - {name: dram, size: "4 GiB", bandwidth: "10 GB/s", offchip: true}
    links:
      - {switch: pcie, ports: [host, board0, board1], bandwidth: "8 GB/s",
         latency: {value: "1 us", source: guess}}

An end of a link is a device, the host, or a switch, which a ``switch:`` entry or the document's
``switches: [...]`` names; anything else is a slip.

After: a `System` whose every number carries the source nearest to it: its own
(``{value, source}``), that of its block, of a block around it, of the document. Without any it is
refused.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from itertools import combinations
from pathlib import Path
from typing import Any

from orrery.errors import SpecError, UnknownNameError, did_you_mean
from orrery.provenance import Source

from ._document import Item, parse, read_bytes
from ._records import Calibration, Compute, Device, Flash, Link, Memory, System
from ._sourced import SourcedReader

#: Names of element types, as the graph uses them.
ELEMENT_TYPES = (
    "bool", "int2", "uint2", "int4", "uint4", "int8", "uint8", "int16", "uint16", "int32",
    "uint32", "int64", "uint64", "float4e2m1", "float8e4m3fn", "float8e4m3fnuz", "float8e5m2",
    "float8e5m2fnuz", "float8e8m0", "float16", "bfloat16", "float32", "float64", "complex64",
    "complex128",
)  # fmt: skip

#: key in the file -> (field of the record, dimension, zero has a meaning)
COMPUTE_KEYS = {
    "macs": ("macs_per_s", "macs", False), "others": ("others_per_s", "rate", False),
    "clock": ("clock_hz", "frequency", False),
    "mac_energy": ("mac_energy_j", "energy per operation", True),
    "other_energy": ("other_energy_j", "energy per operation", True),
}  # fmt: skip
MEMORY_KEYS = {
    "size": ("size_bytes", "size", False),
    "bandwidth": ("bandwidth_bytes_per_s", "bandwidth", False),
    "latency": ("latency_s", "time", True),
    "energy": ("energy_j_per_byte", "energy per byte", True),
}  # fmt: skip
FLASH_KEYS = {
    "size": ("size_bytes", "size", False), "read": ("read_bytes_per_s", "bandwidth", False),
    "write": ("write_bytes_per_s", "bandwidth", False), "latency": ("latency_s", "time", True),
    "endurance": ("endurance_bytes", "size", False),
    "energy": ("energy_j_per_byte", "energy per byte", True),
}  # fmt: skip
LINK_KEYS = {
    "bandwidth": ("bandwidth_bytes_per_s", "bandwidth", False),
    "latency": ("latency_s", "time", True),
    "energy": ("energy_j_per_byte", "energy per byte", True),
}  # fmt: skip
DEVICE_KEYS = {
    "idle_power": ("idle_power_w", "power", True), "max_power": ("max_power_w", "power", False),
    "area": ("area_mm2", "area", False), "process": ("process_nm", "length", False),
    "price": ("price_usd", "price", False),
}  # fmt: skip
CALIBRATION_KEYS = {
    "macs": ("mac_share", "ratio", False), "others": ("others_share", "ratio", False),
    "bandwidth": ("bandwidth_share", "ratio", False),
    "overhead": ("overhead_s", "time", False), "low": ("low_ratio", "ratio", False),
    "high": ("high_ratio", "ratio", False), "confidence": ("interval_share", "ratio", False),
    "error": ("left_out_error", "ratio", False),
}  # fmt: skip

#: Classes of operators with MACs, each with an efficiency of its own.
OPERATOR_CLASSES = (
    "convolution", "grouped-convolution", "matrix-product", "attention", "recurrent", "others",
)  # fmt: skip

KINDS = ("cpu", "gpu", "fpga", "asic")
_MOST_DEVICES, _MOST_LINKS = 256, 2048
#: Keys of a link whose value lists ends; a switch lists them under ``ports``.
_SHAPES = ("ends", "ring", "all-to-all")
_Keys = Mapping[str, tuple[str, str, bool]]


def read_system(
    path: Path, options: Mapping[str, str] | None = None, *,
    check_design: Callable[[str], object] | None = None,
) -> System:  # fmt: skip
    """Read a system from a YAML file.

    Parameters
    ----------
    options : values for what the file lists under ``options:``, as text with a unit
    check_design : raises for a text under ``designs:`` that names no accelerator; this room knows
        none, but knows the line

    Raises
    ------
    SpecError : with file, line and key, what was found, what was wanted and what to change
    """
    return read_system_text(read_bytes(path), str(path), options, check_design=check_design)


def read_system_text(
    text: bytes | str, file: str = "system", options: Mapping[str, str] | None = None, *,
    check_design: Callable[[str], object] | None = None,
) -> System:  # fmt: skip
    """Read a system from the text of a YAML file; `file` stands in messages."""
    raw = text.encode("utf-8", "surrogatepass") if isinstance(text, str) else text
    return system_of(parse(raw, file), options, check_design=check_design)


def system_of(
    root: Item, options: Mapping[str, str] | None = None, *,
    check_design: Callable[[str], object] | None = None,
) -> System:  # fmt: skip
    """Read a system from the tree of a document."""
    return _Reader(root, dict(options or {}), check_design).system()


class _Reader(SourcedReader):
    """One pass over one document."""

    def __init__(
        self, root: Item, options: dict[str, str],
        check_design: Callable[[str], object] | None = None,
    ) -> None:  # fmt: skip
        self.root = root
        self.check_design = check_design
        self.top = root.keys(
            (
                "name",
                "description",
                "host",
                "source",
                "sources",
                "options",
                "devices",
                "switches",
                "links",
            ),
            required=("name", "devices"),
        )
        self.sources = self._sources(self.top.get("sources"))
        self.options = self._options(self.top.get("options"), options)
        self.given = options
        self._ends_known: frozenset[str] = frozenset()

    def system(self) -> System:
        default = self._source(self.top.get("source"))
        devices: list[Device] = []
        for item in self.top["devices"].items():
            devices += self._devices(item, default)
        if len(devices) > _MOST_DEVICES:
            raise self.top["devices"].error(found=f"{len(devices)} devices",
                wanted=f"at most {_MOST_DEVICES}", fix="describe fewer")  # fmt: skip
        host = self._name(self.top["host"]) if "host" in self.top else ""
        self._ends_known = self._known_ends(devices, host)
        ends = self._mentioned(devices)
        if host and host not in ends:
            near = did_you_mean(host, ends)
            raise self.top["host"].error(
                found=f"{host}, which no link reaches",
                wanted=f"a device, or an end of a link: {_shown(ends)}",
                fix=f"correct it{near}" if near else
                f"correct it, or add a link such as `ends: [{host}, {devices[0].name}]`",
            )  # fmt: skip
        links: list[Link] = []
        for item in self.top["links"].items() if "links" in self.top else ():
            links += self._links(item, default, devices)
            if len(links) > _MOST_LINKS:
                raise item.error(found=f"{len(links)} links", wanted=f"at most {_MOST_LINKS}",
                                 fix="join devices by a switch instead")  # fmt: skip
        name = self.top["name"].text("a name")
        if not name.strip() or "\n" in name or len(name) > 200:
            raise self.top["name"].error(wanted="a name in one line", fix="rename it")
        if self.given:
            name += f"({', '.join(f'{k}={self.given[k]}' for k in self.given)})"
        description = self.top["description"].text() if "description" in self.top else ""
        self._refuse_idle_switches(links)
        return self._make(self.root, System, {
            "name": name, "devices": tuple(devices), "links": tuple(links), "host": host,
            "description": description,
        })  # fmt: skip

    def _numbers(
        self, table: Mapping[str, Item], keys: _Keys, default: Source | None
    ) -> dict[str, Any]:
        """Return the fields of a record that the table gives, with their `sources`."""
        values: dict[str, Any] = {}
        sources: dict[str, Source] = {}
        for key, (name, dimension, zero) in keys.items():
            if key not in table:
                continue
            if name in ("macs_per_s", "mac_energy_j", "mac_share"):
                known = OPERATOR_CLASSES if name == "mac_share" else ELEMENT_TYPES
                values[name], sources[name] = self._by_kind(table[key], dimension, zero, default,
                                                            known)  # fmt: skip
                continue
            value, sources[name] = self._quantity(table[key], dimension, zero, default)
            if name == "size_bytes":
                if abs(value - round(value)) > 1e-6 * value or round(value) < 1:
                    raise table[key].error(wanted="a whole number of bytes", fix="correct the size")
                values[name] = round(value)
            else:
                values[name] = value
        return {**values, "sources": sources}

    def _by_kind(
        self, item: Item, dimension: str, zero: bool, default: Source | None, known: Iterable[str]
    ) -> tuple[dict[str, float], Source]:
        kinds = tuple(known)
        table = item.keys(("source", *kinds))
        source = self._source(table.get("source")) or default
        values = {}
        for key, entry in table.items():
            if key != "source":
                entry.text(f"a {dimension} with a unit, as text")
                values[key], found = self._quantity(entry, dimension, zero, source)
                source = found if source is None else source
        if not values or source is None:
            example = "convolution: '40 %'" if dimension == "ratio" else "float32: '100 GMAC/s'"
            raise item.error(wanted=f"a value for at least one of {', '.join(kinds)}",
                             fix=f"write e.g. {{{example}}}")  # fmt: skip
        return values, source

    # -- records --------------------------------------------------------------------------------

    def _devices(self, item: Item, default: Source | None) -> list[Device]:
        table = item.keys(
            ("name", "count", "first", "kind", "group", "group_size", "designs", "operators",
             "compute", "memories", "flash", "calibration", "source", *DEVICE_KEYS),
            required=("name", "kind", "compute", "memories"),
        )  # fmt: skip
        source = self._source(table.get("source")) or default
        kind = table["kind"].text()
        if kind not in KINDS:
            raise table["kind"].error(wanted=f"one of {', '.join(KINDS)}",
                                      fix=f"correct it{did_you_mean(kind, KINDS)}")  # fmt: skip
        compute = self._compute(table["compute"], source)
        memories = tuple(self._memory(m, source) for m in table["memories"].items())
        found = self._calibration(table["calibration"], source) if "calibration" in table else None
        disks = table["flash"].items() if "flash" in table else []
        flash = tuple(self._flash(disk, source) for disk in disks)
        count = table["count"].whole(1, _MOST_DEVICES) if "count" in table else 1
        first = table["first"].whole(0, 10**6) if "first" in table else 0
        size = table["group_size"].whole(1, count) if "group_size" in table else count
        template = table["name"].text("a name")
        if count > 1 and "{i}" not in template:
            raise table["name"].error(wanted="a name with {i} for the number",
                                      fix=f"write e.g. '{template}{{i}}'")  # fmt: skip
        operators = self._texts(table["operators"]) if "operators" in table else None
        designs = self._designs(table["designs"]) if "designs" in table else ()
        group = table["group"].text() if "group" in table else ""
        devices = []
        for i in range(count):
            values = self._numbers(table, DEVICE_KEYS, source)
            named = Item(file=item.file, path=table["name"].path, line=table["name"].line,
                         data=template.replace("{i}", str(first + i)))  # fmt: skip
            devices.append(self._make(item, Device, dict(
                values, name=self._name(named), kind=kind, compute=compute, memories=memories,
                flash=flash, designs=designs, operators=operators, calibration=found,
                group=group.replace("{g}", str(i // size)))))  # fmt: skip
        return devices

    def _compute(self, item: Item, default: Source | None) -> Compute:
        table = item.keys((*COMPUTE_KEYS, "source"))
        source = self._source(table.get("source")) or default
        values = {"macs_per_s": {}, **self._numbers(table, COMPUTE_KEYS, source)}
        return self._make(item, Compute, values)

    def _calibration(self, item: Item, default: Source | None) -> Calibration:
        table = item.keys((*CALIBRATION_KEYS, "source"))
        source = self._source(table.get("source")) or default
        return self._make(item, Calibration, self._numbers(table, CALIBRATION_KEYS, source))

    def _memory(self, item: Item, default: Source | None) -> Memory:
        table = item.keys(("name", *MEMORY_KEYS, "offchip", "source"), required=("name", "size"))
        values = self._numbers(table, MEMORY_KEYS, self._source(table.get("source")) or default)
        offchip = table["offchip"].boolean() if "offchip" in table else False
        named = {"name": self._name(table["name"]), "offchip": offchip}
        return self._make(item, Memory, values | named)

    def _flash(self, item: Item, default: Source | None) -> Flash:
        table = item.keys(
            ("name", *FLASH_KEYS, "source"), required=("name", "size", "read", "write")
        )
        values = self._numbers(table, FLASH_KEYS, self._source(table.get("source")) or default)
        return self._make(item, Flash, dict(values, name=self._name(table["name"])))

    def _designs(self, item: Item) -> tuple[str, ...]:
        if self.check_design is not None:
            for entry in item.items():
                try:
                    self.check_design(entry.text())
                except UnknownNameError as error:
                    near = did_you_mean(error.name, error.known)
                    raise entry.error(wanted=f"one of {', '.join(error.known)}",
                                      fix=f"correct the name{near}") from None  # fmt: skip
                except SpecError as error:
                    raise SpecError(f"{entry.where}: {error.where}", found=error.found,
                                    wanted=error.wanted, fix=error.fix) from None  # fmt: skip
        return self._texts(item)

    def _texts(self, item: Item) -> tuple[str, ...]:
        return tuple(entry.text() for entry in item.items())

    # -- links ----------------------------------------------------------------------------------

    def _links(self, item: Item, default: Source | None, devices: list[Device]) -> list[Link]:
        """One entry: a link or bus (`ends`), a `ring`, `all-to-all`, or a `switch` with `ports`."""
        table = item.keys(("name", *_SHAPES, "switch", "ports", *LINK_KEYS, "duplex", "source"),
                          required=("bandwidth", "latency"))  # fmt: skip
        given = [shape for shape in (*_SHAPES, "switch") if shape in table]
        if len(given) != 1 or ("ports" in table) != ("switch" in table):
            raise item.error(found=", ".join((*given, *(["ports"] if "ports" in table else [])))
                or "no ends", wanted="one of ends, ring, all-to-all, or switch with ports",
                fix="say which ends are joined, in one way")  # fmt: skip
        shape = given[0]
        if shape == "switch":
            centre = self._name(table["switch"])
            pairs = [(end, centre) for end in self._ends(table["ports"], devices)]
        else:
            ends = self._ends(table[shape], devices)
            if shape == "ends":
                pairs = [ends]  # type: ignore[list-item]  # a bus has more than two
            elif shape == "ring":
                if len(ends) < 3:
                    raise table["ring"].error(found=f"{len(ends)} ends", wanted="three or more",
                                              fix="use `ends:` for two")  # fmt: skip
                pairs = [(a, b) for a, b in zip(ends, (*ends[1:], ends[0]))]
            else:
                pairs = list(combinations(ends, 2))
        if not pairs:
            raise item.error(found="no two ends", wanted="two or more ends", fix="name them")
        values = self._numbers(table, LINK_KEYS, self._source(table.get("source")) or default)
        duplex = table["duplex"].boolean() if "duplex" in table else True
        prefix = self._name(table["name"]) if "name" in table else ""
        return [
            self._make(item, Link, dict(
                values, ends=tuple(pair), duplex=duplex,
                name=prefix if prefix and len(pairs) == 1 else
                (prefix + ":" if prefix else "") + "--".join(pair)))
            for pair in pairs
        ]  # fmt: skip

    def _known_ends(self, devices: list[Device], host: str) -> frozenset[str]:
        """Return the names that an end may bear: of devices, the host and declared switches."""
        names = {device.name for device in devices}
        switches = set()
        listed = self.top["switches"].items() if "switches" in self.top else []
        for entry in listed:
            name = self._name(entry)
            if name in names or name in switches:
                raise entry.error(found=f"{name!r}, a name already given", wanted="unique names",
                                  fix="rename one")  # fmt: skip
            switches.add(name)
        for item in self.top["links"].items() if "links" in self.top else ():
            if isinstance(item.data, dict) and "switch" in item.data:
                switches.add(self._name(item.data["switch"]))
        return frozenset(names | switches | ({host} if host else set()))

    def _mentioned(self, devices: list[Device]) -> set[str]:
        """Return the names of devices and of whatever links speak of, correct or not."""
        names = {device.name for device in devices}
        for item in self.top["links"].items() if "links" in self.top else ():
            table = item.data if isinstance(item.data, dict) else {}
            for key in ("switch", "ports", *_SHAPES):
                data = table[key].data if key in table else []
                entries = data if isinstance(data, list) else [table[key]] if key in table else []
                texts = {entry.data for entry in entries if isinstance(entry.data, str)}
                names |= {text for text in texts if not text.startswith("@")}
        return names

    def _refuse_idle_switches(self, links: list[Link]) -> None:
        joined = {end for link in links for end in link.ends}
        for entry in self.top["switches"].items() if "switches" in self.top else ():
            if entry.text() not in joined:
                raise entry.error(found=f"switch {entry.text()!r}, which no link joins",
                                  wanted="switches that links join",
                                  fix=f"remove it{did_you_mean(entry.text(), joined)}")  # fmt: skip

    def _ends(self, item: Item, devices: list[Device]) -> tuple[str, ...]:
        """Names of ends; ``@group`` stands for all devices of a group."""
        ends: list[str] = []
        for entry in item.items("a list of ends"):
            text = entry.text("the name of an end")
            if text.startswith("@"):
                members = [device.name for device in devices if device.group == text[1:]]
                if not members:
                    groups = sorted({device.group for device in devices if device.group})
                    near = did_you_mean(text[1:], groups)
                    raise entry.error(wanted=f"a group: {', '.join(groups) or '(no groups)'}",
                                      fix=f"correct it{near}")  # fmt: skip
                ends += members
                continue
            name = self._name(entry)
            if name not in self._ends_known:
                raise entry.error(
                    found=f"end {name!r}",
                    wanted=f"a device, the host or a declared switch: {_shown(self._ends_known)}",
                    fix=f"correct it, or add `switches: [{name}]`"
                    f"{did_you_mean(name, self._ends_known)}")  # fmt: skip
            ends.append(name)
        return tuple(ends)


def _shown(names: Iterable[str]) -> str:
    listed = sorted(names)
    return ", ".join(listed[:12]) + (", …" if len(listed) > 12 else "")
