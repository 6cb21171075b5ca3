"""What measurements have changed of an array, written into the YAML that described it."""

from __future__ import annotations

from typing import Any

import yaml

from orrery.provenance import Basis, Source

from ._records import Architecture


def measured_text(text: str, architecture: Architecture) -> str:
    """Return YAML of an array with the overhead, bandwidth and interval of another one.

    Parameters
    ----------
    text : YAML that reads as an array; its comments are lost
    architecture : that array after measuring; whatever else differs is not written
    """
    tree = yaml.load(text, Loader=yaml.BaseLoader)  # every scalar stays text
    writer = _Writer(tree.setdefault("sources", {}))
    memory, first = architecture.levels[0], tree["levels"][0]
    for key, field in (("read_bandwidth", "read_bits_per_cycle"),
                       ("write_bandwidth", "write_bits_per_cycle")):  # fmt: skip
        value = getattr(memory, field)
        if value is not None and memory.sources[field].basis is Basis.MEASURED:
            first[key] = writer.quantity(value, "bit/cycle", memory.sources[field])
    tree.pop("run_overhead", None)
    if architecture.overhead_s is not None:
        tree["run_overhead"] = writer.quantity(architecture.overhead_s, "s",
                                               architecture.sources["overhead_s"])  # fmt: skip
    tree.pop("interval", None)
    ends = {"low": "low_ratio", "high": "high_ratio", "confidence": "interval_share",
            "error": "left_out_error"}  # fmt: skip
    if architecture.low_ratio is not None:
        tree["interval"] = {
            key: writer.quantity(getattr(architecture, field), "x", architecture.sources[field])
            for key, field in ends.items()
            if getattr(architecture, field) is not None
        }
    dumped: str = yaml.dump(tree, sort_keys=False, allow_unicode=True, width=100)
    return dumped


class _Writer:
    """Writes quantities; their sources go to the document's."""

    def __init__(self, sources: dict[str, Any]) -> None:
        self.sources = sources

    def quantity(self, value: float, unit: str, source: Source) -> dict[str, str]:
        written = {"basis": source.basis.value, "where": source.where, "note": source.note}
        name = next((n for n, known in self.sources.items() if known == written), None)
        if name is None:
            number = 1
            while f"measured-{number}" in self.sources:
                number += 1
            name = f"measured-{number}"
            self.sources[name] = written
        return {"value": f"{value!r} {unit}", "source": name}
