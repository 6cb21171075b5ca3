"""Tensors written anew, the inputs first, until no rule finds anything.

Models:  rules from one tensor to another that computes the same.
Judge:   the rules' own tests.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

from ._tensors import Tensor, Tensors

#: Returns what a tensor may be written as, None where the rule says nothing about it.
Rule = Callable[[Tensors, Tensor], Tensor | None]

_MOST_PASSES = 12


def ancestors(outputs: Sequence[Tensor]) -> list[Tensor]:
    """Return all tensors that outputs need, inputs first."""
    order: list[Tensor] = []
    seen: set[int] = set()
    stack: list[tuple[Tensor, bool]] = [(t, False) for t in reversed(outputs)]
    while stack:
        tensor, ready = stack.pop()
        if ready:
            order.append(tensor)
        elif tensor.number not in seen:
            seen.add(tensor.number)
            stack.append((tensor, True))
            stack.extend((t, False) for t in reversed(tensor.inputs) if t.number not in seen)
    return order


def rewritten(
    tensors: Tensors, outputs: Mapping[str, Tensor], rules: Sequence[Rule]
) -> dict[str, Tensor]:
    """Apply rules until nothing changes."""
    current = dict(outputs)
    for _ in range(_MOST_PASSES):
        done: dict[int, Tensor] = {}
        for tensor in ancestors(list(current.values())):
            made = tensors.again(tensor, [done[t.number] for t in tensor.inputs])
            if made is not tensor:
                noted(made, tensor)
            for rule in rules:
                found = rule(tensors, made)
                if found is not None and found is not made:
                    noted(found, made)
                    made = found
            done[tensor.number] = made
        after = {name: done[t.number] for name, t in current.items()}
        if all(after[name] is current[name] for name in current):
            return current
        current = after
    return current


def noted(new: Tensor, *old: Tensor, because: str = "") -> Tensor:
    """Keep where a tensor came from and why it is what it is."""
    for tensor in old:
        if tensor.value is None:
            target = new
            while target.op == "Rearrange":  # an address belongs to what computes
                target = target.inputs[0]
            if target.value is None and target.op not in ("Input", "Absent"):
                target.sources.extend(s for s in tensor.sources if s not in target.sources)
                target.evidence.extend(e for e in tensor.evidence if e not in target.evidence)
    if because and because not in new.evidence:
        new.evidence.append(because)
    return new
