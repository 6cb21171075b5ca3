"""ZigZag's side of `bench.peers.with_zigzag`; run by ZigZag's Python, not ours.

FOLDER holds what ``orrery nest … --export zigzag:FOLDER`` wrote; CORE is an accelerator file, or
the name of one that ZigZag ships.

``price FOLDER CORE``: prints one JSON object, layer -> price of the nest with our loops in our
memories ("given"), and of our order with the memories that its allocator chooses ("ordered"; null
where it refuses). A price is cycles and picojoules, with what they are made of.

``search FOLDER CORE OBJECTIVE LIMIT OUT``: its own search of the same layers with the same parts
along the array; its result files go to OUT, with the seconds it took.
"""

from __future__ import annotations

import copy
import json
import logging
import sys
import time
from pathlib import Path

import yaml
import zigzag
from zigzag.api import get_hardware_performance_zigzag
from zigzag.cost_model.cost_model import CostModelEvaluation
from zigzag.datatypes import LayerDim, LayerOperand
from zigzag.mapping.temporal_mapping import TemporalMapping, TemporalMappingType
from zigzag.opt.loma.memory_allocator import (
    MemoryAllocator,
    MemoryHierarchyTooSmallException,
    MemoryTooSmallException,
)
from zigzag.parser.accelerator_factory import AcceleratorFactory
from zigzag.parser.accelerator_validator import AcceleratorValidator
from zigzag.parser.workload_factory import WorkloadFactory
from zigzag.parser.workload_validator import WorkloadValidator
from zigzag.stages.mapping.spatial_mapping_conversion import SpatialMappingConversionStage
from zigzag.stages.mapping.spatial_mapping_generation import SpatialMappingGeneratorStage
from zigzag.stages.parser.workload_parser import WorkloadParserStage


def accelerator_of(path):
    checked = AcceleratorValidator(yaml.safe_load(path.read_text()))
    if not checked.validate():
        raise SystemExit(f"{path}: refused")
    return AcceleratorFactory(checked.data).create()


def layers_of(folder):
    checked = WorkloadValidator(yaml.safe_load((folder / "workload.yaml").read_text()))
    if not checked.validate():
        raise SystemExit(f"{folder}: workload refused")
    mappings = WorkloadParserStage.parse_mapping_data(str(folder / "mapping.yaml"))
    return list(WorkloadFactory(checked.normalized_data, mappings).create().topological_sort())


def price(accelerator, layer, spatial, temporal):
    cost = CostModelEvaluation(
        accelerator=accelerator, layer=layer, spatial_mapping=spatial[0],
        spatial_mapping_int=spatial[1], temporal_mapping=temporal,
        access_same_data_considered_as_no_access=True,
    )  # fmt: skip
    return {
        "cycles": float(cost.latency_total2), "energy_pj": float(cost.energy_total),
        "ideal": float(cost.ideal_temporal_cycle), "stalls": float(cost.stall_slack_comb),
        "onloading": float(cost.data_onloading_cycle),
        "offloading": float(cost.data_offloading_cycle),
        "systolic": float(cost.systolic_drain_cycle), "mac_pj": float(cost.mac_energy),
        "memory_pj": {str(op): [float(e) for e in per]
                      for op, per in cost.mem_energy_breakdown.items()},
    }  # fmt: skip


def price_all(folder, core):
    accelerator = accelerator_of(core)
    levels = json.loads((folder / "levels.json").read_text())
    uneven = TemporalMappingType.UNEVEN
    found = {}
    for layer in layers_of(folder):
        # The stage yields the spatial mapping limited to the layer's and the array's sizes.
        maker = SpatialMappingGeneratorStage([None], accelerator=accelerator, layer=layer)
        layer.spatial_mapping = next(maker.generate_spatial_mappings())
        stage = SpatialMappingConversionStage(
            [None], accelerator=accelerator, layer=copy.copy(layer)
        )
        spatial = stage.convert_user_spatial_mapping(layer.spatial_mapping)
        loops = {
            LayerOperand(op): [[(LayerDim(d), n) for d, n in level] for level in per]
            for op, per in levels[layer.name].items()
        }
        given = price(accelerator, layer, spatial, TemporalMapping(loops, layer, uneven))
        try:
            order = layer.temporal_ordering.to_legacy_format()
            chosen = MemoryAllocator(accelerator, layer, spatial[0], order, uneven).run()
            ordered = price(accelerator, layer, spatial, chosen)
        except (MemoryTooSmallException, MemoryHierarchyTooSmallException) as refused:
            print(f"{layer.name}: {refused}", file=sys.stderr)
            ordered = None
        found[layer.name] = {"given": given, "ordered": ordered}
    print(json.dumps(found))


def search_all(folder, core, objective, limit, out):
    mappings = yaml.safe_load((folder / "mapping.yaml").read_text())
    for mapping in mappings:
        mapping.pop("temporal_ordering", None)
    out.mkdir(parents=True, exist_ok=True)
    (out / "mapping.yaml").write_text(yaml.safe_dump(mappings))
    start = time.perf_counter()
    get_hardware_performance_zigzag(
        str(folder / "workload.yaml"), str(core), str(out / "mapping.yaml"), opt=objective,
        lpf_limit=limit, dump_folder=str(out), loma_show_progress_bar=False,
    )  # fmt: skip
    (out / "seconds.json").write_text(json.dumps(time.perf_counter() - start))


def main(verb, folder, core, *more):
    shipped = Path(zigzag.__file__).parent / "inputs" / "hardware" / f"{core}.yaml"
    core = Path(core) if core.endswith(".yaml") else shipped
    logging.disable(logging.WARNING)
    if verb == "price":
        price_all(Path(folder), core)
    else:
        objective, limit, out = more
        search_all(Path(folder), core, objective, int(limit), Path(out))


if __name__ == "__main__":
    main(*sys.argv[1:])
