"""The studies there are, and how one is conducted, shown and written."""

from __future__ import annotations

import math
import time
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from orrery.errors import SpecError, UnknownNameError
from orrery.progress import SILENT, Progress, Step
from orrery.registry import Registry
from orrery.report import Cell, Column, Page, Section, Table, Text, format_value, write_result
from orrery.store import write_record

from ._frame import Record, Study, StudyFunction, StudyResult

#: every study, in the order in which they are listed and run
CATALOGUE: tuple[Study, ...] = (
    Study(
        name="h2h",
        question="Is the published mapping of six networks onto twelve accelerators valid, and how "
        "far from the best?",
        source="Zhang et al., H2H, DAC 2022, arXiv 2204.13852",
        place="orrery.studies.h2h:h2h_study",
    ),
    Study(
        name="mars",
        question="How much faster do five networks run on eight FPGAs when layers are shared in "
        "sets, and how far from the best is the two-level search?",
        source="Shen et al., MARS, DAC 2023, arXiv 2307.12234",
        place="orrery.studies.mars:mars_study",
    ),
    Study(
        name="gemmini",
        question="Does the loop-nest engine rank 1567 given mappings as the circuit does?",
        source="Hong et al., DOSA, MICRO 2023, released RTL cycles (BSD-2)",
        place="orrery.studies.gemmini:gemmini_study",
        validates=True,
    ),
    Study(
        name="systolic",
        question="How many cycles does a product take that just fills a systolic array?",
        source="SCALE-Sim 3.0.0, measured; Samajdar et al., arXiv 1811.02883",
        place="orrery.studies.systolic:systolic_study",
        validates=True,
    ),
    Study(
        name="eyeriss",
        question="What does row-stationary AlexNet and VGG-16 take, layer by layer, on the arrays "
        "of 2016 and 2017?",
        source="Chen et al., ISCA 2016 and JSSC 2017; Jouppi et al., ISCA 2017",
        place="orrery.studies.eyeriss:eyeriss_study",
        validates=True,
    ),
    Study(
        name="sze",
        question="What do six accelerators come to on the same networks, by all seven metrics, and "
        "where does each lose its speed?",
        source="Sze et al., IEEE Solid-State Circuits Magazine 12(3), 2020",
        place="orrery.studies.sze:sze_study",
    ),
    Study(
        name="bitlet",
        question="How many cycles do 64 products take when only the ones of weights take any, and "
        "what is left of the published speed and energy?",
        source="Lu et al., Bitlet, MICRO 2021; TCAD 43(5), 2024",
        place="orrery.studies.bitlet:bitlet_study",
        files=("weights", "data"),
    ),
    Study(
        name="duet",
        question="How much quicker is a network whose branches run on several workers of this "
        "machine at once than on the best one alone, and what forbids more?",
        source="Zhang, Hu, Li, DUET, IPDPS 2021",
        place="orrery.studies.duet:duet_study",
        usual=0.25,
    ),
    Study(
        name="flashneuron",
        question="How much larger a batch trains within a cap of memory when saved tensors wait on "
        "an SSD, how fast, and how do other ways to save memory do?",
        source="Bae et al., FlashNeuron, FAST 2021",
        place="orrery.studies.flashneuron:flashneuron_study",
        usual=0.25,
    ),
    Study(
        name="dnd",
        question="Which networks come back from binaries of which compilers, machines and options, "
        "with names and without, and what stops the others?",
        source="Wu et al., DnD, USENIX Security 2022",
        place="orrery.studies.dnd:dnd_study",
        usual=0.002,
    ),
)


@dataclass(frozen=True, slots=True, kw_only=True)
class StudyRun:
    """A study that was conducted: at what scale, in how many seconds, with what result."""

    study: Study
    scale: float
    seconds: float
    result: StudyResult

    @property
    def documents(self) -> list[dict[str, Any]]:
        """The records as plain data, each with the name of its study."""
        return [{"study": self.study.name, **r.to_document()} for r in self.result.records]

    @property
    def page(self) -> Page:
        """The report: ours beside the published, why it differs, then the study's own sections."""
        records = self.result.records
        figures, origins = _figures(records)
        sections: list[Section] = [_summary(self), *((figures,) if records else ())]
        reasons = tuple(f"{r.name}: {_status(r)}. {r.note}" for r in records if r.status != "match")
        if reasons:
            sections.append(
                Text(title="What does not match, and why", paragraphs=reasons, tone="warning")
            )
        return Page(
            title=f"Study {self.study.name}",
            subtitle=self.study.question,
            sections=(*sections, *self.result.sections, *((origins,) if records else ())),
            provenance={
                "paper": self.study.source,
                "scale": f"{self.scale:g} (1 is the size of the published cases)",
                "took": format_value(self.seconds, "s"),
            },
        )

    def write(self, folder: str | Path) -> dict[str, Path]:
        """Write records and report: all files, or none."""
        body = {
            "name": self.study.name, "question": self.study.question, "source": self.study.source,
            "scale": self.scale, "seconds": self.seconds,
            "records": [record.to_document() for record in self.result.records],
        }  # fmt: skip
        return write_result(folder, self.page, {
            "records": ("records.json", lambda path: write_record(path, "study", 1, body)),
        })  # fmt: skip


def conduct(
    name: str,
    *,
    scale: float | None = None,
    files: Mapping[str, str | Path] | None = None,
    progress: Progress = SILENT,
) -> StudyRun:
    """Conduct a study.

    Parameters
    ----------
    scale : 1 is the size of the published cases; smaller takes a quick look at fewer or smaller
        ones, larger searches longer; None: the study's usual
    files : what the study is to read, by the names that it takes (`Study.files`)

    Raises
    ------
    UnknownNameError : no such study; offers the nearest
    SpecError : a scale that is not a number above zero; a file that the study does not take, or
        that is not there
    """
    known = {study.name: study for study in CATALOGUE}
    if name not in known:
        raise UnknownNameError("study", name, known)
    study = known[name]
    scale = study.usual if scale is None else scale
    if not (math.isfinite(scale) and scale > 0):
        raise SpecError("--scale", found=scale, wanted="a finite number above zero",
                        fix="1 is the size of the published cases")  # fmt: skip
    given = {key: Path(path) for key, path in (files or {}).items()}
    for key, path in given.items():
        if key not in study.files:
            takers = ", ".join(one.name for one in CATALOGUE if key in one.files)
            raise SpecError(f"study {name}: --{key}", found=path, wanted="no such file",
                            fix=f"leave it out; taken by: {takers or 'no study'}")  # fmt: skip
        if not path.is_file():
            raise SpecError(f"study {name}: --{key}", found=path, wanted="a file",
                            fix="correct the path")  # fmt: skip
    function: StudyFunction = Registry("study", {name: study.place})[name]
    progress.step(f"study {name}", 0, 1)
    start = time.perf_counter()
    result = function(scale, progress, **given)
    seconds = time.perf_counter() - start
    # Reported and not stepped: a stop asked for now must not lose what was found.
    progress.report(Step(task=f"study {name}", done=1, total=1))
    return StudyRun(study=study, scale=scale, seconds=seconds, result=result)


def study_names() -> tuple[str, ...]:
    """Return the names of all studies, in the order in which they are listed and run."""
    return tuple(study.name for study in CATALOGUE)


def study_list() -> Page:
    """Return what studies there are: name, question, paper."""
    listed = Table(
        title="Studies",
        columns=(Column(name="name"), Column(name="question")),
        rows=tuple((study.name, study.question) for study in CATALOGUE),
        caption="`orrery study NAME` conducts one: it works the figures out anew and prints them "
        "beside the published ones. `orrery study --all` conducts all.",
    )
    papers = Table(
        title="Papers",
        columns=(Column(name="name"), Column(name="paper")),
        rows=tuple((study.name, study.source) for study in CATALOGUE),
    )
    return Page(title="What the papers claim, and what comes out here", sections=(listed, papers))


def _summary(run: StudyRun) -> Text:
    statuses = {record.status for record in run.result.records}
    counts = Counter(_counted_as(record) for record in run.result.records)
    said = ", ".join(f"{count} {status}" for status, count in counts.items())
    total = len(run.result.records)
    return Text(
        title="In short",
        paragraphs=(
            f"{total} figure{'' if total == 1 else 's'}: {said or 'nothing to compare'}.",
            "Ours are worked out here; a published number is only ever printed beside them.",
        ),
        tone="note" if statuses <= {"match"} else "warning",
    )


_SAYS = {"match": "agrees with", "differs": "differs from"}


def _counted_as(record: Record) -> str:
    if record.published is not None or record.status == "not reproducible":
        return record.status
    word = "agreeing with" if record.status == "match" else "differing from"
    return f"{word} the judge, nothing published"


def _status(record: Record) -> str:
    """Return the status as read beside the published value: where there is none, by its judge."""
    if record.published is not None or record.status == "not reproducible":
        return record.status
    return f"{_SAYS[record.status]} {record.judge or 'the judge'}"


def _figures(records: Sequence[Record]) -> tuple[Table, Table]:
    """Return the figures, and a table of how each came to be.

    Values are numbers where all records have one unit, else text with the unit of each.
    """
    units = {record.unit for record in records}
    unit = next(iter(units)) if len(units) == 1 else None

    def column(name: str, help: str = "") -> Column:
        if unit is None:
            return Column(name=name, help=help)
        return Column.number(name, unit, help=help)

    def cell(value: float | None, own: str) -> Cell:
        return value if value is None or unit is not None else format_value(value, own)

    figures = Table(
        title="Published beside ours",
        columns=(
            Column(name="figure"),
            column("published"),
            column("ours"),
            Column.number("ratio", "x", help="ours / published"),
            Column(name="status", help="held against the published value; where there is none, "
                   "against the judge's"),
            Column.number("took", "s", help="to find ours"),
        ),
        rows=tuple(
            (
                r.name, cell(r.published, r.unit), cell(r.ours, r.unit), r.ratio,
                _status(r), r.seconds,
            )
            for r in records
        ),
        caption="An empty cell: no such number.",
    )  # fmt: skip
    origins = Table(
        title="How each figure came to be",
        columns=(
            Column(name="figure"),
            Column(name="basis", help="how ours came to be"),
            column("judge's", "what the judge says the value is"),
            Column(name="judge", help="who or what says whether ours is right"),
            Column(name="note"),
            Column(name="source", help="where the published value stands"),
        ),
        rows=tuple(
            (
                r.name, r.basis.value, cell(r.judge_value, r.unit), r.judge or None, r.note or None,
                r.source,
            )
            for r in records
        ),
    )  # fmt: skip
    return figures, origins
