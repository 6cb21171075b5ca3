"""The seven metrics of a design, each with its context and basis, or an honest *not known*.

The list of metrics, and what each must state before a reader can judge it, follow V. Sze,
Y.-H. Chen, T.-J. Yang, J. S. Emer, "How to Evaluate Deep Neural Network Processors", IEEE
Solid-State Circuits Magazine 12(3), 2020.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field

from orrery.errors import SpecError, UnknownNameError
from orrery.evidence import Evidence
from orrery.provenance import Basis

from ._format import NOT_KNOWN, format_value

#: the seven metrics, in the order in which a design is judged -> the question each answers
METRICS: Mapping[str, str] = {
    "accuracy": "Can it do the task?",
    "throughput": "How much does it do in a second?",
    "latency": "How soon is the answer there?",
    "energy and power": "What does an answer burn, off-chip traffic counted?",
    "hardware cost": "What must be bought or built?",
    "flexibility": "Which other networks does it serve?",
    "scalability": "What does more of it bring?",
}

_UNKNOWN: Mapping[str, str] = {
    "accuracy": "no labelled data set was run",
    "throughput": "nothing in this report says how many inferences a second it sustains",
    "latency": "nothing in this report says how long one inference takes",
    "energy and power": "no energy with off-chip traffic counted was measured or estimated",
    "hardware cost": "no area, memory or price is known for these devices",
    "flexibility": "only this network was looked at",
    "scalability": "only this size of the system was looked at",
}


@dataclass(frozen=True, slots=True, kw_only=True)
class FigureRule:
    """What a figure must state to be let onto the card.

    Attributes
    ----------
    metric : the one of the seven under which it stands
    units : units it may come in -> factor to the first of them
    dimension : of `orrery.units.DIMENSIONS`, in which a need is written; or ``rate``, ``share``,
        ``factor``, ``count``
    requires : context key -> why a reader cannot judge the figure without it
    lower_is_better : which way is good
    supporting : explains its metric and cannot stand for it (traffic is not energy)
    """

    metric: str
    units: Mapping[str, float]
    dimension: str
    requires: Mapping[str, str] = field(default_factory=dict)
    lower_is_better: bool = True
    supporting: bool = False


_BATCH = {"batch": "batching raises throughput and latency at once"}
_OFFCHIP = {"offchip": "without off-chip traffic a figure leaves out most of the energy"}
_DATA = {
    "dataset": "an easy task makes anything look good",
    "samples": "a share of few samples says little",
    "precision": "the approximations used are part of the claim",
}
_SHARE = {"%": 1.0, "1": 100.0, "": 100.0, "fraction": 100.0}
_FACTOR = {"x": 1.0, "×": 1.0, "": 1.0, "1": 1.0}
_RATE = {f"{noun}/s": 1.0 for noun in ("inference", "sample", "image", "token", "sequence", "step")}


def _count(*units: str) -> dict[str, float]:
    return dict.fromkeys((*units, "", "1", "count"), 1.0)


#: every figure the card knows, by the `Evidence.metric` it comes under
FIGURES: Mapping[str, FigureRule] = {
    "accuracy": FigureRule(metric="accuracy", units=_SHARE, dimension="share", requires=_DATA,
                           lower_is_better=False),
    "top-1 accuracy": FigureRule(metric="accuracy", units=_SHARE, dimension="share",
                                 requires=_DATA, lower_is_better=False),
    "top-5 accuracy": FigureRule(metric="accuracy", units=_SHARE, dimension="share",
                                 requires=_DATA, lower_is_better=False),
    "perplexity": FigureRule(metric="accuracy", units=_count(), dimension="count",
                             requires=_DATA),
    "mean squared error": FigureRule(metric="accuracy", units=_count(), dimension="count",
                                     requires=_DATA),
    "throughput": FigureRule(metric="throughput", units=_RATE, dimension="rate",
                             requires=_BATCH, lower_is_better=False),
    "utilisation": FigureRule(
        metric="throughput", units=_SHARE, dimension="share", lower_is_better=False,
        supporting=True,
        requires={**_BATCH, "of": "a share of what peak must be said"}),
    "latency": FigureRule(metric="latency", units={"s": 1.0}, dimension="time", requires=_BATCH),
    "latency under load": FigureRule(metric="latency", units={"s": 1.0}, dimension="time",
                                     requires=_BATCH, supporting=True),
    "period": FigureRule(metric="throughput", units={"s": 1.0}, dimension="time",
                         requires=_BATCH, supporting=True),
    "energy": FigureRule(metric="energy and power", units={"J": 1.0, "J/inference": 1.0},
                         dimension="energy", requires={**_OFFCHIP, **_BATCH}),
    "power": FigureRule(metric="energy and power", units={"W": 1.0}, dimension="power",
                        requires=_OFFCHIP),
    "off-chip traffic": FigureRule(metric="energy and power", units={"bytes": 1.0, "B": 1.0},
                                   dimension="size", requires=_BATCH, supporting=True),
    "area": FigureRule(metric="hardware cost", units={"mm2": 1.0, "mm²": 1.0}, dimension="area",
                       requires={"process": "an area means nothing without its process node"}),
    "peak memory": FigureRule(metric="hardware cost", units={"bytes": 1.0, "B": 1.0},
                              dimension="size"),
    "on-chip memory": FigureRule(metric="hardware cost", units={"bytes": 1.0, "B": 1.0},
                                 dimension="size"),
    "off-chip bandwidth": FigureRule(metric="hardware cost", units={"bytes/s": 1.0, "B/s": 1.0},
                                     dimension="bandwidth"),
    "price": FigureRule(metric="hardware cost", units={"USD": 1.0}, dimension="price"),
    "devices": FigureRule(metric="hardware cost", units=_count("devices"), dimension="count"),
    "processing elements": FigureRule(metric="hardware cost", units=_count("PEs"),
                                      dimension="count"),
    "DSP blocks": FigureRule(metric="hardware cost", units=_count("DSPs"), dimension="count"),
    "block RAMs": FigureRule(metric="hardware cost", units=_count("BRAMs"), dimension="count"),
    "LUTs": FigureRule(metric="hardware cost", units=_count("LUTs"), dimension="count"),
    "flip-flops": FigureRule(metric="hardware cost", units=_count("FFs"), dimension="count"),
    "networks served": FigureRule(
        metric="flexibility", units=_count("networks"), dimension="count", lower_is_better=False,
        requires={"networks": "the networks must be named"}),
    "operator coverage": FigureRule(
        metric="flexibility", units=_SHARE, dimension="share", lower_is_better=False,
        requires={"of": "a share of which operators must be said"}),
    **{name: FigureRule(
        metric="flexibility", units=_SHARE, dimension="share", lower_is_better=False,
        supporting=True,
        requires={"of": "a share of what peak must be said", "over": "which layers must be said"},
    ) for name in ("suite utilisation", "least suite utilisation")},
    **{f"{what} overhead": FigureRule(
        metric="flexibility", units=_FACTOR, dimension="factor", supporting=True,
        requires={"baseline": "an overhead over which fixed design must be said"},
    ) for what in ("energy", "time", "area")},
    "scaling efficiency": FigureRule(
        metric="scalability", units=_SHARE, dimension="share", lower_is_better=False,
        requires={"baseline": "an efficiency relative to what must be said"}),
    "speed-up": FigureRule(
        metric="scalability", units=_FACTOR, dimension="factor",
        requires={"baseline": "a speed-up over what must be said"}, lower_is_better=False),
}  # fmt: skip

#: context key -> the validation sets that speak for a figure, or that none does
CHECKED_BY = "validation set"
#: context key -> what their references were as multiples of such a figure, in words
CHECKED_SAID = "validation"

_STRENGTH = {basis: rank for rank, basis in enumerate(Basis)}
_ADVICE = {"batch": "'8'", "offchip": "'counted'", "dataset": "'ImageNet validation'",
           "samples": "'50000'", "precision": "'int8'", "process": "'28 nm'",
           "baseline": "'one device'", "of": "'peak MAC/s'", "networks": "'resnet18, bert-base'",
           "over": "'31 layers of a suite'",
           "confidence": "'95 %'"}  # fmt: skip


@dataclass(frozen=True, slots=True, kw_only=True)
class Metric:
    """One of the seven metrics and the figures that speak for it.

    Attributes
    ----------
    figures : the headline first: known before unknown, then by strength of basis
    why_unknown : why there is no known figure; empty when there is one
    """

    name: str
    figures: tuple[Evidence, ...] = ()
    why_unknown: str = ""

    @property
    def headline(self) -> Evidence | None:
        """The first figure that can stand for the metric; None when the metric is not known."""
        return next((figure for figure in self.figures if _stands(figure)), None)

    @property
    def others(self) -> tuple[Evidence, ...]:
        """The figures beside the headline, less those whose reason is the metric's own."""
        return tuple(
            figure
            for figure in self.figures
            if figure is not self.headline
            and (figure.value is not None or figure.source.note != self.why_unknown)
        )

    @property
    def question(self) -> str:
        """What the metric asks."""
        return METRICS[self.name]


@dataclass(frozen=True, slots=True, kw_only=True)
class Scorecard:
    """Seven metrics of one subject; make it with `make_scorecard`, which checks the evidence."""

    subject: str
    metrics: tuple[Metric, ...]

    def metric(self, name: str) -> Metric:
        """Return one of the seven metrics by name."""
        for metric in self.metrics:
            if metric.name == name:
                return metric
        raise UnknownNameError("metric", name, METRICS)

    def figures(self, name: str) -> tuple[Evidence, ...]:
        """Return the figures that came under a name of `FIGURES`, the strongest basis first."""
        if name not in FIGURES:
            raise UnknownNameError("figure", name, FIGURES)
        stands_under = self.metric(FIGURES[name].metric)
        return tuple(figure for figure in stands_under.figures if figure.metric == name)


def make_scorecard(
    subject: str, evidence: Iterable[Evidence], *, reasons: Mapping[str, str] | None = None
) -> Scorecard:
    """Put evidence under the seven metrics; refuse figures that nobody could judge.

    Parameters
    ----------
    subject : e.g. ``resnet18 on aws-f1``
    evidence : figures whose `metric` is a name of `FIGURES`
    reasons : metric -> why it is not known, in words that fit the run

    Raises
    ------
    UnknownNameError : a figure or metric that the card does not have
    SpecError : energy that does not say that off-chip traffic is counted, throughput without
        batch, accuracy without data set and samples, a wrong unit, an interval without confidence
    """
    for name in reasons or {}:
        if name not in METRICS:
            raise UnknownNameError("metric", name, METRICS)
    under: dict[str, list[Evidence]] = {name: [] for name in METRICS}
    for figure in evidence:
        check_figure(figure)
        under[FIGURES[figure.metric].metric].append(figure)
    rank = {name: place for place, name in enumerate(FIGURES)}
    metrics = []
    for name, figures in under.items():
        figures.sort(key=lambda f: (f.value is None, rank[f.metric], _STRENGTH[f.source.basis]))
        why = ""
        if not any(_stands(figure) for figure in figures):
            said = (figure.source.note for figure in figures if figure.value is None)
            why = (reasons or {}).get(name) or next(said, _UNKNOWN[name])
        metrics.append(Metric(name=name, figures=tuple(figures), why_unknown=why))
    return Scorecard(subject=subject, metrics=tuple(metrics))


def _stands(figure: Evidence) -> bool:
    return figure.value is not None and not FIGURES[figure.metric].supporting


def check_figure(figure: Evidence) -> None:
    """Refuse a figure that does not state what its metric must state."""
    if figure.metric not in FIGURES:
        raise UnknownNameError("figure", figure.metric, FIGURES)
    rule = FIGURES[figure.metric]
    where = f"evidence: {figure.metric} of {figure.subject}"
    if figure.unit not in rule.units:
        raise SpecError(
            f"{where}: unit", found=figure.unit,
            wanted=f"one of {', '.join(unit or '(none)' for unit in rule.units)}",
            fix="convert the value",
        )  # fmt: skip
    if figure.value is None:
        if not figure.source.note:
            raise SpecError(
                f"{where}: source.note", found="nothing",
                wanted="why the value is not known", fix="say why in source.note",
            )  # fmt: skip
        return
    if figure.value < 0:
        raise SpecError(f"{where}: value", found=figure.value, wanted="zero or more",
                        fix="correct the figure")  # fmt: skip
    requires = dict(rule.requires)
    if figure.interval is not None:
        requires["confidence"] = "an interval means nothing without its confidence"
    for key, why in requires.items():
        if not str(figure.context.get(key, "")).strip():
            raise SpecError(
                f"{where}: context", found=f"no {key!r}", wanted=f"{key!r}, because {why}",
                fix=f"add context[{key!r}], e.g. {_ADVICE[key]}",
            )  # fmt: skip
    offchip = figure.context.get("offchip", "counted")
    if "offchip" in rule.requires and not offchip.casefold().startswith("counted"):
        raise SpecError(
            f"{where}: context['offchip']", found=offchip,
            wanted=f"'counted', because {rule.requires['offchip']}",
            fix="add the energy of off-chip traffic, or give None and say why",
        )  # fmt: skip


def marks(figure: Evidence) -> list[str]:
    """Return what must stand beside the figure, or a reader would take it for more than it is."""
    found = [f"{figure.bound} bound"] if figure.bound else []
    if figure.rests_on is Basis.ASSUMED and figure.source.basis is not Basis.ASSUMED:
        found.append("on assumed constants")
    if "unconfirmed" in f"{figure.source.where} {figure.source.note}".casefold():
        found.append("unconfirmed")
    return found


def value_text(figure: Evidence) -> str:
    """Return the value with its unit as a person reads it, or ``not known``."""
    if figure.value is None:
        return NOT_KNOWN
    sign = {"lower": "≥ ", "upper": "≤ ", "": ""}[figure.bound]
    return sign + number_text(figure.value, figure)


def number_text(value: float, figure: Evidence) -> str:
    """Return a number in a figure's unit (its value, a bound) as a person reads it."""
    rule = FIGURES[figure.metric]
    if rule.dimension == "share":
        return format_value(value * rule.units[figure.unit], "%")
    unit = {"B": "bytes", "J/inference": "J", "count": ""}.get(figure.unit, figure.unit)
    return format_value(value, unit)


def doubt_texts(figure: Evidence) -> list[str]:
    """Return what is known of a figure's uncertainty, one phrase each."""
    texts = []
    if figure.interval is not None:
        low, high = (number_text(bound, figure) for bound in figure.interval)
        texts.append(f"{low} to {high}")
    if figure.validation_error is not None:
        error = format_value(100 * abs(figure.validation_error), "%")
        named = figure.context.get(CHECKED_BY)
        # Not an interval around the figure: such errors are skewed, over the reference.
        said = f"median error {error} on {named or 'its validation set'}"
        texts.append(figure.context.get(CHECKED_SAID) or said)
    return texts


def shown_context(figure: Evidence) -> dict[str, str]:
    """Return what a figure states, less what stands beside it already."""
    beside = (CHECKED_BY, CHECKED_SAID)
    return {key: text for key, text in sorted(figure.context.items()) if key not in beside}


def unchecked(card: Scorecard) -> tuple[str, ...]:
    """Return the figures that were looked for in the validation sets and are outside of all."""
    figures = (figure for metric in card.metrics for figure in metric.figures)
    return tuple(dict.fromkeys(
        figure.metric for figure in figures
        if CHECKED_BY in figure.context and figure.validation_error is None
    ))  # fmt: skip
