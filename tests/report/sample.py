"""A realistic page: a residual network of 60 layers on 8 devices, with 300 spans or more."""

from __future__ import annotations

import random
from collections.abc import Mapping

from orrery.evidence import Evidence
from orrery.provenance import Basis, Source
from orrery.report import (
    Arrow,
    Axis,
    Box,
    Column,
    Diagram,
    Line,
    MemoryChart,
    Page,
    Point,
    Series,
    Step,
    Strip,
    Table,
    Text,
    Tile,
    TimelineChart,
    Waterfall,
    judge,
    make_scorecard,
    parse_need,
)
from orrery.timeline import PS_PER_S, MemorySample, Span, Timeline

SUBJECT = "resnet18 on aws-f1"
DEVICES = [f"fpga{number}" for number in range(8)]
HOSTILE = "</script><script>window.stolen=1</script><img src=x onerror='window.stolen=1'>&amp;\"'"


def figure(
    metric: str,
    value: float | None,
    unit: str,
    basis: Basis = Basis.ESTIMATED,
    *,
    where: str = "roofline",
    note: str = "",
    subject: str = SUBJECT,
    interval: tuple[float, float] | None = None,
    validation_error: float | None = None,
    context: Mapping[str, str] | None = None,
) -> Evidence:
    """Return one piece of evidence with short defaults."""
    return Evidence(
        subject=subject, metric=metric, value=value, unit=unit, interval=interval,
        source=Source(basis=basis, where=where, note=note), validation_error=validation_error,
        context=dict(context or {}),
    )  # fmt: skip


def evidence() -> list[Evidence]:
    """Return figures of every kind: several bases, unknown, unconfirmed, with an interval."""
    at = {"batch": "8", "precision": "int8"}
    return [
        figure("latency", 0.0156, "s", Basis.SIMULATED, where="plan replay", context=at,
               validation_error=0.08),
        figure("latency", 0.0149, "s", context=at),
        figure("throughput", 512.3, "inference/s", Basis.SIMULATED, where="plan replay",
               context=at),
        figure("utilisation", 38.25, "%", context={"batch": "8", "of": "peak MAC/s"}),
        figure("energy", 0.412, "J", interval=(0.35, 0.48),
               context={**at, "offchip": "counted, DDR4", "confidence": "95 %"},
               note="DRAM energy per bit is unconfirmed"),
        figure("off-chip traffic", 148_000_000, "bytes", context=at),
        figure("peak memory", 46_137_344, "bytes", Basis.SIMULATED, where="plan replay"),
        figure("area", None, "mm2", Basis.PUBLISHED, where="data sheet",
               note="the vendor does not publish the die area"),
        figure("devices", 8, "devices", Basis.PUBLISHED, where="catalogue"),
        figure("speed-up", 5.31, "x", context={"baseline": "one fpga"}),
    ]  # fmt: skip


def layer_names() -> list[str]:
    names = ["conv1", "bn1", "relu1", "maxpool"]
    for stage in range(1, 5):
        for block in range(2):
            parts = ["conv1", "bn1", "relu1", "conv2", "bn2", "add", "relu2"]
            names += [f"layer{stage}.{block}.{part}" for part in parts]
    return [*names, "avgpool", "flatten", "fc"][:60]


def timeline(seed: int = 7) -> Timeline:
    """Return a pipeline of five images over the devices, with a transfer at every hand-over."""
    draw = random.Random(seed)
    spans: list[Span] = []
    memory: list[MemorySample] = []
    names = layer_names()
    free = dict.fromkeys(DEVICES, 0)
    for image in range(5):
        ready = 0
        for number, name in enumerate(names):
            device = DEVICES[number * len(DEVICES) // len(names)]
            start = max(ready, free[device])
            end = start + draw.randrange(20, 420) * 10**6
            spans.append(
                Span(
                    resource=device,
                    name=f"{name} #{image}",
                    kind="compute",
                    start_ps=start,
                    end_ps=end,
                    details={"macs": 10**6 * number},
                )
            )
            free[device] = ready = end
            memory.append(
                MemorySample(
                    memory=f"{device} dram", time_ps=start, used_bytes=draw.randrange(8, 44) * 2**20
                )
            )
            after = DEVICES[min(59, number + 1) * len(DEVICES) // len(names)]
            if after != device:
                ready = end + draw.randrange(60, 200) * 10**6
                spans.append(
                    Span(
                        resource="pcie",
                        name=f"{name} to {after}",
                        kind="transfer",
                        start_ps=end,
                        end_ps=ready,
                        details={"bytes": 401408},
                    )
                )
    spans.sort(key=lambda span: span.start_ps)
    return Timeline(name=SUBJECT, spans=tuple(spans), memory=tuple(memory))


def page(*, hostile: bool = False) -> Page:
    """Return a page with every kind of section; `hostile` plants markup in the names."""
    draw = random.Random(3)
    names = layer_names()
    if hostile:
        names[5] = HOSTILE
    rows, points = [], []
    for number, name in enumerate(names):
        macs = draw.randrange(1, 116) * 10**6 if "conv" in name or name == "fc" else 0
        traffic = draw.randrange(100_000, 4_000_000)
        bound = max(macs / 2.1e12, traffic / 19.2e9)
        latency = bound * draw.uniform(1.05, 2.5)
        operator = {"c": "Conv", "b": "BatchNormalization", "r": "Relu", "a": "Add"}.get(
            name.split(".")[-1][0], "Gemm"
        )
        rows.append(
            (
                name,
                operator,
                DEVICES[number // 8],
                macs,
                traffic,
                latency,
                None if operator == "Add" else latency * 26.0,
                "memory" if traffic / 19.2e9 > macs / 2.1e12 else "compute",
            )
        )
        if macs:
            points.append(Point(x=macs / traffic, y=macs / latency, label=name))
    peak, slope = 2.1e12, 19.2e9
    low, high = 0.2, 2000.0
    run = timeline()
    card = make_scorecard(SUBJECT, evidence())
    needs = [
        parse_need(text)
        for text in ("latency<33ms", "energy<=0.4J", "peak memory<24GiB", "accuracy>=70%")
    ]
    return Page(
        title="ResNet-18 on AWS F1" + (HOSTILE if hostile else ""),
        subtitle="8 FPGAs, batch 8, int8, greedy mapping",
        scorecard=card,
        verdicts=judge(card, needs),
        sections=(
            Text(title="Coverage", tone="note", paragraphs=(
                "60 of 60 operators priced: 1.81 GMAC and 148 MB of traffic, nothing left out.",)),
            Series(
                title="Roofline", x=Axis(name="operational intensity", unit="MAC/byte", log=True),
                y=Axis(name="performance", unit="MAC/s", log=True),
                lines=(
                    Line(name="DRAM bandwidth", style="bound", points=(
                        Point(x=low, y=low * slope), Point(x=peak / slope, y=peak))),
                    Line(name="peak", style="bound", points=(
                        Point(x=peak / slope, y=peak), Point(x=high, y=peak))),
                    Line(name="layers", style="scatter", points=tuple(points)),
                ),
                caption="Each point is one layer on the device it was mapped to."),
            Table(
                title="Layers", sort_by="latency", descending=True,
                columns=(
                    Column(name="layer"), Column(name="operator"), Column(name="device"),
                    Column(name="MACs", unit="MAC", kind="number"),
                    Column(name="traffic", unit="bytes", kind="number"),
                    Column(name="latency", unit="s", kind="number", bar=True,
                           help="from first input to last output"),
                    Column(name="energy", unit="J", kind="number"),
                    Column(name="bound by"),
                ),
                rows=tuple(rows)),
            TimelineChart(title="Device timeline", timeline=run, resources=tuple(DEVICES),
                          marks={"lower bound": run.makespan_ps // 2}),
            MemoryChart(title="Memory over time", samples=run.memory, end_ps=run.makespan_ps,
                        capacity_bytes={f"{name} dram": 64 * 2**20 for name in DEVICES[:4]}),
            Waterfall(title="Energy bill", unit="J", steps=(
                Step(name="arithmetic", value=0.061), Step(name="on-chip memory", value=0.095),
                Step(name="off-chip memory", value=0.201), Step(name="links", value=0.055),
                Step(name="total", value=0.412, kind="level"))),
            Strip(title="At a glance", measure="time", unit="s", part="messages",
                  letters={"C": "Cout", "H": "H in halves"},
                  tiles=tuple(
                      Tile(name=row[0], group=f"set {1 + n // 20}: {row[2]}"
                           if not hostile else HOSTILE, note="bound by " + row[7],
                           letter="CH"[n % 2] if n < 40 else "",
                           value=None if n == 7 else row[5], part=0.0 if n == 7 else row[5] / 4)
                      for n, row in enumerate(rows))),
            Diagram(
                title="System",
                boxes=(
                    Box(name="host", kind="host", lines=("Xeon",)),
                    *(Box(name=f"switch{n}", kind="switch", group=f"group {n}") for n in (0, 1)),
                    *(Box(name=name, lines=("VU9P", "64 GiB"), group=f"group {n // 4}")
                      for n, name in enumerate(DEVICES)),
                ),
                arrows=(
                    *(Arrow(source="host", target=f"switch{n}", label="2 GB/s") for n in (0, 1)),
                    *(Arrow(source=f"switch{n // 4}", target=name, label="8 GB/s")
                      for n, name in enumerate(DEVICES)),
                )),
        ),
        provenance={"program": "orrery 0.1.0", "model": "resnet18 3f9c2a", "system": "aws-f1 9b11",
                    "seed": "0", "clock": f"integer picoseconds, {PS_PER_S} a second"},
    )  # fmt: skip
