"""The rows of the model catalogue: family, builder, task, source, and the members' facts.

A member is (name, parameters, MACs at batch 1 with the default options, builder's arguments).
"""

from __future__ import annotations

from typing import Any

__all__ = ["ROWS"]

Member = tuple[str, int, int, dict[str, Any]]

_IMAGES = "image classification (ImageNet)"

ROWS: tuple[tuple[str, str, str, str, tuple[Member, ...]], ...] = (
    ("resnet", "_resnet:resnet", _IMAGES, "He et al. 2015, arXiv 1512.03385, table 1", (
        ("resnet18", 11_689_512, 1_814_073_344, {"blocks": (2, 2, 2, 2), "bottleneck": False}),
        ("resnet34", 21_797_672, 3_663_761_408, {"blocks": (3, 4, 6, 3), "bottleneck": False}),
        ("resnet50", 25_557_032, 4_089_184_256, {"blocks": (3, 4, 6, 3), "bottleneck": True}),
        ("resnet101", 44_549_160, 7_801_405_440, {"blocks": (3, 4, 23, 3), "bottleneck": True}),
        ("resnet152", 60_192_808, 11_513_626_624, {"blocks": (3, 8, 36, 3), "bottleneck": True}),
    )),
    ("wide_resnet", "_resnet:resnet", _IMAGES,
     "Zagoruyko & Komodakis 2016, arXiv 1605.07146", (
        ("wide_resnet50_2", 68_883_240, 11_398_021_120,
         {"blocks": (3, 4, 6, 3), "bottleneck": True, "inner": 2.0}),
    )),
    ("alexnet", "_alexnet_vgg:alexnet", _IMAGES, "Krizhevsky 2014, arXiv 1404.5997", (
        ("alexnet", 61_100_840, 714_188_480, {}),
    )),
    ("vgg", "_alexnet_vgg:vgg", _IMAGES,
     "Simonyan & Zisserman 2014, arXiv 1409.1556, table 1 (D)", (
        ("vgg16", 138_357_544, 15_470_264_320, {"stages": (2, 2, 3, 3, 3)}),
    )),
    ("densenet", "_densenet:densenet", _IMAGES, "Huang et al. 2016, arXiv 1608.06993, table 1", (
        ("densenet121", 7_978_856, 2_834_161_664,
         {"blocks": (6, 12, 24, 16), "growth": 32, "first": 64}),
        ("densenet161", 28_681_000, 7_727_907_072,
         {"blocks": (6, 12, 36, 24), "growth": 48, "first": 96}),
    )),
    ("squeezenet", "_mobile:squeezenet", _IMAGES,
     "Iandola et al. 2016, arXiv 1602.07360; 1.1: the authors' later release", (
        ("squeezenet1_0", 1_248_424, 818_924_576, {"version": "1.0"}),
        ("squeezenet1_1", 1_235_496, 349_151_936, {"version": "1.1"}),
    )),
    ("inception", "_inception:googlenet", _IMAGES,
     "Szegedy et al. 2014, arXiv 1409.4842, table 1, with batch normalisation", (
        ("googlenet", 6_624_904, 1_498_376_192, {}),
    )),
    ("inception", "_inception:inception_v3", _IMAGES,
     "Szegedy et al. 2015, arXiv 1512.00567, table 1", (
        ("inception_v3", 23_834_568, 5_713_216_096, {}),
    )),
    ("mobilenet", "_mobile:mobilenet_v2", _IMAGES,
     "Sandler et al. 2018, arXiv 1801.04381, table 2", (
        ("mobilenet_v2", 3_504_872, 300_774_272, {}),
    )),
    ("c3d", "_alexnet_vgg:c3d", "action recognition (UCF101)",
     "Tran et al. 2014, arXiv 1412.0767, figure 3", (
        ("c3d", 78_409_573, 38_547_378_176, {}),
    )),
)  # fmt: skip
