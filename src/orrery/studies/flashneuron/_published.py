"""What is known of the published figures, and the networks that stand for theirs."""

from __future__ import annotations

from dataclasses import dataclass

from orrery.runtime.training import DeepNetwork

PAPER = "Bae et al., FlashNeuron, FAST 2021"
#: From the abstract: the largest batch over that of the GPU's memory alone; samples/s in % more.
BATCH, THROUGHPUT = (12.4, 14.0), 37.8


@dataclass(frozen=True, slots=True, kw_only=True)
class Network:
    """A network of the study, and the one of the paper that it stands for."""

    name: str
    shape: DeepNetwork
    theirs: str


NETWORKS = (
    Network(name="ResNet-206", theirs="ResNet-1922",
            shape=DeepNetwork(kind="residual", depth=34, width=16, size=32)),
    Network(name="DenseNet-202", theirs="DenseNet-1001",
            shape=DeepNetwork(kind="dense", depth=33, width=4, size=32)),
    Network(name="Encoder-217", theirs="BERT-XLarge",
            shape=DeepNetwork(kind="encoder", depth=36, width=128, size=64)),
)  # fmt: skip


def differences(cap: str, folder: str) -> tuple[str, ...]:
    """Return what differs from the paper, one paragraph each."""
    return (
        "Theirs: a V100 with 16 GB, four networks, and SSDs that the GPU reaches past the "
        "processor. Here: processors that compute and move at once, so that whatever moving takes "
        f"of them the step lacks; memory is what a cap leaves ({cap}), the interpreter and "
        "PyTorch counted.",
        f"Files are in {folder}; in a virtual machine its disk may be a cache of the machine "
        "around it. Requests go past the system's cache where the folder allows that; naive files "
        "do not, and their pages count against the cap until they are taken back.",
        "Networks have the shape of theirs but not the size; images, words and labels are drawn. "
        "The names of the networks are known, figures of single networks are not. The largest "
        "batch of theirs is with compression to half precision; here all is bit for bit.",
        "save_on_cpu has nothing to move where everything is on the CPU: it shows what hooks do.",
    )
