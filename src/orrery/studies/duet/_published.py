"""What is known of the published system's figures, and how well each is known."""

from __future__ import annotations

from dataclasses import dataclass

PAPER = "Zhang, Hu, Li: DUET, IPDPS 2021, abstract"


@dataclass(frozen=True, slots=True, kw_only=True)
class Claim:
    """A range of gains over some networks.

    Attributes
    ----------
    over : what the placement is compared with: ``cpu`` or ``gpu``, alone
    """

    over: str
    least: float
    most: float


#: Over the best compiler (TVM) on one device alone. No figure of a single network could be read.
CLAIMS = (Claim(over="cpu", least=1.3, most=6.4), Claim(over="gpu", least=1.5, most=2.3))


@dataclass(frozen=True, slots=True, kw_only=True)
class Network:
    """A network of the study.

    Attributes
    ----------
    branches : what its paths are, empty for a single path
    published : whether the paper is said to have it (from memory, not confirmed)
    """

    name: str
    branches: str
    published: bool


#: The quickest first, so that a small scale shows several; the control among them.
NETWORKS = (
    Network(name="siamese-lstm", branches="two sentences, one LSTM each", published=True),
    Network(name="wide-deep", branches="wide, deep, text (LSTM), image (ResNet-18)",
            published=True),
    Network(name="resnet50", branches="", published=True),
    Network(name="facebagnet", branches="three cameras", published=False),
    Network(name="inception_v3", branches="paths within modules", published=False),
    Network(name="casia-surf", branches="three cameras", published=False),
    Network(name="mt-dnn", branches="four heads of one encoder, linear ones here",
            published=True),
)  # fmt: skip
