"""Small descriptions in Timeloop's formats, in our own words."""

from __future__ import annotations

from pathlib import Path

#: v0.4: three pads beside each other in each of 4 x 3 elements
NEW = """\
architecture:
  version: 0.4
  nodes:
  - !Container {name: whole}
  - !Component
    name: dram
    class: DRAM
    attributes: {width: 64, datawidth: 8}
  - !Container {name: chip, attributes: {technology: "45nm", global_cycle_seconds: 2e-9}}
  - !Component
    name: glb
    class: smartbuffer_SRAM
    attributes: {depth: 128, width: 64, datawidth: 8, n_banks: 4, read_bandwidth: 8}
    constraints: {dataspace: {keep: [Inputs, Outputs], bypass: [Weights]}}
  - !Container
    name: column
    spatial: {meshX: 4}
    constraints:
      spatial: {factors: [N=1, C=1, P=1, R=1, S=1]}
  - !Container {name: cell, spatial: {meshY: 3}}
  - !Parallel
    nodes:
    - !Component
      name: pixels
      class: smartbuffer_RF
      attributes: {depth: 8, width: 8, datawidth: 8}
      constraints: {dataspace: {keep: [Inputs]}, temporal: {permutation: [R, S]}}
    - !Component
      name: filters
      class: smartbuffer_RF
      attributes: {depth: 16, width: 16, datawidth: 8}
      constraints: {dataspace: {keep: [Weights]}}
    - !Component
      name: sums
      class: smartbuffer_RF
      attributes: {depth: 4, width: 16, datawidth: 16}
      constraints: {dataspace: {keep: [Outputs]}}
  - !Component {name: mac, class: intmac, attributes: {multiplier_width: 8}}
"""

#: v0.3: the same machine
OLD = """\
architecture:
  version: 0.3
  subtree:
  - name: whole
    local:
    - {name: dram, class: DRAM, attributes: {width: 64, block-size: 8, word-bits: 8}}
    subtree:
    - name: chip
      attributes: {technology: 45nm, global_cycle_seconds: 2e-9}
      local:
      - name: glb
        class: smartbuffer_SRAM
        attributes: {memory_depth: 128, memory_width: 64, word-bits: 8, n_banks: 4,
                     read_bandwidth: 8}
      - {name: "spare[0..3]", class: regfile, attributes: {depth: 1, width: 8, meshX: 4}}
      subtree:
      - name: PE[0..11]
        local:
        - name: pixels
          class: smartbuffer_RF
          attributes: {depth: 8, width: 8, word-bits: 8, meshX: 4}
        - {name: filters, class: smartbuffer_RF,
           attributes: {depth: 16, width: 16, word-bits: 8, block-size: 2, meshX: 4}}
        - {name: sums, class: smartbuffer_RF, attributes: {entries: 4, word-bits: 16, meshX: 4}}
        - {name: mac, class: intmac, attributes: {datawidth: 8, meshX: 4}}
architecture_constraints:
  targets:
  - {target: glb, type: bypass, keep: [Inputs, Outputs], bypass: [Weights]}
  - {target: spare, type: bypass, bypass: [Inputs, Outputs, Weights]}
  - {target: pixels, type: bypass, keep: [Inputs], bypass: [Weights, Outputs]}
  - {target: filters, type: bypass, keep: [Weights], bypass: [Inputs, Outputs]}
  - {target: sums, type: bypass, keep: [Outputs], bypass: [Inputs, Weights]}
  - {target: glb, type: spatial, permutation: NCPRS QM, factors: N=1 C=1 P=1 R=1 S=1}
  - {target: pixels, type: temporal, permutation: RS}
"""

PROBLEM = """\
problem:
  shape:
    name: layer
    dimensions: [C, M, R, S, N, P, Q]
    coefficients: [{name: Wstride, default: 1}, {name: Hstride, default: 1}]
    data-spaces:
    - {name: Weights, projection: [[[C]], [[M]], [[R]], [[S]]]}
    - {name: Inputs, projection: [[[N]], [[C]], [[R], [P, Wstride]], [[S], [Q, Hstride]]]}
    - {name: Outputs, projection: [[[N]], [[M]], [[Q]], [[P]]], read-write: True}
  instance: {C: 3, M: 4, R: 3, S: 3, N: 1, P: 8, Q: 8, Wstride: 2}
"""

#: the same layer in the spelling of v0.4
PROBLEM_NEW = PROBLEM.replace("data-spaces", "data_spaces").replace(
    "read-write: True", "read_write: true").replace(
    "problem:\n", "problem:\n  version: '0.4'\n").replace(
    "Wstride: 2}", "Wstride: 2, densities: {}}")  # fmt: skip

MAPPING = """\
mapping:
- {target: sums, type: temporal, factors: M2, permutation: MCRSNPQ}
- {target: filters, type: temporal, factors: R3, permutation: RCMSNPQ}
- {target: cell, type: spatial, factors: S3, permutation: SCMRNPQ, split: 0}
- {target: column, type: spatial, factors: Q4, permutation: QCMRSNP, split: 1}
- {target: glb, type: temporal, factors: P4 Q2, permutation: QPCMRSN}
- {target: dram, type: temporal, factors: P=2 M=0 C=3, permutation: MPCRSNQ}
"""

ERT = """\
ERT:
  version: 0.4
  tables:
  - name: whole.dram[1..1]
    actions: [{name: read, energy: 512}, {name: write, energy: 500}, {name: leak, energy: 0}]
  - name: whole.glb[1..1]
    actions: [{name: read, energy: 18}, {name: write, energy: 14}, {name: leak, energy: 0.5}]
  - name: whole.PE[0..11].pixels
    actions: [{name: read, energy: 0.2}, {name: write, energy: 0.1}, {name: leak, energy: 0}]
  - name: whole.filters[1..12]
    actions: [{name: read, energy: 2}, {name: write, energy: 1.5}, {name: leak, energy: 0}]
  - name: whole.sums[1..12]
    actions: [{name: read, energy: 0.25}, {name: write, energy: 0.2}, {name: leak, energy: 0}]
  - name: whole.mac[1..12]
    actions: [{name: compute, energy: 0.2}, {name: compute, energy: 0.21},
              {name: leak, energy: 0.01}]
"""


def written(folder: Path, **texts: str) -> list[Path]:
    """Write named texts as YAML files into a folder and return their paths."""
    paths = []
    for name, text in texts.items():
        path = folder / f"{name}.yaml"
        path.write_text(text)
        paths.append(path)
    return paths
