"""An accelerator as a value: function, cost, cycles and circuit bound in one record.

A record is built by a function of a few parameters, e.g. ``systolic(rows=32, cols=32)``; a variant
is `dataclasses.replace`; a design space is a comprehension. What an accelerator lacks is None.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Protocol

from numpy.typing import NDArray

from orrery.cost import CostModel
from orrery.graph import Region
from orrery.hardware import Device
from orrery.progress import SILENT, Progress
from orrery.provenance import Source
from orrery.timeline import Timeline

Tensors = Mapping[str, NDArray[Any]]  #: tensor name -> value

#: (region, its inputs) -> its outputs, bit for bit as the machine computes them.
Evaluator = Callable[[Region, Tensors], Tensors]

#: (region, its inputs) -> what happens, cycle by cycle.
Simulator = Callable[[Region, Tensors], Timeline]


class Generator(Protocol):
    """Writes the files of a circuit."""

    def __call__(
        self, *, area: bool = False, mutate: int = 0, progress: Progress = SILENT
    ) -> Mapping[str, str]:
        """Return file name -> text.

        Parameters
        ----------
        area : synthesise it first, which may take minutes
        mutate : so many designs with one operator changed that the bench is tried on first, which
            takes a run of the bench each, and a proof for each that passes
        progress : told of the steps of `area`
        """


#: (region, its inputs) -> per output, the largest error allowed in each element.
Bound = Callable[[Region, Tensors], Tensors]


@dataclass(frozen=True, slots=True, kw_only=True)
class Tolerance:
    """How far the function may stand from the NumPy reference, and why.

    Attributes
    ----------
    reason : why the two differ, or why they cannot
    bound : gives the largest absolute error per output element, derived, not fitted; None: exact
    """

    reason: str
    bound: Bound | None = None

    @property
    def exact(self) -> bool:
        """Whether every bit must agree."""
        return self.bound is None


@dataclass(frozen=True, slots=True, kw_only=True)
class Accelerator:
    """One accelerator design with chosen parameters.

    Attributes
    ----------
    name : the canonical call, every parameter written out; `orrery.accel.resolve` reads it back
    paper : where the idea was published
    device : the board it is described on; every number with its source
    cost : refuses or prices a region
    evaluate : what it computes, bit for bit
    tolerance : exact, or a stated bound with its reason
    precision : number format of its multipliers; empty: that of what it is given
    simulate : what would happen, cycle by cycle; None when there is no cycle model
    generate : the circuit's files; None when there is no circuit
    """

    name: str
    paper: Source
    device: Device
    cost: CostModel
    evaluate: Evaluator
    tolerance: Tolerance
    precision: str = ""
    simulate: Simulator | None = None
    generate: Generator | None = None


def describe(accelerator: str, parameters: Mapping[str, object]) -> str:
    """Return the canonical call: every parameter by name, in the order given.

    >>> describe("systolic", {"rows": 32, "cols": 16})
    'systolic(rows=32, cols=16)'
    """
    return f"{accelerator}({', '.join(f'{k}={v!r}' for k, v in parameters.items())})"
