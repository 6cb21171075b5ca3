"""Other tools: our loop nests in their files, their results beside ours."""

from ._export import Exported, export_nests
from ._opinion import with_opinion

__all__ = ["Exported", "export_nests", "with_opinion"]
