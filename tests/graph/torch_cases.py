"""Small PyTorch programs, a few operators each: name, function of tensors, shapes of the inputs.

A shape is a tuple (standard normal values), a tensor, or text: ``i`` + sizes for whole numbers
from 0 to 4, ``b`` for truth values, ``p`` for positive numbers, e.g. ``"i2,3"``.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import torch
import torch.nn.functional as F
from torch import nn

Case = tuple[str, Callable[..., Any], tuple[Any, ...]]

_X = (2, 3, 4)
_IMAGE = (2, 4, 8, 8)


def tensors(specs: tuple[Any, ...]) -> tuple[Any, ...]:
    """Return the inputs of a case; the same ones every time."""
    source = torch.Generator().manual_seed(7)
    made = []
    for spec in specs:
        if isinstance(spec, torch.Tensor):
            made.append(spec)
        elif isinstance(spec, str):
            sizes = tuple(int(n) for n in spec[1:].split(",") if n)
            if spec[0] == "p":
                made.append(torch.rand(sizes, generator=source) + 0.1)
            else:
                whole = torch.randint(0, 5 if spec[0] == "i" else 2, sizes, generator=source)
                made.append(whole if spec[0] == "i" else whole.bool())
        elif spec and isinstance(spec[0], tuple):
            made.append(tuple(torch.randn(s, generator=source) for s in spec))
        else:
            made.append(torch.randn(spec, generator=source))
    return tuple(made)


def _layer(make: Callable[[], nn.Module]) -> Callable[..., Any]:
    torch.manual_seed(3)
    layer = make()
    for name, buffer in layer.named_buffers():  # statistics that are not 0 and 1
        if buffer.is_floating_point():
            buffer.copy_(torch.rand_like(buffer) + (0.5 if "var" in name else 0.0))
    return layer


class _Attend(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.attend = nn.MultiheadAttention(8, 2, batch_first=True)

    def forward(self, x: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        return self.attend(x, x, x, need_weights=True)


_UNARY_ANY = (
    "abs", "neg", "exp", "sin", "cos", "tan", "atan", "sinh", "cosh", "tanh", "asinh", "erf",
    "erfc", "ceil", "floor", "round", "sign", "sigmoid", "trunc", "frac", "square", "exp2",
    "expm1", "relu", "isfinite", "isnan", "isinf", "signbit",
)  # fmt: skip
_UNARY_POSITIVE = (
    "log", "log2", "log10", "log1p", "sqrt", "rsqrt", "reciprocal", "asin", "acos", "atanh",
)  # fmt: skip
_ACTIVATIONS: dict[str, Callable[[torch.Tensor], torch.Tensor]] = {
    "gelu": F.gelu, "gelu_tanh": lambda x: F.gelu(x, approximate="tanh"), "silu": F.silu,
    "hardswish": F.hardswish, "hardsigmoid": F.hardsigmoid, "hardtanh": F.hardtanh,
    "relu6": F.relu6, "leaky_relu": lambda x: F.leaky_relu(x, 0.2), "elu": F.elu,
    "elu_alpha": lambda x: F.elu(x, 0.5), "selu": F.selu, "celu": lambda x: F.celu(x, 0.7),
    "softplus": F.softplus, "softplus_beta": lambda x: F.softplus(x, 2.0, 1.0), "mish": F.mish,
    "logsigmoid": F.logsigmoid, "tanhshrink": F.tanhshrink,
    "softshrink": lambda x: F.softshrink(x, 0.3), "hardshrink": F.hardshrink,
    "threshold": lambda x: F.threshold(x, 0.1, -2.0), "softsign": F.softsign, "glu": F.glu,
    "softmax": lambda x: F.softmax(x, 1), "log_softmax": lambda x: F.log_softmax(x, -1),
    "softmin": lambda x: F.softmin(x, 0), "dropout": lambda x: F.dropout(x, 0.5, False),
    "normalize": lambda x: F.normalize(x, dim=1), "rrelu": F.rrelu,
}  # fmt: skip

CASES: list[Case] = [
    *((name, getattr(torch, name), (_X,)) for name in _UNARY_ANY),
    *((name, getattr(torch, name), (torch.linspace(0.05, 0.95, 6),)) for name in _UNARY_POSITIVE),
    ("acosh", torch.acosh, (torch.linspace(1.1, 3, 5),)),
    *((name, function, (_X,)) for name, function in _ACTIVATIONS.items()),
    # arithmetic and promotion
    ("add", lambda x, y: torch.add(x, y, alpha=2), (_X, (3, 1))),
    ("sub", lambda x, y: (x - y, 1 - x, x - 1), (_X, (4,))),
    ("mul_mixed", lambda x, n: (x * n, n * 2, n * 1.5, n + True), (_X, "i2,3,4")),
    ("div", lambda x, n: (x / 3, n / 2, n // 2, x // 0.3), (_X, "i2,3,4")),
    (
        "div_modes",
        lambda x, y: (
            torch.div(x, y, rounding_mode="trunc"),
            torch.div(x, y, rounding_mode="floor"),
        ),
        (_X, "p2,3,4"),
    ),
    ("remainder", lambda x, n: (x % 0.7, torch.fmod(x, 0.7), (n - 2) % 3), (_X, "i2,3,4")),
    ("int_floor", lambda n: ((n - 2) // 2, torch.div(n - 2, 2, rounding_mode="trunc")), ("i9",)),
    ("pow", lambda x, p: (x**2, x**3, p**0.5, p**-1, p**x, 2.0**x), (_X, "p2,3,4")),
    ("pow_int", lambda n: (n**2, n**3), ("i2,3",)),
    ("extremes", lambda x, y: (torch.maximum(x, y), torch.minimum(x, y)), (_X, _X)),
    ("compare", lambda x, y: (x < y, x <= y, x > 0, x >= 0.5, x == y, x != y), (_X, _X)),
    ("compare_mixed", lambda x, n: (x < n, n == 2, n < 1.5, n >= x.max() / 2), (_X, "i2,3,4")),
    (
        "logic",
        lambda a, b: (a & b, a | b, a ^ b, ~a, a.logical_and(b), a.logical_not()),
        ("b3,4", "b3,4"),
    ),
    ("bits", lambda a, b: (a & b, a | 3, a ^ b, ~a, a << 2, a >> 1), ("i3,4", "i3,4")),
    (
        "where",
        lambda c, x, y: (torch.where(c, x, y), torch.where(c, x, 0.0)),
        ("b3,4", (3, 4), (3, 4)),
    ),
    ("masked_fill", lambda x, c: x.masked_fill(c, -math.inf), ((3, 4), "b3,4")),
    (
        "clamp",
        lambda x, y: (
            x.clamp(-0.5, 0.5),
            x.clamp(min=0),
            x.clamp(max=0.1),
            torch.clamp(x, y - 1, y + 1),
        ),
        (_X, _X),
    ),
    ("lerp", lambda x, y: (torch.lerp(x, y, 0.3), torch.addcmul(x, x, y, value=0.5)), (_X, _X)),
    ("atan2", torch.atan2, ((40,), (40,))),
    ("hypot", torch.hypot, (_X, _X)),
    ("round_decimals", lambda x: torch.round(x, decimals=2), (_X,)),
    (
        "casts",
        lambda x, n: (x.to(torch.int64), n.float(), x.double(), x.half(), x.bool()),
        (_X, "i3"),
    ),
    ("nan_to_num", lambda x: torch.nan_to_num(x / x.relu(), 1.0, 2.0, -2.0), (_X,)),
    # shape
    ("views", lambda x: (x.view(6, 4), x.reshape(-1), x.flatten(1), x.unflatten(2, (2, 2))), (_X,)),
    ("orders", lambda x: (x.permute(2, 0, 1), x.transpose(0, 2), x[0].t(), x.movedim(0, 2)), (_X,)),
    ("squeezes", lambda x: (x.squeeze(), x.squeeze(1), x.unsqueeze(-1)), ((2, 1, 3, 1),)),
    (
        "expand",
        lambda x: (x.expand(2, 3, 4), x.expand(-1, -1, 4), x.repeat(2, 1, 3, 1)),
        ((2, 3, 1),),
    ),
    ("repeat_interleave", lambda x: (x.repeat_interleave(2, 1), x.repeat_interleave(3)), (_X,)),
    (
        "joins",
        lambda x, y: (torch.cat([x, y], 1), torch.stack([x, x], -1), torch.hstack([x, y])),
        (_X, (2, 2, 4)),
    ),
    (
        "splits",
        lambda x: (*x.split(2, 2), *x.split([1, 2], 1), *x.chunk(3, -1), *x.unbind(1)),
        (_X,),
    ),
    ("slices", lambda x: (x[:, 1:], x[..., ::2], x[:, -1], x[0, :2, 1:3], x[:, None]), (_X,)),
    ("index_set", lambda x, y: _set(x, y), (_X, (2, 2, 4))),
    (
        "pads",
        lambda x: (F.pad(x, (1, 2)), F.pad(x, (1, 0, 2, 1), value=3.0), F.pad(x, (-1, 1))),
        (_X,),
    ),
    (
        "pad_modes",
        lambda x: (
            F.pad(x, (1, 2, 1, 1), mode="reflect"),
            F.pad(x, (2, 1, 0, 1), mode="replicate"),
            F.pad(x, (1, 2, 2, 1), mode="circular"),
        ),
        (_IMAGE,),
    ),
    (
        "flip_roll",
        lambda x: (x.flip(0, 2), x.roll(1, 1), x.roll((1, -2), (0, 2)), x.roll(3)),
        (_X,),
    ),
    ("triangles", lambda x: (x.tril(), x.triu(1), x.tril(-1)), (_X,)),
    ("diagonal", lambda x: (x.diagonal(0, 1, 2), x[0].diag(), x.diagonal(1, 0, 2)), (_X,)),
    ("diag_embed", torch.diag_embed, (_X,)),
    ("pixels", lambda x: (F.pixel_shuffle(x, 2), F.pixel_unshuffle(x, 2)), (_IMAGE,)),
    ("channel_shuffle", lambda x: F.channel_shuffle(x, 2), (_IMAGE,)),
    ("unfold_axis", lambda x: x.unfold(2, 2, 1), (_X,)),
    ("meshgrid", lambda x, y: torch.meshgrid(x, y, indexing="ij"), ((3,), (4,))),
    ("rot90", lambda x: torch.rot90(x, 1, (1, 2)), (_X,)),
    # reduction
    ("sums", lambda x, n: (x.sum(), x.sum(1), x.sum((0, 2), keepdim=True), n.sum()), (_X, "i2,3")),
    ("means", lambda x: (x.mean(), x.mean(-1), x.mean((1, 2), keepdim=True)), (_X,)),
    ("prods", lambda x, n: (x.prod(), x.prod(1), n.prod(0)), (_X, "i2,3")),
    ("extremes_of", lambda x: (x.amax(1), x.amin((0, 2)), x.max(), x.min()), (_X,)),
    ("max_with_place", lambda x: (*x.max(1), *x.min(2, keepdim=True)), (_X,)),
    ("arguments", lambda x: (x.argmax(), x.argmax(1), x.argmin(-1, keepdim=True)), (_X,)),
    (
        "truths",
        lambda c, x: (c.any(), c.all(1), c.any(0, keepdim=True), (x > 0).any()),
        ("b3,4", _X),
    ),
    ("logsumexp", lambda x: torch.logsumexp(x, (1, 2)), (_X,)),
    (
        "variances",
        lambda x: (
            x.var(),
            x.var(1),
            x.std(-1, keepdim=True),
            x.var((0, 1), correction=0),
            *torch.var_mean(x, 2),
        ),
        (_X,),
    ),
    (
        "norms",
        lambda x: (
            x.norm(),
            x.norm(dim=1),
            torch.linalg.vector_norm(x, 1, 2),
            torch.linalg.vector_norm(x, math.inf, 0),
            torch.linalg.vector_norm(x, 3),
        ),
        (_X,),
    ),
    ("cumsum", lambda x, n: (x.cumsum(1), n.cumsum(0)), (_X, "i3,4")),
    ("topk", lambda x: (*x.topk(2), *x.topk(1, 1, largest=False)), (_X,)),
    ("sort", lambda x: (*x.sort(1), *x.sort(-1, descending=True), x.argsort(2)), (_X,)),
    ("median", lambda x: (*x.median(1), x.median(), *x.kthvalue(2, 2)), (_X,)),
    ("diff", lambda x: (x.diff(), x.diff(dim=1)), (_X,)),
    ("count_nonzero", lambda x: torch.count_nonzero(x.relu(), 1), (_X,)),
    # indices
    ("embedding", lambda n: F.embedding(n, torch.arange(30.0).view(6, 5)), ("i2,3",)),
    ("index_select", lambda x: x.index_select(1, torch.tensor([2, 0])), (_X,)),
    ("gather", lambda x, n: x.gather(1, n % 3), (_X, "i2,2,4")),
    (
        "advanced_index",
        lambda x, n: (
            x[n % 2],
            x[:, n % 3],
            x[n % 2, n % 3],
            x[:, n % 3, n % 4],
            x[n % 2, :, n % 4],
        ),
        (_X, "i5"),
    ),
    ("advanced_broadcast", lambda x, n: x[(n % 2)[:, None], (n % 3)[None]], (_X, "i4")),
    ("mask_index", lambda x, c: (x[c], x[:, c[0]], torch.masked_select(x, c)), ((3, 4), "b3,4")),
    ("nonzero", lambda c: c.nonzero(), ("b3,4",)),
    ("index_put", lambda x, n: _put(x, n), (_X, torch.tensor([1, 0, 2]))),
    (
        "scatter",
        lambda x, y: (
            x.scatter(1, torch.tensor([[[2, 0, 1, 1]]]), y),
            x.scatter(1, torch.tensor([[[2, 0, 1, 1]]]), 5.0),
        ),
        (_X, (1, 1, 4)),
    ),
    (
        "scatter_add",
        lambda x, n, y: (x.scatter_add(1, n % 3, y), x.scatter_reduce(1, n % 3, y, "amax")),
        (_X, "i2,3,4", _X),
    ),
    (
        "index_add",
        lambda x, y: (
            x.index_add(1, torch.tensor([0, 2]), y),
            x.index_fill(2, torch.tensor([1]), 9.0),
        ),
        (_X, (2, 2, 4)),
    ),
    ("one_hot", lambda n: F.one_hot(n, 6), ("i2,3",)),
    (
        "take",
        lambda x: (torch.take(x, torch.tensor([0, 5])), x.take_along_dim(x.argsort(1), 1)),
        (_X,),
    ),
    # makers
    (
        "makers",
        lambda x: (
            torch.zeros(2, 3) + x.sum(),
            torch.full((2,), 3.0) * x.mean(),
            torch.arange(4) + x,
            torch.ones_like(x) + x,
            torch.eye(4) @ x[0].t(),
            x.new_zeros(4) + x,
            torch.arange(0.0, 2.0, 0.5) * x,
            torch.linspace(0, 1, 4) * x,
        ),
        (_X,),
    ),
    # products
    ("matmul", lambda x, y: (x @ y, x[0] @ y[0], x @ y[0, :, 0]), (_X, (2, 4, 5))),
    (
        "bmm",
        lambda x, y: (torch.bmm(x, y), torch.baddbmm(x @ y, x, y, beta=0.5, alpha=2)),
        (_X, (2, 4, 5)),
    ),
    ("addmm", lambda c, a, b: torch.addmm(c, a, b, beta=0.5, alpha=2), ((5,), (3, 4), (4, 5))),
    (
        "einsum",
        lambda x, y: (torch.einsum("bij,bjk->bik", x, y), torch.einsum("bij->bj", x)),
        (_X, (2, 4, 5)),
    ),
    ("linear", _layer(lambda: nn.Linear(4, 5)), (_X,)),
    ("bilinear", _layer(lambda: nn.Bilinear(4, 4, 3)), ((2, 4), (2, 4))),
    ("outer", lambda x, y: (torch.outer(x, y), torch.dot(x, y), torch.kron(x, y)), ((4,), (4,))),
    ("cosine", lambda x, y: F.cosine_similarity(x, y, 1), (_X, _X)),
    ("cdist", lambda x, y: torch.cdist(x, y), ((3, 4), (5, 4))),
    ("cross", lambda x, y: torch.linalg.cross(x, y), ((4, 3), (4, 3))),
    ("attention", F.scaled_dot_product_attention, ((2, 2, 5, 4), (2, 2, 6, 4), (2, 2, 6, 3))),
    (
        "attention_causal",
        lambda q, k: F.scaled_dot_product_attention(q, k, k, is_causal=True),
        ((2, 2, 5, 4), (2, 2, 5, 4)),
    ),
    (
        "attention_mask",
        lambda q, k, m: F.scaled_dot_product_attention(q, k, k, m, scale=0.3),
        ((2, 2, 5, 4), (2, 2, 6, 4), torch.arange(30).view(5, 6) % 4 != 0),
    ),
    (
        "attention_blind",
        lambda q, m: F.scaled_dot_product_attention(q, q, q, m),
        ((1, 2, 3, 4), torch.tensor([[True, False, True], [False] * 3, [True] * 3])),
    ),
    (
        "attention_bias",
        lambda q, k, m: F.scaled_dot_product_attention(q, k, k, m),
        ((2, 2, 5, 4), (2, 2, 6, 4), (5, 6)),
    ),
    (
        "attention_groups",
        lambda q, k: F.scaled_dot_product_attention(q, k, k, enable_gqa=True),
        ((2, 4, 5, 4), (2, 2, 5, 4)),
    ),
    # convolution
    ("conv1d", _layer(lambda: nn.Conv1d(4, 6, 3, 2, 1)), ((2, 4, 9),)),
    ("conv2d", _layer(lambda: nn.Conv2d(4, 6, (3, 2), (2, 1), (1, 0), (1, 2))), (_IMAGE,)),
    ("conv2d_same", _layer(lambda: nn.Conv2d(4, 6, 4, padding="same")), (_IMAGE,)),
    (
        "conv2d_reflect",
        _layer(lambda: nn.Conv2d(4, 6, 3, padding=1, padding_mode="reflect")),
        (_IMAGE,),
    ),
    ("conv2d_depthwise", _layer(lambda: nn.Conv2d(4, 8, 3, groups=4, bias=False)), (_IMAGE,)),
    ("conv2d_unbatched", _layer(lambda: nn.Conv2d(4, 6, 3)), ((4, 8, 8),)),
    ("conv3d", _layer(lambda: nn.Conv3d(2, 3, 2)), ((1, 2, 4, 4, 4),)),
    ("conv_transpose1d", _layer(lambda: nn.ConvTranspose1d(4, 6, 3, 2, 1)), ((2, 4, 5),)),
    ("conv_transpose2d", _layer(lambda: nn.ConvTranspose2d(4, 6, 3, 2, 1, 1, groups=2)), (_IMAGE,)),
    ("conv_transpose_dilated", _layer(lambda: nn.ConvTranspose2d(4, 2, 3, dilation=2)), (_IMAGE,)),
    ("fold", lambda x: (F.unfold(x, 2), F.fold(F.unfold(x, 2), (8, 8), 2)), (_IMAGE,)),
    # pooling
    (
        "max_pool",
        lambda x: (
            F.max_pool2d(x, 2),
            F.max_pool2d(x, 3, 2, 1),
            F.max_pool2d(x, 2, 1, dilation=2),
            F.max_pool2d(x, 3, 2, ceil_mode=True),
        ),
        (_IMAGE,),
    ),
    ("max_pool_places", lambda x: F.max_pool2d(x, 2, return_indices=True), (_IMAGE,)),
    (
        "max_pool_1d_3d",
        lambda x, y: (F.max_pool1d(x, 2), F.max_pool3d(y, 2)),
        (_X, (1, 2, 4, 4, 4)),
    ),
    (
        "avg_pool",
        lambda x: (
            F.avg_pool2d(x, 2),
            F.avg_pool2d(x, 3, 2, 1),
            F.avg_pool2d(x, 3, 2, 1, count_include_pad=False),
            F.avg_pool2d(x, 2, divisor_override=3),
        ),
        (_IMAGE,),
    ),
    ("avg_pool_ceil", lambda x: F.avg_pool2d(x, 3, 2, 1, ceil_mode=True), (_IMAGE,)),
    (
        "avg_pool_1d_3d",
        lambda x, y: (F.avg_pool1d(x, 2), F.avg_pool3d(y, 2)),
        (_X, (1, 2, 4, 4, 4)),
    ),
    (
        "adaptive_avg",
        lambda x: (
            F.adaptive_avg_pool2d(x, 1),
            F.adaptive_avg_pool2d(x, 4),
            F.adaptive_avg_pool2d(x, (3, 5)),
            F.adaptive_avg_pool1d(x[0], 3),
        ),
        (_IMAGE,),
    ),
    (
        "adaptive_max",
        lambda x: (
            F.adaptive_max_pool2d(x, 2),
            F.adaptive_max_pool2d(x, (3, 5)),
            F.adaptive_max_pool1d(x[0], 1),
        ),
        (_IMAGE,),
    ),
    ("lp_pool", lambda x: F.lp_pool2d(x.abs(), 2, 2), (_IMAGE,)),
    # interpolation
    (
        "nearest",
        lambda x: (
            F.interpolate(x, scale_factor=2),
            F.interpolate(x, size=(5, 11)),
            F.interpolate(x, scale_factor=0.75),
            F.interpolate(x[0], size=13),
        ),
        (_IMAGE,),
    ),
    ("nearest_exact", lambda x: F.interpolate(x, size=(5, 11), mode="nearest-exact"), (_IMAGE,)),
    (
        "bilinear_resize",
        lambda x: (
            F.interpolate(x, scale_factor=2, mode="bilinear"),
            F.interpolate(x, size=(5, 11), mode="bilinear"),
            F.interpolate(x, size=(5, 11), mode="bilinear", align_corners=True),
        ),
        (_IMAGE,),
    ),
    (
        "bicubic",
        lambda x: (
            F.interpolate(x, scale_factor=2, mode="bicubic"),
            F.interpolate(x, size=(5, 11), mode="bicubic", align_corners=True),
        ),
        (_IMAGE,),
    ),
    (
        "linear_trilinear",
        lambda x, y: (
            F.interpolate(x, size=7, mode="linear"),
            F.interpolate(y, scale_factor=2, mode="trilinear"),
        ),
        (_X, (1, 2, 3, 3, 3)),
    ),
    (
        "grid_sample",
        lambda x, g: (
            F.grid_sample(x, g, align_corners=False),
            F.grid_sample(x, g, padding_mode="border", align_corners=True),
        ),
        (_IMAGE, (2, 3, 5, 2)),
    ),
    ("affine_grid", lambda m: F.affine_grid(m, [2, 1, 4, 5], align_corners=False), ((2, 2, 3),)),
    # normalisation
    ("batch_norm", _layer(lambda: nn.BatchNorm2d(4)), (_IMAGE,)),
    ("batch_norm_1d", _layer(lambda: nn.BatchNorm1d(3, affine=False)), (_X,)),
    (
        "batch_norm_no_statistics",
        _layer(lambda: nn.BatchNorm2d(4, track_running_stats=False)),
        (_IMAGE,),
    ),
    ("layer_norm", _layer(lambda: nn.LayerNorm((3, 4))), (_X,)),
    ("layer_norm_plain", lambda x: F.layer_norm(x, (4,)), (_X,)),
    ("group_norm", _layer(lambda: nn.GroupNorm(2, 4)), (_IMAGE,)),
    ("instance_norm", _layer(lambda: nn.InstanceNorm2d(4, affine=True)), (_IMAGE,)),
    ("instance_norm_plain", _layer(lambda: nn.InstanceNorm1d(3)), (_X,)),
    ("rms_norm", _layer(lambda: nn.RMSNorm(4)), (_X,)),
    ("local_response_norm", lambda x: F.local_response_norm(x, 3), (_IMAGE,)),
    ("weight_norm", _layer(lambda: nn.utils.parametrizations.weight_norm(nn.Linear(4, 5))), (_X,)),
    ("prelu", _layer(lambda: nn.PReLU(4)), (_IMAGE,)),
    ("prelu_single", _layer(lambda: nn.PReLU()), (_X,)),
    # recurrent
    ("lstm", _layer(lambda: nn.LSTM(4, 5, 2, bidirectional=True)), ((3, 2, 4),)),
    ("lstm_states", _layer(lambda: nn.LSTM(4, 5, batch_first=True)), (_X, ((1, 2, 5), (1, 2, 5)))),
    ("gru", _layer(lambda: nn.GRU(4, 5, 2, batch_first=True)), (_X, (2, 2, 5))),
    ("gru_no_bias", _layer(lambda: nn.GRU(4, 5, bias=False, bidirectional=True)), (_X,)),
    ("rnn", _layer(lambda: nn.RNN(4, 5, 2, nonlinearity="relu")), (_X,)),
    ("rnn_tanh", _layer(lambda: nn.RNN(4, 5, bidirectional=True)), (_X,)),
    ("lstm_cell", _layer(lambda: nn.LSTMCell(4, 5)), ((2, 4),)),
    ("gru_cell", _layer(lambda: nn.GRUCell(4, 5)), ((2, 4),)),
    # layers made of layers
    ("multihead", _layer(lambda: _Attend()), ((2, 5, 8),)),
]


def _set(x: torch.Tensor, y: torch.Tensor) -> torch.Tensor:
    x = x.clone()
    x[:, 1:] = y
    x[:, 0] += 1
    x[..., ::2] *= 2
    x.relu_()
    return x


def _put(x: torch.Tensor, n: torch.Tensor) -> tuple[torch.Tensor, ...]:
    a, b, c = x.clone(), x.clone(), x.clone()
    a[0, n] = 7.0
    b[:, n % 2] = b[:, :1]
    c[c > 0.5] = 0.5
    return a, b, c, x.index_put((n % 2, n), x[0, 0, 0], accumulate=True)
