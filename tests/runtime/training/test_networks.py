"""Layers and parameters against published counts and a closed form."""

from __future__ import annotations

import pytest

from orrery.errors import SpecError
from orrery.runtime.training import DeepNetwork

#: Known: ResNet-20 and DenseNet-BC (L = 100, k = 12) for ten classes of small images.
RESNET_20, DENSENET_BC_100_12 = 269_722, 769_162


def parameters(network: DeepNetwork) -> int:
    return network.build().weight_bytes // 4


@pytest.mark.torch
@pytest.mark.needs("torch")
def test_known_networks_have_their_parameters() -> None:
    residual = DeepNetwork(kind="residual", depth=3, width=16, size=32)
    assert (residual.layers, parameters(residual)) == (20, RESNET_20)
    dense = DeepNetwork(kind="dense", depth=16, width=12, size=32)
    assert (dense.layers, parameters(dense)) == (100, DENSENET_BC_100_12)


@pytest.mark.torch
@pytest.mark.needs("torch")
def test_an_encoder_has_twelve_squares_a_unit() -> None:
    small, deep = (
        DeepNetwork(kind="encoder", depth=depth, width=16, size=8) for depth in (1, 4)
    )  # fmt: skip
    assert parameters(deep) - parameters(small) == 3 * (12 * 16**2 + 13 * 16)
    assert deep.layers == 25


@pytest.mark.parametrize(
    ("changed", "said"),
    [
        ({"kind": "deep"}, "found 'deep', wanted one of residual, dense, encoder"),
        ({"depth": 0}, "depth: found 0, wanted 1 or more"),
        ({"size": 6}, "size: found 6, wanted a multiple of 4"),
        ({"kind": "encoder", "width": 6}, "width: found 6, wanted a multiple of 4"),
    ],
)
def test_what_cannot_be_built_is_refused(changed: dict[str, object], said: str) -> None:
    shape = {"kind": "residual", "depth": 1, "width": 4, "size": 8}
    with pytest.raises(SpecError, match=said):
        DeepNetwork(**{**shape, **changed})  # type: ignore[arg-type]
