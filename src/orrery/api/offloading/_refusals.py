"""Steps that nothing can be planned for, said so that a user can mend them."""

from __future__ import annotations

from typing import TYPE_CHECKING

from orrery.errors import SpecError

if TYPE_CHECKING:
    from orrery.runtime.offload import StepReport


def refuse_idle(report: StepReport) -> None:
    """Refuse a step without a plan that saved nothing, saved it elsewhere, or had no backward."""
    where = f"offload: step {report.step}"
    elsewhere = sorted(why for why in report.passed_over if why.startswith("on "))
    touched = report.offloaded + report.kept
    if not touched and not report.passed_over:
        raise SpecError(where, found="nothing saved for a backward pass",
                        wanted="a training step, with gradients",
                        fix="use the session in training only")  # fmt: skip
    if not touched and elsewhere:
        raise SpecError(where, found=f"saved tensors {' and '.join(elsewhere)}",
                        wanted="some on the device that the session is for",
                        fix="name theirs: OffloadOptions(device='cuda'), or 'cpu'")  # fmt: skip
    # A measured step with a backward pass has been planned by now. That nothing was read says
    # nothing: what could be made again is read to try that.
    if report.offloaded and report.measured:
        raise SpecError(where, found="no backward pass",
                        wanted="forward and backward inside `with session:`",
                        fix="call loss.backward() before the block ends")  # fmt: skip
