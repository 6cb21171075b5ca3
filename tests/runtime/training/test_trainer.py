"""All ways train alike, to the last bit."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from pathlib import Path

import pytest

from orrery.errors import SpecError
from orrery.runtime.training import WAYS, DeepNetwork, Trainer

SHAPE = DeepNetwork(kind="residual", depth=1, width=4, size=8)


@pytest.mark.torch
@pytest.mark.needs("torch")
@pytest.mark.parametrize("kind", ["residual", "dense", "encoder"])
def test_losses_are_the_same_in_all_ways(kind: str, tmp_path: Path) -> None:
    shape = DeepNetwork(kind=kind, depth=1, width=4, size=8)  # type: ignore[arg-type]
    entered: list[int] = []

    @contextlib.contextmanager
    def given() -> Iterator[None]:
        entered.append(1)
        yield
        assert not list(tmp_path.iterdir())  # nobody else's files are left

    losses = {}
    for way in WAYS:
        trainer = Trainer(shape, way, 3, seed=1, folder=tmp_path, given=given)
        losses[way] = [trainer.step()[0] for _ in range(3)]
    assert len(entered) == 3
    assert len(set(losses["none"])) == 3  # it learns
    assert all(found == losses["none"] for found in losses.values())


@pytest.mark.torch
@pytest.mark.needs("torch")
def test_naive_files_are_there_between_forward_and_backward(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    trainer = Trainer(SHAPE, "naive file", 2, folder=tmp_path)
    seen: list[int] = []
    forward = trainer._forward

    def watched(x: object) -> object:
        y = forward(x)
        seen.append(sum(path.stat().st_size for path in tmp_path.iterdir()))
        return y

    monkeypatch.setattr(trainer, "_forward", watched)
    trainer.step()
    # Each of 7 convolutions with its normalisation saves what it is given: images, then maps.
    assert seen[0] > 2 * 4 * (3 * 64 + 2 * 4 * 64 + 4 * 8 * 16 + 4 * 16 * 4)
    assert not list(tmp_path.iterdir())


@pytest.mark.torch
@pytest.mark.needs("torch")
def test_ways_that_cannot_be_are_refused() -> None:
    with pytest.raises(SpecError, match="did you mean 'checkpointing'"):
        Trainer(SHAPE, "checkpoint", 1)
    with pytest.raises(SpecError, match="wanted `given`"):
        Trainer(SHAPE, "given", 1)
    with pytest.raises(SpecError, match="wanted a folder"):
        Trainer(SHAPE, "naive file", 1)
