"""The network inside a binary: recovered, checked against the binary, and shown."""

from ._recover import recover
from ._result import RecoverResult

__all__ = ["RecoverResult", "recover"]
