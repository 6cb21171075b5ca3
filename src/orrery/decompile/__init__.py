"""What does this binary compute? Binary in, network out; nothing of it is ever executed."""

from ._evidence import RecoveredNode, RecoveredWeight
from ._frame import Stage, StageReport, check_stages
from ._limits import RecoverLimits
from ._network import Network, Tried, Verdict
from ._opening import COMPANION
from ._pipeline import STAGES, BinaryError, Recovered, recover_binary
from ._recovery import Recovery, recover_program

__all__ = [
    "COMPANION",
    "STAGES",
    "BinaryError",
    "Network",
    "RecoverLimits",
    "Recovered",
    "RecoveredNode",
    "RecoveredWeight",
    "Recovery",
    "Stage",
    "StageReport",
    "Tried",
    "Verdict",
    "check_stages",
    "recover_binary",
    "recover_program",
]
