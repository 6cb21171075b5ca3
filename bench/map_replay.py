"""How long a greedy plan and its replay take, from a standing start."""

from __future__ import annotations

import json
import sys

from ._record import Figure, repeated, run_command

#: Everything a user waits for: loading our packages, building the network, pricing every region
#: on every design, the search, the replay.
_SCRIPT = """
import json, sys, time
from orrery.accel import resolve
from orrery.cost import roofline
from orrery.graph import build_model
from orrery.hardware import load_system
from orrery.mapping import greedy
from orrery.sim import replay

graph, system = build_model(sys.argv[1]), load_system(sys.argv[2])
designs = dict.fromkeys(design for device in system.devices for design in device.designs)
models = {"": roofline} | {design: resolve(design).cost for design in designs}
start = time.perf_counter()
plan = greedy([graph], system, models)
mapped = time.perf_counter()
regions = {region.name: region for region in graph.regions()}
timeline = replay(plan, system, lambda a: models[a.design or ""].cost(
    regions[a.region], system.device(a.device)).latency_s)
print(json.dumps({
    "map_s": mapped - start, "replay_s": time.perf_counter() - mapped,
    "regions": len(plan.assignments), "devices": len(system.devices),
    "makespan_s": timeline.makespan_s, "predicted_s": plan.predicted_latency_s,
}))
"""


def figures(model: str = "resnet152", system: str = "aws-f1") -> list[Figure]:
    """Time map and replay of ResNet-152 on the eight devices of AWS F1 as a whole process."""
    command = [sys.executable, "-c", _SCRIPT, model, system]
    outputs: list[dict[str, float]] = []

    def measure() -> float:
        run = run_command(command)
        outputs.append(json.loads(run.output))
        return run.wall_s

    whole = repeated(f"map and replay {model} on {system}, whole process", "s", measure, target=2.0)
    last = outputs[-1]
    parts = [
        Figure(name=f"… {what} alone", value=sorted(runs)[len(runs) // 2], unit="s", runs=runs,
               note=note)
        for what, note in (
            ("map", f"{last['regions']} regions, {last['devices']} devices, all their designs"),
            ("replay", f"{last['makespan_s']:.6g} s, expected {last['predicted_s']:.6g} s"),
        )
        for runs in [tuple(output[f"{what}_s"] for output in outputs[1:])]
    ]  # fmt: skip
    return [whole, *parts]
