"""This machine and its back ends as a plan names them, and whether a plan was made for them."""

from __future__ import annotations

from collections.abc import Iterable
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

from orrery.errors import SpecError
from orrery.plan import Plan, SystemReference
from orrery.provenance import PROGRAM_VERSION
from orrery.store import content_hash


def backend_version(name: str) -> str:
    """Return the version of a back end's library; empty where it is not installed."""
    if name == "reference":
        return PROGRAM_VERSION
    for package in (name, f"{name}-gpu"):
        try:
            return version(package)
        except PackageNotFoundError:
            continue
    return ""


def machine_here() -> SystemReference:
    """Return this machine by name and by what decides which placement is quick on it.

    The hash covers processor, caches, vector units, GPUs and the processors that this process may
    use, and not the name: containers change theirs.
    """
    from orrery.runtime import describe_machine

    found = describe_machine()
    parts = (found.cpu, repr(found.caches), repr(found.vector_units), _processors(),
             repr([(gpu.name, gpu.memory_bytes) for gpu in found.gpus]))  # fmt: skip
    return SystemReference(
        name=found.host, digest=content_hash("machine-1", *parts), origin="this-machine"
    )


def machine_facts() -> dict[str, str]:
    """Return what a plan says of this machine in words, so that a difference can be named."""
    from orrery.runtime import describe_machine

    return {"machine": describe_machine().summary, "processors": _processors()}


def refuse_elsewhere(
    path: Path | str, plan: Plan, versions: Iterable[tuple[str, str]]
) -> list[str]:
    """Refuse a plan for other processors; return what else has changed since it was made.

    Parameters
    ----------
    versions : back ends, each with its version when the plan was made

    Raises
    ------
    SpecError : this machine is not one like that of the plan
    """
    here, facts = machine_here(), machine_facts()
    made = {key: str(plan.settings.get(key, "unknown")) for key in facts}
    if here.digest != plan.system.digest:
        found = f"{facts['machine']}, processors {facts['processors']}"
        wanted = f"{made['machine']}, processors {made['processors']}"
        if found == wanted:  # what differs is not in the words
            found += f", fingerprint {here.digest[:12]} (processor, caches, vector units, GPUs)"
            wanted += f", fingerprint {plan.system.digest[:12]}"
        raise SpecError(
            f"{path}: machine", found=found,
            wanted=f"the machine that the plan was made on ({wanted})",
            fix="place the network anew here with --fresh, or run the plan there",
        )  # fmt: skip
    notes = []
    if here.name != plan.system.name:
        notes.append(f"The plan was made on {plan.system.name}; this is {here.name}, with the "
                     "same processors.")  # fmt: skip
    for name, then in sorted(set(versions)):
        now = backend_version(name)
        if now and now != then:
            notes.append(f"{name} was {then or 'of unknown version'} when the plan was made and is "
                         f"{now} now: the placement may no longer be the best (--fresh places "
                         "anew).")  # fmt: skip
    return notes


def _processors() -> str:
    from orrery.runtime.together import core_sets

    return next(iter(core_sets())).removeprefix("cpu")
