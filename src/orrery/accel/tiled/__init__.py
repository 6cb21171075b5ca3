"""A tiled loop accelerator: Tm × Tn multipliers over tiles of Tr × Tc output pixels."""

from ._design import tiled

__all__ = ["tiled"]
