"""Arrays below a hierarchy of memories, as the catalogue of architectures describes them."""

from ._design import spatial, spatial_of

__all__ = ["spatial", "spatial_of"]
