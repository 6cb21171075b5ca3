"""Beyond one network on one array: other layers, other sizes, and the card that shows them."""

from ._card import array_card, names_array, products_of_network
from ._coverage import Coverage, cover
from ._growth import Growth
from ._overhead import Overhead, overhead
from ._runs import Run, run_layers
from ._scaling import grow_array
from ._suite import Suite, published_suite
from ._waterfall import network_bounds, network_waterfall

__all__ = [
    "Coverage",
    "Growth",
    "Overhead",
    "Run",
    "Suite",
    "array_card",
    "cover",
    "grow_array",
    "names_array",
    "network_bounds",
    "network_waterfall",
    "overhead",
    "products_of_network",
    "published_suite",
    "run_layers",
]
