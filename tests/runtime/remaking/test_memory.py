"""Memory that making tensors again takes, against what PyTorch's own allocator counts."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace

import pytest

from orrery.runtime.moving import Arena
from orrery.runtime.offload._memory import MemoryMeter, trimmer
from orrery.runtime.offload._watch import MemoryWatch
from orrery.runtime.remaking import Remaker, recipe_of

from ..offload.test_remade import Held, operators

pytestmark = [pytest.mark.torch, pytest.mark.needs("torch")]

MIB = 1 << 20
#: Pages, and pages that are larger than others where the system makes them so.
SLACK = 4 * MIB


def allocated(action: Callable[[], object]) -> int:
    """Return the most bytes that PyTorch's allocator had given out at once for an action."""
    import torch

    with torch.autograd.profiler.profile(profile_memory=True) as found:
        action()
    events = found.kineto_results.events()
    changes = sorted((e.start_ns(), e.nbytes()) for e in events if e.name() == "[memory]")
    now = most = 0
    for _, change in changes:
        now += change
        most = max(most, now)
    return most


def test_what_operators_take_within_themselves_is_measured() -> None:
    """Copies in other layouts, indices and statistics: none of them is a value on the way."""
    import torch

    trim = trimmer()
    if trim is None:
        pytest.skip("the C library has no malloc_trim")
    moved = SimpleNamespace(asked_bytes=0, left_bytes=0, incoming_bytes=0)
    watch = MemoryWatch(MemoryMeter(), Arena(0), trim, moved)
    remaker = Remaker(
        (Held,), value=lambda held: held.tensor, peek=lambda held: held.tensor,
        own=lambda held: held, begin=lambda again, size: None,
        grown=lambda action: watch.grown_by(action)[0],
    )  # fmt: skip
    more = 0
    names = ("convolution", "convolution without bias", "layer norm", "softmax", "maximum",
             "transposed", "residual", "relu in place", "linear", "attention", "gelu")  # fmt: skip
    for name in names:
        torch.manual_seed(0)
        x = torch.randn(8192, 6, 8, 8, requires_grad=True)
        y = torch.randn(8192, 6, 8, 8, requires_grad=True)
        with torch.autograd.graph.saved_tensors_hooks(Held, lambda held: held.tensor):
            made = operators()[name](x, y)
            recipe = recipe_of(made, (Held,))
            way = remaker.tried(made, lambda recipe, needs: True)
        assert recipe is not None
        assert way is not None, name
        values = [held.tensor for held in recipe.inputs]
        beside = allocated(lambda r=recipe, v=values: r.make(v)) - recipe.size_bytes  # type: ignore[misc]
        assert way.beside_bytes >= beside - MIB // 4, name
        # By growth of the process: where the result lies in fresh pages it may count twice.
        assert way.beside_bytes <= beside + recipe.size_bytes + SLACK, name
        more += beside > recipe.beside_bytes + MIB
    assert more >= 4  # what the values on the way alone would not have shown


LIMITED = """
import json, sys
from dataclasses import replace
from pathlib import Path
import torch
from torch import nn
from orrery.mapping.offload import plan_offload
from orrery.runtime.offload import OffloadSession, OffloadSettings

torch.manual_seed(0)
torch.set_num_threads(1)
layers = (part for _ in range(6)
          for part in (nn.Conv2d(8, 8, 3, padding=1), nn.BatchNorm2d(8), nn.ReLU()))
net = nn.Sequential(*layers)
x = torch.randn(32, 8, 64, 64, requires_grad=True)

def train(share):
    def planner(profile):  # moving takes long, and is no way out; so much room for what is saved
        limit = profile.other_bytes + int(share * profile.saved_bytes)
        slow = replace(profile, write_bytes_per_s=1e6, read_bytes_per_s=1e6, limit_bytes=limit,
                       forward_s=1.0, backward_s=2.0, tensors=tuple(
            replace(t, made_s=n / 1000, last_use_s=n / 1000, needed_s=2 - n / 1000,
                    released_s=2 - n / 1000,
                    recompute_s=None if t.recompute_s is None else 1e-3)
            for n, t in enumerate(profile.tensors)))
        return plan_offload(slow)

    session = OffloadSession(OffloadSettings(folders=[Path(sys.argv[1])], packing=False), planner)
    for _ in range(3):
        with session:
            net(x).square().mean().backward()
        net.zero_grad()
    made = session._hooks.remaker.made
    session.close()
    (plan,) = session.plans
    done = session.reports[1:]
    return {"limit": plan.limit_bytes, "peak": max(r.peak_bytes for r in done),
            "planned": plan.peak_bytes, "size": plan.tensors[-1].size_bytes,
            "recomputed": sum(r.recomputed for r in done), "made": made}

train(1.0)
print(json.dumps([train(share) for share in (0.7, 0.55, 0.45)]))
"""


def test_chains_that_are_made_again_keep_within_the_limit(tmp_path: Path) -> None:
    """In a process of its own: what the C library holds depends on all that was before."""
    done = subprocess.run([sys.executable, "-c", LIMITED, str(tmp_path)], capture_output=True,
                          text=True, check=True)  # fmt: skip
    found = json.loads(done.stdout)
    assert all(run["recomputed"] for run in found)
    assert all(run["made"] == run["recomputed"] for run in found)
    # Within pages of it: what is resident is not counted by the byte.
    assert all(run["peak"] <= run["limit"] + run["size"] // 2 for run in found), found
