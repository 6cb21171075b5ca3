"""The rows of the model catalogue: family, builder, task, source, and the members' facts.

A member is (name, parameters, MACs at batch 1 with the default options, builder's arguments).
Decoders' MACs are those of a prefill of 128 tokens.
"""

from __future__ import annotations

from typing import Any

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
    ("cifar_resnet", "_resnet:cifar_resnet", "image classification (CIFAR-10)",
     "He et al. 2015, arXiv 1512.03385, section 4.2 and table 6", (
        ("resnet20", 269_722, 40_551_040, {"blocks": 3}),
        ("resnet56", 853_018, 125_485_696, {"blocks": 9}),
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
    ("bert", "_transformer:bert", "sentence encoding",
     "Devlin et al. 2018, arXiv 1810.04805, section 3; sizes of bert-*-uncased", (
        ("bert-base", 109_482_240, 11_174_215_680, {}),
        ("bert-large", 335_141_888, 39_461_060_608,
         {"layers": 24, "hidden": 1024, "heads": 16, "inner": 4096}),
    )),
    ("bert", "_transformer:bert", "sentence encoding",
     "Wang et al. 2020, arXiv 2002.10957; sizes of MiniLM-L6-H384", (
        ("minilm-l6", 22_713_216, 1_434_599_424, {"layers": 6, "hidden": 384, "inner": 1536}),
    )),
    ("bert", "_transformer:mt_dnn", "language understanding, four tasks",
     "Liu et al. 2019, arXiv 1901.11504, figure 1; linear heads", (
        ("mt-dnn", 109_487_623, 11_174_221_056, {}),
    )),
    ("vit", "_transformer:vit", _IMAGES, "Dosovitskiy et al. 2020, arXiv 2010.11929, table 1", (
        ("vit-b16", 86_567_656, 17_563_828_224, {}),
    )),
    ("gpt2", "_decoder:gpt2", "text generation",
     "Radford et al. 2019, table 2; sizes of the published checkpoints", (
        ("gpt2-124m", 124_439_808, 11_212_223_232, {}),
        ("gpt2-345m", 354_823_168, 39_511_475_200, {"layers": 24, "hidden": 1024, "heads": 16}),
        ("gpt2-774m", 774_030_080, 92_171_244_800, {"layers": 36, "hidden": 1280, "heads": 20}),
        ("gpt2-1.5b", 1_557_611_200, 191_340_673_600, {"layers": 48, "hidden": 1600, "heads": 25}),
    )),
    ("gpt2", "_decoder:gpt2", "text generation",
     "IANUS (ASPLOS 2024), table 3: the 1.5B network as DFX sizes it", (
        ("gpt2-1.5b-h1536", 1_438_683_648, 176_439_289_344,
         {"layers": 48, "hidden": 1536, "heads": 24}),
    )),
    ("llama", "_decoder:llama", "text generation",
     "Touvron et al. 2023, arXiv 2302.13971, table 2", (
        ("llama-7b", 6_738_415_616, 833_354_727_424, {}),
    )),
    ("siamese", "_recurrent:siamese_lstm", "sentence similarity",
     "Mueller & Thyagarajan 2016 (AAAI), figure 1", (
        ("siamese-lstm", 9_070_400, 4_480_000, {}),
    )),
    ("wide_deep", "_recurrent:wide_deep", "recommendation from tables, text and image",
     "Cheng et al. 2016, arXiv 1606.07792, figure 1; text and image branches are additions", (
        ("wide-deep", 31_692_300, 1_921_518_728, {}),
    )),
    ("memory", "_recurrent:memn2n", "question answering over a story",
     "Sukhbaatar et al. 2015, arXiv 1503.08895, figure 1", (
        ("memn2n", 58_880, 30_720, {}),
    )),
    ("multimodal", "_multimodal:multimodal", "several kinds of input (mapping workload)",
     "Zhang et al. 2022, arXiv 2204.13852; layer lists of its follow-ups' files", (
        ("vlocnet", 191_982_144, 130_234_791_936, {}),
        ("casia-surf", 13_239_360, 7_752_794_112, {}),
        ("vfs", 365_666_360, 31_574_228_432, {}),
        ("facebagnet", 24_738_294, 1_529_855_958, {}),
        ("cnn-lstm", 17_815_136, 1_614_239_744, {}),
        ("mocap", 31_008_224, 45_762_740_608, {}),
    )),
)  # fmt: skip

_TEXT = {"layers": 2, "hidden": 32, "heads": 4, "vocabulary": 50}

#: family -> options of a version of the same form that runs in well under a second
SMALL: dict[str, dict[str, Any]] = {
    "resnet": {"width": 0.125, "depth": 0.5, "image": 64, "classes": 10},
    "wide_resnet": {"width": 0.125, "depth": 0.5, "image": 64, "classes": 10},
    "cifar_resnet": {"width": 0.25, "depth": 0.2, "image": 16},
    "alexnet": {"width": 0.125, "image": 96, "classes": 10},
    "vgg": {"width": 0.125, "depth": 0.5, "image": 32, "classes": 10},
    "densenet": {"width": 0.2, "depth": 0.2, "image": 64, "classes": 10},
    "squeezenet": {"width": 0.25, "image": 64, "classes": 10},
    "inception": {"width": 0.125, "image": 96, "classes": 10},
    "mobilenet": {"width": 0.25, "depth": 0.5, "image": 64, "classes": 10},
    "c3d": {"width": 0.125, "image": 32, "classes": 10},
    "bert": {**_TEXT, "inner": 64, "sequence": 7},
    "vit": {"layers": 2, "hidden": 32, "heads": 4, "inner": 64, "image": 32, "patch": 8,
            "classes": 10},
    "gpt2": {**_TEXT, "context": 6},
    "llama": {**_TEXT, "group": 2, "inner": 48, "context": 6},
    "siamese": {"vocabulary": 50, "embedding": 12, "hidden": 8, "sequence": 5},
    "wide_deep": {"crossed": 20, "fields": 3, "vocabulary": 9, "embedding": 4, "numbers": 3,
                  "inner": 16, "sequence": 5, "words": 30, "hidden": 8, "image": 32,
                  "width": 0.125, "depth": 0.5},
    "memory": {"memories": 6, "sequence": 4, "vocabulary": 20, "hidden": 8},
    "multimodal": {"width": 0.125, "size": 0.0625},
}  # fmt: skip
