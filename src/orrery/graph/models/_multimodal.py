"""Six networks over several kinds of input: the workloads of heterogeneous mapping studies.

Models:  the layer lists that mapping studies publish (Zhang et al. 2022, arXiv 2204.13852, and its
         follow-ups' files): chains M1, M2, … of convolution, fully connected and LSTM layers, and
         the edges between chains. Layer L of chain M is the scope ``M<chain>L<layer>``.
Ignores: what the lists leave out: biases, normalisation, skip connections inside a chain. They
         also leave out how a tensor of one size becomes the next layer's input. We insert, each as
         a node of its own: a strided convolution or an average pooling where the size falls by a
         whole factor, ``Resize`` where it does not, ``Tile`` (whole factor) or ``Pad`` where
         features are missing and ``Slice`` where there are too many, and ``Concat`` where several
         inputs add up to the wanted features, else ``Add``. A ReLU follows every inner layer
         of more than one feature (one alone would often be zero everywhere).
Judge:   layer counts, weights and MACs that the fact sheet computed from the lists; ONNX Runtime
         on reduced networks.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace
from math import prod

import numpy as np

from .._graph import Graph
from .._types import Dimension
from ._builder import Builder, scaled
from ._recurrent import lstm

#: Falls in size up to this factor become the convolution's stride; larger ones are pooled.
_LARGEST_STRIDE = 4


@dataclass(frozen=True, slots=True, kw_only=True)
class _Layer:
    """One line of a list: ``conv`` over rows × columns, ``fc``, or ``lstm`` over steps."""

    kind: str
    takes: int
    gives: int
    rows: int = 1
    columns: int = 1
    kernel: int = 1
    steps: int = 1

    def resized(self, width: float, size: float, *, first: bool) -> _Layer:
        """Return the layer with fewer features and positions; a network's input keeps its own."""
        return replace(
            self, takes=self.takes if first else scaled(self.takes, width),
            gives=scaled(self.gives, width), rows=scaled(self.rows, size),
            columns=scaled(self.columns, size), steps=scaled(self.steps, size),
        )  # fmt: skip


@dataclass(frozen=True, slots=True, kw_only=True)
class _Network:
    """Chains of layers and what else feeds a layer.

    Attributes
    ----------
    chains : per modality, the layers in order; each reads the one before
    edges : (chain, layer) -> further layers it reads, counted from 1
    instead : (chain, layer) -> layer of the same chain that it reads instead of the one before
    """

    chains: tuple[tuple[_Layer, ...], ...]
    edges: Mapping[tuple[int, int], tuple[tuple[int, int], ...]] = field(default_factory=dict)
    instead: Mapping[tuple[int, int], int] = field(default_factory=dict)


def _layers(text: str) -> tuple[_Layer, ...]:
    """Read ``in-out-size-kK``, ``fc-in-out`` and ``lstm-in-out-steps``; ``3×(…)`` repeats."""
    found: list[_Layer] = []
    for part in text.split(";"):
        times, _, rest = part.strip().rpartition("×")
        found.extend([_layer(word) for word in rest.split()] * int(times or 1))
    return tuple(found)


def _layer(word: str) -> _Layer:
    if word.startswith("fc-"):
        takes, gives = map(int, word.split("-")[1:])
        return _Layer(kind="fc", takes=takes, gives=gives)
    if word.startswith("lstm-"):
        takes, gives, steps = map(int, word.split("-")[1:])
        return _Layer(kind="lstm", takes=takes, gives=gives, steps=steps)
    takes_, gives_, size, kernel = word.split("-")
    rows, _, columns = size.partition("/")
    return _Layer(
        kind="conv", takes=int(takes_), gives=int(gives_), rows=int(rows),
        columns=int(columns or rows), kernel=int(kernel.removeprefix("k")),
    )  # fmt: skip


_RESIDUAL = _layers("""
    3-64-224-k1 64-64-224-k3 64-256-224-k1;
    256-128-112-k1 128-128-112-k3 128-512-112-k1;
    2×512-128-112-k1 128-128-112-k3 128-512-112-k1;
    512-256-56-k1 256-256-56-k3 256-1024-56-k1;
    3×1024-256-56-k1 256-256-56-k3 256-1024-56-k1;
    1024-512-28-k1 512-512-28-k3 512-2048-28-k1;
    4×2048-512-28-k1 512-512-28-k3 512-2048-28-k1
""")

_POSE = _RESIDUAL + _layers("""
    2048-1024-1-k1 1024-1024-1-k3 1024-4096-1-k1;
    2×4096-1024-1-k1 1024-1024-1-k3 1024-4096-1-k1;
    fc-4096-1024 fc-1024-3 fc-1024-4
""")

_SURF = _layers("""
    3-64-112-k3; 3×64-64-112-k3; 4×64-64-56-k3; 64-128-28-k3; 3×128-128-28-k3
""")

_VGG = _layers("""
    3-64-224-k3 64-64-224-k3; 64-128-112-k3 128-128-112-k3; 128-256-56-k3; 2×256-256-56-k3;
    256-512-28-k3; 2×512-512-28-k3; 3×512-512-14-k3; fc-25088-4096 fc-4096-4096 fc-4096-1000
""")

_SOUND = _layers("2×64-1-1014/21-k3; 2×128-1-507/42-k3; 2×254-1-254/85-k3; 2×256-1-127/171-k3")

_FACE = _layers("""
    3-32-56-k3 32-64-28-k3; 2×64-64-28-k3; 128-64-28-k3; 2×64-64-28-k3; 3×128-128-14-k3;
    256-128-14-k3; 2×128-128-14-k3
""")

_NETWORKS = {
    "vlocnet": _Network(
        chains=(_POSE, _RESIDUAL, _POSE),
        edges={(1, 40): ((2, 39),)},
        instead={(1, 51): 49, (3, 51): 49},
    ),
    "casia-surf": _Network(
        chains=(
            _SURF + _layers("384-256-14-k3; 3×256-256-14-k3; 256-512-7-k3; 3×512-512-7-k3"),
            _SURF, _SURF,
        ),
        edges={(1, 13): ((2, 12), (3, 12))},
    ),
    "vfs": _Network(
        chains=(_VGG, _SOUND + _layers("fc-21717-4096"), _VGG, _SOUND),
        edges={(3, 14): ((4, 8),)},
    ),
    "facebagnet": _Network(
        chains=(
            _FACE + _layers("""
                3×256-256-7-k3; 512-256-7-k3; 2×256-256-7-k3; 3×512-512-3-k3; 1024-512-3-k3;
                2×512-512-3-k3; fc-92146-3
            """),
            _FACE, _FACE,
        ),
        edges={(1, 14): ((2, 13), (3, 13))},
    ),
    "cnn-lstm": _Network(chains=(
        _layers("""
            1-32-256-k3 32-64-128-k3 64-128-64-k3 128-256-32-k3 256-512-16-k3 512-1024-8-k3;
            1024-1024-1-k1 lstm-1024-512-1
        """),
        _layers("1-32-64-k3 32-64-32-k3 64-128-16-k3 128-256-4-k3 256-512-1-k3 lstm-512-512-1"),
        _layers("""
            25-32-36/48-k3 32-64-18/24-k3 64-128-9/12-k3 128-256-3-k3 256-512-1-k3 lstm-512-512-1
        """),
    )),
    "mocap": _Network(
        chains=(
            _layers("lstm-34-128-200 lstm-34-256-200 fc-1024-256"),
            _layers("lstm-300-256-1000 lstm-300-512-1000 fc-2048-256"),
            _layers("""
                1-32-100/99-k3 32-64-50/44-k3 64-64-25/22-k3 64-128-12/11-k3 128-128-6-k3;
                fc-768-256 fc-768-256
            """),
            _RESIDUAL,
        ),
        edges={(3, 7): ((1, 3), (2, 3))},
    ),
}  # fmt: skip


def multimodal(
    name: str, *, batch: Dimension = 1, dtype: str = "float32", width: float = 1.0,
    size: float = 1.0,
) -> Graph:  # fmt: skip
    """Build one of the six networks.

    Parameters
    ----------
    width : factor on all features but the inputs'
    size : factor on rows, columns and LSTM steps
    """
    network = _NETWORKS[name]
    b = Builder(name, dtype=dtype, batch=batch)
    made: dict[tuple[int, int], str] = {}
    chains = {
        place: tuple(
            layer.resized(width, size, first=index == 0) for index, layer in enumerate(chain)
        )
        for place, chain in enumerate(network.chains, 1)
    }
    sources = {
        (chain, place): _sources(network, chain, place)
        for chain, layers in chains.items() for place in range(1, len(layers) + 1)
    }  # fmt: skip
    read = {source for wanted in sources.values() for source in wanted}
    waiting = list(sources)
    while waiting:
        key = next(k for k in waiting if all(source in made for source in sources[k]))
        waiting.remove(key)
        chain, place = key
        layer = chains[chain][place - 1]
        with b.scope(f"M{chain}L{place}"):
            tensors = [made[source] for source in sources[key]]
            made[key] = _apply(b, layer, tensors or [_input(b, chain, layer)], key not in read)
    return b.finish({f"m{c}l{p}": made[c, p] for c, p in sources if (c, p) not in read})


def _sources(network: _Network, chain: int, place: int) -> tuple[tuple[int, int], ...]:
    before = network.instead.get((chain, place), place - 1)
    own = ((chain, before),) if before else ()
    return own + tuple(network.edges.get((chain, place), ()))


def _input(b: Builder, chain: int, layer: _Layer) -> str:
    """Declare a chain's input: an image at the first layer's size, or a sequence."""
    if layer.kind == "lstm":
        x = b.input(f"m{chain}", b.batch, layer.steps, layer.takes)
        return b.transpose(x, 1, 0, 2, name="steps")
    return b.input(f"m{chain}", b.batch, layer.takes, layer.rows, layer.columns)


def _apply(b: Builder, layer: _Layer, tensors: list[str], last: bool) -> str:
    if layer.kind == "lstm":
        return lstm(b, _sequence(b, tensors, layer), layer.gives, bias=False)
    linear = last or layer.gives == 1
    if layer.kind == "fc":
        tensors = [_vector(b, t, layer.takes) for t in tensors]
        gain = _gain(b, tensors, layer.takes, linear)
        x = b.linear(_join(b, tensors, layer.takes), layer.gives, bias=False, gain=gain, name="fc")
    else:
        around = tuple(b.size(tensors[0], axis) for axis in (2, 3))
        tensors = [_resample(b, t, around) for t in tensors]
        gain = _gain(b, tensors, layer.takes, linear)
        x, stride = _reach(b, _join(b, tensors, layer.takes), (layer.rows, layer.columns))
        for axis in (2, 3):  # taps that fall on padding contribute nothing
            outside = (layer.kernel**2 - 1) / 4 / b.size(x, axis)
            gain *= layer.kernel / (layer.kernel - outside)
        x = b.conv(x, layer.gives, kernel=layer.kernel, stride=stride, gain=gain)
    return x if linear else b.relu(x)


def _gain(b: Builder, tensors: list[str], wanted: int, linear: bool) -> float:
    """Return the weights' gain that makes up for features which are padding."""
    have = sum(b.size(t, 1) for t in tensors)
    padded = have < wanted and wanted % have
    return (1.0 if linear else 2.0) * (wanted / have if padded else 1.0)


def _sequence(b: Builder, tensors: list[str], layer: _Layer) -> str:
    """Bring an LSTM's input into the form [steps, batch, features]."""
    (x,) = tensors
    if len(b.shape(x)) == 3:
        return _fit(b, x, 2, layer.takes)
    x = b.reshape(_vector(b, x, layer.steps * layer.takes), 0, layer.steps, layer.takes)
    return b.transpose(x, 1, 0, 2, name="steps")


def _join(b: Builder, tensors: list[str], wanted: int) -> str:
    """Bring tensors together so that axis 1 has the wanted features."""
    if len(tensors) > 1 and sum(b.size(t, 1) for t in tensors) == wanted:
        return b.concat(*tensors)
    fitted = [_fit(b, tensor, 1, wanted) for tensor in tensors]
    joined = fitted[0]
    for tensor in fitted[1:]:
        joined = b.add(joined, tensor)
    return joined


def _fit(b: Builder, x: str, axis: int, wanted: int) -> str:
    """Give an axis the wanted number of features: repeat, pad with zeros or cut."""
    have, rank = b.size(x, axis), len(b.shape(x))
    if have == wanted:
        return x
    if have > wanted:
        return b.slice(x, axis, 0, wanted, name="cut")
    if wanted % have == 0:
        repeats = [wanted // have if place == axis else 1 for place in range(rank)]
        return b.op("Tile", x, b.constant(np.array(repeats, np.int64), "repeats"), name="repeated")
    ends = [0] * (2 * rank)
    ends[rank + axis] = wanted - have
    return b.op("Pad", x, b.constant(np.array(ends, np.int64), "ends"), name="padded")


def _vector(b: Builder, x: str, wanted: int) -> str:
    """Flatten to [batch, features]; pool first where that gives the wanted number."""
    rank = len(b.shape(x))
    if rank == 2:
        return x
    if rank == 3:
        return b.select(x, 0, -1, name="last_state")
    channels, rows, columns = (b.size(x, axis) for axis in (1, 2, 3))
    for kernel in _windows(rows, columns):
        if channels * rows * columns == wanted * prod(kernel):
            if prod(kernel) > 1:
                x = b.average_pool(x, kernel)
            break
    return b.flatten(x)


def _windows(rows: int, columns: int) -> Iterable[tuple[int, int]]:
    """Yield pooling windows that divide the size, squarest first."""
    found = [
        (r, c) for r in range(1, rows + 1) for c in range(1, columns + 1)
        if rows % r == 0 and columns % c == 0
    ]  # fmt: skip
    return sorted(found, key=lambda window: (abs(window[0] - window[1]), window))


def _reach(b: Builder, x: str, wanted: tuple[int, int]) -> tuple[str, tuple[int, ...]]:
    """Return the tensor and the stride with which a same-padded convolution has that size."""
    have = tuple(b.size(x, axis) for axis in (2, 3))
    steps = tuple(-(-h // w) for h, w in zip(have, wanted))
    reached = all(-(-h // s) == w for h, s, w in zip(have, steps, wanted))
    if reached and max(steps) <= _LARGEST_STRIDE:
        return x, steps
    return _resample(b, x, wanted), (1, 1)


def _resample(b: Builder, x: str, wanted: tuple[int, ...]) -> str:
    """Give a feature map the wanted rows and columns: average where it divides, else nearest."""
    have = tuple(b.size(x, axis) for axis in (2, 3))
    if have == wanted:
        return x
    if all(h % w == 0 for h, w in zip(have, wanted)):
        return b.average_pool(x, tuple(h // w for h, w in zip(have, wanted)), name="pooled")
    sizes = b.constant(np.array(wanted, np.int64), "sizes")
    return b.op(
        "Resize", x, "", "", sizes, name="resized", axes=(2, 3), mode="nearest",
        coordinate_transformation_mode="asymmetric", nearest_mode="floor",
    )  # fmt: skip
