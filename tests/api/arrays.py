"""Arrays that several tests describe their machines by."""

from __future__ import annotations

__all__ = ["SMALL"]

#: Four by four elements, one buffer, energies of round numbers.
SMALL = """\
name: small
clock: "100 MHz"
static_power: "1 mW"
source: guess
sources: {guess: {basis: assumed, where: sketch, note: "orders of magnitude"}}
array: [{axis: rows, size: 4, loops: [Cin, G]}, {axis: cols, size: 4, loops: [Cout]}]
bits: {input: 8, weight: 8, output: 8, partial_sum: 16}
energy: {mac: "1 pJ", idle_mac: "0.1 pJ", hop: "0.01 pJ/bit"}
levels:
  - {name: dram, holds: [input, weight, output], word: "64 bit", read: "500 pJ", write: "500 pJ",
     read_bandwidth: "16 bit/cycle", one_port: true}
  - {name: buffer, holds: [input, weight, output], size: "4 KiB", word: "16 bit", read: "2 pJ",
     write: "2 pJ", double_buffered: [input, weight], multicast: [rows, cols], reduces: [rows]}
"""
